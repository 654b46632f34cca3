"""The module of learning loss: which of two images has the larger training loss, learned from averages of feature maps.

Yoo and Kweon 2019, sections 3.2 and 3.3. Knows neither detectors nor classifiers, nor what trains it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

WIDTH, MARGIN = 128, 1.0
PREFIX = "loss_prediction."  # of its arrays among a checkpoint's extras


class LossModule(nn.Module):
    """[B, D] averages of the maps, one after the other, to [B] predicted losses. `channels` are the maps' shares of D."""

    def __init__(self, channels: Sequence[int]):
        super().__init__()
        self.channels = list(channels)
        self.maps = nn.ModuleList(nn.Linear(c, WIDTH) for c in channels)
        self.last = nn.Linear(WIDTH * len(channels), 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = [fc(part).relu() for fc, part in zip(self.maps, x.split(self.channels, dim=1), strict=True)]
        return self.last(torch.cat(parts, dim=1))[:, 0]


def drawn_loss_module(channels: Sequence[int], seed: int) -> LossModule:
    """A new module, a function of the seed; torch's global generators, of GPUs too, are left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return LossModule(channels)


def ranking_loss(predicted: Tensor, losses: Tensor) -> Tensor:
    """Yoo and Kweon's eq. 2 over B // 2 disjoint pairs of a batch: first with last, second with last but one, ...

    ValueError for fewer than two images.
    """
    half = len(losses) // 2
    if half == 0:
        raise ValueError(f"{len(losses)} images make no pair")
    i, j = torch.arange(half), len(losses) - 1 - torch.arange(half)
    sign = torch.where(losses[i] > losses[j], 1.0, -1.0)
    return (MARGIN - sign * (predicted[i] - predicted[j])).clamp(min=0).mean()


def has_loss_module(extras: Mapping[str, NDArray[Any]]) -> bool:
    """Whether the training that left these extras learned to predict losses."""
    return any(key.startswith(PREFIX) for key in extras)


def loss_module_extras(module: LossModule) -> dict[str, NDArray[Any]]:
    """What a checkpoint keeps of it."""
    return {PREFIX + key: value.cpu().numpy().copy() for key, value in module.state_dict().items()}


def restored_loss_module(extras: Mapping[str, NDArray[Any]]) -> LossModule:
    """The module among a checkpoint's extras. KeyError where none was trained."""
    state = {k.removeprefix(PREFIX): torch.from_numpy(v) for k, v in extras.items() if k.startswith(PREFIX)}
    if not state:
        raise KeyError("the checkpoint has no loss prediction: it was trained without")
    module = LossModule([state[f"maps.{i}.weight"].shape[1] for i in range((len(state) - 2) // 2)])
    module.load_state_dict(state)
    return module
