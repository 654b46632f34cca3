"""One training: the order of images, the rate of each step, what a step does, the rate finder."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import CosineParamScheduler
from torch.nn.functional import cross_entropy

from al_cli.errors import RunError
from al_cli.learners.classifier.networks import build
from al_cli.learners.classifier.spec import ClassifierSpec
from al_cli.learners.classifier.training import (
    FINDER_HIGH,
    FINDER_LOW,
    FINDER_STEPS,
    Stepper,
    find_rate,
    index_batches,
    optimizer_of,
    rate_of,
    steepest,
    take_steps,
)
from al_cli.learners.classifier.training_spec import ClassifierTraining
from al_cli.learners.pytorch.curve import Curve
from al_cli.learners.pytorch.determinism import deterministic
from al_cli.learners.pytorch.schedule import Stretch

SGD = ClassifierTraining(iterations=10, batch_size=4, optimizer="sgd", lr=0.1, weight_decay=0.01, schedule="constant")


@pytest.fixture(autouse=True)
def one_thread():
    with deterministic(1):
        yield


def network(seed=0):
    torch.manual_seed(seed)
    return build(ClassifierSpec("tiny_cnn", "tiny_cnn", normalize="none"), 3, 1)


def batches(seed=1):
    generator = torch.Generator().manual_seed(seed)
    classes = torch.tensor([0, 1, 2, 0, 1, 2])
    while True:  # a class is the place of a bright bar
        images = torch.rand(6, 1, 8, 8, generator=generator) / 2
        images[torch.arange(6), 0, :, 2 * classes] = 1
        yield images, classes


def curve(iterations):
    return Curve(lambda **_: None, iterations, None, None, 1, None)


@pytest.mark.parametrize(
    ("count", "size", "lengths"), [(8, 4, [4, 4]), (9, 4, [4, 5]), (10, 4, [4, 4, 2]), (1, 4, [1]), (3, 1, [1, 1, 1])]
)
def test_an_epoch_is_a_pass_whose_last_image_is_never_alone(count, size, lengths):
    stream = index_batches(count, size, np.random.default_rng(0), endless=False)
    first, second = ([*islice(stream, len(lengths))] for _ in range(2))
    assert [len(batch) for batch in first] == [len(batch) for batch in second] == lengths
    assert sorted(np.concatenate(first)) == sorted(np.concatenate(second)) == list(range(count))
    assert count == 1 or np.concatenate(first).tolist() != np.concatenate(second).tolist()
    assert replace(SGD, duration="epochs", epochs=1).unit(count, size) == len(lengths)


def test_endless_batches_cross_from_pass_to_pass():
    in_order = [*islice(index_batches(5, 3, None, endless=True), 5)]
    assert [batch.tolist() for batch in in_order] == [[0, 1, 2], [3, 4, 0], [1, 2, 3], [4, 0, 1], [2, 3, 4]]
    shuffled = np.concatenate([*islice(index_batches(5, 3, np.random.default_rng(0), endless=True), 5)])
    assert [sorted(shuffled[at : at + 5]) for at in (0, 5, 10)] == [[0, 1, 2, 3, 4]] * 3


def test_the_rates_of_isal_fall_after_160_of_200_epochs():
    spec = replace(SGD, schedule="steps", milestones=[160], duration="epochs", epochs=200)
    for one in (spec, replace(spec, milestones=[0.8])):
        rates = [0.1 * rate_of(one, 200 * 8, 8)(step) for step in range(200 * 8)]
        assert rates[: 160 * 8] == [0.1] * 1280 and np.allclose(rates[160 * 8 :], 0.01, rtol=1e-12)


def test_one_cycle_is_that_of_detectors():
    theirs = WarmupParamScheduler(CosineParamScheduler(1.0, 0.01), 0.04, 0.15, "linear", rescale_interval=True)
    ours = rate_of(replace(SGD, schedule="one_cycle"), 120, 1)
    assert np.allclose([ours(step) for step in range(120)], [theirs(step / 120) for step in range(120)], rtol=1e-12)


def test_a_part_of_a_longer_training_has_its_rates():
    spec = replace(SGD, schedule="one_cycle")
    whole = rate_of(spec, 30, 1)
    parts = [rate_of(spec, 10, 1, Stretch(number, 3))(step) for number in range(3) for step in range(10)]
    assert parts == [whole(step) for step in range(30)]


def test_steps_are_those_of_torch():
    """Momentum, decay and clipping of the whole gradient, written out with torch's own optimizer."""
    ours, theirs = network(), network()
    spec = replace(SGD, clip_gradients=0.5)
    losses = curve(4)
    take_steps(
        Stepper(ours, optimizer_of(spec, list(ours.parameters())), 0.5),
        batches(),
        lambda step: 0.1 / (step + 1),
        losses,
    )
    optimizer = torch.optim.SGD(theirs.parameters(), 1.0, momentum=0.9, weight_decay=0.01)
    theirs.train()
    found = []
    for step, (images, classes) in zip(range(4), batches(), strict=False):
        optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
        optimizer.zero_grad()
        loss = cross_entropy(theirs(images), classes)
        found.append(loss.item())
        loss.backward()
        norm = torch.sqrt(sum(p.grad.square().sum() for p in theirs.parameters()))
        for p in theirs.parameters():
            p.grad *= min(1.0, 0.5 / norm)
        optimizer.step()
    for key, value in theirs.state_dict().items():
        assert torch.allclose(ours.state_dict()[key], value, rtol=1e-4, atol=1e-6), key
    assert losses.points[-1].train_loss == pytest.approx(np.mean(found), rel=1e-5)


def test_what_diverges_says_where_and_what_to_do():
    one = network()
    with pytest.raises(RunError, match="training loss is nan") as caught:
        take_steps(Stepper(one, optimizer_of(SGD, list(one.parameters()))), batches(), lambda step: 1e30, curve(9))
    assert "iteration " in caught.value.where and "training.lr" in caught.value.remedy


def test_a_frozen_trunk_stays():
    torch.manual_seed(0)
    spec = ClassifierSpec("tiny_cnn", "tiny_cnn", weights="some.pth", freeze=True, normalize="none")
    one = build(spec, 3, 1)
    before = {key: value.clone() for key, value in one.state_dict().items()}
    take_steps(Stepper(one, optimizer_of(SGD, list(one.parameters()))), batches(), lambda step: 0.1, curve(3))
    moved = {key for key, value in one.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {"head.last.weight", "head.last.bias"}


def test_the_steepest_fall_of_a_curve_that_is_known():
    """The logistic function of the rate's logarithm falls fastest in its middle."""
    rates = np.geomspace(FINDER_LOW, FINDER_HIGH, FINDER_STEPS)
    losses = 1 / (1 + np.exp(2 * (np.log10(rates) + 3)))
    assert np.log10(steepest(rates, losses)) == pytest.approx(-3, abs=0.1)
    assert steepest(rates, np.arange(FINDER_STEPS)) is None and steepest(rates[:11], losses[:11]) is None


def test_the_finder_leaves_the_network_and_finds_the_same_again():
    one = network()
    before = {key: value.clone() for key, value in one.state_dict().items()}
    found = find_rate(one, SGD, batches())
    assert all(torch.equal(value, before[key]) for key, value in one.state_dict().items())
    assert found == find_rate(network(), SGD, batches()) and 1e-5 < found < 1
