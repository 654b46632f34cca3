"""Weights of a run asked once more, for `al show`: predictions with another checkpoint, and features for a map of the pool.

A run folder may come from anybody: its task and its sampler's functions are not imported. Nothing is judged or selected here,
so neither is needed; a reference asks no sampler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from al_cli.errors import RunError
from al_cli.experiment import build, settings
from al_cli.learners.portable import require_caps
from al_cli.records import RunFolder
from al_cli.rng import seed_for
from al_cli.tasks import of_label
from al_cli.types import Dataset, Learner, RoundRecord, Signal


class Weights:
    """The learner of a run's configuration, and the weights that it is to have. AlError where there can be none."""

    def __init__(self, folder: RunFolder, config: Mapping[str, Any], class_names: Sequence[str]):
        self.folder = folder
        plain = dict(config) | {"store": False, "plots": False, "reference": True}
        self.experiment = settings.check(OmegaConf.create(plain | {"task": of_label(folder.task().label)}))
        self.chosen_first = config["initial"] == 0
        require_caps(self.experiment.config)
        self.learner: Learner = build.build_learner(self.experiment, tuple(class_names))

    def load(self, checkpoint: Path) -> Learner:
        """The learner with the weights of this file."""
        if not checkpoint.is_file():
            remedy = "give a checkpoint.pth of any run"
            raise RunError("there are no weights here", where=str(checkpoint), remedy=remedy)
        try:
            self.learner.load(checkpoint)
        except RunError as error:
            remedy = "give a checkpoint.pth that a run with this model wrote"
            raise RunError(error.what, where=error.where, remedy=remedy) from error
        return self.learner

    def last_mapped(self, records: Sequence[RoundRecord]) -> int:
        """The last round whose picks can be mapped: the weights that made them are here. RunError where there is none."""
        rounds = [r.round for r in records if r.round and self.folder.has_weights(records[r.round - 1])]
        if not rounds and not (self.chosen_first and records):
            raise self._not_kept("no round's picks can be mapped: the weights that made them are")
        return max(rounds, default=0)

    def that_picked(self, record: RoundRecord) -> Learner:
        """The learner with the weights that the images of this round were picked with: those of the round before."""
        if record.round == 0 and self.chosen_first:
            self.learner.start(seed_for(self.experiment.seeds.training, 0, "training"))
            return self.learner
        if record.round == 0:
            what = "the images of round 0 were drawn at random, before there were any weights"
            raise RunError(
                what, where=str(self.folder.path), remedy=f"name another round, or {self._weights_of_last()}"
            )
        path = self.folder.round_path(record.round - 1) / "checkpoint.pth"
        if not path.is_file():
            made = f"the picks of round {record.round} were made with the weights of round {record.round - 1}"
            raise self._not_kept(f"{made}, which are")
        return self.load(path)

    def _not_kept(self, what: str) -> RunError:
        remedy = "run it with training.keep_checkpoints=all"
        if self.folder.records():
            remedy += f", or {self._weights_of_last()}"
        return RunError(f"{what} not kept", where=str(self.folder.path), remedy=remedy)

    def _weights_of_last(self) -> str:
        last = self.folder.records()[-1].round
        return f"name the weights to map with: --checkpoint {self.folder.round_path(last) / 'checkpoint.pth'}"


def features(learner: Learner, images: Dataset) -> NDArray[np.float32]:
    """[N, D] what the weights see in each image. RunError for a model that gives no such features."""
    if Signal.IMAGE_FEATURES not in learner.provides:
        raise RunError("this model gives no features of an image", remedy="there is no map of its pool")
    found: NDArray[np.float32] = learner.infer(images, frozenset({Signal.IMAGE_FEATURES})).columns[
        Signal.IMAGE_FEATURES
    ]
    return found
