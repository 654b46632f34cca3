"""Entropy of the class vector of each box, in one number an image.

Settles 2009; Monarch 2021; normalised as in the Lund thesis, eq. 3.3: H(p) = -sum_y p_y ln p_y / ln n, in [0, 1].
Lund, section 4.3, scores the detections individually and takes their average: `mean`.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import score
from al_cli.types import Query, Signal


@score(
    needs=frozenset({Signal.PROBS}),
    source="Settles 2009; Monarch 2021; Lund eq. 3.3",
    family="uncertainty",
)
def entropy(query: Query, *, aggregate: Literal["mean", "max", "sum"] = "mean") -> NDArray[np.float64]:
    """[N] mean, largest or sum over an image's boxes of the entropy of their class vectors; 0 without boxes.

    softmax: the outcomes are the C classes and the background, which has the rest of the probability; n = C + 1.
    sigmoid: each class is a yes or no of its own; the entropy of a box is the mean of the C binary entropies, n = 2.
    A box has a value in [0, 1] either way, so `mean` and `max` lie there too; `sum` grows with the number of boxes.
    """
    table = query.candidates
    p = table.columns[Signal.PROBS].astype(np.float64)  # [M, C]
    if table.prob_kind == "softmax":
        rest = np.clip(1 - p.sum(1, keepdims=True), 0, 1)
        per_box = _surprise(np.hstack([p, rest])).sum(1) / np.log(p.shape[1] + 1)
    else:
        per_box = (_surprise(p) + _surprise(1 - p)).mean(1) / np.log(2)

    if aggregate == "max":
        result = np.zeros(len(table))
        np.maximum.at(result, table.row_image, per_box)
        return result
    total = np.bincount(table.row_image, per_box, minlength=len(table)).astype(np.float64)
    return total if aggregate == "sum" else total / np.maximum(table.counts, 1)


def _surprise(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """-p ln p, with its limit 0 at p = 0."""
    return -p * np.log(np.where(p > 0, p, 1))
