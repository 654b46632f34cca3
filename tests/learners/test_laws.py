"""The laws that every learner must keep. conf/model is listed: a new yaml whose weights are drawn is tested by being there."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from labeled_images import class_folders
from learner_tables import SIGNALS, assert_as_documented, assert_same

from al_cli.experiment.build import build_learner, load_dataset
from al_cli.experiment.job import jobs_of
from al_cli.types import Learner, Signal, Splits

FOLDER = Path(__file__).parents[2] / "conf" / "model"
PROBS = frozenset({Signal.PROBS})
# With few steps of training, detectors are sure of nothing: they have boxes with a low threshold only.
OPTIONS = {
    "tiny_faster_rcnn": ["+model.overrides.MODEL.ROI_HEADS.SCORE_THRESH_TEST=0.02", "model.dropout=0.2"],
    "tiny_retinanet": ["+model.overrides.MODEL.RETINANET.SCORE_THRESH_TEST=0.01", "model.dropout=0.2"],
    "tiny_cnn": ["model.dropout=0.2"],
    "resnet18": ["model.dropout=0.2", "training.duration=iterations", "training.milestones=[2]"],
}


def settings_of(path: Path) -> dict:
    content = yaml.safe_load(path.read_text())
    return content.get("model", content)


def drawn(path: Path) -> bool:
    """Whether it can be built here: published weights would have to be downloaded."""
    return settings_of(path)["weights"] == "none"


MODELS = sorted(path.stem for path in FOLDER.glob("*.yaml") if drawn(path))
QUICK = {"fake", "tiny_faster_rcnn", "tiny_cnn"}  # the others take the same paths, and run in `make test-all`


@pytest.fixture(scope="module", params=[m if m in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in MODELS])
def job(request, tmp_path_factory, yolo_root):
    """A run of the model on images of its kind, asked for every signal that it can give."""
    words = [f"model={request.param}", "sampler=learning_loss", "device=cpu"]
    if settings_of(FOLDER / f"{request.param}.yaml").get("family") == "classifier":
        each = {"train": 10, "val": 4, "test": 4}
        root = class_folders(
            tmp_path_factory.mktemp("classes"), **{name: dict.fromkeys("abc", count) for name, count in each.items()}
        )
        words += ["dataset=folder", f"dataset.root={root}"]
    else:
        words += ["dataset=yolo", f"dataset.root={yolo_root}"]
    words += ["training.iterations=4", "training.batch_size=4", *OPTIONS.get(request.param, [])]
    [job] = jobs_of(words)
    return job


@pytest.fixture(scope="module")
def splits(job) -> Splits:
    return load_dataset(job.config["dataset"])


@pytest.fixture(scope="module")
def build(job, splits):
    """A new learner as a run builds it."""
    return lambda: build_learner(job.experiment, splits.train.class_names)


def fit(learner: Learner, splits: Splits, seed: int = 1):
    train = splits.train.select(splits.train.ids[:12])
    return learner.fit(train, val=splits.val, seed=seed, init=None)


@pytest.fixture(scope="module")
def trained(build, splits, tmp_path_factory):
    """A learner with weights, and the file it saved them to."""
    learner, path = build(), tmp_path_factory.mktemp("weights") / "one.pth"
    learner.save(fit(learner, splits), path)
    return learner, path


def test_every_signal_has_a_documented_shape():
    assert SIGNALS.keys() == set(Signal)


def test_it_says_what_it_computes_on(trained):
    assert trained[0].device == "cpu"


def test_the_same_seed_gives_the_same_bytes(trained, build, splits, tmp_path):
    _, path = trained
    for name, seed, equal in (("again", 1, True), ("other", 2, False)):
        another = build()
        another.save(fit(another, splits, seed), tmp_path / name)
        assert ((tmp_path / name).read_bytes() == path.read_bytes()) is equal


def test_a_loaded_learner_answers_as_the_trained_one(trained, build, splits):
    learner, path = trained
    other = build()
    checkpoint = other.load(path)
    assert checkpoint.history and checkpoint.epochs is not None
    assert checkpoint.epochs == fit(build(), splits, 1).epochs
    assert_same(other.infer(splits.test, PROBS), learner.infer(splits.test, PROBS))
    assert np.array_equal(other.loss(splits.test).total, learner.loss(splits.test).total)


def test_boxes_are_best_first_with_the_score_of_their_class(trained, splits):
    table = trained[0].infer(splits.test, PROBS)
    assert table.image_ids.tolist() == splits.test.ids.tolist()
    several = len(table.scores) == len(table) if table.prob_kind == "exclusive" else len(table.scores) > len(table)
    assert several, "too few boxes to test anything"
    for position in range(len(table)):
        assert (np.diff(table.scores[table.rows(position)]) <= 0).all()
    of_class = table.columns[Signal.PROBS][np.arange(len(table.scores)), table.classes]
    assert np.array_equal(of_class.astype(np.float32), table.scores)


def test_every_signal_it_provides_is_as_documented(trained, splits):
    learner, _ = trained
    labeled = splits.train.select(splits.train.ids[:6])
    learner.inform(labeled=labeled, initial=labeled, val=splits.val, scored=splits.test)
    some = splits.test.select(splits.test.ids[:4])
    table = learner.infer(some, learner.provides)
    assert table.columns.keys() == learner.provides
    assert_as_documented(table)
    assert_same(learner.infer(some), learner.infer(some, frozenset()))
    for signal in sorted(set(Signal) - learner.provides):
        with pytest.raises(ValueError, match=signal):
            learner.infer(some, frozenset({signal}))


def test_no_images_give_an_empty_table(trained, splits):
    learner, _ = trained
    nothing = splits.test.select([])
    table = learner.infer(nothing, learner.provides)
    assert len(table) == len(table.scores) == 0 and table.columns.keys() == learner.provides
    assert learner.loss(nothing).total.shape == (0,)


def test_an_image_has_its_loss_in_any_company(trained, splits):
    losses = trained[0].loss(splits.test).total
    assert losses.shape == (len(splits.test),) and losses.dtype == np.float64 and np.isfinite(losses).all()
    some = splits.test.select(splits.test.ids[[7, 2]])
    assert np.array_equal(trained[0].loss(some).total, losses[[2, 7]])
