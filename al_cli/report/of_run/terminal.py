"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from al_cli.types import RoundRecord

SHOWN = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def rounds_table(records: Sequence[RoundRecord]) -> Table:
    """The rounds so far in the columns of the thesis' appendix A, best AP in bold. AP in percent, empty where none.

    Columns that no round has a value for (val_loss without a validation split, ud without a UD stage) are left out.
    """
    with_loss = any(record.val_loss is not None for record in records)
    with_ud = any(record.ud is not None for record in records)
    columns = ["round", *(["ud"] if with_ud else []), "images", "boxes", *SHOWN, *(["val\nloss"] if with_loss else [])]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))  # fits 80 columns
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    aps = [ap for record in records if (ap := record.metrics.get("AP")) is not None]
    best = max(aps, default=None)
    for record in records:
        cells = [str(record.round)]
        if with_ud:
            cells.append("" if record.ud is None else f"{record.ud:g}")
        cells += [f"{record.images:,}", f"{record.boxes:,}"]
        cells += [_number(record.metrics.get(name), 2) for name in SHOWN]
        if with_loss:
            cells.append(_number(record.val_loss, 3))
        if best is not None and record.metrics.get("AP") == best:
            position = columns.index("AP")
            cells[position] = f"[bold]{cells[position]}[/bold]"
        table.add_row(*cells)
    return table


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
