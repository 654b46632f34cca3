"""Figures of a metric as it grows: mean over seeds with one standard deviation shaded, thesis' figures 22 and 23.

Drawn from the rounds of the arms (`statistics.curves.average_rounds`); an arm looks the same in all (`style.assign_looks`).
"""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from al_cli.report.drawing import style
from al_cli.report.statistics.curves import ArmRound
from al_cli.tasks import Metric, Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Number of a round -> its name in figures
LOSS_PARTS = {"loss": "loss", "class_loss": "class part", "box_loss": "box part"}
Looks = Mapping[str, Mapping[str, Any]]
HOLLOW = " A hollow point is a mean over fewer seeds than its arm has: it does not continue the same mean."


def plot_curves(
    arms: Sequence[ArmRound], metric: Metric, cost: str, looks: Looks, reference: Sequence[float], *paths: Path
) -> None:
    """The mean metric against a cost, a curve an arm; the legend gives the number of runs.

    A hollow point averages fewer seeds than its arm has: it does not continue the same mean. `reference`: the values of
    the full-label runs, a line at their mean (none: no line).
    """
    names = [name for name in looks if any(row.arm == name and row.mean[metric.name] is not None for row in arms)]
    shown = [name for name in names if not is_faint(looks[name])]
    on_the_right = len(shown) > 4
    width = style.WIDTH_IN + 0.6 + (0.07 * max(map(len, shown), default=0) + 1.3 if on_the_right else 0)
    with style.figure(width, max(style.HEIGHT_IN + 0.3, 0.19 * len(shown) + 0.5)) as (made, axes):
        every_x: list[float] = []
        every_y: list[float] = []
        for name in sorted(names, key=lambda name: not is_faint(looks[name])):  # the grey ones below
            rows = [row for row in arms if row.arm == name]
            x, low, high = draw_arm(axes, rows, cost, metric.name, looks[name], len(shown))
            every_x, every_y = every_x + x, every_y + low + high
        if reference:
            every_y += draw_reference(axes, reference)
        _frame(axes, every_x, every_y, f"labeled {cost}", _mean_label(metric), metric.highest)
        if len(every_x) > 12:
            _few_ticks(axes)
        columns = 1 if on_the_right or max(map(len, names), default=0) > 24 else 2
        _legend(made, axes, names, looks, "outside right upper" if on_the_right else "outside upper center", columns)
        style.save(made, *paths)


def plot_each(
    arms: Sequence[ArmRound], metric: Metric, cost: str, looks: Looks, random: str | None, *paths: Path
) -> None:
    """A panel an arm: its mean and band, the random arm in black, and the means of all others in grey; one scale for all."""
    names = [name for name in looks if any(row.arm == name and row.mean[metric.name] is not None for row in arms)]
    columns = min(4, len(names))
    lines = -(-len(names) // columns)
    with style.panels(columns, lines, 7.2, 0.6 + 1.35 * lines, sharex=True, sharey=True) as (made, grid):
        for number, axes in enumerate(grid.flat):
            axes.set_visible(number < len(names))
            axes.tick_params(labelbottom=number + columns >= len(names))  # nothing below it
        every_x: list[float] = []
        every_y: list[float] = []
        for axes, arm in zip(grid.flat, names, strict=False):
            for name in names:
                rows = [row for row in arms if row.arm == name and row.mean[metric.name] is not None]
                if name == arm:
                    look = style.line_style(0) if is_faint(looks[name]) else looks[name]
                    x, low, high = draw_arm(axes, rows, cost, metric.name, look, 1)
                    every_x, every_y = every_x + x, every_y + low + high
                else:
                    color, order = ("#000000", 2) if name == random else (style.FAINT, 1)
                    means = [row.mean[metric.name] or 0.0 for row in rows]
                    axes.plot([row.costs[cost] for row in rows], means, color=color, linewidth=0.8, zorder=order)
            axes.set_title(textwrap.fill(arm, 26), fontsize=8)
        for axes in grid.flat:
            _frame(axes, every_x, every_y, "", "", metric.highest)
            _few_ticks(axes)
        made.supxlabel(f"labeled {cost}", fontsize=9)
        made.supylabel(_mean_label(metric), fontsize=9)
        style.save(made, *paths)


def hollow_note(arms: Sequence[ArmRound], looks: Looks) -> str:
    """The caption's sentence on hollow points; empty where there is none."""
    of_arm: dict[str, set[int]] = {}
    for row in arms:
        if row.arm in looks and not is_faint(looks[row.arm]):
            of_arm.setdefault(row.arm, set()).add(row.n)
    return HOLLOW if any(len(counts) > 1 for counts in of_arm.values()) else ""


def is_faint(look: Mapping[str, Any]) -> bool:
    return look["color"] == style.FAINT


def draw_arm(
    axes: Axes, rows: Sequence[ArmRound], cost: str, metric: str, look: Mapping[str, Any], arms: int
) -> tuple[list[float], list[float], list[float]]:
    """One arm's curve and band; returns x and both edges of the band. Rounds without the metric are left out."""
    rows = [row for row in rows if row.mean[metric] is not None]
    if not rows:
        return [], [], []
    x, y = [row.costs[cost] for row in rows], [row.mean[metric] or 0.0 for row in rows]
    spread = [row.std[metric] or 0.0 for row in rows]
    low, high = [[m + sign * s for m, s in zip(y, spread, strict=True)] for sign in (-1, 1)]
    if is_faint(look):
        axes.plot(x, y, **look)
        return x, y, y
    most, least = max(row.n for row in rows), min(row.n for row in rows)
    runs = f"{most} run{'s' if most > 1 else ''}" if most == least else f"{least}–{most} runs"
    if len(x) == 1:  # a band of one point would be invisible
        axes.vlines(x, low, high, color=look["color"], alpha=0.4, linewidth=3)
    axes.fill_between(x, low, high, color=look["color"], alpha=0.15 if arms <= 6 else 0.07, linewidth=0)
    axes.plot(x, y, label=f"{rows[0].arm} ({runs})", **look)
    for row in rows:
        if row.n < most:
            axes.plot([row.costs[cost]], [row.mean[metric] or 0.0], **(dict(look) | {"markerfacecolor": "white"}))
    return x, low, high


def draw_reference(axes: Axes, values: Sequence[float]) -> list[float]:
    """The full-label runs: a line at the mean, one standard deviation shaded; returns what must be in view."""
    mean, spread = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    runs = f"{len(values)} run{'s' if len(values) > 1 else ''}"
    axes.axhspan(mean - spread, mean + spread, color=style.GREY, alpha=0.12, linewidth=0, zorder=0)
    axes.axhline(mean, color=style.GREY, linestyle=(0, (6, 2, 1, 2)), linewidth=1.2, label=f"all labels ({runs})")
    return [mean - spread, mean + spread]


def plot_breakdown(arms: Sequence[ArmRound], task: Task, looks: Looks, *paths: Path) -> None:
    """The task's metric by group (of detection: by object size) against its first cost, side by side (thesis, figure 23)."""
    labels = task.breakdown.labels if task.breakdown else {}
    highest = {key: task.metric(key).highest for key in labels}
    _side_by_side(arms, labels, _mean_label(task.primary), highest, task.cost_names[0], looks, paths)


def plot_measured(
    arms: Sequence[ArmRound], labels: Mapping[str, str], label_y: str, cost: str, looks: Looks, *paths: Path
) -> None:
    """Numbers of rounds that are no metrics (`labels`: number -> what its panel is called) against a cost, side by side."""
    _side_by_side(arms, labels, label_y, dict.fromkeys(labels), cost, looks, paths)


def _side_by_side(
    arms: Sequence[ArmRound],
    labels: Mapping[str, str],
    label_y: str,
    highest: Mapping[str, float | None],
    cost: str,
    looks: Looks,
    paths: Sequence[Path],
) -> None:
    """A panel for each number that any round has, a curve an arm; one legend below."""
    present = [key for key in labels if any(row.mean[key] is not None for row in arms)]
    shown = [name for name in looks if not is_faint(looks[name])]
    width = 1.2 + 2.5 * len(present)
    columns = max(1, min(4, len(shown), int(width / (0.7 + 0.075 * max(len(f"{name} (3 runs)") for name in shown)))))
    below = 0.17 * -(-(len(shown) + 1) // columns) + 0.2
    with style.panels(len(present), 1, width, 2.5 + below) as (made, grid):
        for axes, key in zip(grid[0], present, strict=True):
            every_x: list[float] = []
            every_y: list[float] = []
            for name in sorted(looks, key=lambda name: not is_faint(looks[name])):
                rows = [row for row in arms if row.arm == name]
                x, low, high = draw_arm(axes, rows, cost, key, looks[name], len(shown))
                every_x, every_y = every_x + x, every_y + low + high
            _frame(axes, every_x, every_y, f"labeled {cost}", "", highest[key])
            axes.set_title(labels[key])
            _few_ticks(axes)
        grid[0][0].set_ylabel(label_y)
        _legend(made, grid[0][0], list(looks), looks, "outside lower center", columns)
        style.save(made, *paths)


def plot_bars(arms: Sequence[ArmRound], metric: Metric, looks: Looks, *paths: Path) -> None:
    """The mean metric of every round, a group of bars an arm (thesis, figure 22); one standard deviation as a line.

    Grey arms are left out.
    """
    import matplotlib

    names, key = [name for name in looks if not is_faint(looks[name])], metric.name
    rounds = 1 + max(row.round for row in arms)
    shades = matplotlib.colormaps["cividis_r"](np.linspace(0.1, 0.95, max(2, rounds)))
    with style.figure(max(style.WIDTH_IN, 1.0 + 0.55 * len(names)), style.HEIGHT_IN + 0.6) as (made, axes):
        for round in range(rounds):
            at = {row.arm: row for row in arms if row.round == round and row.mean[key] is not None}
            here = [(place, at[name]) for place, name in enumerate(names) if name in at]
            if not here:
                continue
            x = [place + (round - (rounds - 1) / 2) * 0.8 / rounds for place, _ in here]
            y, spread = [row.mean[key] or 0.0 for _, row in here], [row.std[key] or 0.0 for _, row in here]
            label = f"round {round}" if rounds <= 12 or round in (0, rounds - 1) else None
            axes.bar(x, y, 0.8 / rounds, yerr=spread, color=shades[round], error_kw={"linewidth": 0.6}, label=label)
        axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
        axes.tick_params(axis="x", length=0)
        axes.grid(visible=False, axis="x")
        axes.set_ylabel(_mean_label(metric))
        made.legend(loc="outside upper center", ncols=min(6, rounds), columnspacing=1.0)
        style.save(made, *paths)


def _mean_label(metric: Metric) -> str:
    return f"{metric.axis}, mean over seeds"


def _frame(axes: Axes, x: list[float], y: list[float], label_x: str, label_y: str, highest: float | None) -> None:
    """Every point in view; the axis ends at the highest value there can be, whatever a deviation reaches."""
    style.frame_curves(axes, x, y, label_x, label_y, highest)
    if highest is not None and axes.get_ylim()[1] > highest:
        axes.set_ylim(top=1.02 * highest)


def _few_ticks(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _legend(made: Any, axes: Axes, names: Sequence[str], looks: Looks, where: str, columns: int) -> None:
    """One legend for the figure, in the order of the looks, with one entry for all grey curves."""
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: _place(labels[i], names))
    handles, labels = [handles[i] for i in order], [labels[i] for i in order]
    if faint := sum(is_faint(looks[name]) for name in names):
        handles += axes.plot([], [], color=style.FAINT, linewidth=1.2)
        labels.append(f"{faint} other arms")
    if handles:
        made.legend(handles, labels, loc=where, ncols=columns)


def _place(label: str, names: Sequence[str]) -> int:
    """The position of the arm that a legend entry is of; what is no arm comes last."""
    return next((i for i, name in enumerate(names) if label.rpartition(" (")[0] == name), len(names))
