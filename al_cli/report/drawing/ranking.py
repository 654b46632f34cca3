"""All arms in the order of how much they gain over one of them: the mean, its interval, and a dot for each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from al_cli.report.drawing import style

LONG_NAME, LONG_LABEL = 24, 56  # characters that the figure has room for, of an arm and on a line below the axis
MANY_SEEDS = 10  # from here on single seeds say less than their interval
BELOW = 0.32  # of a row's height: dots of seeds lie below the line, so that neither hides the other


@dataclass(frozen=True)
class Gain:
    """How far an arm is above the baseline: the mean over common seeds, its interval where there is one, and `each` seed."""

    arm: str
    difference: float
    low: float | None
    high: float | None
    each: tuple[float, ...]
    oracle: bool = False


def has_dots(gain: Gain) -> bool:
    """Whether single seeds are drawn: where there are several, and not many."""
    return 1 < len(gain.each) < MANY_SEEDS


def plot_ranking(
    gains: Sequence[Gain], looks: Mapping[str, Mapping[str, Any]], baseline: str, what: str, *paths: Path
) -> None:
    """The gains from the largest to the smallest, 0 being the baseline; at least one. Oracles stand below a line of their
    own, and say that they are one."""
    ordered = sorted(gains, key=lambda gain: (not gain.oracle, gain.difference, gain.arm), reverse=True)
    methods = sum(not gain.oracle for gain in ordered)
    names = [f"{gain.arm} (oracle)" if gain.oracle else gain.arm for gain in ordered]
    label = f"{what}: difference to {baseline}"
    width_in = style.WIDTH_IN + 0.9 + 0.06 * max(0, max(map(len, names)) - LONG_NAME)
    with style.figure(width_in, 0.9 + 0.23 * len(ordered) + 0.15 * (len(label) // LONG_LABEL)) as (made, axes):
        axes.axvline(0, color="#000000", linewidth=1.0, zorder=1)
        if 0 < methods < len(ordered):
            axes.axhline(methods - 0.5, color=style.GREY, linewidth=0.6, zorder=1)
        for row, gain in enumerate(ordered):
            look = looks[gain.arm]
            color = style.GREY if look["color"] == style.FAINT else look["color"]
            if gain.low is not None and gain.high is not None:
                axes.plot([gain.low, gain.high], [row, row], color=color, linewidth=1.6, solid_capstyle="butt")
            if has_dots(gain):
                rows = [row + BELOW] * len(gain.each)
                axes.plot(gain.each, rows, "o", color=color, markersize=2.8, markeredgewidth=0)
            axes.plot([gain.difference], [row], look["marker"] or "o", color=color, markersize=5)
        axes.set_yticks(range(len(ordered)), names)
        axes.set_ylim(len(ordered) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        style.label_x(made, axes, label)
        style.save(made, *paths)
