"""One training: Detectron2's trainer and hooks, driven to its end or to the point where validation says stop.

Knows no dataset and no config: it gets a model, batches, an optimizer and a schedule, and returns the loss curves. The
model ends with the weights to keep: the average where there is one, the best where it stops early, else the last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from detectron2.engine import AMPTrainer, HookBase, SimpleTrainer, hooks
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from al_cli.errors import RunError, first_line
from al_cli.learners.detectron.training.data import Batch
from al_cli.learners.pytorch.average import WeightAverage
from al_cli.learners.pytorch.curve import Curve, diverged
from al_cli.progress import phase
from al_cli.types import LossPoint


def train(
    model: nn.Module,
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    *,
    iterations: int,
    amp: bool = False,
    average: WeightAverage | None = None,
    validate: Callable[[], float] | None = None,
    val_every: int = 1,
    patience: int | None = None,
    judge: Callable[[], float | None] | None = None,
    observers: Sequence[HookBase] = (),
) -> tuple[LossPoint, ...]:
    """Train `model` in place for `iterations` steps and return its loss curves.

    `validate()` measures the validation loss of the model as it then is (the average, where there is one), every
    `val_every` steps and after the last. With `patience`, training ends after that many measurements without a better
    one, and whenever it ends the model has the weights of the best. Better is a lower loss, or, with `judge()`, a metric of
    the same model that is higher; a metric that is None is not better. RunError, with iteration and learning rate, as soon
    as a loss is not finite.
    `average` is one of `model`'s weights. `observers` are hooks that learn something from the training and change nothing
    in it, or take it up where another one ended.
    """
    if amp:
        trainer: Any = AmpTrainer(model, batches, optimizer, grad_scaler=torch.amp.GradScaler("cuda"))
    else:
        trainer = PlainTrainer(model, batches, optimizer)
    with phase("train", total=iterations, unit="it") as step:
        curve = Curve(step, iterations, average, validate, val_every, patience, judge, keeps_best=patience is not None)
        trainer.register_hooks(
            [hooks.LRScheduler(optimizer, schedule), _Averaging(average), *observers, _Drawing(curve)]
        )
        # TrainerBase.train would do, but it cannot end early.
        trainer.iter, trainer.start_iter, trainer.max_iter = 0, 0, iterations
        with EventStorage() as trainer.storage:
            trainer.before_train()
            try:
                while trainer.iter < iterations and not curve.stopped:
                    trainer.before_step()
                    run_step(trainer)
                    trainer.after_step()
                    trainer.iter += 1
            finally:
                trainer.after_train()
    curve.finish(model)
    return tuple(curve.points)


def run_step(trainer: Any) -> None:
    """One step. Detectron2 notices some divergence before there is a loss: the same RunError then."""
    try:
        trainer.run_step()
    except FloatingPointError as error:
        raise _diverged(first_line(error), trainer) from error


def _diverged(what: str, trainer: Any) -> RunError:
    return diverged(what, trainer.iter + 1, max(group["lr"] for group in trainer.optimizer.param_groups))


class _Watched:
    """For Detectron2's trainers: keep the loss of the step as `self.loss`, and refuse one that is not finite.

    In place of writing every part of the loss to the event storage, which nobody here reads: one number off the device.
    """

    loss: float
    iter: int
    optimizer: torch.optim.Optimizer

    def _write_metrics(self, loss_dict: dict[str, Tensor], *_: Any, **__: Any) -> None:
        self.loss = float(sum(loss.detach() for loss in loss_dict.values()))
        if not math.isfinite(self.loss):
            parts = ", ".join(f"{name} {float(loss.detach()):.3g}" for name, loss in loss_dict.items())
            raise _diverged(f"the training loss is {self.loss}: {parts}", self)


class PlainTrainer(_Watched, SimpleTrainer):
    """Detectron2's SimpleTrainer."""


class AmpTrainer(_Watched, AMPTrainer):
    """Detectron2's AMPTrainer: float16 with gradient scaling, on a GPU."""


class _Drawing(HookBase):
    def __init__(self, curve: Curve):
        self.curve = curve

    def after_step(self) -> None:
        trainer: Any = self.trainer
        self.curve.took(trainer.iter + 1, trainer.loss, trainer.model)


class _Averaging(HookBase):
    def __init__(self, average: WeightAverage | None):
        self.average = average

    def after_step(self) -> None:
        if self.average is not None:
            self.average.update()
