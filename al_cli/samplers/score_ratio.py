"""Ratio of the two likeliest answers for each box, in one number an image.

FSDL section 4.2, after Monarch 2021: y2 / y1, with y1 and y2 the probabilities of the two likeliest answers; in [0, 1].
What counts as an answer for a softmax and for a sigmoid head: `al_cli.samplers.uncertainty`.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.aggregate import Aggregate, per_image
from al_cli.samplers.base import Between, score
from al_cli.samplers.uncertainty import ratio_of
from al_cli.types import Query, Signal


@score(
    needs=frozenset({Signal.PROBS}),
    source="Monarch 2021; FSDL 4.2",
    family="uncertainty",
)
def ratio(
    query: Query, *, aggregate: Aggregate = "mean", top_n: Annotated[int, Between(1)] = 10
) -> NDArray[np.float64]:
    """[N] `aggregate` over an image's boxes of the ratio of their class vectors; 0 without boxes.

    `mean` and `top_n` (the mean over the `top_n` best-scored boxes, Lund section 4.3) judge the boxes there are, `max` the
    worst of them; `sum` also grows with their number.

    When to use: to compare with the sources. Where two answers hold all of the probability it orders boxes as `margin`
    does; with many faint answers it prefers boxes of which nothing is likely. FSDL had it below random on two datasets.
    """
    table = query.candidates
    return per_image(ratio_of(table.columns[Signal.PROBS], table.prob_kind), table, aggregate, top_n)
