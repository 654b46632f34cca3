"""Influence over all parameters, against retraining, the exact inverse Hessian, and one backward pass an image.

The retrained model is softmax regression with an L2 penalty in double precision: Newton's method finds its optimum to the last
digit. Damping stands for the penalty: LiSSA's limit is (H + damping * scale * I)^-1.
"""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch.func import grad, hessian
from torch.nn.functional import cross_entropy
from toy_classifiers import ToyReader, convolutional, images_of, pictures, softmax_regression

from al_cli.learners.classifier.influence import ClassifierInfluence
from al_cli.learners.pytorch.lissa import gradient, hessian_product
from al_cli.learners.spec import InfluenceSpec
from al_cli.types import Signal

INPUTS, CLASSES, PENALTY, SCALE = 4, 3, 0.3, 20.0
BOTH = (Signal.INFLUENCE, Signal.GRADIENT_SIMILARITY)


def logits(theta, x):
    weight, bias = theta[: INPUTS * CLASSES].view(CLASSES, INPUTS), theta[INPUTS * CLASSES :]
    return x @ weight.T + bias


def mean_loss(theta, x, y):
    return cross_entropy(logits(theta, x), y)


def optimum(objective, theta, steps=3):
    for _ in range(steps):
        theta = theta - torch.linalg.solve(hessian(objective)(theta), grad(objective)(theta))
    assert grad(objective)(theta).norm() < 1e-12
    return theta


class Regression:
    """Labeled, reference and unlabeled points, and the network at the optimum of the labeled ones."""

    def __init__(self):
        rng = np.random.default_rng(0)
        classes = rng.integers(CLASSES, size=306)
        centers = rng.normal(size=(CLASSES, INPUTS))
        self.x = torch.from_numpy(centers[classes] + rng.normal(size=(306, INPUTS)))
        self.y = torch.from_numpy(classes)
        self.labeled, self.reference, self.pool = slice(0, 250), slice(250, 290), slice(290, 306)
        self.theta = optimum(self.objective, torch.zeros(INPUTS * CLASSES + CLASSES, dtype=torch.float64), steps=8)
        self.network = softmax_regression(INPUTS, CLASSES)
        torch.nn.utils.vector_to_parameters(self.theta, self.network.parameters())
        self.reader = ToyReader({i: point.view(INPUTS, 1, 1) for i, point in enumerate(self.x)})

    def objective(self, theta):
        of_labels = mean_loss(theta, self.x[self.labeled], self.y[self.labeled])
        return of_labels + PENALTY / 2 * theta @ theta

    def images(self, part):
        ids = range(*part.indices(306))
        return images_of(ids, self.y[part].tolist(), CLASSES)

    def influence(self, labeled=None, **settings):
        given = {"samples": 250, "repeats": 2, "damping": PENALTY / SCALE, "scale": SCALE} | settings
        return ClassifierInfluence(
            self.network,
            self.reader,
            labeled=labeled or self.images(self.labeled),
            reference=self.images(self.reference),
            spec=InfluenceSpec.of(given),
        )


@pytest.fixture(scope="module")
def regression():
    return Regression()


def test_it_orders_images_as_training_with_each_of_them_does(regression):
    r, weight = regression, 1e-4
    found = r.influence().of(r.images(r.pool), BOTH)[Signal.INFLUENCE]
    before, actual = mean_loss(r.theta, r.x[r.reference], r.y[r.reference]), []
    for x in r.x[r.pool]:
        pseudo = logits(r.theta, x).argmax()

        def with_it(theta, x=x, pseudo=pseudo):
            return r.objective(theta) + weight * cross_entropy(logits(theta, x), pseudo)

        after = optimum(with_it, r.theta, steps=2)
        actual.append(float(mean_loss(after, r.x[r.reference], r.y[r.reference]) - before) / weight)
    assert spearmanr(found, actual).statistic > 0.95
    assert np.corrcoef(found, actual)[0, 1] > 0.95
    assert min(actual) < 0 < max(actual)  # some help, some harm: the sign is tested too
    assert (np.sign(found) == np.sign(actual)).mean() > 0.9


@pytest.mark.parametrize("classes", [1, 2])
def test_it_is_the_exact_damped_inverse_where_lissa_converges(regression, classes):
    """One image many times is its own mean Hessian, so every step has the exact one."""
    r = regression
    same = images_of(range(400, 650), [int(r.y[0])] * 250, CLASSES)
    r.reader.pixels |= dict.fromkeys(range(400, 650), r.reader.pixels[0])
    found = r.influence(same, classes=classes, damping=0.1, repeats=1).of(r.images(r.pool), BOTH)
    h = hessian(mean_loss)(r.theta, r.x[:1], r.y[:1]) + 0.1 * SCALE * torch.eye(len(r.theta), dtype=torch.float64)
    g = grad(mean_loss)(r.theta, r.x[r.reference], r.y[r.reference])
    s = torch.linalg.solve(h, g)
    expected = []
    for x in r.x[r.pool]:
        p = logits(r.theta, x).softmax(0)
        top = p.argsort(descending=True)[:classes]
        weights = p[top] if classes > 1 else torch.ones(1)
        gradients = [grad(mean_loss)(r.theta, x[None], k[None]) for k in top]
        expected.append(sum(w * one for w, one in zip(weights, gradients, strict=True)))
    gradients = torch.stack(expected)
    np.testing.assert_allclose(found[Signal.INFLUENCE], -(gradients @ s), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found[Signal.GRADIENT_SIMILARITY], gradients @ g, rtol=1e-5, atol=1e-7)


@pytest.fixture(scope="module")
def deep():
    """Labeled 0..5, reference 6..9, and images to ask about, of a network with all kinds of layers."""
    network, reader = convolutional(), ToyReader(pictures(16, 0))

    def influence(**settings):
        return ClassifierInfluence(
            network,
            reader,
            labeled=images_of(range(6), [0, 1, 2] * 2, 3),
            reference=images_of(range(6, 10), [0, 1, 2, 0], 3),
            spec=InfluenceSpec.of({"samples": 6, "repeats": 1, "scale": 100.0} | settings),
        )

    return network, reader, influence


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_one_forward_pass_gives_what_a_backward_pass_an_image_gives(deep, classes):
    network, reader, influence = deep
    one = influence(classes=classes)
    v = torch.randn(len(one.theta), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.stack([reader.pixels[i] for i in range(10, 16)])
    expected = []
    for image in x:
        p = network(image[None]).softmax(1)[0].detach()
        value = 0.0
        for k in p.argsort(descending=True)[:classes]:
            slopes = torch.autograd.grad(cross_entropy(network(image[None]), k[None]), list(network.parameters()))
            value += float(p[k] if classes > 1 else 1) * float(torch.cat([s.flatten() for s in slopes]) @ v)
        expected.append(value)
    found = one.derivatives(x, v)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    assert (found.abs().max() < 1e-12) == (classes == 3)  # over all classes the gradients cancel


def test_the_reference_gradient_and_the_curvature_are_those_of_autograd(deep):
    """The Hessian goes through batch normalization, ReLU and pooling: held against differences of gradients."""
    network, reader, influence = deep
    one = influence()
    x = torch.stack([reader.pixels[i] for i in range(6, 10)])
    slopes = torch.autograd.grad(cross_entropy(network(x), torch.tensor([0, 1, 2, 0])), list(network.parameters()))
    np.testing.assert_allclose(one.gradient, torch.cat([s.flatten() for s in slopes]), rtol=1e-10, atol=1e-14)

    v = torch.randn(len(one.theta), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss, step = one.loss_of(2), 1e-6
    differences = (gradient(loss, one.theta + step * v) - gradient(loss, one.theta - step * v)) / (2 * step)
    np.testing.assert_allclose(hessian_product(loss, one.theta, v), differences, rtol=1e-5, atol=1e-6)


def test_twice_the_same_and_the_network_stays_as_it_was(deep):
    network, _, influence = deep
    asked = images_of(range(10, 16), [0] * 6, 3)
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first, second = (influence().of(asked, BOTH) for _ in range(2))
    assert network.training and network.head.training
    network.eval()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    for signal in BOTH:
        assert np.array_equal(first[signal], second[signal]) and len(set(first[signal].tolist())) == 6
        assert first[signal].dtype == np.float32


@pytest.mark.parametrize("classes", [2, 3])
def test_all_classes_leave_nothing_to_choose_by_and_it_says_so(deep, caplog, classes):
    _, _, influence = deep
    found = influence(classes=classes).of(images_of(range(10, 16), [0] * 6, 3), [Signal.GRADIENT_SIMILARITY])
    assert (np.abs(found[Signal.GRADIENT_SIMILARITY]).max() < 1e-12) == (classes == 3)
    assert ("gradients cancel" in caplog.text) == (classes == 3)


def test_no_images_cost_nothing(deep):
    _, reader, influence = deep
    reader.read = 0
    found = influence().of(images_of([], [], 3), BOTH)
    assert {signal: column.shape for signal, column in found.items()} == dict.fromkeys(BOTH, (0,))
    assert reader.read == 0


def test_frozen_parameters_do_not_count(deep):
    network, _, influence = deep
    network.trunk.requires_grad_(False)
    one = influence()
    assert len(one.theta) == sum(p.numel() for p in network.head.parameters())
    found = one.of(images_of([10], [0], 3), BOTH)
    network.trunk.requires_grad_(True)
    assert found[Signal.INFLUENCE] != influence().of(images_of([10], [0], 3), BOTH)[Signal.INFLUENCE]


def test_no_labels_no_influence(deep):
    network, reader, _ = deep
    some = images_of([0], [0], 3)
    with pytest.raises(ValueError, match="0 labeled, 1 reference"):
        ClassifierInfluence(network, reader, labeled=some.select([]), reference=some, spec=InfluenceSpec())
