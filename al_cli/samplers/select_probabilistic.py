"""Sampling without replacement with probability proportional to the score.

Thesis section 2.2.3: the uncertainty is treated as a probability, so that a small share of the images comes from other
parts of its distribution. Drawn exactly by exponential keys (Efraimidis and Spirakis 2006): with E_i ~ Exp(1), the
candidates in ascending order of E_i / s_i are a sequence of draws, each proportional to the scores that are left.
"""

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import selection
from al_cli.types import Query, Selection


@selection(scored=True, source="thesis 2.2.3; Efraimidis & Spirakis 2006", family="probabilistic")
def probabilistic(query: Query, scores: NDArray[np.float64]) -> Selection:
    """`budget` candidates in the order drawn. Images of score 0 follow, uniformly, when no positive one is left.

    Raises ValueError for a negative score: it is no probability.
    """
    if (scores < 0).any():
        raise ValueError(f"probabilistic: scores must not be negative, the lowest is {scores.min()}")
    positive = scores > 0
    keys = np.log(query.rng.exponential(size=len(scores)))  # in logarithms, as E / s overflows for a tiny score
    keys[positive] -= np.log(scores[positive])
    order = np.lexsort((keys, ~positive))[: query.budget]
    return Selection(query.candidates.image_ids[order], scores[order])
