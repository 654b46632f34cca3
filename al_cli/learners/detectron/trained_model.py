"""A detector with weights, and what it answers: boxes, signals, losses. Trains nothing and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from al_cli.learners.detectron.image_reader import ImageReader
from al_cli.learners.detectron.influence.source import InfluenceSource
from al_cli.learners.detectron.signals.columns import DetectionArrays, predictions, true_boxes
from al_cli.learners.detectron.signals.tap import MapReader, Tap, tap
from al_cli.learners.detectron.training.loss import batch_parts, class_and_box
from al_cli.learners.detectron.training.loss_prediction import loss_reader
from al_cli.learners.pytorch.determinism import deterministic
from al_cli.learners.pytorch.labels import KnownLabels
from al_cli.learners.pytorch.loss_module import has_loss_module
from al_cli.learners.spec import InfluenceSpec, ModelSpec
from al_cli.progress import phase
from al_cli.types import INFLUENCES, Dataset, Losses, Predictions, Signal

SignalSource = Callable[[Dataset], NDArray[Any]]  # answers one signal of images or classes: [N] or [N, D], or [C]


class TrainedModel:
    """`extras` are what training left besides the weights: its seed, and what its observers learned."""

    def __init__(
        self,
        model: nn.Module,
        extras: Mapping[str, NDArray[Any]],
        spec: ModelSpec,
        reader: ImageReader,
        labels: KnownLabels | None,
    ):
        self.model, self.extras, self.spec, self.reader = model, extras, spec, reader
        self.inform(labels)
        self._readers: dict[Signal, MapReader] = {}  # of signals that the weights alone answer
        if has_loss_module(extras):
            self._readers[Signal.PREDICTED_LOSS] = loss_reader(model, extras)
        self.tap = self._tap_with(self._readers)
        # What the inference pass cannot answer. A signal of the pass itself is read off the backbone's maps instead.
        self._sources: dict[Signal, SignalSource] = {
            Signal.TRUE_LOSS: lambda images: self.loss(images).total,
            Signal.TRUE_BOXES: true_boxes,
            Signal.TRUE_CLASSES: lambda images: images.class_counts,
            Signal.CLASS_DIFFICULTY: lambda _images: self.extras["class_difficulty"],
        }

    def inform(self, labels: KnownLabels | None) -> None:
        self._labels = labels
        self._influence: InfluenceSource | None = None

    def infer(self, images: Dataset, signals: frozenset[Signal], num_classes: int) -> Predictions:
        """See `DetectronLearner.infer`. KeyError for a signal that neither the pass nor a source answers."""
        with deterministic(self.reader.threads):
            read = self._reading(signals)
        tapped, seed = signals & read.provides, int(self.extras.get("seed", 0))
        found: list[DetectionArrays] = []
        batches = self.reader.batches(images, labels=False)
        with phase("infer", total=len(images)) as step, deterministic(self.reader.threads):
            for batch in batches:
                found += [DetectionArrays(one) for one in read(batch, tapped, seed=seed)]
                step(len(batch))
        others = {signal: self._sources[signal](images) for signal in sorted(signals - tapped)}
        return predictions(images.ids, found, tapped, others, num_classes, read.prob_kind)

    def loss(self, images: Dataset) -> Losses:
        """See `DetectronLearner.loss`."""
        batches = self.reader.batches(images, labels=True, batch_size=1)
        rows = []
        with phase("loss", total=len(images)) as step, deterministic(self.reader.threads):
            for parts, count in batch_parts(self.model, batches, as_in_training=False):
                rows.append((float(sum(parts.values())), *class_and_box(parts)))
                step(count)
        return Losses(*np.array(rows, dtype=np.float64).reshape(-1, 3).T)

    def _tap_with(self, readers: Mapping[Signal, MapReader]) -> Tap:
        return tap(self.model, passes=self.spec.dropout_passes, readers=readers)

    def _reading(self, signals: frozenset[Signal]) -> Tap:
        """The tap that reads these signals off the backbone's maps in the pass that finds the boxes."""
        asked = signals & INFLUENCES
        if not asked:
            return self.tap
        return self._tap_with(self._readers | {signal: self._influences().reader(signal) for signal in sorted(asked)})

    def _influences(self) -> InfluenceSource:
        """Influence on the reference set that the model's settings name, with the labels of now."""
        if self._labels is None:
            raise RuntimeError("inform first: influence is measured against labeled images")
        if self._influence is None:
            spec, labels = InfluenceSpec.of(self.spec.influence), self._labels
            self._influence = InfluenceSource(
                self.model,
                self.reader.mapper,
                labeled=labels.labeled,
                reference=labels.reference(spec.reference),
                spec=spec,
                workers=self.reader.workers,
            )
        return self._influence
