"""The fake learner gives every signal, and the same for an image whichever others it is asked with. Shapes: test_laws."""

import numpy as np
import pytest
from shapes import CLASSES, random_dataset

from al_cli.learners.fake import FakeLearner
from al_cli.types import ROW_AXIS, Signal


@pytest.fixture
def learner():
    learner = FakeLearner(CLASSES)
    learner.fit(random_dataset(10), val=None, seed=1, init=None)
    return learner


def test_it_has_every_signal_and_what_is_known_of_an_image_is_right(learner):
    images = random_dataset(20, first_id=50)
    assert learner.provides == set(Signal)
    table = learner.infer(images, learner.provides)
    assert (table.columns[Signal.DROPOUT].sum(2) <= 1 + 1e-6).all()
    assert table.columns[Signal.TRUE_BOXES].tolist() == [len(image.boxes) for image in images.images]
    classes = [np.bincount(image.classes, minlength=3).tolist() for image in images.images]
    assert table.columns[Signal.TRUE_CLASSES].tolist() == classes
    assert np.array_equal(table.columns[Signal.TRUE_LOSS], learner.loss(images).total.astype(np.float32))


def test_an_image_says_the_same_in_any_company(learner):
    images = random_dataset(20, first_id=50)
    some = [52, 54, 61]  # 54 has no objects
    together = learner.infer(images, learner.provides).select(some)
    alone = learner.infer(images.select(some), learner.provides)
    for signal in Signal:
        assert np.array_equal(together.columns[signal], alone.columns[signal]), signal


def test_nothing_but_empty_images(learner):
    table = learner.infer(random_dataset(20).select([4, 9]), learner.provides)
    assert table.counts.tolist() == [0, 0]
    assert all(table.columns[signal].shape[axis] == 0 for signal, axis in ROW_AXIS.items())


def test_a_signal_without_a_case_says_where_to_add_one(learner):
    with pytest.raises(NotImplementedError, match=r"does not know the signal flip: add a case in learners/fake.py"):
        learner._column("flip", random_dataset(2), np.zeros((0, 3)))
