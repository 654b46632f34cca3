"""What the tests of trainings share: few images with one class each, and a quick recipe."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from al_cli.learners.classifier.learner import ClassifierLearner
from al_cli.learners.classifier.spec import ClassifierSpec
from al_cli.learners.classifier.training_spec import ClassifierTraining
from al_cli.types import Dataset, Image

TINY = ClassifierSpec("tiny_cnn", "tiny_cnn")
PLAIN = ClassifierTraining(
    iterations=6, batch_size=4, optimizer="sgd", lr=0.05, weight_decay=0.0, schedule="constant", flip=False
)


@pytest.fixture(scope="session")
def bars(tmp_path_factory) -> Dataset:
    """21 grey images of 8 x 8 px in three classes: a bright bar at the left, in the middle or at the right, and noise."""
    folder, rng = tmp_path_factory.mktemp("bars"), np.random.default_rng(0)
    images = []
    for number in range(21):
        pixels = rng.integers(0, 90, (8, 8), dtype=np.uint8)
        pixels[:, 3 * (number % 3) : 3 * (number % 3) + 2] = 220
        path = Path(folder) / f"{number}.png"
        PILImage.fromarray(pixels).save(path)
        images.append(Image.of_class(number, path, 8, 8, number % 3))
    return Dataset(("left", "middle", "right"), tuple(images))


@pytest.fixture
def learner(bars):
    """learner(iterations=6, ...) -> a tiny_cnn of the plain recipe with these settings; the other words go to it."""

    def make(*, trainings=1, model=TINY, needs=frozenset(), judge=None, length=None, **settings) -> ClassifierLearner:
        spec = replace(PLAIN, **settings)
        return ClassifierLearner(
            model,
            spec,
            bars.class_names,
            iterations=length or spec.per_round(trainings),
            trainings=trainings,
            device="cpu",
            needs=needs,
            judge=judge,
        )

    return make
