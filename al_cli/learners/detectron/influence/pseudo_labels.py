"""Pseudo labels: a detector's own detections as if somebody had labeled them, once or once a class.

ISAL (Liu et al. 2021), eq. 3: the gradient to expect of an image is the mean over its K most likely classes, each weighted by
its posterior. It is written for one label an image. For boxes, which ISAL's detectors only meet with K = 1, it is read here
so: in pass k every detection takes the k-th of its classes, all with the same box; and the pass is weighted with the mean,
over the image's pseudo labels, of the probability of the classes that they take there. The first class of a detection is its
own, the others follow by their probability. K = 1 is section 3.3's pseudo label as it is used on detectors: weight 1.

A score and a probability are in the units that the detector's paper has; see `LastLayers.published`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from torch import Tensor

from al_cli.types import Signal


class Labeling(NamedTuple):
    """Labels of B images, and how much each image counts with them: [B], None for 1."""

    labels: list[Instances]
    weights: Tensor | None = None


@dataclass(frozen=True)
class PseudoLabels:
    """Detections from a score up, with each of their `classes` likeliest classes in turn. An image without any has no labels
    in the first pass, and does not count in the others."""

    threshold: float
    classes: int = 1

    def labelings(self, found: list[Instances], published: Callable[[Tensor], Tensor]) -> list[Labeling]:
        """[K] of the detections of B images, clipped to the image; boxes left empty are dropped. For more than one class
        they carry the field PROBS."""
        kept = [detector_postprocess(one, *one.image_size) for one in found]
        kept = [one[published(one.scores) >= self.threshold] for one in kept]
        if self.classes == 1:
            return [Labeling([_labeled(one, one.pred_classes) for one in kept])]
        ranks = [self._ranked(one) for one in kept]  # [M, K] classes of each detection, B times
        labelings = []
        for k in range(self.classes):
            weights = []
            for one, ranked in zip(kept, ranks, strict=True):
                chance = published(one.get(Signal.PROBS).gather(1, ranked[:, k : k + 1]))
                weights.append(chance.mean() if len(one) else chance.new_tensor(float(k == 0)))
            labels = [_labeled(one, ranked[:, k]) for one, ranked in zip(kept, ranks, strict=True)]
            labelings.append(Labeling(labels, torch.stack(weights)))
        return labelings

    def _ranked(self, found: Instances) -> Tensor:
        probs = found.get(Signal.PROBS)  # [M, C]
        own_first = probs.scatter(1, found.pred_classes[:, None], 2.0)  # above any probability
        return own_first.argsort(dim=1, descending=True, stable=True)[:, : self.classes]


def _labeled(found: Instances, classes: Tensor) -> Instances:
    return Instances(found.image_size, gt_boxes=Boxes(found.pred_boxes.tensor), gt_classes=classes)
