"""One training: Detectron2's trainer and hooks, driven to its end or to the point where validation says stop.

Knows no dataset and no config: it gets a model, batches, an optimizer and a schedule, and returns the loss curves. The
model ends with the weights to keep: the average where there is one, the best where it stops early, else the last.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from detectron2.engine import AMPTrainer, HookBase, SimpleTrainer, hooks
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from al_cli.errors import RunError, first_line
from al_cli.learners.detectron.training.data import Batch
from al_cli.learners.pytorch.average import WeightAverage
from al_cli.progress import phase
from al_cli.types import LossPoint

log = logging.getLogger("al")
POINT_EVERY = 20  # iterations between points of the training curve, Detectron2's own log period


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
        curve = Curve(step, average, validate, val_every, patience, judge)
        trainer.register_hooks([hooks.LRScheduler(optimizer, schedule), _Averaging(average), *observers, curve])
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
    if curve.stopped and curve.best_state is not None:
        what = "validation loss no lower" if judge is None else "the metric on validation images no higher"
        best = curve.best if judge else -curve.best
        log.info("stopped after %d of %d iterations: %s than %.4g", trainer.iter, iterations, what, best)
    if average is not None:
        average.apply()
    if curve.best_state is not None:
        model.load_state_dict(curve.best_state)
    elif patience is not None:
        log.warning(
            "the metric that trainings stop by had no value on the validation images: the last weights are kept"
        )
    return tuple(curve.points)


def run_step(trainer: Any) -> None:
    """One step. Detectron2 notices some divergence before there is a loss: the same RunError then."""
    try:
        trainer.run_step()
    except FloatingPointError as error:
        raise diverged(first_line(error), trainer) from error


def diverged(what: str, trainer: Any) -> RunError:
    lr = max(group["lr"] for group in trainer.optimizer.param_groups)
    return RunError(
        what,
        where=f"iteration {trainer.iter + 1}, learning rate {lr:.3g}",
        remedy=f"lower the learning rate (training.lr={lr / 10:.1g}) or set training.clip_gradients=10",
    )


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
            raise diverged(f"the training loss is {self.loss}: {parts}", self)


class PlainTrainer(_Watched, SimpleTrainer):
    """Detectron2's SimpleTrainer."""


class AmpTrainer(_Watched, AMPTrainer):
    """Detectron2's AMPTrainer: float16 with gradient scaling, on a GPU."""


class _Averaging(HookBase):
    def __init__(self, average: WeightAverage | None):
        self.average = average

    def after_step(self) -> None:
        if self.average is not None:
            self.average.update()


class Curve(HookBase):
    """Loss curves, progress, and what validation decides: when to stop and which weights were best."""

    def __init__(
        self,
        step: Callable[..., None],
        average: WeightAverage | None,
        validate: Callable[[], float] | None,
        val_every: int,
        patience: int | None,
        judge: Callable[[], float | None] | None = None,
    ):
        self.step, self.average, self.validate = step, average, validate
        self.val_every, self.patience, self.judge = val_every, patience, judge
        self.points: list[LossPoint] = []
        self.best, self.best_state, self.since_best = -math.inf, None, 0  # type: float, dict[str, Tensor] | None, int
        self.stopped = False
        self._recent: list[float] = []  # losses since the last point

    def after_step(self) -> None:
        trainer: Any = self.trainer
        done, last = trainer.iter + 1, trainer.iter + 1 == trainer.max_iter
        self._recent.append(trainer.loss)
        due = self.validate is not None and (done % self.val_every == 0 or last)
        val_loss, metric = self._measure(trainer, done) if due else (None, None)
        if due or done % POINT_EVERY == 0 or last:
            self.points.append(LossPoint(done, sum(self._recent) / len(self._recent), val_loss, metric))
            self._recent.clear()
        self.step(loss=trainer.loss, **({} if val_loss is None else {"val_loss": val_loss}))

    def _measure(self, trainer: Any, done: int) -> tuple[float, float | None]:
        """The validation loss, and the metric where one is watched; and what follows from them."""
        assert self.validate is not None
        with self.average.applied() if self.average is not None else nullcontext():
            loss = self.validate()
            if not math.isfinite(loss):
                raise RunError(
                    f"the validation loss is {loss}",
                    where=f"iteration {done}",
                    remedy="lower the learning rate (training.lr) or clip gradients (training.clip_gradients=10)",
                )
            metric = self.judge() if self.judge else None
            metric = None if metric is None or math.isnan(metric) else metric
            value = metric if self.judge else -loss
            if value is not None and value > self.best:
                self.best, self.since_best = value, 0
                if self.patience is not None:
                    self.best_state = {key: value.clone() for key, value in trainer.model.state_dict().items()}
            else:
                self.since_best += 1
        self.stopped = self.patience is not None and self.since_best >= self.patience
        return loss, metric
