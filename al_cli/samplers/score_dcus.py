"""Difficulty-calibrated uncertainty: the entropy of each box's score, weighted by how hard its class was to learn.

Yang, Huang and Crowley 2022 (PPAL), section 3.1. With s the score of a box, c its class and d_c the difficulty of that
class (collected while training, see `Signal.CLASS_DIFFICULTY`):

    u(I) = sum_b w(c_b) * (-s_b ln s_b - (1 - s_b) ln(1 - s_b))
    w(c) = 1 + alpha * beta * ln(1 + gamma * d_c),  gamma = e^(1/alpha) - 1

so that w runs from 1 at d = 0 to 1 + beta at d = 1, steepest near 0.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import Between, score
from al_cli.samplers.uncertainty import surprise_of
from al_cli.types import Query, Signal


@score(
    needs=frozenset({Signal.CLASS_DIFFICULTY}),
    source="PPAL (Yang et al. 2022), section 3.1: DCUS",
    family="uncertainty",
)
def dcus(
    query: Query,
    *,
    alpha: Annotated[float, Between(0.01)] = 0.3,
    beta: Annotated[float, Between(0)] = 0.2,
    min_size_px: Annotated[float, Between(0)] = 16,
    max_aspect: Annotated[float, Between(1)] | None = 5,
) -> NDArray[np.float64]:
    """[N] class-weighted entropy summed over an image's boxes; 0 without boxes. In nats: a box adds at most ln 2 (1 + beta).

    `alpha` bends the weight (smaller: already easy classes gain), `beta` is the largest gain; both as in PPAL's release.
    Of the boxes that the model returns, those count whose sqrt(width * height), in px of the original image, is above
    `min_size_px` and whose longer side is less than `max_aspect` times the shorter (null: any with an area). This
    filter is in PPAL's released program, with 16 and 5; the paper does not state it. An image without such boxes has 0.
    Class difficulties come from training and do not depend on it. PPAL also drops boxes below 0.05, which R-CNN and
    RetinaNet never return. Where images have one class each, s is the probability of the predicted class and no image is
    filtered out.

    When to use: the uncertainty to try first where classes differ in difficulty. It sums, so it buys crowded images, and
    with difficulties from 0 to 1 the weights differ by a fifth at most: between classes of like difficulty it ranks as
    plain summed entropy does. Compare it with `box_count` before crediting the difficulty.
    """
    width, height = (query.candidates.boxes[:, 2:].astype(np.float64) - query.candidates.boxes[:, :2]).T
    aspect = np.maximum(width, height) / np.maximum(np.minimum(width, height), 1e-9)  # a box may have no width at all
    usual = (width * height > min_size_px**2) & (aspect < (max_aspect or np.inf))
    usual |= query.candidates.prob_kind == "exclusive"  # the box is the image
    table = query.candidates.filter(usual)
    s = table.scores.astype(np.float64)
    per_box = surprise_of(s) + surprise_of(1 - s)
    difficulty = table.columns[Signal.CLASS_DIFFICULTY].astype(np.float64)  # [C]
    weight = 1 + alpha * beta * np.log1p(np.expm1(1 / alpha) * difficulty)
    return np.bincount(table.row_image, per_box * weight[table.classes], len(table)).astype(np.float64)
