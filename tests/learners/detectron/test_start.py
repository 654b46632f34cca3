"""`DetectronLearner.start`: the weights that a training would begin from, and which starting weights may choose images."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from shapes import random_dataset, write_yolo

from al_cli import loop
from al_cli.datasets.yolo import load_yolo
from al_cli.errors import ModelError
from al_cli.experiment import build
from al_cli.experiment.job import jobs_of
from al_cli.learners.detectron import learner as learner_module
from al_cli.learners.detectron.model import weights
from al_cli.learners.spec import ModelSpec
from al_cli.system import Clock
from al_cli.types import Pool, Request, Signal

CLASSES = ("square", "disc", "bar")
WORDS = ["model=tiny_faster_rcnn", "device=cpu", "sampler=entropy", "training.iterations=3", "training.batch_size=2"]
WORDS += ["+model.overrides.MODEL.ROI_HEADS.SCORE_THRESH_TEST=0.02"]


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return load_yolo(write_yolo(tmp_path_factory.mktemp("few"), {"train": 8, "test": 2}))


def make(splits, *words):
    [job] = jobs_of([*WORDS, *words])
    return job.experiment, build.build_learner(job.experiment, splits.train.class_names)


@pytest.fixture(scope="module")
def earlier(splits, tmp_path_factory):
    """The checkpoint of an earlier tiny training, as its run keeps it."""
    _, learner = make(splits)
    path = tmp_path_factory.mktemp("earlier") / "checkpoint.pth"
    learner.save(learner.fit(splits.train, val=None, seed=1, init=None), path)
    return path


class Begun(Exception):
    pass


@pytest.mark.parametrize("given", [False, True], ids=["drawn", "a file"])
def test_it_gives_the_weights_that_a_training_begins_with(splits, earlier, monkeypatch, given):
    _, learner = make(splits, *([f"model.weights={earlier}"] if given else []))
    started = learner.start(5).state

    def begin(model, *_, **__):
        begin.state = {key: value.clone() for key, value in model.state_dict().items()}
        raise Begun

    monkeypatch.setattr(learner_module, "train_model", begin)
    with pytest.raises(Begun):
        learner.fit(splits.train, val=None, seed=5, init=None)
    assert started.keys() == begin.state.keys()
    assert all(torch.equal(started[key], begin.state[key]) for key in started)
    other = learner.start(6).state
    assert all(torch.equal(started[key], other[key]) for key in started) == given, "a whole file leaves nothing to draw"


def test_round_0_is_the_strategy_on_the_predictions_of_that_checkpoint(splits, earlier):
    """The checkpoint read again by another learner, its predictions, and the sampler by hand; then what the loop chooses."""
    experiment, learner = make(splits, f"model.weights={earlier}", "initial=0", "budget=3", "rounds=1")
    plan, pool = build.plan_rounds(experiment, splits), Pool([], splits.train.ids.tolist())
    start = loop.opening(splits, plan)
    choice = loop.choose(experiment.strategy, learner, splits.train, plan, start, pool, 0, Clock())
    _, reader = make(splits)
    reader.load(earlier)
    table = reader.infer(splits.train, frozenset({Signal.PROBS}))
    assert len(table.scores) > 3
    request = Request(splits.train.ids.tolist(), lambda ids, _: table.select(ids), 3, np.random.default_rng(0))
    by_hand = experiment.strategy.select(request)
    assert choice.selection.ids.tolist() == by_hand.selection.ids.tolist()
    assert choice.scores.tolist() == by_hand.scores.tolist()


def require(path, class_names, **model):
    spec = ModelSpec("m", "tiny_faster_rcnn", weights=str(path), family="rcnn", **model)
    experiment = SimpleNamespace(config=learner_module.open_config(spec, len(class_names), torch.device("cpu")))
    learner_module.check_start(spec, experiment.config, class_names)


def test_a_checkpoint_of_the_same_classes_may_choose(splits, earlier, caplog):
    require(earlier, splits.train.class_names)
    assert not caplog.records


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("a", "c", "b"), "class 1 is b there and c here"),
        (("a", "b"), "know 3 classes and the dataset has 2; class 2 is c"),
    ],
)
def test_other_classes_are_refused_by_name_and_order(splits, earlier, tmp_path, names, said):
    content = torch.load(earlier, weights_only=True) | {"class_names": ["a", "b", "c"]}
    torch.save(content, tmp_path / "named.pth")
    with pytest.raises(ModelError, match=said):
        require(tmp_path / "named.pth", names)


def test_without_names_the_number_of_classes_counts_with_a_warning(earlier, tmp_path, caplog):
    content = torch.load(earlier, weights_only=True)
    assert content.pop("class_names") == list(random_dataset(1).class_names)
    torch.save(content, tmp_path / "old.pth")
    with caplog.at_level(logging.WARNING):
        require(tmp_path / "old.pth", ("x", "y", "z"))
    assert "only their number could be checked" in caplog.text
    with pytest.raises(
        ModelError, match=r"another number of classes.*cls_score.* is \(4, \d+\) there and \(3, \d+\) here"
    ):
        require(tmp_path / "old.pth", ("x", "y"))


def test_weights_without_a_head_are_refused(earlier, tmp_path):
    model = torch.load(earlier, weights_only=True)["model"]
    torch.save({"model": {k: v for k, v in model.items() if k.startswith("backbone.")}}, tmp_path / "backbone.pth")
    with pytest.raises(ModelError, match="no whole detector: they have no roi_heads"):
        require(tmp_path / "backbone.pth", ("x", "y", "z"))


def test_addresses_are_judged_without_a_download(monkeypatch):
    monkeypatch.setattr(weights, "local_file", lambda _: None)
    coco = MetadataCatalog.get("coco_2017_val").thing_classes
    zoo = ModelSpec("m", "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml", weights="zoo")
    weights.require_classes(zoo, coco)
    with pytest.raises(
        ModelError, match="know 80 classes and the dataset has 3; class 0 is person there and square here"
    ):
        weights.require_classes(zoo, CLASSES)
    bone = ModelSpec("m", "COCO-Detection/fcos_R_50_FPN_1x.py", weights="detectron2://ImageNetPretrained/MSRA/R-50.pkl")
    with pytest.raises(ModelError, match="no detector head"):
        weights.require_classes(bone, coco)
    weights.require_classes(ModelSpec("m", "tiny_faster_rcnn", weights="none"), CLASSES)
