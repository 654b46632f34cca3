"""The verdict on each arm of a study against its baseline: better, worse or undecided. Pure numbers: knows no curve.

Seeds are paired. Arm a differs from the baseline by d_a on average over their n_a common seeds, with variance v_a. No verdict
rests on a spread that is small by luck: where an arm's variance is below the pooled one, V = mean of v_a weighted by n_a - 1,
the pooled one counts:

    t_a = d_a / sqrt(max(v_a, V) / n_a)

and p_a is Bonferroni's K p of Student's t with `degrees_of_freedom(n_a, K)` for K arms. These are calibrated by simulation
alone (benchmarks/verdicts.md): the chance that any arm of K is called better or worse when all are equal is at most 5% where
arms have equal SDs and at most 6% where their SDs spread by a factor e^0.5, with arms that share trainings. They are made for
alpha = 0.05: at 0.01 up to 2% of such studies give a verdict. One arm (K = 1) is the paired t-test.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from al_cli.report.statistics.paired_tests import POWER, Array, clean, moments

Word = Literal["better", "worse", "undecided"]
FEWEST = 3  # common seeds; with fewer an arm gets no verdict and is no member of the family
MOST = 1000  # seeds that `seeds_needed` looks at
OWN, OTHERS = 200, 12  # quantiles in `_spreads`
SEEDS = (3, 4, 5, 7, 10, 20, 40)
ARMS = (2, 3, 4, 6, 8, 12, 20, 34, 64)
# fmt: off
DEGREES = (  # [SEEDS, ARMS], 1000 for more; printed by `python benchmarks/verdicts.py --degrees`
    (3.6, 4.3, 5.0, 7.9, 9.4, 12.7, 16.2, 15.9, 14.9),  # 3 seeds
    (5.3, 6.3, 7.3, 13.3, 16.8, 21.5, 24.6, 19.9, 20.3),  # 4 seeds
    (7.4, 10.4, 10.5, 19.3, 22.9, 35.8, 33.6, 30.4, 28.6),  # 5 seeds
    (11.1, 19.1, 19.9, 38.2, 64.7, 131.9, 129.7, 74.7, 49.1),  # 7 seeds
    (23.3, 34.8, 45.3, 1000.0, 1000.0, 130.7, 1000.0, 1000.0, 302.5),  # 10 seeds
    (53.4, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0),  # 20 seeds
    (492.1, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0),  # 40 seeds
)
# fmt: on


@dataclass(frozen=True)
class ArmVerdict:
    """One arm (its column) against the baseline, over the `seeds` that both have of the study's `planned` ones.

    `p` is corrected for the family; `low` to `high` is the simultaneous interval of `difference` (mean arm minus baseline) at
    1 - alpha, without 0 exactly where p < alpha. What cannot be known from so few seeds is NaN, and the word is undecided.
    """

    arm: int
    seeds: int
    planned: int
    difference: float
    low: float
    high: float
    p: float
    word: Word

    @property
    def missing(self) -> str:
        """What a reader must know of this arm's seeds; empty where it has all of them."""
        if self.seeds == self.planned:
            return "" if self.seeds >= FEWEST else f"no verdict with fewer than {FEWEST} seeds"
        have = f"{self.seeds} of {self.planned} seeds in common with the baseline"
        return have if self.seeds >= FEWEST else f"{have}: no verdict with fewer than {FEWEST}"


def verdicts(table: ArrayLike, baseline: int, alpha: float = 0.05) -> list[ArmVerdict]:
    """Every arm but the baseline, in order, from [seeds, arms] values (higher is better, NaN where a run is missing).

    A seed counts for an arm where both have it. An arm that equals the baseline in every seed (the same trainings) has p 1;
    neither it nor an arm with fewer than FEWEST common seeds counts in the family or in the pooled variance.
    """
    values = np.asarray(table, float)
    arms = [arm for arm in range(values.shape[1]) if arm != baseline]
    n, mean, sd, member = _against(values, baseline)
    size, pooled = int(member.sum()), _pooled(n, sd, member)
    error = np.sqrt(np.maximum(sd**2, pooled) / np.maximum(n, 1))
    found = []
    for k, arm in enumerate(arms):
        low = high = p = np.nan
        if member[k]:
            df = degrees_of_freedom(int(n[k]), size)
            half = critical_value(int(n[k]), size, alpha) * error[k]
            low, high = mean[k] - half, mean[k] + half
            with np.errstate(divide="ignore"):
                p = min(1.0, 2 * size * float(stats.t.sf(np.abs(mean[k]) / error[k], df)))
        elif n[k] >= FEWEST:  # the same as the baseline
            low, high, p = 0.0, 0.0, 1.0
        word: Word = "undecided" if not p < alpha else "better" if mean[k] > 0 else "worse"
        found.append(ArmVerdict(arm, int(n[k]), len(values), float(mean[k]), float(low), float(high), float(p), word))
    return found


def _against(values: Array, baseline: int) -> tuple[NDArray[np.int64], Array, Array, NDArray[np.bool_]]:
    """[K] common seeds, mean and SD of each arm's differences to the baseline, and whether it is a member of the family."""
    arms = [arm for arm in range(values.shape[1]) if arm != baseline]
    differences = clean(values[:, arms] - values[:, [baseline]]).T
    n, mean, sd = moments(differences)
    return n, mean, sd, (n >= FEWEST) & (np.nan_to_num(np.abs(differences)).max(1, initial=0.0) > 0)


def _pooled(n: NDArray[np.int64], sd: Array, member: NDArray[np.bool_]) -> float:
    """V: the mean variance of the members by n_a - 1; NaN where there are none."""
    return float(np.average(sd[member] ** 2, weights=n[member] - 1)) if member.any() else float("nan")


def pooled_sd(table: ArrayLike, baseline: int) -> float:
    """The SD of the paired differences to the baseline of [seeds, arms], pooled over the arms (mean variance by n_a - 1).

    What `power` and `seeds_needed` ask for. NaN where no arm has FEWEST common seeds and a difference.
    """
    n, _, sd, member = _against(np.asarray(table, float), baseline)
    return float(np.sqrt(_pooled(n, sd, member)))


def degrees_of_freedom(seeds: int, arms: int) -> float:
    """The df of the rule's t for an arm with this many seeds in a family of `arms`; seeds - 1 for one arm.

    Between the simulated numbers of seeds and arms 1 / df is linear in their logarithms. Above 40 seeds or 64 arms, which
    were not simulated, the last value stands: more seeds only make that cautious.
    """
    if arms <= 1:
        return float(seeds - 1)
    inverse = 1 / np.array(DEGREES)
    by_seeds = [np.interp(np.log(arms), np.log(ARMS), row) for row in inverse]
    return float(1 / np.interp(np.log(seeds), np.log(SEEDS), by_seeds))


def critical_value(seeds: int, arms: int, alpha: float = 0.05) -> float:
    """The |t| from which an arm is called better or worse: of p < alpha in a family of `arms`."""
    return float(stats.t.isf(alpha / (2 * max(arms, 1)), degrees_of_freedom(seeds, arms)))


def power(sd: float, arms: int, seeds: int, difference: float, alpha: float = 0.05) -> float:
    """The chance that an arm which is truly better by `difference` is called better, one of `arms` in a study of `seeds`.

    `sd` is that of the paired differences, equal for all arms and without missing seeds; `difference` has its unit. A normal
    mean beyond the critical value, averaged over `_spreads`. 0 below FEWEST seeds.
    """
    if seeds < FEWEST:
        return 0.0
    if sd == 0:
        return float(difference > 0)
    beyond = difference * np.sqrt(seeds) / sd - critical_value(seeds, arms, alpha) * _spreads(seeds, arms)
    return float(special.ndtr(beyond).mean())


@lru_cache(maxsize=256)
def _spreads(seeds: int, arms: int) -> Array:
    """[OWN, OTHERS] equally likely values of sqrt(max(v_a, V)) at sd 1: quantiles of v_a, and of V given v_a.

    v_a is chi-squared / df. All differences share the baseline, so any two correlate by 1/2 and their variances by 1/4:
    the mean of the other v is a gamma variable with its true mean, 1 + (v_a - 1) / 4, and variance.
    """
    df, others = seeds - 1, max(arms - 1, 1)
    own = (stats.chi2.ppf((np.arange(OWN) + 0.5) / OWN, df) / df)[:, None]
    mean = 1 + (own - 1) / 4
    variance = 2 / df * (1 / others + (1 - 1 / others) / 4 - 1 / 16)
    shape = mean**2 / variance
    rest = stats.gamma.ppf((np.arange(OTHERS) + 0.5) / OTHERS, shape) * mean / shape
    return np.asarray(np.sqrt(np.maximum(own, (own + (arms - 1) * rest) / arms)))


def seeds_needed(sd: float, arms: int, difference: float, chance: float = POWER, alpha: float = 0.05) -> int | None:
    """The fewest seeds with which `power` is at least `chance`; None where MOST are too few."""
    if power(sd, arms, MOST, difference, alpha) < chance:
        return None
    low, high = FEWEST - 1, FEWEST
    while power(sd, arms, high, difference, alpha) < chance:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(sd, arms, middle, difference, alpha) >= chance else (middle, high)
    return high
