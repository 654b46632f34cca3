"""Images that belong to no trend of the pool: the highest GLOSH outlier scores of their features.

FSDL section 4.4; Campello et al. 2015, eq. 8: GLOSH(x) = 1 - lambda(x) / lambda_max(C), with lambda(x) the density
(1 / distance) at which x leaves its cluster C in the hierarchy, and lambda_max(C) that of C's densest part.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import Between, score
from al_cli.samplers.density import clusters
from al_cli.types import Query, Signal


@score(needs=frozenset({Signal.IMAGE_FEATURES}), source="FSDL 4.4; GLOSH (Campello et al. 2015)", family="diversity")
def outlier(query: Query, *, min_cluster_size: Annotated[int, Between(2)] = 500) -> NDArray[np.float64]:
    """[N] outlier scores in [0, 1] of the candidates among themselves; labeled images take no part, as in FSDL.

    Clusters are looked for on pooled backbone features, which an image without boxes has too. `min_cluster_size` is
    FSDL's, halved until there is a cluster. Fewer than three candidates: all 0.

    When to use: to find what the pool holds only once, or to clean it; FSDL itself expects little of it alone, since rare
    is not the same as useful. Quadratic in the pool: put a stage that keeps some thousands in front of it on large ones.
    """
    return clusters(query.candidates.columns[Signal.IMAGE_FEATURES], min_cluster_size)[1]
