"""Is this installation able to train a classifier? What `al doctor` asks of torch alone. Knows no run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from al_cli.learners.classifier.learner import ClassifierLearner
from al_cli.learners.classifier.networks import Network
from al_cli.learners.classifier.spec import ClassifierSpec
from al_cli.learners.classifier.training_spec import ClassifierTraining
from al_cli.learners.pytorch.device import choose_device
from al_cli.learners.pytorch.trial import equal_twice, measured_step, processor
from al_cli.types import Dataset, Image, Signal

_TINY = ClassifierSpec("tiny_cnn", "tiny_cnn")
_SHORT = ClassifierTraining(
    iterations=4, batch_size=4, optimizer="adamw", lr=1e-3, weight_decay=0.0, schedule="constant"
)


def examine_torch(device: str) -> Iterator[tuple[str, str]]:
    """Name and value of each finding: threads, device."""
    yield from processor(choose_device(device))


def classifier_trains_the_same_twice(device: str) -> tuple[bool, bool]:
    """Whether the same short training of tiny_cnn gives the same weights and predictions, to the byte; and whether that was
    on a CPU."""
    with tempfile.TemporaryDirectory() as folder:
        images = _noise(Path(folder))
        same = equal_twice(
            lambda: ClassifierLearner(_TINY, _SHORT, images.class_names, iterations=4, device=device), images
        )
    return same, choose_device(device).type == "cpu"


def _noise(folder: Path) -> Dataset:
    """Eight images of noise."""
    rng, images = np.random.default_rng(0), []
    for number in range(8):
        path = folder / f"{number}.png"
        PILImage.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(path)
        images.append(Image.of_class(number, path, 16, 16, number % 2))
    return Dataset(("one", "other"), tuple(images))


class _Drawn(ClassifierLearner):
    """Starts without weights: reading them changes no size."""

    def _put_starting_weights(self, network: Network) -> None:
        pass


def measure_classifier_step(
    model: ClassifierSpec, training: ClassifierTraining, images: Dataset, *, device: str, needs: frozenset[Signal]
) -> tuple[int, int | None, int]:
    """`measured_step` of this classifier."""
    recipe = replace(
        training,
        duration="iterations",
        iterations=1,
        iterations_per="round",
        steps_per_epoch=None,
        lr_finder=False,
        weights="last",
        stop_on="loss",
        val_every=None,
    )
    return measured_step(
        lambda: _Drawn(model, recipe, images.class_names, iterations=1, device=device, needs=needs),
        images,
        choose_device(device),
    )
