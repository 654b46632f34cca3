"""What should make a reader doubt a study, as sentences: one function a doubt, no sentence where all is well."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from al_cli.report.statistics.analyse import Statistics
from al_cli.report.statistics.curves import Curve, Seed
from al_cli.report.statistics.in_words import count, listing
from al_cli.report.statistics.paired_tests import ROUNDING

CPU_NOISE = 1e-6  # AP, percent: equal trainings on a CPU give equal bytes
# AP, percent. Some CUDA kernels add in any order: in the thesis (appendix A) the 13 equal trainings of round 0 lie up to
# 0.34 apart with one seed.
GPU_NOISE = 0.5
Environments = Mapping[str, Mapping[str, Any]]  # run -> content of its environment.json


def warnings_of_study(statistics: Statistics, curves: Sequence[Curve], environments: Environments) -> list[str]:
    """All warnings, the gravest first. Runs that `environments` lacks count as made on a GPU, the milder case."""
    return [
        *missing_random(statistics),
        *unequal_starts(curves, environments),
        *same_images_other_ap(curves, environments),
        *flipped_rankings(statistics),
        *oracles(curves),
        *mixed_environments(environments),
    ]


def missing_random(statistics: Statistics) -> list[str]:
    if statistics.random or not statistics.arms:
        return []
    return ["There is no random arm: nothing here shows that a method is better than labeling images at random."]


def flipped_rankings(statistics: Statistics) -> list[str]:
    """Pairs of arms whose mean areas are in one order against images and in the other against boxes."""
    means = {arm.arm: (arm.auc["images", "linear"].mean, arm.auc["boxes", "linear"].mean) for arm in statistics.arms}
    flips = []
    for (one, (i, b)), (other, (j, c)) in itertools.combinations(means.items(), 2):
        if i is not None and b is not None and j is not None and c is not None and (i - j) * (b - c) < 0:
            ahead, behind = (one, other) if i > j else (other, one)
            flips.append((min(abs(i - j), abs(b - c)), ahead, behind, abs(i - j), abs(b - c)))
    if not (flips := [flip for flip in flips if flip[0] > ROUNDING]):
        return []
    _, ahead, behind, by_images, by_boxes = max(flips)
    more = f" ({count(len(flips), 'pair')} of arms change places; this one most clearly)" if len(flips) > 1 else ""
    return [
        f"The ranking depends on the cost: against images {ahead} is ahead of {behind} by {by_images:.2f} points of AUC, "
        f"against boxes {behind} is ahead by {by_boxes:.2f}{more}."
    ]


def unequal_starts(curves: Sequence[Curve], environments: Environments) -> list[str]:
    """Arms that share a seed but not the initial images, or not the AP of round 0 with the same images."""
    lines = []
    others = [runs for runs in _grouped(curves, lambda run: run.seed) if len({run.start for run in runs}) > 1]
    if others:
        runs = others[0]
        differing = listing(dict.fromkeys(run.arm for run in runs if run.start != runs[0].start))
        lines.append(
            f"{_seeds(runs[0].seed for runs in others)}: arms began with different images ({differing} not with those of "
            f"{runs[0].arm}), so pairing by seed compares the starts too."
        )
    worst = _widest(_grouped(curves, lambda run: (run.seed, run.start)), environments, 0)
    if worst:
        lines.append(
            f"AP of round 0 differs between arms that share seed and initial images: seed {worst[0].seed}, "
            f"{_range(worst, 0)}. Equal trainings should give equal AP; arms that train differently need not."
        )
    return lines


def same_images_other_ap(curves: Sequence[Curve], environments: Environments) -> list[str]:
    """Complete runs of a seed, of several arms, that ended with the same labeled images but not the same AP."""
    complete = [run for run in curves if run.complete and len(run.images) > 1]
    worst = _widest(_grouped(complete, lambda run: (run.seed, run.end, len(run.images))), environments, -1)
    if not worst:
        return []
    return [
        f"Arms that ended with the same labeled images differ in AP by more than a repeated training: seed {worst[0].seed}, "
        f"{_range(worst, -1)}. What came before the last round, or the way of training, made the difference."
    ]


def oracles(curves: Sequence[Curve]) -> list[str]:
    names = list(dict.fromkeys(run.arm for run in curves if run.oracle))
    if not names:
        return []
    verb = "is an oracle" if len(names) == 1 else "are oracles"
    return [
        f"{listing(names)} {verb}: they look at labels that nobody has yet, and show what is possible, not what to use."
    ]


def mixed_environments(environments: Environments) -> list[str]:
    """A sentence each for the devices, machines, revisions of al and package versions in which the runs differ."""
    lines = []
    for key, what in (
        ("device", "devices"),
        ("platform", "platforms"),
        ("python", "Python versions"),
        ("git", "revisions of al"),
    ):
        lines += _mixed(f"different {what}", {run: found.get(key) for run, found in environments.items()})
    for part, what in (("kernels", "values of"), ("versions", "versions of")):
        values = {run: found.get(part) or {} for run, found in environments.items()}
        for name in sorted({name for found in values.values() for name in found}):
            wording = {"cpu": "CPUs", "vectors": "vector units"}.get(name, f"{what} {name}")
            lines += _mixed(f"different {wording}", {run: found.get(name) for run, found in values.items()})
    return lines


def _mixed(what: str, values: Mapping[str, Any]) -> list[str]:
    runs: dict[str, list[str]] = {}
    for run, value in values.items():
        runs.setdefault("unknown" if value is None else str(value), []).append(run)
    if len(runs) < 2:
        return []
    parts = [f"{value} ({count(len(names), 'run')}: {listing(names, 2)})" for value, names in runs.items()]
    return [f"The runs were made with {what}: {listing(parts)}."]


def _grouped(curves: Iterable[Curve], key: Callable[[Curve], Any]) -> list[list[Curve]]:
    """The curves with the same key together, in the order they come in."""
    found: dict[Any, list[Curve]] = {}
    for run in curves:
        found.setdefault(key(run), []).append(run)
    return list(found.values())


def _widest(groups: Iterable[Sequence[Curve]], environments: Environments, k: int) -> list[Curve]:
    """Of the groups whose AP of round k differs by more than replay noise between arms, the widest, by AP; or nothing."""
    found: list[tuple[float, list[Curve]]] = []
    for group in groups:
        runs = sorted((run for run in group if run.metrics["AP"][k] is not None), key=lambda run: _ap(run, k))
        if len({run.arm for run in runs}) > 1:
            spread = _ap(runs[-1], k) - _ap(runs[0], k)
            cpu = all(str(environments.get(run.run, {}).get("device", "")).startswith("cpu") for run in runs)
            if spread > (CPU_NOISE if cpu else GPU_NOISE):
                found.append((spread, runs))
    return max(found, key=lambda item: item[0])[1] if found else []


def _ap(run: Curve, k: int) -> float:
    return run.metrics["AP"][k] or 0.0


def _range(runs: Sequence[Curve], k: int) -> str:
    return f"AP {_ap(runs[0], k):.2f} ({runs[0].arm}) to {_ap(runs[-1], k):.2f} ({runs[-1].arm})"


def _seeds(seeds: Iterable[Seed]) -> str:
    names = list(seeds)
    return f"Seed {names[0]}" if len(names) == 1 else f"Seeds {listing(names)}"
