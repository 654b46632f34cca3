"""One look for every figure: sizes and fonts of a paper's column, colours that colour-blind readers can distinguish.

Figures are objects without pyplot, so nothing global is left behind; matplotlib is imported only when one is made.
The same numbers give the same bytes: no dates in the files, fixed ids in SVG.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from al_cli.report.drawing.letters import HOUSE, drawable, show_letters
from al_cli.system import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito 2008, most distinct first; the yellow is left out: it does not show on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", ":", "-.")
GREY = "#6B6B6B"
FAINT = "#C4C4C4"  # curves that are there without a look of their own
MANY = 8  # arms from which on only some curves of a figure have a band and a look
DISTINCT = 13  # curves that colour, dashes and marker together still distinguish
FAINT_LOOK = {"color": FAINT, "marker": None, "linestyle": "-", "linewidth": 0.8, "zorder": 1}
WIDTH_IN, HEIGHT_IN = 4.6, 3.1
DPI = 200
SURELY_FITS = 50  # characters below the axis of the narrowest figure

_LOOK: Any = {
    "font.family": HOUSE,
    "font.size": 9,
    "text.parse_math": False,  # a $ in a class name is a dollar
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.edgecolor": "#333333",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "savefig.dpi": DPI,
    "svg.hashsalt": "al",
}


@contextmanager
def figure(width_in: float = WIDTH_IN, height_in: float = HEIGHT_IN) -> Iterator[tuple[Figure, Axes]]:
    """A figure with one pair of axes in the house style; save it inside the block."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_LOOK):
        made = Figure(figsize=(width_in, height_in), layout="constrained")
        yield made, made.subplots()


@contextmanager
def panels(columns: int, rows: int, width_in: float, height_in: float, **sharing: Any) -> Iterator[tuple[Figure, Any]]:
    """A figure with axes [rows][columns] in the house style; `sharing` is sharex, sharey."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_LOOK):
        made = Figure(figsize=(width_in, height_in), layout="constrained")
        yield made, made.subplots(rows, columns, squeeze=False, **sharing)


def save(made: Figure, *paths: Path) -> list[Path]:
    """Write the figure once for each path, in the format that its suffix names; names in any script are readable."""
    show_letters(made)
    for path in paths:
        buffer = io.BytesIO()
        kind = path.suffix.removeprefix(".")
        made.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, buffer.getvalue())
    return list(paths)


def line_style(number: int) -> dict[str, Any]:
    """Colour, marker and dashes of the n-th curve: the first seven differ in both colour and marker."""
    cycle = number // len(COLORS)
    return {
        "color": COLORS[number % len(COLORS)],
        "marker": MARKERS[(number + cycle) % len(MARKERS)],
        "linestyle": DASHES[cycle % len(DASHES)],
    }


def only_some(looks: Mapping[str, Mapping[str, Any]], arms: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """The looks of these arms as they are; all others are thin and grey."""
    return {arm: look if arm in arms else FAINT_LOOK for arm, look in looks.items()}


def assign_looks(arms: Sequence[str], random: str | None, distinct: Collection[str]) -> dict[str, dict[str, Any]]:
    """Arm -> how its curve is drawn, in every figure of a study. Random is black; arms not in `distinct` are grey.

    The twelve others differ in colour and, from the seventh on, in dashes and marker.
    """
    looks: dict[str, dict[str, Any]] = {}
    number = 0
    for arm in arms:
        if arm == random:
            looks[arm] = {"color": "#000000", "marker": "X", "linestyle": "-", "linewidth": 1.8, "zorder": 3}
        elif arm not in distinct:
            looks[arm] = dict(FAINT_LOOK)
        else:
            colors = len(COLORS) - 1  # black is random's
            cycle, place = divmod(number, colors)
            marker = MARKERS[(place + 3 * cycle) % colors]
            looks[arm] = {"color": COLORS[place], "marker": marker, "linestyle": DASHES[cycle % len(DASHES)]}
            number += 1
    return looks


def label_x(made: Figure, axes: Axes, text: str) -> None:
    """Name the x axis. A text that would leave the figure is broken into as many lines as it needs."""
    text = drawable(text)
    axes.set_xlabel(text)
    if len(text) <= SURELY_FITS:
        return
    show_letters(made)
    characters = len(text)
    while characters > 8:
        made.draw_without_rendering()
        box = axes.xaxis.label.get_window_extent()
        middle = (box.x0 + box.x1) / 2
        room = 2 * min(middle - made.bbox.x0, made.bbox.x1 - middle)
        if box.width <= room:
            return
        characters = min(characters - 1, int(characters * room / box.width))
        axes.set_xlabel(textwrap.fill(text, characters, break_on_hyphens=False))


def frame_curves(
    axes: Axes, x: list[float], y: list[float], label_x: str, label_y: str, highest: float | None = None
) -> None:
    """Labels and limits that show every point with room around it, a single point too. Metrics start at 0 when near it.

    `highest`: the best value that the metric can have, where there is one.
    """
    axes.set_xlabel(label_x)
    axes.set_ylabel(label_y)
    if x:
        pad = 0.06 * (max(x) - min(x)) or max(1.0, 0.25 * max(x))
        axes.set_xlim(max(0.0, min(x) - pad), max(x) + pad)
    if y:
        low, high = min(y), max(y)
        pad = 0.1 * (high - low) or max(0.01 * (highest or 0.0), 0.1 * abs(high)) or 1.0
        axes.set_ylim(0.0 if low >= 0 and low - pad < 0.25 * (high + pad) else low - pad, high + pad)
    places = sorted(set(x))
    closest = min((b - a for a, b in pairwise(places)), default=math.inf)
    if x and len(places) <= 8 and closest > 0.08 * (places[-1] - places[0]):  # else numbers would overlap
        axes.set_xticks(places)
