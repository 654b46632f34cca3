"""Rounds in a tracker: TensorBoard files, MLflow or Weights & Biases, chosen with `tracking=NAME`.

A tracker reads the records on disk, never the running program. After each round, and when a run continues, it logs the
rounds it lacks. So a run that was killed ends up with every round once, and a finished run can be logged later.
The packages are imported when they are used. `points` is what every tracker shows.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from al_cli.errors import ConfigError, first_line, suggest
from al_cli.records import RunFolder, round_name
from al_cli.tasks import Task
from al_cli.types import MEASURED, LossPoint, RoundRecord

log = logging.getLogger("al")

# Tracker -> module it imports -> package to install. `mlflow-skinny` writes no database without the other two.
TRACKER_PACKAGES: dict[str, dict[str, str]] = {
    "tensorboard": {"tensorboard": "tensorboard"},
    "mlflow": {"mlflow": "mlflow-skinny", "sqlalchemy": "sqlalchemy", "alembic": "alembic"},
    "wandb": {"wandb": "wandb"},
}
Point = tuple[str, int, float]  # tag, step, value


class Tracker(Protocol):
    """Where one run's rounds are logged."""

    def has(self, round: int) -> bool:
        """Whether the round is logged already, by this process or an earlier one."""
        ...

    def log_round(self, record: RoundRecord, losses: Sequence[LossPoint]) -> None: ...

    def close(self) -> None: ...


def check_tracker(name: str | None) -> None:
    """ConfigError for a tracker that does not exist or whose packages are not installed. None is no tracker."""
    if name is None:
        return
    if name not in TRACKER_PACKAGES:
        raise ConfigError(
            f"there is no tracker called {name}", where=f"tracking={name}", remedy=suggest(name, TRACKER_PACKAGES)
        )
    missing = [
        package for module, package in TRACKER_PACKAGES[name].items() if importlib.util.find_spec(module) is None
    ]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)} is not installed",
            where=f"tracking={name}",
            remedy=f"pip install {' '.join(TRACKER_PACKAGES[name].values())}",
        )


def points(record: RoundRecord, losses: Sequence[LossPoint], task: Task) -> list[Point]:
    """All numbers of a round, as (tag, step, value).

    `by_round/METRIC` has the round as step, and `by_images/METRIC`, `by_COST/METRIC` hold the same value with each cost of the
    task as step; `train_loss/round_02` has the iteration as step. What was not measured is absent.
    """
    metrics = {**record.metrics, **{name: getattr(record, name) for name in ("val_loss", *MEASURED)}}
    costs: dict[str, float] = {cost.name: cost.of(record) for cost in task.costs}
    every: list[Point] = []
    for axis, step in (("round", record.round), *((cost.name, cost.of(record)) for cost in task.costs)):
        every += [(f"by_{axis}/{name}", step, float(value)) for name, value in metrics.items() if value is not None]
    amounts = {**costs, "ud": record.ud}
    every += [(f"by_round/{name}", record.round, float(n)) for name, n in amounts.items() if n is not None]
    name = round_name(record.round)
    for loss in losses:
        every.append((f"train_loss/{name}", loss.iteration, loss.train_loss))
        if loss.val_loss is not None:
            every.append((f"val_loss/{name}", loss.iteration, loss.val_loss))
        if loss.metric is not None:
            every.append((f"val_metric/{name}", loss.iteration, loss.metric))
    return every


def follow(
    rounds: Iterable[RoundRecord], name: str | None, folder: RunFolder, config: Mapping[str, Any]
) -> Iterator[RoundRecord]:
    """The same records, each logged before it is passed on; before the first one, those on disk that the tracker lacks.

    A tracker that cannot be opened is an error. One that fails later is a warning: the round is on disk and is logged
    with the next one, or by the same command.
    """
    if name is None:
        yield from rounds
        return
    tracker = open_tracker(name, folder, config)
    try:
        logged: set[int] = set()
        _catch_up(tracker, name, folder, logged)
        for record in rounds:
            _catch_up(tracker, name, folder, logged)
            yield record
    finally:
        with _a_failure_is_a_warning(f"{name} could not be closed"):
            tracker.close()


def open_tracker(name: str, folder: RunFolder, config: Mapping[str, Any]) -> Tracker:
    """The tracker of that name for this run; `config` is shown with the run where the tracker can show one."""
    check_tracker(name)
    if name == "tensorboard":
        from al_cli.tracking.tensorboard import TensorBoard

        return TensorBoard(folder)
    if name == "mlflow":
        from al_cli.tracking.mlflow import MLflow

        return MLflow(folder, config)
    from al_cli.tracking.wandb import Wandb

    return Wandb(folder, config)


def _catch_up(tracker: Tracker, name: str, folder: RunFolder, logged: set[int]) -> None:
    """Log every round that is on disk and not in the tracker; `logged` are those that need no look, and grows."""
    for record in folder.readable_records():
        if record.round in logged:
            continue
        with _a_failure_is_a_warning(
            f"round {record.round} could not be logged to {name}, the same command logs it later"
        ):
            if not tracker.has(record.round):
                tracker.log_round(record, folder.losses(record.round))
            logged.add(record.round)


@contextmanager
def _a_failure_is_a_warning(what: str) -> Iterator[None]:
    """A server that is away or a full disk is no reason to lose the training that goes on."""
    try:
        yield
    except Exception as error:
        log.warning("%s (%s: %s)", what, type(error).__name__, first_line(error))
