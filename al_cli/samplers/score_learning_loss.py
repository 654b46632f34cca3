"""Images of the highest predicted loss.

Yoo and Kweon 2019; ISAL's comparison (appendix D.2): a small module next to the detector learns, from its pyramid's
features, which of two images has the larger training loss. The module and its training:
`al_cli/learners/pytorch/loss_module.py`.
"""

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import score
from al_cli.types import Query, Signal


@score(needs=frozenset({Signal.PREDICTED_LOSS}), source="Yoo & Kweon 2019; ISAL appendix D.2", family="learned")
def learning_loss(query: Query) -> NDArray[np.float64]:
    """[N] predicted loss. It has an order but no unit, and may be negative; an image without boxes has one as well.

    When to use: as the general baseline that newer methods compare with. ISAL found it worse than random on COCO at an
    equal number of boxes, since crowded images have the largest losses: read its curve against boxes, not images.
    """
    return query.candidates.columns[Signal.PREDICTED_LOSS].astype(np.float64)
