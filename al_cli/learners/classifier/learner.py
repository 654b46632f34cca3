"""A classifier behind the Learner protocol: train, infer, measure the loss, save, load."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from al_cli.errors import ConfigError
from al_cli.learners.classifier.checks import check_agreement, refuse_unmeasured
from al_cli.learners.classifier.images import ImageReader, statistics
from al_cli.learners.classifier.loss_prediction import LearningLoss
from al_cli.learners.classifier.networks import Network, build
from al_cli.learners.classifier.outputs import (
    BATCH,
    OF_THE_PASS,
    as_predictions,
    losses_alone,
    read_pass,
)
from al_cli.learners.classifier.signals import signal_columns
from al_cli.learners.classifier.spec import ClassifierSpec
from al_cli.learners.classifier.training import (
    LabeledBatch,
    Stepper,
    find_rate,
    index_batches,
    optimizer_of,
    rate_of,
    take_steps,
)
from al_cli.learners.classifier.training_spec import ClassifierTraining
from al_cli.learners.classifier.validation import Validation
from al_cli.learners.classifier.weights import load_starting_weights, require_outputs
from al_cli.learners.pytorch.average import WeightAverage
from al_cli.learners.pytorch.checkpoint import put_weights, read_checkpoint, weights_of, write_checkpoint
from al_cli.learners.pytorch.curve import Curve
from al_cli.learners.pytorch.determinism import deterministic, seed_everything
from al_cli.learners.pytorch.difficulty import DifficultyAverage
from al_cli.learners.pytorch.joined import hand_on, put_back, rounds_behind
from al_cli.learners.pytorch.labels import KnownLabels
from al_cli.learners.pytorch.schedule import WHOLE, Stretch
from al_cli.progress import phase
from al_cli.types import Checkpoint, Dataset, Image, Judge, Learner, Losses, Predictions, Signal

log = logging.getLogger("al")
FOUND_RATE = "found_rate"  # among a checkpoint's extras


class ClassifierLearner(Learner):
    """A classifier for `class_names`.

    `iterations` is the length of one round's training, in steps or epochs as TrainingSpec.per_round gives it; `trainings`
    how many its run has, over which the schedule lies with training.init=join. The constructor looks at settings alone, so
    that what cannot work is said before anything slow. `needs` are the signals it will be asked for: what takes a training
    of its own (PREDICTED_LOSS) is learned, and provided, only where it is among them. `judge` is the metric that validation
    goes by where it does not go by the loss (`TrainingSpec.stop_on`).
    """

    def __init__(
        self,
        model: ClassifierSpec,
        training: ClassifierTraining,
        class_names: Sequence[str],
        *,
        iterations: int,
        trainings: int = 1,
        device: str = "auto",
        needs: frozenset[Signal] = frozenset(),
        judge: Judge | None = None,
    ):
        self.spec, self.training, self.class_names = model.check(), training.check(), tuple(class_names)
        chosen = check_agreement(model, training, self.class_names, device, needs)
        self._predicts_loss = Signal.PREDICTED_LOSS in needs
        self.provides = model.provides - (frozenset() if self._predicts_loss else {Signal.PREDICTED_LOSS})
        self.iterations, self.trainings, self.judge = iterations, trainings, judge
        self.device, self._device = str(chosen), chosen
        self.reader = ImageReader(model, chosen)
        self.threads = 1 if model.tiny else None
        self._labels: KnownLabels | None = None
        self._network: Network | None = None
        self._starting: int | None = None  # the seed of weights that are still to be put in
        self._extras: Mapping[str, NDArray[Any]] = {}

    @property
    def batch_size(self) -> int:
        assert self.training.batch_size is not None  # `ClassifierTraining.check`
        return self.training.batch_size

    # ---- training

    def fit(
        self,
        train: Dataset,
        *,
        val: Dataset | None,
        seed: int,
        init: Checkpoint | None,
        order: Sequence[int] | None = None,
    ) -> Checkpoint:
        """Train on every image of `train` from `init`, or from the starting weights; shuffled, or in this order of ids.

        The same arguments give the same bytes on a CPU. ConfigError where validation decides and there are no images for it,
        and for one image where an epoch is a pass and the head has batch normalization.
        """
        if len(train) == 1 and self.spec.hidden and not self.training.endless:
            raise ConfigError(
                "batch normalization learns nothing from one image, and this training has no other",
                where=f"model.hidden={list(self.spec.hidden)}",
                remedy="label at least 2 images, or set model.hidden=[]",
            )
        if self.training.watches and not val:
            raise ConfigError(
                "early stopping and the best weights need a validation split, and this dataset has none",
                where=f"training.duration={self.training.duration}",
                remedy="add dataset.val=20% to hold out a share of the pool, or set training.duration=epochs "
                "training.weights=last",
            )
        seed_everything(seed)
        with deterministic(self.threads):
            return self._fit(train, val, seed, init, order)

    def _fit(
        self, train_on: Dataset, val: Dataset | None, seed: int, init: Checkpoint | None, order: Sequence[int] | None
    ) -> Checkpoint:
        spec, network = self.training, self._start_network(init, train_on)
        if not network.normalized:
            network.normalize_by(*statistics(self.reader.batches(train_on, BATCH)))
        unit = spec.unit(len(train_on), self.batch_size)
        steps, extras = self.iterations * unit, {"seed": np.array(seed)}
        images = train_on.images if order is None else tuple(train_on[i] for i in order)
        lr = spec.lr or 0.0
        if spec.lr_finder:
            lr = self._found_rate(network, train_on, seed)
            extras[FOUND_RATE] = np.array(lr)
        predictor = self._predictor(network, seed, init)
        learning = list(predictor.parameters()) if predictor else []
        optimizer = optimizer_of(spec, [*network.parameters(), *learning])
        optimizers = {"optimizer": optimizer}
        if predictor and predictor.own:
            optimizers["loss_optimizer"] = predictor.own
        average = None if spec.ema is None else WeightAverage(network, spec.ema)
        scaler = torch.amp.GradScaler("cuda") if spec.amp else None
        difficulty = DifficultyAverage(len(self.class_names), init)
        joins = spec.init == "join"
        if joins and init is not None:
            put_back(init, optimizers, average, scaler)
        rate = rate_of(spec, steps, unit, Stretch(rounds_behind(init), self.trainings) if joins else WHOLE)
        validation = Validation(network, self.reader, val, self.judge) if val and spec.val_every else None
        with phase("train", total=steps, unit="it") as progress:
            curve = Curve(
                progress,
                steps,
                average,
                validation.loss if validation else None,
                (spec.val_every or 1) * unit,
                spec.patience if spec.duration == "early_stop" else None,
                validation.metric if validation and self.judge else None,
                keeps_best=spec.keeps_best,
            )
            stepper = Stepper(network, optimizer, spec.clip_gradients, scaler, predictor)
            take_steps(
                stepper,
                self._batches(network, images, seed, shuffle=order is None, endless=spec.endless),
                lambda step: lr * rate(step),
                curve,
                average=average,
                difficulty=difficulty,
            )
        if joins:  # before the average takes the place of the weights that go on
            extras |= hand_on(init, optimizers, average, scaler)
        curve.finish(stepper.learned)
        extras |= difficulty.extras | (predictor.extras if predictor else {})
        taken = curve.points[-1].iteration  # the last step is always a point
        epochs = taken / unit if spec.counts_epochs else taken * self.batch_size / len(train_on)
        self._network, self._extras = network, extras
        return Checkpoint(weights_of(network), tuple(curve.points), extras, epochs)

    def _predictor(self, network: Network, seed: int, init: Checkpoint | None) -> LearningLoss | None:
        """What learns to predict losses during the training, if anybody will ask for them."""
        if not self._predicts_loss:
            return None
        own, share = self.spec.loss_prediction == "own", self.spec.loss_prediction_share
        return LearningLoss(network, seed=seed, own=own, share=share, start=init.extras if init else None)

    def _batches(
        self, network: Network, images: Sequence[Image], seed: int, *, shuffle: bool, endless: bool
    ) -> Iterator[LabeledBatch]:
        """Augmented batches without end: a function of the seed and the images alone."""
        shuffling, augmenting = np.random.default_rng(seed).spawn(2)
        classes = torch.tensor([int(image.classes[0]) for image in images], device=self._device)
        flip, crop_px = self.training.flip, self.training.crop_px
        orders = index_batches(len(images), self.batch_size, shuffling if shuffle else None, endless=endless)
        for order in orders:
            chosen = [images[i] for i in order]
            yield self.reader.batch(chosen, augmenting, flip, crop_px, network.mean), classes[order]

    def _found_rate(self, network: Network, train_on: Dataset, seed: int) -> float:
        found = find_rate(
            network, self.training, self._batches(network, train_on.images, seed, shuffle=True, endless=True)
        )
        if found is None:
            log.warning("no learning rate lowers the loss: training.lr=%g is taken", self.training.lr)
            return self.training.lr or 0.0
        log.info("learning rate %.3g: there the loss falls fastest", found)
        return found

    def start(self, seed: int) -> Checkpoint:
        """The weights that `fit` would begin from with this seed, and what is known of classes before the first step.

        The first layer must fit the images, so the weights are put in with the first ones that are asked about, and the
        checkpoint has none.
        """
        require_outputs(self.spec, self.class_names)
        extras = {"seed": np.array(seed)} | DifficultyAverage(len(self.class_names)).extras
        self._network, self._starting, self._extras = None, seed, extras
        return Checkpoint({}, (), extras)

    def _start_network(self, init: Checkpoint | None, images: Dataset) -> Network:
        """With the weights of `init`, else of the spec, whose first layer fits these images."""
        if init is not None:
            return self._network_of(init, "the weights to continue from")
        network = self._built(self.reader.channels(images))
        self._put_starting_weights(network)
        return network.to(self._device)

    def _built(self, channels: int) -> Network:
        """A network for so many channels, and a reader that gives it as many: one that has read others forgets them."""
        if self.reader.bands not in (None, channels):
            self.reader = ImageReader(self.spec, self._device)
        self.reader.bands = channels
        return build(self.spec, len(self.class_names), channels)

    def _put_starting_weights(self, network: Network) -> None:
        load_starting_weights(network, self.spec, self.class_names)

    def _network_of(self, checkpoint: Checkpoint, where: str) -> Network:
        mean = checkpoint.state.get("mean")
        channels = len(mean) if isinstance(mean, torch.Tensor) and mean.ndim else 3
        network = self._built(channels)
        put_weights(network, checkpoint.state, where)
        network.normalized = True
        return network.to(self._device)

    # ---- asking

    def _network_for(self, images: Dataset) -> Network:
        """The network that answers. RuntimeError before the first `fit`, `start` or `load`."""
        if self._network is not None:
            return self._network
        if self._starting is None:
            raise RuntimeError("fit or load first: the learner has no weights yet")
        seed_everything(self._starting)
        self._network = self._start_network(None, images)
        if not self._network.normalized:
            refuse_unmeasured(self.spec)
        return self._network

    def infer(self, images: Dataset, signals: frozenset[Signal] = frozenset()) -> Predictions:
        """One row an image, and a column per signal. ValueError for a signal not provided.

        Probabilities, features and activations come out of one pass; the rest are answered by their own functions.
        """
        if missing := sorted(signals - self.provides):
            raise ValueError(f"{self.spec.name} does not provide {', '.join(missing)}; it has {sorted(self.provides)}")
        with deterministic(self.threads):
            network = self._network_for(images)
            logits, columns = read_pass(network, self.reader, images, signals & OF_THE_PASS)
            others = signal_columns(
                network, self.reader, images, signals - OF_THE_PASS, self.spec, self._extras, self._labels
            )
            return as_predictions(images, logits, signals, {**columns, **others})

    def inform(self, *, labeled: Dataset, initial: Dataset, val: Dataset | None, scored: Dataset) -> None:
        """The labels that MEASURED_AGAINST_LABELS are measured against."""
        self._labels = KnownLabels(labeled, initial, val, scored)

    def loss(self, images: Dataset) -> Losses:
        """The cross-entropy of each image in nats, which is all about its class; the same after save and load."""
        with deterministic(self.threads):
            total = losses_alone(self._network_for(images), self.reader, images)
        return Losses(total, total, np.full(len(total), np.nan))

    # ---- checkpoints

    def save(self, checkpoint: Checkpoint, path: Path) -> None:
        write_checkpoint(checkpoint, path, self.class_names)

    def load(self, path: Path) -> Checkpoint:
        """The checkpoint, its weights ready for `infer` and `loss`. RunError for a file that is missing or unreadable,
        ModelError for one of another model."""
        checkpoint = read_checkpoint(path)
        self._network, self._extras = self._network_of(checkpoint, str(path)), checkpoint.extras
        return checkpoint
