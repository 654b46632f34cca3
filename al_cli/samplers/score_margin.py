"""Margin between the two likeliest answers for each box, in one number an image.

Lund eq. 3.2: 1 - (y1 - y2), with y1 and y2 the probabilities of the two likeliest answers; in [0, 1].
What counts as an answer for a softmax and for a sigmoid head: `al_cli.samplers.uncertainty`.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.aggregate import Aggregate, per_image
from al_cli.samplers.base import Between, score
from al_cli.samplers.uncertainty import margin_of
from al_cli.types import Query, Signal


@score(
    needs=frozenset({Signal.PROBS}),
    source="Settles 2009; Monarch 2021; Lund eq. 3.2; FSDL 4.2",
    family="uncertainty",
)
def margin(
    query: Query, *, aggregate: Aggregate = "mean", top_n: Annotated[int, Between(1)] = 10
) -> NDArray[np.float64]:
    """[N] `aggregate` over an image's boxes of the margin score of their class vectors; 0 without boxes.

    `mean` and `top_n` (the mean over the `top_n` best-scored boxes, Lund section 4.3) judge the boxes there are, `max` the
    worst of them; `sum` also grows with their number.

    When to use: where classes are confused in pairs: it asks how close the runner-up is and ignores all the others. Lund
    saw the lowest losses of the three with it, and the fastest gain of AP on surveillance images, both by little.
    """
    table = query.candidates
    return per_image(margin_of(table.columns[Signal.PROBS], table.prob_kind), table, aggregate, top_n)
