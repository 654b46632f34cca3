"""An exponential moving average of a model's weights (Polyak and Juditsky, 1992), a few kernel calls a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """average <- d * average + (1 - d) * weights, with d = min(decay, (1 + n) / (10 + n)) at step n = 1, 2, ...

    The growing d keeps the drawn starting weights from lingering in a short training. Normalisation statistics are
    averaged like weights, since they belong to them; integer buffers are left alone.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay, self.steps = decay, 0
        tensors = list(model.parameters()) + list(model.buffers())
        self.live: list[Tensor] = [tensor.detach() for tensor in tensors if tensor.is_floating_point()]
        self.average = [tensor.clone() for tensor in self.live]

    @torch.no_grad()
    def update(self) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.average, self.live, 1 - decay)

    @torch.no_grad()
    def apply(self) -> None:
        """Put the average into the model."""
        torch._foreach_copy_(self.live, self.average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The average in the model inside, the trained weights back after."""
        trained = [tensor.clone() for tensor in self.live]
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self.live, trained)
