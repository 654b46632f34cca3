"""The model's own head, fine-tuned: where it starts, what it learns, and what it leaves alone."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from toy_classifiers import ToyReader, images_of

from al_cli.errors import ConfigError
from al_cli.learners.classifier import transfer
from al_cli.learners.classifier.networks import Network
from al_cli.learners.classifier.transfer import error_probability, pool_probability, tuned_head, with_one_output

D = 4


def network(*hidden: int) -> Network:
    """An image [D, 1, 1] is its own vector; the class is 1 where its first pixel is above 0."""
    torch.manual_seed(0)
    layers, width = OrderedDict(), D
    for n, out in enumerate(hidden):
        layers |= {f"linear{n}": nn.Linear(width, out), f"relu{n}": nn.ReLU(), f"dropout{n}": nn.Dropout(0.1)}
        layers |= {f"norm{n}": nn.BatchNorm1d(out)}
        width = out
    layers["last"] = nn.Linear(width, 2)
    made = Network(nn.Flatten(), nn.Sequential(layers), (), D)
    if not hidden:
        with torch.no_grad():
            made.head.last.weight.copy_(torch.tensor([[-1.0, 0, 0, 0], [1.0, 0, 0, 0]]))
            made.head.last.bias.zero_()
    return made.eval()


def points(count, seed):
    rng = np.random.default_rng(seed)
    return {i: torch.from_numpy(rng.normal(size=(D, 1, 1))).float() for i in range(count)}


@pytest.mark.parametrize("hidden", [(), (16,)])
def test_it_learns_where_the_model_errs(hidden):
    """Its class is wrong where the second pixel is large, which the head did not know before."""
    net, pixels = network(*hidden), points(320, 0)
    x = torch.stack(list(pixels.values()))
    with torch.no_grad():
        predicted = net(x).argmax(1).numpy()
    wrong = x[:, 1, 0, 0].numpy() > 0.3
    classes = np.where(wrong, 1 - predicted, predicted)
    reader, val, asked = ToyReader(pixels), range(200), range(200, 320)
    found = error_probability(
        net, reader, images_of(asked, [0] * 120, 2), images_of(val, classes[:200], 2), seed=1
    )  # labels of the images asked about are not looked at
    assert found.shape == (120,) and found.dtype == np.float64 and 0 <= found.min() < found.max() <= 1
    right = found[~wrong[200:]]
    assert (found[wrong[200:]][:, None] > right).mean() > 0.9  # the area under the ROC curve


def test_it_learns_what_is_not_labeled():
    net, pixels = network(16), points(180, 0)
    for i in range(60):  # the labeled ones lie elsewhere
        pixels[i][2] += 3
    labeled = images_of(range(60), [0] * 60, 2)
    asked = images_of(range(30, 180), [0] * 150, 2)  # some of those asked about are labeled
    found = pool_probability(net, ToyReader(pixels), asked, labeled, seed=1)
    assert (found[30:, None] > found[:30]).mean() > 0.9


def test_both_kinds_are_drawn_in_equal_numbers(monkeypatch):
    seen = []

    def spy(head, x, target, seed, purpose):
        seen.append((len(x), target.tolist()))
        return tuned_head(head, x, target, seed, purpose)

    monkeypatch.setattr(transfer, "tuned_head", spy)
    net, reader = network(), ToyReader(points(40, 0))
    few, many = images_of(range(6), [0] * 6, 2), images_of(range(6, 40), [0] * 34, 2)
    pool_probability(net, reader, many, few, seed=1)
    pool_probability(net, reader, few, many, seed=1)
    assert seen == [(12, [0.0] * 6 + [1.0] * 6)] * 2


def test_the_trained_layers_of_the_head_are_the_start(monkeypatch):
    """Without an epoch, what comes before the new output is the trained head to the bit; the last layer is a new one."""
    monkeypatch.setattr(transfer, "TUNED_EPOCHS", 0)
    net = network(16)
    x = torch.stack(list(points(10, 0).values())).flatten(1)
    tuned = tuned_head(net.head, x, np.repeat([0.0, 1.0], 5), 1, "error")
    assert torch.equal(tuned[:-1](x), net.head[:-1](x))
    assert tuned(x).shape == (10, 1) and tuned[-1].in_features == 16


def test_the_trained_layers_are_tuned_and_the_network_keeps_its_own():
    net = network(16)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    net.head.requires_grad_(False)
    x = torch.stack(list(points(50, 0).values())).flatten(1)
    tuned = tuned_head(net.head, x, (x[:, 0] > 0).double().numpy(), 1, "error")
    assert not torch.equal(tuned.linear0.weight, net.head.linear0.weight)
    assert torch.equal(tuned.norm0.running_mean, net.head.norm0.running_mean)
    assert not tuned.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_a_head_of_one_layer_is_a_new_layer():
    head = network().head
    tuned = with_one_output(head)
    assert [type(layer) for layer in tuned] == [nn.Linear] and tuned[0].weight.shape == (1, D)
    assert head.last.weight.shape == (2, D)


@pytest.mark.parametrize("wrong", [False, True])
def test_a_model_that_is_always_right_or_always_wrong_teaches_nothing(wrong):
    net, pixels = network(), points(20, 0)
    with torch.no_grad():
        predicted = net(torch.stack(list(pixels.values()))).argmax(1).numpy()
    val = images_of(range(20), predicted ^ wrong, 2)
    found = error_probability(net, ToyReader(pixels), images_of(range(3), [0] * 3, 2), val, seed=1)
    assert found.tolist() == [float(wrong)] * 3


def test_the_seed_decides_and_nothing_else_is_drawn():
    net, reader = network(16), ToyReader(points(60, 0))
    some, others = images_of(range(30), [0, 1] * 15, 2), images_of(range(30, 60), [0] * 30, 2)

    def both(seed):
        return np.stack([one(net, reader, others, some, seed) for one in (error_probability, pool_probability)])

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = both(1)
    assert torch.equal(torch.rand(3), expected)
    assert np.array_equal(first, both(1)) and (first != both(2)).any(1).all()


def test_what_there_is_nothing_to_learn_from():
    net, reader = network(), ToyReader(points(8, 0))
    some = images_of(range(8), [0] * 8, 2)
    assert pool_probability(net, reader, some, some.select([]), 1).tolist() == [1.0] * 8
    assert pool_probability(net, reader, some.select([]), some, 1).shape == (0,)
    assert error_probability(net, reader, some.select([]), some, 1).shape == (0,)
    for none in (None, some.select([])):
        with pytest.raises(ConfigError, match="there are none"):
            error_probability(net, reader, some, none, 1)
