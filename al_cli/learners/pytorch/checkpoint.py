"""A checkpoint as a file, in Detectron2's own format. Knows no learner: neither what trained it nor what asks it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from al_cli.errors import ModelError, RunError
from al_cli.learners.pytorch.pickled import CLASSES, read_tensors, refusal
from al_cli.system import unfinished
from al_cli.types import Checkpoint, LossPoint


def write_checkpoint(checkpoint: Checkpoint, path: Path, class_names: Sequence[str]) -> None:
    """So that MODEL.WEIGHTS reads it; loss curves and the names of the classes lie next to the weights. Whole or not there at
    all."""
    history = [[point.iteration, point.train_loss, point.val_loss, point.metric] for point in checkpoint.history]
    extras = {name: torch.from_numpy(array) for name, array in checkpoint.extras.items()}
    with unfinished(path) as draft, draft.open("wb") as file:
        content = {"model": dict(checkpoint.state), "history": history, "epochs": checkpoint.epochs, "extras": extras}
        torch.save(content | {CLASSES: list(class_names)}, file)


def read_checkpoint(path: Path) -> Checkpoint:
    """RunError for a file that is missing or unreadable. One that an earlier version wrote says no epochs."""
    try:
        data = read_tensors(path)
        state, history, epochs = data["model"], data["history"], data.get("epochs")
        extras = {name: tensor.numpy() for name, tensor in data.get("extras", {}).items()}
        points = tuple(LossPoint(*point) for point in history)
    except Exception as error:  # broken bytes can raise anything
        raise RunError(
            f"the checkpoint cannot be read: {refusal(error)}",
            where=str(path),
            remedy="delete its round's folder, and the run trains that round again",
        ) from error
    return Checkpoint(state, points, extras, epochs)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights and buffers, in the memory of the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def put_weights(model: nn.Module, state: Any, where: str) -> None:
    """Into the model. ModelError, which names `where` they are from, for weights of another model."""
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(
            "the checkpoint is of another model or another number of classes",
            where=where,
            remedy="use the model and dataset it was trained with, or start from it with model.weights=FILE",
        ) from error
