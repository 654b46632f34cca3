"""CCMS against a double loop written straight from thesis equations 4 to 6."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from al_cli.samplers import ccms
from al_cli.samplers.ccms import ccms_matrix
from al_cli.types import Predictions, Signal


def cosine(a, b) -> float:
    """Equation 4, in float64."""
    dot = sum(float(p) * float(q) for p, q in zip(a, b, strict=True))
    norms = math.sqrt(sum(float(p) ** 2 for p in a)) * math.sqrt(sum(float(q) ** 2 for q in b))
    return dot / norms if norms else 0.0


def one_way(a, b) -> float:
    """Equation 5: a and b are lists of (score, class, vector)."""
    weighted = 0.0
    for score, label, vector in a:
        same = [cosine(vector, other) for _, other_label, other in b if other_label == label]
        weighted += score * (max(same) + 1 if same else 0)
    return weighted / sum(score for score, _, _ in a) if a else 0.0


def brute_force(p: Predictions, feature: str, threshold: float, max_boxes: int | None = None) -> np.ndarray:
    signals = {"box": Signal.BOX_FEATURES, "center": Signal.CENTER_FEATURES}
    vectors = p.boxes if feature == "coords" else p.columns[signals[feature]]
    images = []
    for i in range(len(p)):
        rows = [r for r in range(p.offsets[i], p.offsets[i + 1]) if p.scores[r] >= threshold][:max_boxes]
        images.append([(float(p.scores[r]), int(p.classes[r]), vectors[r]) for r in rows])
    n = len(images)
    both = [[(one_way(images[a], images[b]) + one_way(images[b], images[a])) / 2 for b in range(n)] for a in range(n)]
    result = np.array(both)
    np.fill_diagonal(result, 2)
    return result


@pytest.mark.parametrize("feature", ["box", "coords", "center"])
@pytest.mark.parametrize("seed", range(6))
def test_equals_the_equations(ragged, feature, seed):
    rng = np.random.default_rng(seed)
    p = ragged(rng, images=25, most_boxes=int(rng.integers(1, 12)), classes=int(rng.integers(1, 6)))
    for threshold, max_boxes in [(0.0, None), (0.3, None), (0.05, 3), (1.0, None)]:
        got = ccms_matrix(p, feature, threshold, max_boxes)
        assert np.abs(got - brute_force(p, feature, threshold, max_boxes)).max() < 1e-5
        assert got.dtype == np.float32


def test_blocks_and_tiles_change_nothing(ragged, monkeypatch):
    """The same cases with blocks of one row and tiles that do not divide N."""
    p = ragged(np.random.default_rng(3), images=40, most_boxes=9)
    expected = brute_force(p, "box", 0.2)
    monkeypatch.setattr(ccms, "BLOCK", 50)
    monkeypatch.setattr(ccms, "TILE", 7)
    got = ccms_matrix(p, "box", 0.2)
    assert np.abs(got - expected).max() < 1e-5
    assert np.array_equal(got, got.T)


def test_by_hand():
    """A: class 0 score 0.6 along x and class 1 score 0.2 along y. B: one box of class 0, score 0.5, at 60 degrees.

    AB = (0.6 * (1 + 0.5) + 0.2 * 0) / 0.8 = 1.125; BA = 0.5 * 1.5 / 0.5 = 1.5; mean 1.3125. C has no boxes.
    """
    p = Predictions(
        image_ids=[2, 5, 9],
        offsets=[0, 2, 3, 3],
        boxes=np.tile([0, 0, 1, 1], (3, 1)),
        scores=[0.6, 0.2, 0.5],
        classes=[0, 1, 0],
        num_classes=2,
        columns={Signal.BOX_FEATURES: np.array([[3, 0], [0, 2], [0.5, math.sqrt(3) / 2]], np.float32)},
    )
    got = ccms_matrix(p, "box", 0.1)
    np.testing.assert_allclose(got, [[2, 1.3125, 0], [1.3125, 2, 0], [0, 0, 2]], atol=1e-6)


def test_a_vector_of_zeros_has_cosine_zero(ragged):
    p = ragged(np.random.default_rng(0), images=12, classes=2, empty_share=0)
    features = p.columns[Signal.BOX_FEATURES].copy()
    features[::3] = 0
    p = dataclasses.replace(p, columns={Signal.BOX_FEATURES: features})
    got = ccms_matrix(p, "box", 0.0)
    assert np.abs(got - brute_force(p, "box", 0.0)).max() < 1e-5
    zeros = dataclasses.replace(p, columns={Signal.BOX_FEATURES: features * 0})
    assert ccms_matrix(zeros, "box", 0.0).max() == 2  # the diagonal
    assert (ccms_matrix(zeros, "box", 0.0) <= 1)[~np.eye(12, dtype=bool)].all()


def test_images_without_boxes(ragged):
    p = ragged(np.random.default_rng(1), images=10, empty_share=0.5)
    assert 0 < (p.counts == 0).sum() < 10
    empty = p.counts == 0
    got = ccms_matrix(p, "box", 0.0)
    assert np.array_equal(got[empty], 2 * np.eye(10)[empty])
    nothing = p.filter(np.zeros(len(p.scores), bool))
    assert np.array_equal(ccms_matrix(nothing, "box", 0.0), 2 * np.eye(10))


def test_memory_is_the_result_and_a_bounded_rest(ragged):
    p = ragged(np.random.default_rng(0), images=1500, most_boxes=8, classes=2, dim=64, empty_share=0)
    p = dataclasses.replace(p, columns={Signal.BOX_FEATURES: p.columns[Signal.BOX_FEATURES]})
    tracemalloc.start()
    got = ccms_matrix(p, "box", 0.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < got.nbytes + 3 * p.columns[Signal.BOX_FEATURES].nbytes + 16 * 2**20
    assert 4 * len(p.scores) ** 2 > 2 * peak  # all cosines at once would not have fitted


def test_no_images(ragged):
    assert ccms_matrix(ragged(np.random.default_rng(0), images=0), "coords", 0.3).shape == (0, 0)


def test_huge_and_tiny_features_do_not_overflow(ragged):
    p = ragged(np.random.default_rng(2))
    plain = ccms_matrix(p, "box", 0.0)
    for factor in (1e25, 1e-25):
        scaled = dataclasses.replace(
            p, columns={Signal.BOX_FEATURES: p.columns[Signal.BOX_FEATURES] * np.float32(factor)}
        )
        np.testing.assert_allclose(ccms_matrix(scaled, "box", 0.0), plain, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), images=st.integers(2, 25), boxes=st.integers(1, 8), classes=st.integers(1, 5))
def test_properties(ragged, seed, images, boxes, classes):
    rng = np.random.default_rng(seed)
    p = ragged(rng, images=images, most_boxes=boxes, classes=classes)
    got = ccms_matrix(p, "box", 0.1)
    assert np.array_equal(got, got.T)
    assert (got.diagonal() == 2).all()
    assert got.min() >= 0
    assert got.max() <= 2
    assert np.array_equal(got, ccms_matrix(p, "box", 0.1))

    order = rng.permutation(images)  # the same images under other ids
    rows = np.concatenate([np.arange(p.offsets[i], p.offsets[i + 1]) for i in order])
    moved = Predictions(
        image_ids=p.image_ids,
        offsets=np.concatenate([[0], np.cumsum(p.counts[order])]),
        boxes=p.boxes[rows],
        scores=p.scores[rows],
        classes=p.classes[rows],
        num_classes=classes,
        columns={Signal.BOX_FEATURES: p.columns[Signal.BOX_FEATURES][rows]},
    )
    np.testing.assert_allclose(ccms_matrix(moved, "box", 0.1), got[np.ix_(order, order)], atol=1e-5)


def test_images_with_one_class_each():
    """1 + cos where the predicted classes are the same, 0 where not; a probability below the threshold is looked at too."""
    x = np.array([[1, 0], [0, 1], [1, 1], [1, 0]], np.float32)
    p = Predictions(
        image_ids=np.arange(4),
        offsets=np.arange(5),
        boxes=np.tile([0, 0, 8, 8], (4, 1)),
        scores=[0.2, 0.9, 0.5, 0.4],
        classes=[0, 0, 0, 1],
        num_classes=2,
        prob_kind="exclusive",
        columns={Signal.BOX_FEATURES: x},
    )
    half = 1 + 0.5**0.5
    expected = [[2, 1, half, 0], [1, 2, half, 0], [half, half, 2, 0], [0, 0, 0, 2]]
    assert ccms_matrix(p, "box", 0.3) == pytest.approx(np.array(expected), abs=1e-6)
