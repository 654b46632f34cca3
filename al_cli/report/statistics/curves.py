"""The curve of a run and the numbers that sum it up: area under it, final value, labels needed to reach a target.

A curve is a metric after each round against what had been labeled by then, in images and in boxes. Between two rounds it is
taken as a straight line. Values are those of the records: AP in percent. Knows no file and no other arm.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from al_cli.errors import RunError, suggest
from al_cli.types import RoundRecord

if TYPE_CHECKING:
    from al_cli.report.study import Run

Cost = Literal["images", "boxes"]
Scale = Literal["linear", "log"]
Seed = int | None
COSTS: tuple[Cost, ...] = ("images", "boxes")
SCALES: tuple[Scale, ...] = ("linear", "log")
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")  # higher is better


@dataclass(frozen=True)
class Curve:
    """One run: per finished round the labeled images and boxes, and each metric (None where it has no value).

    `complete`: it has all the rounds it was to have. `start` and `end` name the sets of images labeled after the first
    and the last round here (a hash: equal sets, equal names).
    """

    run: str
    arm: str
    seed: Seed
    images: tuple[int, ...]
    boxes: tuple[int, ...]
    metrics: Mapping[str, tuple[float | None, ...]]
    complete: bool = True
    oracle: bool = False
    start: str = ""
    end: str = ""

    def final(self, metric: str = "AP") -> float | None:
        """The metric after the last round; None where the run is not complete or the metric has no value there."""
        return self.metrics[metric][-1] if self.complete and self.images else None

    def points(self, metric: str, cost: Cost) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Cost and metric of the rounds that have a value, [K] and [K], for a complete run with at least one of them.

        None also where the cost falls from one round to the next (a regime that labels anew each round): the metric is
        then no function of the cost.
        """
        known = [k for k, value in enumerate(self.metrics[metric]) if value is not None]
        x = np.array([getattr(self, cost)[k] for k in known], float)
        y = np.array([self.metrics[metric][k] for k in known], float)
        return (x, y) if self.complete and known and not (np.diff(x) < 0).any() else None


def curves_of(runs: Iterable[Run]) -> list[Curve]:
    """A curve for each run that has finished at least one round, in the order of the runs."""
    return [
        curve_of(run.name, run.arm, run.seed, run.records, complete=len(run.records) == run.summary.rounds_total)
        for run in runs
        if run.records
    ]


def curve_of(run: str, arm: str, seed: Seed, records: Sequence[RoundRecord], *, complete: bool = True) -> Curve:
    """The curve of a run's records, at least one. A metric that a record lacks is None there."""
    metrics = {name: tuple(record.metrics.get(name) for record in records) for name in METRICS}
    metrics["val_loss"] = tuple(record.val_loss for record in records)
    return Curve(
        run,
        arm,
        seed,
        tuple(record.images for record in records),
        tuple(record.boxes for record in records),
        metrics,
        complete,
        oracle=any(record.oracle for record in records),
        start=_name_set(records[0].labeled),
        end=_name_set(records[-1].labeled),
    )


def _name_set(ids: Iterable[int]) -> str:
    return hashlib.sha256(np.unique(np.fromiter(ids, np.int64)).tobytes()).hexdigest()


# ---- one curve


def common_range(
    curves: Iterable[Curve], metric: str, cost: Cost, scale: Scale = "linear"
) -> tuple[float, float] | None:
    """The costs that all complete curves cover: the largest first cost to the smallest last cost.

    Curves with fewer than two points count for nothing (they have no area). None where nothing is left between the two.
    """
    spans = [
        (x[0], x[-1]) for curve in curves if (found := _on_scale(curve, metric, cost, scale)) and len(x := found[0]) > 1
    ]
    low, high = max((s[0] for s in spans), default=0.0), min((s[1] for s in spans), default=0.0)
    return (float(low), float(high)) if low < high else None


def area(curve: Curve, metric: str, cost: Cost, scale: Scale, within: tuple[float, float] | None) -> float | None:
    """Area under the curve by trapezoids over the range `within`, divided by its length: the mean metric in its own unit.

    The curve is cut at both ends of the range, where its value is interpolated on a straight line. On the log scale lines
    are straight, and areas and lengths measured, in the logarithm of the cost: halves of a budget weigh the same, so early
    rounds count more. Points that cost 0 have no logarithm and are left out there.
    None for a curve with fewer than two points, one that does not cover the range, or no range.
    """
    found = _on_scale(curve, metric, cost, scale)
    if found is None or within is None or len(found[0]) < 2:
        return None
    (x, y), (low, high) = found, within
    if x[0] > low or x[-1] < high:
        return None
    if scale == "log":
        x, low, high = np.log(x), float(np.log(low)), float(np.log(high))
    first = int(np.searchsorted(x, low, side="right"))  # x[first - 1] <= low < x[first]
    last = int(np.searchsorted(x, high, side="left"))  # x[last - 1] < high <= x[last]
    xs = np.concatenate([[low], x[first:last], [high]])
    ys = np.concatenate([[_between(x, y, first, low)], y[first:last], [_between(x, y, last, high)]])
    return float(np.trapezoid(ys, xs) / (high - low))


def labels_to_reach(curve: Curve, metric: str, cost: Cost, target: float) -> float | None:
    """The cost at which the curve first reaches the target, interpolated between rounds.

    The initial cost where the first round reaches it already (it may have been reached with less); None where it never
    is, or the run is not complete.
    """
    found = curve.points(metric, cost)
    if found is None or not (reached := found[1] >= target).any():
        return None
    (x, y), k = found, int(np.argmax(reached))
    return float(x[0]) if k == 0 else float(np.interp(target, y[k - 1 : k + 1], x[k - 1 : k + 1]))


def _between(x: NDArray[np.float64], y: NDArray[np.float64], k: int, at: float) -> float:
    """The straight line from point k - 1 to point k, at `at`."""
    return float(np.interp(at, x[k - 1 : k + 1], y[k - 1 : k + 1]))


def _on_scale(
    curve: Curve, metric: str, cost: Cost, scale: Scale
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    found = curve.points(metric, cost)
    if found is None or scale == "linear":
        return found
    positive = found[0] > 0
    return found[0][positive], found[1][positive]


# ---- over seeds


@dataclass(frozen=True)
class OverSeeds:
    """One number per seed (None where a seed has none), and what they come to.

    Mean and deviation exist only where every seed has its number: the mean labels of the seeds that reached a target
    would flatter an arm whose other seeds never did.
    """

    values: Mapping[Seed, float | None]

    @property
    def known(self) -> list[float]:
        return [value for value in self.values.values() if value is not None]

    @property
    def n(self) -> int:
        """How many seeds have a number, of `len(values)`."""
        return len(self.known)

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.known) if self.values and self.n == len(self.values) else None

    @property
    def std(self) -> float | None:
        """Of a sample (n - 1): None for one seed."""
        return statistics.stdev(self.known) if self.n > 1 and self.n == len(self.values) else None


@dataclass(frozen=True)
class ArmRound:
    """One round of one arm over the `n` runs that finished it: mean costs, and mean and deviation of each metric.

    Images are mostly the same for all seeds; boxes differ, so a curve against boxes is drawn at the mean boxes.
    A deviation is that of a sample (n - 1), and None for one run.
    """

    arm: str
    round: int
    n: int
    images: float
    boxes: float
    mean: Mapping[str, float | None]
    std: Mapping[str, float | None]


def average_rounds(curves: Sequence[Curve]) -> list[ArmRound]:
    """Every arm and round that at least one run has finished, arms in the order they come in."""
    rows = []
    for arm, members in by_arm(curves).items():
        for k in range(max(len(curve.images) for curve in members)):
            there = [curve for curve in members if len(curve.images) > k]
            known = {
                name: [value for curve in there if (value := curve.metrics[name][k]) is not None]
                for name in there[0].metrics
            }
            rows.append(
                ArmRound(
                    arm,
                    k,
                    len(there),
                    statistics.fmean(curve.images[k] for curve in there),
                    statistics.fmean(curve.boxes[k] for curve in there),
                    {name: statistics.fmean(v) if v else None for name, v in known.items()},
                    {name: statistics.stdev(v) if len(v) > 1 else None for name, v in known.items()},
                )
            )
    return rows


def by_arm(curves: Iterable[Curve]) -> dict[str, list[Curve]]:
    """Arm -> its curves, both in the order they come in."""
    arms: dict[str, list[Curve]] = {}
    for curve in curves:
        arms.setdefault(curve.arm, []).append(curve)
    return arms


# ---- targets


@dataclass(frozen=True)
class Target:
    """A value of a metric that arms are to reach, in the metric's own unit (AP in percent)."""

    metric: str
    value: float


def parse_target(text: str) -> Target:
    """`AP=30` or `AP=0.3`: values up to 1 are shares, so both mean 30 percent. RunError for anything else."""
    metric, _, number = text.partition("=")
    if metric not in METRICS:
        raise RunError(f"{metric!r} is no metric to reach", where=f"target {text}", remedy=suggest(metric, METRICS))
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 < value <= 100:
        raise RunError(
            f"{number!r} is no value of {metric}",
            where=f"target {text}",
            remedy="give percent (AP=30) or a share (AP=0.3)",
        )
    return Target(metric, value * 100 if value <= 1 else value)
