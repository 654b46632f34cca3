"""A small network that learns a probability from feature vectors: the new head of FSDL section 4.6.

    p(x) = sigmoid(w2 . relu(W1 z + b1) + b2),   z = x standardised with the training set's mean and deviation

trained on binary cross-entropy with targets anywhere in [0, 1], by Adam (Kingma and Ba 2015) on minibatches. A fifth of
the examples is held out, and training ends once its loss has not fallen for some epochs (FSDL's program: 20%, 2 of at
most 10): without that, a network of this size learns any two sets of images by heart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
HIDDEN, BATCH, LR, EPOCHS, PATIENCE, HELD_OUT = 64, 32, 1e-3, 100, 5, 0.2


def learn_and_predict(
    x: NDArray[np.floating], target: Floats, asked: NDArray[np.floating], rng: np.random.Generator
) -> Floats:
    """[Q] probabilities for `asked` [Q, D], after learning `target` [n] in [0, 1] from `x` [n, D].

    Below five examples none is held out. Targets that are all alike teach nothing about x: the answer is that target.
    """
    if np.ptp(target) == 0:
        return np.full(len(asked), float(target[0]))
    mean, deviation = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    deviation[deviation == 0] = 1
    z = (x - mean) / deviation
    order = rng.permutation(len(z))
    held_out, kept = np.split(order, [int(HELD_OUT * len(z))])
    network = SmallNetwork(z.shape[1], rng)
    judge = held_out if len(held_out) else kept
    best, best_weights, since_best = np.inf, network.weights, 0
    for _ in range(EPOCHS):
        shuffled = rng.permutation(kept)
        for start in range(0, len(shuffled), BATCH):
            batch = shuffled[start : start + BATCH]
            network.step(network.gradients(z[batch], target[batch]))
        loss = network.loss(z[judge], target[judge])
        if loss < best:
            best, best_weights, since_best = loss, [w.copy() for w in network.weights], 0
        elif (since_best := since_best + 1) == PATIENCE:
            break
    network.weights = best_weights
    return _sigmoid(network.logits((asked - mean) / deviation))


class SmallNetwork:
    """One hidden layer; `weights` are W1 [D, H], b1 [H], w2 [H], b2 [1]."""

    def __init__(self, inputs: int, rng: np.random.Generator):
        first = rng.normal(scale=np.sqrt(2 / inputs), size=(inputs, HIDDEN))  # He et al. 2015
        last = rng.normal(scale=np.sqrt(1 / HIDDEN), size=HIDDEN)
        self.weights = [first, np.zeros(HIDDEN), last, np.zeros(1)]
        self.steps, self.first, self.second = 0, *([np.zeros_like(w) for w in self.weights] for _ in range(2))

    def logits(self, z: Floats) -> Floats:
        w1, b1, w2, b2 = self.weights
        return np.maximum(z @ w1 + b1, 0) @ w2 + b2

    def loss(self, z: Floats, target: Floats) -> float:
        """Mean of -t ln p - (1 - t) ln(1 - p), written without p so that it cannot overflow."""
        logits = self.logits(z)
        return float((np.logaddexp(0, logits) - target * logits).mean())

    def gradients(self, z: Floats, target: Floats) -> list[Floats]:
        """The gradient of `loss`, one array for each of `weights`."""
        w1, b1, w2, _ = self.weights
        hidden = np.maximum(z @ w1 + b1, 0)  # [n, H]
        error = (_sigmoid(self.logits(z)) - target) / len(z)  # [n]
        back = error[:, None] * w2 * (hidden > 0)  # [n, H]
        return [z.T @ back, back.sum(0), hidden.T @ error, error.sum(keepdims=True)]

    def step(self, gradients: list[Floats]) -> None:
        """One step of Adam with its authors' constants."""
        self.steps += 1
        for w, g, first, second in zip(self.weights, gradients, self.first, self.second, strict=True):
            first += 0.1 * (g - first)
            second += 0.001 * (g * g - second)
            unbiased = second / (1 - 0.999**self.steps)
            w -= LR * first / (1 - 0.9**self.steps) / (np.sqrt(unbiased) + 1e-8)


def _sigmoid(logits: Floats) -> Floats:
    return np.exp(-np.logaddexp(0, -logits))
