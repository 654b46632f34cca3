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
IMAGE_FEATURES [D]: the mean of every map the backbone returns, finest first, concatenated: res4 for C4, P2..P6 or
P3..P7 with FPN. All levels, because small and large objects live in different ones and the coarsest is a single cell on
a small image. Padding that other images of the batch caused is not averaged in.
An image without detections gives PROBS [0, C] and BOX_FEATURES [0, D]; IMAGE_FEATURES as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.modeling import FCOS, GeneralizedRCNN, RetinaNet
from detectron2.modeling.meta_arch.retinanet import RetinaNetHead
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.structures import Instances
from torch import Tensor, nn

from al_cli.errors import ModelError
from al_cli.learners.views import dense_view, outputs_of, rcnn_view
from al_cli.types import ProbKind, Signal

_OF_BOXES = frozenset({Signal.PROBS, Signal.BOX_FEATURES})
SUPPORTED = "GeneralizedRCNN (StandardROIHeads or Res5ROIHeads), RetinaNet, FCOS"


@dataclass(frozen=True, eq=False)
class Detections:
    """One image: the model's own `instances`, in pixels of the original image, and one tensor per signal asked for."""

    instances: Instances
    columns: dict[Signal, Tensor]


@dataclass(frozen=True, eq=False)
class Tap:
    """Reads a model; holds no weights of its own, so it stays valid while the model is trained or loaded anew."""

    model: nn.Module
    prob_kind: ProbKind
    view: Callable[[nn.Module, frozenset[Signal]], Any]
    provides: frozenset[Signal] = _OF_BOXES | {Signal.IMAGE_FEATURES}

    def __call__(
        self, batched_inputs: list[dict[str, Any]], signals: frozenset[Signal] = frozenset()
    ) -> list[Detections]:
        """Detectron2's standard inputs to detections, in the same order: evaluation mode, no gradients, one pass.

        The model is left as it was found, each module in the mode it had. ValueError for a signal not provided.
        """
        if missing := sorted(signals - self.provides):
            raise ValueError(
                f"{type(self.model).__name__} gives no {', '.join(missing)}; it has {sorted(self.provides)}"
            )
        backbone: Any = self.model.backbone
        with torch.no_grad(), evaluating(self.model), outputs_of(backbone) as maps:
            outputs = self.view(self.model, signals)(batched_inputs)
        detections = [_detach_columns(output["instances"], signals) for output in outputs]
        if Signal.IMAGE_FEATURES in signals:
            strides = {name: shape.stride for name, shape in backbone.output_shape().items()}
            for i, (one, image) in enumerate(zip(detections, batched_inputs, strict=True)):
                height, width = image["image"].shape[-2:]
                one.columns[Signal.IMAGE_FEATURES] = _image_feature(maps[0], i, strides, height, width)
        return detections


def tap(model: nn.Module) -> Tap:
    """The tap that fits this model. ModelError, naming the supported ones, for an architecture that none fits."""
    if isinstance(model, GeneralizedRCNN):
        predictor: Any = getattr(model.roi_heads, "box_predictor", None)
        if _is_stock_predictor(predictor):
            return Tap(model, "sigmoid" if predictor.use_sigmoid_ce else "softmax", rcnn_view)
        where = f"{type(model).__name__} with {type(model.roi_heads).__name__}"
    elif isinstance(model, RetinaNet | FCOS) and isinstance(model.head, RetinaNetHead):
        return Tap(model, "sigmoid", dense_view)
    else:
        where = type(model).__name__
    raise ModelError(
        "probabilities and features cannot be read from this architecture",
        where=where,
        remedy=f"supported: {SUPPORTED}",
    )


def _is_stock_predictor(predictor: Any) -> bool:
    """One Fast R-CNN predictor that chooses boxes itself: not a cascade's list of three, not rotated boxes."""
    return isinstance(predictor, FastRCNNOutputLayers) and type(predictor).inference is FastRCNNOutputLayers.inference


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; each module's own mode restored after, so that a frozen part stays frozen."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _detach_columns(instances: Instances, signals: frozenset[Signal]) -> Detections:
    """Takes the view's extra fields off again, and checks that they belong to the rows they came with."""
    columns: dict[Signal, Tensor] = {}
    for signal in sorted(_OF_BOXES & signals):
        if not instances.has(signal):
            raise _unexpected(f"boxes came without {signal}")
        columns[signal] = instances.get(signal)
        instances.remove(signal)
    if Signal.PROBS in columns:
        of_class = columns[Signal.PROBS].gather(1, instances.pred_classes[:, None])[:, 0]
        if not torch.equal(of_class, instances.scores):
            wrong = int((of_class != instances.scores).sum())
            raise _unexpected(f"{wrong} of {len(instances)} scores are not the probability of their class")
    return Detections(instances, columns)


def _unexpected(what: str) -> ModelError:
    return ModelError(
        "the model chooses its boxes in a way that taps do not know",
        where=what,
        remedy="use stock heads, and the release of Detectron2 that `make setup` installs",
    )


def _image_feature(
    maps: Mapping[str, Tensor], index: int, strides: Mapping[str, int], height: int, width: int
) -> Tensor:
    """[D] the mean of each map over the cells that the image covers (one covered in part counts), finest first."""
    finest_first = sorted(maps, key=lambda name: strides[name])
    cells = [maps[name][index, :, : -(-height // strides[name]), : -(-width // strides[name])] for name in finest_first]
    return torch.cat([cell.mean(dim=(1, 2)) for cell in cells])
