"""Taps: boxes, class probabilities and features out of one inference pass of an unpatched Detectron2 model.

    read = tap(model)                                         # GeneralizedRCNN (FPN or C4), RetinaNet, FCOS
    for one in read(batched_inputs, frozenset({Signal.PROBS})):
        one.instances                                         # bit for bit what model(batched_inputs) gives
        one.columns[Signal.PROBS]                             # [M, C], row for row with it

PROBS [M, C] are the numbers the model ranks and thresholds, so `PROBS[row, classes[row]] == scores[row]` to the bit:
  R-CNN      softmax over C classes and background, background left out (a row sums to less than 1);
             with Detectron2's USE_SIGMOID_CE, each class's own sigmoid;
  RetinaNet  sigmoid of each class at the kept box's anchor (Lin et al. 2017);
  FCOS       sqrt(sigmoid(class) * sigmoid(centerness)) at its location: Detectron2's score (Zhu et al. 2020, eq. 4).
BOX_FEATURES [M, D] are what the class scores were computed from:
  R-CNN      the vector the box predictor classified: box-head output (FPN) or pooled res5 feature (C4, 2048 for R50);
  dense      the classification tower's last feature at the kept box's level and location.
LAYER_ACTIVATIONS [M, 1, 2]: mean and largest of a box's BOX_FEATURES, which are after their ReLU (FSDL 4.4, one layer).
CENTER_FEATURES [M, D], dense only: that tower's map on the box's level, bilinearly at the box's center. It is what PPAL's
released program compares boxes by (Yang et al. 2022), where it scales centers by the size of the image and fades to 0 at
its border; here they are placed by the level's stride, and the border's cells go on.
IMAGE_FEATURES [D]: the mean of every map the backbone returns, finest first, concatenated: res4 for C4, P2..P6 or
P3..P7 with FPN. All levels, because small and large objects live in different ones and the coarsest is a single cell on
a small image. Padding that other images of the batch caused is not averaged in.
TOWER_FEATURES [D], dense only: the mean of the classification tower's maps, then that of the box tower's (ISAL: Liu et al.
2021, appendix D.2, "global average pooling on the feature after the regression branch and the classification branch"). The
paper does not say how levels are joined: here they are averaged too.
PROPOSAL_IOU [M], R-CNN only: IoU of each box with the proposal it was refined from, both inside the image (Kao et al. 2018).
DROPOUT [T, M, C]: PROBS of the same boxes, T times with dropout active in the class head (`dropout.py`).
JITTER [M, 6]: how far each box moves under noise (`jitter.py`); the one signal that takes more passes of the backbone.
An image without detections gives PROBS [0, C], BOX_FEATURES [0, D] and so on; IMAGE_FEATURES as ever.
DROPOUT and JITTER draw random numbers for the image's id: their inputs need Detectron2's `image_id`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from detectron2.modeling import FCOS, GeneralizedRCNN, RetinaNet
from detectron2.modeling.meta_arch.retinanet import RetinaNetHead
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.structures import Instances
from torch import Tensor, nn

from al_cli.errors import ModelError
from al_cli.learners.detectron.signals.dropout import dropout_probs, stochastic_part
from al_cli.learners.detectron.signals.jitter import jitter
from al_cli.learners.detectron.signals.views import (
    ANCHOR,
    CENTERNESS,
    LEVEL,
    PROPOSAL,
    covered,
    dense_view,
    inputs_of,
    outputs_of,
    rcnn_view,
)
from al_cli.learners.pytorch.modes import evaluating
from al_cli.rng import seed_for
from al_cli.types import ProbKind, Signal

# What views leave with each box
_FIELDS = frozenset({Signal.PROBS, Signal.BOX_FEATURES, Signal.CENTER_FEATURES, Signal.PROPOSAL_IOU})
# Reads a signal of images off what the backbone returned: maps [B, C, H, W] by name, and (height, width) of each image ->
# one tensor an image, or one for all. Padding makes the maps larger than the images.
MapReader = Callable[[Mapping[str, Tensor], list[tuple[int, int]]], Sequence[Tensor] | Tensor]
SUPPORTED = "GeneralizedRCNN (StandardROIHeads or Res5ROIHeads), RetinaNet, FCOS"


@dataclass(frozen=True, eq=False)
class Detections:
    """One image: the model's own `instances`, in pixels of the original image, and one tensor per signal asked for."""

    instances: Instances
    columns: dict[Signal, Tensor]


@dataclass(frozen=True, eq=False)
class Tap:
    """Reads a model; holds no weights of its own, so it stays valid while the model is trained or loaded again."""

    model: nn.Module
    prob_kind: ProbKind
    view: Callable[[nn.Module, frozenset[Signal]], Any]
    provides: frozenset[Signal]
    readers: Mapping[Signal, MapReader]
    passes: int  # T of DROPOUT

    def __call__(
        self, batched_inputs: list[dict[str, Any]], signals: frozenset[Signal] = frozenset(), *, seed: int = 0
    ) -> list[Detections]:
        """Detectron2's standard inputs to detections, in the same order: evaluation mode, no gradients, one pass.

        The model is left as it was found, each module in the mode it had. `seed` is DROPOUT's. ValueError for a signal
        not provided.
        """
        if missing := sorted(signals - self.provides):
            raise ValueError(
                f"{type(self.model).__name__} gives no {', '.join(missing)}; it has {sorted(self.provides)}"
            )
        with torch.no_grad(), evaluating(self.model):
            detections = self._one_pass(batched_inputs, signals, seed)
            if Signal.JITTER in signals:
                columns = jitter(self.model, batched_inputs, [one.instances.pred_boxes for one in detections])
                for one, column in zip(detections, columns, strict=True):
                    one.columns[Signal.JITTER] = column
        return detections

    def _one_pass(
        self, batched_inputs: list[dict[str, Any]], signals: frozenset[Signal], seed: int
    ) -> list[Detections]:
        backbone: Any = self.model.backbone
        dropping, by_layer = Signal.DROPOUT in signals, Signal.LAYER_ACTIVATIONS in signals
        head: Any = inputs_of(stochastic_part(self.model)[0]) if dropping else nullcontext([])
        with outputs_of(backbone) as maps, head as inputs:
            tapped = self.view(self.model, signals | ({Signal.BOX_FEATURES} if by_layer else frozenset()))
            outputs = tapped(batched_inputs)
        detections = []
        for i, (image, output) in enumerate(zip(batched_inputs, outputs, strict=True)):
            instances, columns = output["instances"], {}
            if dropping:
                own = seed_for(seed, 0, f"dropout/{image['image_id']}")
                columns[Signal.DROPOUT] = dropout_probs(self.model, inputs, i, instances, self.passes, own)
            if by_layer:
                columns[Signal.LAYER_ACTIVATIONS] = mean_and_largest(instances.get(Signal.BOX_FEATURES))
            detections.append(_detach_columns(instances, signals, columns))
        sizes = [tuple(image["image"].shape[-2:]) for image in batched_inputs]
        if Signal.TOWER_FEATURES in signals:
            for one, value in zip(detections, tapped.tower_features(sizes), strict=True):
                one.columns[Signal.TOWER_FEATURES] = value
        for signal in sorted(signals & self.readers.keys()):
            for one, value in zip(detections, self.readers[signal](maps[0], sizes), strict=True):
                one.columns[signal] = value
        return detections


def tap(model: nn.Module, *, passes: int = 10, readers: Mapping[Signal, MapReader] | None = None) -> Tap:
    """The tap that fits this model; `readers` answer further signals from the backbone's maps, in the same pass.

    ModelError, naming the supported ones, for an architecture that none fits.
    """
    given = {Signal.PROBS, Signal.BOX_FEATURES, Signal.LAYER_ACTIVATIONS, Signal.JITTER}
    if isinstance(model, GeneralizedRCNN):
        predictor: Any = getattr(model.roi_heads, "box_predictor", None)
        if not _is_stock_predictor(predictor):
            raise _unsupported(f"{type(model).__name__} with {type(model.roi_heads).__name__}")
        kind: ProbKind = "sigmoid" if predictor.use_sigmoid_ce else "softmax"
        view, given = rcnn_view, given | {Signal.PROPOSAL_IOU}
    elif isinstance(model, RetinaNet | FCOS) and isinstance(model.head, RetinaNetHead):
        kind, view, given = "sigmoid", dense_view, given | {Signal.CENTER_FEATURES, Signal.TOWER_FEATURES}
    else:
        raise _unsupported(type(model).__name__)
    if stochastic_part(model):
        given.add(Signal.DROPOUT)
    backbone: Any = model.backbone
    strides = {name: shape.stride for name, shape in backbone.output_shape().items()}
    of_maps: dict[Signal, MapReader] = {Signal.IMAGE_FEATURES: partial(image_features, strides), **(readers or {})}
    return Tap(model, kind, view, frozenset(given | of_maps.keys()), of_maps, passes)


def _unsupported(where: str) -> ModelError:
    return ModelError(
        "probabilities and features cannot be read from this architecture",
        where=where,
        remedy=f"supported: {SUPPORTED}",
    )


def _is_stock_predictor(predictor: Any) -> bool:
    """One Fast R-CNN predictor that chooses boxes itself: not a cascade's list of three, not rotated boxes."""
    return isinstance(predictor, FastRCNNOutputLayers) and type(predictor).inference is FastRCNNOutputLayers.inference


def _detach_columns(instances: Instances, signals: frozenset[Signal], columns: dict[Signal, Tensor]) -> Detections:
    """Takes the view's extra fields off again into `columns`, and checks that they belong to the rows they came with."""
    for signal in sorted(_FIELDS & signals):
        if not instances.has(signal):
            raise _unexpected(f"boxes came without {signal}")
        columns[signal] = instances.get(signal)
    for field in (*_FIELDS, LEVEL, ANCHOR, CENTERNESS, PROPOSAL):
        if instances.has(field):
            instances.remove(field)
    if Signal.PROBS in columns:
        of_class = columns[Signal.PROBS].gather(1, instances.pred_classes[:, None])[:, 0]
        if not torch.equal(of_class, instances.scores):
            wrong = int((of_class != instances.scores).sum())
            raise _unexpected(f"{wrong} of {len(instances)} scores are not the probability of their class")
    return Detections(instances, columns)


def _unexpected(what: str) -> ModelError:
    return ModelError(
        "the model chooses its boxes in a way that taps cannot follow",
        where=what,
        remedy="use stock heads, and the release of Detectron2 that `make setup` installs",
    )


def mean_and_largest(features: Tensor) -> Tensor:
    """[M, 1, 2] of the vectors [M, D] of one layer. No boxes: [0, 1, 2]."""
    exact = features.double()  # so that the mean does not depend on how many boxes there are
    return torch.stack([exact.mean(1), exact.amax(1)], dim=1)[:, None].float()


def image_features(
    strides: Mapping[str, int], maps: Mapping[str, Tensor], sizes: list[tuple[int, int]]
) -> list[Tensor]:
    """Per image [D]: the mean of each map over the cells that the image covers (one covered in part counts), finest first."""
    finest_first = sorted(maps, key=lambda name: strides[name])
    features = []
    for i, size in enumerate(sizes):
        cells = [covered(maps[name][i], size, strides[name]) for name in finest_first]
        features.append(torch.cat([cell.mean(dim=(1, 2)) for cell in cells]))
    return features
