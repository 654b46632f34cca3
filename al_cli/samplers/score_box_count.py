"""How many objects an image seems to hold: a control.

Not from a paper: most uncertainties grow with the number of boxes, so a method that does no better than this one, at an
equal number of boxes, just buys crowded images.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import Between, score
from al_cli.types import Query


@score(needs=frozenset(), source="control: predicted boxes", family="control", boxes=True)
def box_count(query: Query, *, score_threshold: Annotated[float, Between(0, 1)] = 0.3) -> NDArray[np.float64]:
    """[N] number of detections of at least `score_threshold` (0.3 as in the thesis' CCMS); 0 without boxes.

    When to use: in every comparison, next to `random`. What beats random per image but not this control has found crowded
    images, which cost more to label; read its curve against boxes, or set `budget_unit=boxes`.
    """
    table = query.candidates
    return np.bincount(table.row_image, table.scores >= score_threshold, minlength=len(table)).astype(np.float64)
