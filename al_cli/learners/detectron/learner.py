"""Detectron2 behind the Learner protocol: train, infer, measure the loss, save, load.

What differs between detectors lies in `model.zoo` (configs), `signals` (taps) and `model.tiny`; nothing here asks which one
it has. What the trained model answers lies in `trained_model`, how it reads images in `image_reader`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from al_cli.errors import ConfigError
from al_cli.learners.detectron.image_reader import ImageReader
from al_cli.learners.detectron.model.weights import load_weights, local_file, locate, require_classes, source
from al_cli.learners.detectron.model.zoo import DetectronConfig, build, open_config
from al_cli.learners.detectron.signals.columns import DetectionArrays, predictions
from al_cli.learners.detectron.signals.tap import tap
from al_cli.learners.detectron.trained_model import TrainedModel
from al_cli.learners.detectron.training.data import to_dicts, training_batches
from al_cli.learners.detectron.training.difficulty import ClassDifficulty
from al_cli.learners.detectron.training.joined import Joined
from al_cli.learners.detectron.training.loss import mean_loss
from al_cli.learners.detectron.training.loss_prediction import LossPrediction
from al_cli.learners.detectron.training.roi_align import use_row_backward
from al_cli.learners.detectron.training.solver import (
    Numbers,
    make_optimizer,
    make_schedule,
    numbers,
    refuse_clipping_of_all,
)
from al_cli.learners.detectron.training.train import train as train_model
from al_cli.learners.pytorch.average import WeightAverage
from al_cli.learners.pytorch.checkpoint import put_weights, read_checkpoint, weights_of, write_checkpoint
from al_cli.learners.pytorch.determinism import deterministic, seed_everything
from al_cli.learners.pytorch.device import choose_device
from al_cli.learners.pytorch.joined import rounds_behind
from al_cli.learners.pytorch.labels import KnownLabels
from al_cli.learners.pytorch.schedule import WHOLE, Stretch
from al_cli.learners.spec import ModelSpec, require_pairs
from al_cli.learners.training_spec import TrainingSpec
from al_cli.types import Checkpoint, Dataset, Judge, Learner, Losses, Predictions, Signal


def opened(
    model: ModelSpec, training: TrainingSpec, num_classes: int, device: str, needs: frozenset[Signal]
) -> tuple[torch.device, DetectronConfig, Numbers]:
    """What a learner begins with. ConfigError or ModelError for all that cannot work and can be known without a download."""
    chosen = choose_device(device)
    if training.amp and chosen.type != "cuda":
        raise ConfigError("mixed precision needs a GPU", where="training.amp=true", remedy="set training.amp=false")
    config = open_config(model, num_classes, chosen)
    found = numbers(config, training)
    if found.batch_size < 1:
        what = f"a batch of {found.batch_size} images cannot train"
        raise ConfigError(what, where="model.overrides", remedy="give a batch of at least 1 image")
    if Signal.PREDICTED_LOSS in needs:
        require_pairs(found.batch_size)
        if model.loss_prediction == "shared":
            refuse_clipping_of_all(config)
    model.influences.require_classes(num_classes)
    source(model)
    return chosen, config, found


def check_start(model: ModelSpec, config: DetectronConfig, class_names: Sequence[str]) -> None:
    """ModelError where the starting weights cannot choose images before any training: they are of no whole detector, or of
    other classes. Weights that must be downloaded first are judged by their address."""
    require_classes(model, class_names)
    if (path := local_file(model)) is not None:
        load_weights(build(config, model), path, whole=True)


class DetectronLearner(Learner):
    """A detector of Detectron2 for `class_names`.

    `iterations` is the length of one round's training, in steps or epochs as TrainingSpec.per_round gives it; `trainings`
    how many its run has, over which the schedule lies with training.init=join. The
    constructor reads the config and finds the weights, so that ConfigError and ModelError come before anything slow; the
    network itself is built by `fit` and `load`. `needs` are the signals it will be asked for: what takes a training of its
    own (PREDICTED_LOSS) is learned, and provided, only where it is among them. `judge` is the metric that early stopping
    watches where it does not watch the loss (`TrainingSpec.stop_on`).
    """

    def __init__(
        self,
        model: ModelSpec,
        training: TrainingSpec,
        class_names: Sequence[str],
        *,
        iterations: int,
        trainings: int = 1,
        device: str = "auto",
        needs: frozenset[Signal] = frozenset(),
        judge: Judge | None = None,
    ):
        self.spec, self.training, self.class_names = model.check(), training.check(), tuple(class_names)
        self._predicts_loss = Signal.PREDICTED_LOSS in needs
        self.provides = model.provides - (frozenset() if self._predicts_loss else {Signal.PREDICTED_LOSS})
        self.iterations, self.trainings, self.judge = iterations, trainings, judge
        chosen, self.config, self.numbers = opened(model, training, len(self.class_names), device, needs)
        self.device = str(chosen)
        self._start = locate(model)
        self.reader = ImageReader(self.config, chosen, flip=training.flip)
        self._labels: KnownLabels | None = None
        self._trained: TrainedModel | None = None

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

        The same arguments give the same bytes on a CPU. ConfigError where early stopping has no validation images.
        """
        spec, batch_size = self.training, self.numbers.batch_size
        if spec.duration == "early_stop" and not val:
            raise ConfigError(
                "early stopping needs a validation split, and this dataset has none",
                where="training.duration=early_stop",
                remedy="add dataset.val=20% to hold out a share of the pool, or set training.duration=epochs",
            )
        unit = spec.unit(len(train), batch_size)
        seed_everything(seed)
        with deterministic(self.reader.threads):
            model = self._start_model(init)
            use_row_backward(model)
            optimizer = make_optimizer(self.config, spec, self.numbers, model)
            average = None if spec.ema is None else WeightAverage(model, spec.ema)
            batches = training_batches(
                to_dicts(train, order),
                self.reader.mapper(labels=True, augment=True),
                batch_size=batch_size,
                seed=seed,
                by_aspect=self.config.groups_by_aspect,
                workers=self.reader.workers,
                shuffle=order is None,
            )
            observers = self._observers(model, optimizer, average, seed, init)
            part = Stretch(rounds_behind(init), self.trainings) if spec.init == "join" else WHOLE
            history = train_model(
                model,
                batches,
                optimizer,
                make_schedule(self.config, spec, optimizer, self.iterations * unit, unit=unit, part=part),
                iterations=self.iterations * unit,
                amp=spec.amp,
                average=average,
                validate=partial(self._validation_loss, model, val) if val and spec.val_every else None,
                val_every=(spec.val_every or 1) * unit,
                patience=spec.patience if spec.duration == "early_stop" else None,
                judge=partial(self._judged, model, val, self.judge) if val and self.judge else None,
                observers=observers,
            )
        extras = {"seed": np.array(seed)}
        for observer in observers:
            extras |= observer.extras
        self._adopt(model, extras)
        steps = history[-1].iteration  # the last step is always a point
        epochs = steps / unit if spec.counts_epochs else steps * batch_size / len(train)
        return Checkpoint(weights_of(model), history, extras, epochs)

    def _observers(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: WeightAverage | None,
        seed: int,
        init: Checkpoint | None,
    ) -> list[ClassDifficulty | LossPrediction | Joined]:
        """The hooks whose `extras` the checkpoint keeps. Call it before the schedule is made, which a shared optimizer must
        know whole."""
        observers: list[ClassDifficulty | LossPrediction | Joined] = [ClassDifficulty(len(self.class_names), init)]
        optimizers = {"optimizer": optimizer}
        if self._predicts_loss:
            shared = optimizer if self.spec.loss_prediction == "shared" else None
            loss_prediction = LossPrediction(model, seed=seed, start=init, shared=shared)
            if loss_prediction.own is not None:
                optimizers["loss_optimizer"] = loss_prediction.own
            observers.append(loss_prediction)
        if self.training.init == "join":
            observers.append(Joined(model, optimizers, average, init))
        return observers

    def start(self, seed: int) -> Checkpoint:
        """The weights that `fit` would begin from with this seed, and what its observers know before the first step."""
        require_classes(self.spec, self.class_names)
        seed_everything(seed)
        with deterministic(self.reader.threads):
            model = self._start_model(None, whole=True)
        extras = {"seed": np.array(seed)} | ClassDifficulty(len(self.class_names)).extras
        self._adopt(model, extras)
        return Checkpoint(weights_of(model), (), extras)

    def _start_model(self, init: Checkpoint | None, whole: bool = False) -> nn.Module:
        model = build(self.config, self.spec)
        if init is not None:
            put_weights(model, init.state, "the weights to continue from")
        elif self._start is not None:
            load_weights(model, self._start, whole=whole)
        return model

    def _validation_loss(self, model: nn.Module, val: Dataset) -> float:
        return mean_loss(model, self.reader.batches(val, labels=True, batch_size=self.numbers.batch_size))

    def _judged(self, model: nn.Module, val: Dataset, judge: Judge) -> float | None:
        read = tap(model)
        found = [DetectionArrays(one) for batch in self.reader.batches(val, labels=False) for one in read(batch)]
        return judge(predictions(val.ids, found, frozenset(), {}, len(self.class_names), read.prob_kind), val)

    def _adopt(self, model: nn.Module, extras: Mapping[str, NDArray[Any]]) -> None:
        self._trained = TrainedModel(model, extras, self.spec, self.reader, self._labels)

    # ---- asking

    @property
    def trained(self) -> TrainedModel:
        """The model that answers. RuntimeError before the first `fit`, `start` or `load`."""
        if self._trained is None:
            raise RuntimeError("fit or load first: the learner has no weights yet")
        return self._trained

    def infer(self, images: Dataset, signals: frozenset[Signal] = frozenset()) -> Predictions:
        """Boxes as the model itself gives them (its own threshold, NMS and limit per image), best first, without scores
        of exactly 0; and a column per signal. ValueError for a signal not provided.

        Signals of boxes and features come out of one pass through the backbone, however many are asked for (JITTER takes
        six more, on noisy images); the rest are answered by their source, if asked for.
        """
        if missing := sorted(signals - self.provides):
            raise ValueError(f"{self.spec.name} does not provide {', '.join(missing)}; it has {sorted(self.provides)}")
        return self.trained.infer(images, signals, len(self.class_names))

    def inform(self, *, labeled: Dataset, initial: Dataset, val: Dataset | None, scored: Dataset) -> None:
        """The labels that INFLUENCE and GRADIENT_SIMILARITY are measured against."""
        self._labels = KnownLabels(labeled, initial, val, scored)
        if self._trained is not None:
            self._trained.inform(self._labels)

    def loss(self, images: Dataset) -> Losses:
        """The training loss of each image on its own, without updating anything; the same after save and load.

        An image without objects has the loss of its background. Dense detectors divide by their initial normaliser
        (about 90), not by the image's own number of positives, so that the loss grows with the objects missed.
        """
        return self.trained.loss(images)

    # ---- checkpoints

    def save(self, checkpoint: Checkpoint, path: Path) -> None:
        """In Detectron2's own format, so that MODEL.WEIGHTS reads it."""
        write_checkpoint(checkpoint, path, self.class_names)

    def load(self, path: Path) -> Checkpoint:
        """The checkpoint, its weights ready for `infer` and `loss`. RunError for a file that is missing or unreadable,
        ModelError for one of another model."""
        checkpoint = read_checkpoint(path)
        model = build(self.config, self.spec)
        put_weights(model, checkpoint.state, str(path))
        self._adopt(model, checkpoint.extras)
        return checkpoint
