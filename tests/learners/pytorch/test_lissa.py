"""The stochastic inverse Hessian on a convex model, against what it stands for.

Ridge logistic regression in double precision: Newton's method finds its optimum to the last digit, so that influence can be
held against retraining with the sample and without, and every product against the exact Hessian.
"""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch.func import hessian, jvp
from torch.nn import functional as F

from al_cli.errors import RunError
from al_cli.learners.pytorch.lissa import (
    Diverged,
    gradient,
    hessian_product,
    inverse_hessian_product,
    largest_curvature,
    lissa,
)

DIM, RIDGE = 5, 0.05


def points(seed, n):
    """Features [n, DIM] and noisy labels [n] of a logistic model."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, DIM, generator=rng, dtype=torch.float64)
    truth = torch.tensor([1.5, -1.0, 0.5, 0.0, 2.0], dtype=torch.float64)
    return x, (torch.rand(n, generator=rng, dtype=torch.float64) < torch.sigmoid(x @ truth)).double()


def one(x, y):
    return lambda theta: F.binary_cross_entropy_with_logits(x @ theta, y) + RIDGE / 2 * theta @ theta


def losses_of(x, y):
    return [one(*pair) for pair in zip(x, y, strict=True)]


def mean_loss(x, y):
    return lambda theta: F.binary_cross_entropy_with_logits(x @ theta, y) + RIDGE / 2 * theta @ theta


def train(x, y, start=None):
    """Newton's method to the optimum, from `start` where that is near."""
    theta = torch.zeros(DIM, dtype=torch.float64) if start is None else start
    loss = mean_loss(x, y)
    for _ in range(30):
        slope = gradient(loss, theta)
        if slope.norm() < 1e-12:
            return theta
        theta = theta - torch.linalg.solve(hessian(loss)(theta), slope)
    raise AssertionError(slope.norm())


@pytest.fixture(scope="module")
def problem():
    """Trained on 80; a reference set of 200; 60 candidates with the model's own opinion as labels."""
    x, y = points(0, 80)
    reference, candidates = points(1, 200), points(2, 60)[0]
    theta = train(x, y)
    pseudo = (candidates @ theta > 0).double()
    return x, y, reference, candidates, pseudo, theta


def orders(n, repeats, steps, seed=0):
    return np.random.default_rng(seed).integers(n, size=(repeats, steps))


def test_influence_is_what_retraining_shows(problem):
    """One more sample moves the reference loss by I / n, to first order: the n-th part of its weight."""
    x, y, reference, candidates, pseudo, theta = problem
    losses, g = losses_of(x, y), gradient(mean_loss(*reference), theta)
    s = inverse_hessian_product(losses, theta, g, orders=orders(80, 4, 1200), damping=0.0)
    ours = [-float(jvp(loss, (theta,), (s,))[1]) for loss in losses_of(candidates, pseudo)]

    before = mean_loss(*reference)(theta)
    retrained = []
    for extra, label in zip(candidates, pseudo, strict=True):
        again = train(torch.cat([x, extra[None]]), torch.cat([y, label[None]]), theta)
        retrained.append(float(mean_loss(*reference)(again) - before) * 81)
    assert spearmanr(ours, retrained).statistic >= 0.95

    exact_s = torch.linalg.solve(hessian(mean_loss(x, y))(theta), g)
    exact = [-float(gradient(loss, theta) @ exact_s) for loss in losses_of(candidates, pseudo)]
    assert spearmanr(exact, retrained).statistic >= 0.95
    assert spearmanr(ours, exact).statistic >= 0.95
    assert np.corrcoef(ours, exact)[0, 1] >= 0.95


@pytest.mark.parametrize("damping", [0.0, 0.01, 0.1])
def test_lissa_converges_to_the_exact_inverse(problem, damping):
    """With the whole loss at each step nothing is random, and the limit is (H + damping scale I)^-1 v."""
    x, y, *_, theta = problem
    whole, v = mean_loss(x, y), torch.arange(1.0, DIM + 1, dtype=torch.float64)
    h = hessian(whole)(theta)
    exact = torch.linalg.solve(h + damping * 0.7 * torch.eye(DIM, dtype=torch.float64), v)
    errors = []
    for steps in (10, 100, 1000):
        s = lissa([whole], theta, v, orders=np.zeros((1, steps), int), damping=damping, scale=0.7)
        errors.append(float((s - exact).norm() / exact.norm()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-9


def test_lissa_on_single_samples_averages_to_the_inverse(problem):
    """Unbiased but for what is left out of the series: the error of the mean falls as repeats are added."""
    x, y, *_, theta = problem
    losses, v = losses_of(x, y), torch.ones(DIM, dtype=torch.float64)
    exact = torch.linalg.solve(hessian(mean_loss(x, y))(theta), v)
    errors = [
        float((lissa(losses, theta, v, orders=orders(80, n, 200), damping=0.0, scale=4.0) - exact).norm())
        for n in (1, 32)
    ]
    assert errors[1] < errors[0]
    assert errors[1] < 0.08 * float(exact.norm())


def test_two_steps_by_hand():
    """l(t) = a t^2 / 2 has H = a. v = 1, scale 4, no damping: 1, 2 - a/4, 1 + (2 - a/4)(1 - a/4); over 4."""
    theta = torch.zeros(1)
    two, four = (lambda t: t @ t), (lambda t: 2 * t @ t)  # a = 2 and a = 4
    s = lissa([two, four], theta, torch.ones(1), orders=[[0, 1]], damping=0.0, scale=4.0)
    assert s.item() == pytest.approx((1 + (2 - 2 / 4) * (1 - 4 / 4)) / 4)
    s = lissa([two, four], theta, torch.ones(1), orders=[[0, 0]], damping=0.5, scale=4.0)
    first = 1 + 0.5 - 2 / 4
    assert s.item() == pytest.approx((1 + 0.5 * first - first * 2 / 4) / 4)
    assert lissa([two, four], theta, torch.ones(1), orders=[[0], [1]], damping=0.0, scale=4.0).item() == pytest.approx(
        ((2 - 0.5) / 4 + (2 - 1.0) / 4) / 2
    )


def test_products_equal_the_exact_ones(problem):
    x, y, _, candidates, pseudo, theta = problem
    whole, direction = mean_loss(x, y), torch.linspace(-1, 2, DIM, dtype=torch.float64)
    assert torch.allclose(hessian_product(whole, theta, direction), hessian(whole)(theta) @ direction)
    for loss in losses_of(candidates, pseudo):
        step = 1e-5 * direction
        finite = (loss(theta + step) - loss(theta - step)) / 2e-5
        assert float(gradient(loss, theta) @ direction) == pytest.approx(float(finite), rel=1e-6, abs=1e-9)
    largest = max(float(torch.linalg.eigvalsh(hessian(loss)(theta))[-1]) for loss in losses_of(x, y))
    assert largest_curvature(losses_of(x, y), theta, iterations=40) == pytest.approx(largest, rel=1e-3)


def test_losses_without_curvature_or_without_parameters():
    theta = torch.ones(3)
    slope, constant = (lambda t: 2 * t.sum()), (lambda t: torch.tensor(1.5))
    assert gradient(slope, theta).tolist() == [2, 2, 2] and gradient(constant, theta).tolist() == [0, 0, 0]
    for loss in (slope, constant):
        assert hessian_product(loss, theta, torch.ones(3)).tolist() == [0, 0, 0]
    assert largest_curvature([slope], theta) == 0
    flat = inverse_hessian_product([slope], theta, torch.ones(3), orders=np.zeros((1, 99), int))
    assert torch.isfinite(flat).all()


def test_a_scale_that_is_too_small_is_refused_and_a_found_one_grows(caplog):
    """H = 9: a scale of 1 diverges. Curvature that the probe cannot see (first sample flat) doubles the scale instead."""
    theta, steep, flat = torch.zeros(2), (lambda t: 4.5 * t @ t), (lambda t: 0.5 * t @ t)
    with pytest.raises(Diverged, match=r"influence\.scale=1") as error:
        lissa([steep], theta, torch.ones(2), orders=np.zeros((1, 50), int), damping=0.0, scale=1.0)
    assert isinstance(error.value, RunError) and "influence.scale=2" in error.value.remedy
    order = np.concatenate([np.zeros(10, int), np.ones(400, int)])[None]
    with caplog.at_level("INFO", logger="al"):
        s = inverse_hessian_product([flat, steep], theta, torch.ones(2), orders=order, damping=0.0)
    assert torch.allclose(s, torch.full((2,), 1 / 9), rtol=1e-3)
    assert "scale 2" in caplog.text
