"""How uncertain one class vector is, in [0, 1]: the four measures of Monarch 2021 as Lund normalises them.

Lund eq. 3.1-3.3, with n outcomes of probabilities p, the largest y1 and the second y2; ratio from FSDL section 4.2:

    least confidence  (1 - y1) * n / (n - 1)        ratio    y2 / y1
    margin            1 - (y1 - y2)                 entropy  -sum_y p_y ln p_y / ln n

The sources classify images; a box can also be background. What the answers are depends on the head:

    exclusive  one question with C answers, as in the sources: each image has one of the classes, n = C.
    softmax    one question with C + 1 answers: background has the probability that the classes leave, n = C + 1.
    sigmoid    C questions of yes or no. Background is that even the likeliest class is a no, 1 - max p. The first three
               compare it with the classes, n = 2 (y1 is at least 1/2); entropy is the mean of the C binary entropies, n = 2.
"""

import numpy as np
from numpy.typing import NDArray

from al_cli.types import ProbKind


def least_confidence_of(probs: NDArray, kind: ProbKind) -> NDArray[np.float64]:
    """[M] of class probabilities [M, C]: 1 where no answer is likelier than another, 0 where one is certain."""
    p = _outcomes(probs, kind)
    n = 2 if kind == "sigmoid" else p.shape[1]
    return np.clip((1 - p.max(1)) * n / (n - 1), 0, 1)


def margin_of(probs: NDArray, kind: ProbKind) -> NDArray[np.float64]:
    """[M] of class probabilities [M, C]: 1 where the two likeliest answers are equally likely."""
    second, first = _two_likeliest(probs, kind)
    return 1 - (first - second)


def ratio_of(probs: NDArray, kind: ProbKind) -> NDArray[np.float64]:
    """[M] of class probabilities [M, C]: the second likeliest answer as a part of the likeliest."""
    second, first = _two_likeliest(probs, kind)
    return second / first


def entropy_of(probs: NDArray, kind: ProbKind) -> NDArray[np.float64]:
    """[M] of class probabilities [M, C]: 1 where all answers are equally likely, 0 where one is certain."""
    if kind != "sigmoid":
        p = _outcomes(probs, kind)
        return np.minimum(surprise_of(p).sum(1) / np.log(p.shape[1]), 1)  # rounding may pass 1
    p = np.clip(np.asarray(probs, np.float64), 0, 1)
    return np.minimum((surprise_of(p) + surprise_of(1 - p)).mean(1) / np.log(2), 1)


def _outcomes(probs: NDArray, kind: ProbKind) -> NDArray[np.float64]:
    """[M, n] the classes, then the background where there is one; a class without an alternative has one of probability 0."""
    p = np.clip(np.asarray(probs, np.float64), 0, 1)
    if kind == "exclusive":
        return p if p.shape[1] > 1 else np.hstack([p, np.zeros_like(p)])
    taken = p.sum(1, keepdims=True) if kind == "softmax" else p.max(1, keepdims=True)
    return np.hstack([p, np.clip(1 - taken, 0, 1)])


def _two_likeliest(probs: NDArray, kind: ProbKind) -> NDArray[np.float64]:
    """[2, M] the second largest outcome of each box, then the largest, which is never 0."""
    return np.partition(_outcomes(probs, kind), -2, axis=1)[:, -2:].T


def surprise_of(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """-p ln p, with its limit 0 at p = 0."""
    return -p * np.log(np.where(p > 0, p, 1))
