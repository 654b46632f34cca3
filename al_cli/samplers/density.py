"""Clusters of images by density, and how far each image lies outside of them: HDBSCAN* and GLOSH.

Campello, Moulavi, Zimek and Sander 2015; computed by the hdbscan package (McInnes, Healy and Astels 2017), as in FSDL 4.4.
"""

import numpy as np
from numpy.typing import NDArray

from al_cli.progress import phase

LARGEST_MATRIX = 10_000  # images whose distances are held as a matrix, 0.8 GB; the package makes two more like it


def clusters(features: NDArray[np.floating], min_cluster_size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cluster of each row of `features` [N, D] (0, 1, ..., or -1 for none) and its GLOSH outlier score [N] in [0, 1].

    `min_cluster_size` is halved until a cluster is found, as in FSDL's program; if there is none down to 2, all rows are
    -1. Euclidean and exact: time grows with N^2 * D, slowly up to 10,000 rows and some twenty times as fast above. A row in
    a cluster with a core of equal rows, whose density has no bound, has score 1 unless it is of that core. Fewer than
    three rows have no density: -1 and 0.
    """
    n = len(features)
    if n < 3:
        return np.full(n, -1), np.zeros(n)
    from hdbscan import HDBSCAN  # here, because it takes a second to import

    x = features.astype(np.float64)
    given, metric = (distances(x), "precomputed") if n <= LARGEST_MATRIX else (x, "euclidean")
    sizes = [min_cluster_size]
    while sizes[-1] > 2:
        sizes.append(max(2, sizes[-1] // 2))
    sizes = [size for size in sizes if size <= max(2, n // 2)]  # two larger clusters than that there cannot be
    with phase("cluster", total=len(sizes), unit="sizes") as step:
        for size in sizes:
            # One process, and the exact spanning tree, so that nothing depends on the machine.
            fitted = HDBSCAN(min_cluster_size=size, metric=metric, approx_min_span_tree=False, core_dist_n_jobs=1)
            fitted.fit(given)
            step(1)
            if fitted.labels_.max() >= 0:
                break
    glosh = np.nan_to_num(np.asarray(fitted.outlier_scores_, np.float64), nan=1.0)  # NaN: (inf - lambda) / inf
    return fitted.labels_.astype(np.int64), glosh


def distances(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, N] Euclidean distances, exactly symmetric; exactly 0 between rows that are hardly different in float32."""
    length = np.einsum("nd,nd->n", x, x)
    together = length[:, None] + length
    squared = together - 2 * (x @ x.T)
    squared[squared < 1e-13 * together] = 0  # where the difference of large numbers is but rounding
    np.fill_diagonal(squared, 0)
    return np.sqrt(np.maximum(squared, squared.T))
