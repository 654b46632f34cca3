"""Entropy of the detections' scores, weighted by how uncertain their class is over the whole pool.

Thesis section 2.2, eq. 2 and 3: UN(I) = -sum_b s_b ln s_b * UN(c_b) / max_c UN(c), with UN(c) = -sum of s_b ln s_b over
all boxes b of class c in all images. It stands for PPAL's difficulty calibration where localisation is not to be had.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.aggregate import counted
from al_cli.samplers.base import Between, score
from al_cli.types import Query


@score(needs=frozenset(), source="thesis eq. 2-3", family="uncertainty")
def class_entropy(query: Query, *, score_threshold: Annotated[float, Between(0, 1)] = 0.0) -> NDArray[np.float64]:
    """[N] class-weighted entropy; 0 for an image without boxes, and for all where no box has any uncertainty.

    Boxes below `score_threshold` count neither for their image nor for their class; an image without a box above it has 0.
    Thesis 2.3.4 raises the detector's threshold from 0.05 to 0.3 to save time in the similarities. Whether the entropy saw
    fewer boxes too is implied, by one pass that feeds both, and not said: 0.3 is one reading, 0 (all boxes that the detector
    returns, from 0.05 up) the other. They differ much: -s ln s is 0.15 at 0.05 and 0.10 at 0.9.

    UN(c) is summed over all candidates first and used after, so the value of an image does not depend on the order of
    files; the released program weights with the running sum. Entropy is in nats; a box adds at most 1/e.

    Where images have one class each, s is the probability of the predicted class, and no threshold is looked at.

    When to use: where nothing but boxes and scores is to be had, as the first stage of a chain. It sums over boxes and
    weighs classes by their share of all uncertainty, so it buys crowded images and frequent classes; compare it with
    `box_count`. -s ln s is largest at s = 0.37, not 0.5, and the class weight changes with the pool.
    """
    table = query.candidates.filter(counted(query.candidates, score_threshold))
    s = table.scores.astype(np.float64)
    per_box = -s * np.log(s)
    per_class = np.bincount(table.classes, per_box, minlength=table.num_classes)  # [C]
    if not per_class.any():
        return np.zeros(len(table))
    weight = per_class / per_class.max()
    return np.bincount(table.row_image, per_box * weight[table.classes], len(table)).astype(np.float64)
