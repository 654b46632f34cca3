"""What the arms of a study picked: labels per class, and how far the arms agree. Reads records and class_counts.csv."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from al_cli.records import RunFolder
from al_cli.report.drawing import style
from al_cli.report.statistics.in_words import capitalised
from al_cli.report.study import StudyFolder
from al_cli.report.table import ReportTable

MAX_CLASSES = 12  # bars in one panel; the others are added up
Counts = Mapping[str, Sequence[Mapping[str, float]]]  # arm -> one {class: mean labels picked} a round
TITLE_WIDTH = 28  # characters of a panel's title that fit on one line


def class_counts(study: StudyFolder) -> dict[str, list[dict[str, float]]]:
    """Arm -> for each round the labels of each class among the picked images, the mean over seeds.

    Arms where a file is missing (a round that another program wrote) are left out.
    """
    counts = {}
    for arm in study.arms:
        try:
            runs = [
                [RunFolder(run.path).class_counts(record.round) for record in run.records] for run in study.of_arm(arm)
            ]
        except FileNotFoundError:
            continue
        rounds = max(len(rounds) for rounds in runs)
        counts[arm] = [
            _mean_counts([of_run[number] for of_run in runs if len(of_run) > number]) for number in range(rounds)
        ]
    return counts


def _mean_counts(counts: Sequence[Mapping[str, tuple[int, int]]]) -> dict[str, float]:
    return {name: statistics.fmean(of_run[name][0] for of_run in counts) for name in counts[0]}


def class_table(counts: Counts, labels: str) -> ReportTable:
    """Every arm, round and class with the mean of the labels picked; a row an arm and round. `labels`: what the task
    calls them."""
    classes = list(dict.fromkeys(name for rounds in counts.values() for of_round in rounds for name in of_round))
    rows: list[list[Any]] = []
    for arm, rounds in counts.items():
        for number, of_round in enumerate(rounds):
            rows.append([arm, number, *(of_round.get(name) for name in classes)])
    title = f"{capitalised(labels)} of each class that a round picked, mean over seeds"
    return ReportTable("class_counts", title, ["arm", "round", *classes], rows)


def plot_classes(counts: Counts, arms: Sequence[str], labeled: str, *paths: Path) -> None:
    """A panel an arm: labels per class, the most frequent class first, stacked by the round that picked them."""
    import matplotlib

    arms = [arm for arm in arms if arm in counts]
    totals: dict[str, float] = {}
    for arm in arms:
        for of_round in counts[arm]:
            for name, picked in of_round.items():
                totals[name] = totals.get(name, 0.0) + picked
    names = sorted(totals, key=lambda name: (-totals[name], name))
    shown, others = names[:MAX_CLASSES], names[MAX_CLASSES:]
    bars = [*shown, *([f"{len(others)} others"] if others else [])]
    titles = {arm: textwrap.fill(arm, TITLE_WIDTH) for arm in arms}
    title_lines = max(title.count("\n") for title in titles.values())  # beyond the first
    rounds = max(len(counts[arm]) for arm in arms)
    columns = min(4, len(arms))
    lines = -(-len(arms) // columns)
    height = 0.6 + lines * (0.5 + 0.15 * len(bars) + 0.13 * title_lines)
    shades = matplotlib.colormaps["cividis_r"](np.linspace(0.1, 0.95, max(2, rounds)))
    with style.panels(columns, lines, 1.0 + 2.0 * columns, height, sharex=True, sharey=True) as (made, grid):
        for number, axes in enumerate(grid.flat):
            axes.set_visible(number < len(arms))
            axes.tick_params(labelbottom=number + columns >= len(arms))  # nothing below it
        for axes, arm in zip(grid.flat, arms, strict=False):
            left = np.zeros(len(bars))
            for number, of_round in enumerate(counts[arm]):
                added = [of_round.get(name, 0.0) for name in shown]
                added += [sum(of_round.get(name, 0.0) for name in others)] if others else []
                label = f"round {number}" if rounds <= 12 or number in (0, rounds - 1) else None
                axes.barh(range(len(bars)), added, left=left, color=shades[number], height=0.78, label=label)
                left += np.array(added)
            axes.set_title(titles[arm], fontsize=8)
            axes.set_yticks(range(len(bars)), bars, fontsize=7)
            axes.set_ylim(len(bars) - 0.4, -0.6)
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
        longest = max(arms, key=lambda arm: len(counts[arm]))
        handles, texts = grid.flat[arms.index(longest)].get_legend_handles_labels()
        made.legend(handles, texts, loc="outside upper center", ncols=min(6, rounds), columnspacing=1.0)
        made.supxlabel(f"{labeled}, mean over seeds", fontsize=9)
        style.save(made, *paths)


def overlaps(study: StudyFolder) -> dict[int, dict[tuple[str, str], float]]:
    """Round -> (arm, other arm) -> Jaccard index of what both picked in that round, the mean over common seeds.

    |A and B| / |A or B|, each pair once, in the order of the arms. Round 0 is left out where it is drawn, not picked. Pairs
    without a common seed are absent.
    """
    picked = {
        (run.arm, run.seed): [frozenset(record.picked) for record in run.records]
        for run in study.runs
        if run.records and run.seed is not None
    }
    arms, shared = study.arms, {}
    seeds = {arm: [seed for name, seed in picked if name == arm] for arm in arms}
    for round in range(study.first_choice, max((len(rounds) for rounds in picked.values()), default=0)):
        of_round = {}
        for i, arm in enumerate(arms):
            for other in arms[i + 1 :]:
                pairs = [(picked[arm, s], picked[other, s]) for s in seeds[arm] if (other, s) in picked]
                values = [jaccard(a[round], b[round]) for a, b in pairs if min(len(a), len(b)) > round]
                if values:
                    of_round[arm, other] = statistics.fmean(values)
        shared[round] = of_round
    return shared


def jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    """Shared share of two sets; two empty ones are alike."""
    return len(a & b) / len(a | b) if a or b else 1.0


def chance_overlap(candidates: int, picked: int) -> float:
    """About the Jaccard index of two random picks of this size from the same candidates; 1 where all are picked.

    Both picks share picked^2 / candidates images on average (hypergeometric).
    """
    shared = picked * picked / candidates
    return shared / (2 * picked - shared)


def first_chance(study: StudyFolder) -> float | None:
    """`chance_overlap` of the first round that samplers chose, where arms of a seed have the same candidates; None where runs
    differ in its size."""
    first = study.first_choice
    rounds = [run.records[first] for run in study.runs if len(run.records) > first]
    sizes = {(record.stages[0].candidates, len(record.picked)) for record in rounds if record.stages}
    return chance_overlap(*sizes.pop()) if len(sizes) == 1 and all(min(size) for size in sizes) else None


def overlap_tables(
    shared: Mapping[int, Mapping[tuple[str, str], float]], arms: Sequence[str], by_chance: float | None = None
) -> list[ReportTable]:
    """For the page, a matrix each of the first and the last round in which two of these arms picked; one table of all pairs
    and rounds.

    `by_chance` is what two random picks of the first round share.
    """
    pairs = list(dict.fromkeys(pair for of_round in shared.values() for pair in of_round))
    columns = ["arm", "other arm", *(f"round {round}" for round in shared)]
    rows = [[*pair, *(of_round.get(pair) for of_round in shared.values())] for pair in pairs]
    tables = [ReportTable("overlap", "Overlap of what two arms picked in a round (Jaccard index)", columns, rows)]
    compared = [round for round, of_round in shared.items() if any(set(pair) <= set(arms) for pair in of_round)]
    for round in dict.fromkeys([compared[0], compared[-1]] if compared else []):
        matrix = [[_symmetric(shared[round], a, b) for b in arms] for a in arms]
        cells = [[a, *("" if v is None else f"{v:.2f}" for v in row)] for a, row in zip(arms, matrix, strict=True)]
        shade = [[None, *row] for row in matrix]
        title = f"Overlap of what two arms picked in round {round} (Jaccard index, mean over seeds)"
        raw = [[a, *row] for a, row in zip(arms, matrix, strict=True)]
        name = f"overlap_round_{round}"
        known = by_chance is not None and round == min(shared)
        note = f"Two random picks would have {by_chance:.2f}." if known else ""
        shown = (["", *arms], cells)
        tables.append(ReportTable(name, title, ["", *arms], raw, shown, shade=shade, upright=True, note=note))
    return tables


def _symmetric(values: Mapping[tuple[str, str], float], a: str, b: str) -> float | None:
    if a == b:
        return 1.0 if any(a in pair for pair in values) else None
    return values.get((a, b), values.get((b, a)))
