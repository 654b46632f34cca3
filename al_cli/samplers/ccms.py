"""Category Conditioned Matching Similarity of all pairs of images, exactly and in seconds.

Yang, Huang and Crowley 2022 (PPAL); thesis section 2.3.2, eq. 5 and 6. For images A and B with boxes i and j:

    AB = sum_{i in A} s_i m_i / sum_{i in A} s_i,   m_i = 1 + max cos(x_i, x_j) over the j in B of the class of i,
                                                    m_i = 0 where B has none
    CCMS(A, B) = (AB + BA) / 2

PPAL's program does this image by image, each against all others; here each class is one matrix product, cut into blocks.
"""

import itertools
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from al_cli.progress import phase
from al_cli.samplers.aggregate import counted
from al_cli.types import Predictions, Signal

ObjectFeature = Literal["box", "coords", "center"]
OBJECT_SIGNALS = {"box": Signal.BOX_FEATURES, "center": Signal.CENTER_FEATURES}
BLOCK = 1 << 20  # cosines held at a time, 4 MiB: what a processor cache can keep through the steps on it
TILE = 512  # side of the squares in which the two directions are averaged


def ccms_matrix(
    predictions: Predictions, feature: ObjectFeature, score_threshold: float, max_boxes: int | None = None
) -> NDArray[np.float32]:
    """[N, N] similarity in [0, 2], exactly symmetric, 2 on the diagonal.

    x_i is the feature that the box was found with (`box`), the feature at the box's center (`center`, as PPAL's program) or
    the box's four coordinates in pixels (`coords`, as the thesis). Boxes below `score_threshold` do not take part, nor do
    those of an image after its `max_boxes` best. An image left without boxes has similarity 0 to all others, others without
    boxes included, and 2 to itself. A feature vector of zeros has no direction: its cosine to anything is 0, so it adds 1
    where the class is met and 0 where not. Where images have one class each, two images of one predicted class have similarity
    1 + cos of their features (`box`), two of different ones 0.

    The same input gives the same bytes on one machine. Memory: the N x N result, three copies of one class's features
    and 16 MiB, whatever N is.
    The released code of the thesis weights both directions with A's scores (asymmetric, above 2); this does not.
    """
    n = len(predictions)
    image = predictions.row_image
    used = counted(predictions, score_threshold)
    if max_boxes is not None:  # rows descend by score within an image
        used &= np.arange(len(image)) - predictions.offsets[image] < max_boxes
    scores = np.where(used, predictions.scores, 0).astype(np.float64)
    total = np.bincount(image, scores, minlength=n)
    share = (scores / np.maximum(total, np.finfo(float).tiny)[image]).astype(np.float32)  # s_i / sum s: sums to 1
    features = predictions.boxes if feature == "coords" else predictions.columns[OBJECT_SIGNALS[feature]]

    similarity = np.zeros((n, n), np.float32)  # directed: [a, b] is AB
    with phase("ccms", total=int(used.sum()), unit="boxes") as step:
        for c in np.unique(predictions.classes[used]):
            rows = np.flatnonzero(used & (predictions.classes == c))
            _add_class(similarity, image[rows], share[rows], features[rows])
            step(len(rows))
    _average_directions(similarity)
    np.clip(similarity, 0, 2, out=similarity)
    np.fill_diagonal(similarity, 2)
    return similarity


def _add_class(
    similarity: NDArray[np.float32], image: NDArray[np.int64], share: NDArray[np.float32], features: NDArray[np.float32]
) -> None:
    """Add what the boxes of one class contribute to every AB. `image` ascends.

    The boxes are laid out rank by rank: first the first box of each image, images with more boxes to the front, then
    the second boxes of those that have two, and so on. The maximum over an image's boxes is then an elementwise maximum
    of contiguous slices, and the boxes of one rank all belong to different images.
    """
    _, start, count = np.unique(image, return_index=True, return_counts=True)
    rank = np.arange(len(image)) - np.repeat(start, count)
    order = np.lexsort((image, -np.repeat(count, count), rank))
    image, share = image[order], share[order]
    x = _normalised(features[order])  # [K, D]
    edges = np.concatenate([[0], np.cumsum(np.bincount(rank))])  # rank r is edges[r]:edges[r+1]
    others = image[: edges[1]]  # every image that has the class, once
    height = max(1, BLOCK // len(x))
    scratch = np.empty((min(height, edges[1]), len(x)), np.float32)
    for low, high in itertools.pairwise(edges):
        for a in range(low, high, height):
            block = slice(a, min(a + height, high))
            cosine = np.matmul(x[block], x.T, out=scratch[: block.stop - a])  # [rows of the block, K]
            best = cosine[:, : len(others)]
            for r in range(1, len(edges) - 1):
                more = cosine[:, edges[r] : edges[r + 1]]
                np.maximum(best[:, : more.shape[1]], more, out=best[:, : more.shape[1]])
            best += 1
            best *= share[block, None]
            for row, of_row in zip(
                image[block].tolist(), best, strict=True
            ):  # half the time of one scatter in two axes
                similarity[row][others] += of_row


def _normalised(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """[K, D] float32 rows of length 1; a row of zeros stays."""
    norm = np.sqrt(np.einsum("kd,kd->k", features, features, dtype=np.float64))
    return np.divide(features, np.where(norm > 0, norm, 1).astype(np.float32)[:, None], dtype=np.float32)


def _average_directions(directed: NDArray[np.float32]) -> None:
    """Eq. 6 in place, square by square: both triangles receive the same numbers, so symmetry is exact."""
    n = len(directed)
    for a in range(0, n, TILE):
        for b in range(a, n, TILE):
            rows, columns = slice(a, a + TILE), slice(b, b + TILE)
            mean = (directed[rows, columns] + directed[columns, rows].T) * np.float32(0.5)
            directed[rows, columns] = mean
            directed[columns, rows] = mean.T
