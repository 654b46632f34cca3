"""A confusion matrix as a picture: how often each class was predicted for the images of each true class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from al_cli.report.drawing import style

MOST_CONFUSED = 30  # classes in one picture


def most_confused(counts: NDArray[np.int64], most: int = MOST_CONFUSED) -> NDArray[np.int64]:
    """The classes, at most so many and in their order, with the most wrong predictions, of their images or for them."""
    wrong = counts.sum(0) + counts.sum(1) - 2 * np.diag(counts)
    return np.sort(np.argsort(-wrong, kind="stable")[:most])


def plot_confusion(names: Sequence[str], counts: NDArray[np.int64], path: Path) -> list[Path]:
    """A cell for each true class (rows) and predicted class (columns) with its number of images, darker for a larger share of
    the row. Of more than 30 classes the 30 most confused, without numbers."""
    shown = most_confused(counts)
    few = len(shown) == len(names)
    cells, labels = counts[np.ix_(shown, shown)], [_short(names[c]) for c in shown]
    share = cells / np.maximum(counts.sum(1)[shown, None], 1)
    side = max(style.HEIGHT_IN, 0.24 * len(shown) + 0.7)
    with style.figure(side + 0.09 * max(map(len, labels)), side + 0.09 * max(map(len, labels))) as (made, axes):
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        axes.grid(visible=False)
        axes.set_xticks(range(len(shown)), labels, rotation=90, fontsize=7)
        axes.set_yticks(range(len(shown)), labels, fontsize=7)
        axes.tick_params(length=0)
        for row, column in zip(*np.nonzero(cells), strict=True) if few else ():
            color = "white" if share[row, column] > 0.5 else "#333333"
            axes.text(column, row, str(cells[row, column]), ha="center", va="center", fontsize=7, color=color)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        title = "images, darker for a larger share of the true class"
        if not few:
            title = f"the {len(shown)} most confused of {len(names)} classes,\n{title.replace('images, ', '')}"
        axes.set_title(title, fontsize=8)
        return style.save(made, path)


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"
