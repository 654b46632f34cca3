"""Arms against arms as tables: everyone against one, the matrices of p-values (Lund, tables 4.3-4.5), verdicts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_cli.progress import count, listing
from al_cli.report.drawing.ranking import Gain, has_dots
from al_cli.report.statistics.comparison import FEWEST_SEEDS, VERDICTS, Comparison, Measure, Pair
from al_cli.report.statistics.in_words import capitalised, interval, p_number, percent
from al_cli.report.statistics.paired_tests import ROUNDING, t_interval
from al_cli.report.table import ReportTable
from al_cli.tasks import Metric

TESTS = {
    "t_p": "paired t-test, uncorrected",
    "t_holm": "paired t-test, Holm-corrected over all pairs",
    "wilcoxon_p": "Wilcoxon signed-rank test, uncorrected",
    "wilcoxon_holm": "Wilcoxon signed-rank test, Holm-corrected over all pairs",
}


def against_table(comparison: Comparison, baseline: str) -> ReportTable:
    """Every other arm against one: paired difference, interval, seeds won and lost, p-values; largest gain first, and
    oracles below all methods."""
    pairs = [pair for pair in comparison.against(baseline) if pair.difference is not None]
    metric = comparison.measure.metric
    pairs.sort(key=lambda pair: (pair.arm in comparison.oracles, -(pair.difference or 0.0), pair.arm))
    columns = ["arm", "seeds", "difference", "low", "high", "seeds_won", "seeds_lost", "t_p", "t_holm", "wilcoxon_p"]
    columns += ["wilcoxon_holm", "outcome"]
    rows = [
        [getattr(p, name) for name in ("arm", "n", "difference", "low", "high", "seed_wins", "seed_losses")]
        + [getattr(p, name) for name in columns[7:]]
        for p in pairs
    ]
    between = f"{percent(1 - comparison.alpha)} interval"
    heads = [
        "arm",
        "seeds",
        "difference",
        between,
        "seeds won–lost",
        "t-test p",
        "t-test Holm",
        "Wilcoxon p",
        "Wilcoxon Holm",
        "outcome",
    ]
    shown = [
        [
            _marked(p.arm, comparison),
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
    note = _rule(pairs, comparison.alpha)
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


def _rule(pairs: Sequence[Pair], alpha: float) -> str:
    """How the outcomes of `against_table` come about: the size of the family, and the pairs that are not in it."""
    family = sum(pair.t_holm is not None for pair in pairs)
    single = [pair.arm for pair in pairs if pair.n < 2 and pair.outcome != "oracle"]
    outcomes = {pair.outcome for pair in pairs}
    lines = [
        f"The t-test's p is corrected for {count(family, 'comparison')} (Holm); where it is below {alpha:g} then, the arm is "
        "better or worse. The interval is each arm's own and goes with the uncorrected p."
    ]
    if single:
        lines.append(f"{listing(single)} shares one seed only, so there is no p." if len(single) == 1 else "")
        lines.append(f"{listing(single)} share one seed only each, so there is no p." if len(single) > 1 else "")
    if "unknown" in outcomes:
        lines.append(f"Unknown: fewer than {FEWEST_SEEDS} common seeds.")
    if "oracle" in outcomes:
        lines.append("Oracles stand last, are not counted, and are not judged: no method can use what they know.")
    return " ".join(line for line in lines if line)


def by_round_table(comparisons: Sequence[Comparison], baseline: str) -> ReportTable:
    """The metric of each round: every arm's paired difference to one, with the uncorrected p of the t-test."""
    arms = [arm for arm in _oracles_last(comparisons[0].arms, comparisons[0]) if arm != baseline]
    pairs = [[comparison.pair(arm, baseline) for comparison in comparisons] for arm in arms]
    numbers = [comparison.measure.round for comparison in comparisons]
    columns = ["arm", *(f"{what}_round_{number}" for number in numbers for what in ("difference", "t_p", "wilcoxon_p"))]
    rows = [
        [arm, *(cell for pair in of_arm for cell in (pair.difference, pair.t_p, pair.wilcoxon_p))]
        for arm, of_arm in zip(arms, pairs, strict=True)
    ]
    metric = comparisons[0].measure.metric
    names = [_marked(arm, comparisons[0]) for arm in arms]
    shown = [[name, *(_difference_and_p(pair, metric) for pair in row)] for name, row in zip(names, pairs, strict=True)]
    title = f"{metric.name} of each round: difference to {baseline}, and the t-test's p (uncorrected)"
    return ReportTable(
        f"rounds_against_{baseline}", title, columns, rows, (["arm", *(f"round {n}" for n in numbers)], shown)
    )


def _difference_and_p(pair: Pair, metric: Metric) -> str:
    if pair.difference is None:
        return ""
    return metric.signed(pair.difference) + (f" ({p_number(pair.t_p)})" if pair.t_p is not None else "")


def p_matrix(comparison: Comparison, test: str, arms: Sequence[str]) -> ReportTable:
    """The p-value of every pair in one measure; `test` names the array of the comparison. Small p are dark. Oracles stand
    last, and not among corrected p."""
    full: NDArray[Any] = getattr(comparison, test)
    arms = _oracles_last(arms, comparison)
    if test.endswith("_holm"):
        arms = [arm for arm in arms if arm not in comparison.oracles]
    names = [_marked(arm, comparison) for arm in arms]
    chosen = [comparison.arms.index(arm) for arm in arms]
    matrix = full[np.ix_(chosen, chosen)]
    rows = [[arm, *map(_known, row)] for arm, row in zip(arms, matrix.tolist(), strict=True)]
    shown = [[name, *(p_number(_known(p)) for p in row)] for name, row in zip(names, matrix.tolist(), strict=True)]
    shade = [[None, *(_darkness(p) for p in row)] for row in matrix.tolist()]
    title = f"{capitalised(comparison.measure.label)}: p-values of the {TESTS[test]}"
    name = f"p_{test.removesuffix('_p')}_{slug(comparison.measure)}"
    return ReportTable(name, title, ["", *arms], rows, (["", *names], shown), shade=shade, upright=True)


def pairs_table(comparisons: Sequence[Comparison]) -> ReportTable:
    """Every pair of arms in every measure, with all that is known about it: for programs."""
    arrays = ("n", "difference", "low", "high", "seed_wins", *TESTS)
    rows: list[list[Any]] = []
    shown: list[list[Any]] = []
    for comparison in comparisons:
        metric = comparison.measure.metric
        values = [getattr(comparison, name).tolist() for name in arrays]
        losses = comparison.seed_wins.T.tolist()
        for i, arm in enumerate(comparison.arms):
            for j, other in enumerate(comparison.arms[i + 1 :], i + 1):
                cells = [_known(matrix[i][j]) for matrix in values]
                outcome = comparison.verdict(arm, other)
                rows.append([comparison.measure.label, arm, other, *cells, losses[i][j], outcome])
                texts = [_pair_text(name, cell, metric) for name, cell in zip(arrays, cells, strict=True)]
                shown.append([*rows[-1][:3], *texts, *rows[-1][-2:]])
    columns = ["measure", "arm", "other arm", *arrays, "seed_losses", "outcome"]
    return ReportTable("pairs", "Every pair of arms: arm minus other arm", columns, rows, (columns, shown))


def win_matrix(comparison: Comparison, arms: Sequence[str]) -> ReportTable:
    """Row against column: better, worse or undecided, and the seeds won and lost; sums in the last column. Methods only."""
    arms = [arm for arm in arms if arm not in comparison.oracles]
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
    columns = ["", *arms, "better–undecided–worse"]
    note = (
        f"The row is better or worse where the p of the paired t-test is below {comparison.alpha:g} after Holm's correction "
        f"for all {count(comparison.family_size, 'pair')} of arms; the numbers next to it are the seeds in which the row was "
        "above and below the column. More comparisons ask for more: what is better or worse in a table against one arm, or "
        "in a claim, may be undecided here."
    )
    title = f"{capitalised(comparison.measure.label)}: the row against the column"
    return ReportTable(
        f"wins_{slug(comparison.measure)}", title, columns, rows, (columns, shown), upright=True, note=note
    )


def gains(comparison: Comparison, baseline: str) -> list[Gain]:
    """What the ranking figure draws: every arm with a paired difference to the baseline.

    Intervals of methods hold together (Bonferroni): t intervals at 1 - alpha / K for the K pairs of Holm's family, whose
    first step they agree with. An oracle, which is in no family, has its own at 1 - alpha.
    """
    pairs = [pair for pair in comparison.against(baseline) if pair.difference is not None]
    family = sum(pair.t_holm is not None for pair in pairs)
    found = []
    for pair in pairs:
        each, oracle = comparison.each(pair.arm, baseline), pair.arm in comparison.oracles
        low, high = t_interval(each, 1 - comparison.alpha / (1 if oracle else max(family, 1)))
        lower, upper = (float(low), float(high)) if pair.n >= FEWEST_SEEDS else (None, None)
        found.append(Gain(pair.arm, pair.difference or 0.0, lower, upper, tuple(each.tolist()), oracle))
    return found


def ranking_caption(comparison: Comparison, baseline: str) -> str:
    """What the lines and dots of the ranking figure are."""
    drawn = {gain.arm: gain for gain in gains(comparison, baseline)}
    pairs = [pair for pair in comparison.against(baseline) if pair.arm in drawn]
    family, level = sum(pair.t_holm is not None for pair in pairs), percent(1 - comparison.alpha)
    text = f"Every arm's {comparison.measure.label}: mean difference to {baseline} over common seeds."
    if any(gain.low is not None and not gain.oracle for gain in drawn.values()):
        text += (
            f" Lines are simultaneous {level} intervals (Student's t, Bonferroni's correction for {family} comparisons): "
            "wider than those of the table, they hold for all arms at once."
            if family > 1
            else f" Lines are {level} intervals (Student's t)."
        )
    if any(has_dots(gain) for gain in drawn.values()):
        text += " Small dots are single seeds."
    if oracles := [gain for gain in drawn.values() if gain.oracle]:
        own = any(gain.low is not None for gain in oracles)
        text += " Oracles stand below" + (f", each with its own {level} interval." if own else ".")
    crossing = [pair.arm for pair in pairs if pair.outcome in ("better", "worse") and _holds_zero(drawn[pair.arm])]
    if crossing:
        verb = "line crosses" if len(crossing) == 1 else "lines cross"
        text += f" {listing(crossing)}: the {verb} 0 in spite of the verdict, since Holm's correction asks for less."
    return text


def _holds_zero(gain: Gain) -> bool:
    return gain.low is not None and gain.high is not None and gain.low <= 0 <= gain.high


def _oracles_last(arms: Sequence[str], comparison: Comparison) -> list[str]:
    return sorted(arms, key=lambda arm: arm in comparison.oracles)


def _marked(arm: str, comparison: Comparison) -> str:
    """An arm's name for people, who shall not take an oracle for a method."""
    return f"{arm} (oracle)" if arm in comparison.oracles else arm


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
