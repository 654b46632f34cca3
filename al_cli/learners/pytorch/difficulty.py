"""How hard each class is for a model, followed while it trains (Yang, Huang and Crowley 2022, section 3.1).

`learners/detectron/training/difficulty.py` says how; of a whole image the IoU is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_cli.types import Checkpoint

XI = 0.6  # how much the class probability counts against the IoU
MOMENTUM = 0.99


class DifficultyAverage:
    """Keeps `value` [C] and `momentum` [C] (float64). `start` is the checkpoint that training continues from, if any: its
    difficulties go on from where they were."""

    def __init__(self, num_classes: int, start: Checkpoint | None = None):
        extras: Mapping[str, NDArray[Any]] = start.extras if start is not None else {}
        self.value: NDArray[np.float64] = np.array(extras.get("class_difficulty", np.ones(num_classes)))
        self.momentum: NDArray[np.float64] = np.array(extras.get("class_momentum", np.full(num_classes, MOMENTUM)))

    @property
    def extras(self) -> dict[str, NDArray[Any]]:
        """What a checkpoint keeps of it."""
        return {"class_difficulty": self.value.copy(), "class_momentum": self.momentum.copy()}

    def update(self, classes: NDArray[np.int64], p: NDArray[np.float64], iou: NDArray[np.float64]) -> None:
        """One batch: class, probability of it and IoU of each positive match."""
        q = 1 - p**XI * iou ** (1 - XI)
        count = np.bincount(classes, minlength=len(self.value))
        mean = np.bincount(classes, q, minlength=len(self.value)) / np.maximum(count, 1)
        here, m = count > 0, self.momentum
        self.value = np.where(here, m * self.value + (1 - m) * mean, self.value)
        self.momentum = np.where(here, MOMENTUM, MOMENTUM * m)
