"""Each arm in one row: final value, area under the curve, labels to a target, share of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from al_cli.progress import count, listing
from al_cli.report.statistics.analyse import SHARES, ArmSummary, Statistics
from al_cli.report.statistics.budgets import mean_end
from al_cli.report.statistics.curves import SCALES, OverSeeds
from al_cli.report.statistics.savings import CostRatio
from al_cli.report.table import ReportTable, mean_and_std

ADJUSTED = "Means of arms that lack seeds allow for it: they are those of a fit of arm and seed to all runs."


def summary_tables(statistics: Statistics, cost: str) -> list[ReportTable]:
    """The methods, and apart from them the oracles, which know what nobody can know; the largest area against `cost` first."""
    methods = [arm for arm in statistics.arms if not arm.oracle]
    oracles = [arm for arm in statistics.arms if arm.oracle]
    tables = [_summary("summary", "The arms, mean ± standard deviation over seeds", methods, statistics, cost)]
    if oracles:
        title = "Oracles: they read labels that nobody has yet, so they are bounds and no methods"
        tables.append(_summary("oracles", title, oracles, statistics, cost))
    return [table for table in tables if table.rows]


def _summary(name: str, title: str, arms: Sequence[ArmSummary], statistics: Statistics, cost: str) -> ReportTable:
    costs, metric, random = statistics.task.cost_names, statistics.metric, statistics.random
    columns = ["arm", "seeds", *_three(f"final_{metric.name}")]
    columns += [column for c in costs for scale in SCALES for column in _three(f"AUC_{c}_{scale}")]
    columns += [column for c in costs for column in _three(f"labels_{c}")]
    columns += [f"cost_ratio_{c}{what}" for c in costs for what in ("", "_low", "_high", "_n")]
    rows, shown = [], []
    for arm in sorted(arms, key=lambda arm: (-(arm.auc[cost, "linear"].mean or 0.0), arm.arm)):
        areas = [arm.auc[c, scale] for c in costs for scale in SCALES]
        cells = [arm.final, *areas, *(arm.labels[c] for c in costs)]
        rows.append([arm.arm, arm.seeds, *(number for cell in cells for number in (cell.mean, cell.std, cell.n))])
        rows[-1] += [number for c in costs for number in _ratio_numbers(arm.ratio.get(c))]
        texts = [cell_text(cell, metric.decimals) for cell in (arm.final, *areas)]
        texts += [cell_text(arm.labels[c], 0, absent=_never(arm.arm, c, statistics)) for c in costs]
        shown.append([arm.arm, arm.seeds, *texts, *(_ratio_text(arm.ratio.get(c)) for c in costs)])
    groups = [
        ("", 3),
        *((f"AUC of {metric.name} against {c}", len(SCALES)) for c in costs),
        (target_text(statistics), len(costs)),
    ]
    heads = ["arm", "seeds", f"final {metric.name}", *(SCALES * len(costs)), *costs]
    if random is None:
        shown = [row[: -len(costs)] for row in shown]
    else:
        groups.append((f"cost over {random}'s", len(costs)))
        heads += costs
    return ReportTable(name, title, columns, rows, (heads, shown), groups, note=_note(statistics))


def _three(name: str) -> tuple[str, str, str]:
    return f"{name}_mean", f"{name}_std", f"{name}_n"


def _never(arm: str, cost: str, statistics: Statistics) -> str:
    """For an arm that never reaches the target: with another budget than the rest, all that is known is that it takes more."""
    end = mean_end((curve for curve in statistics.curves if curve.arm == arm), cost)
    return f">{end:.0f}" if arm in statistics.unequal and end is not None else "never"


def _ratio_numbers(ratio: CostRatio | None) -> list[float | None]:
    """Mean, both ends of its 95% interval, and number of seeds."""
    return [None] * 4 if ratio is None else [ratio.mean, *(ratio.interval() or (None, None)), ratio.n]


def _ratio_text(ratio: CostRatio | None) -> str:
    """ "0.85 (0.78–0.93)"; "2 of 3 seeds" where one is censored."""
    if ratio is None or not ratio.logs:
        return ""
    if ratio.mean is None:
        return f"{ratio.n} of {count(len(ratio.logs), 'seed')}"
    return f"{ratio.mean:.2f}" + (" ({:.2f}–{:.2f})".format(*ends) if (ends := ratio.interval()) else "")


def target_text(statistics: Statistics) -> str:
    """What the labels are counted to, as a column's heading."""
    target, random = statistics.target, statistics.random
    if target:
        return f"labels to {target.metric.name} {target.value:g}"
    return f"labels to {random}'s final {statistics.metric.name}" if random else "labels to the target"


def _note(statistics: Statistics) -> str:
    metric, random = statistics.metric.name, statistics.random
    spans = {cost: statistics.ranges[cost, "linear"] for cost in statistics.task.cost_names}
    covered = [f"{low:.0f} to {high:.0f} {cost}" for cost, span in spans.items() if span for low, high in [span]]
    whose = f"all arms but {listing(statistics.unequal)}" if statistics.unequal else "all runs"
    text = f"AUC is the mean {metric} over the costs that {whose} cover: {' and '.join(covered)}. " if covered else ""
    if covered and len(statistics.arms) > 2:
        text += "A difference of two arms is taken over the costs that these two cover. "
    if any(row.adjusted for row in statistics.rounds):
        text += f"{ADJUSTED} "
    if not statistics.target and random:
        text += f"The target of a seed is {random}'s own final {metric} with that seed. "
    if random and any(arm.ratio for arm in statistics.arms):
        at = (
            f"{target_text(statistics).removeprefix('labels to ')}"
            if statistics.target
            else f"all {metric} that both reach"
        )
        text += (
            f"The cost over {random}'s is a ratio at equal {metric} ({at}): geometric mean over seeds, with its own 95% t "
            "interval; below 1 it saves labels. Where seeds are missing in it, one of the two did not get there. "
        )
    return text + "Only complete runs count here."


def cell_text(cell: OverSeeds, digits: int = 2, *, absent: str = "", unit: str = "") -> str:
    """ "31.20 ± 0.81"; "2 of 3 seeds" where some seeds have no number, `absent` where none has."""
    if cell.mean is not None:
        return mean_and_std(cell.mean, cell.std, digits) + (f" {unit}" if unit else "")
    if not cell.values:
        return ""
    return f"{cell.n} of {len(cell.values)} seeds" if cell.n else absent


def reference_table(statistics: Statistics) -> ReportTable | None:
    """The share of the full-label value that each arm reached, and the labels at which 90% and 95% of it were. None without
    full-label runs."""
    if not statistics.reference.n:
        return None
    costs, metric = statistics.task.cost_names, statistics.metric
    columns = ["arm", *_three("share_percent")]
    columns += [column for c in costs for s in SHARES for column in _three(f"{c}_at_{s:.0%}".replace("%", ""))]
    rows: list[list[Any]] = []
    shown = []
    for arm in sorted(statistics.arms, key=lambda arm: (-(arm.share.mean or 0.0), arm.arm)):
        cells = [arm.share_labels[c, s] for c in costs for s in SHARES]
        rows.append([arm.arm, *(number for cell in (arm.share, *cells) for number in (cell.mean, cell.std, cell.n))])
        name = f"{arm.arm} (oracle)" if arm.oracle else arm.arm
        shown.append([name, cell_text(arm.share, 1, unit="%"), *(cell_text(cell, 0, absent="never") for cell in cells)])
    groups = [("", 1), (f"final {metric.name}", 1), *((f"{cost} needed for", len(SHARES)) for cost in costs)]
    heads = ["arm", f"share of all labels' {metric.name}", *(f"{share:.0%} of it" for _ in costs for share in SHARES)]
    reached = cell_text(statistics.reference, metric.decimals)
    mean = f"All labels reach {metric.name} {reached} ({statistics.reference.n} runs)."
    return ReportTable(
        "reference", "How close to a training on all labels", columns, rows, (heads, shown), groups, note=mean
    )
