"""Axes that can be read."""

from itertools import pairwise

import pytest

from al_cli.report.drawing import style


@pytest.mark.parametrize("x", [[551, 1102, 1148, 1675], [64, 128, 192, 256, 320], [320], []], ids=str)
def test_numbers_on_the_axis_do_not_overlap(x):
    with style.figure(4, 3) as (made, axes):
        axes.plot(x, x)
        style.frame_curves(axes, x, x, "labeled boxes", "AP (%)")
        made.canvas.draw()
        boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert len(ticks) >= min(2, len(x))
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes)), "two numbers overlap"
