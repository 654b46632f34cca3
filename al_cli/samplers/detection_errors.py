"""Where a detector erred on labeled images: hits, false alarms and misses, counted image by image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.aggregate import counted
from al_cli.types import Dataset, Image, Predictions

IOU = 0.5  # a detection of the right class that overlaps an object this much has found it (PASCAL VOC, AP50)


def error_share(table: Predictions, truth: Dataset, score_threshold: float) -> NDArray[np.float64]:
    """[N] (false alarms + misses) / (hits + false alarms + misses) of each image; 0 where there is nothing to count.

    Detections below `score_threshold` do not count. Best score first, each takes the object of its class that it overlaps
    most, at an IoU of at least 0.5, of those not found yet. Detections that lie at least half in a crowd region of their
    class are no errors, nor are crowds missed (COCO's rule). Where an image has one class, this is 0 if it was predicted
    correctly and 1 if not, however low its score. `truth` must have every image of the table (KeyError).
    """
    shares = np.zeros(len(table))
    used = counted(table, score_threshold)
    for i, image_id in enumerate(table.image_ids):
        rows = np.arange(len(table.scores))[table.rows(i)]
        rows = rows[used[rows]]
        hits, false_alarms, misses = _count(table.boxes[rows], table.classes[rows], truth[int(image_id)])
        shares[i] = (false_alarms + misses) / max(1, hits + false_alarms + misses)
    return shares


def _count(boxes: NDArray[np.float32], classes: NDArray[np.int64], image: Image) -> tuple[int, int, int]:
    """Hits, false alarms, misses. `boxes` [K, 4] are best first."""
    area = _area(boxes)
    shared = np.clip(
        np.minimum(boxes[:, None, 2:], image.boxes[:, 2:]) - np.maximum(boxes[:, None, :2], image.boxes[:, :2]), 0, None
    ).prod(2)  # [K, objects]
    iou = shared / (area[:, None] + _area(image.boxes) - shared)
    iou[(classes[:, None] != image.classes) | image.crowd] = 0
    in_crowd = (shared >= 0.5 * area[:, None]) & (classes[:, None] == image.classes) & image.crowd
    hits = false_alarms = 0
    for k in range(len(boxes)):
        if iou[k].max(initial=0) >= IOU:
            hits += 1
            iou[:, iou[k].argmax()] = 0  # found: no later detection finds it again
        elif not in_crowd[k].any():
            false_alarms += 1
    return hits, false_alarms, int((~image.crowd).sum()) - hits


def _area(boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)
