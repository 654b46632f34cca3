"""From what a tap found in each image to one Predictions table. Knows no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from al_cli.learners.detectron.signals.tap import Detections
from al_cli.types import CLASS_PROBABILITIES, ROW_AXIS, Dataset, Predictions, ProbKind, Signal


class DetectionArrays:
    """One image's detections as arrays, best first, without scores of 0 (which `Predictions` does not hold)."""

    def __init__(self, found: Detections):
        instances = found.instances
        scores = as_array(instances.scores)
        rows = np.argsort(-scores, kind="stable")
        rows = rows[scores[rows] > 0]
        self.scores = scores[rows]
        self.boxes = as_array(instances.pred_boxes.tensor)[rows]
        self.classes = as_array(instances.pred_classes)[rows]
        self.columns: dict[Signal, NDArray[Any]] = {}
        for signal, tensor in found.columns.items():
            column = as_array(tensor)
            self.columns[signal] = np.take(column, rows, ROW_AXIS[signal]) if signal in ROW_AXIS else column


def as_array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().numpy()


def join(columns: list[NDArray[Any]], signal: Signal, classes: int) -> NDArray[Any]:
    """One array of all images: their boxes one after the other, or a row an image. Empty for no images, where the
    probabilities of `classes` keep their width, and activations that of their one layer."""
    if not columns and signal is Signal.LAYER_ACTIVATIONS:
        return np.zeros((0, 1, 2), np.float32)
    if not columns:
        axes = CLASS_PROBABILITIES.get(signal)
        return np.zeros((0, 0) if axes is None else (*(0,) * (axes - 1), classes), np.float32)
    return np.concatenate(columns, ROW_AXIS[signal]) if signal in ROW_AXIS else np.stack(columns)


def predictions(
    image_ids: NDArray[np.int64],
    found: Sequence[DetectionArrays],
    signals: frozenset[Signal],
    others: Mapping[Signal, NDArray[Any]],
    num_classes: int,
    prob_kind: ProbKind,
) -> Predictions:
    """One table of N images, in their order: what was found in each, with its columns `signals`, and the columns `others`."""
    columns = {s: join([one.columns[s] for one in found], s, num_classes) for s in sorted(signals)}
    none = np.zeros(0)
    return Predictions(
        image_ids,
        np.cumsum([0, *(len(one.scores) for one in found)]),
        np.concatenate([none.reshape(0, 4), *(one.boxes for one in found)]),
        np.concatenate([none, *(one.scores for one in found)]),
        np.concatenate([none.astype(np.int64), *(one.classes for one in found)]),
        num_classes,
        prob_kind,
        columns | dict(others),
    )


def true_boxes(images: Dataset) -> NDArray[np.int64]:
    """[N] annotated objects of each image, crowd regions left out: what labeling it costs in boxes. An oracle."""
    return np.array([(~image.crowd).sum() for image in images.images], dtype=np.int64)
