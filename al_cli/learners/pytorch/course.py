"""How the learning rate goes over one training: where it is highest, where it falls. Knows its values, and no schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

GRID = 256  # places at which the rate is looked at before its falls are located
MOST_FALLS = 20  # a rate that falls more often falls continuously
ALIKE = 1e-9  # two rates with a smaller relative difference are the same
FALLEN = 0.9  # a stretch that begins below this share of the rate before it begins with a fall


class Course(NamedTuple):
    """One training on a number of images: its steps, the steps of an epoch, the steps after which the rate falls, to which
    share of what it was before, the step at which it is highest first, the rate there, and that of the last step."""

    iterations: int
    epoch: float
    falls: tuple[tuple[int, float], ...]
    peak: int
    highest: float
    last: float

    @property
    def epochs(self) -> float:
        return self.iterations / self.epoch


def course_of(rate: Callable[[int], float], steps: int, epoch: float, before: Course | None, *, smooth: bool) -> Course:
    """The course of a training of so many steps, whose rate at a step, counted from 0, is `rate`. `before`: the stretch of
    the same training that it goes on from; `smooth`: a rate that only falls a little with each step."""
    falls, peak = _shape(rate, steps)
    if before is not None and rate(0) < FALLEN * before.last:
        falls = ((0, rate(0) / before.last), *falls)
    if smooth:
        falls = ()  # a few steps that each go down are no falls
    return Course(steps, epoch, falls, peak, rate(peak), rate(steps - 1))


def _shape(rate: Callable[[int], float], steps: int) -> tuple[tuple[tuple[int, float], ...], int]:
    """Where the rate falls, and where it is highest first. No falls where it falls continuously."""
    grid = sorted({round(place * (steps - 1) / GRID) for place in range(GRID + 1)})
    rates = [rate(step) for step in grid]
    high = rates.index(max(rates))
    around = range(grid[max(0, high - 1)], grid[min(len(grid) - 1, high + 1)] + 1)
    most = max(rate(step) for step in around)
    peak = next(step for step in around if rate(step) >= most * (1 - ALIKE))
    falls: list[tuple[int, float]] = []
    at, value = peak, most
    for step, end in zip(grid[high:], rates[high:], strict=True):
        while step > at and end < value * (1 - ALIKE):
            low, top = at, step  # the rate is `value` at low, and lower at top
            while top - low > 1:
                middle = (low + top) // 2
                low, top = (middle, top) if rate(middle) >= value * (1 - ALIKE) else (low, middle)
            at, before, value = top, value, rate(top)
            falls.append((top, value / before))
            if len(falls) > MOST_FALLS:
                return (), peak
    each_step = len(falls) > 2 and falls[-1][0] - falls[0][0] == len(falls) - 1
    return () if each_step else tuple(falls), peak
