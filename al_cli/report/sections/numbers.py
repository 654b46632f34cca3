"""The numbers of a study as tables: every run and round, means over seeds, and the thesis' appendix A."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from al_cli.records.rounds import ROUND_COLUMNS, round_row
from al_cli.report.statistics.curves import ArmRound
from al_cli.report.study import Run, Study
from al_cli.report.table import Table, mean_and_std

AP_COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
METRICS = (*AP_COLUMNS, "val_loss")
SEEDS_A_TABLE = 3  # as wide as a page


def runs_table(study: Study) -> Table:
    """A row for each run and round; a run without a finished round has one row without numbers."""
    rows: list[list[Any]] = []
    for run in (*study.runs, *study.references):
        head = [run.name, run.arm, run.seed, run.summary.state]
        rows += [head + round_row(record) for record in run.records]
        if not run.records:
            rows.append(head + [None] * len(ROUND_COLUMNS))
    return Table("runs", "Every round of every run", ("run", "arm", "seed", "state", *ROUND_COLUMNS), rows)


def arms_table(rounds: Sequence[ArmRound]) -> Table:
    """Mean and standard deviation over seeds of each arm and round. People see no column that is empty."""
    columns = ["arm", "round", "seeds", "images", "boxes"]
    rows = [
        [row.arm, row.round, row.n, row.images, row.boxes]
        + [cells[name] for name in METRICS for cells in (row.mean, row.std)]
        for row in rounds
    ]
    names = [name for name in METRICS if any(row.mean[name] is not None for row in rounds)]
    shown = []
    for row in rounds:
        cells = [mean_and_std(row.mean[name], row.std[name], 3 if name == "val_loss" else 2) for name in names]
        shown.append([row.arm, row.round, row.n, round(row.images), round(row.boxes), *cells])
    return Table(
        "arms",
        "Mean ± standard deviation over seeds, AP in percent",
        [*columns, *(f"{name}_{what}" for name in METRICS for what in ("mean", "std"))],
        rows,
        ([*columns, *names], shown),
    )


def appendix_tables(study: Study) -> list[Table]:
    """Every run's rounds, the seeds of an arm side by side (thesis, appendix A), three seeds a table.

    Runs of one arm with the same seed (another name, other sampling seeds) are beside each other too.
    """
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
                    metrics = run.records[number].metrics if run is not None and known else {}
                    cells += [metrics.get(name) for name in AP_COLUMNS]
                if any(cell is not None for cell in cells):
                    rows.append([arm, number, *cells])
        groups = [("", 2), *((f"seed {heading}", len(AP_COLUMNS)) for heading in chosen)]
        columns = ["arm", "round", *(f"{name}_{heading}" for heading in chosen for name in AP_COLUMNS)]
        shown = [row[:2] + [None if cell is None else float(cell) for cell in row[2:]] for row in rows]
        heads = ["arm", "round", *(name for _ in chosen for name in AP_COLUMNS)]
        name = "appendix_a" if len(headings) <= SEEDS_A_TABLE else f"appendix_a_{first // SEEDS_A_TABLE + 1}"
        tables.append(
            Table(name, "Every round, seeds side by side, AP in percent", columns, rows, (heads, shown), groups)
        )
    return tables


def _seeds(runs: Sequence[Run]) -> list[tuple[str, Run]]:
    """(what heads the columns, run): the seed, and the run's name too where two runs share it."""
    seeds = [run.seed for run in runs]
    return [(str(r.seed) if seeds.count(r.seed) == 1 else f"{r.seed} ({r.name})", r) for r in runs]


def _headings(members: dict[str, list[Run]]) -> list[str]:
    found = {heading: run.seed for runs in members.values() for heading, run in _seeds(runs)}
    return sorted(found, key=lambda heading: (found[heading] is None, found[heading] or 0, heading))
