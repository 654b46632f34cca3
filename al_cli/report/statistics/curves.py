"""The curve of a run and the numbers that sum it up: area under it, final value, labels needed to reach a target.

A curve is a metric after each round against what had been labeled by then, in each cost of the task. Between two rounds it is
taken as a straight line. Values are those of the records, in the metric's own unit. Knows no file and no other arm.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from al_cli.errors import RunError, suggest
from al_cli.records.rounds import CHECKPOINT
from al_cli.records.stop import Stop
from al_cli.report.statistics.blocks import seed_means
from al_cli.tasks import Metric, Task
from al_cli.tasks.base import PERCENT
from al_cli.types import MEASURED, RoundRecord

Scale = Literal["linear", "log"]
Seed = int | None
SCALES: tuple[Scale, ...] = ("linear", "log")


@dataclass(frozen=True)
class RunCurve:
    """One run: per finished round what had been paid in each cost, and each metric (None where it has no value).

    `complete`: it has all the rounds it was to have. `start` and `end` name the sets of images labeled after the first
    and the last round here (a hash: equal sets, equal names); `start` is empty where the starting weights chose the first.
    `stopped`: the value that ended the run early, a metric and a number. `trainings` has a digest of what each round's
    training gave, its weights or else its predictions: equal ones are one training that arms share; empty where none is known.
    """

    run: str
    arm: str
    seed: Seed
    costs: Mapping[str, tuple[int, ...]]
    metrics: Mapping[str, tuple[float | None, ...]]
    complete: bool = True
    oracle: bool = False
    start: str = ""
    end: str = ""
    stopped: str = ""
    trainings: tuple[str, ...] = ()

    @property
    def rounds(self) -> int:
        """Finished rounds, the initial one included."""
        return len(next(iter(self.costs.values())))

    def final(self, metric: str) -> float | None:
        """The metric after the last round; None where the run is not complete or the metric has no value there."""
        return self.metrics[metric][-1] if self.complete and self.rounds else None

    def points(self, metric: str, cost: str) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Cost and metric of the rounds that have a value, [K] and [K], for a complete run with at least one of them.

        None also where the cost falls from one round to the next: the metric is then no function of the cost.
        """
        known = [k for k, value in enumerate(self.metrics[metric]) if value is not None]
        x = np.array([self.costs[cost][k] for k in known], float)
        y = np.array([self.metrics[metric][k] for k in known], float)
        return (x, y) if self.complete and known and not (np.diff(x) < 0).any() else None


def curve_of(
    run: str,
    arm: str,
    seed: Seed,
    records: Sequence[RoundRecord],
    task: Task,
    *,
    complete: bool = True,
    stop: Stop | None = None,
    drawn: bool = True,
) -> RunCurve:
    """The curve of a run's records, at least one. A metric that a record lacks is None there. `drawn`: the images of round 0
    were, and no sampler chose them."""
    metrics = {name: tuple(record.metrics.get(name) for record in records) for name in task.metric_names}
    metrics |= {name: tuple(getattr(record, name) for record in records) for name in ("val_loss", *MEASURED)}
    return RunCurve(
        run,
        arm,
        seed,
        {cost.name: tuple(cost.of(record) for record in records) for cost in task.costs},
        metrics,
        complete,
        oracle=any(record.oracle for record in records),
        start=_name_set(records[0].labeled) if drawn else "",
        end=_name_set(records[-1].labeled),
        stopped=f"{stop.metric.name} {stop.at:g}" if stop and stop.rounds(records) else "",
        trainings=tuple(training_of(record) for record in records),
    )


def training_of(record: RoundRecord) -> str:
    """The digest of the weights that a round's training gave, or of its predictions where none were kept."""
    return record.hashes.get(CHECKPOINT) or record.hashes.get("predictions.npz") or ""


def _name_set(ids: Iterable[int]) -> str:
    return hashlib.sha256(np.unique(np.fromiter(ids, np.int64)).tobytes()).hexdigest()


# ---- one curve


def common_range(
    curves: Iterable[RunCurve], metric: str, cost: str, scale: Scale = "linear"
) -> tuple[float, float] | None:
    """The costs that all complete curves cover: the largest first cost to the smallest last cost.

    Curves with fewer than two points count for nothing (they have no area). None where nothing is left between the two.
    """
    spans = [
        (x[0], x[-1])
        for curve in curves
        if (points := _on_scale(curve, metric, cost, scale)) and len(x := points[0]) > 1
    ]
    low, high = max((s[0] for s in spans), default=0.0), min((s[1] for s in spans), default=0.0)
    return (float(low), float(high)) if low < high else None


def area(curve: RunCurve, metric: str, cost: str, scale: Scale, within: tuple[float, float] | None) -> float | None:
    """Area under the curve by trapezoids over the range `within`, divided by its length: the mean metric in its own unit.

    The curve is cut at both ends of the range, where its value is interpolated on a straight line. On the log scale lines
    are straight, and areas and lengths measured, in the logarithm of the cost: halves of a budget weigh the same, so early
    rounds count more. Points that cost 0 have no logarithm and are left out there.
    None for a curve with fewer than two points, one that does not cover the range, or no range.
    """
    points = _on_scale(curve, metric, cost, scale)
    if points is None or within is None or len(points[0]) < 2:
        return None
    (x, y), (low, high) = points, within
    if x[0] > low or x[-1] < high:
        return None
    if scale == "log":
        x, low, high = np.log(x), float(np.log(low)), float(np.log(high))
    first = int(np.searchsorted(x, low, side="right"))  # x[first - 1] <= low < x[first]
    last = int(np.searchsorted(x, high, side="left"))  # x[last - 1] < high <= x[last]
    xs = np.concatenate([[low], x[first:last], [high]])
    ys = np.concatenate([[_between(x, y, first, low)], y[first:last], [_between(x, y, last, high)]])
    return float(np.trapezoid(ys, xs) / (high - low))


def labels_to_reach(curve: RunCurve, metric: str, cost: str, target: float) -> float | None:
    """The cost at which the curve first reaches the target, interpolated between rounds.

    The initial cost where the first round reaches it already (it may have been reached with less); None where it never
    is, or the run is not complete.
    """
    points = curve.points(metric, cost)
    if points is None or not (reached := points[1] >= target).any():
        return None
    (x, y), k = points, int(np.argmax(reached))
    return float(x[0]) if k == 0 else float(np.interp(target, y[k - 1 : k + 1], x[k - 1 : k + 1]))


def _between(x: NDArray[np.float64], y: NDArray[np.float64], k: int, at: float) -> float:
    """The straight line from point k - 1 to point k, at `at`."""
    return float(np.interp(at, x[k - 1 : k + 1], y[k - 1 : k + 1]))


def _on_scale(
    curve: RunCurve, metric: str, cost: str, scale: Scale
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    points = curve.points(metric, cost)
    if points is None or scale == "linear":
        return points
    positive = points[0] > 0
    return points[0][positive], points[1][positive]


# ---- over seeds


@dataclass(frozen=True)
class OverSeeds:
    """One number per seed (None where a seed has none), their mean and their deviation.

    Mean and deviation exist only where every seed has its number: the mean labels of the seeds that reached a target
    would flatter an arm whose other seeds never did. `adjusted`: the mean for the seeds that other arms have and this one
    has not (`block_means`); None where it lacks none.
    """

    values: Mapping[Seed, float | None]
    adjusted: float | None = None

    @property
    def known(self) -> list[float]:
        return [value for value in self.values.values() if value is not None]

    @property
    def n(self) -> int:
        """How many seeds have a number, of `len(values)`."""
        return len(self.known)

    @property
    def mean(self) -> float | None:
        if not self.values or self.n < len(self.values):
            return None
        return statistics.fmean(self.known) if self.adjusted is None else self.adjusted

    @property
    def std(self) -> float | None:
        """Of a sample (n - 1): None for one seed."""
        return statistics.stdev(self.known) if self.n > 1 and self.n == len(self.values) else None


@dataclass(frozen=True)
class ArmRound:
    """One round of one arm over the `n` runs that finished it: mean costs, and mean and deviation of each metric.

    Seeds differ in most costs, so a curve is drawn at their mean. A deviation is that of a sample (n - 1), and None
    for one run. `adjusted`: other arms have seeds that this one lacks in this round, and the means allow for that
    (`block_means`); deviations are those of its own runs.
    """

    arm: str
    round: int
    n: int
    costs: Mapping[str, float]
    mean: Mapping[str, float | None]
    std: Mapping[str, float | None]
    adjusted: bool = False


def average_rounds(curves: Sequence[RunCurve]) -> list[ArmRound]:
    """Every arm and round that at least one run has finished, arms in the order they come in."""
    arms = by_arm(curves)
    rows: dict[str, list[ArmRound]] = {arm: [] for arm in arms}
    for k in range(max((curve.rounds for curve in curves), default=0)):
        there = {arm: [run for run in runs if run.rounds > k] for arm, runs in arms.items()}
        there = {arm: runs for arm, runs in there.items() if runs}
        first, seeds = next(iter(there.values()))[0], {run.seed for runs in there.values() for run in runs}
        known = {
            name: {a: [(r.seed, v) for r in runs if (v := r.metrics[name][k]) is not None] for a, runs in there.items()}
            for name in first.metrics
        }
        paid = {
            c: {a: [(r.seed, float(r.costs[c][k])) for r in runs] for a, runs in there.items()} for c in first.costs
        }
        costs, means = ({name: seed_means(of_arms) for name, of_arms in one.items()} for one in (paid, known))
        for arm, runs in there.items():
            own = {name: [value for _, value in of_arms[arm]] for name, of_arms in known.items()}
            rows[arm].append(
                ArmRound(
                    arm,
                    k,
                    len(runs),
                    {cost: mean for cost, of_arms in costs.items() if (mean := of_arms[arm]) is not None},
                    {name: of_arms[arm] for name, of_arms in means.items()},
                    {name: statistics.stdev(v) if len(v) > 1 else None for name, v in own.items()},
                    adjusted={run.seed for run in runs} != seeds,
                )
            )
    return [row for of_arm in rows.values() for row in of_arm]


def by_arm(curves: Iterable[RunCurve]) -> dict[str, list[RunCurve]]:
    """Arm -> its curves, both in the order they come in."""
    arms: dict[str, list[RunCurve]] = {}
    for curve in curves:
        arms.setdefault(curve.arm, []).append(curve)
    return arms


# ---- targets


@dataclass(frozen=True)
class Target:
    """A value of a metric that arms are to reach, in the metric's own unit."""

    metric: Metric
    value: float


def parse_target(text: str, task: Task) -> Target:
    """`METRIC=VALUE`; of a metric in percent, values up to 1 are shares: 0.3 is 30 percent. RunError for anything else."""
    name, _, number = text.partition("=")
    where = f"target {text}"
    if name not in task.metric_names:
        raise RunError(f"{name!r} is no metric to reach", where=where, remedy=suggest(name, task.metric_names))
    metric = task.metric(name)
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    percent = metric.unit == PERCENT
    highest = math.inf if metric.highest is None else metric.highest
    lowest = 0.0 if highest > 0 else -math.inf
    if not lowest < value <= highest or math.isinf(value):
        remedy = "give a positive number" if math.isinf(highest) else f"give a value up to {highest:g}"
        if percent:
            remedy = f"give percent ({name}=30) or a share ({name}=0.3)"
        raise RunError(f"{number!r} is no value of {name}", where=where, remedy=remedy)
    return Target(metric, value * 100 if percent and value <= 1 else value)
