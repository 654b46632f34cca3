"""Entropy of the class vector of each box, in one number an image.

Settles 2009; Monarch 2021; normalised as in the Lund thesis, eq. 3.3: H(p) = -sum_y p_y ln p_y / ln n, in [0, 1].
What counts as an answer for a softmax and for a sigmoid head: `al_cli.samplers.uncertainty`.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.aggregate import Aggregate, per_image
from al_cli.samplers.base import Between, score
from al_cli.samplers.uncertainty import entropy_of
from al_cli.types import Query, Signal


@score(
    needs=frozenset({Signal.PROBS}),
    source="Settles 2009; Monarch 2021; Lund eq. 3.3; FSDL 4.2; DataHunt",
    family="uncertainty",
)
def entropy(
    query: Query, *, aggregate: Aggregate = "mean", top_n: Annotated[int, Between(1)] = 10
) -> NDArray[np.float64]:
    """[N] `aggregate` over an image's boxes of the entropy of their class vectors; 0 without boxes.

    `mean` and `top_n` (the mean over the `top_n` best-scored boxes, Lund section 4.3) judge the boxes there are, `max` the
    worst of them; `sum` also grows with their number.

    When to use: the default of its family, as it reads the whole class vector. On detectors with many classes and a softmax
    the values are small and close together; averaging favours images with few, unsure boxes over crowded ones.
    """
    table = query.candidates
    return per_image(entropy_of(table.columns[Signal.PROBS], table.prob_kind), table, aggregate, top_n)
