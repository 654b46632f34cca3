"""How much an image's boxes move when noise is added to it.

Kao et al. 2018, as ISAL compares with it. IoU_jn is the overlap of box j with its best match on the image
under the n-th of six levels of Gaussian noise, P_j the box's confidence:

    S(box j) = mean over n of IoU_jn        S(I) = sum_j P_j S(box j) / sum_j P_j        score = 1 - S(I)
"""

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import score
from al_cli.types import Query, Signal


@score(needs=frozenset({Signal.JITTER}), source="Kao et al. 2018; ISAL", family="localisation", boxes=True)
def localization_stability(query: Query) -> NDArray[np.float64]:
    """[N] in [0, 1]: 0 where no box moves, and without boxes; 1 where nothing is found again under any noise.

    An image without boxes has nothing that could move and comes last, as in ISAL's comparison. Kao et al. also
    subtract S from a class uncertainty; ISAL, whose method this is here, takes it alone.

    When to use: where boxes matter more than classes, on any detector. It costs six more passes over the pool. An image
    that is dark, blurred or full of small objects is unstable whatever the model knows.
    """
    table = query.candidates
    stability = table.columns[Signal.JITTER].astype(np.float64).mean(1)  # [M]
    confidence = table.scores.astype(np.float64)
    n = len(table)
    moved = np.bincount(table.row_image, confidence * (1 - stability), minlength=n)
    return np.clip(moved / np.where(table.counts, np.bincount(table.row_image, confidence, minlength=n), 1), 0, 1)
