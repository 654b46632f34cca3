"""The fake learner gives every signal, of the documented shape, and the same for an image whatever it is asked with."""

import numpy as np
import pytest
from shapes import CLASSES, random_dataset

from al_cli.learners.fake import LEVELS, PASSES, FakeLearner
from al_cli.types import IMAGE_AXIS, ROW_AXIS, Signal


@pytest.fixture
def learner():
    learner = FakeLearner(CLASSES)
    learner.fit(random_dataset(10), val=None, seed=1, init=None)
    return learner


def test_every_signal_has_its_shape_and_range(learner):
    images = random_dataset(20, first_id=50)
    assert learner.provides == set(Signal)
    table = learner.infer(images, learner.provides)
    n, m, c = 20, images.box_count, len(CLASSES)
    shapes = {signal: column.shape for signal, column in table.columns.items()}
    per_image = dict.fromkeys(IMAGE_AXIS, (n,))
    assert shapes == per_image | {
        Signal.IMAGE_FEATURES: (n, 8),
        Signal.PROBS: (m, c),
        Signal.BOX_FEATURES: (m, 8),
        Signal.DROPOUT: (PASSES, m, c),
        Signal.JITTER: (m, LEVELS),
        Signal.PROPOSAL_IOU: (m,),
        Signal.CLASS_DIFFICULTY: (c,),
    }
    for signal in (Signal.PROBS, Signal.DROPOUT, Signal.JITTER, Signal.PROPOSAL_IOU, Signal.CLASS_DIFFICULTY):
        assert (table.columns[signal] >= 0).all() and (table.columns[signal] <= 1).all()
    assert (table.columns[Signal.DROPOUT].sum(2) <= 1 + 1e-6).all()
    assert table.columns[Signal.TRUE_BOXES].tolist() == [len(image.boxes) for image in images.images]
    assert np.array_equal(table.columns[Signal.TRUE_LOSS], learner.loss(images).astype(np.float32))


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
