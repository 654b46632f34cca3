"""Sampling without replacement with probability proportional to the score, or equal to it.

Thesis section 2.2.3: the uncertainty, scaled to (0; 1), is treated as a probability, so that a small share of the images
comes from other parts of its distribution. That can be read in two ways.

`draw`: each pick is proportional to the scores that are left. Exactly so by exponential keys (Efraimidis and Spirakis 2006):
with E_i ~ Exp(1), ascending order of E_i / s_i is such a sequence of draws.

`accept`: passes over the images in random order, each taken with probability p_i = s_i / max s, until there are enough. Image
i is taken in pass floor(E_i / -ln(1 - p_i)) + 1, which is geometric, so no pass has to be made.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import selection
from al_cli.types import Query, Selection


@selection(scored=True, source="thesis 2.2.3; Efraimidis & Spirakis 2006", family="probabilistic")
def probabilistic(query: Query, scores: NDArray[np.float64], *, pick: Literal["draw", "accept"] = "draw") -> Selection:
    """`budget` candidates in the order drawn. Images of score 0 follow, uniformly, when no positive one is left.

    With `accept` the image of the highest score is always taken in the first pass, where the budget is not met before; a pass
    that would take more than the budget takes random ones of those it accepts.
    Raises ValueError for a negative score: it is no probability.
    """
    if (scores < 0).any():
        raise ValueError(f"probabilistic: scores must not be negative, the lowest is {scores.min()}")
    positive = scores > 0
    wait = query.rng.exponential(size=len(scores))
    if pick == "draw":
        keys = np.log(wait)  # in logarithms, as E / s overflows for a tiny score
        keys[positive] -= np.log(scores[positive])
        order = np.lexsort((keys, ~positive))
    else:
        passes = np.zeros(len(scores))
        passes[positive] = _pass_of(wait[positive], scores[positive])
        order = np.lexsort((query.rng.random(len(scores)), passes, ~positive))
    order = order[: query.budget]
    return Selection(query.candidates.image_ids[order], scores[order])


def _pass_of(wait: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pass, from 0, that accepts each image: `wait` ~ Exp(1), `scores` positive."""
    p = np.maximum(scores / scores.max(initial=0), 1e-300)  # so that no wait overflows
    rate = np.full(len(p), np.inf)  # p = 1 is accepted at once
    rate[p < 1] = -np.log1p(-p[p < 1])
    return np.floor(wait / rate)
