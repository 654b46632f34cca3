"""Where arms end: which of them had another budget than the rest, and which values two arms paid the same for.

Arms with a budget in images end with other boxes, and the other way round, so two ends are equal that agree in any cost.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from al_cli.report.statistics.curves import RunCurve, by_arm

SAME_END = 0.05  # a budget of boxes is overshot by the last image's, and a pool may end within a round


def mean_end(runs: Iterable[RunCurve], cost: str, k: int = -1) -> float | None:
    """What runs had paid by round k on average, complete ones by their end (k = -1). None where none has that round."""
    paid = [run.costs[cost][k] for run in runs if _has(run, k)]
    return statistics.fmean(paid) if paid else None


def same_end(first: Sequence[RunCurve], second: Sequence[RunCurve], costs: Iterable[str], k: int = -1) -> bool:
    """Whether the runs of two arms had paid the same by round k in one of the costs, over their common seeds; True where
    nothing tells."""
    seeds = {run.seed for run in first if _has(run, k)} & {run.seed for run in second if _has(run, k)}
    ends = [
        [mean_end((run for run in runs if run.seed in seeds), cost, k) for runs in (first, second)] for cost in costs
    ]
    known = [(one, other) for one, other in ends if one is not None and other is not None]
    return not known or any(_equal(one, other) for one, other in known)


def usual_end(curves: Iterable[RunCurve], cost: str) -> float | None:
    """The median of what arms had paid at their end, the higher one of two. None for no complete run."""
    ends = [end for runs in by_arm(curves).values() if (end := mean_end(runs, cost)) is not None]
    return statistics.median_high(ends) if ends else None


def unequal_arms(curves: Sequence[RunCurve], costs: Iterable[str]) -> list[str]:
    """The arms that end elsewhere than most, whatever cost one looks at: they had another budget, or stopped."""
    unequal = None
    for cost in costs:
        usual = usual_end(curves, cost)
        ends = {arm: mean_end(runs, cost) for arm, runs in by_arm(curves).items()}
        off = [arm for arm, end in ends.items() if end is not None and usual is not None and not _equal(end, usual)]
        unequal = off if unequal is None else [arm for arm in unequal if arm in off]
    return unequal or []


def _has(run: RunCurve, k: int) -> bool:
    return run.rounds > k if k >= 0 else run.complete and run.rounds > 0


def _equal(one: float, other: float) -> bool:
    return abs(one - other) <= SAME_END * max(one, other)
