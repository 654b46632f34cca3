"""How much the loss of a reference set would fall if an image were labeled and trained on.

Liu et al. 2021 (ISAL), eq. 2 and 4: I = -grad L_ref^T H^-1 grad l(x, y'), y' the model's own answer: its detections, or the
class that it predicts; the most negative first. Without the Hessian (section 4.4.2) it is gradient similarity,
grad L_ref^T grad l(x, y'); the highest first. The learner measures both; an image without detections has a value too, that of
its background.
"""

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import score
from al_cli.types import Query, Signal


@score(needs=frozenset({Signal.INFLUENCE}), source="ISAL (Liu et al. 2021) eq. 4", family="influence")
def influence(query: Query) -> NDArray[np.float64]:
    """[N] -I: how far the image would lower the reference loss, to first order; negative where it would raise it."""
    return -query.candidates.columns[Signal.INFLUENCE].astype(np.float64)


@score(needs=frozenset({Signal.GRADIENT_SIMILARITY}), source="ISAL (Liu et al. 2021) sec. 4.4.2", family="influence")
def gradient_similarity(query: Query) -> NDArray[np.float64]:
    """[N] the inner product of the image's gradient and the reference set's."""
    return query.candidates.columns[Signal.GRADIENT_SIMILARITY].astype(np.float64)
