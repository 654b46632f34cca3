"""Arms against arms as tables: everyone against one, the matrices of p-values (Lund, tables 4.3-4.5), wins and losses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_cli.report.drawing.ranking import Gain
from al_cli.report.statistics.comparison import VERDICTS, Comparison, Measure, Pair, verdict
from al_cli.report.statistics.in_words import capitalised, interval, p_number
from al_cli.report.statistics.paired_tests import ROUNDING
from al_cli.report.table import ReportTable
from al_cli.tasks import Metric

TESTS = {
    "t_p": "paired t-test, uncorrected",
    "t_holm": "paired t-test, Holm-corrected over all pairs",
    "wilcoxon_p": "Wilcoxon signed-rank test, uncorrected",
    "wilcoxon_holm": "Wilcoxon signed-rank test, Holm-corrected over all pairs",
}


def against_table(comparison: Comparison, baseline: str) -> ReportTable:
    """Every other arm against one: paired difference, interval, seeds won and lost, p-values; largest gain first."""
    pairs = [pair for pair in comparison.against(baseline) if pair.difference is not None]
    metric = comparison.measure.metric
    pairs.sort(key=lambda pair: (-(pair.difference or 0.0), pair.arm))
    columns = ["arm", "seeds", "difference", "low", "high", "seeds_won", "seeds_lost", "t_p", "t_holm", "wilcoxon_p"]
    columns += ["wilcoxon_holm", "outcome"]
    rows = [
        [getattr(p, name) for name in ("arm", "n", "difference", "low", "high", "seed_wins", "seed_losses")]
        + [getattr(p, name) for name in columns[7:]]
        for p in pairs
    ]
    heads = [
        "arm",
        "seeds",
        "difference",
        "95% interval",
        "seeds won–lost",
        "t-test p",
        "t-test Holm",
        "Wilcoxon p",
        "Wilcoxon Holm",
    ]
    heads.append("outcome")
    shown = [
        [
            p.arm,
            p.n,
            metric.signed(p.difference or 0.0),
            interval(p, comparison.measure),
            f"{p.seed_wins}–{p.seed_losses}",
        ]
        + [p_number(value) for value in (p.t_p, p.t_holm, p.wilcoxon_p, p.wilcoxon_holm)]
        + [p.outcome]
        for p in pairs
    ]
    title = f"{capitalised(comparison.measure.label)}: difference to {baseline}, seeds paired"
    note = f"Holm's correction counts these {len(pairs)} comparisons as one family."
    if not pairs:
        note = f"No arm can be compared with {baseline} in {comparison.measure.label}."
    if pairs and all(abs(bound or 0.0) <= ROUNDING for p in pairs for bound in (p.difference, p.low, p.high)):
        same = {"final": "end with"}.get(comparison.measure.kind, "have")
        note = (
            f"All arms {same} the same {comparison.measure.label} with every seed (for example because every arm labeled "
            "the whole pool), so this table compares nothing."
        )
    return ReportTable(
        f"against_{baseline}_{slug(comparison.measure)}", title, columns, rows, (heads, shown), note=note
    )


def by_round_table(comparisons: Sequence[Comparison], baseline: str) -> ReportTable:
    """The metric of each round: every arm's paired difference to one, with the uncorrected p of the t-test."""
    arms = [arm for arm in comparisons[0].arms if arm != baseline]
    pairs = [[comparison.pair(arm, baseline) for comparison in comparisons] for arm in arms]
    numbers = [comparison.measure.round for comparison in comparisons]
    columns = ["arm", *(f"{what}_round_{number}" for number in numbers for what in ("difference", "t_p", "wilcoxon_p"))]
    rows = [
        [arm, *(cell for pair in of_arm for cell in (pair.difference, pair.t_p, pair.wilcoxon_p))]
        for arm, of_arm in zip(arms, pairs, strict=True)
    ]
    metric = comparisons[0].measure.metric
    shown = [[arm, *(_difference_and_p(pair, metric) for pair in row)] for arm, row in zip(arms, pairs, strict=True)]
    title = f"{metric.name} of each round: difference to {baseline}, and the t-test's p (uncorrected)"
    return ReportTable(
        f"rounds_against_{baseline}", title, columns, rows, (["arm", *(f"round {n}" for n in numbers)], shown)
    )


def _difference_and_p(pair: Pair, metric: Metric) -> str:
    if pair.difference is None:
        return ""
    return metric.signed(pair.difference) + (f" ({p_number(pair.t_p)})" if pair.t_p is not None else "")


def p_matrix(comparison: Comparison, test: str, arms: Sequence[str]) -> ReportTable:
    """The p-value of every pair in one measure; `test` names the array of the comparison. Small p are dark."""
    full: NDArray[Any] = getattr(comparison, test)
    chosen = [comparison.arms.index(arm) for arm in arms]
    matrix = full[np.ix_(chosen, chosen)]
    rows = [[arm, *map(_known, row)] for arm, row in zip(arms, matrix.tolist(), strict=True)]
    shown = [[arm, *(p_number(_known(p)) for p in row)] for arm, row in zip(arms, matrix.tolist(), strict=True)]
    shade = [[None, *(_darkness(p) for p in row)] for row in matrix.tolist()]
    title = f"{capitalised(comparison.measure.label)}: p-values of the {TESTS[test]}"
    name = f"p_{test.removesuffix('_p')}_{slug(comparison.measure)}"
    return ReportTable(name, title, ["", *arms], rows, (["", *arms], shown), shade=shade, upright=True)


def pairs_table(comparisons: Sequence[Comparison]) -> ReportTable:
    """Every pair of arms in every measure, with all that is known about it: for programs."""
    arrays = ("n", "difference", "low", "high", "seed_wins", *TESTS)
    rows: list[list[Any]] = []
    shown: list[list[Any]] = []
    for comparison in comparisons:
        metric = comparison.measure.metric
        values = [getattr(comparison, name).tolist() for name in arrays]
        outcome, losses = comparison.outcome.tolist(), comparison.seed_wins.T.tolist()
        for i, arm in enumerate(comparison.arms):
            for j, other in enumerate(comparison.arms[i + 1 :], i + 1):
                cells = [_known(matrix[i][j]) for matrix in values]
                rows.append([comparison.measure.label, arm, other, *cells, losses[i][j], verdict(outcome[i][j])])
                texts = [_pair_text(name, cell, metric) for name, cell in zip(arrays, cells, strict=True)]
                shown.append([*rows[-1][:3], *texts, *rows[-1][-2:]])
    columns = ["measure", "arm", "other arm", *arrays, "seed_losses", "outcome"]
    return ReportTable("pairs", "Every pair of arms: arm minus other arm", columns, rows, (columns, shown))


def win_matrix(comparison: Comparison, arms: Sequence[str]) -> ReportTable:
    """Row against column: win, tie or loss, and the seeds won and lost; the sums in the last column."""
    chosen = [comparison.arms.index(arm) for arm in arms]
    rows, shown = [], []
    for i, arm in zip(chosen, arms, strict=True):
        cells, texts = [], []
        for j in chosen:
            outcome = VERDICTS.get(float(comparison.outcome[i, j]), "")
            cells.append("" if i == j else outcome)
            texts.append(
                "" if i == j else f"{outcome} {comparison.seed_wins[i, j]}–{comparison.seed_wins[j, i]}".strip()
            )
        sums = "–".join(map(str, comparison.tally(arm)))
        rows.append([arm, *cells, sums])
        shown.append([arm, *texts, sums])
    columns = ["", *arms, "wins–ties–losses"]
    pairs = len(comparison.arms) * (len(comparison.arms) - 1) // 2
    note = (
        f"A win is a positive difference with a p of the paired t-test below {comparison.alpha:g} after Holm's correction "
        f"over all {pairs} pairs of arms; the numbers next to it are the seeds in which the row was above and below the "
        "column."
    )
    title = f"{capitalised(comparison.measure.label)}: wins of the row against the column"
    return ReportTable(
        f"wins_{slug(comparison.measure)}", title, columns, rows, (columns, shown), upright=True, note=note
    )


def gains(comparison: Comparison, baseline: str, oracles: set[str]) -> list[Gain]:
    """What the ranking figure draws: every arm with a paired difference to the baseline."""
    return [
        Gain(pair.arm, pair.difference, pair.low, pair.high, pair.n, pair.arm in oracles)
        for pair in comparison.against(baseline)
        if pair.difference is not None
    ]


def _pair_text(name: str, cell: Any, metric: Metric) -> Any:
    """A cell of `pairs_table` for people."""
    if name in TESTS:
        return p_number(cell)
    return metric.text(cell) if name in ("difference", "low", "high") else cell


def slug(measure: Measure) -> str:
    """A measure in a file name: auc_boxes, auc_boxes_log, final."""
    words = [measure.kind.lower(), measure.cost or "", "log" if measure.scale == "log" else ""]
    return re.sub(r"_+", "_", "_".join(word for word in words if word))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _darkness(p: float) -> float | None:
    """1 at p = 0, 0 from p = 0.2 on."""
    return None if np.isnan(p) else max(0.0, 1 - p / 0.2)
