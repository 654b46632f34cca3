"""Images that the model has little to say about: low activations of its last linear layers.

FSDL section 4.4, after Monarch 2021 (model-based outliers): the mean, or the maximum, of the activations of each of the last
three linear layers, then over the layers; the images where it is lowest confuse the model "by lack of information". With
a_bld the activation of unit d of layer l for box b, where an image with one class is one box:

    mean   s(I) = -mean over b, l of mean over d of a_bld        max   s(I) = -max over b, l, d of a_bld
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import score
from al_cli.types import Query, Signal


@score(needs=frozenset({Signal.LAYER_ACTIVATIONS}), source="FSDL 4.4; Monarch 2021", family="diversity")
def model_outliers(query: Query, *, aggregate: Literal["mean", "max"] = "mean") -> NDArray[np.float64]:
    """[N] minus the mean or largest activation. An image without boxes activated nothing: 0.

    A classifier gives up to three linear layers. Detectors have one hidden layer in common before the class scores, so it
    is that one, once for each box. It ends in a ReLU in every supported detector, so 0 is the highest value there is, and
    images in which nothing was found come first. FSDL compares with no labeled images, and neither does this.

    When to use: behind an uncertainty score (`least_confidence_outliers`, `entropy_outliers`), to prefer what the
    model has no features for. Alone, with a detector, it buys images without detections first, many of them empty.
    """
    table = query.candidates
    mean, largest = np.moveaxis(table.columns[Signal.LAYER_ACTIVATIONS].astype(np.float64), 2, 0)  # [M, L] each
    value = np.zeros(len(table))
    seen = table.counts > 0
    if aggregate == "mean":
        total = np.bincount(table.row_image, mean.mean(1), minlength=len(table))
        value[seen] = total[seen] / table.counts[seen]
    elif seen.any():
        value[seen] = np.maximum.reduceat(largest.max(1), table.offsets[:-1][seen])
    return 0 - value  # not -value: zeros stay +0
