"""Detectron2 behind the Learner protocol: train, infer, measure the loss, save, load.

Everything that differs between detectors lies in `zoo` (configs), `signals` (taps) and `tiny`; nothing here asks which
one it has. Models that take images as they are (the tiny ones) keep them decoded in memory and infer in batches of 16;
models that resize infer one image at a time, as Detectron2's own DefaultPredictor does.
"""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from al_cli.errors import ConfigError, ModelError, RunError
from al_cli.learners.detectron.influence.source import InfluenceSource
from al_cli.learners.detectron.model.weights import load_weights, locate
from al_cli.learners.detectron.model.zoo import build, choose_device, open_config
from al_cli.learners.detectron.signals.columns import Table, join, true_boxes
from al_cli.learners.detectron.signals.tap import MapReader, Tap, tap
from al_cli.learners.detectron.training.data import (
    CachedMapper,
    ImageCache,
    Mapper,
    ordered_batches,
    stock_mapper,
    to_dicts,
    training_batches,
)
from al_cli.learners.detectron.training.determinism import deterministic, seed_everything
from al_cli.learners.detectron.training.difficulty import ClassDifficulty
from al_cli.learners.detectron.training.loss import batch_losses, mean_loss
from al_cli.learners.detectron.training.loss_prediction import (
    LossPrediction,
    has_loss_module,
    loss_reader,
    require_pairs,
)
from al_cli.learners.detectron.training.solver import make_optimizer, make_schedule, numbers
from al_cli.learners.detectron.training.train import train as train_model
from al_cli.learners.influence_spec import InfluenceSpec
from al_cli.learners.spec import ModelSpec, TrainingSpec, provides
from al_cli.progress import phase
from al_cli.system import unfinished
from al_cli.types import Checkpoint, Dataset, Learner, LossPoint, Predictions, Signal

INFERENCE_BATCH = 16
INFLUENCE_SIGNALS = frozenset({Signal.INFLUENCE, Signal.GRADIENT_SIMILARITY})
Source = Callable[[Dataset], NDArray[Any]]  # answers one signal of images or classes: [N] or [N, D], or [C]


class DetectronLearner(Learner):
    """A detector of Detectron2 for `class_names`.

    `iterations` is the length of one round's training, in steps or epochs as TrainingSpec.per_round gives it. The
    constructor reads the config and finds the weights, so that ConfigError and ModelError come before anything slow; the
    network itself is built by `fit` and `load`. `needs` are the signals it will be asked for: what takes a training of its
    own (PREDICTED_LOSS) is learned, and provided, only where it is among them.
    """

    def __init__(
        self,
        model: ModelSpec,
        training: TrainingSpec,
        class_names: Sequence[str],
        *,
        iterations: int,
        device: str = "auto",
        needs: frozenset[Signal] = frozenset(),
    ):
        self.spec, self.training, self.class_names = model.check(), training.check(), tuple(class_names)
        self._predicts_loss = Signal.PREDICTED_LOSS in needs
        self.provides = provides(model) - (frozenset() if self._predicts_loss else {Signal.PREDICTED_LOSS})
        self.iterations = iterations
        self._device = choose_device(device)
        self.device = str(self._device)
        if training.amp and self._device.type != "cuda":
            raise ConfigError("mixed precision needs a GPU", where="training.amp=true", remedy="set training.amp=false")
        self.config = open_config(model, len(self.class_names), self._device)
        self.numbers = numbers(self.config, training)
        if self._predicts_loss:
            require_pairs(self.numbers.batch_size)
        self._start = locate(model)
        self._cache = ImageCache()
        self._model: nn.Module | None = None
        self._tap: Tap | None = None
        self._extras: Mapping[str, NDArray[Any]] = {}  # of the checkpoint that answers: its seed and what training told
        # Signals that need more than the inference pass. One of the pass itself is read off the backbone's maps.
        self._sources: dict[Signal, Source] = {
            Signal.TRUE_LOSS: self.loss,
            Signal.TRUE_BOXES: true_boxes,
            Signal.CLASS_DIFFICULTY: lambda _images: self._extras["class_difficulty"],
        }
        self._readers: dict[Signal, MapReader] = {}  # of the weights that answer, as is `_influence`
        self._known: tuple[Dataset, Dataset, Dataset | None] | None = None  # labeled, initial, val: see `inform`
        self._influence: InfluenceSource | None = None

    # ---- training

    def fit(self, train: Dataset, *, val: Dataset | None, seed: int, init: Checkpoint | None) -> Checkpoint:
        """Train on every image of `train` from `init`, or from the starting weights.

        The same arguments give the same bytes on a CPU. ConfigError where early stopping has no validation images.
        """
        spec, batch_size = self.training, self.numbers.batch_size
        if spec.duration == "early_stop" and not val:
            raise ConfigError(
                "early stopping needs a validation split, and this dataset has none",
                where="training.duration=early_stop",
                remedy="set dataset.holdout=0.1 to keep a tenth of the initial images for it, or training.duration=epochs",
            )
        unit = math.ceil(len(train) / batch_size) if spec.counts_epochs else 1
        seed_everything(seed)
        with deterministic(self._threads):
            model = self._start_model(init)
            optimizer = make_optimizer(self.config, spec, self.numbers, model)
            batches = training_batches(
                to_dicts(train),
                self._mapper(labels=True, augment=True),
                batch_size=batch_size,
                seed=seed,
                by_aspect=self.config.groups_by_aspect,
                workers=self._workers,
            )
            observers: list[ClassDifficulty | LossPrediction] = [ClassDifficulty(len(self.class_names), init)]
            if self._predicts_loss:
                observers.append(LossPrediction(model, seed=seed, start=init))
            history = train_model(
                model,
                batches,
                optimizer,
                make_schedule(self.config, spec, optimizer, self.iterations * unit),
                iterations=self.iterations * unit,
                amp=spec.amp,
                ema=spec.ema,
                validate=partial(self._validation_loss, model, to_dicts(val)) if val and spec.val_every else None,
                val_every=(spec.val_every or 1) * unit,
                patience=spec.patience if spec.duration == "early_stop" else None,
                observers=observers,
            )
        extras = {"seed": np.array(seed)}
        for observer in observers:
            extras |= observer.extras
        self._adopt(model, extras)
        return Checkpoint({k: v.detach().cpu().clone() for k, v in model.state_dict().items()}, history, extras)

    def _start_model(self, init: Checkpoint | None) -> nn.Module:
        model = build(self.config, self.spec)
        if init is not None:
            self._put(model, init.state, "the weights to continue from")
        elif self._start is not None:
            load_weights(model, self._start)
        return model

    def _validation_loss(self, model: nn.Module, records: list[dict[str, Any]]) -> float:
        mapper = self._mapper(labels=True)
        return mean_loss(
            model, ordered_batches(records, mapper, batch_size=self.numbers.batch_size, workers=self._workers)
        )

    # ---- asking

    def infer(self, images: Dataset, signals: frozenset[Signal] = frozenset()) -> Predictions:
        """Boxes as the model itself gives them (its own threshold, NMS and limit per image), best first, without scores
        of exactly 0; and a column per signal. ValueError for a signal not provided.

        Signals of boxes and features come out of one pass through the backbone, however many are asked for (JITTER takes
        six more, on noisy images); the rest are answered by their source, if asked for.
        """
        if missing := sorted(signals - self.provides):
            raise ValueError(f"{self.spec.name} does not provide {', '.join(missing)}; it has {sorted(self.provides)}")
        with deterministic(self._threads):
            read = self._reading(signals)
        tapped, seed = signals & read.provides, int(self._extras.get("seed", 0))
        batch_size = 1 if self.config.resizes else INFERENCE_BATCH
        batches = ordered_batches(
            to_dicts(images), self._mapper(labels=False), batch_size=batch_size, workers=self._workers
        )
        tables: list[Table] = []
        with phase("infer", total=len(images)) as step, deterministic(self._threads):
            for batch in batches:
                tables += [Table(one) for one in read(batch, tapped, seed=seed)]
                step(len(batch))
        classes = len(self.class_names)
        columns = {s: join([table.columns[s] for table in tables], s, classes) for s in sorted(tapped)}
        columns |= {signal: self._sources[signal](images) for signal in sorted(signals - tapped)}
        none = np.zeros(0)
        return Predictions(
            images.ids,
            np.cumsum([0, *(len(table.scores) for table in tables)]),
            np.concatenate([none.reshape(0, 4), *(table.boxes for table in tables)]),
            np.concatenate([none, *(table.scores for table in tables)]),
            np.concatenate([none.astype(np.int64), *(table.classes for table in tables)]),
            classes,
            read.prob_kind,
            columns,
        )

    def inform(self, *, labeled: Dataset, initial: Dataset, val: Dataset | None) -> None:
        """The labels that INFLUENCE and GRADIENT_SIMILARITY are measured against."""
        self._known, self._influence = (labeled, initial, val), None

    def loss(self, images: Dataset) -> NDArray[np.float64]:
        """[N] the training loss of each image on its own, without updating anything; the same after save and load.

        An image without objects has the loss of its background. Dense detectors divide by their initial normaliser
        (about 90), not by the image's own number of positives, so that the loss grows with the objects missed.
        """
        read = self._ready()
        batches = ordered_batches(to_dicts(images), self._mapper(labels=True), batch_size=1, workers=self._workers)
        values = []
        with phase("loss", total=len(images)) as step, deterministic(self._threads):
            for value, count in batch_losses(read.model, batches, as_in_training=False):
                values.append(value)
                step(count)
        return np.array(values, dtype=np.float64)

    # ---- checkpoints

    def save(self, checkpoint: Checkpoint, path: Path) -> None:
        """Detectron2's own format, so that MODEL.WEIGHTS reads it, with the loss curves next to the weights."""
        history = [[point.iteration, point.train_loss, point.val_loss] for point in checkpoint.history]
        extras = {name: torch.from_numpy(array) for name, array in checkpoint.extras.items()}
        with unfinished(path) as draft, draft.open("wb") as file:
            torch.save({"model": dict(checkpoint.state), "history": history, "extras": extras}, file)

    def load(self, path: Path) -> Checkpoint:
        """The checkpoint, its weights ready for `infer` and `loss`. RunError for a file that is missing or unreadable,
        ModelError for one of another model."""
        try:
            data = torch.load(path, map_location="cpu", weights_only=True)
            state, history = data["model"], data["history"]
            extras = {name: tensor.numpy() for name, tensor in data.get("extras", {}).items()}
        except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
            raise RunError(
                f"the checkpoint cannot be read: {type(error).__name__}",
                where=str(path),
                remedy="delete its round's folder, and the run trains that round again",
            ) from error
        model = build(self.config, self.spec)
        self._put(model, state, str(path))
        self._adopt(model, extras)
        return Checkpoint(state, tuple(LossPoint(*point) for point in history), extras)

    # ---- parts

    def _put(self, model: nn.Module, state: Any, where: str) -> None:
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise ModelError(
                "the checkpoint is of another model or another number of classes",
                where=where,
                remedy="use the model and dataset it was trained with, or start from it with model.weights=FILE",
            ) from error

    def _adopt(self, model: nn.Module, extras: Mapping[str, NDArray[Any]]) -> None:
        self._model, self._extras, self._influence = model, extras, None
        self._tap = self._tap_with(
            {Signal.PREDICTED_LOSS: loss_reader(model, extras)} if has_loss_module(extras) else {}
        )

    def _tap_with(self, readers: Mapping[Signal, MapReader]) -> Tap:
        assert self._model is not None
        return tap(self._model, passes=self.spec.dropout_passes, readers=readers)

    def _reading(self, signals: frozenset[Signal]) -> Tap:
        """The tap that reads these signals off the backbone's maps in the pass that finds the boxes."""
        read = self._ready()
        asked = signals & INFLUENCE_SIGNALS
        return (
            self._tap_with({signal: self._influences().reader(signal) for signal in sorted(asked)}) if asked else read
        )

    def _influences(self) -> InfluenceSource:
        """Influence on the reference set that the model's settings name, with the weights and labels of now."""
        if self._known is None:
            raise RuntimeError("inform first: influence is measured against labeled images")
        if self._influence is None:
            labeled, initial, val = self._known
            spec = InfluenceSpec.of(self.spec.influence)
            reference = {"val": val, "initial": initial, "labeled": labeled}[spec.reference]
            if reference is None:
                raise ConfigError(
                    "influence is measured on the validation images, and there are none",
                    where="model.influence.reference=val",
                    remedy="add dataset.holdout=0.2, or set model.influence.reference=labeled",
                )
            assert self._model is not None
            self._influence = InfluenceSource(
                self._model,
                self._mapper,
                labeled=labeled,
                reference=reference,
                spec=spec,
                batch_size=1 if self.config.resizes else INFERENCE_BATCH,
                workers=self._workers,
            )
        return self._influence

    def _ready(self) -> Tap:
        if self._tap is None:
            raise RuntimeError("fit or load first: the learner has no weights yet")
        return self._tap

    def _mapper(self, *, labels: bool, augment: bool = False) -> Mapper:
        flip = augment and self.training.flip
        if self.config.resizes:
            steps = self.config.augmentations(train=augment, flip=flip)
            return stock_mapper(steps, self.config.image_format, labels=labels)
        return CachedMapper(self._cache, self.config.image_format, labels=labels, flip=flip)

    @property
    def _threads(self) -> int | None:
        """One for models that take images as they are: on small images more threads gain 5%, cost tenfold when another
        process wants the cores, and make the last digits depend on how many there are."""
        return None if self.config.resizes else 1

    @property
    def _workers(self) -> int:
        """Processes that decode images. None on a CPU, where they would take the cores that train."""
        return self.config.workers if self.config.resizes and self._device.type == "cuda" else 0


def check_detectron2(device: torch.device) -> str:
    """Build the tiny Faster R-CNN and run it on one image; one line that says what worked. Raises whatever failed."""
    start = time.perf_counter()
    spec = ModelSpec("tiny_faster_rcnn", "tiny_faster_rcnn", weights="none")
    model = build(open_config(spec, 2, device), spec)
    found = tap(model)([{"image": torch.zeros(3, 96, 96, dtype=torch.uint8), "height": 96, "width": 96}])
    if len(found) != 1:
        raise RuntimeError(f"one image in, {len(found)} results out")
    return f"yes: a forward pass of tiny_faster_rcnn took {time.perf_counter() - start:.1f} s"
