"""Scores of dropout passes: BALD against its definition, the Monte-Carlo measures against the plain ones."""

import math

import numpy as np
import pytest

from al_cli.samplers import bald, entropy, least_confidence, margin, mc_uncertainty, ratio
from al_cli.types import Predictions, Query, Signal

PLAIN = {"least_confidence": least_confidence, "margin": margin, "ratio": ratio, "entropy": entropy}


def ask(table: Predictions) -> Query:
    return Query(table, budget=1, rng=np.random.default_rng(0))


def table(counts, passes, kind="softmax") -> Predictions:
    """`passes` [T, M, C]."""
    p = np.array(passes, float)
    m = p.shape[1]
    return Predictions(
        image_ids=np.arange(len(counts)) * 2,
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        boxes=np.tile([0.0, 0, 1, 1], (m, 1)),
        scores=np.full(m, 0.5),
        classes=np.zeros(m, int),
        num_classes=p.shape[2],
        prob_kind=kind,
        columns={Signal.DROPOUT: p},
    )


def random_table(ragged, kind: str, passes: int = 7) -> Predictions:
    rng = np.random.default_rng(3)
    p = ragged(rng, images=25, prob_kind=kind)
    m, c = len(p.scores), p.num_classes
    drawn = rng.dirichlet(np.ones(c + (kind == "softmax")), (passes, m))[..., :c]
    if kind == "sigmoid":
        drawn = rng.random((passes, m, c))
    return Predictions(
        p.image_ids, p.offsets, p.boxes, p.scores, p.classes, c, kind, {Signal.DROPOUT: drawn.astype(np.float32)}
    )


def test_bald_of_images_by_hand():
    """Two classes and nothing else, two passes. Sure of either: 1 bit. 1/2 twice: 0. 1/4 and 3/4: 1 - 0.8112781."""
    p = table([1, 1, 1], [[[1, 0], [0.5, 0.5], [0.25, 0.75]], [[0, 1], [0.5, 0.5], [0.75, 0.25]]], "exclusive")
    assert bald(ask(p)) == pytest.approx([1, 0, 1 - 0.8112781])


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_bald_by_hand(kind):
    """One class and background, two passes. Box 0: sure of either, so H(1/2) - 0 = 1 bit. Box 1: 1/2 twice, 1 - 1 = 0.

    Box 2: 1/4 and 3/4: 1 - H(1/4) = 1 - 0.8112781. Images: boxes 0 and 1, none, box 2.
    """
    p = table([2, 0, 1], [[[1], [0.5], [0.25]], [[0], [0.5], [0.75]]], kind)
    assert bald(ask(p)) == pytest.approx([0.5, 0, 1 - 0.8112781])
    assert bald(ask(p), aggregate="max") == pytest.approx([1, 0, 1 - 0.8112781])


def information(passes, kind):
    """Mutual information of the answer y and the pass t from their joint distribution, in the units of `entropy_of`."""
    if kind == "sigmoid":
        return np.mean([information([[p] for p in passes[:, c]], "softmax") for c in range(passes.shape[1])])
    background = [] if kind == "exclusive" else [0.0]
    answers = [[*map(float, row), *(max(b, 1 - float(sum(row))) for b in background)] for row in passes]
    total = 0.0
    for y in range(len(answers[0])):
        marginal = sum(row[y] for row in answers) / len(answers)
        total += sum(row[y] / len(answers) * math.log(row[y] / marginal) for row in answers if row[y] > 0)
    return total / math.log(len(answers[0]))


@pytest.mark.parametrize("kind", ["softmax", "sigmoid", "exclusive"])
def test_bald_is_the_mutual_information(ragged, kind):
    p = random_table(ragged, kind)
    per_box = np.array([information(p.columns[Signal.DROPOUT][:, row], kind) for row in range(len(p.scores))])
    expected = [per_box[p.rows(i)].mean() if p.counts[i] else 0 for i in range(len(p))]
    assert (p.counts == 0).any() == (kind != "exclusive") and per_box.min() > 0
    assert bald(ask(p)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid", "exclusive"])
def test_equal_passes_tell_nothing(ragged, kind):
    p = random_table(ragged, kind, passes=1)
    same = table(p.counts, np.repeat(p.columns[Signal.DROPOUT], 5, axis=0), kind)
    assert bald(ask(same)) == pytest.approx(np.zeros(len(p)), abs=1e-9)
    assert (bald(ask(same)) >= 0).all()


def test_mc_by_hand():
    """C = 2 and background. Passes (.8, .2 | 0) and (.4, .2 | .4): mean (.6, .2 | .2)."""
    p = table([1, 0], [[[0.8, 0.2]], [[0.4, 0.2]]])
    h = -(0.6 * math.log(0.6) + 0.4 * math.log(0.2)) / math.log(3)
    expected = {"least_confidence": 0.4 * 3 / 2, "margin": 1 - 0.4, "ratio": 1 / 3, "entropy": h}
    for measure, value in expected.items():
        assert mc_uncertainty(ask(p), measure=measure) == pytest.approx([value, 0])


@pytest.mark.parametrize("kind", ["softmax", "sigmoid", "exclusive"])
@pytest.mark.parametrize("measure", list(PLAIN))
def test_mc_is_the_plain_measure_of_the_mean(ragged, measure, kind):
    p = random_table(ragged, kind)
    mean = p.columns[Signal.DROPOUT].astype(np.float64).mean(0)
    plain = Predictions(p.image_ids, p.offsets, p.boxes, p.scores, p.classes, p.num_classes, kind, {Signal.PROBS: mean})
    for options in ({}, {"aggregate": "max"}, {"aggregate": "top_n", "top_n": 2}):
        expected = PLAIN[measure](ask(plain), **options)
        assert mc_uncertainty(ask(p), measure=measure, **options) == pytest.approx(expected)


def test_no_detections_anywhere():
    p = table([0, 0], np.zeros((4, 0, 3)))
    assert bald(ask(p)).tolist() == [0, 0]
    for measure in PLAIN:
        assert mc_uncertainty(ask(p), measure=measure).tolist() == [0, 0]
