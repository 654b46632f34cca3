"""From one value a box to one value an image, and which boxes count. An image with one class is one box, which counts.

`mean`, `max` and `sum` over an image's boxes; `top_n`: the mean over its n best-scored boxes, as Lund (section 4.3)
disregards all but the top detections, scores those one by one and takes their average. How many the report does not state.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from al_cli.types import Predictions

Aggregate = Literal["mean", "max", "sum", "top_n"]


def counted(table: Predictions, score_threshold: float) -> NDArray[np.bool_]:
    """[M] the rows of at least this score. A threshold tells objects from false alarms, so where each image has one class,
    every row counts: what is hardly likely is still the answer."""
    return table.scores >= (0 if table.prob_kind == "exclusive" else score_threshold)


def per_image(
    values: NDArray[np.float64], table: Predictions, aggregate: Aggregate, top_n: int = 10
) -> NDArray[np.float64]:
    """[N] of non-negative values [M] along the rows of the table; 0 for an image without boxes.

    `mean`, `max` and `top_n` stay in the range of the values; `sum` grows with the number of boxes. Only `top_n` reads n.
    """
    image, n = table.row_image, len(table)
    if aggregate == "max":
        largest = np.zeros(n)
        np.maximum.at(largest, image, values)
        return largest
    counts = table.counts
    if aggregate == "top_n":  # rows descend by score within an image
        best = np.arange(len(values)) - table.offsets[image] < top_n
        image, values, counts = image[best], values[best], np.minimum(counts, top_n)
    total = np.bincount(image, values, minlength=n).astype(np.float64)
    return total if aggregate == "sum" else total / np.maximum(counts, 1)
