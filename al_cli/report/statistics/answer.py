"""What a study shows, in sentences, from the numbers of `analyse.py`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from al_cli.progress import count, listing
from al_cli.report.statistics.analyse import ArmSummary, Statistics
from al_cli.report.statistics.blocks import block_means
from al_cli.report.statistics.budgets import same_end
from al_cli.report.statistics.comparison import Comparison, Measure, Pair
from al_cli.report.statistics.curves import RunCurve, Seed
from al_cli.report.statistics.in_words import describe, seeds_sentence
from al_cli.report.statistics.savings import saving
from al_cli.report.statistics.warnings import unequal_budgets


def answer(statistics: Statistics) -> list[str]:
    """What the study shows, in words, the comparison with random first; oracles are left out. Nothing for no arms.

    Per cost: how many arms are better and worse than random in the area under the curve, and the difference of the best.
    Without a random arm the two best are compared. Then what the best pays for equal values, what cannot be said
    with so few seeds, and the smallest difference that could have been found. Runs of one training have no area: their values
    are compared. Where nothing can be compared: why not.
    """
    practical = [arm.arm for arm in statistics.arms if not arm.oracle]
    sentences, metric = [], statistics.metric
    best: dict[Measure, str] = {}
    common = 0  # seeds that random, or the best arm, shares with any other: what an arm has beyond them is in no test
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
        best[measure], common = top.arm, max(common, *(pair.n for pair in pairs))
        sentences.append(describe(top, comparison.measure, comparison.alpha))
    if not sentences:
        return [_nothing_to_compare(statistics, practical)] if practical else []
    sentences += unequal_budgets(statistics)
    if statistics.random:
        sentences += [_saving(statistics.of_arm(arm), statistics) for arm in dict.fromkeys(best.values())]
    sentences.append(seeds_sentence(common, statistics.alpha) or "")
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
    first, second = ([run for run in runs if run.arm == name] for name in (arm, other))
    if cost is None and not same_end(first, second, runs[0].costs):
        return "the two end with other costs, so their final values are not compared"
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
    means = dict(zip(comparison.arms, block_means(comparison.values), strict=True))
    return max((arm for arm in arms if np.isfinite(means[arm])), key=lambda arm: means[arm], default=None)


def _counted(pairs: Sequence[Pair], measure: Measure) -> str:
    """How many arms are better and worse than the one they are all compared with."""
    names = {
        outcome: [pair.arm for pair in pairs if pair.outcome == outcome]
        for outcome in ("better", "worse", "undecided", "unknown")
    }
    parts = [
        f"{len(arms)} {'is' if len(arms) == 1 else 'are'} {word} ({listing(arms)})"
        for word in ("better", "worse")
        if (arms := names[word])
    ]
    if rest := len(names["undecided"]) + len(names["unknown"]):
        parts.append(f"{rest} {'is' if rest == 1 else 'are'} undecided")
    return f"In {measure.label}, of {count(len(pairs), 'arm')} against {pairs[0].against}, {listing(parts)}."


def _saving(arm: ArmSummary, statistics: Statistics) -> str:
    """What an arm saves against random; corrected for all ratios that the study has, for this arm was picked among them."""
    target, random = statistics.target, statistics.random or ""
    goal = f"To reach {target.metric.name} {target.value:g}" if target else f"For equal {statistics.metric.name}"
    family = sum(ratio.mean is not None for one in statistics.arms if not one.oracle for ratio in one.ratio.values())
    return saving(arm.arm, random, arm.ratio, goal, family, statistics.alpha)
