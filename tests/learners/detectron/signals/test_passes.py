"""A strategy passes each image through the backbone once a stage, however many signals it asks for: counted on the model,
for every practical sampler, against what the guide says."""

from pathlib import Path

import numpy as np
import pytest

from al_cli.cli.samplers import detectors
from al_cli.datasets.yolo import load_yolo
from al_cli.learners.detectron.learner import DetectronLearner
from al_cli.learners.spec import ModelSpec
from al_cli.learners.training_spec import TrainingSpec
from al_cli.samplers.catalog import read_stages
from al_cli.samplers.guide import guide
from al_cli.strategy import Stage, Strategy, keep_count
from al_cli.types import Request, Signal

FOLDER = Path(__file__).parents[4] / "conf" / "sampler"
BUDGET, UD, LABELED = 3, 0.5, 8
ENTRIES = [entry for entry in guide(FOLDER, detectors(), {}) if not entry.oracle and entry.detectors != "none"]


@pytest.fixture(scope="module")
def splits(yolo_root):
    return load_yolo(yolo_root)


@pytest.fixture(scope="module")
def learner(splits) -> DetectronLearner:
    """Two steps of training, dropout layers, and a threshold low enough for every image to have boxes."""
    low = {"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.02}
    spec = ModelSpec("tiny_faster_rcnn", "tiny_faster_rcnn", "none", low, dropout=0.2)
    training = TrainingSpec(iterations=2, batch_size=4, optimizer="adamw", lr=1e-3)
    needs = frozenset({Signal.PREDICTED_LOSS})  # what is learned only where it is asked for
    one = DetectronLearner(spec, training, splits.train.class_names, iterations=2, device="cpu", needs=needs)
    one.fit(splits.train.select(splits.train.ids[:LABELED]), val=splits.val, seed=0, init=None)
    return one


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_each_image_once_a_stage(entry, learner, splits):
    strategy = Strategy([Stage(**stage) for stage in read_stages(FOLDER / f"{entry.name}.yaml")])
    assert strategy.needs <= learner.provides
    pool, labeled = splits.train.ids[LABELED:], splits.train.select(splits.train.ids[:LABELED])
    learner.inform(labeled=labeled, initial=labeled, val=splits.val, scored=splits.test)
    passed = 0

    def count(_module, args):
        nonlocal passed
        passed += len(args[0])

    handle = learner.trained.model.backbone.register_forward_pre_hook(count)
    try:
        strategy.select(
            Request(
                pool,
                infer=lambda ids, signals: learner.infer(splits.train.select(ids), signals),
                budget=BUDGET,
                ud=UD,
                rng=np.random.default_rng(0),
                truth=labeled,
                labeled=labeled.ids.tolist(),
                held_out=splits.val,
                infer_held_out=lambda ids, signals: learner.infer(splits.val.select(ids), signals),
            )
        )
    finally:
        handle.remove()
    images = {
        "pool": len(pool),
        "labeled": LABELED,
        "validation": len(splits.val),
        "4x budget": keep_count("4x", len(pool), BUDGET),
        "20% of pool": keep_count("20%", len(pool), BUDGET),
        "10000 of pool": keep_count("10000 images", len(pool), BUDGET),
        "what ud keeps": keep_count("ud", len(pool), BUDGET, UD),
    }
    assert passed == sum(one.times * images[one.images] for one in entry.passes)


def test_many_signals_take_one_pass(learner, splits):
    together = frozenset(
        {Signal.PROBS, Signal.BOX_FEATURES, Signal.IMAGE_FEATURES, Signal.DROPOUT, Signal.PROPOSAL_IOU}
    )
    seen = []
    handle = learner.trained.model.backbone.register_forward_pre_hook(lambda _module, args: seen.append(len(args[0])))
    try:
        learner.infer(splits.test, together | {Signal.CLASS_DIFFICULTY})
    finally:
        handle.remove()
    assert sum(seen) == len(splits.test)
