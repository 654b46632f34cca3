"""Least confidence of the class vector of each box, in one number an image.

Lund eq. 3.1: (1 - y1) * n / (n - 1), with y1 the probability of the likeliest of n answers; in [0, 1].
What counts as an answer for a softmax and for a sigmoid head: `al_cli.samplers.uncertainty`.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.aggregate import Aggregate, per_image
from al_cli.samplers.base import Between, score
from al_cli.samplers.uncertainty import least_confidence_of
from al_cli.types import Query, Signal


@score(
    needs=frozenset({Signal.PROBS}),
    source="Settles 2009; Monarch 2021; Lund eq. 3.1; FSDL 4.2",
    family="uncertainty",
)
def least_confidence(
    query: Query, *, aggregate: Aggregate = "mean", top_n: Annotated[int, Between(1)] = 10
) -> NDArray[np.float64]:
    """[N] `aggregate` over an image's boxes of the least confidence of their class vectors; 0 without boxes.

    `mean` and `top_n` (the mean over the `top_n` best-scored boxes, Lund section 4.3) judge the boxes there are, `max` the
    worst of them; `sum` also grows with their number.

    When to use: the plainest uncertainty, where one wrong class is as bad as any other. With a softmax head a box between
    object and background counts as much as one between two classes, so on an early model it mostly buys faint detections.
    FSDL had it below random on the two datasets where `margin` and `entropy` were above.
    """
    table = query.candidates
    return per_image(least_confidence_of(table.columns[Signal.PROBS], table.prob_kind), table, aggregate, top_n)
