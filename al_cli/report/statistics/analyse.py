"""The statistics of a study, from the curves of its runs.

    curves = curves_of(runs, task)                                      report/study.py: a run as a curve
    statistics = analyse(curves, task, curves_of(reference_runs, task), random="random")
    statistics.comparisons[Measure("AUC", task.primary, cost="images")]  comparison.py: all pairs of arms in one measure
    answer(statistics)                                                  the study in sentences
    answer_claim(parse_claim(..., task), statistics)                    claim_answer.py
    warnings_of_study(statistics, environments)                         warnings.py

Only complete runs count for areas, final values and labels to a target; rounds are averaged over all runs that have them.
Several runs of one arm with one seed count as that seed once, by their mean: the seed is what is repeated.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from al_cli.progress import count
from al_cli.report.statistics.comparison import Comparison, Measure, Pair
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
from al_cli.report.statistics.in_words import describe, listing, seeds_sentence
from al_cli.tasks import Metric, Task

SHARES = (0.90, 0.95)  # of the full-label reference


@dataclass(frozen=True)
class ArmSummary:
    """The numbers of one arm's complete runs. A key (cost, share) is such as ("images", 0.95).

    `auc`: the mean of the study's metric over the cost range common to all runs. `labels`: cost at which the target
    is first reached. `saved`: 100 (1 - labels / labels of the random arm with the same seed), percent, negative where
    it needs more; for seeds where both reach the target. `share`: the final value in percent of the full-label
    reference of the same seed, and `share_labels` the cost at which 90% and 95% of the reference is first reached.
    """

    arm: str
    oracle: bool
    seeds: int
    final: OverSeeds
    auc: Mapping[tuple[str, Scale], OverSeeds]
    labels: Mapping[str, OverSeeds]
    saved: Mapping[str, OverSeeds]
    share: OverSeeds
    share_labels: Mapping[tuple[str, float], OverSeeds]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Everything that a report tells in numbers.

    All is in one `metric` of the task. `comparisons` has the measures AUC (each cost, linear and log), the final
    value, and that of every round but those that one arm alone has. `ranges` are the costs that areas are taken over.
    `target` None means: the random arm's own final value, seed by seed. `reference` is the full-label value by seed.
    `random` None: there is no such arm.
    """

    task: Task
    metric: Metric
    arms: tuple[ArmSummary, ...]
    rounds: tuple[ArmRound, ...]
    comparisons: Mapping[Measure, Comparison]
    ranges: Mapping[tuple[str, Scale], tuple[float, float] | None]
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
    final = {arm: _over_seeds(runs, lambda curve: curve.final(name)) for arm, runs in done.items()}
    full = _over_seeds(reference, lambda curve: curve.metrics[name][0])
    ranges = {(cost, scale): common_range(curves, name, cost, scale) for cost in costs for scale in SCALES}

    goals = final[random].values if random else {}
    if target:
        goals = {curve.seed: target.value for curve in curves}
    to_reach = target.metric.name if target else name
    labels = {(arm, cost): _labels(runs, to_reach, cost, goals) for arm, runs in done.items() for cost in costs}
    shares = {share: {seed: share * value for seed, value in full.values.items() if value} for share in SHARES}

    def summarise(arm: str) -> ArmSummary:
        return ArmSummary(
            arm=arm,
            oracle=any(curve.oracle for curve in arms[arm]),
            seeds=len(final[arm].values),
            final=final[arm],
            auc={
                (cost, scale): _over_seeds(done[arm], _reader(Measure("AUC", metric, cost, scale), within))
                for (cost, scale), within in ranges.items()
            },
            labels={cost: labels[arm, cost] for cost in costs},
            saved={
                cost: _by_seed(labels[arm, cost], labels[random, cost], lambda own, base: 100 * (1 - own / base))
                if random
                else OverSeeds({})
                for cost in costs
            },
            share=_by_seed(final[arm], full, lambda own, base: 100 * own / base),
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
        target=target,
        reference=full,
        random=random,
        alpha=alpha,
        curves=tuple(curves),
    )


def compare(curves: Sequence[RunCurve], measure: Measure, alpha: float = 0.05) -> Comparison:
    """All arms of the curves against each other in one measure. Seeds in ascending order."""
    arms = by_arm(curves)
    seeds = sorted({curve.seed for curve in curves}, key=lambda seed: (seed is None, seed or 0))
    within = common_range(curves, measure.metric.name, measure.cost, measure.scale) if measure.cost else None
    values = np.full((len(arms), len(seeds)), np.nan)
    for row, runs in enumerate(arms.values()):
        for seed, value in _over_seeds(runs, _reader(measure, within)).values.items():
            values[row, seeds.index(seed)] = np.nan if value is None else value
    return Comparison(measure, tuple(arms), tuple(seeds), values, alpha)


def answer(statistics: Statistics) -> list[str]:
    """What the study shows, in words, the comparison with random first; oracles are left out. Nothing for no arms.

    Per cost: how many arms are better and worse than random in the area under the curve, and the difference of the best.
    Without a random arm the two best are compared. Then what the best needs to reach the target, what cannot be said
    with so few seeds, and the smallest difference that could have been found. Runs of one training have no area: their values
    are compared. Where nothing can be compared: why not.
    """
    practical = [arm.arm for arm in statistics.arms if not arm.oracle]
    sentences, metric = [], statistics.metric
    best: dict[Measure, str] = {}
    for measure in lead_measures(statistics):
        comparison = statistics.comparisons[measure]
        baseline = statistics.random or _highest(comparison, practical)
        pairs = [pair for pair in comparison.against(baseline) if pair.arm in practical] if baseline else []
        pairs = [pair for pair in pairs if pair.difference is not None]
        if not pairs:
            continue
        if len(pairs) > 1:
            sentences.append(_counted(pairs, comparison.measure))
        top = max(pairs, key=lambda pair: pair.difference or 0.0)
        best[measure] = top.arm
        sentences.append(describe(top, comparison.measure))
    if not sentences:
        return [_nothing_to_compare(statistics, practical)] if practical else []
    if statistics.random:
        sentences += [_saving(statistics.of_arm(arm), statistics) for arm in dict.fromkeys(best.values())]
    sentences.append(seeds_sentence(statistics.seeds, statistics.alpha) or "")
    for comparison in map(statistics.comparisons.__getitem__, best):
        if comparison.detectable:
            sentences.append(
                f"In {comparison.measure.label}, 4 of 5 such studies find a true difference of "
                f"{metric.amount(metric.text(comparison.detectable))} between two arms (paired t-test at "
                f"{statistics.alpha:g}, uncorrected); smaller ones are missed more often."
            )
    return [sentence for sentence in sentences if sentence]


def lead_measures(statistics: Statistics) -> list[Measure]:
    """What arms are compared in first: the area against each cost; the final value where every run has one round only."""
    if statistics.curves and all(curve.rounds == 1 for curve in statistics.curves):
        return [Measure("final", statistics.metric)]
    return [Measure("AUC", statistics.metric, cost) for cost in statistics.task.cost_names]


def _nothing_to_compare(statistics: Statistics, arms: Sequence[str]) -> str:
    """Why no two of these arms have an area that could be compared."""
    measures = [measure for measure in statistics.comparisons if measure.kind == "AUC"]
    pairs = [pair for pair in itertools.combinations(arms, 2) if _common_seeds(statistics.curves, *pair)]
    if not pairs:
        return "No two arms have complete runs of a common seed yet: there is nothing to compare."
    why = why_no_difference(statistics.curves, *pairs[0], measures[0])
    return f"No two arms can be compared in {measures[0].label}: {why}."


def why_no_difference(curves: Sequence[RunCurve], arm: str, other: str, measure: Measure) -> str:
    """Half a sentence on two arms that have no paired difference in this measure."""
    seeds = _common_seeds(curves, arm, other)
    if not seeds:
        return "the two have no complete run of a common seed yet"
    metric, cost = measure.metric.name, measure.cost
    runs = [curve for curve in curves if curve.arm in (arm, other) and curve.complete and curve.seed in seeds]
    if empty := [curve for curve in runs if all(value is None for value in curve.metrics[metric])]:
        return f"{empty[0].run} is complete, but has no value of {metric}"
    if cost is None:
        return f"the runs are complete, but not all of them have a value of {metric} there"
    if any(curve.points(metric, cost) is None for curve in runs):
        return f"the runs are complete, but their {cost} do not grow from round to round, so there is no area"
    return f"the runs are complete, but share no range of {cost} that an area could be taken over"


def _common_seeds(curves: Sequence[RunCurve], arm: str, other: str) -> set[Seed]:
    """The seeds with which both arms have a complete run."""
    seeds = [{curve.seed for curve in curves if curve.arm == name and curve.complete} for name in (arm, other)]
    return seeds[0] & seeds[1]


def _highest(comparison: Comparison, arms: Sequence[str]) -> str | None:
    """The arm with the highest mean; None where none has a value."""
    means = {
        arm: np.nanmean(row)
        for arm, row in zip(comparison.arms, comparison.values, strict=True)
        if np.isfinite(row).any()
    }
    return max((arm for arm in arms if arm in means), key=lambda arm: means[arm], default=None)


def _counted(pairs: Sequence[Pair], measure: Measure) -> str:
    """How many arms win and lose against the one they are all compared with."""
    names = {
        outcome: [pair.arm for pair in pairs if pair.outcome == outcome]
        for outcome in ("win", "loss", "tie", "unknown")
    }
    parts = [
        f"{len(arms)} {'is' if len(arms) == 1 else 'are'} {word} ({listing(arms)})"
        for word, arms in (("better", names["win"]), ("worse", names["loss"]))
        if arms
    ]
    if rest := len(names["tie"]) + len(names["unknown"]):
        parts.append(f"{rest} {'is' if rest == 1 else 'are'} undecided")
    return f"In {measure.label}, of {count(len(pairs), 'arm')} against {pairs[0].against}, {listing(parts)}."


def _saving(arm: ArmSummary, statistics: Statistics) -> str:
    """The labels an arm needs to reach the target, in percent of what random needs."""
    target = statistics.target
    goal = (
        f"{target.metric.name} {target.value:g}"
        if target
        else f"the final {statistics.metric.name} of {statistics.random} with its seed"
    )
    saved = {cost: over.mean for cost, over in arm.saved.items()}
    if saved and all(p is not None and abs(p) < 0.5 for p in saved.values()):  # the last round labels the whole pool
        same = f"{arm.arm} needs as many labels as {statistics.random}"
        return f"To reach {goal}, {same}: a lower --target may show a difference."
    known = [f"{abs(p):.0f}% {'fewer' if p >= 0 else 'more'} {cost}" for cost, p in saved.items() if p is not None]
    if known:
        seeds = count(arm.seeds, "seed")
        return f"To reach {goal}, {arm.arm} needs {listing(known)} than {statistics.random} (mean over {seeds})."
    reached = arm.labels[statistics.task.cost_names[0]].n
    return f"{arm.arm} reaches {goal} with {reached} of {count(arm.seeds, 'seed')}: a saving cannot be given for all."


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
