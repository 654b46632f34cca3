"""All runs of a study in one table, and the mean over seeds of each arm.

An arm is what a study compares: the runs whose configurations differ in their seeds only. Standard deviations are those
of a sample (n - 1), so one seed has none. A run that failed or is not finished counts with the rounds it has, and every
table says what is missing.
"""

from __future__ import annotations

import json
import logging
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from al_cli.errors import RunError
from al_cli.records import RunFolder, RunSummary, find_runs
from al_cli.records.files import csv_text, markdown_text, write_atomic
from al_cli.records.folder import flatten
from al_cli.records.rounds import ROUND_COLUMNS, round_row
from al_cli.report import style
from al_cli.types import RoundRecord

log = logging.getLogger("al")

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "val_loss")
NOT_OF_AN_ARM = ("seed", "seeds", "run_name", "study", "outputs")  # configuration keys that name a run, not its method


@dataclass(frozen=True)
class Run:
    """One run of the study: what `al ls` knows of it, its finished rounds, and the arm it belongs to."""

    summary: RunSummary
    name: str
    arm: str
    seed: int | None
    records: Sequence[RoundRecord]


@dataclass(frozen=True)
class ArmRound:
    """One round of one arm over the seeds that have finished it. `std` is None for one seed."""

    arm: str
    round: int
    seeds: int
    images: float
    boxes: float
    mean: dict[str, float | None]
    std: dict[str, float | None]


def report(study_dir: Path | str) -> list[Path]:
    """Write <study>/report/{runs,arms}.{csv,md} and ap.{png,svg}; returns the paths. RunError if no run is there."""
    root = Path(study_dir)
    runs = read_runs(root)
    arms = average(runs)
    missing = find_missing(runs)
    for line in missing:
        log.warning("%s", line)

    folder = root / "report"
    folder.mkdir(exist_ok=True)
    run_columns, run_rows = ("run", "arm", "seed", "state", *ROUND_COLUMNS), list(_run_rows(runs))
    arm_columns, arm_rows = _arm_columns(), [_arm_row(row) for row in arms]
    contents = {
        "runs.csv": csv_text(run_columns, run_rows),
        "runs.md": markdown_text(run_columns, run_rows) + _notes(missing),
        "arms.csv": csv_text(arm_columns, arm_rows),
        "arms.md": markdown_text(*_arms_for_people(arms)) + _notes(missing),
    }
    for name, text in contents.items():
        write_atomic(folder / name, text)
    written = [folder / name for name in contents]
    if any(row.mean["AP"] is not None for row in arms):
        written += plot_arms(arms, folder / "ap.png", folder / "ap.svg")
    return written


def read_runs(root: Path) -> list[Run]:
    """Every run below the folder in order of its name. RunError where there is none."""
    summaries = find_runs(root)
    if not summaries:
        raise RunError("there are no runs here", where=str(root), remedy="give a study folder; `al ls` lists them")
    readable = {s.path: RunFolder(s.path).config() for s in summaries if s.rounds_total}
    labels = label_arms(readable)
    runs = []
    for summary in summaries:
        path, known = summary.path, summary.path in readable
        seed = readable[path].get("seed") if known else None
        records = RunFolder(path).records() if known else []
        name = path.relative_to(root).as_posix() if path != root else path.name
        runs.append(Run(summary, name, labels[path] if known else "", seed, records))
    return runs


def label_arms(configs: dict[Path, dict[str, Any]]) -> dict[Path, str]:
    """Run folder -> label of its arm: the folder's name without the seed at its end.

    Two arms that would have the same label are told apart by a number.
    """
    members: dict[str, list[Path]] = {}
    for path, config in configs.items():
        flat = {key: v for key, v in flatten(config).items() if key.split(".")[0] not in NOT_OF_AN_ARM}
        members.setdefault(json.dumps(flat, sort_keys=True, default=str), []).append(path)
    bare = [re.sub(r"_s\d+$", "", min(path.name for path in paths)) for paths in members.values()]
    seen: Counter[str] = Counter()
    labels = {}
    for name, paths in zip(bare, members.values(), strict=True):
        seen[name] += 1
        for path in paths:
            labels[path] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return labels


def average(runs: Sequence[Run]) -> list[ArmRound]:
    """Mean and standard deviation over seeds for every arm and round that at least one seed has finished."""
    rows = []
    for arm in dict.fromkeys(run.arm for run in runs if run.records):
        of_arm = [run.records for run in runs if run.arm == arm]
        for number in range(max(len(records) for records in of_arm)):
            records = [records[number] for records in of_arm if len(records) > number]
            values = {
                name: [
                    v for r in records if (v := r.val_loss if name == "val_loss" else r.metrics.get(name)) is not None
                ]
                for name in METRICS
            }
            rows.append(
                ArmRound(
                    arm,
                    number,
                    len(records),
                    statistics.fmean(r.images for r in records),
                    statistics.fmean(r.boxes for r in records),
                    {name: statistics.fmean(v) if v else None for name, v in values.items()},
                    {name: statistics.stdev(v) if len(v) > 1 else None for name, v in values.items()},
                )
            )
    return rows


def find_missing(runs: Sequence[Run]) -> list[str]:
    """One sentence for each run that has not all its rounds, and for each arm with fewer seeds than the largest."""
    lines = []
    for run in runs:
        summary = run.summary
        if summary.state != "done":
            why = f": {summary.error}" if summary.error else ""
            rounds = f" with {summary.rounds_done} of {summary.rounds_total} rounds" if summary.rounds_total else ""
            is_ = "is " if summary.state == "running" else ""
            lines.append(f"{run.name} {is_}{summary.state}{rounds}{why}")
    seeds = Counter(run.arm for run in runs if run.records)
    most = max(seeds.values(), default=0)
    lines += [f"{arm} has {count} of {most} seeds" for arm, count in seeds.items() if count < most]
    return lines


def _notes(missing: Sequence[str]) -> str:
    return "\nMissing:\n\n" + "".join(f"- {line}\n" for line in missing) if missing else ""


def _run_rows(runs: Sequence[Run]) -> Iterable[list[Any]]:
    for run in runs:
        head = [run.name, run.arm, run.seed, run.summary.state]
        for record in run.records:
            yield head + round_row(record)
        if not run.records:
            yield head + [None] * len(ROUND_COLUMNS)


def _arm_columns() -> list[str]:
    return [
        "arm",
        "round",
        "seeds",
        "images",
        "boxes",
        *(f"{name}_{what}" for name in METRICS for what in ("mean", "std")),
    ]


def _arm_row(row: ArmRound) -> list[Any]:
    values = [cells[name] for name in METRICS for cells in (row.mean, row.std)]
    return [row.arm, row.round, row.seeds, row.images, row.boxes, *values]


def _arms_for_people(arms: Sequence[ArmRound]) -> tuple[list[str], list[list[Any]]]:
    """The same rows with "mean ± std" in one cell, and without columns that have no value."""
    names = [name for name in METRICS if any(row.mean[name] is not None for row in arms)]
    rows = []
    for row in arms:
        cells = [_mean_and_std(row.mean[name], row.std[name], 3 if name == "val_loss" else 2) for name in names]
        rows.append([row.arm, row.round, row.seeds, round(row.images), round(row.boxes), *cells])
    return ["arm", "round", "seeds", "images", "boxes", *names], rows


def _mean_and_std(mean: float | None, std: float | None, digits: int) -> str:
    if mean is None:
        return ""
    return f"{mean:.{digits}f}" if std is None else f"{mean:.{digits}f} ± {std:.{digits}f}"


def plot_arms(arms: Sequence[ArmRound], *paths: Path) -> list[Path]:
    """Mean AP against labeled images, a curve an arm, one standard deviation shaded. The legend gives the seeds.

    A hollow point averages fewer seeds than its arm has: it does not continue the same mean.
    """
    names = list(dict.fromkeys(row.arm for row in arms))
    beside = len(names) > 4
    width = style.WIDTH_IN + (0.075 * max(map(len, names)) + 1.0 if beside else 0)
    with style.figure(width, max(style.HEIGHT_IN, 0.19 * len(names) + 0.4)) as (made, axes):
        every_x: list[float] = []
        every_y: list[float] = []
        for number, name in enumerate(names):
            rows = [row for row in arms if row.arm == name and row.mean["AP"] is not None]
            if not rows:
                continue
            most, least = max(row.seeds for row in rows), min(row.seeds for row in rows)
            seeds = f"{most} seed{'s' if most > 1 else ''}" if most == least else f"{least}–{most} seeds"
            x, y = [row.images for row in rows], [row.mean["AP"] or 0.0 for row in rows]
            spread = [row.std["AP"] or 0.0 for row in rows]
            low, high = [[m + sign * s for m, s in zip(y, spread, strict=True)] for sign in (-1, 1)]
            look = style.line_style(number)
            if len(x) == 1:  # a band of one point would be invisible
                axes.vlines(x, low, high, color=look["color"], alpha=0.4, linewidth=3)
            axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
            axes.plot(x, y, label=f"{name} ({seeds})", **look)
            for row in rows:
                if row.seeds < most:
                    axes.plot([row.images], [row.mean["AP"] or 0.0], **(look | {"markerfacecolor": "white"}))
            every_x += x
            every_y += low + high
        style.frame_curves(axes, every_x, every_y, "labeled images", "AP (%), mean over seeds")
        columns = 1 if beside or max(map(len, names)) > 24 else 2
        made.legend(loc="outside right upper" if beside else "outside upper center", ncols=columns)
        return style.save(made, *paths)
