"""What an arm pays for the values that the random arm reaches, as a ratio of costs: 0.8 saves a fifth of the labels.

Without a target the ratio is averaged, on the log scale, over all values of the metric that both curves reach (Bjontegaard
2001, VCEG-M33, for bit rates at equal quality), so no single noisy value decides, and exchanging the two arms inverts it. With
a target it is the ratio of the costs at which both first reach it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from al_cli.progress import count, listing
from al_cli.report.statistics.comparison import FEWEST_SEEDS
from al_cli.report.statistics.curves import RunCurve, Seed, labels_to_reach
from al_cli.report.statistics.in_words import p_sentence
from al_cli.report.statistics.paired_tests import LEVEL, ROUNDING, clean, paired_t, t_interval

_LEVELS = 100  # values between the lowest and the highest that both reach


@dataclass(frozen=True)
class CostRatio:
    """Costs of one arm over those of another at equal values: `logs` has the logarithm of each common seed's ratio, None for
    a seed that is censored. `own_never`: seeds in which the arm does not get to a value that the other reaches;
    `other_never`: the other way round. A mean and an interval exist only where no seed is censored, for the ratios of the rest
    would flatter the arm that never arrives.
    """

    logs: Mapping[Seed, float | None]
    own_never: int = 0
    other_never: int = 0

    @property
    def known(self) -> NDArray[np.float64]:
        return np.array([value for value in self.logs.values() if value is not None], float)

    @property
    def n(self) -> int:
        """How many seeds have a ratio, of `len(logs)`."""
        return len(self.known)

    @property
    def whole(self) -> bool:
        return self.n > 0 and self.n == len(self.logs)

    @property
    def mean(self) -> float | None:
        """The geometric mean over seeds."""
        return math.exp(self.known.mean()) if self.whole else None

    def interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Student's t interval of the mean on the log scale. None for fewer than FEWEST_SEEDS seeds."""
        if not self.whole or self.n < FEWEST_SEEDS:
            return None
        low, high = t_interval(self.known, level)
        return math.exp(low), math.exp(high)

    @property
    def p(self) -> float | None:
        """Two-sided p of the t-test that the ratio is 1, uncorrected. None for fewer than FEWEST_SEEDS seeds."""
        if not self.whole or self.n < FEWEST_SEEDS:
            return None
        return float(paired_t(clean(self.known)))


def cost_ratio(
    own: Sequence[RunCurve], other: Sequence[RunCurve], metric: str, cost: str, target: float | None = None
) -> CostRatio:
    """One arm's complete runs against another's, over the seeds that both have; runs of one seed count by their mean."""
    logs: dict[Seed, float | None] = {}
    never = [0, 0]
    for seed in dict.fromkeys(run.seed for run in own):
        pairs = [(a, b) for a in own for b in other if a.seed == b.seed == seed]
        if not pairs:
            continue
        found = [_log_ratio(a, b, metric, cost, target) for a, b in pairs]
        ratios = [value for value, _, _ in found if value is not None]
        logs[seed] = float(np.mean(ratios)) if len(ratios) == len(found) else None
        never[0] += any(missed for _, missed, _ in found)
        never[1] += any(missed for _, _, missed in found)
    return CostRatio(logs, *never)


def _log_ratio(
    own: RunCurve, other: RunCurve, metric: str, cost: str, target: float | None
) -> tuple[float | None, bool, bool]:
    """The log of the ratio where there is one, whether `own` never arrives, and whether `other` never does."""
    if target is not None:
        paid = [labels_to_reach(run, metric, cost, target) for run in (own, other)]
        ratio = math.log(paid[0] / paid[1]) if paid[0] and paid[1] else None  # what costs nothing has no ratio
        return ratio, paid[0] is None, paid[1] is None
    points, others = own.points(metric, cost), other.points(metric, cost)
    if points is None or others is None:
        return None, False, False
    (x, y), (other_x, other_y) = points, others
    low, high = max(y[0], other_y[0]), min(y.max(), other_y.max())
    if low >= high:  # one never leaves where the other began, or both stay there
        return None, y.max() <= other_y.max(), other_y.max() <= y.max()
    levels = low + (high - low) * (np.arange(_LEVELS) + 0.5) / _LEVELS
    return float(np.mean(np.log(_reached(x, y, levels)) - np.log(_reached(other_x, other_y, levels)))), False, False


def _reached(x: NDArray[np.float64], y: NDArray[np.float64], levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cost at which a curve first reaches each level, all above its first value: `labels_to_reach`, many at once."""
    k = np.searchsorted(np.maximum.accumulate(y), levels)
    share = (levels - y[k - 1]) / (y[k] - y[k - 1])
    reached: NDArray[np.float64] = x[k - 1] + share * (x[k] - x[k - 1])
    return reached


def saving(arm: str, against: str, ratios: Mapping[str, CostRatio], goal: str, family: int, alpha: float) -> str:
    """What an arm saves against another, cost by cost, as a sentence that begins with `goal`.

    A share is called saved (or more) only where the t-test of the ratio is below alpha after Bonferroni's correction for the
    `family` of ratios that the study has: the arm was picked among them. Nothing where the two have no common seed.
    """
    seeds = max((len(ratio.logs) for ratio in ratios.values()), default=0)
    if not seeds:
        return ""
    if censored := _censored(arm, against, next(iter(ratios.values()))):
        return f"{goal}, what {arm} saves cannot be given for all of {count(seeds, 'seed')}: {censored}."
    clear, open_ = [], []
    for cost, ratio in ratios.items():
        if (mean := ratio.mean) is None:
            continue
        interval, p = ratio.interval(), ratio.p
        if interval is None or p is None:
            open_.append(f"{mean:.2f} times the {cost}")
            continue
        corrected = min(1.0, p * family)
        shown = f"95% interval {interval[0]:.2f} to {interval[1]:.2f}, {p_sentence(corrected)}"
        shown += f" after correction for {family}" if family > 1 else ""
        if corrected < alpha:
            words = f"{100 * abs(1 - mean):.0f}% {'fewer' if mean < 1 else 'more'} {cost}"
            clear.append(f"{words} (ratio {mean:.2f}, {shown})")
        else:
            open_.append(f"{mean:.2f} times the {cost} ({shown})")
    if not clear and not open_:
        return ""
    if not clear and all(abs(math.log(ratio.mean or math.e)) < ROUNDING for ratio in ratios.values()):
        return f"{goal}, {arm} needs as many labels as {against}."
    needs = f"{goal}, {arm} needs {listing(clear)} than {against}" if clear else ""
    pays = f"{goal}, {arm} pays {listing(open_)} of {against} over {count(seeds, 'seed')}: no saving is shown"
    return f"{needs or pays}." if not clear or not open_ else f"{needs}; {listing(open_)}, which shows no saving."


def _censored(arm: str, against: str, ratio: CostRatio) -> str:
    missing = [
        f"in {count(never, 'seed')} {own} does not reach what {other} does"
        for never, own, other in ((ratio.own_never, arm, against), (ratio.other_never, against, arm))
        if never
    ]
    return listing(missing)
