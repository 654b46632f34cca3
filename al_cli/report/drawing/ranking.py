"""All arms in the order of how much they gain over one of them: a dot and its interval each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from al_cli.report.drawing import style

LONG_NAME, LONG_LABEL = 24, 56  # characters that the figure has room for, of an arm and on a line below the axis


@dataclass(frozen=True)
class Gain:
    """How far an arm is above the baseline, the mean over common seeds, and the interval of that where there is one."""

    arm: str
    difference: float
    low: float | None
    high: float | None
    seeds: int
    oracle: bool = False


def plot_ranking(
    gains: Sequence[Gain], looks: Mapping[str, Mapping[str, Any]], baseline: str, what: str, *paths: Path
) -> None:
    """The gains from the largest to the smallest, 0 being the baseline; at least one. Oracles say that they are one."""
    ordered = sorted(gains, key=lambda gain: (gain.difference, gain.arm), reverse=True)
    names = [f"{gain.arm} (oracle)" if gain.oracle else gain.arm for gain in ordered]
    label = f"{what}: difference to {baseline}"
    width_in = style.WIDTH_IN + 0.9 + 0.06 * max(0, max(map(len, names)) - LONG_NAME)
    with style.figure(width_in, 0.9 + 0.2 * len(ordered) + 0.15 * (len(label) // LONG_LABEL)) as (made, axes):
        axes.axvline(0, color="#000000", linewidth=1.0, zorder=1)
        for row, gain in enumerate(ordered):
            look = looks[gain.arm]
            color = style.GREY if look["color"] == style.FAINT else look["color"]
            if gain.low is not None and gain.high is not None:
                axes.plot([gain.low, gain.high], [row, row], color=color, linewidth=1.6, solid_capstyle="butt")
            axes.plot([gain.difference], [row], look["marker"] or "o", color=color, markersize=5)
        axes.set_yticks(range(len(ordered)), names)
        axes.set_ylim(len(ordered) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        style.label_x(made, axes, label)
        style.save(made, *paths)
