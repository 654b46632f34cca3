"""The candidates around a point between the hardest and the easiest.

Lund section 4.1.3, "selection pivot": of the list ordered by score, 0 selects the hardest, 1 the easiest, and any value
between them the images around that point. Lund's sweep learned faster at first with 0.25 than with 0.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import Between, selection
from al_cli.types import Query, Selection


@selection(scored=True, source="Lund 4.1.3", family="greedy")
def pivot(query: Query, scores: NDArray[np.float64], *, pivot: Annotated[float, Between(0, 1)] = 0.25) -> Selection:
    """The `budget` candidates whose ranks lie nearest to pivot * (N - 1), nearest first; of two as near, the harder.

    Rank 0 has the highest score; of equal scores the lower image id ranks first. At 0 this is `top`, at 1 its mirror image.
    An image without boxes ranks where its score puts it: among the easiest, for the uncertainties.

    When to use: where the hardest images are outliers or label errors. Lund found fewer of both at 0.25, and an early gain
    that was overtaken later, so prefer it for a few rounds or noisy pools.
    """
    ranked = np.argsort(-scores, kind="stable")
    distance = np.abs(np.arange(len(ranked)) - pivot * (len(ranked) - 1))
    chosen = ranked[np.argsort(distance, kind="stable")[: query.budget]]
    return Selection(query.candidates.image_ids[chosen], scores[chosen])
