"""Loss curves of a training, and what validation decides: when it stops, and with which weights. Knows no trainer."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import nullcontext

from torch import Tensor, nn

from al_cli.errors import RunError
from al_cli.learners.pytorch.average import WeightAverage
from al_cli.types import LossPoint

log = logging.getLogger("al")
POINT_EVERY = 20  # iterations between points of the training curve, Detectron2's own log period


def diverged(what: str, iteration: int, lr: float) -> RunError:
    """The error of a training that cannot go on; `iteration` counts from 1."""
    return RunError(
        what,
        where=f"iteration {iteration}, learning rate {lr:.3g}",
        remedy=f"lower the learning rate (training.lr={lr / 10:.1g}) or set training.clip_gradients=10",
    )


class Curve:
    """Told of each step by `took`; whoever trains ends where it has `stopped`, and calls `finish`.

    `step` shows progress. `validate()` measures the validation loss of the model as it then is (the average, where there is
    one), every `val_every` steps and after the last of `iterations`. With `patience`, a training stops after that many
    measurements without a better one; with `keeps_best` it ends with the weights of the best. Better is a lower loss, or,
    with `judge()`, a metric of the same model that is higher; a metric that is None is not better.
    """

    def __init__(
        self,
        step: Callable[..., None],
        iterations: int,
        average: WeightAverage | None,
        validate: Callable[[], float] | None,
        val_every: int,
        patience: int | None,
        judge: Callable[[], float | None] | None = None,
        *,
        keeps_best: bool = False,
    ):
        self.step, self.iterations, self.average, self.validate = step, iterations, average, validate
        self.val_every, self.patience, self.judge, self.keeps_best = val_every, patience, judge, keeps_best
        self.points: list[LossPoint] = []
        self.best, self.since_best = -math.inf, 0
        self.best_state: dict[str, Tensor] | None = None
        self.stopped = False
        self._recent: list[float] = []  # losses since the last point

    def took(self, done: int, loss: float, model: nn.Module) -> None:
        """Step number `done`, from 1, had this loss."""
        last = done == self.iterations
        self._recent.append(loss)
        due = self.validate is not None and (done % self.val_every == 0 or last)
        val_loss, metric = self._measure(model, done) if due else (None, None)
        if due or done % POINT_EVERY == 0 or last:
            self.points.append(LossPoint(done, sum(self._recent) / len(self._recent), val_loss, metric))
            self._recent.clear()
        self.step(loss=loss, **({} if val_loss is None else {"val_loss": val_loss}))

    def _measure(self, model: nn.Module, done: int) -> tuple[float, float | None]:
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
                if self.keeps_best:
                    self.best_state = {key: value.clone() for key, value in model.state_dict().items()}
            else:
                self.since_best += 1
        self.stopped = self.patience is not None and self.since_best >= self.patience
        return loss, metric

    def finish(self, model: nn.Module) -> None:
        """Put the weights to keep into the model: the average where there is one, the best where these are kept."""
        if self.stopped and math.isfinite(self.best):
            what = "validation loss no lower" if self.judge is None else "the metric on validation images no higher"
            best, done = self.best if self.judge else -self.best, self.points[-1].iteration
            log.info("stopped after %d of %d iterations: %s than %.4g", done, self.iterations, what, best)
        if self.average is not None:
            self.average.apply()
        if self.best_state is not None:
            model.load_state_dict(self.best_state)
        elif self.keeps_best:
            log.warning(
                "the metric that trainings stop by had no value on the validation images: the last weights are kept"
            )
