"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from al_cli.tasks import Task
from al_cli.types import RoundRecord

LOSSES_SHOWN = ("val_loss", "loss")  # parts of a loss would not fit 80 columns: rounds.md has them


def rounds_table(records: Sequence[RoundRecord], task: Task) -> Table:
    """The rounds so far in the columns of the thesis' appendix A, the best primary metric in bold. Empty where none.

    Columns that no round has a value for (val_loss without a validation split, ud without a UD stage, losses that were not
    measured, a metric that there is nothing to measure of) are left out.
    """
    losses = [name for name in LOSSES_SHOWN if any(getattr(record, name) is not None for record in records)]
    with_ud = any(record.ud is not None for record in records)
    metrics = [m for m in task.tabled if m == task.primary or any(r.metrics.get(m.name) is not None for r in records)]
    columns = ["round", *(["ud"] if with_ud else []), *task.cost_names, *(metric.name for metric in metrics)]
    trained = any(record.train_metric is not None for record in records)
    columns += [f"training\n{task.primary.name}"] if trained else []
    columns += [name.replace("_", "\n") for name in losses]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))  # detection's fits 80 columns
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    primary = task.primary.name
    best = max((value for record in records if (value := record.metrics.get(primary)) is not None), default=None)
    for record in records:
        cells: list[str | Text] = [str(record.round)]
        if with_ud:
            cells.append("" if record.ud is None else f"{record.ud:g}")
        cells += [f"{cost.of(record):,}" for cost in task.costs]
        cells += [metric.text(record.metrics.get(metric.name)) for metric in metrics]
        cells += [task.primary.text(record.train_metric)] if trained else []
        cells += ["" if (value := getattr(record, name)) is None else f"{value:.3f}" for name in losses]
        if best is not None and record.metrics.get(primary) == best:
            position = columns.index(primary)
            cells[position] = Text(str(cells[position]), style="bold")
        table.add_row(*cells)
    return table
