"""The last layers of Detectron2's detectors, and how their training losses follow from them (`head_loss`).

    layers = last_layers(model)              # GeneralizedRCNN (FPN or C4), RetinaNet, FCOS

The last layers are those of ISAL (Liu et al. 2021, section 4.2 and appendix E.2), weights and biases:
  Faster R-CNN  the RPN's objectness and box-delta convolutions, the box head's class and box layers;
  FCOS          the convolutions that give class scores, boxes and centerness;
  RetinaNet     their counterparts, class scores and boxes.
One pass through the backbone records what goes into them, and what stays fixed while they vary: anchors and proposals, which
of them were sampled, and what they were matched with. The losses are then Detectron2's own, on outputs that are computed
again. Random sampling starts from the same generator state for each image, so an image's loss does not depend on its batch;
dense detectors divide by their initial normaliser, as `Learner.loss` does.

Pseudo labels (`pseudo_labels`) are the model's own detections from a score up, found on the same pass. An image without any
has the loss of its background. Knows no dataset, no reference set and no Hessian: see `source` and `lissa`.
"""

from __future__ import annotations

from typing import Any

import torch
from detectron2.modeling import FCOS, GeneralizedRCNN, RetinaNet
from detectron2.modeling.meta_arch.retinanet import RetinaNetHead
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import ROIHeads
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from al_cli.errors import ModelError
from al_cli.learners.detectron.influence.head_loss import (
    HeadLoss,
    LabelSource,
    LastLayers,
    Maps,
    Outputs,
    inputs_by_layer,
)
from al_cli.learners.detectron.influence.pseudo_labels import Labeling
from al_cli.learners.detectron.signals.tap import SUPPORTED
from al_cli.learners.detectron.signals.views import dense_view, rcnn_view, view
from al_cli.learners.detectron.training.loss import NORMALIZER
from al_cli.types import Signal


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


class RCNNLayers(LastLayers):
    """Fixed: anchors, each image's sampled labels and boxes, its sampled proposals with theirs."""

    def __init__(self, model: Any):
        rpn_head, predictor = model.proposal_generator.rpn_head, model.roi_heads.box_predictor
        self.of_rpn = {"objectness": rpn_head.objectness_logits, "deltas": rpn_head.anchor_deltas}
        super().__init__(model, self.of_rpn | {"cls_score": predictor.cls_score, "bbox_pred": predictor.bbox_pred})

    def losses_of(self, maps: Maps, images: ImageList, labels: LabelSource) -> list[tuple[HeadLoss, Tensor | None]]:
        rpn = self.model.proposal_generator
        levels = [maps[name] for name in rpn.in_features]
        anchors = rpn.anchor_generator(levels)
        with inputs_by_layer(self.of_rpn) as inputs:
            dense = _rows(*rpn.rpn_head(levels))
        if isinstance(labels, list):
            labelings = [Labeling(labels)]
        else:
            proposals = rpn.predict_proposals(anchors, *dense, images.image_sizes)
            tapped = self.model if labels.classes == 1 else rcnn_view(self.model, frozenset({Signal.PROBS}))
            found, _ = tapped.roi_heads(images, maps, proposals, None)
            labelings = labels.labelings(found, self.published)
        proposals = _training(view(rpn)).predict_proposals(anchors, *dense, images.image_sizes)
        return [(self._loss_of(maps, images, inputs, anchors, proposals, one), weights) for one, weights in labelings]

    def _loss_of(
        self,
        maps: Maps,
        images: ImageList,
        inputs: Outputs,
        anchors: Any,
        proposals: list[Instances],
        labels: list[Instances],
    ) -> HeadLoss:
        rpn, heads = self.model.proposal_generator, self.model.roi_heads
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
        of_heads = {name: [predictor.vectors] for name in ("cls_score", "bbox_pred")}
        return HeadLoss(self, inputs | of_heads, (anchors, sampled, boxes, predictor.proposals))

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

    def published(self, scores: Tensor) -> Tensor:
        """FCOS (Tian et al. 2019, section 3.2): class score x centerness, of which Detectron2 takes the square root."""
        return scores.square() if isinstance(self.model, FCOS) else scores

    def losses_of(self, maps: Maps, images: ImageList, labels: LabelSource) -> list[tuple[HeadLoss, Tensor | None]]:
        model = self.model
        levels = [maps[name] for name in model.head_in_features]
        anchors = model.anchor_generator(levels)
        with inputs_by_layer(self.layers) as inputs:
            predictions = model.head(levels)
        if isinstance(labels, list):
            labelings = [Labeling(labels)]
        else:
            tapped = model if labels.classes == 1 else dense_view(model, frozenset({Signal.PROBS}))
            found = tapped.forward_inference(images, levels, predictions)
            labelings = labels.labelings(found, self.published)
        return [
            (HeadLoss(self, inputs, (anchors, *model.label_anchors(anchors, one))), weights)
            for one, weights in labelings
        ]

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
