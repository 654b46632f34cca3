"""Tests of paired differences, many pairs at once. Pure numbers: knows no arm, no curve.

Differences come as [..., S]: one per seed in the last axis, NaN where a seed has none. A difference below `ROUNDING` counts as
none: two arms that trained on the same images agree up to the rounding of sums.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

Array = NDArray[np.float64]
ROUNDING = 1e-9
POWER = 0.8
LEVEL = 0.95


def clean(differences: ArrayLike) -> Array:
    """The differences with those below ROUNDING set to 0."""
    d = np.array(differences, float)
    d[np.abs(d) < ROUNDING] = 0.0
    return d


def moments(differences: Array) -> tuple[NDArray[np.int64], Array, Array]:
    """Count, mean and sample deviation [...] over the last axis, NaN left out; NaN where they do not exist."""
    known = np.isfinite(differences)
    n = known.sum(-1)
    filled = np.where(known, differences, 0.0)
    mean = np.where(n > 0, filled.sum(-1) / np.maximum(n, 1), np.nan)
    squares = np.where(known, (filled - mean[..., None]) ** 2, 0.0).sum(-1)
    return n, mean, np.where(n > 1, np.sqrt(squares / np.maximum(n - 1, 1)), np.nan)


def paired_t(differences: Array) -> Array:
    """[...] two-sided p of Student's paired t-test, t = mean / (sd / sqrt(n)) with n - 1 degrees of freedom.

    The same as scipy.stats.ttest_rel, which warns and gives NaN where all differences are 0: here p is 1, for nothing
    speaks against equal means. NaN for fewer than two differences.
    """
    n, mean, sd = moments(differences)
    scale = sd / np.sqrt(np.maximum(n, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where((mean == 0) & (scale == 0), 0.0, np.abs(mean) / scale)
    return np.where(n > 1, 2 * stats.t.sf(t, np.maximum(n - 1, 1)), np.nan)


def wilcoxon(differences: Array) -> Array:
    """[...] exact two-sided p of Wilcoxon's signed-rank test; NaN where there is no difference to test.

    Differences of 0 are left out (Wilcoxon 1945), p is 1 when all are. Equal sizes share their mean rank, and the
    distribution is that of all signs of those ranks: exact with ties too, where scipy.stats.wilcoxon, equal to this
    without ties, needs random permutations.
    """
    rows = differences.reshape(-1, differences.shape[-1])
    p = [_signed_rank(row[np.isfinite(row)]) for row in rows]
    return np.array(p, float).reshape(differences.shape[:-1])


def _signed_rank(d: Array) -> float:
    if len(d) == 0:
        return float("nan")
    d = d[d != 0]
    doubled = (2 * stats.rankdata(np.round(np.abs(d), 9))).astype(int)  # mean ranks are multiples of a half
    below = _rank_sums(tuple(sorted(doubled.tolist())))
    smaller = min(doubled[d > 0].sum(), doubled[d < 0].sum())
    return min(1.0, 2 * float(below[smaller]))


@lru_cache(maxsize=4096)
def _rank_sums(doubled: tuple[int, ...]) -> Array:
    """[sum + 1] P(doubled rank sum of the positive differences <= k) when every sign is as likely as the other."""
    chance = np.zeros(sum(doubled) + 1)
    chance[0] = 1.0
    for rank in doubled:
        chance = (chance + np.roll(chance, rank)) / 2  # what wraps around is 0: no sum is that large yet
    return np.cumsum(chance)


def smallest_wilcoxon_p(n: int) -> float:
    """The smallest two-sided p that n differences can give, all of one sign: 2 / 2^n; 1 for n < 1."""
    return min(1.0, 2.0 ** (1 - n))


def holm(p: ArrayLike) -> Array:
    """Holm's (1979) step-down correction of one family of p [K]: the k-th smallest times K - k + 1, never below one before it.

    NaN is no member of the family and stays NaN.
    """
    p = np.asarray(p, float)
    corrected = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return corrected


def t_interval(differences: Array, level: float = LEVEL) -> tuple[Array, Array]:
    """[...] lower and [...] upper end of Student's t interval of the mean: mean +- t (sd / sqrt(n)) with n - 1 degrees of
    freedom (Student 1908).

    It leaves 0 out exactly where `paired_t` is below 1 - level. NaN for fewer than two differences.
    """
    n, mean, sd = moments(differences)
    half = stats.t.isf((1 - level) / 2, np.maximum(n - 1, 1)) * sd / np.sqrt(np.maximum(n, 1))
    return mean - half, mean + half


@lru_cache(maxsize=256)
def detectable_effect(n: int, alpha: float = 0.05, power: float = POWER) -> float | None:
    """The smallest true mean difference, in standard deviations, that a paired t-test on n seeds finds with this power.

    The effect e where a noncentral t with n - 1 degrees of freedom and noncentrality e sqrt(n) exceeds the two-sided
    critical value with probability `power` (Cohen 1988), on the right side: the chance of a significant difference of
    the wrong sign is not counted, and is far below 1e-3 there. None for n < 2.
    """
    if n < 2:
        return None
    critical = stats.t.isf(alpha / 2, n - 1)

    def missing(effect: float) -> float:
        return float(stats.nct.sf(critical, n - 1, effect * np.sqrt(n))) - power

    upper = 4 * (critical + 2) / np.sqrt(n)  # where |t| exceeds the critical value almost surely
    return float(optimize.brentq(missing, 1e-6, upper, xtol=1e-9))
