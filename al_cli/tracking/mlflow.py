"""MLflow: an experiment a study, in `outputs/mlflow.db` (SQLite) or where MLFLOW_TRACKING_URI says.

`mlflow ui --backend-store-uri sqlite:///outputs/mlflow.db` shows it. The database says itself what it holds of a round:
only what it lacks is written, so that a kill between two writes leaves nothing twice. A round that was deleted and
computed once more keeps its first numbers here.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the import: a run calls no one unasked

from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from al_cli.errors import ConfigError, first_line
from al_cli.records import RunFolder
from al_cli.records.settings import flatten
from al_cli.tracking import Point, points
from al_cli.tracking.memory import Memory
from al_cli.types import LossPoint, RoundRecord

METRICS, PARAMS = 1000, 100  # what MLflow takes at once


class MLflow:
    def __init__(self, folder: RunFolder, config: Mapping[str, Any]):
        self.folder, self.task = folder, folder.task()
        self.last = f"by_round/{self.task.cost_names[0]}"  # written last: its steps are the rounds that are complete
        for name in ("mlflow", "alembic"):  # they announce every table they make
            logging.getLogger(name).setLevel(logging.WARNING)
        path = folder.path.resolve()
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{path.parent.parent / 'mlflow.db'}"
        try:
            self.client = MlflowClient(tracking_uri=uri)
            self.run_id = self._run(Memory(path / "tracking" / "mlflow.json").id)
            flat = [Param(key, str(value)) for key, value in flatten(config).items()]
            for some in _chunks(flat, PARAMS):
                self.client.log_batch(self.run_id, params=some)
        except MlflowException as error:
            why = first_line(error)
            remedy = "correct MLFLOW_TRACKING_URI, check the server, or leave tracking out"
            raise ConfigError(
                f"MLflow cannot be used: {why}", where=f"tracking=mlflow at {uri}", remedy=remedy
            ) from error

    def _experiment(self) -> str:
        """The id of the study's experiment, made where there is none; another process may make it at the same time."""
        study = self.folder.path.resolve().parent.name
        if experiment := self.client.get_experiment_by_name(study):
            return str(experiment.experiment_id)
        try:
            return str(self.client.create_experiment(study))
        except MlflowException:
            if experiment := self.client.get_experiment_by_name(study):
                return str(experiment.experiment_id)
            raise

    def _run(self, own: str) -> str:
        """The MLflow id of the run that carries our id as a tag, made where there is none."""
        experiment = self._experiment()
        if runs := self.client.search_runs([experiment], f"tags.`al.id` = '{own}'"):
            run_id = str(runs[0].info.run_id)
            self.client.update_run(run_id, status="RUNNING")
            return run_id
        made = self.client.create_run(experiment, tags={"al.id": own}, run_name=self.folder.path.name)
        return str(made.info.run_id)

    def has(self, round: int) -> bool:
        return round in self._steps(self.last)

    def _steps(self, tag: str) -> set[int]:
        return {metric.step for metric in self.client.get_metric_history(self.run_id, tag)}

    def log_round(self, record: RoundRecord, losses: Sequence[LossPoint]) -> None:
        every = points(record, losses, self.task)
        if every[0][1] in self._steps(every[0][0]):  # begun by a process that was killed
            known = {tag: self._steps(tag) for tag in {tag for tag, _, _ in every}}
            every = [point for point in every if point[1] not in known[point[0]]]
        every.sort(key=lambda point: point[0] == self.last)
        now_ms = int(time.time() * 1000)
        for some in _chunks([_metric(point, now_ms) for point in every], METRICS):
            self.client.log_batch(self.run_id, metrics=some)

    def close(self) -> None:
        done = len(self.folder.readable_records()) == self.folder.total_rounds
        self.client.set_terminated(self.run_id, "FINISHED" if done else "KILLED")


def _metric(point: Point, now_ms: int) -> Metric:
    tag, step, value = point
    return Metric(tag, value, now_ms, step)


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
