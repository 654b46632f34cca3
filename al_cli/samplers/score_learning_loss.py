"""Images of the highest predicted loss.

Yoo and Kweon 2019; ISAL's comparison (appendix D): a small module next to the model learns, from the feature maps of a
classifier's blocks (D.1) or of a detector's pyramid (D.2), which of two images has the larger training loss. The learners
have the modules and train them.
"""

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import score
from al_cli.types import Query, Signal


@score(needs=frozenset({Signal.PREDICTED_LOSS}), source="Yoo & Kweon 2019; ISAL appendix D", family="learned")
def learning_loss(query: Query) -> NDArray[np.float64]:
    """[N] predicted loss. It has an order but no unit, and may be negative; an image without boxes has one as well.

    When to use: as the general baseline that newer methods compare with. ISAL found it worse than random on COCO at an
    equal number of boxes, since crowded images have the largest losses: read its curve against boxes, not images.
    """
    return query.candidates.columns[Signal.PREDICTED_LOSS].astype(np.float64)
