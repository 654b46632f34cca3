"""Core-set, model outliers and density clusters: each by hand, and against brute force or the package where there is one."""

import numpy as np
import pytest

from al_cli.samplers import cluster_outlier, coreset, density, model_outliers, outlier
from al_cli.samplers import select_coreset as coreset_file
from al_cli.samplers.density import clusters, distances
from al_cli.types import Predictions, Query, Signal


def images(features, first_id: int = 0) -> Predictions:
    """Images without boxes, one feature vector each, ids `first_id`, `first_id` + 10, ..."""
    features = np.asarray(features, np.float32)
    features = features[:, None] if features.ndim == 1 else features
    none, n = np.zeros(0), len(features)
    columns = {Signal.IMAGE_FEATURES: features}
    return Predictions(np.arange(n) * 10 + first_id, np.zeros(n + 1), none, none, none, 1, columns=columns)


def ask(features, budget: int, labeled=None, seed: int = 0) -> Query:
    known = None if labeled is None else images(labeled, first_id=5)
    return Query(images(features), budget, np.random.default_rng(seed), labeled=known)


def test_coreset_by_hand():
    """Labeled at 0; candidates 1, 5, 9, 10: the farthest is 10, then 5 (5 from both), then 1 and 9 tie: the lower id."""
    picked = coreset(ask([1, 5, 9, 10], 4, labeled=[0]))
    assert picked.ids.tolist() == [30, 10, 0, 20]
    assert np.isnan(picked.scores).all()


def test_coreset_on_the_towers():
    """The same rule on another column of candidates and labeled images: here 10, then 5, then 9 and 1 tie."""
    query, other = ask([1, 5, 9, 10], 4, labeled=[3]), ask([10, 9, 5, 1], 4, labeled=[0])
    for table, towers in ((query.candidates, other.candidates), (query.labeled, other.labeled)):
        table.columns[Signal.TOWER_FEATURES] = towers.columns[Signal.IMAGE_FEATURES]
    assert coreset(query, feature="towers").ids.tolist() == [0, 20, 10, 30]


def greedy(x: np.ndarray, centers: np.ndarray, k: int) -> list[int]:
    """Algorithm 1 of Sener and Savarese, straight from the page."""
    picked: list[int] = []
    for _ in range(k):
        known = [*centers, *x[picked]]
        distance = [min(float(np.linalg.norm(row - c)) for c in known) for row in x]
        picked.append(max((i for i in range(len(x)) if i not in picked), key=lambda i: distance[i]))
    return picked


@pytest.mark.parametrize("block", [coreset_file.CORESET_BLOCK, 1, 100])
@pytest.mark.parametrize("seed", range(4))
def test_coreset_equals_a_brute_force_greedy(seed, block, monkeypatch):
    monkeypatch.setattr(coreset_file, "CORESET_BLOCK", block)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 6)).astype(np.float32) + 100
    labeled = rng.normal(size=(7, 6)).astype(np.float32) + 100
    assert coreset(ask(x, 15, labeled)).ids.tolist() == [10 * i for i in greedy(x, labeled, 15)]
    grid = rng.integers(0, 3, (40, 3))  # full of ties and duplicates, also of labeled images
    assert coreset(ask(grid, 39, grid[:2])).ids.tolist() == [10 * i for i in greedy(grid, grid[:2], 39)]


def test_coreset_of_equal_images_takes_each_once():
    assert coreset(ask(np.ones((5, 3)), 4, np.ones((2, 3)))).ids.tolist() == [0, 10, 20, 30]


def boxes_with(features, counts) -> Query:
    """Boxes with these activations: of one layer [M, D], or of several [M, L, D]."""
    m = len(features)
    layers = np.asarray(features, np.float32)
    layers = layers.reshape(m, -1, layers.shape[-1])
    table = Predictions(
        np.arange(len(counts)),
        np.concatenate([[0], np.cumsum(counts)]),
        np.tile([0.0, 0, 1, 1], (m, 1)),
        np.full(m, 0.5),
        np.zeros(m),
        1,
        columns={Signal.LAYER_ACTIVATIONS: np.stack([layers.mean(2), layers.max(2)], 2)},
    )
    return Query(table, 1, np.random.default_rng(0))


def test_model_outliers_of_three_layers_by_hand():
    """Of an image with one class: means 2, 1, 3 and largest 3, 1, 6, then over the layers 2 and 6. The other is quieter."""
    query = boxes_with([[[1, 3], [1, 1], [0, 6]], [[0, 0], [0, 1], [0, 4]]], [1, 1])
    assert model_outliers(query) == pytest.approx([-2, -(0 + 0.5 + 2) / 3])
    assert model_outliers(query, aggregate="max").tolist() == [-6, -4]


def test_model_outliers_by_hand():
    """Image 0: boxes (1, 3) and (0, 0): mean 1, max 3. Image 1: none: 0. Image 2: (4, 2): 3 and 4."""
    query = boxes_with([[1, 3], [0, 0], [4, 2]], [2, 0, 1])
    assert model_outliers(query).tolist() == [-1, 0, -3]
    assert model_outliers(query, aggregate="max").tolist() == [-3, 0, -4]


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_model_outliers_equals_a_loop(aggregate, ragged):
    table = ragged(np.random.default_rng(1))  # one layer, as of a detector
    activations, rows = table.columns[Signal.BOX_FEATURES], [table.rows(i) for i in range(len(table))]
    expected = [-getattr(activations[r], aggregate)() if r.stop > r.start else 0 for r in rows]
    got = model_outliers(Query(table, 1, np.random.default_rng(0)), aggregate=aggregate)
    assert got == pytest.approx(expected, abs=1e-6)
    nothing = table.filter(np.zeros(len(table.scores), bool))
    assert model_outliers(Query(nothing, 1, np.random.default_rng(0)), aggregate=aggregate).tolist() == [0] * len(table)


# Two rows of six points one apart, and one point 15 beyond the first. With clusters of at least 3 the core distance is
# that of the third neighbour: 3 at the ends of a row, 2 within, 17 for the lone point. The hierarchy splits between the
# rows first; the lone point leaves its cluster at distance 17, the ends at 3, and the rest falls apart at 2:
# GLOSH = 1 - 2/17 for the lone point, 1 - 2/3 for the ends, 0 within.
LINE = np.array([0, 1, 2, 3, 4, 5, 20, 100, 101, 102, 103, 104, 105])


def test_glosh_by_hand():
    third = 1 / 3
    expected = [third, 0, 0, 0, 0, third, 1 - 2 / 17, third, 0, 0, 0, 0, third]
    assert outlier(ask(LINE, 1), min_cluster_size=3) == pytest.approx(expected, abs=1e-9)
    assert clusters(LINE[:, None], 3)[0].tolist() == [0] * 7 + [1] * 6 or clusters(LINE[:, None], 3)[0].tolist() == (
        [1] * 7 + [0] * 6
    )


def test_cluster_outlier_by_hand():
    """The first cluster has 7 images and mean 5, the second 6 and mean 102.5. In turns: nearest to the mean, most
    outlying, second nearest, second most outlying (0 and 5 tie, and so do 100 and 105)."""
    picked = cluster_outlier(ask(LINE, 8), min_cluster_size=3).ids // 10
    assert LINE[picked].tolist() == [5, 102, 20, 100, 4, 103, 0, 105]
    everything = cluster_outlier(ask(LINE, 12), min_cluster_size=3).ids
    assert len(set(everything.tolist())) == 12


def test_cluster_outlier_takes_images_of_no_cluster_last():
    rng = np.random.default_rng(0)
    groups = np.concatenate([rng.normal(c, 0.1, (20, 2)) for c in (0, 10)])
    scattered = np.array([[-300.0, 90], [500, -700], [40, 4000]])
    features = np.concatenate([scattered, groups])
    label, glosh = clusters(features, 5)
    assert label[:3].tolist() == [-1, -1, -1] and set(label[3:].tolist()) == {0, 1}
    picked = cluster_outlier(ask(features, 42), min_cluster_size=5).ids // 10
    assert set(label[picked[:4]].tolist()) == {0, 1}
    nowhere = np.flatnonzero(label < 0)
    assert picked[(label >= 0).sum() :].tolist() == nowhere[np.argsort(-glosh[nowhere])][:2].tolist()


def hierarchy_scores(x: np.ndarray, size: int) -> np.ndarray:
    """GLOSH from its definition: clusters are connected components of at least `size` points under a falling threshold.

    NaN for a point that leaves at the very distance at which its cluster splits in two: whether it goes before or after
    is for whoever breaks the tie.
    """
    n = len(x)
    d = np.sqrt(((x[:, None] - x[None]) ** 2).sum(2))
    core = np.sort(d, 1)[:, min(size, n - 1)]
    d = np.maximum(d, np.maximum(core[:, None], core[None]))
    left_at, home, densest = np.zeros(n), np.zeros(n, int), {}

    def components(members: list[int], threshold: float) -> list[list[int]]:
        rest, found = set(members), []
        while rest:
            part, frontier = set(), [rest.pop()]
            while frontier:
                p = frontier.pop()
                part.add(p)
                near = {q for q in rest if d[p, q] < threshold}
                rest -= near
                frontier += near
            found.append(sorted(part))
        return found

    def follow(members: list[int], name: int) -> float:
        """The highest density at which a point of this cluster or of those within it leaves."""
        for threshold in -np.unique(-d[np.ix_(members, members)][~np.eye(len(members), dtype=bool)]):
            parts = components(members, threshold)
            large = [part for part in parts if len(part) >= size]
            for p in {p for part in parts for p in part} - {p for part in large for p in part}:
                left_at[p], home[p] = 1 / threshold if len(large) < 2 else np.nan, name
            if len(large) != 1:
                inner = [follow(part, len(densest) * 100 + name * 7 + k + 1) for k, part in enumerate(large)]
                densest[name] = max([1 / threshold, *inner])
                return densest[name]
            members = large[0]
        raise AssertionError("a cluster never fell apart")

    follow(list(range(n)), 0)
    return 1 - left_at / np.array([densest[h] for h in home])


@pytest.mark.parametrize("seed", range(8))
def test_glosh_equals_its_definition(seed):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(c, s, (12, 3)) for c, s in ((0, 1), (6, 0.5), (12, 2))])
    expected = hierarchy_scores(x, 4)
    assert np.isnan(expected).sum() <= 1
    assert np.nanmax(np.abs(clusters(x, 4)[1] - expected)) < 1e-6


def test_the_package_is_called_with_the_first_size_that_finds_a_cluster():
    from hdbscan import HDBSCAN

    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(c, 1, (30, 4)) for c in (0, 20)])
    for size, used in ((500, 15), (31, 15), (30, 15), (20, 20), (7, 7)):
        fitted = HDBSCAN(min_cluster_size=used).fit(x)
        label, glosh = clusters(x, size)
        assert np.array_equal(label, fitted.labels_) and glosh == pytest.approx(fitted.outlier_scores_, abs=1e-12)


def test_distances_are_exact_between_equal_rows_far_from_the_origin():
    x = (np.random.default_rng(0).normal(size=(20, 300)) + 1000).astype(np.float32).astype(np.float64)
    x[7] = x[3]
    d = distances(x)
    assert np.array_equal(d, d.T) and d[3, 7] == 0 and not d.diagonal().any()
    assert d == pytest.approx(np.sqrt(((x[:, None] - x[None]) ** 2).sum(2)), rel=1e-6)


def test_with_and_without_a_matrix(monkeypatch):
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(c, 1, (40, 20)) for c in (0, 8, 16)])
    label, glosh = clusters(x, 500)
    monkeypatch.setattr(density, "LARGEST_MATRIX", 10)
    other_label, other_glosh = clusters(x, 500)
    assert np.array_equal(label, other_label) and label.max() == 2
    assert glosh == pytest.approx(other_glosh, abs=1e-9)


def test_beside_a_core_of_equal_images_everything_is_an_outlier():
    """Its density is infinite, so 1 - lambda / infinity is 1 for the rest of the cluster."""
    x = np.concatenate([np.zeros((9, 3)), np.random.default_rng(0).normal(size=(20, 3))])
    _, glosh = clusters(x, 4)
    assert (glosh[:9] == 0).all() and np.isfinite(glosh).all() and glosh.max() == 1


def test_few_or_equal_images():
    for n in range(1, 8):
        for features in (np.zeros((n, 2)), np.arange(n)[:, None] ** 2.0):
            label, glosh = clusters(features, 500)
            assert label.shape == glosh.shape == (n,)
            assert ((glosh >= 0) & (glosh <= 1)).all()
            if n > 1:
                assert len(cluster_outlier(ask(features, n - 1)).ids) == n - 1
