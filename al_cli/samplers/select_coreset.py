"""Images far from everything labeled so far: k-center-greedy on the images' features.

Sener and Savarese 2018, algorithm 1; ISAL's comparison (appendix D.2). The labeled images are the first centers S:

    u = argmax over candidates i of min over j in S of ||x_i - x_j||,   S <- S + {u},   until the budget is picked

which covers the pool within twice the smallest possible radius. The mixed-integer refinement of the paper is left out,
as in ISAL, for whom it is "slightly worse but much less time-consuming" without.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from al_cli.progress import phase
from al_cli.samplers.base import selection
from al_cli.types import Query, Selection, Signal

CORESET_BLOCK = 1 << 22  # distances held at a time, 32 MiB

POOLED = {"image": Signal.IMAGE_FEATURES, "towers": Signal.TOWER_FEATURES}


def _features(options: Mapping[str, Any]) -> frozenset[Signal]:
    return frozenset({POOLED[options["feature"]]})


@selection(
    needs=_features,
    labeled=_features,
    source="Sener & Savarese 2018, alg. 1; ISAL appendix D",
    family="diversity",
    boxes=lambda options: True if options["feature"] == "towers" else None,
)
def coreset(
    query: Query, scores: NDArray[np.float64] | None = None, *, feature: Literal["image", "towers"] = "image"
) -> Selection:
    """`budget` candidates, each the farthest from the labeled images and those before it (of equals the lowest id).

    Distance is Euclidean between pooled features, which every image has: one without boxes is like any other. They are those
    of the backbone, of a classifier the vector before its last layer, as in ISAL D.1 (`image`); or those of the class and box
    towers of a dense detector (`towers`), as ISAL pooled those of FCOS (D.2). It tried the feature pyramid too and found it no
    better.
    Exact, N * (labeled + budget) * D multiplications in float64. Scores are not read; nothing is random.

    When to use: to cover a pool with few near-duplicates and a backbone that already sees something. It likes oddities
    (the farthest image may be a broken one) and images unlike all others, labeled or not, whether or not they have objects.
    """
    assert query.labeled is not None
    table = query.candidates
    x = table.columns[POOLED[feature]].astype(np.float64)  # [N, D]
    gap = squared_distance_to_nearest(x, query.labeled.columns[POOLED[feature]].astype(np.float64))
    length = np.einsum("nd,nd->n", x, x)
    picked = np.empty(query.budget, np.int64)
    with phase("coreset", total=query.budget) as step:
        for i in range(query.budget):
            picked[i] = u = int(gap.argmax())
            np.minimum(gap, length + length[u] - 2 * (x @ x[u]), out=gap)
            gap[picked[: i + 1]] = -np.inf  # never again, not even among duplicates
            step(1)
    return Selection(table.image_ids[picked], np.full(query.budget, np.nan))


def squared_distance_to_nearest(x: NDArray[np.float64], centers: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N] smallest squared Euclidean distance of each row of `x` [N, D] to one of `centers` [L, D]; inf where L = 0."""
    nearest = np.full(len(x), np.inf)
    length = np.einsum("nd,nd->n", x, x)
    height = max(1, CORESET_BLOCK // max(1, len(x)))
    for start in range(0, len(centers), height):
        some = centers[start : start + height]
        squared = length[:, None] + np.einsum("ld,ld->l", some, some) - 2 * (x @ some.T)  # [N, block]
        np.minimum(nearest, squared.min(1), out=nearest)
    return nearest
