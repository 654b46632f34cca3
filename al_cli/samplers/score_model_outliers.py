"""Images that the detector has little to say about: low activations of its last layer.

FSDL section 4.4, after Monarch 2021 (model-based outliers): the mean, or the maximum, of the activations of the last
linear layers; the images where it is lowest confuse the model "by lack of information". For a detector the layer is the
one its class scores are computed from, once for each box, and the image's value is taken over its boxes:

    mean   s(I) = -mean over boxes b and units d of a_bd        max   s(I) = -max over b and d of a_bd
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import score
from al_cli.types import Query, Signal


@score(needs=frozenset({Signal.BOX_FEATURES}), source="FSDL 4.4; Monarch 2021", family="diversity")
def model_outliers(query: Query, *, aggregate: Literal["mean", "max"] = "mean") -> NDArray[np.float64]:
    """[N] minus the mean or largest activation. An image without boxes activated nothing: 0.

    That is the highest value there is, as the layer ends in a ReLU in every supported detector, so images in which
    nothing was found come first. FSDL averages over its classifier's three last linear layers; detectors have one hidden
    layer in common before the class scores, so one it is. It compares with no labeled images, and neither does this.

    When to use: behind an uncertainty score (`least_confidence_outliers`, `entropy_outliers`), to prefer what the
    detector has no features for. Alone it buys images without detections first, many of them empty.
    """
    table = query.candidates
    activations = table.columns[Signal.BOX_FEATURES].astype(np.float64)  # [M, D]
    value = np.zeros(len(table))
    seen = table.counts > 0
    if aggregate == "mean":
        total = np.bincount(table.row_image, activations.mean(1), minlength=len(table))
        value[seen] = total[seen] / table.counts[seen]
    elif seen.any():
        value[seen] = np.maximum.reduceat(activations.max(1), table.offsets[:-1][seen])
    return 0 - value  # not -value: zeros stay +0
