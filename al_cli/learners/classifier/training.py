"""One training of a classifier: batches in an order that the seed decides, cross-entropy, an optimizer, a learning rate.

Knows no dataset and no checkpoint: it gets a network, batches and what watches them, and changes the network in place. An
epoch is a pass over the images, each once; only a last batch of a single image, which batch normalization cannot learn
from, joins the one before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from al_cli.learners.classifier.loss_prediction import LearningLoss, block_outputs
from al_cli.learners.classifier.networks import Network
from al_cli.learners.classifier.training_spec import ClassifierTraining
from al_cli.learners.pytorch.average import WeightAverage
from al_cli.learners.pytorch.curve import Curve, diverged
from al_cli.learners.pytorch.difficulty import DifficultyAverage
from al_cli.learners.pytorch.schedule import WHOLE, Rate, Stretch, one_cycle, stepwise

LabeledBatch = tuple[Tensor, Tensor]  # images [B, K, H, W] and classes [B]
FINDER_STEPS, FINDER_LOW, FINDER_HIGH = 100, 1e-8, 1.0
FINDER_SMOOTHING, FINDER_GIVES_UP, FINDER_SKIPS = 0.98, 4.0, (10, 1)  # the first and the last points are not looked at


def index_batches(
    count: int, batch_size: int, rng: np.random.Generator | None, *, endless: bool
) -> Iterator[NDArray[np.int64]]:
    """Positions 0..count-1, pass after pass, each in another order that `rng` draws, or without one ascending.

    `endless`: batches of exactly `batch_size`, which cross from a pass to the next. Else each pass is cut, and its last
    batch has what is left; one image alone joins the batch before it.
    """
    passes = (np.arange(count) if rng is None else rng.permutation(count) for _ in repeat(None))
    if not endless:
        for order in passes:
            cuts = list(range(batch_size, count, batch_size))
            if cuts and cuts[-1] == count - 1 and batch_size > 1:
                cuts.pop()
            yield from np.split(order, cuts)
    left = np.zeros(0, np.int64)
    for order in passes:
        left = np.concatenate([left, order])
        while len(left) >= batch_size:
            yield left[:batch_size]
            left = left[batch_size:]


def rate_of(spec: ClassifierTraining, iterations: int, unit: int, part: Stretch = WHOLE) -> Rate:
    """What the highest rate is multiplied with at a step of this training, counted from 0.

    `unit`: steps between two counts of `spec.milestones`, an epoch's or 1. Where this is one `part` of a longer training,
    the schedule lies over all parts, each as long as this one.
    """
    whole, begun = iterations * part.of, iterations * part.number
    if spec.schedule == "one_cycle":
        over_all = one_cycle(whole)
    else:
        milestones = spec.milestones or ()
        over_all = stepwise((0, 1.0), [round(m * whole) if m < 1 else int(m) * unit for m in milestones])
    return lambda step: over_all(begun + step)


def optimizer_of(spec: ClassifierTraining, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """SGD or AdamW of all weights that train, as `spec` says."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    lr, decay = spec.lr or 0.0, spec.weight_decay or 0.0
    if spec.optimizer == "sgd":
        return torch.optim.SGD(trained, lr, momentum=spec.momentum, weight_decay=decay, foreach=True)
    return torch.optim.AdamW(trained, lr, weight_decay=decay, fused=True)


@dataclass
class Stepper:
    """One step after the other. `clip`: largest norm of all gradients of the network together; `scaler`: mixed precision."""

    network: Network
    optimizer: torch.optim.Optimizer
    clip: float | None = None
    scaler: torch.amp.GradScaler | None = None
    predictor: LearningLoss | None = None

    @property
    def learned(self) -> nn.Module:
        """All that the steps move."""
        return nn.ModuleList([self.network] if self.predictor is None else [self.network, self.predictor.module])

    def step(self, batch: LabeledBatch, lr: float, progress: float) -> tuple[float, NDArray[np.float64]]:
        """The mean cross-entropy of the batch, and the probability [B] of each image's own class before the step."""
        images, classes = batch
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad()
        with self._blocks() as blocks:
            with torch.autocast(images.device.type, enabled=self.scaler is not None):
                logits = self.network(images)
            losses = cross_entropy(logits.float(), classes, reduction="none")
            total = losses.mean()
            if self.predictor is not None:
                total = total + self.predictor.loss(blocks, losses, progress)
        if self.scaler is None:
            total.backward()
            self._clip()
            self.optimizer.step()
        else:
            self.scaler.scale(total).backward()
            self.scaler.unscale_(self.optimizer)
            self._clip()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        found = losses.detach().double().cpu().numpy()
        return float(found.mean()), np.exp(-found)

    def _blocks(self) -> AbstractContextManager[list[Tensor]]:
        return nullcontext([]) if self.predictor is None else block_outputs(self.network)

    def _clip(self) -> None:
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)


def take_steps(
    stepper: Stepper,
    batches: Iterator[LabeledBatch],
    rates: Rate,
    curve: Curve,
    *,
    average: WeightAverage | None = None,
    difficulty: DifficultyAverage | None = None,
) -> None:
    """Train until `curve` has all its iterations or has stopped; its `finish`, with `stepper.learned`, is left to the caller.
    `rates`: the learning rate of a step, counted from 0. RunError, with iteration and rate, as soon as a loss is not finite.
    """
    learned = stepper.learned
    stepper.network.train()
    for step in range(curve.iterations):
        batch, lr = next(batches), rates(step)
        loss, p = stepper.step(batch, lr, step / curve.iterations)
        if not math.isfinite(loss):
            raise diverged(f"the training loss is {loss}", step + 1, lr)
        if average is not None:
            average.update()
        if difficulty is not None:
            difficulty.update(batch[1].cpu().numpy(), p, np.ones(len(p)))
        curve.took(step + 1, loss, learned)
        if curve.stopped:
            break


def find_rate(network: Network, spec: ClassifierTraining, batches: Iterator[LabeledBatch]) -> float | None:
    """The learning rate at which the loss falls fastest (Smith, 2017, section 3.3; as PyTorch Lightning's finder does it).

    It rises from 1e-8 to 1 over 100 steps, evenly in its logarithm; what falls is the exponential average of the losses, and
    the test ends where that is four times its lowest. None where there are too few points to say. The network ends with
    the weights that it had.
    """
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    stepper = Stepper(network, optimizer_of(spec, list(network.parameters())), spec.clip_gradients)
    network.train()
    rates = np.geomspace(FINDER_LOW, FINDER_HIGH, FINDER_STEPS)
    smoothed: list[float] = []
    mean, best = 0.0, math.inf
    for number, rate in enumerate(rates.tolist(), 1):
        loss, _ = stepper.step(next(batches), rate, 0.0)
        mean = FINDER_SMOOTHING * mean + (1 - FINDER_SMOOTHING) * loss
        smoothed.append(mean / (1 - FINDER_SMOOTHING**number))
        best = min(best, smoothed[-1])
        if not smoothed[-1] <= FINDER_GIVES_UP * best:  # NaN, too
            break
    network.load_state_dict(before)
    return steepest(rates[: len(smoothed)], np.array(smoothed))


def steepest(rates: NDArray[np.float64], losses: NDArray[np.float64]) -> float | None:
    """The rate at which the curve of losses falls fastest, its first and last points left out; None where it never falls."""
    first, last = FINDER_SKIPS
    kept = slice(first, len(losses) - last)
    rates, losses = rates[kept], losses[kept]
    rates, losses = rates[np.isfinite(losses)], losses[np.isfinite(losses)]
    if len(losses) < 2:
        return None
    slopes = np.gradient(losses)
    at = int(slopes.argmin())
    return float(rates[at]) if slopes[at] < 0 else None
