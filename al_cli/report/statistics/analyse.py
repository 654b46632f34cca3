"""The statistics of a study, from the curves of its runs.

    curves = curves_of(runs)                               curves_of_arms.py: a run as a curve
    found = analyse(curves, curves_of(reference_runs), random="random")
    found.comparisons[Measure("AUC", cost="boxes")]         comparison.py: all pairs of arms in one measure
    answer(found)                                           what it comes to, in sentences
    answer_claim(parse_claim(...), found)                   claims.py
    warnings_of_study(found, curves, environments)          warnings_of_study.py

Only complete runs count for areas, final values and labels to a target; rounds are averaged over all runs that have them.
Several runs of one arm with one seed count as that seed once, by their mean: the seed is what is repeated.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from al_cli.report.statistics.comparison import Comparison, Measure, Pair
from al_cli.report.statistics.curves import (
    COSTS,
    SCALES,
    ArmRound,
    Cost,
    Curve,
    OverSeeds,
    Scale,
    Seed,
    Target,
    area,
    average_rounds,
    by_arm,
    common_range,
    labels_to_reach,
)
from al_cli.report.statistics.in_words import count, describe, listing, seeds_sentence

SHARES = (0.90, 0.95)  # of the full-label reference


@dataclass(frozen=True)
class ArmSummary:
    """What one arm's complete runs come to. A key (cost, share) is such as ("boxes", 0.95).

    `auc`: the mean AP over the cost range common to all runs. `labels`: cost at which the target is first reached.
    `saved`: 100 (1 - labels / labels of the random arm with the same seed), percent, negative where it needs more; for
    seeds where both reach the target. `share`: final AP in percent of the full-label reference of the same seed, and
    `share_labels` the cost at which 90% and 95% of the reference is first reached.
    """

    arm: str
    oracle: bool
    seeds: int
    final: OverSeeds
    auc: Mapping[tuple[Cost, Scale], OverSeeds]
    labels: Mapping[Cost, OverSeeds]
    saved: Mapping[Cost, OverSeeds]
    share: OverSeeds
    share_labels: Mapping[tuple[Cost, float], OverSeeds]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Everything that a report tells in numbers.

    `comparisons` has the measures AUC (images and boxes, linear and log), final AP, and AP of every round but those that
    one arm alone has. `ranges` are the costs that areas are taken over. `target` None means: the random arm's own final
    AP, seed by seed. `reference` is the full-label AP by seed. `random` None: there is no such arm.
    """

    metric: str
    arms: tuple[ArmSummary, ...]
    rounds: tuple[ArmRound, ...]
    comparisons: Mapping[Measure, Comparison]
    ranges: Mapping[tuple[Cost, Scale], tuple[float, float] | None]
    target: Target | None
    reference: OverSeeds
    random: str | None
    alpha: float
    curves: tuple[Curve, ...]

    @property
    def seeds(self) -> int:
        """How many seeds the arm with the most complete ones has."""
        return max((arm.seeds for arm in self.arms), default=0)

    def of_arm(self, arm: str) -> ArmSummary:
        """KeyError for an arm that is not in the study."""
        return {summary.arm: summary for summary in self.arms}[arm]


def analyse(
    curves: Sequence[Curve],
    reference: Sequence[Curve] = (),
    *,
    random: str | None = None,
    target: Target | None = None,
    alpha: float = 0.05,
    metric: str = "AP",
) -> Statistics:
    """All numbers of a study. `reference` are full-label runs (round 0 counts), `random` the arm that savings are against.

    Without a target, the target of a seed is the final value of the random arm's run with that seed: arms of one seed
    share the initial images, so a lucky start raises the target and the curve alike. (Against the mean of random's final
    values, about half of its own runs would never arrive.) No curve gives empty tables.
    """
    arms = by_arm(curves)
    random = random if random in arms else None
    done = {arm: [curve for curve in runs if curve.complete] for arm, runs in arms.items()}
    final = {arm: _over_seeds(runs, lambda curve: curve.final(metric)) for arm, runs in done.items()}
    full = _over_seeds(reference, lambda curve: curve.metrics[metric][0])
    ranges = {(cost, scale): common_range(curves, metric, cost, scale) for cost in COSTS for scale in SCALES}

    goals = final[random].values if random else {}
    if target:
        goals = {curve.seed: target.value for curve in curves}
    to_reach = target.metric if target else metric
    labels = {(arm, cost): _labels(runs, to_reach, cost, goals) for arm, runs in done.items() for cost in COSTS}
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
            labels={cost: labels[arm, cost] for cost in COSTS},
            saved={
                cost: _by_seed(labels[arm, cost], labels[random, cost], lambda own, base: 100 * (1 - own / base))
                if random
                else OverSeeds({})
                for cost in COSTS
            },
            share=_by_seed(final[arm], full, lambda own, base: 100 * own / base),
            share_labels={
                (cost, share): _labels(done[arm], metric, cost, shares[share]) for cost in COSTS for share in SHARES
            },
        )

    return Statistics(
        metric=metric,
        arms=tuple(summarise(arm) for arm in arms),
        rounds=tuple(average_rounds(curves)),
        comparisons={measure: compare(curves, measure, alpha) for measure in _measures(arms, metric)},
        ranges=ranges,
        target=target,
        reference=full,
        random=random,
        alpha=alpha,
        curves=tuple(curves),
    )


def compare(curves: Sequence[Curve], measure: Measure, alpha: float = 0.05) -> Comparison:
    """All arms of the curves against each other in one measure. Seeds in ascending order."""
    arms = by_arm(curves)
    seeds = sorted({curve.seed for curve in curves}, key=lambda seed: (seed is None, seed or 0))
    within = common_range(curves, measure.metric, measure.cost, measure.scale) if measure.cost else None
    values = np.full((len(arms), len(seeds)), np.nan)
    for row, runs in enumerate(arms.values()):
        for seed, value in _over_seeds(runs, _reader(measure, within)).values.items():
            values[row, seeds.index(seed)] = np.nan if value is None else value
    return Comparison(measure, tuple(arms), tuple(seeds), values, alpha)


def answer(statistics: Statistics) -> list[str]:
    """What the study says, in words, the comparison with random first; oracles are left out. Nothing for no arms.

    Per cost: how many arms are better and worse than random in the area under the AP curve, and the difference of the
    best. Without a random arm the two best are compared. Then what the best needs to reach the target, what the number
    of seeds cannot tell, and the smallest difference that it could have.
    """
    practical = [arm.arm for arm in statistics.arms if not arm.oracle]
    sentences = []
    best: dict[Cost, str] = {}
    for cost in COSTS:
        comparison = statistics.comparisons[Measure("AUC", statistics.metric, cost)]
        baseline = statistics.random or _highest(comparison, practical)
        pairs = [pair for pair in comparison.against(baseline) if pair.arm in practical] if baseline else []
        pairs = [pair for pair in pairs if pair.difference is not None]
        if not pairs:
            continue
        if len(pairs) > 1:
            sentences.append(_counted(pairs, comparison.measure))
        top = max(pairs, key=lambda pair: pair.difference or 0.0)
        best[cost] = top.arm
        sentences.append(describe(top, comparison.measure))
    if not sentences:
        return (
            ["No two arms have complete runs of a common seed yet: there is nothing to compare."] if practical else []
        )
    if statistics.random:
        sentences += [_saving(statistics.of_arm(arm), statistics) for arm in dict.fromkeys(best.values())]
    sentences.append(seeds_sentence(statistics.seeds, statistics.alpha) or "")
    for cost in best:
        comparison = statistics.comparisons[Measure("AUC", statistics.metric, cost)]
        if comparison.detectable:
            sentences.append(
                f"In {comparison.measure.label}, 4 of 5 such studies find a true difference of {comparison.detectable:.2f} "
                f"points between two arms (paired t-test at {statistics.alpha:g}, uncorrected); smaller ones are missed "
                "more often."
            )
    return [sentence for sentence in sentences if sentence]


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
        f"{len(found)} {'is' if len(found) == 1 else 'are'} {word} ({listing(found)})"
        for word, found in (("better", names["win"]), ("worse", names["loss"]))
        if found
    ]
    if rest := len(names["tie"]) + len(names["unknown"]):
        parts.append(f"{rest} cannot be told apart from it")
    return f"In {measure.label}, of {count(len(pairs), 'arm')} against {pairs[0].against}, {listing(parts)}."


def _saving(arm: ArmSummary, statistics: Statistics) -> str:
    """The labels an arm needs to reach the target, in percent of what random needs."""
    target = statistics.target
    goal = (
        f"{target.metric} {target.value:g}"
        if target
        else f"the final {statistics.metric} of {statistics.random} with its seed"
    )
    saved = {cost: over.mean for cost, over in arm.saved.items()}
    if saved and all(p is not None and abs(p) < 0.5 for p in saved.values()):  # the last round labels the whole pool
        return f"To reach {goal}, {arm.arm} needs as many labels as {statistics.random}: a lower --target may tell them apart."
    known = [f"{abs(p):.0f}% {'fewer' if p >= 0 else 'more'} {cost}" for cost, p in saved.items() if p is not None]
    if known:
        seeds = count(arm.seeds, "seed")
        return f"To reach {goal}, {arm.arm} needs {listing(known)} than {statistics.random} (mean over {seeds})."
    reached = arm.labels["images"].n
    return f"{arm.arm} reaches {goal} with {reached} of {count(arm.seeds, 'seed')}: a saving cannot be given for all."


def _measures(arms: Mapping[str, Sequence[Curve]], metric: str) -> list[Measure]:
    """Areas, the final value, and every round that at least two arms have reached."""
    reached = sorted((max(len(curve.images) for curve in runs) for runs in arms.values()), reverse=True)
    areas = [Measure("AUC", metric, cost, scale) for cost in COSTS for scale in SCALES]
    rounds = [Measure("round", metric, round=k) for k in range(reached[1] if len(reached) > 1 else 0)]
    return [*areas, Measure("final", metric), *rounds]


def _reader(measure: Measure, within: tuple[float, float] | None) -> Callable[[Curve], float | None]:
    """The function that reads a measure off a curve; `within` is the range of an area."""
    metric, cost, k = measure.metric, measure.cost, measure.round
    if measure.kind == "AUC" and cost is not None:
        return lambda curve: area(curve, metric, cost, measure.scale, within)
    if measure.kind == "round" and k is not None:
        return lambda curve: curve.metrics[metric][k] if k < len(curve.images) else None
    return lambda curve: curve.final(metric)


def _over_seeds(runs: Iterable[Curve], number: Callable[[Curve], float | None]) -> OverSeeds:
    """One number per seed of the runs: the mean where several share a seed, None where one of them has none."""
    found: dict[Seed, list[float | None]] = {}
    for curve in runs:
        found.setdefault(curve.seed, []).append(number(curve))
    return OverSeeds({seed: _mean(values) for seed, values in found.items()})


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _labels(runs: Iterable[Curve], metric: str, cost: Cost, goals: Mapping[Seed, float | None]) -> OverSeeds:
    """Cost at which each seed's run first reaches that seed's goal; None where there is no goal."""

    def labels(curve: Curve) -> float | None:
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
