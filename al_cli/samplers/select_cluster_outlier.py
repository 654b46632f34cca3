"""The middle and the edge of every cluster: the most central and the most outlying images of each.

FSDL section 4.4 (combined clustering and outlier sampling), after Monarch 2021: clusters by HDBSCAN, outliers by GLOSH.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import Between, selection
from al_cli.samplers.density import clusters
from al_cli.types import Query, Selection, Signal


@selection(
    needs=frozenset({Signal.IMAGE_FEATURES}),
    source="FSDL 4.4; HDBSCAN and GLOSH (Campello et al. 2015)",
    family="diversity",
)
def cluster_outlier(
    query: Query, scores: NDArray[np.float64] | None = None, *, min_cluster_size: Annotated[int, Between(2)] = 500
) -> Selection:
    """`budget` candidates, the same number of each cluster as far as they reach, the largest cluster first.

    Of each cluster in turn: the image nearest to its mean, the one with the highest GLOSH score, the next nearest, the
    next highest, and so on. Images in no cluster come when all clusters are used up, highest GLOSH score first. Clusters
    are looked for on pooled backbone features, which an image without boxes has too; ties go to the lower id, and
    nothing is random. `min_cluster_size` is FSDL's, halved until there is a cluster. Scores are not read.
    FSDL's program draws four fifths of a cluster's share at random from its 90% least outlying images, and the rest from
    the others; its report says "the most relevant and the most outlier points", and that is what is done here.

    When to use: on pools with groups (cameras, scenes, bursts of frames), for a few of each group and its odd ones. In
    features without groups most images are in no cluster. Quadratic in the pool: keep some thousands before it.
    """
    table = query.candidates
    features = table.columns[Signal.IMAGE_FEATURES].astype(np.float64)
    label, glosh = clusters(features, min_cluster_size)
    members = [np.flatnonzero(label == c) for c in range(label.max() + 1)]
    members.sort(key=len, reverse=True)  # stable: of equals the lower label first
    orders = [list(_inward_and_outward(features, glosh, m)) for m in members]
    longest = max((len(order) for order in orders), default=0)
    turns = chain.from_iterable((order[r] for order in orders if r < len(order)) for r in range(longest))
    nowhere = np.flatnonzero(label < 0)
    order = [*turns, *nowhere[np.argsort(-glosh[nowhere], kind="stable")]]
    return Selection(table.image_ids[order[: query.budget]], np.full(query.budget, np.nan))


def _inward_and_outward(
    features: NDArray[np.float64], glosh: NDArray[np.float64], members: NDArray[np.int64]
) -> Iterator[int]:
    """All members of a cluster: the most central, the most outlying, the second most central, and so on, each once."""
    from_mean = ((features[members] - features[members].mean(0)) ** 2).sum(1)
    central = members[np.argsort(from_mean, kind="stable")]
    outlying = members[np.argsort(-glosh[members], kind="stable")]
    return iter(dict.fromkeys(chain.from_iterable(zip(central.tolist(), outlying.tolist(), strict=True))))
