"""A map of the pool at one round: t-SNE of what the model saw in each image, with this round's picks (ISAL, figure 5)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from al_cli.errors import RunError
from al_cli.report.drawing import style
from al_cli.rng import rng_for, seed_for
from al_cli.types import Dataset, RoundRecord

MOST_MAPPED = 5000  # images that are laid out: t-SNE of more takes minutes
MOST_COLORS = 10
PERPLEXITY, DIMENSIONS = 30.0, 50  # of t-SNE, and what principal components leave of the features before it
PALE = 0.45


def sampled(pool: NDArray[np.int64], picked: Collection[int], seed: int, most: int = MOST_MAPPED) -> NDArray[np.int64]:
    """Ascending ids: all of the pool, or all that were picked and others drawn with the seed, `most` together."""
    if len(pool) <= most:
        return pool
    chosen = np.isin(pool, list(picked))
    others = rng_for(seed, 0, "map").permutation(pool[~chosen])[: max(0, most - int(chosen.sum()))]
    return np.sort(np.concatenate([pool[chosen], others]))


def layout(features: NDArray[np.floating], seed: int) -> NDArray[np.float64]:
    """[N, 2] where t-SNE (van der Maaten and Hinton 2008) puts the features [N, D]: the same for the same seed. RunError for
    fewer than three images."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    points = np.asarray(features, dtype=np.float64)
    if len(points) < 3:
        raise RunError(f"a map needs at least 3 images, and there are {len(points)}")
    spread = points.std()
    points = (points - points.mean(0)) / (spread or 1.0)
    state = seed_for(seed, 0, "map")
    if points.shape[1] > DIMENSIONS and len(points) > DIMENSIONS:
        points = PCA(DIMENSIONS, random_state=state).fit_transform(points)
    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    start = "pca" if spread and points.shape[1] > 1 else "random"
    with threadpool_limits(
        1
    ):  # sums of several threads differ in their last digits, and t-SNE makes another picture of them
        found: NDArray[np.float64] = TSNE(perplexity=perplexity, init=start, random_state=state).fit_transform(points)
    return found


def map_caption(record: RoundRecord, shown: int, pool: int, source: str) -> str:
    """What the map shows, in the one or two lines of its title."""
    of = "" if shown == pool else f" ({shown:,} of {pool:,}, drawn with the seed; every pick is there)"
    before = len(record.labeled) - len(record.picked)
    return f"round {record.round}: {len(record.picked)} picks among the pool{of}\n{before} labeled before; {source}"


def plot_map(
    points: NDArray[np.float64], images: Dataset, record: RoundRecord, title: str, path: Path, *, by_class: bool
) -> Path:
    """Draw the pool at these points [N, 2]: unlabeled images as pale dots, in the colour of their class where `by_class` and
    there are at most 10; those labeled before small and dark; this round's picks ringed."""
    ids = images.ids
    picked = np.isin(ids, record.picked)
    before = np.isin(ids, record.labeled) & ~picked
    colors, names = _colors(images) if by_class and len(images.class_names) <= MOST_COLORS else ([style.FAINT], [])
    of_image = np.array([image.classes[0] if names else 0 for image in images.images], dtype=np.int64)
    with style.figure(6.4, 5.2) as (made, axes):
        for number, color in enumerate(colors):
            here = (of_image == number) & ~before
            name = names[number] if names else "pool"
            alpha = PALE if names else 1.0
            axes.scatter(
                points[here, 0], points[here, 1], s=14, color=color, alpha=alpha, linewidths=0, label=name, zorder=1
            )
        x, y = points[before].T
        axes.scatter(x, y, s=9, color="#333333", linewidths=0, label="labeled before", zorder=2)
        x, y = points[picked].T
        axes.scatter(x, y, s=46, facecolors="none", edgecolors="#000000", linewidths=1.1, label="picked now", zorder=3)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.set_title(title, fontsize=8)
        made.legend(loc="outside right upper", markerscale=1.2)
        style.save(made, path)
    return path


def _colors(images: Dataset) -> tuple[list[str], Sequence[str]]:
    """A colour a class, all different, and the names of the classes."""
    import matplotlib
    from matplotlib.colors import to_hex

    shades = matplotlib.colormaps["tab10"]
    return [to_hex(shades(number)) for number in range(len(images.class_names))], images.class_names
