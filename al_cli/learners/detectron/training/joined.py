"""What one round of a joined training hands to the next (`pytorch/joined.py`), as a hook of Detectron2's trainer.

A detector adds the running normaliser of a dense one. What observers learn lies among the checkpoint's extras already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from detectron2.engine import HookBase
from numpy.typing import NDArray
from torch import nn

from al_cli.learners.detectron.training.loss import NORMALIZER
from al_cli.learners.pytorch.average import WeightAverage
from al_cli.learners.pytorch.joined import JOINED, hand_on, put_back
from al_cli.types import Checkpoint


class Joined(HookBase):
    """Puts back what `start` kept before the first step, and keeps it after the last.

    `model` has the weights of `start`, `average` was made of them; `optimizers` by name. KeyError for a checkpoint of
    another kind of training.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Mapping[str, torch.optim.Optimizer],
        average: WeightAverage | None,
        start: Checkpoint | None,
    ):
        self.model, self.optimizers, self.average, self.start = model, optimizers, average, start
        self.extras: dict[str, NDArray[Any]] = {}

    def before_train(self) -> None:
        put_back(self.start, self.optimizers, self.average, self._scaler)
        if self.start is not None and (kept := self.start.extras.get(JOINED + NORMALIZER)) is not None:
            setattr(self.model, NORMALIZER, kept.item())

    def after_train(self) -> None:
        self.extras = hand_on(self.start, self.optimizers, self.average, self._scaler)
        if NORMALIZER in self.model.__dict__:
            self.extras[JOINED + NORMALIZER] = np.array(getattr(self.model, NORMALIZER))

    @property
    def _scaler(self) -> torch.amp.GradScaler | None:
        return getattr(self.trainer, "grad_scaler", None)
