"""Dropout in the class head: the stock model outside of training, and passes whose distribution is known in closed form."""

import copy

import numpy as np
import pytest
import torch
from narrow_models import C4, CLASSES, FCOS_LAZY, FPN, RETINANET, assert_same, chooser, counting, images, narrow, stock

from al_cli.datasets.yolo import load_yolo
from al_cli.errors import ConfigError, ModelError
from al_cli.learners.detectron import image_reader
from al_cli.learners.detectron.learner import DetectronLearner
from al_cli.learners.detectron.signals.dropout import class_head, insert_dropout, stochastic_part
from al_cli.learners.detectron.signals.tap import tap
from al_cli.learners.spec import ModelSpec
from al_cli.learners.training_spec import TrainingSpec
from al_cli.types import Signal

NAMES = {C4: "c4", FPN: "fpn", RETINANET: "retinanet", FCOS_LAZY: "fcos"}
DROPOUT = frozenset({Signal.DROPOUT})
WITH_PROBS = frozenset({Signal.DROPOUT, Signal.PROBS})


@pytest.fixture(params=list(NAMES), ids=list(NAMES.values()))
def pair(request, models):
    """A stock model, and a copy of it with dropout of 0.3."""
    model = copy.deepcopy(models[request.param])
    insert_dropout(model, 0.3)
    return models[request.param], model


def drops(model):
    return [m for m in model.modules() if isinstance(m, torch.nn.Dropout | torch.nn.Dropout2d)]


def test_layers_leave_weights_boxes_and_scores_alone(pair):
    plain, dropping = pair
    assert list(plain.state_dict()) == list(dropping.state_dict())
    copy.deepcopy(dropping).load_state_dict(plain.state_dict())
    theirs = stock(plain, images())
    assert min(len(t) for t in theirs) >= 30
    for ours, also, instances in zip(
        tap(dropping)(images(), WITH_PROBS), stock(dropping, images()), theirs, strict=True
    ):
        assert_same(ours.instances, instances)
        assert_same(also, instances)


@pytest.mark.parametrize(("name", "count"), [(C4, 1), (FPN, 2), (RETINANET, 4), (FCOS_LAZY, 2)], ids=NAMES.values())
def test_a_layer_follows_each_activation_of_the_class_head(models, name, count):
    model = copy.deepcopy(models[name])
    assert not stochastic_part(model) and Signal.DROPOUT not in tap(model).provides
    insert_dropout(model, 0.3)
    assert len(drops(model)) == len(drops(class_head(model))) == count
    assert all(m.p == 0.3 for m in drops(model))
    assert Signal.DROPOUT in tap(model).provides


def test_one_pass_of_the_backbone_and_of_what_lies_before_the_dropout(pair):
    _, model = pair
    levels = 1 if hasattr(model, "roi_heads") else 5
    first, scores = class_head(model)[0], (chooser(model) if levels == 1 else model.head).cls_score
    if levels == 1 and not hasattr(model.roi_heads, "res5"):
        first = class_head(model).fc1
    with counting(model.backbone) as backbone, counting(first) as before, counting(scores) as after:
        tap(model, passes=3)(images(), DROPOUT)
    assert (len(backbone), len(before)) == (1, levels)
    assert len(after) == levels * (1 + 2), "the passes of an image are one batch"


def test_passes_differ_and_without_probability_they_are_the_scores(pair):
    _, model = pair
    for one in tap(model, passes=4)(images(), WITH_PROBS):
        p = one.columns[Signal.DROPOUT]
        assert p.shape == (4, len(one.instances), CLASSES) and ((p >= 0) & (p <= 1)).all()
        assert all((p[a] != p[b]).float().mean() > 0.9 for a in range(4) for b in range(a))
    for layer in drops(model):
        layer.p = 0.0
    for one in tap(model, passes=4)(images(), WITH_PROBS):
        for row in one.columns[Signal.DROPOUT]:
            torch.testing.assert_close(row, one.columns[Signal.PROBS], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [C4, FPN], ids=["c4", "fpn"])
def test_the_last_layers_dropout_has_the_distribution_of_the_closed_form(models, name):
    """x has its units dropped and the rest divided by q = 1 - p; logits are linear in x, so of z = (w_a - w_b) x + const

    the mean is that without dropout, and the variance p / q * sum_d (w_a - w_b)_d^2 x_d^2.
    """
    model = copy.deepcopy(models[name])
    insert_dropout(model, 0.2)
    for layer in drops(model)[:-1]:
        layer.p = 0.0
    signals = WITH_PROBS | {Signal.BOX_FEATURES}
    one = tap(model, passes=4000)(images()[:1], signals)[0]
    z = one.columns[Signal.DROPOUT].double().log()
    z = z[:, :, 0] - z[:, :, 1]  # [T, M]: softmax probabilities as a difference of logits
    plain = one.columns[Signal.PROBS].double().log()
    weight = chooser(model).cls_score.weight.double()
    variance = 0.2 / 0.8 * ((weight[0] - weight[1]) ** 2 * one.columns[Signal.BOX_FEATURES].double() ** 2).sum(1)
    off = (z.mean(0) - (plain[:, 0] - plain[:, 1])) / (variance / 4000).sqrt()
    assert len(off) > 20 and off.abs().max() < 5 and 0.5 < off.std() < 1.5
    torch.testing.assert_close(z.var(0), variance.detach(), rtol=0.25, atol=1e-9)


def test_mean_logits_of_a_dense_detector_are_those_without_dropout(models):
    model = copy.deepcopy(models[RETINANET])
    insert_dropout(model, 0.2)
    for layer in drops(model)[:-1]:
        layer.p = 0.0
    one = tap(model, passes=300)(images()[1:], WITH_PROBS)[0]
    z = torch.logit(one.columns[Signal.DROPOUT].double())
    off = (z.mean(0) - torch.logit(one.columns[Signal.PROBS].double())) / (z.std(0) / 300**0.5)
    assert off.abs().max() < 6 and 0.5 < off.std() < 1.5


def test_seed_and_image_id_decide_alone(pair):
    _, model = pair
    read, batch = tap(model, passes=3), images()
    one, two = (d.columns[Signal.DROPOUT] for d in read(batch, DROPOUT, seed=1))
    torch.rand(7)
    assert torch.equal(read(batch, DROPOUT, seed=1)[0].columns[Signal.DROPOUT], one)
    assert not torch.equal(read(batch, DROPOUT, seed=2)[0].columns[Signal.DROPOUT], one)
    assert torch.equal(read([batch[0], {**batch[1], "image_id": 5}], DROPOUT, seed=1)[0].columns[Signal.DROPOUT], one)
    other = read([batch[0], {**batch[1], "image_id": 5}], DROPOUT, seed=1)[1].columns[Signal.DROPOUT]
    assert not torch.equal(other, two)
    nine = {**batch[0], "image_id": 9}  # of the same size, so that no padding differs
    for mine, elsewhere in (
        (read([batch[0], nine], DROPOUT)[1], read([nine, batch[0], batch[0]], DROPOUT)[0]),
        (read([batch[0], nine], DROPOUT)[0], read([nine, nine, batch[0]], DROPOUT)[2]),
    ):
        a, b = (one.columns[Signal.DROPOUT] for one in (mine, elsewhere))
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_the_model_and_the_generator_are_left_as_they_were(pair):
    _, model = pair
    model.train()
    try:
        modes, state = [m.training for m in model.modules()], torch.get_rng_state()
        found = tap(model)(images(), DROPOUT)
        assert [m.training for m in model.modules()] == modes and torch.equal(torch.get_rng_state(), state)
    finally:
        model.eval()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not any(field.startswith("al_") for one in found for field in one.instances.get_fields())


def test_no_detections_no_rows(pair, monkeypatch):
    _, model = pair
    monkeypatch.setattr(chooser(model), "test_score_thresh", 1.0)
    assert [tuple(d.columns[Signal.DROPOUT].shape) for d in tap(model)(images(), DROPOUT)] == [(10, 0, CLASSES)] * 2


@pytest.mark.parametrize(
    "keys",
    [
        {"MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": True},
        {"MODEL.ROI_BOX_HEAD.NUM_FC": 0, "MODEL.ROI_BOX_HEAD.NUM_CONV": 1, "MODEL.ROI_BOX_HEAD.CONV_DIM": 8},
    ],
    ids=["sigmoid", "convolutions alone"],
)
def test_other_box_heads(keys):
    model = narrow(FPN, **keys)
    insert_dropout(model, 0.3)
    one = tap(model)(images(), WITH_PROBS)[0]
    assert not torch.equal(one.columns[Signal.DROPOUT][0], one.columns[Signal.DROPOUT][1])
    drops(model)[0].p = drops(model)[-1].p = 0.0
    again = tap(model)(images(), WITH_PROBS)[0].columns
    torch.testing.assert_close(again[Signal.DROPOUT][0], again[Signal.PROBS], rtol=1e-4, atol=1e-6)


def test_a_head_that_is_not_detectrons_is_refused(models):
    model = copy.deepcopy(models[FPN])
    model.roi_heads.box_head = torch.nn.Linear(2, 2)
    with pytest.raises(ModelError, match=r"dropout cannot be put into this head.*Linear"):
        insert_dropout(model, 0.5)


# --- through the learner


TRAINING = TrainingSpec(iterations=6, batch_size=4, optimizer="adamw", lr=2e-3, schedule="one_cycle")


def learner(model: str, **options) -> DetectronLearner:
    low = {"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.02, "MODEL.RETINANET.SCORE_THRESH_TEST": 0.01}
    spec = ModelSpec(model, model, "none", low, **options)
    return DetectronLearner(spec, TRAINING, ("circle", "square", "star"), iterations=6, device="cpu")


@pytest.mark.parametrize("model", ["tiny_faster_rcnn", "tiny_retinanet"])
def test_a_trained_learner_gives_the_same_passes_after_save_and_load_and_in_any_batch(
    model, yolo_root, tmp_path, monkeypatch
):
    shapes = load_yolo(yolo_root)
    one = learner(model, dropout=0.3, dropout_passes=4)
    checkpoint = one.fit(shapes.train, val=None, seed=5, init=None)
    p = one.infer(shapes.test, WITH_PROBS)
    assert p.columns[Signal.DROPOUT].shape == (4, len(p.scores), 3) and len(p.scores) > 20
    assert (p.columns[Signal.DROPOUT].std(0) > 0).mean() > 0.9
    assert np.array_equal(one.loss(shapes.test).total, one.loss(shapes.test).total), (
        "the loss is measured without dropout"
    )
    one.save(checkpoint, tmp_path / "a.pth")
    fresh = learner(model, dropout=0.3, dropout_passes=4)
    fresh.load(tmp_path / "a.pth")
    assert np.array_equal(fresh.infer(shapes.test, DROPOUT).columns[Signal.DROPOUT], p.columns[Signal.DROPOUT])
    monkeypatch.setattr(image_reader, "INFERENCE_BATCH", 1)
    alone = one.infer(shapes.test, DROPOUT)
    assert np.array_equal(alone.counts, p.counts)
    same = np.isclose(alone.boxes, p.boxes, atol=1e-2).all(1)  # nearly equal scores may change places
    assert same.mean() > 0.8
    assert np.allclose(alone.columns[Signal.DROPOUT][:, same], p.columns[Signal.DROPOUT][:, same], atol=1e-4)
    few = one.infer(shapes.test.select(shapes.test.ids[1:3]), DROPOUT).columns[Signal.DROPOUT]
    assert np.array_equal(few, alone.select(shapes.test.ids[1:3]).columns[Signal.DROPOUT])

    for layer in drops(one.trained.model):
        layer.p = 0.0
    rows = one.infer(shapes.test, WITH_PROBS).columns
    assert np.allclose(rows[Signal.DROPOUT], rows[Signal.PROBS], atol=1e-5), "the same boxes in the same order"

    plain = learner(model)
    plain.load(tmp_path / "a.pth")  # the weights are those of the model without dropout
    assert np.array_equal(plain.infer(shapes.test).scores, alone.scores)
    with pytest.raises(ValueError, match="does not provide dropout"):
        plain.infer(shapes.test, DROPOUT)


def test_specs():
    spec = ModelSpec("m", "tiny_retinanet", "none")
    assert Signal.DROPOUT not in spec.provides
    assert Signal.DROPOUT in ModelSpec("m", "tiny_retinanet", "none", dropout=0.2).check().provides
    assert "set model.dropout=" in spec.remedy_for({Signal.DROPOUT})
    for value in (0, 1, -0.1, "half", True):
        with pytest.raises(ConfigError, match=r"model\.dropout"):
            ModelSpec("m", "tiny_retinanet", "none", dropout=value).check()
    for value in (1, 2.5, True):
        with pytest.raises(ConfigError, match=r"model\.dropout_passes"):
            ModelSpec("m", "tiny_retinanet", "none", dropout_passes=value).check()
