"""How many objects an image does hold: the control `box_count` without a detector's mistakes. An oracle."""

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import score
from al_cli.types import Query, Signal


@score(needs=frozenset({Signal.TRUE_BOXES}), source="control: annotated boxes", family="control", boxes=True)
def true_box_count(query: Query) -> NDArray[np.float64]:
    """[N] annotated objects, crowd regions left out; 0 for an image without objects, whatever was detected in it.

    When to use: to see how far buying crowded images alone would go. It reads the labels of the pool, so it is no method.
    """
    return query.candidates.columns[Signal.TRUE_BOXES].astype(np.float64)
