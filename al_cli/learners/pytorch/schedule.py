"""The learning rate over a training, as what the highest rate is multiplied with: functions of the step, counted from 0."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ONE_CYCLE_WARMUP, ONE_CYCLE_START, ONE_CYCLE_END = 0.15, 0.04, 0.01
Rate = Callable[[int], float]


@dataclass(frozen=True)
class Stretch:
    """Which stretch of its run a training is: `number`, from 0, of `of` equal ones. The schedule lies over all of them."""

    number: int = 0
    of: int = 1


WHOLE = Stretch()  # a training that is no part of a longer one


def stepwise(warmup: tuple[float, float], milestones: Sequence[int]) -> Rate:
    """Counted in whole steps: it falls tenfold at a milestone exactly. `warmup`: steps that rise, and the factor that they
    begin with."""
    length, factor = warmup

    def rate(step: int) -> float:
        risen = factor + (1 - factor) * step / length if step < length else 1.0
        return risen * 0.1 ** bisect_right(milestones, step)

    return rate


def one_cycle(steps: int) -> Rate:
    """Linear from 4% over the first 15% of `steps`, then half a cosine down to 1% (Smith and Topin, 2017)."""

    def rate(step: int) -> float:
        done = step / steps
        if done < ONE_CYCLE_WARMUP:
            return ONE_CYCLE_START + (1 - ONE_CYCLE_START) * done / ONE_CYCLE_WARMUP
        fallen = (done - ONE_CYCLE_WARMUP) / (1 - ONE_CYCLE_WARMUP)
        return ONE_CYCLE_END + (1 - ONE_CYCLE_END) * (1 + math.cos(math.pi * fallen)) / 2

    return rate
