"""How hard each class is for the detector, followed while it trains: what DCUS weighs uncertainty with.

Yang, Huang and Crowley 2022 (PPAL), section 3.1. A positive match is a proposal or anchor that the training forward
assigned to an object. With p the predicted probability of the object's class and IoU that of the decoded box and the
object, its difficulty is q = 1 - p^xi * IoU^(1 - xi). In training batch k, for a class with matches

    d <- m d + (1 - m) mean(q)        m <- 0.99
and for a class without
    d <- d                            m <- 0.99 m

so that a class that comes back after a long absence catches up at once. It starts at d = 1, m = 0.99.
The released program differs: there d of an absent class drifts back to 1 with every batch that lacks it.

Nothing is computed twice and the model is not touched: training runs through a view of it whose `losses` also reports
what it was given. Weights, random numbers and the running loss normaliser stay as they are without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from detectron2.engine import HookBase
from detectron2.modeling import FCOS, GeneralizedRCNN, RetinaNet
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.structures import Boxes, Instances
from detectron2.structures.boxes import matched_pairwise_iou
from torch import Tensor, nn

from al_cli.errors import ModelError
from al_cli.learners.detectron.signals.views import view
from al_cli.learners.pytorch.difficulty import DifficultyAverage

Watch = Callable[[Tensor, Tensor, Tensor], None]  # classes [P], probabilities [P], IoUs [P] of a batch's matches


class ClassDifficulty(DifficultyAverage, HookBase):
    """A hook of Detectron2's trainer that tells the average of each training forward's matches."""

    def before_train(self) -> None:
        trainer: Any = self.trainer
        self._model, trainer.model = trainer.model, watched(trainer.model, self._report)

    def after_train(self) -> None:
        trainer: Any = self.trainer
        trainer.model = self._model

    def _report(self, classes: Tensor, p: Tensor, iou: Tensor) -> None:
        rows = torch.stack([classes.double(), p.double(), iou.double()]).cpu().numpy()  # the one transfer of a step
        self.update(rows[0].astype(np.int64), rows[1], rows[2])


def watched(model: Any, report: Watch) -> nn.Module:
    """`model` under another class: same parameters, buffers, modes, state and losses; each training forward also reports.

    ModelError for an architecture whose matches cannot be seen.
    """
    if isinstance(model, RetinaNet | FCOS):
        lens = view(model, _watched_dense(report))
        lens.__dict__ = model.__dict__  # shared, not copied: both count positives in their `loss_normalizer`
        return lens
    predictor = getattr(getattr(model, "roi_heads", None), "box_predictor", None)
    if isinstance(model, GeneralizedRCNN) and isinstance(predictor, FastRCNNOutputLayers):
        predictor = view(predictor, _watched_predictor(report))
        return view(model, roi_heads=view(model.roi_heads, box_predictor=predictor))
    raise ModelError(
        "the difficulty of classes cannot be followed in this architecture",
        where=type(model).__name__,
        remedy="supported: GeneralizedRCNN (StandardROIHeads or Res5ROIHeads), RetinaNet, FCOS",
    )


def _watched_predictor(report: Watch) -> type:
    class WatchedPredictor(FastRCNNOutputLayers):
        def losses(self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]) -> dict[str, Tensor]:
            with torch.no_grad():
                report(*_proposal_matches(self, predictions, proposals))
            return super().losses(predictions, proposals)

    return WatchedPredictor


def _proposal_matches(
    predictor: FastRCNNOutputLayers, predictions: tuple[Tensor, Tensor], proposals: list[Instances]
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the sampled proposals those that stand for an object, with the box of its class where boxes differ by class."""
    logits, deltas = predictions  # [R, C + 1], [R, 4 or 4 C]
    labels = torch.cat([p.gt_classes for p in proposals])
    rows = ((labels >= 0) & (labels < predictor.num_classes)).nonzero()[:, 0]
    classes, logits, deltas = labels[rows], logits[rows].float(), deltas.unflatten(1, (-1, 4))[rows]
    probs = logits.sigmoid() if predictor.use_sigmoid_ce else logits.softmax(dim=1)
    own = deltas[torch.arange(len(rows)), classes] if deltas.shape[1] > 1 else deltas[:, 0]
    starts = Boxes.cat([p.proposal_boxes for p in proposals])[rows]
    # An image without objects has no gt_boxes; whatever stands in their place, no row asks for it.
    objects = Boxes.cat([p.gt_boxes if p.has("gt_boxes") else p.proposal_boxes for p in proposals])[rows]
    boxes = Boxes(predictor.box2box_transform.apply_deltas(own, starts.tensor))
    return classes, probs.gather(1, classes[:, None])[:, 0], matched_pairwise_iou(boxes, objects)


def _watched_dense(report: Watch) -> type:
    class WatchedDense:
        def losses(
            self: Any, anchors: Any, logits: list[Tensor], labels: Any, deltas: list[Tensor], boxes: Any, *more: Any
        ) -> dict[str, Tensor]:
            with torch.no_grad():
                report(*_anchor_matches(self, anchors, logits, labels, deltas, boxes))
            return super().losses(anchors, logits, labels, deltas, boxes, *more)  # type: ignore[misc]

    return WatchedDense


def _anchor_matches(
    model: Any,
    anchors: list[Boxes],
    logits: list[Tensor],
    labels: list[Tensor],
    deltas: list[Tensor],
    boxes: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Anchors assigned to an object. `logits` [N, Rl, C] and `deltas` [N, Rl, 4] a level, the rest [R] an image."""
    label = torch.stack(labels)  # [N, R], background is C, ignored -1
    image, anchor = ((label >= 0) & (label < model.num_classes)).nonzero(as_tuple=True)
    classes = label[image, anchor]
    p = torch.cat(logits, dim=1)[image, anchor, classes].float().sigmoid()  # FCOS: without centerness
    decoded = model.box2box_transform.apply_deltas(
        torch.cat(deltas, dim=1)[image, anchor], Boxes.cat(anchors).tensor[anchor]
    )
    return classes, p, matched_pairwise_iou(Boxes(decoded), Boxes(torch.stack(boxes)[image, anchor]))
