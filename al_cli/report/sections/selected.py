"""What the arms of a study picked: boxes per class, and how far the arms agree. Reads records and class_counts.csv."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from al_cli.records import RunFolder
from al_cli.report.drawing import style
from al_cli.report.study import Study
from al_cli.report.table import Table

MAX_CLASSES = 12  # bars in one panel; the others are added up
Counts = Mapping[str, Sequence[Mapping[str, float]]]  # arm -> one {class: mean boxes picked} a round


def class_counts(study: Study) -> dict[str, list[dict[str, float]]]:
    """Arm -> for each round the boxes of each class among the picked images, the mean over seeds.

    Arms where a file is missing (a round that another program wrote) are left out.
    """
    found = {}
    for arm in study.arms:
        try:
            runs = [
                [RunFolder(run.path).class_counts(record.round) for record in run.records] for run in study.of_arm(arm)
            ]
        except FileNotFoundError:
            continue
        rounds = max(len(rounds) for rounds in runs)
        found[arm] = [
            _mean_counts([of_run[number] for of_run in runs if len(of_run) > number]) for number in range(rounds)
        ]
    return found


def _mean_counts(counts: Sequence[Mapping[str, tuple[int, int]]]) -> dict[str, float]:
    return {name: statistics.fmean(of_run[name][0] for of_run in counts) for name in counts[0]}


def class_table(counts: Counts) -> Table:
    """Every arm, round and class with the mean of the boxes picked; a row an arm and round."""
    classes = list(dict.fromkeys(name for rounds in counts.values() for of_round in rounds for name in of_round))
    rows: list[list[Any]] = []
    for arm, rounds in counts.items():
        for number, of_round in enumerate(rounds):
            rows.append([arm, number, *(of_round.get(name) for name in classes)])
    return Table(
        "class_counts", "Boxes of each class that a round picked, mean over seeds", ["arm", "round", *classes], rows
    )


def plot_classes(counts: Counts, arms: Sequence[str], *paths: Path) -> None:
    """A panel an arm: labeled boxes per class, the most frequent class first, stacked by the round that picked them."""
    import matplotlib

    arms = [arm for arm in arms if arm in counts]
    totals: dict[str, float] = {}
    for arm in arms:
        for of_round in counts[arm]:
            for name, boxes in of_round.items():
                totals[name] = totals.get(name, 0.0) + boxes
    names = sorted(totals, key=lambda name: (-totals[name], name))
    shown, others = names[:MAX_CLASSES], names[MAX_CLASSES:]
    labels = [*shown, *([f"{len(others)} others"] if others else [])]
    rounds = max(len(counts[arm]) for arm in arms)
    columns = min(4, len(arms))
    lines = -(-len(arms) // columns)
    height = 0.6 + lines * (0.5 + 0.15 * len(labels))
    shades = matplotlib.colormaps["cividis_r"](np.linspace(0.1, 0.95, max(2, rounds)))
    with style.panels(columns, lines, 1.0 + 2.0 * columns, height, sharex=True, sharey=True) as (made, grid):
        for number, axes in enumerate(grid.flat):
            axes.set_visible(number < len(arms))
            axes.tick_params(labelbottom=number + columns >= len(arms))  # nothing below it
        for axes, arm in zip(grid.flat, arms, strict=False):
            left = np.zeros(len(labels))
            for number, of_round in enumerate(counts[arm]):
                added = [of_round.get(name, 0.0) for name in shown]
                added += [sum(of_round.get(name, 0.0) for name in others)] if others else []
                label = f"round {number}" if rounds <= 12 or number in (0, rounds - 1) else None
                axes.barh(range(len(labels)), added, left=left, color=shades[number], height=0.78, label=label)
                left += np.array(added)
            axes.set_title(arm if len(arm) <= 28 else f"{arm[:27]}…", fontsize=8)
            axes.set_yticks(range(len(labels)), labels, fontsize=7)
            axes.set_ylim(len(labels) - 0.4, -0.6)
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
        longest = max(arms, key=lambda arm: len(counts[arm]))
        handles, texts = grid.flat[arms.index(longest)].get_legend_handles_labels()
        made.legend(handles, texts, loc="outside upper center", ncols=min(6, rounds), columnspacing=1.0)
        made.supxlabel("labeled boxes, mean over seeds", fontsize=9)
        style.save(made, *paths)


def overlaps(study: Study) -> dict[int, dict[tuple[str, str], float]]:
    """Round -> (arm, other arm) -> Jaccard index of what both picked in that round, the mean over common seeds.

    |A and B| / |A or B|, each pair once, in the order of the arms. Round 0 is left out: it is drawn, not picked. Pairs
    without a common seed are absent.
    """
    picked = {
        (run.arm, run.seed): [frozenset(record.picked) for record in run.records]
        for run in study.runs
        if run.records and run.seed is not None
    }
    arms, found = study.arms, {}
    seeds = {arm: [seed for name, seed in picked if name == arm] for arm in arms}
    for round in range(1, max((len(rounds) for rounds in picked.values()), default=0)):
        of_round = {}
        for i, arm in enumerate(arms):
            for other in arms[i + 1 :]:
                pairs = [(picked[arm, s], picked[other, s]) for s in seeds[arm] if (other, s) in picked]
                values = [jaccard(a[round], b[round]) for a, b in pairs if min(len(a), len(b)) > round]
                if values:
                    of_round[arm, other] = statistics.fmean(values)
        found[round] = of_round
    return found


def jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    """Shared share of two sets; two empty ones are alike."""
    return len(a & b) / len(a | b) if a or b else 1.0


def chance_overlap(candidates: int, picked: int) -> float:
    """About the Jaccard index of two random picks of so many images from the same candidates; 1 where all are picked.

    Both picks share picked^2 / candidates images on average (hypergeometric).
    """
    shared = picked * picked / candidates
    return shared / (2 * picked - shared)


def first_chance(study: Study) -> float | None:
    """`chance_overlap` of round 1, where arms of a seed have the same candidates; None where runs differ in its size."""
    rounds = [run.records[1] for run in study.runs if len(run.records) > 1]
    sizes = {(record.stages[0].candidates, len(record.picked)) for record in rounds if record.stages}
    return chance_overlap(*sizes.pop()) if len(sizes) == 1 and all(min(size) for size in sizes) else None


def overlap_tables(
    found: Mapping[int, Mapping[tuple[str, str], float]], arms: Sequence[str], by_chance: float | None = None
) -> list[Table]:
    """For the page, a matrix each of the first and the last round, of these arms; one table of all pairs and rounds.

    `by_chance` is what two random picks of the first round share.
    """
    pairs = list(dict.fromkeys(pair for of_round in found.values() for pair in of_round))
    columns = ["arm", "other arm", *(f"round {round}" for round in found)]
    rows = [[*pair, *(of_round.get(pair) for of_round in found.values())] for pair in pairs]
    tables = [Table("overlap", "Overlap of what two arms picked in a round (Jaccard index)", columns, rows)]
    for round in dict.fromkeys([min(found), max(found)] if found else []):
        matrix = [[_symmetric(found[round], a, b) for b in arms] for a in arms]
        cells = [[a, *("" if v is None else f"{v:.2f}" for v in row)] for a, row in zip(arms, matrix, strict=True)]
        shade = [[None, *row] for row in matrix]
        title = f"Overlap of what two arms picked in round {round} (Jaccard index, mean over seeds)"
        raw = [[a, *row] for a, row in zip(arms, matrix, strict=True)]
        name = f"overlap_round_{round}"
        told = by_chance is not None and round == min(found)
        note = f"Two random picks would have {by_chance:.2f}." if told else ""
        shown = (["", *arms], cells)
        tables.append(Table(name, title, ["", *arms], raw, shown, shade=shade, upright=True, note=note))
    return tables


def _symmetric(values: Mapping[tuple[str, str], float], a: str, b: str) -> float | None:
    return 1.0 if a == b else values.get((a, b), values.get((b, a)))
