"""What a task is: how predictions are judged, and the words and numbers in which everyone speaks of it.

    TASK = Task(
        "shapes",
        metrics=(Metric("accuracy", decimals=3, highest=1.0), Metric("F1", decimals=3, highest=1.0)),
        costs=(Cost("images"),),
        evaluate=evaluate,
    )

Everything but the functions is plain data: `describe` writes it into a run's folder, and whoever reads the run
(tables, report, trackers) takes names, units, decimals and costs from there. So no reader imports code that a run
folder names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from al_cli.types import MEASURED, Dataset, LabelKind, Predictions, Signal

PERCENT = "%"
_IN_SENTENCES = {PERCENT: " points"}  # differences of percentages are points


@dataclass(frozen=True)
class Evaluation:
    """How good predictions are. `metrics`: name -> value, None where there is nothing to measure; at least those of the task.

    `per_class`: a row for each class, in class order; all rows have the same columns. `tables`: further tables, by the name of
    their file without `.csv`, such as `confusion`; the same ones in every round.
    """

    metrics: Mapping[str, float | None]
    per_class: Sequence[Mapping[str, Any]] = ()
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """One number that judges predictions; higher is better. `name` is its key in records, columns, claims and targets.

    `unit`: "%" or another one, nothing for a plain number. `decimals` (0 to 4) are those that people read. `highest`: the
    best possible value, where there is one. `title` is how figures write the name.
    """

    name: str
    unit: str = ""
    decimals: int = 2
    highest: float | None = None
    title: str = ""

    def __post_init__(self) -> None:
        if not self.name or self.name in ("round", "ud", "images", "boxes", "val_loss", *MEASURED):
            raise ValueError(f"a metric cannot be called {self.name!r}: records have a number of this name already")
        if not 0 <= self.decimals <= 4:
            raise ValueError(f"{self.name}: decimals is {self.decimals}, tables have 0 to 4")

    @property
    def axis(self) -> str:
        """The label of an axis: `name (unit)`."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def slug(self) -> str:
        """The name as a part of a file name."""
        return re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_")

    @property
    def in_unit(self) -> str:
        """`name in percent`, to stand at the end of a title; nothing where there is no unit."""
        if not self.unit:
            return ""
        return f"{self.name} in {'percent' if self.unit == PERCENT else self.unit}"

    def text(self, value: float | None, fewer: int = 0) -> str:
        """A value without its unit, with `fewer` decimals where there is little room; nothing for None."""
        return "" if value is None else f"{value:.{max(self.decimals - fewer, 0)}f}"

    def signed(self, value: float) -> str:
        """A difference with its sign; -0 is written +0."""
        return f"{value:+z.{self.decimals}f}"

    def amount(self, difference: str) -> str:
        """A difference that was written out, with the word that follows it: `0.30 points`, `0.021`."""
        return difference + _IN_SENTENCES.get(self.unit, f" {self.unit}" if self.unit else "")

    def amount_of(self, difference: str, what: str) -> str:
        """The same of something: `0.30 points of AUC`, `0.021 in AUC`."""
        return f"{self.amount(difference)} {'of' if self.unit in _IN_SENTENCES else 'in'} {what}"


def _count_images(dataset: Dataset) -> int:
    return len(dataset)


@dataclass(frozen=True)
class Cost:
    """What labels cost: an axis of curves and tables. `name` is a plural noun: `images`.

    `column` is the number of a record that holds it: `images`, or `boxes` (what `count` counts in a dataset). With `per`
    tables also have the primary metric per so many of it (ISAL, tables 8 to 11, has 10,000 boxes); 0: they have not.
    """

    name: str
    column: Literal["images", "boxes"] = "images"
    count: Callable[[Dataset], int] = field(default=_count_images, compare=False)
    per: int = 0

    def of(self, record: Any) -> int:
        """What had been paid by the end of a record's round."""
        return int(getattr(record, self.column))

    def rate(self, value: float | None, paid: float) -> float | None:
        """What a metric's value is per `per` of this cost; None where there is no value, or nothing was paid."""
        return None if value is None or not paid else self.per * value / paid


@dataclass(frozen=True)
class Breakdown:
    """Metrics that are one number by group, drawn next to each other: `labels` has metric -> what its panel is called.

    `name` (a word) goes into a file name, `what` into a heading, `groups` into the caption.
    """

    name: str
    what: str
    groups: str
    labels: Mapping[str, str]


def _cannot_evaluate(predictions: Predictions, dataset: Dataset) -> Evaluation:
    raise TypeError("a task that was read from a run's folder has names only: it evaluates nothing")


@dataclass(frozen=True)
class Task:
    """`metrics` are those of files, reports and claims, the primary one first (a record may hold more); `costs` the axes.

    `label` is what a label is: objects in an image, or one class of the image. `evaluate(predictions, dataset)` judges
    predictions on exactly these images, with the signals `needs`. `curves` are the metrics that one run's plot
    draws together (all without a breakdown, where empty), `line` those of a round's log line and `table` those of the tables
    that people read first (all, where empty).
    ValueError for a task whose parts do not fit each other.
    """

    name: str
    metrics: tuple[Metric, ...]
    costs: tuple[Cost, ...]
    evaluate: Callable[[Predictions, Dataset], Evaluation] = field(default=_cannot_evaluate, compare=False)
    curves: tuple[str, ...] = ()
    line: tuple[str, ...] = ()
    breakdown: Breakdown | None = None
    table: tuple[str, ...] = ()
    label: LabelKind = "objects"
    needs: frozenset[Signal] = frozenset()

    def __post_init__(self) -> None:
        names = [metric.name for metric in self.metrics]
        if not names or not self.costs:
            raise ValueError(f"task {self.name} needs at least one metric and one cost")
        if len(set(names)) < len(names):
            raise ValueError(f"task {self.name} has two metrics of one name: {', '.join(names)}")
        if self.label not in get_args(LabelKind):
            raise ValueError(
                f"task {self.name} has labels of kind {self.label!r}: they are {' or '.join(get_args(LabelKind))}"
            )
        columns = [cost.column for cost in self.costs]
        if len(set(columns)) < len(columns):
            raise ValueError(f"task {self.name} has two costs in one column of the records: {', '.join(columns)}")
        asked = [*self.curves, *self.line, *self.table, *(self.breakdown.labels if self.breakdown else ())]
        if unknown := [name for name in asked if name not in names]:
            raise ValueError(f"task {self.name} has no metric {unknown[0]}: its metrics are {', '.join(names)}")

    @property
    def primary(self) -> Metric:
        """The metric that arms are compared in, where nobody names another."""
        return self.metrics[0]

    @property
    def metric_names(self) -> tuple[str, ...]:
        return tuple(metric.name for metric in self.metrics)

    @property
    def cost_names(self) -> tuple[str, ...]:
        return tuple(cost.name for cost in self.costs)

    @property
    def labels(self) -> str:
        """What a label is called, many of them: `boxes`, `images`; `labels` of objects that the task does not count."""
        if self.label == "image":
            return "images"
        return next((cost.name for cost in self.costs if cost.column == "boxes"), "labels")

    @property
    def labeled(self) -> str:
        """The same on an axis or in a caption: `labeled boxes`, `labeled images`, `labels`."""
        return "labels" if self.labels == "labels" else f"labeled {self.labels}"

    @property
    def plotted(self) -> tuple[Metric, ...]:
        """The metrics of one run's plot, all in the unit of the primary one."""
        groups = self.breakdown.labels if self.breakdown else {}
        names = self.curves or [name for name in self.metric_names if name not in groups]
        return tuple(m for m in self.metrics if m.name in names and m.unit == self.primary.unit)

    @property
    def logged(self) -> tuple[Metric, ...]:
        """The metrics of a round's log line."""
        return tuple(metric for metric in self.metrics if not self.line or metric.name in self.line)

    @property
    def tabled(self) -> tuple[Metric, ...]:
        """The metrics of tables that must not become wide."""
        return tuple(metric for metric in self.metrics if not self.table or metric.name in self.table)

    @property
    def rates(self) -> dict[str, Cost]:
        """The columns of the primary metric per so many of a cost: `METRIC per 10,000 boxes` -> its cost."""
        return {f"{self.primary.name} per {cost.per:,} {cost.name}": cost for cost in self.costs if cost.per}

    def judge(self, predictions: Predictions, dataset: Dataset) -> Evaluation:
        """`evaluate`, and ValueError where it gives not all metrics of the task."""
        evaluation = self.evaluate(predictions, dataset)
        if missing := [name for name in self.metric_names if name not in evaluation.metrics]:
            given = ", ".join(evaluation.metrics) or "nothing"
            raise ValueError(f"task {self.name} declares the metric {missing[0]}, and its evaluation gives {given}")
        return evaluation

    def metric(self, name: str) -> Metric:
        """KeyError for a metric that the task does not have."""
        return {metric.name: metric for metric in self.metrics}[name]

    def count_labels(self, dataset: Dataset) -> int:
        """What the record of a round keeps as `boxes`: the labels of these images, as the task counts them."""
        return next((cost.count(dataset) for cost in self.costs if cost.column == "boxes"), dataset.box_count)

    def like(self, other: Task) -> bool:
        """Whether runs of the two can be compared, in the metrics that both have: the same name, primary metric and costs."""
        one, two = ((task.name, task.primary.name, task.primary.unit, task.cost_names) for task in (self, other))
        return one == two

    def covers(self, other: Task) -> bool:
        """Whether a run that began as `other`, an earlier form of this task, can go on and be judged again: nothing of what
        it measured is gone or has changed."""
        return self.like(other) and other._measured <= self._measured

    @property
    def _measured(self) -> set[tuple[str, str]]:
        return {(metric.name, metric.unit) for metric in self.metrics}

    def shared_with(self, other: Task) -> Task:
        """This task with those of its metrics and columns alone that `other` has too (which it is like)."""
        metrics = tuple(metric for metric in self.metrics if (metric.name, metric.unit) in other._measured)
        names = {metric.name for metric in metrics}
        breakdown = self.breakdown
        if breakdown:
            labels = {name: label for name, label in breakdown.labels.items() if name in names}
            breakdown = replace(breakdown, labels=labels) if labels else None
        pairs = zip(self.costs, other.costs, strict=True)
        curves, line, table = (
            tuple(name for name in part if name in names) for part in (self.curves, self.line, self.table)
        )
        return replace(
            self,
            metrics=metrics,
            costs=tuple(replace(cost, per=cost.per if cost.per == its.per else 0) for cost, its in pairs),
            curves=curves,
            line=line,
            table=table,
            breakdown=breakdown,
        )

    def describe(self) -> dict[str, Any]:
        """All of the task but its functions, as plain data: what `described` reads."""
        return {
            "name": self.name,
            "metrics": [asdict(metric) for metric in self.metrics],
            "costs": [{"name": cost.name, "column": cost.column, "per": cost.per} for cost in self.costs],
            "curves": list(self.curves),
            "line": list(self.line),
            "table": list(self.table),
            "label": self.label,
            "breakdown": None
            if self.breakdown is None
            else {
                "name": self.breakdown.name,
                "what": self.breakdown.what,
                "groups": self.breakdown.groups,
                "labels": [
                    list(pair) for pair in self.breakdown.labels.items()
                ],  # pairs: JSON with sorted keys keeps order
            },
        }


def described(content: Any) -> Task:
    """The inverse of `Task.describe`, without the functions. ValueError for what describes no task."""
    try:
        breakdown = content["breakdown"]
        return Task(
            str(content["name"]),
            metrics=tuple(Metric(**metric) for metric in content["metrics"]),
            costs=tuple(Cost(**cost) for cost in content["costs"]),
            curves=tuple(content["curves"]),
            line=tuple(content["line"]),
            table=tuple(content.get("table", ())),  # runs that began before there was a choice have none
            label=content.get("label", "objects"),
            breakdown=breakdown and Breakdown(**{**breakdown, "labels": dict(breakdown["labels"])}),
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"it describes no task: {error!r}") from error
