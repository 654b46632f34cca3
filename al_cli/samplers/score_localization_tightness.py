"""A box that is sure of its class but not of its place, or the other way round.

Kao et al. 2018. T_j is the IoU of box j with the region proposal it was refined from, P_j its confidence:

    J(box j) = |T_j + P_j - 1|        T(I) = min over j of J(box j)        score = 1 - T(I)

J is small where a tight box (T near 1) has an uncertain class (P near 0) or a certain class a loose box.
"""

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.aggregate import per_image
from al_cli.samplers.base import score
from al_cli.types import Query, Signal


@score(needs=frozenset({Signal.PROPOSAL_IOU}), source="Kao et al. 2018", family="localisation", boxes=True)
def localization_tightness(query: Query) -> NDArray[np.float64]:
    """[N] in [0, 1]: 1 where tightness and confidence of one box contradict each other outright; 0 without boxes.

    P is the score of the detection. Kao et al. name the images with a small T(I) inconsistent and pick those; an image
    without boxes has no T(I) and comes last.

    When to use: on two-stage detectors only, as it needs their proposals; it costs nothing beyond plain inference. The
    minimum makes one box decide: a detector that keeps many faint boxes (a low score threshold) finds a tight and faint
    one in nearly every image, and the scores crowd near 1.
    """
    table = query.candidates
    tightness = table.columns[Signal.PROPOSAL_IOU].astype(np.float64)  # [M]
    agreement = np.abs(tightness + table.scores.astype(np.float64) - 1)
    return per_image(np.clip(1 - agreement, 0, 1), table, "max")
