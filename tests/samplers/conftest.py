"""Random predictions for the sampler tests: ragged ones, and those with one row an image."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from al_cli.types import Dataset, Image, Predictions, Signal


def make_ragged(
    rng: np.random.Generator,
    images: int = 30,
    most_boxes: int = 6,
    classes: int = 4,
    dim: int = 5,
    prob_kind: str = "softmax",
    empty_share: float = 0.25,
) -> Predictions:
    """Images with 0 to `most_boxes` boxes, ids with gaps, and every column a sampler of this project may ask for.

    Of the kind `exclusive`: each image is one box and has one class."""
    if prob_kind == "exclusive":
        return make_classified(rng, images, classes, dim)
    counts = rng.integers(1, most_boxes + 1, images) * (rng.random(images) >= empty_share)
    m = int(counts.sum())
    scores = np.concatenate([-np.sort(-rng.uniform(0.01, 1, c)) for c in counts] or [np.zeros(0)])
    corner = rng.uniform(0, 200, (m, 2))
    probs = rng.dirichlet(np.ones(classes + 1), m)[:, :classes]  # without the background
    if prob_kind == "sigmoid":
        probs = rng.random((m, classes))
    passes = rng.dirichlet(np.ones(classes + 1), (3, m))[..., :classes]
    columns = {
        Signal.PROBS: probs,
        Signal.BOX_FEATURES: rng.normal(size=(m, dim)).astype(np.float32),
        Signal.IMAGE_FEATURES: rng.normal(size=(images, dim)).astype(np.float32),
        Signal.DROPOUT: passes if prob_kind == "softmax" else rng.random((3, m, classes)),
        Signal.JITTER: rng.random((m, 6)),
        Signal.PROPOSAL_IOU: rng.random(m),
        Signal.CLASS_DIFFICULTY: rng.random(classes),
        Signal.PREDICTED_LOSS: rng.normal(size=images),
        Signal.TRUE_LOSS: rng.random(images),
        Signal.TRUE_BOXES: rng.integers(9, size=images),
        Signal.INFLUENCE: rng.normal(size=images),
        Signal.GRADIENT_SIMILARITY: rng.uniform(-1, 1, images),
    }
    for other, signal in (
        (Signal.CENTER_FEATURES, Signal.BOX_FEATURES),
        (Signal.TOWER_FEATURES, Signal.IMAGE_FEATURES),
    ):
        columns[other] = columns[signal][::-1] ** 3  # no draws of its own
    counted = columns[Signal.TRUE_BOXES]  # of the classes 0 to 3
    columns[Signal.TRUE_CLASSES] = np.stack([(counted + c) % 3 for c in range(classes)], 1)
    features = columns[Signal.BOX_FEATURES]
    columns[Signal.LAYER_ACTIVATIONS] = np.stack([features.mean(1), features.max(1)], 1)[:, None]
    columns[Signal.ERROR_PROBABILITY] = columns[Signal.TRUE_LOSS][::-1]
    columns[Signal.POOL_PROBABILITY] = columns[Signal.TRUE_LOSS] ** 2
    return Predictions(
        image_ids=np.cumsum(rng.integers(1, 4, images)),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        boxes=np.hstack([corner, corner + rng.uniform(1, 80, (m, 2))]),
        scores=scores,
        classes=rng.integers(classes, size=m),
        num_classes=classes,
        prob_kind=prob_kind,
        columns=columns,
    )


def make_classified(rng: np.random.Generator, images: int, classes: int, dim: int) -> Predictions:
    """One row an image, the image itself; probabilities that sum to 1, the largest as its score; three linear layers."""
    boxed = make_ragged(rng, images, 1, classes, dim, empty_share=0)
    probs = rng.dirichlet(np.ones(classes), images)
    columns = dict(boxed.columns) | {
        Signal.PROBS: probs,
        Signal.DROPOUT: rng.dirichlet(np.ones(classes), (3, images)),
        Signal.LAYER_ACTIVATIONS: rng.normal(size=(images, 3, 2)),
    }
    return Predictions(
        image_ids=boxed.image_ids,
        offsets=np.arange(images + 1),
        boxes=np.tile([0, 0, 300, 300], (images, 1)),
        scores=probs.max(1),
        classes=probs.argmax(1),
        num_classes=classes,
        prob_kind="exclusive",
        columns=columns,
    )


def make_truth(table: Predictions) -> Dataset:
    """Labels for the images of a table: the boxes of every other row, so that a detector of these was right half the time."""
    images = []
    for n, image_id in enumerate(table.image_ids.tolist()):
        rows = np.arange(table.offsets[n], table.offsets[n + 1])[::2]
        images.append(Image(image_id, Path(f"{image_id}.jpg"), 300, 300, table.boxes[rows], table.classes[rows]))
    return Dataset(tuple(f"class {c}" for c in range(table.num_classes)), tuple(images))


@pytest.fixture(scope="session")  # it has no state, and Hypothesis accepts no narrower scope
def ragged() -> Callable[..., Predictions]:
    return make_ragged


@pytest.fixture(scope="session")
def truth_of() -> Callable[[Predictions], Dataset]:
    return make_truth
