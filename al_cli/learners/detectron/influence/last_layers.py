"""The training loss of images as a function of a detector's last layers, everything before them computed once.

    layers = last_layers(model)              # GeneralizedRCNN (FPN or C4), RetinaNet, FCOS
    loss = layers.record([one])              # from its labels; from its own detections with threshold=0.5
    loss(layers.theta())                     # what model([one]) would minimise
    layers.record(batch).derivatives(theta, direction)      # [B] how fast each image's own loss rises along direction

The last layers are those of ISAL (Liu et al. 2021, section 4.2 and appendix E.2), weights and biases:
  Faster R-CNN  the RPN's objectness and box-delta convolutions, the box head's class and box layers;
  FCOS          the convolutions that give class scores, boxes and centerness;
  RetinaNet     their counterparts, class scores and boxes.
One pass through the backbone records what goes into them, and what stays fixed while they vary: anchors and proposals, which
of them were sampled, and what they were matched with. The losses are then Detectron2's own, on outputs that are computed
again. Random sampling starts from the same generator state for each image, so an image's loss does not depend on its batch;
dense detectors divide by their initial normaliser, as `Learner.loss` does.

Pseudo labels are the model's own detections from a score up, found on the same backbone pass. An image without any has the
loss of its background. Knows no dataset, no reference set and no Hessian: see `source` and `lissa`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.modeling import FCOS, GeneralizedRCNN, RetinaNet
from detectron2.modeling.meta_arch.retinanet import RetinaNetHead
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import ROIHeads
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import EventStorage
from torch import Tensor, nn
from torch.func import functional_call

from al_cli.errors import ModelError
from al_cli.learners.detectron.signals.tap import SUPPORTED, evaluating
from al_cli.learners.detectron.signals.views import view
from al_cli.learners.detectron.training.data import Batch
from al_cli.learners.detectron.training.loss import NORMALIZER

Outputs = dict[str, list[Tensor]]  # by layer, one tensor a level
Maps = Mapping[str, Tensor]
Sizes = list[tuple[int, int]]
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

    def record(self, batch: Batch, *, threshold: float | None = None) -> HeadLoss:
        """The loss of a batch, all of one size; labeled by the batch, or by detections from `threshold` up."""
        if threshold is not None:
            return self.record_maps(*self.maps(batch), threshold)
        return self._record(*self.maps(batch), [one["instances"].to(self.model.device) for one in batch])

    def maps(self, batch: Batch) -> tuple[Maps, Sizes]:
        """One pass through the backbone: its maps [B, C, H, W] by name, and (height, width) of each image."""
        with torch.no_grad(), evaluating(self.model):
            images = self.model.preprocess_image(batch)
            return self.model.backbone(images.tensor), images.image_sizes

    def record_maps(self, maps: Maps, sizes: Sizes, threshold: float) -> HeadLoss:
        """`record` with a threshold, of images that have been through the backbone."""
        return self._record(maps, sizes, threshold)

    def _record(self, maps: Maps, sizes: Sizes, labels: list[Instances] | float) -> HeadLoss:
        cuda = [self.model.device] if self.model.device.type == "cuda" else []
        images = ImageList(torch.empty(len(sizes), 0), sizes)  # stock code asks for the sizes alone from here on
        with torch.no_grad(), evaluating(self.model), torch.random.fork_rng(devices=cuda), EventStorage():
            return self.loss_of(maps, images, labels)

    @abstractmethod
    def loss_of(self, maps: Maps, images: ImageList, labels: list[Instances] | float) -> HeadLoss:
        """From labels, or from detections of at least that score. Called in evaluation mode."""

    @abstractmethod
    def losses(self, outputs: Outputs, *fixed: Any) -> dict[str, Tensor]:
        """Detectron2's losses of a batch by name, for these outputs of the last layers."""

    @abstractmethod
    def of_images(self, products: Outputs, *fixed: Any) -> Tensor:
        """[B] products with the slopes of the batch's loss, summed over each image's outputs; then, since a batch's loss is
        a weighted sum of its images' own ones, divided by the image's weight."""


def last_layers(model: nn.Module) -> LastLayers:
    """The last layers of this model. ModelError, naming the supported ones, for an architecture that none fits."""
    if isinstance(model, GeneralizedRCNN) and isinstance(model.proposal_generator, RPN):
        if isinstance(getattr(model.roi_heads, "box_predictor", None), FastRCNNOutputLayers):
            return RCNNLayers(model)
    elif isinstance(model, RetinaNet | FCOS) and isinstance(model.head, RetinaNetHead):
        return DenseLayers(model)
    raise ModelError(
        "influence cannot be measured on this architecture",
        where=type(model).__name__,
        remedy=f"supported: {SUPPORTED}",
    )


def pseudo_labels(found: Instances, threshold: float) -> Instances:
    """Detections of at least that score as if they were labels, clipped to the image; boxes left empty are dropped."""
    found = detector_postprocess(found, *found.image_size)
    found = found[found.scores >= threshold]
    return Instances(found.image_size, gt_boxes=Boxes(found.pred_boxes.tensor), gt_classes=found.pred_classes)


class RCNNLayers(LastLayers):
    """Fixed: anchors, each image's sampled labels and boxes, its sampled proposals with theirs."""

    def __init__(self, model: Any):
        rpn_head, predictor = model.proposal_generator.rpn_head, model.roi_heads.box_predictor
        self.of_rpn = {"objectness": rpn_head.objectness_logits, "deltas": rpn_head.anchor_deltas}
        super().__init__(model, self.of_rpn | {"cls_score": predictor.cls_score, "bbox_pred": predictor.bbox_pred})

    def loss_of(self, maps: Maps, images: ImageList, labels: list[Instances] | float) -> HeadLoss:
        rpn, heads = self.model.proposal_generator, self.model.roi_heads
        levels = [maps[name] for name in rpn.in_features]
        anchors = rpn.anchor_generator(levels)
        with inputs_by_layer(self.of_rpn) as inputs:
            dense = _rows(*rpn.rpn_head(levels))
        if not isinstance(labels, list):
            proposals = rpn.predict_proposals(anchors, *dense, images.image_sizes)
            found, _ = heads(images, maps, proposals, None)
            labels = [pseudo_labels(one, labels) for one in found]
        proposals = _training(view(rpn)).predict_proposals(anchors, *dense, images.image_sizes)
        sampled: list[Tensor] = []
        boxes: list[Tensor] = []
        regions: list[Instances] = []
        for target, proposed in zip(labels, proposals, strict=True):
            torch.manual_seed(0)
            of_anchors = rpn.label_and_sample_anchors(anchors, [target])
            sampled, boxes = sampled + of_anchors[0], boxes + of_anchors[1]
            regions += heads.label_and_sample_proposals([proposed], [target])
        predictor = view(heads.box_predictor, RecordingPredictor)
        sampled_heads = _training(view(heads, SampledHeads, box_predictor=predictor))
        sampled_heads.regions = regions
        sampled_heads(images, dict(maps), proposals, labels)
        inputs["cls_score"] = inputs["bbox_pred"] = [predictor.vectors]
        return HeadLoss(self, inputs, (anchors, sampled, boxes, predictor.proposals))

    def losses(
        self, outputs: Outputs, anchors: Any, labels: Any, boxes: Any, proposals: list[Instances]
    ) -> dict[str, Tensor]:
        logits, deltas = _rows(outputs["objectness"], outputs["deltas"])
        predictions = (outputs["cls_score"][0], outputs["bbox_pred"][0])
        return {
            **self.model.proposal_generator.losses(anchors, logits, labels, deltas, boxes),
            **self.model.roi_heads.box_predictor.losses(predictions, proposals),
        }

    def of_images(self, products: Outputs, anchors: Any, labels: Any, boxes: Any, proposals: list[Instances]) -> Tensor:
        """The RPN's loss is the mean over images, the box head's the mean over the proposals of all of them."""
        of_rpn = sum(x.flatten(1).sum(1) for name in self.of_rpn for x in products[name])  # [B]
        counts = [len(one) for one in proposals]
        rows = products["cls_score"][0].sum(1) + products["bbox_pred"][0].sum(1)  # [R]
        of_heads = torch.stack([part.sum() / max(len(part), 1) for part in rows.split(counts)])
        return len(labels) * of_rpn + len(rows) * of_heads


class SampledHeads(ROIHeads):
    """Has its proposals sampled already."""

    regions: list[Instances]

    def label_and_sample_proposals(self, proposals: Any, targets: Any) -> list[Instances]:
        return self.regions


class RecordingPredictor(FastRCNNOutputLayers):
    """Remembers what it is asked in training, and has no loss itself."""

    def forward(self, x: Tensor) -> Any:
        self.vectors = torch.flatten(x, start_dim=1)
        return super().forward(x)

    def losses(self, predictions: Any, proposals: list[Instances]) -> dict[str, Tensor]:
        self.proposals = [one[:] for one in proposals]  # stock code may put other boxes into them later
        return {}


class DenseLayers(LastLayers):
    """RetinaNet and FCOS. Fixed: anchors, each image's labels and matched boxes of all of them."""

    def __init__(self, model: Any):
        names = [name for name in ("cls_score", "bbox_pred", "ctrness") if hasattr(model.head, name)]
        super().__init__(model, {name: getattr(model.head, name) for name in names})

    def loss_of(self, maps: Maps, images: ImageList, labels: list[Instances] | float) -> HeadLoss:
        model = self.model
        levels = [maps[name] for name in model.head_in_features]
        anchors = model.anchor_generator(levels)
        with inputs_by_layer(self.layers) as inputs:
            predictions = model.head(levels)
        if not isinstance(labels, list):
            labels = [pseudo_labels(one, labels) for one in model.forward_inference(images, levels, predictions)]
        return HeadLoss(self, inputs, (anchors, *model.label_anchors(anchors, labels)))

    def losses(self, outputs: Outputs, anchors: Any, labels: list[Tensor], boxes: list[Tensor]) -> dict[str, Tensor]:
        model = view(self.model)  # the running normaliser is written to the view
        model.__dict__.pop(NORMALIZER, None)
        dims = {"cls_score": model.num_classes, "bbox_pred": 4, "ctrness": 1}
        logits, deltas, *centerness = model._transpose_dense_predictions(
            list(outputs.values()), [dims[name] for name in outputs]
        )
        return model.losses(anchors, logits, labels, deltas, boxes, *centerness)

    def of_images(self, products: Outputs, anchors: Any, labels: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """The loss is a sum over anchors, divided by 0.9 initial + 0.1 positives: the batch's positives, or the image's."""
        positives = torch.stack([((one >= 0) & (one != self.model.num_classes)).sum() for one in labels])
        initial = 300 if isinstance(self.model, FCOS) else 100
        own = 0.9 * initial + 0.1 * positives.clamp(min=1)
        batch = 0.9 * initial + 0.1 * positives.sum().clamp(min=1)
        return sum(x.flatten(1).sum(1) for levels in products.values() for x in levels) * batch / own


def _rows(logits: list[Tensor], deltas: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The RPN head's maps [B, A, H, W] and [B, 4A, H, W] as rows of anchors [B, HWA] and [B, HWA, 4], as in RPN.forward."""
    return (
        [x.permute(0, 2, 3, 1).flatten(1) for x in logits],
        [x.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, -2) for x in deltas],
    )


def _training(module: Any) -> Any:
    """A view in training mode, its children as they are."""
    module.training = True
    return module


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
