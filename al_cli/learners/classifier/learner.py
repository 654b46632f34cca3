"""A classifier behind the Learner protocol: train, infer, measure the loss, save, load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from al_cli.learners.classifier.spec import ClassifierSpec
from al_cli.learners.classifier.training_spec import ClassifierTraining
from al_cli.types import Checkpoint, Dataset, Judge, Learner, Losses, Predictions, Signal


def check_classifier(
    model: ClassifierSpec,
    training: ClassifierTraining,
    class_names: Sequence[str],
    device: str,
    needs: frozenset[Signal],
    chooses_first: bool,
) -> None:
    """ConfigError or ModelError for all that cannot work and can be known without a download. `chooses_first`: the starting
    weights choose images before any training, so they must be a whole classifier of these classes."""
    raise NotImplementedError


class ClassifierLearner(Learner):
    """A classifier for `class_names`. Arguments are those of `DetectronLearner`."""

    provides: frozenset[Signal]
    device: str

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
        raise NotImplementedError

    def fit(
        self,
        train: Dataset,
        *,
        val: Dataset | None,
        seed: int,
        init: Checkpoint | None,
        order: Sequence[int] | None = None,
    ) -> Checkpoint:
        raise NotImplementedError

    def start(self, seed: int) -> Checkpoint:
        raise NotImplementedError

    def infer(self, images: Dataset, signals: frozenset[Signal] = frozenset()) -> Predictions:
        raise NotImplementedError

    def inform(self, *, labeled: Dataset, initial: Dataset, val: Dataset | None, scored: Dataset) -> None:
        raise NotImplementedError

    def loss(self, images: Dataset) -> Losses:
        raise NotImplementedError

    def save(self, checkpoint: Checkpoint, path: Path) -> None:
        raise NotImplementedError

    def load(self, path: Path) -> Checkpoint:
        raise NotImplementedError
