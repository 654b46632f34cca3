"""A detector's training loss as a function of its last layers, with everything before them recorded.

    loss = layers.record([one])              # from its labels; `expected` from its own detections
    loss(layers.theta())                     # what model([one]) would minimise
    layers.record(batch).derivatives(theta, direction)      # [B] how fast each image's own loss rises along direction

`LastLayers` is what an architecture must say of itself; `last_layers` has those of Detectron2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.structures import ImageList, Instances
from detectron2.utils.events import EventStorage
from torch import Tensor, nn
from torch.func import functional_call

from al_cli.learners.detectron.influence.pseudo_labels import PseudoLabels
from al_cli.learners.detectron.training.data import Batch
from al_cli.learners.pytorch.modes import evaluating

Outputs = dict[str, list[Tensor]]  # by layer, one tensor a level
Maps = Mapping[str, Tensor]
Sizes = list[tuple[int, int]]
LabelSource = list[Instances] | PseudoLabels  # of each image, or how its own detections become some
# How far the symmetric derivative looks to each side, for every logit and box delta. Rounding in float32 puts a delta up to
# about 1e-4 from a target that equals it (a box of 10 px in an image of 1000 px): the step must be longer than that.
REACH = 1e-3


@dataclass(frozen=True, eq=False)
class HeadLoss:
    """theta [P] -> the scalar training loss of a batch, differentiable twice."""

    layers: LastLayers
    inputs: Outputs
    fixed: tuple[Any, ...]

    def __call__(self, theta: Tensor) -> Tensor:
        return self._loss(self.layers.outputs(theta, self.inputs))

    def derivatives(self, theta: Tensor, direction: Tensor) -> Tensor:
        """[B] d/de l_i(theta + e direction) at e = 0, with l_i the loss of image i alone: no image has its own backward pass.

        The layers are linear in theta, so moving it moves their outputs by what they put out with `direction` for weights:
        forward mode. The slopes of the loss there come for all images at once, from a backward pass that goes no deeper than
        the outputs; an image's derivative is the product of the two over its own share of them.

        The slope is the mean of those a little ahead and a little behind, the symmetric derivative. A pseudo label is what
        the box layers said of some proposal or location, so L1 and GIoU stand at their kink there, where the slope is 0 by
        symmetry but +1 or -1 by the last digit of a rounding: enough to decide the sign of an image's influence. Every output
        takes a step of the same length, in the direction of its own move: so the step of a small move is no shorter than a
        rounding, and it does not depend on the other images of the batch.
        """
        with torch.no_grad():
            outputs, moves = (self.layers.outputs(weights, self.inputs) for weights in (theta, direction))
        ahead, behind = (self._slopes(outputs, moves, step) for step in (REACH, -REACH))
        middle = iter([(one + other) / 2 for one, other in zip(ahead, behind, strict=True)])
        products = {name: [next(middle) * move for move in levels] for name, levels in moves.items()}
        return self.layers.of_images(products, *self.fixed)

    def _slopes(self, outputs: Outputs, moves: Outputs, step: float) -> tuple[Tensor, ...]:
        """Of the loss along each output, where every output is moved by `step` in the direction of its move."""
        moved = {
            name: [x + step * move.sign() for x, move in zip(levels, moves[name], strict=True)]
            for name, levels in outputs.items()
        }
        leaves = [x.requires_grad_() for levels in moved.values() for x in levels]
        with torch.enable_grad():
            return torch.autograd.grad(self._loss(moved), leaves, materialize_grads=True)

    def _loss(self, outputs: Outputs) -> Tensor:
        with EventStorage():  # Detectron2's losses write statistics to one
            return torch.stack(list(self.layers.losses(outputs, *self.fixed).values())).sum()

    @property
    def nbytes(self) -> int:
        return sum({id(x): x.nbytes for levels in self.inputs.values() for x in levels}.values())


@dataclass(frozen=True, eq=False)
class ExpectedLoss:
    """What to expect of images without labels (ISAL, eq. 3): `passes` are their losses with each labeling by their own
    detections, and how much each image counts there, [B], None for 1."""

    passes: list[tuple[HeadLoss, Tensor | None]]

    def derivatives(self, theta: Tensor, direction: Tensor) -> Tensor:
        """[B] the weighted sum of the passes' own derivatives."""
        values = [
            loss.derivatives(theta, direction) * (1 if weights is None else weights) for loss, weights in self.passes
        ]
        return torch.stack(values).sum(0) if len(values) > 1 else values[0]


class LastLayers(ABC):
    """The last layers of one model, and how its loss follows from what they put out. Leaves the model as it was."""

    def __init__(self, model: Any, layers: Mapping[str, nn.Module]):
        self.model, self.layers = model, dict(layers)
        self.sizes = [p.numel() for layer in self.layers.values() for p in layer.parameters()]

    def theta(self) -> Tensor:
        """[P] all weights and biases as they now are, in one vector: a copy."""
        return torch.cat([p.detach().flatten() for layer in self.layers.values() for p in layer.parameters()])

    def outputs(self, theta: Tensor, inputs: Outputs) -> Outputs:
        """What the layers put out for these inputs with the parameters `theta`."""
        parts = iter(theta.split(self.sizes))
        result = {}
        for name, layer in self.layers.items():
            parameters = {key: next(parts).view_as(p) for key, p in layer.named_parameters()}
            result[name] = [functional_call(layer, parameters, (x,)) for x in inputs[name]]
        return result

    def record(self, batch: Batch) -> HeadLoss:
        """The loss of a batch, all of one size, with its labels."""
        labels = [one["instances"].to(self.model.device) for one in batch]
        ((loss, _),) = self._record(*self.maps(batch), labels)
        return loss

    def maps(self, batch: Batch) -> tuple[Maps, Sizes]:
        """One pass through the backbone: its maps [B, C, H, W] by name, and (height, width) of each image."""
        with torch.no_grad(), evaluating(self.model):
            images = self.model.preprocess_image(batch)
            return self.model.backbone(images.tensor), images.image_sizes

    def expected(self, maps: Maps, sizes: Sizes, pseudo: PseudoLabels) -> ExpectedLoss:
        """Of images that have been through the backbone, labeled by their own detections."""
        return ExpectedLoss(self._record(maps, sizes, pseudo))

    def published(self, scores: Tensor) -> Tensor:
        """Detectron2's scores in the units of the detector's paper: the same, but for FCOS."""
        return scores

    def _record(self, maps: Maps, sizes: Sizes, labels: LabelSource) -> list[tuple[HeadLoss, Tensor | None]]:
        cuda = [self.model.device] if self.model.device.type == "cuda" else []
        images = ImageList(torch.empty(len(sizes), 0), sizes)  # stock code asks for the sizes alone from here on
        with torch.no_grad(), evaluating(self.model), torch.random.fork_rng(devices=cuda), EventStorage():
            return self.losses_of(maps, images, labels)

    @abstractmethod
    def losses_of(self, maps: Maps, images: ImageList, labels: LabelSource) -> list[tuple[HeadLoss, Tensor | None]]:
        """The loss with these labels, or one for each labeling by detections with its weights. Called in evaluation mode."""

    @abstractmethod
    def losses(self, outputs: Outputs, *fixed: Any) -> dict[str, Tensor]:
        """Detectron2's losses of a batch by name, for these outputs of the last layers."""

    @abstractmethod
    def of_images(self, products: Outputs, *fixed: Any) -> Tensor:
        """[B] products with the slopes of the batch's loss, summed over each image's outputs; then, since a batch's loss is
        a weighted sum of its images' own ones, divided by the image's weight."""


@contextmanager
def inputs_by_layer(modules: Mapping[str, nn.Module]) -> Iterator[Outputs]:
    """What goes into each module, call by call, for as long as the context is open."""
    seen: Outputs = {name: [] for name in modules}
    handles = [
        module.register_forward_pre_hook(lambda _module, args, name=name: seen[name].append(args[0]))
        for name, module in modules.items()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
