"""The plots of one run, drawn from its folder alone (the picked images need the dataset too)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from al_cli.records import RunFolder, round_name
from al_cli.records.settings import stops_early
from al_cli.report.drawing import style
from al_cli.report.drawing.confusion import plot_confusion
from al_cli.report.drawing.curves import LOSS_PARTS
from al_cli.report.drawing.sheets import contact_sheet, save_sheet
from al_cli.tasks import Cost, Metric, Task
from al_cli.types import LossPoint, RoundRecord, Splits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EPOCHS = {"epochs": "epochs"}  # Lund, figures 4.27 and 4.28
CLASSES_IN_PLOT = 60  # bars that still fit on one page; the most frequent are shown and the title says so


def plot_run(path: Path | str, splits: Splits | None = None, sheets: int = 0) -> list[Path]:
    """Draw everything of a run into its plots/ folder; returns what is there now.

    Without `splits` there are no contact sheets; without recorded losses, no loss plot; without a finished round,
    nothing. The first `sheets` rounds keep the contact sheet that the caller has drawn: it never changes.
    """
    folder = RunFolder(path)
    records = folder.records()
    if not records:
        return []
    plots = folder.path / "plots"
    written = []
    task = folder.task()
    for cost in task.costs:
        written += plot_metrics(records, task, cost, plots / f"{task.primary.slug}_vs_{cost.name}.png")
    if task.breakdown:
        written += plot_run_breakdown(records, task, plots / f"{task.primary.slug}_by_{task.breakdown.name}.png")
    losses = [folder.losses(record.round) for record in records]
    if any(losses):
        written += plot_losses(losses, plots / "losses.png")
    if any(record.loss is not None for record in records):
        written += plot_run_measured(records, task, LOSS_PARTS, "loss (lower is better)", plots / "loss_parts.png")
    if any(record.train_metric is not None for record in records):
        axis = f"training {task.primary.axis}"
        written += plot_run_measured(records, task, {"train_metric": ""}, axis, plots / "training.png")
    if stops_early(folder.config()) and len({record.epochs for record in records} - {None}) > 1:
        written += plot_run_measured(records, task, EPOCHS, "epochs of the training", plots / "epochs.png")
    counts = [folder.class_counts(record.round) for record in records]
    if any(picked for of_round in counts for picked, _ in of_round.values()):
        written += plot_class_counts(counts, plots / "class_counts.png", task.labeled)
    classes, confused = folder.confusion(records[-1].round)
    if len(classes) > 1:
        written += plot_confusion(classes, confused, plots / "confusion.png")
    if splits is not None:
        for record in records:
            target = plots / f"contact_sheet_{round_name(record.round)}.png"
            if record.round >= sheets or not target.is_file():
                save_sheet(contact_sheet(record, splits.train, label=task.label), target)
            written.append(target)
    return written


def plot_metrics(records: list[RoundRecord], task: Task, cost: Cost, path: Path) -> list[Path]:
    """The task's metrics against one of its costs."""
    return _plot(records, task, cost, {metric.name: metric.title or metric.name for metric in task.plotted}, path)


def plot_run_breakdown(records: list[RoundRecord], task: Task, path: Path) -> list[Path]:
    """The primary metric by group (of detection: by the size of objects) against the task's first cost."""
    return _plot(records, task, task.costs[0], task.breakdown.labels if task.breakdown else {}, path)


def _plot(records: list[RoundRecord], task: Task, cost: Cost, names: Mapping[str, str], path: Path) -> list[Path]:
    with style.figure() as (made, axes):
        every_x: list[float] = []
        every_y: list[float] = []
        for number, (key, label) in enumerate(names.items()):
            points = [(cost.of(r), value) for r in records if (value := r.metrics.get(key)) is not None]
            if not points:
                continue
            x, y = zip(*points, strict=True)
            axes.plot(x, y, label=label, clip_on=False, **style.line_style(number))
            every_x += x
            every_y += y
            if key == task.primary.name:
                _label_points(axes, x, y, task.primary)
        style.frame_curves(axes, every_x, every_y, f"labeled {cost.name}", task.primary.axis, task.primary.highest)
        if every_y:
            made.legend(loc="outside upper center", ncols=len(names))
        return style.save(made, path)


def plot_run_measured(
    records: list[RoundRecord], task: Task, labels: Mapping[str, str], label_y: str, path: Path
) -> list[Path]:
    """Numbers of rounds that are no metrics (`labels`: number -> its name in the legend) against the task's first cost."""
    cost = task.costs[0]
    with style.figure() as (made, axes):
        every: list[tuple[float, float]] = []
        for number, (key, label) in enumerate(labels.items()):
            points = [(cost.of(r), value) for r in records if (value := getattr(r, key)) is not None]
            if points:
                axes.plot(*_axes_of(points), label=label, clip_on=False, **style.line_style(number))
            every += points
        style.frame_curves(axes, *_axes_of(every), f"labeled {cost.name}", label_y)
        if (shown := len(axes.lines)) > 1:
            made.legend(loc="outside upper center", ncols=shown)
        return style.save(made, path)


def _label_points(axes: Axes, x: tuple[float, ...], y: tuple[float, ...], metric: Metric) -> None:
    """The value below each point, where there are few enough to read; a white rim keeps other curves off the digits."""
    from matplotlib.patheffects import withStroke

    if len(x) > 8:
        return
    rim = [withStroke(linewidth=2.5, foreground="white")]
    for a, b in zip(x, y, strict=True):
        offset = {"textcoords": "offset points", "xytext": (7, -9), "ha": "center"}
        text = metric.text(b, fewer=1)
        axes.annotate(text, (a, b), fontsize=7, color=style.COLORS[0], zorder=5, path_effects=rim, **offset)  # type: ignore[arg-type]


def plot_losses(losses: list[list[LossPoint]], path: Path) -> list[Path]:
    """Training and validation loss through all rounds, one after another (thesis, figure 21); rounds are marked."""
    with style.figure(width_in=6.4) as (made, axes):
        measured = sum(point.val_loss is not None for points in losses for point in points)
        start = 0
        train_y: list[float] = []
        val_y: list[float] = []
        for number, points in enumerate(losses):
            if not points:
                continue
            end = start + points[-1].iteration
            train = [(start + p.iteration, p.train_loss) for p in points if np.isfinite(p.train_loss)]
            val = [(start + p.iteration, p.val_loss) for p in points if p.val_loss is not None]
            first = not train_y
            axes.plot(*_axes_of(train), color=style.COLORS[0], linewidth=1.0, label="training" if first else None)
            label = "validation" if val and not val_y else None
            marker = "o" if measured <= 60 else None
            axes.plot(*_axes_of(val), color=style.COLORS[1], marker=marker, markersize=3, linewidth=1.4, label=label)
            train_y += [y for _, y in train]
            val_y += [y for _, y in val]
            if number:
                axes.axvline(start, color=style.GREY, linewidth=0.6, linestyle=(0, (4, 3)))
            if len(losses) <= 12 or number % 5 == 0:
                name = f"round {number}" if len(losses) <= 8 else f"{number}"
                offset = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "bottom"}
                axes.annotate(name, ((start + end) / 2, 1.01), fontsize=8, color=style.GREY, **offset)  # type: ignore[arg-type]
            start = end
        # The first steps of a training are far above all others; what matters is below.
        high = max(np.quantile(train_y, 0.98) if train_y else 0.0, max(val_y, default=0.0))
        axes.set_ylim(0, 1.08 * float(high) or 1.0)
        axes.set_xlim(0, 1.01 * start)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("iteration" if len(losses) == 1 else "iteration, all rounds one after another")
        axes.set_ylabel("loss")
        made.legend(loc="outside upper center", ncols=2)
        return style.save(made, path)


def _axes_of(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def plot_class_counts(counts: list[dict[str, tuple[int, int]]], path: Path, labeled: str) -> list[Path]:
    """Labels that each round added per class, stacked; the most frequent class first. `counts`: one dict a round;
    `labeled`: the axis (`Task.labeled`)."""
    import matplotlib

    names = sorted(counts[0], key=lambda name: -sum(of_round[name][0] for of_round in counts))
    shown = names[:CLASSES_IN_PLOT]
    height = max(style.HEIGHT_IN, 1.0 + 0.17 * len(shown))
    with style.figure(height_in=height) as (made, axes):
        shades = matplotlib.colormaps["cividis_r"](np.linspace(0.05, 0.95, max(2, len(counts))))
        left, rows = np.zeros(len(shown)), np.arange(len(shown))
        for number, of_round in enumerate(counts):
            added = np.array([of_round[name][0] for name in shown], dtype=float)
            keep_label = len(counts) <= 10 or number in (0, len(counts) // 2, len(counts) - 1)
            label = f"round {number}" if keep_label else None
            axes.barh(rows, added, left=left, color=shades[number], label=label, height=0.78, linewidth=0)
            left += added
        for row, total in enumerate(left):
            offset = {"textcoords": "offset points", "xytext": (3, 0), "va": "center"}
            axes.annotate(f"{total:.0f}", (total, row), fontsize=7, color=style.GREY, **offset)  # type: ignore[arg-type]
        axes.set_yticks(rows, shown)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(0, 1.1 * left.max())
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(labeled)
        if len(names) > len(shown):
            axes.set_title(f"the {len(shown)} most frequent of {len(names)} classes")
        made.legend(loc="outside upper center", ncols=min(5, len(counts)), columnspacing=1.2)
        return style.save(made, path)
