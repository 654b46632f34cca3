"""Signals that take more than one pass, on a small network in double precision."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from toy_classifiers import ToyReader, convolutional, images_of, pictures

from al_cli.errors import ConfigError
from al_cli.learners.classifier import signals as signals_module
from al_cli.learners.classifier.loss_prediction import LearningLoss
from al_cli.learners.classifier.signals import dropout_passes, signal_columns
from al_cli.learners.classifier.spec import ClassifierSpec
from al_cli.learners.pytorch.labels import KnownLabels
from al_cli.types import INFLUENCES, MEASURED_AGAINST_LABELS, Signal

SPEC = ClassifierSpec(
    "toy", "tiny_cnn", dropout=0.4, dropout_passes=5, influence={"samples": 4, "repeats": 1, "scale": 100.0}
)
OTHERS = MEASURED_AGAINST_LABELS | {
    Signal.DROPOUT, Signal.PREDICTED_LOSS, Signal.TRUE_LOSS, Signal.TRUE_CLASSES, Signal.CLASS_DIFFICULTY,
}  # fmt: skip
IMAGES = images_of(range(20, 90), [0, 1, 2] * 23 + [0], 3)  # more than one batch
LABELED, INITIAL = images_of(range(6), [0, 1, 2] * 2, 3), images_of(range(3), [0, 1, 2], 3)
VAL, SCORED = images_of(range(6, 14), [0, 1] * 4, 3), images_of(range(14, 20), [2] * 6, 3)
LABELS = KnownLabels(LABELED, INITIAL, VAL, SCORED)


@pytest.fixture(scope="module")
def network():
    return convolutional()


@pytest.fixture(scope="module")
def reader():
    return ToyReader(pictures(90, 0))


@pytest.fixture(scope="module")
def extras(network):
    module = LearningLoss(network, seed=3, own=False)
    return module.extras | {"seed": np.array(7), "class_difficulty": np.array([0.1, 0.2, 0.3])}


def test_dropout_is_active_in_the_head_alone_and_its_mean_is_what_it_drops_around(network, reader):
    some = IMAGES.select(IMAGES.ids[:3])
    network.train()
    before = network.state_dict()["head.norm1.running_mean"].clone()
    found = dropout_passes(network, reader, some, 4000, seed=1)
    assert network.head.dropout1.training and network.training  # as it was
    network.eval()
    assert torch.equal(network.head.norm1.running_mean, before)
    assert found.shape == (4000, 3, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(2), 1, rtol=1e-5)
    # By hand: the head's own layers, with masks of 1/(1 - p)
    x = torch.stack([reader.pixels[int(i)] for i in some.ids])
    hidden = network.head.relu1(network.head.linear1(network.features(x)))
    mask = (
        torch.rand(4000, *hidden.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) < 0.6
    ) / 0.6
    masked = (mask * hidden).flatten(0, 1)
    expected = network.head.last(network.head.norm1(masked)).softmax(1).view(4000, 3, 3).detach().numpy()
    np.testing.assert_allclose(found.mean(0), expected.mean(0), atol=0.02)
    np.testing.assert_allclose(found.std(0), expected.std(0), atol=0.02)
    assert expected.std(0).max() > 0.05


def test_the_passes_of_an_image_are_its_own(network, reader):
    all_of_them = dropout_passes(network, reader, IMAGES, 3, seed=1)
    some = IMAGES.select(IMAGES.ids[[2, 66]])
    np.testing.assert_allclose(dropout_passes(network, reader, some, 3, seed=1), all_of_them[:, [2, 66]], rtol=1e-6)
    assert not np.allclose(dropout_passes(network, reader, some, 3, seed=2), all_of_them[:, [2, 66]], rtol=1e-2)
    assert not np.allclose(all_of_them[0], all_of_them[1], rtol=1e-2)


def test_dropout_draws_nothing_from_torchs_generator(network, reader):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    dropout_passes(network, reader, LABELED, 2, seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_every_signal_it_is_asked_for_and_no_other(network, reader, extras):
    found = signal_columns(network, reader, IMAGES, OTHERS, SPEC, extras, LABELS)
    assert found.keys() == OTHERS
    assert {s: c.shape for s, c in found.items()} == {
        **dict.fromkeys(OTHERS, (70,)),
        Signal.DROPOUT: (5, 70, 3),
        Signal.TRUE_CLASSES: (70, 3),
        Signal.CLASS_DIFFICULTY: (3,),
    }
    assert all(np.isfinite(column).all() for column in found.values())
    for signal in sorted(OTHERS):
        alone = signal_columns(network, reader, IMAGES, frozenset({signal}), SPEC, extras, LABELS)
        assert alone.keys() == {signal} and np.array_equal(alone[signal], found[signal]), signal
    assert not network.training


def test_no_images_give_empty_columns(network, reader, extras):
    nothing = IMAGES.select([])
    found = signal_columns(network, reader, nothing, OTHERS, SPEC, extras, LABELS)
    shapes = {Signal.DROPOUT: (5, 0, 3), Signal.CLASS_DIFFICULTY: (3,), Signal.TRUE_CLASSES: (0, 3)}
    assert {s: c.shape for s, c in found.items()} == dict.fromkeys(OTHERS, (0,)) | shapes


def test_true_loss_is_the_cross_entropy(network, reader, extras):
    found = signal_columns(network, reader, IMAGES, frozenset({Signal.TRUE_LOSS}), SPEC, extras, None)[Signal.TRUE_LOSS]
    x = torch.stack([reader.pixels[int(i)] for i in IMAGES.ids])
    true = torch.tensor([image.classes[0] for image in IMAGES.images])
    np.testing.assert_allclose(found, cross_entropy(network(x), true, reduction="none").detach(), rtol=1e-10)


def test_true_classes_are_those_of_the_labels(network, reader, extras):
    some = IMAGES.select(IMAGES.ids[:4])
    found = signal_columns(network, reader, some, frozenset({Signal.TRUE_CLASSES}), SPEC, extras, None)
    assert found[Signal.TRUE_CLASSES].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_predicted_loss_is_what_the_trained_module_says(network, reader, extras):
    module = LearningLoss(network, seed=9, own=True, start=extras)
    x = torch.stack([reader.pixels[int(i)] for i in IMAGES.ids])
    one = network.trunk.one(x)
    averages = torch.cat([one.mean((2, 3)), network.trunk.two(one).mean((2, 3))], 1).float()
    expected = module.module(averages).detach()
    found = signal_columns(network, reader, IMAGES, frozenset({Signal.PREDICTED_LOSS}), SPEC, extras, None)
    np.testing.assert_allclose(found[Signal.PREDICTED_LOSS], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["val", "initial", "labeled", "test"])
def test_influence_is_on_the_images_that_the_settings_name(network, reader, extras, monkeypatch, name):
    given = {}

    class Spy(signals_module.ClassifierInfluence):
        def __init__(self, *args, **kwargs):
            given.update(kwargs)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(signals_module, "ClassifierInfluence", Spy)
    spec = ClassifierSpec("toy", "tiny_cnn", influence={"reference": name, "repeats": 1, "scale": 100.0})
    signal_columns(network, reader, SCORED, INFLUENCES, spec, extras, LABELS)
    assert given["reference"] is {"val": VAL, "initial": INITIAL, "labeled": LABELED, "test": SCORED}[name]
    assert given["labeled"] is LABELED and given["spec"].samples == 250


def test_what_is_missing_is_said(network, reader, extras):
    without = KnownLabels(LABELED, INITIAL, None, SCORED)
    with pytest.raises(ConfigError, match="there are none"):
        signal_columns(network, reader, IMAGES, frozenset({Signal.INFLUENCE}), SPEC, extras, without)
    with pytest.raises(ConfigError, match="there are none"):
        signal_columns(network, reader, IMAGES, frozenset({Signal.ERROR_PROBABILITY}), SPEC, extras, without)
    with pytest.raises(RuntimeError, match="inform first"):
        signal_columns(network, reader, IMAGES, frozenset({Signal.POOL_PROBABILITY}), SPEC, extras, None)
    with pytest.raises(KeyError, match="trained without"):
        signal_columns(network, reader, IMAGES, frozenset({Signal.PREDICTED_LOSS}), SPEC, {}, LABELS)
