"""Each score on a case worked by hand, and against SciPy."""

import math

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy

from al_cli.samplers import class_entropy, entropy
from al_cli.types import Predictions, Query, Signal


def ask(predictions: Predictions) -> Query:
    return Query(predictions, budget=1, rng=np.random.default_rng(0))


def table(counts, scores, classes, probs=None, kind="softmax", num_classes=2) -> Predictions:
    return Predictions(
        image_ids=np.arange(len(counts)) * 2,
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        boxes=np.tile([0.0, 0, 1, 1], (len(scores), 1)),
        scores=scores,
        classes=classes,
        num_classes=num_classes,
        prob_kind=kind,
        columns={} if probs is None else {Signal.PROBS: np.array(probs, float).reshape(len(scores), num_classes)},
    )


def test_entropy_softmax_by_hand():
    """C = 2, background has the rest. (1/3, 1/3 | 1/3): ln 3 / ln 3 = 1. (1, 0 | 0): 0. (1/2, 1/2 | 0): ln 2 / ln 3."""
    half = math.log(2) / math.log(3)
    p = table([2, 0, 1], [0.5, 1, 0.5], [0, 0, 1], [[1 / 3, 1 / 3], [1, 0], [0.5, 0.5]])
    assert entropy(ask(p)) == pytest.approx([0.5, 0, half])
    assert entropy(ask(p), aggregate="max") == pytest.approx([1, 0, half])
    assert entropy(ask(p), aggregate="sum") == pytest.approx([1, 0, half])


def test_entropy_sigmoid_by_hand():
    """Binary entropies in bits: 1 at 1/2, 0 at 0 and 1, 0.811278 at 1/4; a box is their mean over classes."""
    p = table([1, 2], [0.5, 0.9, 0.9], [0, 0, 0], [[0.5, 0.5], [0, 1], [0.25, 0.5]], "sigmoid")
    assert entropy(ask(p), aggregate="sum") == pytest.approx([1, (0.8112781 + 1) / 2])
    assert entropy(ask(p), aggregate="mean") == pytest.approx([1, (0.8112781 + 1) / 4])


def test_entropy_equals_scipy(ragged):
    p = ragged(np.random.default_rng(0), images=40)
    probs = p.columns[Signal.PROBS]
    per_box = scipy_entropy(np.hstack([probs, 1 - probs.sum(1, keepdims=True)]), axis=1) / np.log(5)
    for name, combine in (("mean", np.mean), ("max", np.max), ("sum", np.sum)):
        expected = [combine(per_box[p.rows(i)]) if p.counts[i] else 0 for i in range(40)]
        assert entropy(ask(p), aggregate=name) == pytest.approx(expected, abs=1e-12)
    assert (p.counts == 0).any()


def test_class_entropy_by_hand():
    """h(s) = -s ln s. Class 0: h(.5) + h(.5) = ln 2; class 1: h(.25) = ln(4) / 4 = ln 2 / 2, so its weight is 1/2.

    Image 0: h(.5) + h(.25) / 2 = (1/2 + 1/4) ln 2. Image 1: none. Image 2: h(.5) = ln 2 / 2. Class 2 is never met.
    """
    p = table([2, 0, 1], [0.5, 0.25, 0.5], [0, 1, 0], num_classes=3)
    ln2 = math.log(2)
    assert class_entropy(ask(p)) == pytest.approx([0.75 * ln2, 0, 0.5 * ln2])


def test_class_entropy_does_not_depend_on_the_order_of_images(ragged):
    p = ragged(np.random.default_rng(4), images=30)
    values = class_entropy(ask(p))
    rows = np.concatenate([np.arange(p.offsets[i], p.offsets[i + 1]) for i in range(30)][::-1])
    offsets = np.concatenate([[0], np.cumsum(p.counts[::-1])])
    mirrored = Predictions(p.image_ids, offsets, p.boxes[rows], p.scores[rows], p.classes[rows], p.num_classes)
    assert class_entropy(ask(mirrored)) == pytest.approx(values[::-1], abs=1e-12)


@pytest.mark.parametrize("score", [class_entropy, entropy])
def test_no_detections_anywhere_is_zero(score):
    p = table([0, 0], [], [], probs=np.zeros((0, 2)))
    assert score(ask(p)).tolist() == [0, 0]
    assert score(ask(p)).dtype == np.float64


def test_certain_detections_only_are_zero():
    assert class_entropy(ask(table([1, 1], [1, 1], [0, 1]))).tolist() == [0, 0]
