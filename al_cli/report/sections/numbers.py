"""The numbers of a study as tables: every run and round, means over seeds, and the thesis' appendix A."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from al_cli.records.rounds import measured, round_columns, round_row, round_texts, shown_columns
from al_cli.report.sections.summary import ADJUSTED
from al_cli.report.statistics.curves import ArmRound
from al_cli.report.study import Run, StudyFolder
from al_cli.report.table import ReportTable, mean_and_std
from al_cli.tasks import Task
from al_cli.types import MEASURED

SEEDS_A_TABLE = 3  # as wide as a page


def every_round_table(study: StudyFolder) -> ReportTable:
    """A row for each run and round with its costs and all metrics; a run without a finished round has one row without
    numbers. The file also names the study, so that the files of several studies can be joined."""
    task = study.task
    also = measured(record for run in (*study.runs, *study.references) for record in run.records)
    columns = ["study", "run", "arm", "seed", "state", *round_columns(task, also)]
    rows: list[list[Any]] = []
    shown: list[list[Any]] = []
    for run in (*study.runs, *study.references):
        head = [run.name, run.arm, run.seed, run.summary.state]
        rows += [[study.name, *head, *round_row(record, task, also)] for record in run.records]
        shown += [head + round_texts(record, task, also) for record in run.records]
        if not run.records:
            rows.append([study.name, *head] + [None] * len(round_columns(task, also)))
            shown.append(head + [None] * len(shown_columns(task, also)))
    for_people = ["run", "arm", "seed", "state", *shown_columns(task, also)]
    return ReportTable("runs", "Every round of every run", columns, rows, (for_people, shown))


def arms_table(rounds: Sequence[ArmRound], task: Task) -> ReportTable:
    """Mean and standard deviation over seeds of each arm and round; the file has all metrics, and the rates of `rates_of`.
    People see the metrics of narrow tables, no column that is empty, and no epochs: a figure has them where they say
    anything."""
    also = _with_values(MEASURED, rounds)
    shown = _with_values([*(metric.name for metric in task.tabled), "val_loss", *also], rounds)
    shown = [name for name in shown if name != "epochs"]
    title = _titled("Mean ± standard deviation over seeds", task)
    return _means_table("arms", title, rounds, task, (*task.metric_names, "val_loss", *also), shown)


def more_table(rounds: Sequence[ArmRound], task: Task) -> ReportTable | None:
    """The metrics that `arms_table` has no room for, and the primary one per so many of a cost. None where there are none."""
    names = _with_values([metric.name for metric in task.metrics if metric not in task.tabled], rounds)
    if not names and not task.rates:
        return None
    title = _titled("More numbers: mean ± standard deviation over seeds", task)
    return _means_table("more", title, rounds, task, names, names, show_rates=True)


def _means_table(
    name: str,
    title: str,
    rounds: Sequence[ArmRound],
    task: Task,
    metrics: Sequence[str],
    shown: Sequence[str],
    show_rates: bool = False,
) -> ReportTable:
    """A row for each arm and round, `metrics` and the rates in the file; `shown` and with `show_rates` the rates for people,
    who may unfold it."""
    head = ["arm", "round", "seeds", *task.cost_names]
    rows: list[list[Any]] = []
    texts: list[list[Any]] = []
    for row in rounds:
        rates = rates_of(row, task)
        cells = [numbers[metric] for metric in metrics for numbers in (row.mean, row.std)]
        rows.append([row.arm, row.round, row.n, *row.costs.values(), *cells, *rates])
        texts.append(_shown_round(row, task, shown) + [task.primary.text(rate) for rate in rates if show_rates])
    columns = [*head, *(f"{metric}_{what}" for metric in metrics for what in ("mean", "std")), *task.rates]
    for_people = [*head, *shown, *(task.rates if show_rates else ())]
    note = ADJUSTED if any(row.adjusted for row in rounds) else ""
    return ReportTable(name, title, columns, rows, (for_people, texts), folded=show_rates, note=note)


def rates_of(row: ArmRound, task: Task) -> list[float | None]:
    """The primary metric's mean per so many of the mean cost (ISAL, tables 8 to 11), for each of the task's rates."""
    return [cost.rate(row.mean[task.primary.name], row.costs[cost.name]) for cost in task.rates.values()]


def _with_values(names: Sequence[str], rounds: Sequence[ArmRound]) -> list[str]:
    return [name for name in names if any(row.mean.get(name) is not None for row in rounds)]


def _shown_round(row: ArmRound, task: Task, names: Sequence[str]) -> list[Any]:
    """A round as people read it: what it had cost, then mean and deviation of each of these."""
    decimals = {metric.name: metric.decimals for metric in task.metrics} | {"val_loss": 3} | dict.fromkeys(MEASURED, 3)
    decimals["train_metric"] = task.primary.decimals
    cells = [mean_and_std(row.mean[name], row.std[name], decimals[name]) for name in names]
    return [row.arm, row.round, row.n, *map(round, row.costs.values()), *cells]


def appendix_tables(study: StudyFolder) -> list[ReportTable]:
    """Every run's rounds, the seeds of an arm side by side (thesis, appendix A), three seeds a table, in the metrics
    of narrow tables.

    Runs of one arm with the same seed (another name, other sampling seeds) are next to each other too.
    """
    metrics = study.task.tabled
    members = {arm: study.of_arm(arm) for arm in study.arms}
    headings = _headings(members)
    tables = []
    for first in range(0, len(headings), SEEDS_A_TABLE):
        chosen = headings[first : first + SEEDS_A_TABLE]
        rows: list[list[Any]] = []
        for arm, runs in members.items():
            there = dict(_seeds(runs))
            for number in range(max(len(run.records) for run in runs)):
                cells: list[Any] = []
                for heading in chosen:
                    run = there.get(heading)
                    known = run is not None and number < len(run.records)
                    values = run.records[number].metrics if run is not None and known else {}
                    cells += [values.get(metric.name) for metric in metrics]
                if any(cell is not None for cell in cells):
                    rows.append([arm, number, *cells])
        groups = [("", 2), *((f"seed {heading}", len(metrics)) for heading in chosen)]
        columns = ["arm", "round", *(f"{metric.name}_{heading}" for heading in chosen for metric in metrics)]
        across = [metric for _ in chosen for metric in metrics]
        shown = [row[:2] + [m.text(cell) for m, cell in zip(across, row[2:], strict=True)] for row in rows]
        heads = ["arm", "round", *(metric.name for metric in across)]
        name = "appendix_a" if len(headings) <= SEEDS_A_TABLE else f"appendix_a_{first // SEEDS_A_TABLE + 1}"
        title = _titled("Every round, seeds side by side", study.task)
        tables.append(ReportTable(name, title, columns, rows, (heads, shown), groups))
    return tables


def _titled(text: str, task: Task) -> str:
    """The title with the primary metric's unit, where it has one."""
    return f"{text}, {task.primary.in_unit}" if task.primary.in_unit else text


def _seeds(runs: Sequence[Run]) -> list[tuple[str, Run]]:
    """(what heads the columns, run): the seed, and the run's name too where two runs share it."""
    seeds = [run.seed for run in runs]
    return [(str(r.seed) if seeds.count(r.seed) == 1 else f"{r.seed} ({r.name})", r) for r in runs]


def _headings(members: dict[str, list[Run]]) -> list[str]:
    seeds = {heading: run.seed for runs in members.values() for heading, run in _seeds(runs)}
    return sorted(seeds, key=lambda heading: (seeds[heading] is None, seeds[heading] or 0, heading))
