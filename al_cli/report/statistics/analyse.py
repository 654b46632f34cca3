"""The statistics of a study, from the curves of its runs.

    curves = curves_of(runs, task)                                      report/study.py: a run as a curve
    statistics = analyse(curves, task, curves_of(reference_runs, task), random="random")
    statistics.comparisons[Measure("AUC", task.primary, cost="images")]  comparison.py: all pairs of arms in one measure
    answer(statistics)                                                  answer.py: the study in sentences
    answer_claim(parse_claim(..., task), statistics)                    claim_answer.py
    warnings_of_study(statistics, environments)                         warnings.py

Only complete runs count for areas, final values and labels to a target; rounds are averaged over all runs that have them.
Several runs of one arm with one seed count as that seed once, by their mean: the seed is what is repeated.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from al_cli.report.statistics.blocks import seed_means
from al_cli.report.statistics.budgets import same_end, unequal_arms
from al_cli.report.statistics.comparison import Comparison, Measure
from al_cli.report.statistics.curves import (
    SCALES,
    ArmRound,
    OverSeeds,
    RunCurve,
    Scale,
    Seed,
    Target,
    area,
    average_rounds,
    by_arm,
    common_range,
    labels_to_reach,
)
from al_cli.report.statistics.savings import CostRatio, cost_ratio
from al_cli.tasks import Metric, Task

SHARES = (0.90, 0.95)  # of the full-label reference


@dataclass(frozen=True)
class ArmSummary:
    """The numbers of one arm's complete runs. A key (cost, share) is such as ("images", 0.95).

    `auc`: the mean of the study's metric over the range of costs in `Statistics.ranges`. `labels`: cost at which the target
    is first reached. `ratio`: the cost of equal values over that of the random arm (`savings.py`), empty
    without one. `share`: the final value in percent of the full-label
    reference of the same seed, and `share_labels` the cost at which 90% and 95% of the reference is first reached.
    """

    arm: str
    oracle: bool
    seeds: int
    final: OverSeeds
    auc: Mapping[tuple[str, Scale], OverSeeds]
    labels: Mapping[str, OverSeeds]
    ratio: Mapping[str, CostRatio]
    share: OverSeeds
    share_labels: Mapping[tuple[str, float], OverSeeds]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Everything that a report tells in numbers.

    All is in one `metric` of the task. `comparisons` has the measures AUC (each cost, linear and log), the final
    value, and that of every round but those that one arm alone has. `ranges` are the costs that the areas of `arms` are
    taken over, those that all but the `unequal` arms cover; the difference of two arms has the range that these two cover.
    `unequal` arms end elsewhere than most in every cost.
    `target` None means: the random arm's own final value, seed by seed. `reference` is the full-label value by seed.
    `random` None: there is no such arm.
    """

    task: Task
    metric: Metric
    arms: tuple[ArmSummary, ...]
    rounds: tuple[ArmRound, ...]
    comparisons: Mapping[Measure, Comparison]
    ranges: Mapping[tuple[str, Scale], tuple[float, float] | None]
    unequal: tuple[str, ...]
    target: Target | None
    reference: OverSeeds
    random: str | None
    alpha: float
    curves: tuple[RunCurve, ...]

    @property
    def seeds(self) -> int:
        """How many seeds the arm with the most complete ones has."""
        return max((arm.seeds for arm in self.arms), default=0)

    def of_arm(self, arm: str) -> ArmSummary:
        """KeyError for an arm that is not in the study."""
        return {summary.arm: summary for summary in self.arms}[arm]


def analyse(
    curves: Sequence[RunCurve],
    task: Task,
    reference: Sequence[RunCurve] = (),
    *,
    random: str | None = None,
    target: Target | None = None,
    metric: Metric | None = None,
    alpha: float = 0.05,
) -> Statistics:
    """All numbers of a study. `reference` are full-label runs (round 0 counts), `random` the arm that savings are against.

    They are of one `metric`, the task's primary one where it is None.
    Without a target, the target of a seed is the final value of the random arm's run with that seed: arms of one seed
    share the initial images, so a lucky start raises the target and the curve alike. (Against the mean of random's final
    values, about half of its own runs would never arrive.) No curve gives empty tables.
    """
    metric = metric or task.primary
    arms, costs, name = by_arm(curves), task.cost_names, metric.name
    random = random if random in arms else None
    done = {arm: [curve for curve in runs if curve.complete] for arm, runs in arms.items()}
    final = _adjusted({arm: _over_seeds(runs, lambda curve: curve.final(name)) for arm, runs in done.items()})
    full = _over_seeds(reference, lambda curve: curve.metrics[name][0])
    unequal = unequal_arms(curves, costs)
    ranges = {(cost, scale): _usual_range(curves, unequal, name, cost, scale) for cost in costs for scale in SCALES}
    auc = {
        (cost, scale): _adjusted(
            {a: _over_seeds(runs, _reader(Measure("AUC", metric, cost, scale), within)) for a, runs in done.items()}
        )
        for (cost, scale), within in ranges.items()
    }

    goals = final[random].values if random else {}
    if target:
        goals = {curve.seed: target.value for curve in curves}
    to_reach = target.metric.name if target else name
    labels = {(arm, cost): _labels(runs, to_reach, cost, goals) for arm, runs in done.items() for cost in costs}
    above_zero = OverSeeds({seed: value for seed, value in full.values.items() if value and value > 0})  # has shares
    shares = {share: {seed: share * value for seed, value in above_zero.values.items() if value} for share in SHARES}

    def summarise(arm: str) -> ArmSummary:
        return ArmSummary(
            arm=arm,
            oracle=any(curve.oracle for curve in arms[arm]),
            seeds=len(final[arm].values),
            final=final[arm],
            auc={key: of_arms[arm] for key, of_arms in auc.items()},
            labels={cost: labels[arm, cost] for cost in costs},
            ratio={
                cost: cost_ratio(done[arm], done[random], to_reach, cost, target.value if target else None)
                for cost in costs
                if random and arm != random
            },
            share=_by_seed(final[arm], above_zero, lambda own, base: 100 * own / base),
            share_labels={
                (cost, share): _labels(done[arm], name, cost, shares[share]) for cost in costs for share in SHARES
            },
        )

    return Statistics(
        task=task,
        metric=metric,
        arms=tuple(summarise(arm) for arm in arms),
        rounds=tuple(average_rounds(curves)),
        comparisons={measure: compare(curves, measure, alpha) for measure in _measures(arms, task, metric)},
        ranges=ranges,
        unequal=tuple(unequal),
        target=target,
        reference=full,
        random=random,
        alpha=alpha,
        curves=tuple(curves),
    )


def compare(curves: Sequence[RunCurve], measure: Measure, alpha: float = 0.05) -> Comparison:
    """All arms of the curves against each other in one measure. Seeds in ascending order.

    Two arms' areas are taken over the costs that these two cover, so that no third arm moves their difference. Values after
    a round are compared where both had paid the same by then in one of the costs.
    """
    arms = by_arm(curves)
    costs = list(curves[0].costs) if curves else []
    seeds = sorted({curve.seed for curve in curves}, key=lambda seed: (seed is None, seed or 0))
    read: dict[tuple[str, tuple[float, float] | None], NDArray[np.float64]] = {}  # most pairs share a range

    def values(arm: str, within: tuple[float, float] | None) -> NDArray[np.float64]:
        """[S] the arm's value with each seed."""
        if (arm, within) not in read:
            own = _over_seeds(arms[arm], _reader(measure, within)).values
            read[arm, within] = np.array([own.get(seed) for seed in seeds], float)  # None is NaN
        return read[arm, within]

    def gap(one: str, other: str) -> NDArray[np.float64]:
        """[S] one arm minus another, NaN where they cannot be compared."""
        first, second = arms[one], arms[other]
        if measure.cost is None:
            k = -1 if measure.round is None else measure.round
            return values(one, None) - values(other, None) if same_end(first, second, costs, k) else nothing
        common = {curve.seed for curve in first} & {curve.seed for curve in second}
        both = [curve for curve in (*first, *second) if curve.seed in common]
        within = common_range(both, measure.metric.name, measure.cost, measure.scale)
        return values(one, within) - values(other, within)

    nothing = np.full(len(seeds), np.nan)
    pairs = list(itertools.combinations(arms, 2))
    gaps = np.array([gap(one, other) for one, other in pairs]).reshape(len(pairs), len(seeds))
    shared = None
    if measure.cost is not None:
        unequal = unequal_arms(curves, costs)
        shared = _usual_range(curves, unequal, measure.metric.name, measure.cost, measure.scale)
    table = np.array([values(arm, shared) for arm in arms]).reshape(len(arms), len(seeds))
    oracles = frozenset(curve.arm for curve in curves if curve.oracle)
    return Comparison(measure, tuple(arms), tuple(seeds), table, alpha, gaps, oracles)


def _usual_range(
    curves: Sequence[RunCurve], unequal: Collection[str], metric: str, cost: str, scale: Scale
) -> tuple[float, float] | None:
    """The costs that all arms but the `unequal` ones cover."""
    return common_range([curve for curve in curves if curve.arm not in unequal], metric, cost, scale)


def _measures(arms: Mapping[str, Sequence[RunCurve]], task: Task, metric: Metric) -> list[Measure]:
    """Areas, the final value, and every round that at least two arms have reached."""
    reached = sorted((max(curve.rounds for curve in runs) for runs in arms.values()), reverse=True)
    areas = [Measure("AUC", metric, cost, scale) for cost in task.cost_names for scale in SCALES]
    rounds = [Measure("round", metric, round=k) for k in range(reached[1] if len(reached) > 1 else 0)]
    return [*areas, Measure("final", metric), *rounds]


def _reader(measure: Measure, within: tuple[float, float] | None) -> Callable[[RunCurve], float | None]:
    """The function that reads a measure off a curve; `within` is the range of an area."""
    metric, cost, k = measure.metric.name, measure.cost, measure.round
    if measure.kind == "AUC" and cost is not None:
        return lambda curve: area(curve, metric, cost, measure.scale, within)
    if measure.kind == "round" and k is not None:
        return lambda curve: curve.metrics[metric][k] if k < curve.rounds else None
    return lambda curve: curve.final(metric)


def _over_seeds(runs: Iterable[RunCurve], number: Callable[[RunCurve], float | None]) -> OverSeeds:
    """One number per seed of the runs: the mean where several share a seed, None where one of them has none."""
    by_seed: dict[Seed, list[float | None]] = {}
    for curve in runs:
        by_seed.setdefault(curve.seed, []).append(number(curve))
    return OverSeeds({seed: _mean(values) for seed, values in by_seed.items()})


def _adjusted(of_arms: Mapping[str, OverSeeds]) -> dict[str, OverSeeds]:
    """The same, with means that allow for the seeds which an arm lacks and others have."""
    known = {arm: [(seed, v) for seed, v in of_arm.values.items() if v is not None] for arm, of_arm in of_arms.items()}
    seeds = {seed for values in known.values() for seed, _ in values}
    means = seed_means(known)
    return {
        arm: of_arm if len(known[arm]) == len(seeds) else replace(of_arm, adjusted=means[arm])
        for arm, of_arm in of_arms.items()
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _labels(runs: Iterable[RunCurve], metric: str, cost: str, goals: Mapping[Seed, float | None]) -> OverSeeds:
    """Cost at which each seed's run first reaches that seed's goal; None where there is no goal."""

    def labels(curve: RunCurve) -> float | None:
        goal = goals.get(curve.seed)
        return None if goal is None else labels_to_reach(curve, metric, cost, goal)

    return _over_seeds(runs, labels)


def _by_seed(own: OverSeeds, base: OverSeeds, number: Callable[[float, float], float]) -> OverSeeds:
    """A number from two of the same seed; None where either is missing, or the second is 0."""
    return OverSeeds(
        {
            seed: number(value, other) if value is not None and (other := base.values.get(seed)) else None
            for seed, value in own.values.items()
        }
    )
