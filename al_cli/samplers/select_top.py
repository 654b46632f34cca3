"""The candidates of the highest score."""

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import selection
from al_cli.types import Query, Selection


@selection(scored=True, source="greedy: the k highest", family="greedy")
def top(query: Query, scores: NDArray[np.float64]) -> Selection:
    """The `budget` highest scores, highest first; of equal scores the lower image id first."""
    order = np.argsort(-scores, kind="stable")[: query.budget]  # candidates ascend by id, and a stable sort keeps that
    return Selection(query.candidates.image_ids[order], scores[order])
