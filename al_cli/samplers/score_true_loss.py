"""The loss that an image would have in training, from its true labels. An oracle.

Lund sections 3.1.3 and 4.3 ("loss descending", perfect loss selection): the cross-entropy of an image with one class, or the
sum of classification and localisation loss.
"""

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import score
from al_cli.types import Query, Signal


@score(needs=frozenset({Signal.TRUE_LOSS}), source="Lund 3.1.3", family="loss")
def true_loss(query: Query) -> NDArray[np.float64]:
    """[N] the learner's own loss of each image. An image without boxes has one too: what its false alarms cost.

    When to use: as a bound on `learning_loss`, which has to guess this. Lund ran it because synthetic images come with
    their labels. It reads the labels of the pool, so elsewhere it is no method; nor is it the best choice one could make.
    """
    return query.candidates.columns[Signal.TRUE_LOSS].astype(np.float64)
