"""What one round of a training that new images join hands to the next (`training.init=join`; DataHunt's one training).

A checkpoint has the weights that are evaluated. A training that is to go on as if nothing had happened has more: the
optimizer's momentum or moments, the weights behind the average and its steps, the running normaliser of a dense detector,
the loss scale of mixed precision, and its place in the schedule. They are arrays among the checkpoint's extras.
What observers learn lies there already.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from detectron2.engine import HookBase
from numpy.typing import NDArray
from torch import Tensor, nn

from al_cli.learners.detectron.training.loss import NORMALIZER
from al_cli.learners.pytorch.average import WeightAverage
from al_cli.types import Checkpoint

_PREFIX = "joined."  # of its arrays among a checkpoint's extras
_ROUNDS = _PREFIX + "rounds"


def rounds_behind(start: Checkpoint | None) -> int:
    """How many rounds of its run this checkpoint has been trained in."""
    return 0 if start is None else int(start.extras[_ROUNDS])


class Joined(HookBase):
    """A hook of Detectron2's trainer: puts back what `start` kept before the first step, and keeps it after the last.

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
        if self.start is None:
            return
        kept = {key.removeprefix(_PREFIX): value for key, value in self.start.extras.items() if key.startswith(_PREFIX)}
        for name, optimizer in self.optimizers.items():
            _put_state(optimizer, _below(kept, f"{name}."))
        if self.average is not None:
            self.average.steps = int(kept["average_steps"])
            weights = _below(kept, "weights.")
            with torch.no_grad():
                for i, tensor in enumerate(self.average.live):
                    tensor.copy_(torch.as_tensor(weights[str(i)]))
        if NORMALIZER in kept:
            setattr(self.model, NORMALIZER, kept[NORMALIZER].item())
        if scaler := _scaler(self.trainer):
            scale = {"scale": kept["scale"].item(), "_growth_tracker": kept["scale_growth"].item()}
            scaler.load_state_dict({**scaler.state_dict(), **scale})

    def after_train(self) -> None:
        kept: dict[str, Any] = {"rounds": rounds_behind(self.start) + 1}
        for name, optimizer in self.optimizers.items():
            for i, state in optimizer.state_dict()["state"].items():
                kept |= {f"{name}.{i}.{key}": _array(value) for key, value in state.items() if value is not None}
        if self.average is not None:
            kept["average_steps"] = self.average.steps
            kept |= {f"weights.{i}": _array(tensor) for i, tensor in enumerate(self.average.live)}
        if NORMALIZER in self.model.__dict__:
            kept[NORMALIZER] = getattr(self.model, NORMALIZER)
        if scaler := _scaler(self.trainer):
            state = scaler.state_dict()
            kept |= {"scale": state["scale"], "scale_growth": state["_growth_tracker"]}
        self.extras = {_PREFIX + key: np.array(value) for key, value in kept.items()}


def _put_state(optimizer: torch.optim.Optimizer, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Momentum or moments of each weight, named `number.what`; rates and decay stay the optimizer's own."""
    state: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for key, value in arrays.items():
        number, _, what = key.partition(".")
        state[int(number)][what] = torch.as_tensor(value.copy())  # else training would write into the checkpoint
    optimizer.load_state_dict({**optimizer.state_dict(), "state": dict(state)})


def _below(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


def _scaler(trainer: Any) -> torch.amp.GradScaler | None:
    return getattr(trainer, "grad_scaler", None)


def _array(value: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = value.detach().cpu().numpy()
    return array
