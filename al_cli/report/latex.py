r"""A table as LaTeX that compiles: floats between booktabs rules, as narrow as the text of a paper, with caption and label.

What is too wide is split by columns, each part with the columns that say what a row is; what is too long for a page is a
longtable. Needs booktabs, and longtable and graphicx where the first line says so: they are in every TeX.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import groupby

TEXT_WIDTH_PT = 345  # of LaTeX's article with 10 pt
CHARACTER_PT, GAP_PT = 4.7, 8  # of a digit in \small with some bold or wide letters, and between two columns
ROWS_A_PAGE = 40
LONG, LONG_PT = 48, 150  # a column with more characters in a cell has lines of this width

_MACROS = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--"}
_MACROS |= {"−": "$-$", "…": r"\ldots{}", "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "|": r"\textbar{}"}
_MACROS |= {"<": "$<$", ">": "$>$", "⟨": r"$\langle$", "⟩": r"$\rangle$", "Δ": r"$\Delta$", "→": r"$\rightarrow$"}
_MACROS |= {"—": "---", '"': "''", "`": "{`}", "\u00a0": "~", "[": "{[}", "*": "{*}"}  # \\[ and \\* are commands
_MACROS |= {char: f"\\{char}" for char in "&%$#_{}"}
_MINUS = re.compile(r"(?<![^\s(\[])-(?=\.?\d)")
_ACCENTS = "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327"  # that LaTeX's first font can set


def tex(text: str) -> str:
    """The text with every character that LaTeX reads as a command escaped, and the minus of a number as one. Letters stay."""
    text = "".join(" " if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") else char for char in text)
    pieces = (_MACROS.get(char, char) for char in _MINUS.sub("−", text))
    return re.sub("-(?=-)", "-{}", "".join(pieces)) if "--" in text else "".join(pieces)


def latex_table(
    name: str,
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[bool],
    groups: Sequence[tuple[str, int]] = (),
    upright: bool = False,
) -> str:
    """`right`: which columns hold numbers; `groups`: (label, width) of a line above the columns; `upright`: their names run
    upwards. The label is tab:<name>, with -1, -2, ... where the table is split."""
    labels = [(k, label) for k, (label, width) in enumerate(groups) for _ in range(width)]
    parts = split(columns, rows, groups, upright)
    long = len(rows) > ROWS_A_PAGE
    packages = ["booktabs", *["longtable"] * long, *["graphicx"] * upright]
    lines = ["% needs " + " ".join(f"\\usepackage{{{package}}}" for package in packages)]
    text = " ".join([caption, *columns, *(label for label, _ in groups), *(cell for row in rows for cell in row)])
    if foreign := [char for char in text if not _plain(char)]:
        lines.append(
            f"% has letters such as U+{ord(foreign[0]):04X}: needs xelatex or lualatex, and a font that has them"
        )
    for number, part in enumerate(parts, 1):
        more = f" (part {number} of {len(parts)})" if len(parts) > 1 else ""
        label = "tab:" + re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") + (f"-{number}" if more else "")
        titled = f"\\caption{{{tex(caption + more)}}}\\label{{{label}}}"
        heads = [f"\\rotatebox{{90}}{{{tex(columns[x])}}}" if upright and x else tex(columns[x]) for x in part]
        above = _group_lines([labels[x] for x in part]) if groups else []
        side = "".join(_side([row[x] for row in rows], right[x]) for x in part)
        body = [_row([tex(row[x]) for x in part]) for row in rows]
        head = ["\\toprule", *above, _row(heads), "\\midrule"]
        lines += _long(titled, side, head, body) if long else _float(titled, side, head, body)
    return "\n".join(lines) + "\n"


def split(
    columns: Sequence[str], rows: Sequence[Sequence[str]], groups: Sequence[tuple[str, int]] = (), upright: bool = False
) -> list[list[int]]:
    """The columns of each part, which fit the text's width together; the first of each say what its rows are. A group stays
    whole where it fits."""
    widths = [_width_pt(["" if upright and x else name, *(row[x] for row in rows)]) for x, name in enumerate(columns)]
    units = _units(len(columns), groups)
    if sum(_unit_pt(widths, unit, label) for unit, label in units) <= TEXT_WIDTH_PT:
        return [list(range(len(columns)))]
    keys = _keys(rows) if sum(widths[x] for x in _keys(rows)) < TEXT_WIDTH_PT / 2 else [0]
    room = TEXT_WIDTH_PT - sum(widths[x] for x in keys)
    parts: list[list[int]] = []
    left = 0.0
    for unit, label in units:
        unit = [x for x in unit if x not in keys]
        for piece in [unit] if _unit_pt(widths, unit, label) <= room else [[x] for x in unit]:
            width = _unit_pt(widths, piece, label)
            if piece and (not parts or width > left):
                parts.append([])
                left = room
            if piece:
                parts[-1] += piece
                left -= width
    return [[*keys, *part] for part in parts] or [keys]


def _units(columns: int, groups: Sequence[tuple[str, int]]) -> list[tuple[list[int], str]]:
    """(columns, the label above them) of each group that has a label, and of each other column."""
    units: list[tuple[list[int], str]] = []
    first = 0
    for label, width in groups or [("", columns)]:
        of_group = list(range(first, first + width))
        units += [(of_group, label)] if label else [([x], "") for x in of_group]
        first += width
    return units


def _unit_pt(widths: Sequence[float], unit: Sequence[int], label: str) -> float:
    return max(sum(widths[x] for x in unit), _width_pt([label]) if label and unit else 0.0)


def _keys(rows: Sequence[Sequence[str]]) -> list[int]:
    """The first column, and those after it that are needed so that no two rows look the same."""
    keys, seen = [0], len({row[0] for row in rows})
    for x in range(1, len(rows[0]) if rows else 1):
        if seen == len(rows):
            break
        more = len({tuple(row[y] for y in (*keys, x)) for row in rows})
        if more > seen:
            keys, seen = [*keys, x], more
    return keys if seen == len(rows) else [0]


def _width_pt(texts: Sequence[str]) -> float:
    longest = max(sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text) for text in texts)
    return (LONG_PT if longest > LONG else CHARACTER_PT * longest) + GAP_PT


def _side(cells: Sequence[str], right: bool) -> str:
    return f"p{{{LONG_PT}pt}}" if max(map(len, cells), default=0) > LONG else "r" if right else "l"


def _group_lines(labels: Sequence[tuple[int, str]]) -> list[str]:
    """The labels over their columns, and a rule below each."""
    cells, rules, first = [], [], 1
    for (_, label), of_group in groupby(labels):
        width = len(list(of_group))
        cells.append(f"\\multicolumn{{{width}}}{{c}}{{{tex(label)}}}")
        if label:
            rules.append(f"\\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    return [_row(cells), *([" ".join(rules)] if rules else [])]


def _float(caption: str, side: str, head: Sequence[str], body: Sequence[str]) -> list[str]:
    begin = [
        "\\begin{table}",
        "\\centering\\small\\setlength{\\tabcolsep}{4pt}",
        caption,
        f"\\begin{{tabular}}{{{side}}}",
    ]
    return [*begin, *head, *body, "\\bottomrule", "\\end{tabular}", "\\end{table}"]


def _long(caption: str, side: str, head: Sequence[str], body: Sequence[str]) -> list[str]:
    begin = ["{\\small\\setlength{\\tabcolsep}{4pt}", f"\\begin{{longtable}}{{{side}}}", caption + r" \\"]
    return [*begin, *head, "\\endfirsthead", *head, "\\endhead", *body, "\\bottomrule", "\\end{longtable}}"]


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _plain(char: str) -> bool:
    """Whether pdflatex sets the character without more packages: ASCII, letters with its accents, what becomes a command."""
    base = unicodedata.normalize("NFD", char)
    return char in _MACROS or char in "ßæÆøØœŒłŁ" or (base[0].isascii() and set(base[1:]) <= set(_ACCENTS))
