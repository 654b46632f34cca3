"""Each selection on a case worked by hand or against its distribution in closed form."""

from collections import Counter
from functools import partial
from itertools import chain, combinations, permutations

import numpy as np
import pytest
from scipy.stats import chisquare

from al_cli.errors import ConfigError
from al_cli.samplers import ccms_kmedoids, class_balanced, pivot, probabilistic, random, top
from al_cli.samplers.base import bind, needs_of
from al_cli.types import ORACLES, Predictions, Query, Signal


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


def accepted_together(chances):
    """(accepted set, its probability) of one pass in which every image is accepted or not by its own chance."""
    everyone = range(len(chances))
    for some in chain.from_iterable(combinations(everyone, size) for size in range(len(chances) + 1)):
        yield some, np.prod([chances[i] if i in some else 1 - chances[i] for i in everyone])


def test_accepting_has_the_law_of_passes_in_random_order():
    """Ordered pairs of four images. The highest has p = 1, so a first pass takes it. If it takes more, each order of these is
    as likely; if it takes no other, passes over the other three go on until one is taken."""
    s = np.array([0.5, 1, 2, 4])
    p = s / 4
    law = Counter()
    for some, chance in accepted_together(p):
        if len(some) > 1:
            for pair in permutations(some, 2):
                law[pair] += chance / len(some) / (len(some) - 1)
        elif some == (3,):
            again = [(more, c) for more, c in accepted_together(p[:3]) if more]
            for more, c in again:
                for i in more:
                    law[3, i] += chance * c / sum(c for _, c in again) / len(more)
    assert sum(law.values()) == pytest.approx(1)
    query = images(4, 2)
    n = 20_000
    counts = Counter(tuple((probabilistic(query, s, pick="accept").ids // 10).tolist()) for _ in range(n))
    assert set(counts) <= set(law)
    assert chisquare([counts[pair] for pair in law], np.array(list(law.values())) * n).pvalue > 1e-4
    by_draws = {pair: s[pair[0]] / s.sum() * s[pair[1]] / (s.sum() - s[pair[0]]) for pair in law}
    assert max(abs(law[pair] - by_draws[pair]) for pair in law) > 0.05, "the two readings differ"


def test_accepting_takes_every_positive_score_before_zeros():
    query = images(6, 4)
    for _ in range(200):
        picked = probabilistic(query, np.array([0, 3, 0, 1e-300, 5e-324, 0]), pick="accept")
        assert set(picked.ids[:3].tolist()) == {10, 30, 40} and picked.ids[0] == 10
        assert picked.scores[3] == 0
    assert len({int(probabilistic(images(6, 1, seed), np.zeros(6), pick="accept").ids[0]) for seed in range(60)}) == 6


def classified(classes, budget=5, seed=0, truth=None, num_classes=2) -> Query:
    """Images with these predicted classes, all hardly likely, and those true ones."""
    n = len(classes)
    counts = np.eye(num_classes, dtype=int)[classes if truth is None else truth]
    table = Predictions(
        np.arange(n) * 10,
        np.arange(n + 1),
        np.tile([0, 0, 8, 8], (n, 1)),
        np.full(n, 0.25),
        classes,
        num_classes,
        "exclusive",
        {Signal.TRUE_CLASSES: counts},
    )
    return Query(table, budget, np.random.default_rng(seed))


def test_five_images_of_two_classes_are_never_more_than_three_of_one():
    """Lund 3.1.2, and the order of priority is kept: 0 and 1 take turns, each time the best that is left."""
    classes = np.array([0, 0, 0, 0, 1, 0, 1, 1])
    scores = np.arange(8, 0, -1.0)
    assert class_balanced(classified(classes), scores).ids.tolist() == [0, 40, 10, 60, 20]
    for seed in range(40):
        picked = class_balanced(classified(classes, seed=seed)).ids // 10
        assert sorted(np.bincount(classes[picked])) == [2, 3]


@pytest.mark.parametrize("classes", ["predicted", True])
def test_balance_of_images_is_taking_turns(classes):
    """Against a loop: of the classes that still have images the least chosen, its best first; of equals the better image's."""
    rng = np.random.default_rng(5)
    predicted, true, scores = rng.integers(0, 4, 40), rng.integers(0, 4, 40), rng.permutation(40) / 40
    label = predicted if classes == "predicted" else true
    left, chosen, expected = list(np.argsort(-scores)), Counter(), []
    while len(expected) < 33:
        fewest = min(chosen[label[i]] for i in left)
        expected.append(next(i for i in left if chosen[label[i]] == fewest))
        chosen[label[expected[-1]]] += 1
        left.remove(expected[-1])
    query = classified(predicted, 33, truth=true, num_classes=4)
    assert class_balanced(query, scores, classes=classes).ids.tolist() == [10 * i for i in expected]


def test_balance_of_true_classes_is_an_oracle():
    assert needs_of(partial(class_balanced, classes=True)) == {Signal.TRUE_CLASSES} <= ORACLES
    assert needs_of(class_balanced) == frozenset()
    with pytest.raises(ConfigError, match="predicted or true"):
        bind(partial(class_balanced, classes="labeled"))


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
        -np.sort(-rng.uniform(0.4, 1, (m // 3, 3))).ravel(),
        classes,
        3,
        "softmax",
        columns,
    )
    picked = ccms_kmedoids(Query(predictions, 10, np.random.default_rng(1)), distance=distance).ids
    assert (counts[picked] == 0).sum() == 1


def test_pivot_by_hand():
    """Ranks by score: ids 40, 30, 20, 10, 0. The middle is rank 2; of its neighbours the harder comes first."""
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    picked = pivot(images(5, 3), scores, pivot=0.5)
    assert picked.ids.tolist() == [20, 30, 10]
    assert picked.scores.tolist() == [0.3, 0.4, 0.2]
    assert pivot(images(5, 4), scores, pivot=0.25).ids.tolist() == [30, 40, 20, 10], "rank 1, then 0 and 2, then 3"
    assert pivot(images(5, 3), scores, pivot=1).ids.tolist() == [0, 10, 20], "easiest first"


def test_pivot_0_is_top():
    scores = np.random.default_rng(0).integers(5, size=30).astype(float)
    assert np.array_equal(pivot(images(30, 9), scores, pivot=0).ids, top(images(30, 9), scores).ids)


def shows(classes, budget, scores=None, seed=0):
    """A query about images that show these classes, a list each, and falling priority."""
    flat = [c for row in classes for c in row]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in classes])])
    ids, boxes = np.arange(len(classes)) * 10, np.tile([0, 0, 1, 1], (len(flat), 1))
    scores = np.full(len(flat), 0.9) if scores is None else scores
    table = Predictions(ids, offsets, boxes, scores, flat, num_classes=3)
    return Query(table, budget, np.random.default_rng(seed)), -np.arange(len(classes), dtype=float)


def test_class_balanced_keeps_lunds_example():
    """Two classes, human and car, five images: never more than three of one class, in the order of priority."""
    query, priority = shows([[0], [0], [0], [0], [1], [1], [1]], budget=5)
    picked = class_balanced(query, priority)
    assert picked.ids.tolist() == [0, 40, 10, 50, 20]
    assert picked.scores.tolist() == [0, -4, -1, -5, -2]


def test_class_balanced_counts_boxes_and_leaves_images_without_any_for_last():
    """Image 0 brings two boxes of class 0. Then 1 and 2 are rarest and image 20 comes before 30; it shows 0 and 1. Then 2."""
    query, priority = shows([[0, 0], [], [1, 0], [2], [0]], budget=5)
    assert class_balanced(query, priority).ids.tolist() == [0, 20, 30, 40, 10]
    faint, _ = shows([[0], [0], [1]], budget=2, scores=[0.9, 0.9, 0.2])
    assert class_balanced(faint, priority[:3]).ids.tolist() == [0, 10], "a class below the threshold is not there"
    assert class_balanced(faint, priority[:3], score_threshold=0.1).ids.tolist() == [0, 20]


def test_class_balanced_alone_is_random_and_even():
    firsts = Counter()
    for seed in range(300):
        query, _ = shows([[0]] * 20 + [[1]] * 4, budget=8, seed=seed)
        picked = class_balanced(query)
        assert (picked.ids >= 200).sum() == 4, "all four of the rare class"
        assert np.isnan(picked.scores).all()
        firsts[int(picked.ids[0])] += 1
    assert len(firsts) > 15


def test_class_balanced_equals_the_rule_said_plainly(ragged):
    for seed in range(5):
        table = ragged(np.random.default_rng(seed), images=30)
        scores = np.random.default_rng(seed).integers(9, size=30).astype(float)
        order = sorted(range(30), key=lambda i: (-scores[i], i))
        boxes = [table.classes[table.rows(i)][table.scores[table.rows(i)] >= 0.3] for i in range(30)]
        chosen, count = [], Counter()
        while len(chosen) < 25:
            left = [i for i in order if i not in chosen]
            there = {c for i in left for c in boxes[i]}
            if not there:
                chosen.append(left[0])
                continue
            first = {c: next(n for n, i in enumerate(left) if c in boxes[i]) for c in there}
            rarest = min(there, key=lambda c: (count[c], first[c]))
            chosen.append(left[first[rarest]])
            count.update(boxes[chosen[-1]])
        picked = class_balanced(Query(table, 25, np.random.default_rng(0)), scores)
        assert picked.ids.tolist() == table.image_ids[chosen].tolist()
