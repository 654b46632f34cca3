"""Which kinds of learners there are, known without torch: their settings, and where their code lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from al_cli.errors import ConfigError
from al_cli.learners.classifier.spec import ClassifierSpec
from al_cli.learners.classifier.training_spec import ClassifierTraining
from al_cli.learners.spec import ModelSpec, require_pairs
from al_cli.learners.training_spec import TrainingSpec
from al_cli.types import LabelKind, Signal

AnyModel = ModelSpec | ClassifierSpec


@dataclass(frozen=True)
class LearnerKind:
    """`model` and `training` hold its settings; `module` has its class, whose code is in the store's keys; `labels` are the
    kinds of labels that it can learn from, `noun` what it is called in a sentence."""

    model: type[ModelSpec] | type[ClassifierSpec]
    training: type[TrainingSpec]
    module: str
    labels: tuple[LabelKind, ...]
    noun: str


DETECTOR = LearnerKind(ModelSpec, TrainingSpec, "al_cli.learners.detectron.learner", ("objects",), "detects objects")
CLASSIFIER = LearnerKind(
    ClassifierSpec, ClassifierTraining, "al_cli.learners.classifier.learner", ("image",), "classifies whole images"
)
FAKE = LearnerKind(ModelSpec, TrainingSpec, "al_cli.learners.fake", ("objects", "image"), "stands in for any model")
BY_FAMILY = {"fake": FAKE, "classifier": CLASSIFIER}  # of a model; every other family is a detector's


def kind_of(family: object) -> LearnerKind:
    """The kind of a model of this family."""
    return BY_FAMILY.get(family, DETECTOR) if isinstance(family, str) else DETECTOR


def check_together(model: AnyModel, training: TrainingSpec, needs: frozenset[Signal], device: str) -> None:
    """ConfigError for what the learner's constructor would refuse and can be known without torch: batches of one image
    where losses are predicted, mixed precision on a CPU."""
    if model.architecture == "fake":
        return
    batch = _batch_size(model, training)
    if Signal.PREDICTED_LOSS in needs and batch is not None:
        require_pairs(batch)
    if training.amp and device == "cpu":
        raise ConfigError("mixed precision needs a GPU", where="training.amp=true", remedy="set training.amp=false")


def _batch_size(model: AnyModel, training: TrainingSpec) -> int | None:
    """What the settings say of it, strongest first; None where the model's own config decides."""
    overrides = getattr(model, "overrides", {})
    for key in ("SOLVER.IMS_PER_BATCH", "dataloader.train.total_batch_size"):
        value: Any = overrides.get(key)
        if value is None:
            value = overrides
            for part in key.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, int):
            return value
    return training.batch_size
