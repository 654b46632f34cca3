"""Whose loss influence is to lower: `model.influence.reference`, with the learner as the loop uses it."""

import numpy as np
import pytest

from al_cli.datasets.yolo import load_yolo
from al_cli.learners.detectron.learner import DetectronLearner
from al_cli.learners.fake import FakeLearner
from al_cli.learners.spec import ModelSpec
from al_cli.learners.training_spec import TrainingSpec
from al_cli.store.disk import Store
from al_cli.store.learner import StoredLearner
from al_cli.types import Signal, Splits

MEASURED = frozenset({Signal.INFLUENCE, Signal.GRADIENT_SIMILARITY})
CLASSES = ("circle", "square", "star")


@pytest.fixture(scope="module")
def splits(yolo_root) -> Splits:
    return load_yolo(yolo_root)


def learner(**influence) -> DetectronLearner:
    low = {"MODEL.RETINANET.SCORE_THRESH_TEST": 0.01}
    settings = {"threshold": 0.01, "samples": 2, "repeats": 1, "scale": 1e3, **influence}
    spec = ModelSpec("tiny_retinanet", "tiny_retinanet", "none", low, influence=settings)
    training = TrainingSpec(iterations=1, batch_size=2, optimizer="adamw", lr=1e-3)
    return DetectronLearner(spec, training, CLASSES, iterations=1, device="cpu")


@pytest.fixture(scope="module")
def weights(splits, tmp_path_factory):
    path, one = tmp_path_factory.mktemp("weights") / "one.pth", learner()
    one.save(one.fit(splits.train.select(splits.train.ids[:2]), val=None, seed=0, init=None), path)
    return path


def measure(weights, splits, reference, **labels):
    """[4] and [4]: both signals of four images of the pool."""
    one = learner(reference=reference)
    one.load(weights)
    first = splits.train.select(splits.train.ids[:3])
    one.inform(**{"labeled": first, "initial": first, "val": None, "scored": splits.test, **labels})
    columns = one.infer(splits.train.select(splits.train.ids[10:14]), MEASURED).columns
    return [columns[signal] for signal in sorted(MEASURED)]


def test_the_images_that_rounds_are_scored_on(weights, splits):
    """The values are those of a run whose validation split has these images; no validation images are needed."""
    few, others = (splits.test.select(splits.test.ids[part]) for part in (slice(0, 3), slice(3, 6)))
    on_scored = measure(weights, splits, "test", scored=few)
    on_val = measure(weights, splits, "val", val=few, scored=others)
    assert all(np.array_equal(a, b) for a, b in zip(on_scored, on_val, strict=True))
    on_others = measure(weights, splits, "test", val=few, scored=others)
    assert not any(np.array_equal(a, b) for a, b in zip(on_scored, on_others, strict=True))


def test_stored_influence_is_of_these_labels(splits, tmp_path):
    """Other images to score on are another result; of signals that no label decides they are the same."""
    about = dict.fromkeys(("code", "versions", "device", "kernels"), "")
    stored = StoredLearner(FakeLearner(CLASSES), Store(tmp_path), identity=about, asking={})
    keys = {}
    for name, scored in (("all", splits.test), ("few", splits.test.select(splits.test.ids[:3]))):
        stored.inform(labeled=splits.train, initial=splits.train, val=splits.val, scored=scored)
        for signal in (Signal.INFLUENCE, Signal.PROBS):
            keys[name, signal] = Store.key(stored.about_inference(splits.train, frozenset({signal})))
    assert keys["all", Signal.INFLUENCE] != keys["few", Signal.INFLUENCE]
    assert keys["all", Signal.PROBS] == keys["few", Signal.PROBS]
