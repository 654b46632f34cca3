"""The product of an inverse Hessian with a vector, for losses that are functions of one parameter vector.

    H s = v, by stochastic estimation (LiSSA: Agarwal, Bullins and Hazan 2016; ISAL eq. 12-13):
        s_0 = v,   s_j = v + (1 - damping) s_{j-1} - H_j s_{j-1} / scale,   H^-1 v ~ s_J / scale
    with H_j the Hessian of one random sample's loss. In expectation the limit is (H + damping * scale * I)^-1 v; ISAL's
    own equation is damping 0 and scale 1. It converges where scale is no smaller than half the largest curvature.

Knows no models: a loss is a function of theta [P] to a scalar tensor, theta any float tensor.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from al_cli.errors import RunError

log = logging.getLogger("al")
Loss = Callable[[Tensor], Tensor]

PROBED = 10  # losses whose curvature is looked at to find the scale
DOUBLINGS = 12


class Diverged(RunError):
    """The stochastic estimate grew beyond what any positive Hessian within the scale allows."""


def gradient(loss: Loss, theta: Tensor) -> Tensor:
    """[P] by one backward pass; zeros for a loss that does not depend on theta."""
    theta = theta.detach().requires_grad_()
    with torch.enable_grad():
        value = loss(theta)
    if not value.requires_grad:
        return torch.zeros_like(theta)
    return torch.autograd.grad(value, theta, materialize_grads=True)[0].detach()


def hessian_product(loss: Loss, theta: Tensor, vector: Tensor) -> Tensor:
    """[P] Hessian of the loss times `vector`, by two backward passes; zeros where the loss is linear in theta."""
    theta = theta.detach().requires_grad_()
    with torch.enable_grad():
        value = loss(theta)
        if not value.requires_grad:
            return torch.zeros_like(theta)
        (first,) = torch.autograd.grad(value, theta, create_graph=True, materialize_grads=True)
        if not first.requires_grad:
            return torch.zeros_like(theta)
        (second,) = torch.autograd.grad(first, theta, vector, materialize_grads=True)
    return second.detach()


def largest_curvature(losses: Iterable[Loss], theta: Tensor, *, iterations: int = 10) -> float:
    """The largest |eigenvalue| among the Hessians of these losses, each by power iteration: from below, and close."""
    start = torch.randn(len(theta), generator=torch.Generator().manual_seed(0)).to(theta)
    largest = 0.0
    for loss in losses:
        vector = start / start.norm()
        for _ in range(iterations):
            product = hessian_product(loss, theta, vector)
            size = float(product.norm())
            if size == 0 or not math.isfinite(size):
                break
            vector = product / size
            largest = max(largest, size)
    return largest


def lissa(
    losses: Sequence[Loss],
    theta: Tensor,
    v: Tensor,
    *,
    orders: ArrayLike,
    damping: float,
    scale: float,
    step: Callable[[], object] = lambda: None,
) -> Tensor:
    """[P] the estimate of (H + damping scale I)^-1 v, H the mean Hessian of `losses`: the mean over repeats.

    `orders` [repeats, steps]: the positions in `losses` that each repeat visits, one sample a step; `step()` is called
    after each. Raises Diverged where an estimate passes ten times the bound |v| sum_j (1 - damping)^j, which holds for
    all convex losses whose curvature is within the scale.
    """
    repeats = torch.as_tensor(orders).tolist()
    total = torch.zeros_like(v)
    for order in repeats:
        estimate, growth, size = v, 1.0, float(v.norm())
        for position in order:
            product = hessian_product(losses[position], theta, estimate)
            estimate = v + (1 - damping) * estimate - product / scale
            growth = 1 + (1 - damping) * growth
            step()
            if not float(estimate.norm()) <= 10 * growth * size:
                raise Diverged(
                    "the estimate of the inverse Hessian diverges",
                    where=f"model.influence.scale={scale:g}, damping {damping:g}",
                    remedy=f"raise the scale (model.influence.scale={2 * scale:.3g}), or leave it null",
                )
        total += estimate / scale
    return total / len(repeats)


def inverse_hessian_product(
    losses: Sequence[Loss],
    theta: Tensor,
    v: Tensor,
    *,
    orders: ArrayLike,
    damping: float = 0.01,
    scale: float | None = None,
    step: Callable[[], object] = lambda: None,
) -> Tensor:
    """[P] `lissa` with a scale that fits: the one given, else the largest curvature among the first samples.

    A scale that was found, not given, doubles as long as the estimate diverges: a doubled scale is twice the damping
    too, which is what negative curvature (focal loss, GIoU) calls for. The log says so.
    """
    run = partial(lissa, losses, theta, v, orders=orders, damping=damping, step=step)
    if scale is not None:
        return run(scale=scale)
    probed = torch.as_tensor(orders)[0, :PROBED].tolist()
    scale = largest_curvature([losses[position] for position in probed], theta) or 1.0
    for _ in range(DOUBLINGS):
        try:
            return run(scale=scale)
        except Diverged:
            scale *= 2
            log.info("the Hessian's largest curvature was underestimated or negative: scale %.3g", scale)
    return run(scale=scale)
