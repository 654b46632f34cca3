"""Uniform sampling without replacement: the baseline of every comparison."""

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import selection
from al_cli.types import Query, Selection


@selection(source="baseline", family="baseline")
def random(query: Query, scores: NDArray[np.float64] | None = None) -> Selection:
    """`budget` candidates, each set equally likely, in the order drawn. Reads no predictions: it costs no inference.

    When to use: always, as the arm that every other is compared with on the same seeds, and as the method where labels are
    cheap or the pool has no near-duplicates: it keeps the pool's own distribution, which evaluation images share.
    """
    ids = query.rng.choice(query.candidates.image_ids, query.budget, replace=False)
    return Selection(ids, np.full(len(ids), np.nan))
