"""What should make a reader doubt a study, as sentences: one function a doubt, no sentence where all is well."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from al_cli.progress import count, listing
from al_cli.report.statistics.analyse import Statistics
from al_cli.report.statistics.budgets import mean_end, usual_end
from al_cli.report.statistics.comparison import FEWEST_SEEDS, Measure
from al_cli.report.statistics.curves import RunCurve, Seed, common_range
from al_cli.report.statistics.in_words import difference
from al_cli.report.statistics.paired_tests import LEVEL
from al_cli.tasks import Metric

# How far the metric of equal trainings may differ, as a share of its highest value.
CPU_NOISE = 1e-8  # equal trainings on a CPU give equal bytes
# Some CUDA kernels add in any order: in the thesis (appendix A) the 13 equal trainings of round 0 lie up to 0.34%
# apart with one seed.
GPU_NOISE = 0.005
Environments = Mapping[str, Mapping[str, Any]]  # run -> content of its environment.json
Configs = Mapping[str, Mapping[str, Any]]  # arm -> the configuration of one of its runs
MEASURE_INFLUENCE = ("influence", "gradient_similarity")  # functions of samplers


def warnings_of_study(
    statistics: Statistics,
    environments: Environments,
    in_vain: Mapping[str, Mapping[str, Sequence[str]]],
    configs: Configs,
) -> list[str]:
    """All warnings, the gravest first. Runs that `environments` lacks count as made on a GPU, the milder case. `in_vain`:
    kind of finding -> run -> what its rounds say."""
    return [
        *work_in_vain(in_vain),
        *missing_random(statistics),
        *chose_by_what_scores_them(configs),
        *unequal_starts(statistics.curves, statistics.metric, environments),
        *same_images_other_value(statistics.curves, statistics.metric, environments),
        *flipped_rankings(statistics),
        *shared_trainings(statistics.curves),
        *oracles(statistics.curves),
        *ended_early(statistics.curves),
        *mixed_environments(environments),
    ]


def missing_random(statistics: Statistics) -> list[str]:
    if statistics.random or not statistics.arms:
        return []
    return ["There is no random arm: nothing here shows that a method is better than labeling images at random."]


def chose_by_what_scores_them(configs: Configs) -> list[str]:
    """Arms whose influence was measured on the images that rounds are scored on: ISAL's way, and an advantage."""
    names = [arm for arm, config in configs.items() if _measures_on_scored(config)]
    if not names:
        return []
    they, their = ("it is", "its") if len(names) == 1 else ("they are", "their")
    return [
        f"{listing(names)} chose with the labels of the images that {they} scored on (model.influence.reference), as ISAL "
        f"did: {their} scores are not held out from that."
    ]


def _measures_on_scored(config: Mapping[str, Any]) -> bool:
    """As the configuration says: a function of the user's own that asks for influence is not recognised."""
    reference = (config.get("model", {}).get("influence") or {}).get("reference", "val")
    if reference != "test" and (reference, config.get("evaluate")) != ("val", "val"):
        return False
    scores = [stage.get("score") or {} for stage in config.get("sampler", {}).get("stages") or []]
    return any(str(score.get("_target_")).rpartition(".")[2] in MEASURE_INFLUENCE for score in scores)


def unequal_budgets(statistics: Statistics) -> list[str]:
    """A sentence for each arm that ends elsewhere than most: what is compared of it. With the answer, for it limits that."""
    cost, curves = statistics.task.cost_names[0], statistics.curves
    others = [curve for curve in curves if curve.arm not in statistics.unequal]
    full, usual = statistics.ranges[cost, "linear"], usual_end(others, cost)
    lines = []
    for arm in statistics.unequal:
        own = [curve for curve in curves if curve.arm == arm]
        ends = f"`{arm}` ends at {mean_end(own, cost):.0f} {cost}, the others at {usual:.0f}"
        within = common_range([*own, *others], statistics.metric.name, cost)
        if within is None or full is None:
            lines.append(
                f"{ends}: they share no range that an area could be taken over, and final values are not compared."
            )
            continue
        share = 100 * (within[1] - within[0]) / (full[1] - full[0])
        used = f"areas use {share:.0f}% of the others' range" if share < 99.5 else "areas end with theirs"
        lines.append(f"{ends}: against it {used}, and final values are not compared.")
    return lines


def flipped_rankings(statistics: Statistics) -> list[str]:
    """Pairs of arms where one has the larger area against the first cost and the other against the second, both beyond luck:
    each difference's 95% t interval leaves 0 out, which is a p of the t-test below 0.05."""
    if len(statistics.task.costs) < 2:
        return []
    first, second = statistics.task.cost_names[:2]
    measures = [Measure("AUC", statistics.metric, cost) for cost in (first, second)]
    one, other = (statistics.comparisons[measure] for measure in measures)
    clear = (one.t_p < 1 - LEVEL) & (other.t_p < 1 - LEVEL) & (np.minimum(one.n, other.n) >= FEWEST_SEEDS)
    ahead = np.argwhere(
        clear & (one.difference > 0) & (other.difference < 0)
    )  # each pair once: the mirror is < 0 and > 0
    if not len(ahead):
        return []
    i, j = max(ahead.tolist(), key=lambda pair: min(one.difference[*pair], -other.difference[*pair]))
    pairs = [comparison.pair(one.arms[i], one.arms[j]) for comparison in (one, other)]
    leads = [f"{difference(pair, measure)})" for pair, measure in zip(pairs, measures, strict=True)]
    more = f" ({count(len(ahead), 'pair')} of arms change places; this one most clearly)" if len(ahead) > 1 else ""
    return [f"The ranking depends on the cost: {' but '.join(leads)}{more}."]


def shared_trainings(curves: Sequence[RunCurve]) -> list[str]:
    """Arms that are one training in a round, where not all are (as all are in a common first round): they agree by
    construction, and are no independent evidence."""
    arms: dict[str, dict[str, None]] = {}  # training -> arms, in their order
    rounds: dict[tuple[str, ...], set[int]] = {}  # arms that share -> where
    known = [(run.arm, k, name) for run in curves for k, name in enumerate(run.trainings) if name]
    for arm, _, name in known:
        arms.setdefault(name, {})[arm] = None
    for _, k, name in known:
        if 1 < len(arms[name]) < len({run.arm for run in curves}):
            rounds.setdefault(tuple(arms[name]), set()).add(k)
    if not rounds:
        return []
    by_round = sorted(rounds.items(), key=lambda group: min(group[1]))
    groups = [
        f"{listing(names)} share that of {'round' if len(where) == 1 else 'rounds'} {listing(sorted(where))}"
        for names, where in by_round
    ]
    some = "; ".join(groups[:3]) + (f"; and {count(len(groups) - 3, 'more group')}" if len(groups) > 3 else "")
    return [
        f"Arms share trainings: the {count(len(known), 'round')} of all runs are {count(len(arms), 'training')}. {some}. "
        "There they agree by construction, and do not confirm one another."
    ]


def unequal_starts(curves: Sequence[RunCurve], metric: Metric, environments: Environments) -> list[str]:
    """Arms that share a seed but not the initial images, or not the metric of round 0 with the same images."""
    lines = []
    others = [runs for runs in _grouped(curves, lambda run: run.seed) if len({run.start for run in runs}) > 1]
    if others:
        runs = others[0]
        differing = listing(dict.fromkeys(run.arm for run in runs if run.start != runs[0].start))
        lines.append(
            f"{_seeds(runs[0].seed for runs in others)}: arms began with different images ({differing} not with those of "
            f"{runs[0].arm}), so pairing by seed compares the starts too."
        )
    drawn = [run for run in curves if run.start]
    worst = _widest(_grouped(drawn, lambda run: (run.seed, run.start)), metric, environments, 0)
    if worst:
        lines.append(
            f"{metric.name} of round 0 differs between arms that share seed and initial images: seed {worst[0].seed}, "
            f"{_range(worst, metric, 0)}. Equal trainings should give equal {metric.name}; arms that train differently "
            "need not."
        )
    return lines


def same_images_other_value(curves: Sequence[RunCurve], metric: Metric, environments: Environments) -> list[str]:
    """Complete runs of a seed, of several arms, that ended with the same labeled images but not the same value."""
    complete = [run for run in curves if run.complete and run.rounds > 1]
    worst = _widest(_grouped(complete, lambda run: (run.seed, run.end, run.rounds)), metric, environments, -1)
    if not worst:
        return []
    return [
        f"Arms that ended with the same labeled images differ in {metric.name} by more than repeating the same training "
        f"does: seed {worst[0].seed}, {_range(worst, metric, -1)}. What came before the last round, or the way of "
        "training, made the difference."
    ]


def oracles(curves: Sequence[RunCurve]) -> list[str]:
    names = list(dict.fromkeys(run.arm for run in curves if run.oracle))
    if not names:
        return []
    verb = "is an oracle" if len(names) == 1 else "are oracles"
    return [
        f"{listing(names)} {verb}: they look at labels that nobody has yet, and show what is possible, not what to use."
    ]


def ended_early(curves: Sequence[RunCurve]) -> list[str]:
    """A sentence for each value at which runs stopped: what can be compared of them, and what cannot."""
    lines = []
    for value in dict.fromkeys(run.stopped for run in curves if run.stopped):
        runs = sum(run.stopped == value for run in curves)
        lines.append(
            f"{runs} of {count(len(curves), 'run')} stopped at {value}, so their final values say little, and where their "
            "arms `never` reach another value, they ended before: compare the labels that they needed. Once a run of an arm "
            "has ended, the arm's curve rests on those that went on."
        )
    return lines


def mixed_environments(environments: Environments) -> list[str]:
    """A sentence each for the devices, machines, revisions of al and package versions in which the runs differ."""
    lines = []
    for key, what in (
        ("device", "devices"),
        ("platform", "platforms"),
        ("python", "Python versions"),
        ("git", "revisions of al"),
    ):
        lines += _mixed(f"different {what}", {run: content.get(key) for run, content in environments.items()})
    for part, what in (("kernels", "values of"), ("versions", "versions of")):
        values = {run: content.get(part) or {} for run, content in environments.items()}
        for name in sorted({name for of_run in values.values() for name in of_run}):
            wording = {"cpu": "CPUs", "vectors": "vector units"}.get(name, f"{what} {name}")
            lines += _mixed(f"different {wording}", {run: of_run.get(name) for run, of_run in values.items()})
    return lines


def work_in_vain(found: Mapping[str, Mapping[str, Sequence[str]]]) -> list[str]:
    """A sentence for each kind of finding, with the runs that it was made in and one of them in its own words."""
    lines = []
    for kind, runs in found.items():
        rounds = sum(map(len, runs.values()))
        run, words = next(iter(runs.items()))
        where = f"{count(rounds, 'round')} of {count(len(runs), 'run')} ({listing(runs, 3)})"
        lines.append(f"Work in vain: {kind}, in {where}; for example {run}, {words[0]}.")
    return lines


def _mixed(what: str, values: Mapping[str, Any]) -> list[str]:
    runs: dict[str, list[str]] = {}
    for run, value in values.items():
        runs.setdefault("unknown" if value is None else str(value), []).append(run)
    if len(runs) < 2:
        return []
    parts = [f"{value} ({count(len(names), 'run')}: {listing(names, 2)})" for value, names in runs.items()]
    return [f"The runs were made with {what}: {listing(parts)}."]


def _grouped(curves: Iterable[RunCurve], key: Callable[[RunCurve], Any]) -> list[list[RunCurve]]:
    """The curves with the same key together, in the order they come in."""
    groups: dict[Any, list[RunCurve]] = {}
    for run in curves:
        groups.setdefault(key(run), []).append(run)
    return list(groups.values())


def _widest(groups: Iterable[Sequence[RunCurve]], metric: Metric, environments: Environments, k: int) -> list[RunCurve]:
    """Of the groups whose metric of round k differs by more than replay noise between arms, the widest, by value; or
    nothing."""
    wide: list[tuple[float, list[RunCurve]]] = []
    for group in groups:
        known = [run for run in group if run.metrics[metric.name][k] is not None]
        runs = sorted(known, key=lambda run: _value(run, metric, k))
        if len({run.arm for run in runs}) > 1:
            spread = _value(runs[-1], metric, k) - _value(runs[0], metric, k)
            cpu = all(str(environments.get(run.run, {}).get("device", "")).startswith("cpu") for run in runs)
            scale = metric.highest or max(abs(_value(run, metric, k)) for run in runs)
            if spread > scale * (CPU_NOISE if cpu else GPU_NOISE):
                wide.append((spread, runs))
    return max(wide, key=lambda item: item[0])[1] if wide else []


def _value(run: RunCurve, metric: Metric, k: int) -> float:
    return run.metrics[metric.name][k] or 0.0


def _range(runs: Sequence[RunCurve], metric: Metric, k: int) -> str:
    low, high = (metric.text(_value(run, metric, k)) for run in (runs[0], runs[-1]))
    return f"{metric.name} {low} ({runs[0].arm}) to {high} ({runs[-1].arm})"


def _seeds(seeds: Iterable[Seed]) -> str:
    names = list(seeds)
    return f"Seed {names[0]}" if len(names) == 1 else f"Seeds {listing(names)}"
