"""The training loss of images, without learning from them.

The model computes what it would minimise, on images as inference sees them (no augmentation), with the statistics of
its normalisation layers fixed. Detectron2 samples proposals at random inside the loss: the generator is set to the same
state before each batch and given back after, so a measurement repeats to the bit and leaves no trace in the training.
Knows no optimizer, and predicts nothing: that is `loss_prediction`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from detectron2.utils.events import EventStorage
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from al_cli.learners.detectron.training.data import Batch

NORMALIZER = "loss_normalizer"  # RetinaNet and FCOS divide by a running mean of their positives, kept on the model


# Detectron2's names of what is about classes and about boxes: Faster R-CNN (with its proposals, and stages of a cascade),
# RetinaNet, FCOS. FCOS' centerness is of neither, and in the sum only.
CLASS_PART = re.compile(r"loss_(rpn_)?cls(_stage\d+)?|loss_fcos_cls")
BOX_PART = re.compile(r"loss_box_reg(_stage\d+)?|loss_rpn_loc|loss_fcos_loc")


def batch_losses(model: nn.Module, batches: Iterable[Batch], *, as_in_training: bool) -> Iterator[tuple[float, int]]:
    """The loss of each batch and its number of images (`batch_parts`)."""
    for parts, images in batch_parts(model, batches, as_in_training=as_in_training):
        yield float(sum(parts.values())), images


def class_and_box(parts: Mapping[str, Tensor]) -> tuple[float, float]:
    """What of a loss is about classes, and what about boxes; NaN where no part of it is."""
    found = ([part for name, part in parts.items() if of.fullmatch(name)] for of in (CLASS_PART, BOX_PART))
    of_classes, of_boxes = (float(sum(some)) if some else math.nan for some in found)
    return of_classes, of_boxes


@torch.no_grad()
def batch_parts(
    model: nn.Module, batches: Iterable[Batch], *, as_in_training: bool
) -> Iterator[tuple[dict[str, Tensor], int]]:
    """The parts of each batch's loss, by Detectron2's names, and its number of images.

    Dense detectors divide by the running number of positives that training left (`as_in_training`), or by its initial
    value, which is the same after a checkpoint was loaded.
    """
    with measuring(model), EventStorage():
        former = model.__dict__.get(NORMALIZER)
        for batch in batches:
            _set_normalizer(model, former if as_in_training else None)
            with torch.random.fork_rng(devices=cuda_devices(model)):
                torch.manual_seed(0)
                losses = model(batch)
            _set_normalizer(model, former)
            yield losses, len(batch)


def mean_loss(model: nn.Module, batches: Iterable[Batch]) -> float:
    """The mean over images of the loss of the batch they came in: the training loss of images not trained on."""
    total, images = 0.0, 0
    for loss, count in batch_losses(model, batches, as_in_training=True):
        total, images = total + loss * count, images + count
    return total / images


def _set_normalizer(model: Any, value: float | None) -> None:
    if value is None:
        model.__dict__.pop(NORMALIZER, None)
    else:
        setattr(model, NORMALIZER, value)


def cuda_devices(model: Any) -> list[torch.device]:
    return [model.device] if model.device.type == "cuda" else []


@contextmanager
def measuring(model: nn.Module) -> Iterator[None]:
    """Training mode, which is what makes Detectron2 return losses, but nothing in it that learns or drops out."""
    modes = [(module, module.training) for module in model.modules()]
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm | _DropoutNd):
            module.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
