"""A model that trains in no time: it sees every object, or the class of every image, blurred by how little it was trained on.

It runs the whole loop in a second on a CPU (tests, trying out a sampler, `al run model=fake`). It cheats: predictions are
the true boxes plus noise that shrinks with the number of labels of their class, so metrics rise as labels come in.
It provides every signal, each of the right shape and range and in the spirit of the real one, so it can try any sampler.
No torch, no files besides its checkpoint. Everything is a function of the seed and the image's name.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from al_cli.errors import ModelError, RunError
from al_cli.progress import phase
from al_cli.rng import rng_for
from al_cli.system import write_atomic
from al_cli.types import (
    Checkpoint,
    Dataset,
    Image,
    LabelKind,
    Learner,
    Losses,
    LossPoint,
    Predictions,
    ProbKind,
    Signal,
)

FEATURES = 8
PASSES = 5  # of dropout
LEVELS = 6  # of image noise


class FakeLearner(Learner):
    """`label`: what a label is. `fit_s` stretches a training to that many seconds, so that a test can kill it midway."""

    provides = frozenset(Signal)
    device = "cpu"

    def __init__(
        self, class_names: tuple[str, ...], *, iterations: int = 20, fit_s: float = 0.0, label: LabelKind = "objects"
    ):
        self.num_classes, self.iterations, self.fit_s, self.label = len(class_names), iterations, fit_s, label
        self.state: dict = {}

    def fit(
        self,
        train: Dataset,
        *,
        val: Dataset | None,
        seed: int,
        init: Checkpoint | None,
        order: Sequence[int] | None = None,
    ) -> Checkpoint:
        counts = np.array(init.state["counts"]) if init else np.zeros(self.num_classes, int)
        for image in train.images:
            counts = counts + np.bincount(image.classes, minlength=self.num_classes)
        history = []
        with phase("train", self.iterations, "it") as step:
            for i in range(1, self.iterations + 1):
                time.sleep(self.fit_s / self.iterations)
                loss = float(1 / i + 1 / (1 + counts.sum()))
                history.append(LossPoint(i, loss, loss * 1.1 if val is not None and i % 10 == 0 else None))
                step(loss=loss)
        self.state = {"counts": counts.tolist(), "seed": seed}
        return Checkpoint(dict(self.state), tuple(history), epochs=1.0)  # it counts every image once

    def start(self, seed: int) -> Checkpoint:
        self.state = {"counts": [0] * self.num_classes, "seed": seed}
        return Checkpoint(dict(self.state))

    @property
    def _blur(self) -> NDArray[np.float64]:
        """[C] how badly each class is known: 1 before any label of it, towards 0 with many."""
        return 1 / np.sqrt(1 + np.array(self.state["counts"], float))

    def infer(self, images: Dataset, signals: frozenset[Signal] = frozenset()) -> Predictions:
        if unknown := signals - self.provides:
            raise ValueError(f"the fake learner does not provide {sorted(unknown)}")
        tables = [self._detect(image) for image in images.images]
        none = (np.zeros((0, 4)), np.zeros(0), np.zeros(0, int), np.zeros((0, self.num_classes)))
        boxes, scores, classes, probs = (np.concatenate(parts) for parts in zip(none, *tables, strict=True))
        offsets = np.concatenate([[0], np.cumsum([len(table[1]) for table in tables], dtype=int)])
        columns = {signal: self._column(signal, images, probs).astype(np.float32) for signal in sorted(signals)}
        kind: ProbKind = "softmax" if self.label == "objects" else "exclusive"
        return Predictions(images.ids, offsets, boxes, scores, classes, self.num_classes, kind, columns)

    def _column(self, signal: Signal, images: Dataset, probs: NDArray) -> NDArray:
        """One signal of these images, with the shape that `types.Signal` documents. `probs` [M,C] are those of all boxes.
        NotImplementedError for a signal that has no case here."""
        match signal:
            case Signal.PROBS:
                return probs
            case Signal.BOX_FEATURES:
                return np.pad(probs, ((0, 0), (0, FEATURES)))[:, :FEATURES] + 0.01
            case Signal.LAYER_ACTIVATIONS:
                padded = np.pad(probs, ((0, 0), (0, FEATURES)))[:, :FEATURES]
                return np.stack([np.stack([padded.mean(1), padded.max(1)], 1)] * 3, 1)
            case Signal.CENTER_FEATURES:
                return np.pad(probs, ((0, 0), (0, FEATURES)))[:, :FEATURES] + 0.02
            case Signal.DROPOUT:
                draws = 0.3 * self._noise("dropout", images, rows=True, width=PASSES * self.num_classes)
                passes = probs[:, None] * np.exp(draws.reshape(-1, PASSES, self.num_classes))  # [M, T, C]
                return np.moveaxis(passes / np.maximum(passes.sum(2, keepdims=True), 1), 1, 0)
            case Signal.JITTER:  # the more noise, the further the box moves
                return np.exp(-np.abs(self._noise("jitter", images, rows=True, width=LEVELS)).cumsum(1) / LEVELS)
            case Signal.PROPOSAL_IOU:
                return np.exp(-np.abs(self._noise("proposal", images, rows=True, width=1)[:, 0]))
            case Signal.CLASS_DIFFICULTY:
                return self._blur
            case Signal.IMAGE_FEATURES:
                return self._drawn("image", images) + self._of_classes(images)
            case Signal.TOWER_FEATURES:
                return self._drawn("towers", images)
            case Signal.TRUE_BOXES:
                return np.array([(~image.crowd).sum() for image in images.images])
            case Signal.TRUE_CLASSES:
                return images.class_counts
            case Signal.TRUE_LOSS:
                return self._losses(images)
            case Signal.PREDICTED_LOSS:
                return self._losses(images) + 0.1 * self._noise("loss", images)[:, 0]
            case Signal.INFLUENCE:
                return 0.1 * self._noise("influence", images)[:, 0] - self._losses(images)
            case Signal.ERROR_PROBABILITY:
                return np.tanh(self._losses(images))
            case Signal.POOL_PROBABILITY:
                return 1 / (1 + np.exp(self._noise("pool", images)[:, 0] - self._losses(images)))
            case Signal.GRADIENT_SIMILARITY:
                return np.tanh(self._noise("gradient", images)[:, 0] - self._losses(images))
            case _:
                raise NotImplementedError(
                    f"the fake learner does not know the signal {signal}: add a case in learners/fake.py"
                )

    @staticmethod
    def _drawn(purpose: str, images: Dataset) -> NDArray:
        """[N, FEATURES] normal numbers; those of an image depend on its name alone."""
        features = [rng_for(0, 0, f"{purpose}/{image.name}").normal(size=FEATURES) for image in images.images]
        return np.array(features).reshape(-1, FEATURES)

    def _of_classes(self, images: Dataset) -> NDArray:
        """[N, FEATURES] what images of one class share, the more the better it is known; 0 where a label is no image."""
        if self.label == "objects":
            return np.zeros((len(images), FEATURES))
        shared = np.array([rng_for(0, 0, f"class/{c}").normal(size=FEATURES) for c in range(self.num_classes)])
        known = 3 * (1 - self._blur)[:, None] * shared
        return np.array([known[image.classes[0]] for image in images.images]).reshape(-1, FEATURES)

    def _noise(self, purpose: str, images: Dataset, *, rows: bool = False, width: int = 1) -> NDArray:
        """[N, width] normal numbers, or [M, width] where `rows`; those of an image depend on it and the seed alone."""
        draws = [np.zeros((0, width))]
        for image in images.images:
            rng = rng_for(self.state["seed"], 0, f"{purpose}/{image.name}")
            draws.append(rng.normal(size=(len(image.classes) if rows else 1, width)))
        return np.concatenate(draws)

    def _detect(self, image: Image) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """Boxes [K,4], scores [K], classes [K], probs [K,C] of one image, best first."""
        rng = rng_for(self.state["seed"], 0, f"detect/{image.name}")
        k = len(image.classes)
        blur = self._blur[image.classes][:, None]  # [K, 1]
        size = np.tile(image.boxes[:, 2:] - image.boxes[:, :2], 2)
        corners = image.boxes + rng.normal(size=(k, 4)) * size * 0.5 * blur
        boxes = np.concatenate(
            [np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:]) + 1], 1
        )
        logits = rng.normal(size=(k, self.num_classes + 1)) * 2 * blur  # the last column is background
        logits[np.arange(k), image.classes] += 2 / (0.2 + blur[:, 0])
        if self.label == "image":  # background is no answer, and many images are hard however many labels there are
            boxes, logits = image.boxes, rng.normal(size=(k, self.num_classes))
            logits[np.arange(k), image.classes] += 3.5 * (1 - blur[:, 0])
        probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        probs = probs[:, : self.num_classes]
        order = np.argsort(-probs.max(1, initial=0), kind="stable")
        return boxes[order], probs.max(1, initial=0)[order], probs.argmax(1)[order], probs[order]

    def inform(self, *, labeled: Dataset, initial: Dataset, val: Dataset | None, scored: Dataset) -> None:
        """Nothing here is measured against labeled images."""

    def loss(self, images: Dataset) -> Losses:
        total = self._losses(images)
        if self.label == "image":
            return Losses(total, np.full(len(total), np.nan), np.full(len(total), np.nan))
        return Losses(total, 0.75 * total, 0.25 * total)

    def _losses(self, images: Dataset) -> NDArray[np.float64]:
        if self.label == "image":  # cross-entropy
            true = [self._detect(image)[3][0, image.classes[0]] for image in images.images]
            return -np.log(np.array(true, float))
        return np.array([float(self._blur[image.classes].sum()) for image in images.images])

    def save(self, checkpoint: Checkpoint, path: Path) -> None:
        history = [(p.iteration, p.train_loss, p.val_loss, p.metric) for p in checkpoint.history]
        content = {"state": checkpoint.state, "history": history, "epochs": checkpoint.epochs}
        write_atomic(path, json.dumps(content))

    def load(self, path: Path) -> Checkpoint:
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            points = tuple(LossPoint(*row) for row in data["history"])
            self.state = {
                "counts": [int(count) for count in data["state"]["counts"]],
                "seed": int(data["state"]["seed"]),
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            remedy = "give a checkpoint.pth that the fake wrote"
            raise RunError(
                f"the checkpoint cannot be read: {type(error).__name__}", where=str(path), remedy=remedy
            ) from error
        if len(self.state["counts"]) != self.num_classes:
            raise ModelError("the checkpoint is of another number of classes", where=str(path))
        return Checkpoint(self.state, points, epochs=data.get("epochs"))
