"""A table of the report, and the four ways it is written: CSV for programs, Markdown, LaTeX, and HTML for the page.

The CSV has every number as it is; people get rounded text, which may join several numbers in one cell ("31.2 ± 0.8").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from al_cli.records.formats import csv_text, markdown_text
from al_cli.report.latex import latex_table
from al_cli.system import write_atomic

LONG = 48  # characters of a cell that may be broken into lines

_NUMBERS = re.compile(  # also "3.1 ± 0.2", "+1.2 to +3.4", "2 of 3 seeds", "4 min 05 s"
    r"[-−+±–%<>≥ ()0-9.,/]*|never|\d+ of \d+ seeds|[-+0-9.]+ to [-+0-9.]+|(\d[\d.]* (h|min|s) ?)+"
)


@dataclass(frozen=True)
class ReportTable:
    """`columns` and `rows` are the CSV's; `shown` what people read (columns, rows of text), the same where None.

    `groups` are (label, width) of a line above the columns; `shade` [rows][columns] in 0..1 darkens cells (None: not).
    `upright`: on the page the columns' names run upwards (a matrix of long names). `folded`: the page shows its title alone
    until one clicks on it. `note` is printed below. An empty table has its header alone.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    shown: tuple[Sequence[str], Sequence[Sequence[Any]]] | None = None
    groups: Sequence[tuple[str, int]] = ()
    shade: Sequence[Sequence[float | None]] | None = None
    upright: bool = False
    folded: bool = False
    note: str = ""

    @property
    def for_people(self) -> tuple[list[str], list[list[str]]]:
        columns, rows = self.shown or (self.columns, self.rows)
        return list(columns), [[number(cell) for cell in row] for row in rows]

    def csv(self) -> str:
        return csv_text(self.columns, self.rows)

    def markdown(self) -> str:
        """The table as text that lines up; a group's label becomes part of its columns' names."""
        columns, rows = self.for_people
        if self.groups:
            labels = [label for label, width in self.groups for _ in range(width)]
            columns = [f"{label} {column}".strip() for label, column in zip(labels, columns, strict=True)]
        return markdown_text(columns, rows) + (f"\n{self.note}\n" if self.note else "")

    def latex(self) -> str:
        """Tables between booktabs rules (`latex.latex_table`); title and note are the caption."""
        columns, rows = self.for_people
        caption = f"{self.title}. {self.note}" if self.note else self.title
        return latex_table(self.name, caption, columns, rows, self.aligned_right, self.groups, self.upright)

    def html(self) -> str:
        columns, rows = self.for_people
        sides = [_side(right, [row[x] for row in rows]) for x, right in enumerate(self.aligned_right)]
        lines = [
            '<table class="m">' if self.upright else "<table>",
            f"<caption>{escape(self.title)}</caption>",
            "<thead>",
        ]
        if self.groups:
            spans = (f'<th colspan="{width}" class="g">{escape(label)}</th>' for label, width in self.groups)
            lines.append(f"<tr>{''.join(spans)}</tr>")
        heads = (f'<th scope="col"{side}>{escape(name)}</th>' for name, side in zip(columns, sides, strict=True))
        lines += [f"<tr>{''.join(heads)}</tr>", "</thead>", "<tbody>"]
        for y, row in enumerate(rows):
            cells = (self._html_cell(y, x, cell, sides[x]) for x, cell in enumerate(row))
            lines.append(f"<tr>{''.join(cells)}</tr>")
        return "\n".join([*lines, "</tbody>", "</table>"])

    def _html_cell(self, y: int, x: int, text: str, side: str) -> str:
        if x == 0:
            return f'<th scope="row"{side}>{escape(text)}</th>'
        depth = self.shade[y][x] if self.shade else None
        shade = "" if depth is None else f' style="--d:{depth:.2f}"'
        return f"<td{side}{shade}>{escape(text)}</td>"

    @property
    def aligned_right(self) -> list[bool]:
        """Per column: numbers, with or without a deviation, an interval or a sign."""
        columns, rows = self.for_people
        return [any(row[x] for row in rows) and all(_numeric(row[x]) for row in rows) for x in range(len(columns))]

    def write(self, folder: Path) -> list[Path]:
        """<name>.csv, .md and .tex in the folder."""
        contents = {"csv": self.csv(), "md": self.markdown(), "tex": self.latex()}
        for suffix, text in contents.items():
            write_atomic(folder / f"{self.name}.{suffix}", text)
        return [folder / f"{self.name}.{suffix}" for suffix in contents]


def number(cell: Any, digits: int = 2) -> str:
    """A cell as people read it: None is empty, a float has two digits, a flag is yes or no."""
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return f"{cell:.{digits}f}" if isinstance(cell, float) else str(cell)


def mean_and_std(mean: float | None, std: float | None, digits: int = 2) -> str:
    """ "31.20 ± 0.81", without the deviation of a single run; nothing where there is no mean."""
    if mean is None:
        return ""
    return f"{mean:.{digits}f}" if std is None else f"{mean:.{digits}f} ± {std:.{digits}f}"


def _numeric(text: str) -> bool:
    return _NUMBERS.fullmatch(text) is not None


def _side(cell_is_number: bool, texts: Sequence[str]) -> str:
    """Numbers on the right; text that is too long for one line may break."""
    return ' class="n"' if cell_is_number else ' class="t"' if max(map(len, texts), default=0) > LONG else ""
