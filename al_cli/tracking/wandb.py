"""Weights & Biases: a project a study, offline unless WANDB_MODE says otherwise, in the run's folder `tracking/wandb`.

`wandb sync RUN/tracking/wandb/offline-run-*` uploads it. Offline data is in memory until W&B's service process ends, and dies
with us: so each round is a session of its own, all under one id, that ends before `tracking/wandb.json` says that the round is
logged. A kill in the instant between the two logs that round again; none is lost.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # before the import: a run calls no one unasked

import wandb

from al_cli.errors import ConfigError
from al_cli.records import RunFolder
from al_cli.tracking import points
from al_cli.tracking.memory import Memory
from al_cli.types import LossPoint, RoundRecord


class Wandb:
    def __init__(self, folder: RunFolder, config: Mapping[str, Any]):
        self.folder, self.config, self.task = folder, dict(config), folder.task()
        self.memory = Memory(folder.path / "tracking" / "wandb.json")
        self.mode: Any = os.environ.get("WANDB_MODE", "offline")
        if self.mode == "online":
            try:
                wandb.login()
            except wandb.Error as error:
                remedy = "`wandb login`, or WANDB_MODE=offline, or leave tracking out"
                raise ConfigError(f"no W&B account: {error}", where="WANDB_MODE=online", remedy=remedy) from error

    def has(self, round: int) -> bool:
        return round in self.memory.rounds

    def log_round(self, record: RoundRecord, losses: Sequence[LossPoint]) -> None:
        curves: dict[int, dict[str, float]] = {}
        row: dict[str, float] = {"round": record.round, **{cost.name: cost.of(record) for cost in self.task.costs}}
        for tag, step, value in points(record, losses, self.task):
            (row if tag.startswith("by_") else curves.setdefault(step, {"iteration": step}))[tag] = value
        try:
            run = self._session()
            for values in [*curves.values(), row]:
                run.log(values)
            run.finish()
        finally:
            wandb.teardown()  # returns when the service has written everything
        self.memory.add(record.round)

    def _session(self) -> Any:
        path = self.folder.path.resolve()
        run = wandb.init(
            project=path.parent.name,
            name=path.name,
            id=self.memory.id,
            resume="allow",
            dir=path / "tracking",
            mode=self.mode,
            config=self.config,
            settings=wandb.Settings(
                silent=True, console="off", save_code=False, disable_git=True, x_disable_stats=True
            ),
        )
        for axis in ("round", *self.task.cost_names):
            run.define_metric(f"by_{axis}/*", step_metric=axis)
        for curve in ("train_loss", "val_loss", "val_metric"):
            run.define_metric(f"{curve}/*", step_metric="iteration")
        return run

    def close(self) -> None:
        pass
