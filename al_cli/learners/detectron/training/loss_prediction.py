"""Learning loss: a small module next to the detector that learns which of two images has the larger training loss.

Yoo and Kweon 2019; ISAL's comparison (appendix D.2): on the maps of the feature pyramid, each

    map -> global average -> FC(128) -> ReLU,   all of them concatenated -> FC(1) = predicted loss p

The images of a batch are taken in pairs (i, j), and with their losses l (eq. 2, margin xi = 1)

    L = mean over pairs of max(0, -sign(l_i - l_j) (p_i - p_j) + xi)

ISAL stops the gradient before the backbone ("otherwise, the detector performance would deteriorate significantly"), and
so does this, from the first step: what the detector learns is the same to the bit with and without the module. The
averages of the maps are those of `Signal.IMAGE_FEATURES`; in inference a `MapReader` predicts from them in the same pass.

A detector's training loss is one number a batch. Those of its images are computed from the maps the backbone has just
returned: only the heads run again, image by image, without gradients, dropout or statistics being updated, and with
random numbers of their own.

`model.loss_prediction` says what moves the module. own: an Adam of its own, so that one rate suits pyramids of any scale.
shared: the detector's optimizer, as in both papers: its rate, schedule and weight decay, the loss L with weight 1. Gradient
clipping is of the detector's gradients alone either way.

Knows no trainer but its hooks; the module is `pytorch/loss_module.py`'s, the losses themselves are `loss`'s and the model's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.engine import HookBase
from detectron2.utils.events import EventStorage
from numpy.typing import NDArray
from torch import Tensor, nn

from al_cli.learners.detectron.signals.tap import MapReader, image_features
from al_cli.learners.detectron.signals.views import view
from al_cli.learners.detectron.training.data import Batch
from al_cli.learners.detectron.training.loss import NORMALIZER, cuda_devices, measuring
from al_cli.learners.pytorch.loss_module import (
    drawn_loss_module,
    has_loss_module,
    loss_module_extras,
    ranking_loss,
    restored_loss_module,
)
from al_cli.types import Checkpoint

LR = 1e-3


def loss_reader(model: Any, extras: Mapping[str, NDArray[Any]]) -> MapReader:
    """Reads PREDICTED_LOSS, a number an image, off the maps of `model`, with the module among a checkpoint's extras.

    An image without boxes has a prediction like any other. KeyError where no module was trained.
    """
    module, strides = restored_loss_module(extras).to(model.device), strides_of(model)

    def read(maps: Mapping[str, Tensor], sizes: list[tuple[int, int]]) -> Sequence[Tensor]:
        with torch.no_grad():
            return list(module(torch.stack(image_features(strides, maps, sizes)).float()))

    return read


def strides_of(model: Any) -> dict[str, int]:
    """Pixels between cells of each map that the backbone returns, by the map's name."""
    return {name: shape.stride for name, shape in model.backbone.output_shape().items()}


class LossPrediction(HookBase):
    """A hook of Detectron2's trainer that trains a LossModule next to `model` and leaves the model as it would be without.

    `start` is the checkpoint that training continues from, if any: its module goes on from where it was. `seed` draws a
    new one. `shared`: the detector's optimizer, which is to move the module too, before its schedule is made; None: Adam.
    Batches need two images at least (`require_pairs`).
    """

    def __init__(
        self,
        model: Any,
        *,
        seed: int,
        start: Checkpoint | None = None,
        shared: torch.optim.Optimizer | None = None,
    ):
        self.model = model
        self.strides = strides_of(model)
        if start is not None and has_loss_module(start.extras):
            self.module = restored_loss_module(start.extras)
        else:
            shapes = self.model.backbone.output_shape()
            finest_first = sorted(shapes, key=lambda name: shapes[name].stride)
            self.module = drawn_loss_module([shapes[name].channels for name in finest_first], seed)
        self.module.to(self.model.device)
        self.own = torch.optim.Adam(self.module.parameters(), LR) if shared is None else None
        if shared is not None:
            shared.add_param_group({"params": list(self.module.parameters())})
        self._loss: Tensor | None = None  # of a step, until the detector's optimizer has forgotten the last gradients
        self._armed = False  # from the start of a step to its forward: validation runs the model in training mode too

    @property
    def extras(self) -> dict[str, NDArray[Any]]:
        """What a checkpoint keeps of it."""
        return loss_module_extras(self.module)

    def before_train(self) -> None:
        self._handles = [
            self.model.backbone.register_forward_hook(self._after_backbone),
            self.model.register_forward_hook(self._after_forward),
        ]

    def before_step(self) -> None:
        self._armed = True

    def after_train(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _after_backbone(self, _module: nn.Module, _args: Any, maps: Mapping[str, Tensor]) -> None:
        if self._armed:
            self._maps = {name: one.detach() for name, one in maps.items()}

    def _after_forward(self, _module: nn.Module, args: tuple[Batch], _losses: Any) -> None:
        if not self._armed:
            return
        self._armed = False
        losses = image_losses(self.model, args[0], self._maps)
        with torch.autocast(self.model.device.type, enabled=False), torch.enable_grad():
            sizes = [tuple(one["image"].shape[-2:]) for one in args[0]]
            features = torch.stack(image_features(self.strides, self._maps, sizes)).float()  # [B, D]
            self._loss = ranking_loss(self.module(features), losses)
            if self.own is not None:
                self.own.zero_grad()
                self._loss.backward()
                self.own.step()
        del self._maps

    def after_backward(self) -> None:
        if self.own is None and self._loss is not None:
            scaler = getattr(self.trainer, "grad_scaler", None)
            (self._loss if scaler is None else scaler.scale(self._loss)).backward()
        self._loss = None


@torch.no_grad()
def image_losses(model: Any, batch: Batch, maps: Mapping[str, Tensor]) -> Tensor:
    """[B] training loss of each image of a batch, given the maps [B, c, h, w] that the backbone made of it.

    Dense detectors divide by the running number of positives of the batches so far, the same for every image. Model,
    event storage and random numbers are left as they were.
    """
    given = view(model.backbone, _Given)
    lens = view(model, backbone=given)
    values = []
    with measuring(model), EventStorage():
        for i, one in enumerate(batch):
            given.maps = {name: of_batch[i : i + 1] for name, of_batch in maps.items()}
            if NORMALIZER in model.__dict__:
                setattr(lens, NORMALIZER, getattr(model, NORMALIZER))
            with torch.random.fork_rng(devices=cuda_devices(model)):
                torch.manual_seed(0)
                values.append(sum(lens.forward([one]).values()))
    return torch.stack([torch.as_tensor(value, device=model.device).float() for value in values])


class _Given(nn.Module):
    """In front of a backbone's class: returns maps that are there already."""

    maps: dict[str, Tensor]

    def forward(self, _images: Tensor) -> dict[str, Tensor]:
        return self.maps
