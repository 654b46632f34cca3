"""One look for every figure: sizes and fonts of a paper's column, colours that colour-blind readers tell apart.

Figures are objects without pyplot, so nothing global is left behind; matplotlib is imported only when one is made.
The same numbers give the same bytes: no dates in the files, fixed ids in SVG.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from al_cli.records.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito 2008, most distinct first; the yellow is left out: it does not show on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", ":", "-.")
GREY = "#6B6B6B"
WIDTH_IN, HEIGHT_IN = 4.6, 3.1
DPI = 200

_LOOK: Any = {
    "font.family": "DejaVu Sans",
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


def save(made: Figure, *paths: Path) -> list[Path]:
    """Write the figure once for each path, in the format that its suffix names."""
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


def frame_curves(axes: Axes, x: list[float], y: list[float], label_x: str, label_y: str) -> None:
    """Labels and limits that show every point with room around it, a single point too. AP starts at 0 when near it."""
    axes.set_xlabel(label_x)
    axes.set_ylabel(label_y)
    if x:
        pad = 0.06 * (max(x) - min(x)) or max(1.0, 0.25 * max(x))
        axes.set_xlim(max(0.0, min(x) - pad), max(x) + pad)
    if y:
        low, high = min(y), max(y)
        pad = 0.1 * (high - low) or max(1.0, 0.1 * high)
        axes.set_ylim(0.0 if low - pad < 0.35 * (high + pad) else low - pad, high + pad)
    if x and len(set(x)) <= 8:
        axes.set_xticks(sorted(set(x)))
