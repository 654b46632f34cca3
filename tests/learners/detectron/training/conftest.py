"""What the tests of training share: the images, and settings under which a training repeats to the bit."""

import pytest

from al_cli.datasets.yolo import load_yolo
from al_cli.learners.pytorch.determinism import deterministic
from al_cli.types import Dataset


@pytest.fixture(scope="module")
def shapes(yolo_root) -> Dataset:
    return load_yolo(yolo_root).train


@pytest.fixture(autouse=True)
def repeatable():
    with deterministic(1):
        yield
