"""What one round of a training that new images join hands to the next (`training.init=join`; DataHunt's one training).

A checkpoint has the weights that are evaluated. A training that is to go on as if nothing had happened has more: the
optimizer's momentum or moments, the weights behind the average and its steps, the loss scale of mixed precision, and its
place in the schedule. They are arrays among the checkpoint's extras.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_cli.learners.pytorch.average import WeightAverage
from al_cli.types import Checkpoint

JOINED = "joined."  # of its arrays among a checkpoint's extras
_ROUNDS = JOINED + "rounds"


def rounds_behind(start: Checkpoint | None) -> int:
    """How many rounds of its run this checkpoint has been trained in."""
    return 0 if start is None else int(start.extras[_ROUNDS])


def hand_on(
    start: Checkpoint | None,
    optimizers: Mapping[str, torch.optim.Optimizer],
    average: WeightAverage | None,
    scaler: torch.amp.GradScaler | None,
) -> dict[str, NDArray[Any]]:
    """What a training that began from `start` leaves for the next one; `optimizers` by name."""
    kept: dict[str, Any] = {"rounds": rounds_behind(start) + 1}
    for name, optimizer in optimizers.items():
        for i, state in optimizer.state_dict()["state"].items():
            kept |= {f"{name}.{i}.{key}": _array(value) for key, value in state.items() if value is not None}
    if average is not None:
        kept["average_steps"] = average.steps
        kept |= {f"weights.{i}": _array(tensor) for i, tensor in enumerate(average.live)}
    if scaler is not None:
        state = scaler.state_dict()
        kept |= {"scale": state["scale"], "scale_growth": state["_growth_tracker"]}
    return {JOINED + key: np.array(value) for key, value in kept.items()}


def put_back(
    start: Checkpoint | None,
    optimizers: Mapping[str, torch.optim.Optimizer],
    average: WeightAverage | None,
    scaler: torch.amp.GradScaler | None,
) -> None:
    """Put back what `hand_on` left in `start`, whose weights the model has and `average` was made of. KeyError for a
    checkpoint of another kind of training."""
    if start is None:
        return
    kept = _below(start.extras, JOINED)
    for name, optimizer in optimizers.items():
        _put_state(optimizer, _below(kept, f"{name}."))
    if average is not None:
        average.steps = int(kept["average_steps"])
        weights = _below(kept, "weights.")
        with torch.no_grad():
            for i, tensor in enumerate(average.live):
                tensor.copy_(torch.as_tensor(weights[str(i)]))
    if scaler is not None:
        scale = {"scale": kept["scale"].item(), "_growth_tracker": kept["scale_growth"].item()}
        scaler.load_state_dict({**scaler.state_dict(), **scale})


def _put_state(optimizer: torch.optim.Optimizer, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Momentum or moments of each weight, named `number.what`; rates and decay stay the optimizer's own."""
    state: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for key, value in arrays.items():
        number, _, what = key.partition(".")
        state[int(number)][what] = torch.as_tensor(value.copy())  # else training would write into the checkpoint
    optimizer.load_state_dict({**optimizer.state_dict(), "state": dict(state)})


def _below(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


def _array(value: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = value.detach().cpu().numpy()
    return array
