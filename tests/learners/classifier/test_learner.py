"""The classifier behind the protocol: what a training leaves, when it stops, how rounds go on, what is asked of it."""

import logging
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from torch.nn.functional import cross_entropy
from torchvision.models import ResNet18_Weights

from al_cli.errors import ConfigError, ModelError, RunError
from al_cli.learners.classifier import learner as learner_module
from al_cli.learners.classifier.checks import check_classifier
from al_cli.learners.classifier.spec import ClassifierSpec
from al_cli.learners.pytorch.joined import rounds_behind
from al_cli.types import Dataset, Image, Signal

ONE_PASS = frozenset({Signal.PROBS, Signal.BOX_FEATURES, Signal.IMAGE_FEATURES, Signal.LAYER_ACTIVATIONS})
TINY = ClassifierSpec("tiny_cnn", "tiny_cnn")


def same(a, b):
    return a.state.keys() == b.state.keys() and all(torch.equal(value, b.state[key]) for key, value in a.state.items())


def fit(one, images, **given):
    return one.fit(images, **{"val": None, "seed": 0, "init": None, **given})


@pytest.fixture
def trained(learner, bars):
    one = learner(iterations=30)
    return one, fit(one, bars)


def test_it_learns_what_a_bar_is(trained, bars):
    one, checkpoint = trained
    table = one.infer(bars)
    truth = [image.classes[0] for image in bars.images]
    assert table.classes.tolist() == truth and checkpoint.history[-1].iteration == 30
    assert checkpoint.epochs == pytest.approx(30 * 4 / 21)
    assert table.prob_kind == "exclusive" and np.array_equal(table.offsets, np.arange(22))
    assert np.array_equal(table.boxes, np.tile(np.float32([0, 0, 8, 8]), (21, 1)))


def test_one_pass_gives_what_the_network_says(trained, bars):
    """Against the network's own parts, asked one by one."""
    one, _ = trained
    table = one.infer(bars, ONE_PASS)
    network = one._network_for(bars).eval()
    [images] = one.reader.batches(bars, 21)
    with torch.no_grad():
        logits, vectors = network(images), network.penultimate(images)
    probs = logits.softmax(1)
    assert np.allclose(table.columns[Signal.PROBS], probs, atol=1e-6)
    assert np.array_equal(table.scores, table.columns[Signal.PROBS].max(1))
    assert np.allclose(table.columns[Signal.BOX_FEATURES], vectors, atol=1e-5)
    assert np.array_equal(table.columns[Signal.IMAGE_FEATURES], table.columns[Signal.BOX_FEATURES])
    of_last = torch.stack([logits.mean(1), logits.amax(1)], dim=1)[:, None]
    assert np.allclose(table.columns[Signal.LAYER_ACTIVATIONS], of_last, atol=1e-4)


def test_each_linear_layer_has_its_activations(learner, bars):
    one = learner(iterations=2, model=replace(TINY, hidden=[7, 5]))
    fit(one, bars)
    table = one.infer(bars, ONE_PASS)
    assert table.columns[Signal.LAYER_ACTIVATIONS].shape == (21, 3, 2)
    assert table.columns[Signal.BOX_FEATURES].shape == (21, 5)


def test_the_loss_of_an_image_is_its_cross_entropy(trained, bars):
    one, _ = trained
    losses = one.loss(bars)
    [images] = one.reader.batches(bars, 21)
    with torch.no_grad():
        logits = one._network_for(bars).eval()(images)
    truth = torch.tensor([int(image.classes[0]) for image in bars.images])
    assert np.allclose(losses.total, cross_entropy(logits, truth, reduction="none"), atol=1e-5)
    assert np.array_equal(losses.classes, losses.total) and np.isnan(losses.boxes).all()


@pytest.mark.slow  # it imports torch
def test_a_new_process_trains_the_same_bytes(learner, bars, tmp_path):
    """The whole path: shuffles, crops, flips, average, the rate that it finds."""
    settings = {"iterations": 5, "crop_px": 1, "flip": True, "ema": 0.9, "lr_finder": True}
    one = learner(**settings)
    one.save(fit(one, bars, seed=3), tmp_path / "here.pth")
    code = f"""
import pickle, sys
from al_cli.learners.classifier.learner import ClassifierLearner
make, images, path = pickle.load(open({str(tmp_path / "job")!r}, "rb"))
one = ClassifierLearner(*make, images.class_names, iterations=5, device="cpu")
one.save(one.fit(images, val=None, seed=3, init=None), path)
"""
    with (tmp_path / "job").open("wb") as file:
        pickle.dump(((one.spec, one.training), bars, tmp_path / "there.pth"), file)
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "here.pth").read_bytes() == (tmp_path / "there.pth").read_bytes()


@pytest.mark.parametrize(
    "spec",
    [
        {"momentum": 0.9},
        {"optimizer": "adamw", "lr": 1e-3, "schedule": "one_cycle", "ema": 0.9},
        {"schedule": "steps", "milestones": [0.5], "clip_gradients": 1.0},
    ],
    ids=["sgd", "adamw, cycle, average", "steps in shares"],
)
def test_two_joined_rounds_are_one_training_of_double_length(learner, bars, tmp_path, spec):
    """To the last bit, and through files, as where the run was killed between them."""
    spec = {**spec, "duration": "epochs", "init": "join", "epochs": 1}
    order = bars.ids[::-1].tolist()
    one = learner(trainings=2, **spec)
    one.save(fit(one, bars, order=order), tmp_path / "first.pth")
    second = learner(trainings=2, **spec)
    start = second.load(tmp_path / "first.pth")
    joined = fit(second, bars, order=order, init=start)
    whole = fit(learner(**{**spec, "epochs": 2}), bars, order=order)
    assert same(joined, whole) and (rounds_behind(start), rounds_behind(joined)) == (1, 2)


def test_kept_order_and_fixed_steps(learner, bars, monkeypatch):
    """Which images each step sees."""
    seen = []
    batch = learner_module.ImageReader.batch

    def spy(self, images, *more, **named):
        seen.append([image.id for image in images])
        return batch(self, images, *more, **named)

    few, order = bars.select(range(6)), [5, 3, 1, 0, 2, 4]
    one = learner(duration="epochs", epochs=2, steps_per_epoch=2)
    one.reader.bands = 1
    monkeypatch.setattr(learner_module.ImageReader, "batch", spy)
    checkpoint = fit(one, few, order=order)
    assert seen[-4:] == [[5, 3, 1, 0], [2, 4, 5, 3], [1, 0, 2, 4], [5, 3, 1, 0]]
    assert checkpoint.epochs == 2


def judge_that_says(*values):
    """A metric of the validation images, one value after the other."""
    left = iter(values)
    return lambda predictions, dataset: next(left)


def test_early_stopping_by_a_metric_ends_with_the_best_weights(learner, bars):
    settings = {"duration": "early_stop", "epochs": 9, "patience": 2, "val_every": 1, "stop_on": "accuracy"}
    val = bars.select(range(6))
    best = learner(**settings, weights="best", judge=judge_that_says(1, 3, 2, None, 4))
    checkpoint = fit(best, bars, val=val)
    assert checkpoint.epochs == 4 and [point.metric for point in checkpoint.history if point.val_loss] == [
        1,
        3,
        2,
        None,
    ]
    assert same(checkpoint, fit(learner(duration="epochs", epochs=2), bars))
    last = learner(**settings, weights="last", judge=judge_that_says(1, 3, 2, 1))
    assert same(fit(last, bars, val=val), fit(learner(duration="epochs", epochs=4), bars))


def test_the_best_epoch_of_a_training_of_fixed_length(learner, bars):
    settings = {"duration": "epochs", "epochs": 3, "val_every": 1, "weights": "best", "stop_on": "accuracy"}
    checkpoint = fit(learner(**settings, judge=judge_that_says(5, 2, 3)), bars, val=bars)
    assert checkpoint.epochs == 3 and same(checkpoint, fit(learner(duration="epochs", epochs=1), bars))
    with pytest.raises(ConfigError, match="validation"):
        fit(learner(**settings), bars)


def test_validation_measures_the_mean_cross_entropy_and_changes_nothing(learner, bars):
    plain = fit(learner(duration="epochs", epochs=2), bars)
    watching = learner(duration="epochs", epochs=2, val_every=1)
    checkpoint = fit(watching, bars, val=bars)
    assert same(plain, checkpoint)
    measured = [point.val_loss for point in checkpoint.history if point.val_loss is not None]
    assert len(measured) == 2 and measured[-1] == pytest.approx(watching.loss(bars).total.mean(), rel=1e-5)


def test_the_rate_that_is_found_is_kept_and_said(learner, bars, caplog, monkeypatch):
    caplog.set_level(logging.INFO, logger="al")
    checkpoint = fit(learner(iterations=2, lr_finder=True), bars)
    found = float(checkpoint.extras["found_rate"])
    assert f"learning rate {found:.3g}" in caplog.text and found != 0.05
    assert same(checkpoint, fit(learner(iterations=2, lr=found), bars))
    monkeypatch.setattr(learner_module, "find_rate", lambda *_: None)
    assert float(fit(learner(iterations=1, lr_finder=True), bars).extras["found_rate"]) == 0.05


def test_the_difficulty_of_classes_follows_their_probabilities(trained, bars):
    one, checkpoint = trained
    table = one.infer(bars, frozenset({Signal.CLASS_DIFFICULTY}))
    difficulty = table.columns[Signal.CLASS_DIFFICULTY]
    assert difficulty.shape == (3,) and (difficulty < 1).all() and (difficulty > 0.5).all()
    goes_on = fit(one, bars, init=checkpoint)
    assert (goes_on.extras["class_difficulty"] < difficulty).all()


def test_a_training_subtracts_the_mean_of_its_own_images(learner, bars):
    checkpoint = fit(learner(iterations=1), bars.select(range(4)))
    pixels = np.stack([np.asarray(PILImage.open(image.path)) for image in bars.images[:4]]) / 255
    assert float(checkpoint.state["mean"]) == pytest.approx(pixels.mean(), rel=1e-6)
    assert float(checkpoint.state["deviation"]) == pytest.approx(pixels.std(), rel=1e-6)
    goes_on = fit(learner(iterations=1), bars, init=checkpoint)
    assert torch.equal(goes_on.state["mean"], checkpoint.state["mean"])


def test_starting_weights_are_those_that_a_training_begins_from(learner, bars, monkeypatch):
    one = learner(model=replace(TINY, normalize="none"))
    one.start(5)
    first = one.infer(bars, ONE_PASS)
    monkeypatch.setattr(
        learner_module, "take_steps", lambda stepper, batches, rates, curve, **_: curve.took(6, 1.0, None)
    )
    two = learner(model=replace(TINY, normalize="none"))
    fit(two, bars, seed=5)
    assert np.array_equal(two.infer(bars, ONE_PASS).scores, first.scores)


def test_what_cannot_work_is_said_before_a_training(learner, bars, tmp_path):
    def check(model=TINY, device="cpu", needs=frozenset(), first=False, **settings):
        check_classifier(model, replace(learner().training, **settings), bars.class_names, device, needs, first)

    check()
    with pytest.raises(ConfigError, match="GPU"):
        check(amp=True)
    with pytest.raises(ConfigError, match="batch normalization"):
        check(replace(TINY, hidden=[4]), batch_size=1)
    with pytest.raises(ModelError, match="no such weights file"):
        check(replace(TINY, weights=str(tmp_path / "gone.pth")))
    resnet = ClassifierSpec("r", "resnet18", weights="imagenet", stem="imagenet", outputs="kept")
    categories = ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    with pytest.raises(ConfigError, match="no mean of training images"):
        check_classifier(resnet, learner().training, categories, "cpu", frozenset(), True)


def test_a_checkpoint_of_another_network_is_refused(trained, learner, bars, tmp_path):
    one, checkpoint = trained
    one.save(checkpoint, tmp_path / "one.pth")
    with pytest.raises(ModelError, match="another model"):
        learner(model=replace(TINY, hidden=[3])).load(tmp_path / "one.pth")
    (tmp_path / "broken.pth").write_bytes(b"no")
    with pytest.raises(RunError, match="cannot be read"):
        one.load(tmp_path / "broken.pth")
    with pytest.raises(RuntimeError, match="fit or load first"):
        learner().infer(bars)
    with pytest.raises(ValueError, match="jitter"):
        one.infer(bars, frozenset({Signal.JITTER}))


def test_a_later_round_may_have_the_first_image_with_colors(learner, bars, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    PILImage.fromarray(pixels).save(tmp_path / "colors.png")
    colored = Dataset(bars.class_names, (*bars.images, Image.of_class(99, tmp_path / "colors.png", 8, 8, 1)))
    one = learner(iterations=1)
    assert fit(one, bars).state["mean"].shape == (1, 1, 1) and len(one.infer(colored)) == 22
    assert fit(one, colored).state["mean"].shape == (3, 1, 1) and len(one.infer(colored)) == 22


def test_a_single_image_can_be_trained_on(learner, bars):
    assert fit(learner(duration="epochs", epochs=2), bars.select([0])).epochs == 2
    normed = replace(TINY, hidden=[4])
    with pytest.raises(ConfigError, match="from one image, and this training has no other"):
        fit(learner(model=normed, duration="epochs", epochs=2), bars.select([0]))
    fit(learner(model=normed, iterations=1), bars.select([0]))  # a batch has it four times
