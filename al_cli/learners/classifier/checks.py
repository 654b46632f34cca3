"""What a classifier, its recipe, the classes and the device must agree on. Reads no image, downloads nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from al_cli.errors import ConfigError
from al_cli.learners.classifier.spec import ClassifierSpec
from al_cli.learners.classifier.training_spec import ClassifierTraining
from al_cli.learners.classifier.weights import require_kept_outputs, require_outputs
from al_cli.learners.pytorch.device import choose_device
from al_cli.learners.spec import require_pairs
from al_cli.types import Signal


def check_classifier(
    model: ClassifierSpec,
    training: ClassifierTraining,
    class_names: Sequence[str],
    device: str,
    needs: frozenset[Signal],
    chooses_first: bool,
) -> None:
    """ConfigError or ModelError for all that cannot work and can be known without a download. `chooses_first`: the starting
    weights choose images before any training, so they must be a whole classifier of these classes."""
    check_agreement(model.check(), training.check(), class_names, device, needs)
    if chooses_first:
        require_outputs(model, class_names)
        if model.normalize == "train" and model.weights == "imagenet":
            refuse_unmeasured(model)


def check_agreement(
    model: ClassifierSpec,
    training: ClassifierTraining,
    class_names: Sequence[str],
    device: str,
    needs: frozenset[Signal],
) -> torch.device:
    """The device that computes. ConfigError or ModelError for settings that cannot work with each other."""
    model.require_weights()
    require_kept_outputs(model, class_names)
    chosen = choose_device(device)
    if training.amp and chosen.type != "cuda":
        raise ConfigError("mixed precision needs a GPU", where="training.amp=true", remedy="set training.amp=false")
    batch_size = training.batch_size or 1
    if Signal.PREDICTED_LOSS in needs:
        require_pairs(batch_size)
    if model.hidden and batch_size == 1:
        raise ConfigError(
            "batch normalization learns nothing from one image",
            where=f"training.batch_size=1 model.hidden={list(model.hidden)}",
            remedy="set training.batch_size to at least 2",
        )
    model.influences.require_classes(len(class_names))
    return chosen


def refuse_unmeasured(model: ClassifierSpec) -> None:
    """ConfigError for weights that somebody trained and that are asked before there is a training image to measure. Drawn
    ones see the pixels as they are."""
    if model.weights != "none":
        raise ConfigError(
            "nothing is labeled before the first selection, so there is no mean of training images to subtract",
            where=f"initial=0 model.normalize={model.normalize}",
            remedy="set model.normalize to what these weights were trained with, for example imagenet",
        )
