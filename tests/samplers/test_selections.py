"""Each selection on a case worked by hand or against its distribution in closed form."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import chisquare

from al_cli.samplers import ccms_kmedoids, probabilistic, random, top
from al_cli.types import Predictions, Query, Signal


def images(n: int, budget: int, seed: int = 0) -> Query:
    none = np.zeros(0)
    table = Predictions(np.arange(n) * 10, np.zeros(n + 1), none, none, none, num_classes=1)
    return Query(table, budget, np.random.default_rng(seed))


def test_top_by_hand():
    """Highest first; 20 and 40 tie and the lower id goes first."""
    picked = top(images(5, 3), np.array([0.1, 0, 0.7, 0.9, 0.7]))
    assert picked.ids.tolist() == [30, 20, 40]
    assert picked.scores.tolist() == [0.9, 0.7, 0.7]
    assert top(images(5, 2), np.zeros(5)).ids.tolist() == [0, 10]


def test_random_is_uniform():
    query = images(5, 2)
    counts = Counter(tuple(random(query).ids.tolist()) for _ in range(6000))
    assert len(counts) == 20  # every ordered pair
    assert chisquare(list(counts.values())).pvalue > 1e-4
    assert np.isnan(random(query).scores).all()


def test_probabilistic_has_the_probabilities_of_drawing_one_after_the_other():
    """P(i, then j) = s_i / S * s_j / (S - s_i), for every ordered pair of four images."""
    s = np.array([0.5, 1, 2, 4])
    query = images(4, 2)
    pairs = list(permutations(range(4), 2))
    expected = np.array([s[i] / s.sum() * s[j] / (s.sum() - s[i]) for i, j in pairs])
    n = 20_000
    counts = Counter(tuple((probabilistic(query, s).ids // 10).tolist()) for _ in range(n))
    assert chisquare([counts[p] for p in pairs], expected * n).pvalue > 1e-4


def test_probabilistic_takes_zeros_last_and_uniformly():
    s = np.array([0, 3, 0, 1e-300, 0])
    query = images(5, 3)
    last = Counter()
    for _ in range(3000):
        picked = probabilistic(query, s)
        assert set(picked.ids[:2].tolist()) == {10, 30}
        assert picked.scores[2] == 0
        last[int(picked.ids[2])] += 1
    assert set(last) == {0, 20, 40}
    assert chisquare(list(last.values())).pvalue > 1e-4


def test_probabilistic_with_no_positive_score_is_uniform():
    query = images(4, 1)
    counts = Counter(int(probabilistic(query, np.zeros(4)).ids[0]) for _ in range(4000))
    assert chisquare([counts[i * 10] for i in range(4)]).pvalue > 1e-4


def test_probabilistic_refuses_negative_scores():
    with pytest.raises(ValueError, match="lowest is -1"):
        probabilistic(images(2, 1), np.array([-1.0, 1]))


def groups(per_group=(4, 2, 3), seed: int = 0) -> Query:
    """One box an image; images of a group share a class of their own, so other groups have similarity 0."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(len(per_group)), per_group)
    n = len(label)
    features = np.eye(4, dtype=np.float32)[label] + rng.normal(scale=0.01, size=(n, 4)).astype(np.float32)
    corner = rng.uniform(0, 50, (n, 2))
    boxes = np.hstack([corner, corner + 20])
    table = Predictions(np.arange(n) + 100, np.arange(n + 1), boxes, np.full(n, 0.8), label, len(per_group))
    columns = {Signal.BOX_FEATURES: features}
    table = Predictions(
        table.image_ids, table.offsets, table.boxes, table.scores, table.classes, len(per_group), columns=columns
    )
    return Query(table, len(per_group), np.random.default_rng(seed))


@pytest.mark.parametrize("options", [{}, {"feature": "coords"}, {"distance": "two_minus", "max_boxes": 1}])
@pytest.mark.parametrize("seed", range(4))
def test_ccms_kmedoids_takes_one_of_each_group_the_largest_group_first(options, seed):
    picked = ccms_kmedoids(groups(seed=seed), **options)
    assert [int(np.searchsorted([104, 106, 109], i, side="right")) for i in picked.ids] == [0, 2, 1]
    assert np.isnan(picked.scores).all()


def test_ccms_kmedoids_finds_the_least_sum_of_distances_of_equation_7():
    """Against all pairs of eight images, with similarities worked out from equations 5 and 6 for one box an image."""
    rng = np.random.default_rng(7)
    features = rng.normal(size=(8, 3))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    distance = 1 / ((1 + unit @ unit.T) + 0.2)
    np.fill_diagonal(distance, 0)
    best = min(distance[:, [a, b]].min(1).sum() for a in range(8) for b in range(a))
    table = Predictions(
        np.arange(8),
        np.arange(9),
        np.tile([0.0, 0, 1, 1], (8, 1)),
        rng.uniform(0.4, 1, 8),
        np.zeros(8),
        1,
        columns={Signal.BOX_FEATURES: features.astype(np.float32)},
    )
    found = [ccms_kmedoids(Query(table, 2, np.random.default_rng(seed))).ids for seed in range(10)]
    assert min(distance[:, ids].min(1).sum() for ids in found) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("distance", ["reciprocal", "two_minus"])
def test_images_without_boxes_are_one_cluster_not_the_whole_budget(distance):
    rng = np.random.default_rng(0)
    counts = np.array([0, 3] * 30)  # every second image shows nothing
    m = int(counts.sum())
    offsets = np.concatenate([[0], np.cumsum(counts)])
    columns = {Signal.BOX_FEATURES: rng.normal(size=(m, 6))}
    classes = rng.integers(3, size=m)
    predictions = Predictions(
        np.arange(60),
        offsets,
        rng.random((m, 4)) + np.array([0, 0, 1, 1]),
        rng.uniform(0.4, 1, m),
        classes,
        3,
        "softmax",
        columns,
    )
    picked = ccms_kmedoids(Query(predictions, 10, np.random.default_rng(1)), distance=distance).ids
    assert (counts[picked] == 0).sum() == 1
