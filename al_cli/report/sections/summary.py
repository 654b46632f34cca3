"""What each arm comes to, one row an arm: final AP, area under the curve, labels to a target, share of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from al_cli.report.statistics.analyse import SHARES, ArmSummary, Statistics
from al_cli.report.statistics.curves import COSTS, SCALES, Cost, OverSeeds
from al_cli.report.table import Table, mean_and_std


def summary_tables(found: Statistics, cost: Cost) -> list[Table]:
    """The methods, and apart from them the oracles, which know what nobody can know; the largest area against `cost` first."""
    methods = [arm for arm in found.arms if not arm.oracle]
    oracles = [arm for arm in found.arms if arm.oracle]
    tables = [_summary("summary", "What each arm comes to, mean ± standard deviation over seeds", methods, found, cost)]
    if oracles:
        title = "Oracles: they read labels that nobody has yet, so they are bounds and no methods"
        tables.append(_summary("oracles", title, oracles, found, cost))
    return [table for table in tables if table.rows]


def _summary(name: str, title: str, arms: Sequence[ArmSummary], found: Statistics, cost: Cost) -> Table:
    columns = ["arm", "seeds", *_three("final_AP")]
    columns += [column for c in COSTS for scale in SCALES for column in _three(f"AUC_{c}_{scale}")]
    columns += [column for what in ("labels", "saved_percent") for c in COSTS for column in _three(f"{what}_{c}")]
    rows, shown = [], []
    for arm in sorted(arms, key=lambda arm: (-(arm.auc[cost, "linear"].mean or 0.0), arm.arm)):
        areas = [arm.auc[c, scale] for c in COSTS for scale in SCALES]
        cells = [arm.final, *areas, *(arm.labels[c] for c in COSTS), *(arm.saved[c] for c in COSTS)]
        rows.append([arm.arm, arm.seeds, *(number for cell in cells for number in (cell.mean, cell.std, cell.n))])
        texts = [text(arm.final), *map(text, areas), *(text(arm.labels[c], 0, absent="never") for c in COSTS)]
        saved = ["" if arm.arm == found.random else text(arm.saved[c], 0, unit="%") for c in COSTS]
        shown.append([arm.arm, arm.seeds, *texts, *saved])
    groups = [("", 3), ("AUC against images", 2), ("AUC against boxes", 2), (target_text(found), 2)]
    heads = ["arm", "seeds", "final AP", "linear", "log", "linear", "log", "images", "boxes"]
    if found.random is None:
        shown = [row[:-2] for row in shown]
    else:
        groups.append((f"saved against {found.random}", 2))
        heads += ["images", "boxes"]
    return Table(name, title, columns, rows, (heads, shown), groups, note=_note(found))


def _three(name: str) -> tuple[str, str, str]:
    return f"{name}_mean", f"{name}_std", f"{name}_n"


def target_text(found: Statistics) -> str:
    """What the labels are counted to, as a column's heading."""
    if found.target:
        return f"labels to {found.target.metric} {found.target.value:g}"
    return f"labels to {found.random}'s final AP" if found.random else "labels to the target"


def _note(found: Statistics) -> str:
    spans = {cost: found.ranges[cost, "linear"] for cost in COSTS}
    told = [f"{low:.0f} to {high:.0f} {cost}" for cost, span in spans.items() if span for low, high in [span]]
    text = f"AUC is the mean AP over the costs that all runs cover: {' and '.join(told)}. " if told else ""
    if not found.target and found.random:
        text += f"The target of a seed is {found.random}'s own final AP with that seed. "
    return text + "Only complete runs count here."


def text(cell: OverSeeds, digits: int = 2, *, absent: str = "", unit: str = "") -> str:
    """ "31.20 ± 0.81"; "2 of 3 seeds" where some seeds have no number, `absent` where none has."""
    if cell.mean is not None:
        return mean_and_std(cell.mean, cell.std, digits) + (f" {unit}" if unit else "")
    if not cell.values:
        return ""
    return f"{cell.n} of {len(cell.values)} seeds" if cell.n else absent


def reference_table(found: Statistics) -> Table | None:
    """The share of the full-label AP that each arm reached, and the labels at which 90% and 95% of it were. None without
    full-label runs."""
    if not found.reference.n:
        return None
    columns = ["arm", *_three("share_percent")]
    columns += [column for c in COSTS for s in SHARES for column in _three(f"{c}_at_{s:.0%}".replace("%", ""))]
    rows: list[list[Any]] = []
    shown = []
    for arm in sorted(found.arms, key=lambda arm: (-(arm.share.mean or 0.0), arm.arm)):
        cells = [arm.share_labels[c, s] for c in COSTS for s in SHARES]
        rows.append([arm.arm, *(number for cell in (arm.share, *cells) for number in (cell.mean, cell.std, cell.n))])
        name = f"{arm.arm} (oracle)" if arm.oracle else arm.arm
        shown.append([name, text(arm.share, 1, unit="%"), *(text(cell, 0, absent="never") for cell in cells)])
    groups = [("", 1), ("final AP", 1), *((f"{cost} needed for", len(SHARES)) for cost in COSTS)]
    heads = ["arm", "share of all labels' AP", *(f"{share:.0%} of it" for _ in COSTS for share in SHARES)]
    mean = f"All labels reach AP {text(found.reference)} ({found.reference.n} runs)."
    return Table("reference", "How close to a training on all labels", columns, rows, (heads, shown), groups, note=mean)
