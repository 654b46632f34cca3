"""DCUS by hand, against the formula box by box, and at its ends."""

import dataclasses
import math

import numpy as np
import pytest

from al_cli.samplers import dcus
from al_cli.types import Predictions, Query, Signal


def ask(counts, scores, classes, difficulty, boxes=(0.0, 0, 20, 20)) -> Query:
    table = Predictions(
        image_ids=np.arange(len(counts)) * 2,
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        boxes=np.broadcast_to(boxes, (len(scores), 4)),
        scores=scores,
        classes=classes,
        num_classes=len(difficulty),
        columns={Signal.CLASS_DIFFICULTY: np.array(difficulty)},
    )
    return Query(table, budget=1, rng=np.random.default_rng(0))


def test_by_hand():
    """w(0) = 1 and w(1) = 1 + 0.3 * 0.2 * ln(e^(1/0.3)) = 1.2. A score of 1/2 has entropy ln 2, a score of 1 none."""
    u = dcus(ask([2, 0, 2], [0.5, 0.5, 1.0, 0.5], [0, 1, 1, 0], [0.0, 1.0]))
    assert u == pytest.approx([2.2 * math.log(2), 0, math.log(2)])
    assert u.dtype == np.float64


def test_equals_the_formula_box_by_box(ragged):
    p = ragged(np.random.default_rng(0), images=40)
    difficulty = np.random.default_rng(1).random(p.num_classes)
    alpha, beta = 0.5, 0.7
    gamma = math.exp(1 / alpha) - 1
    expected = []
    for i in range(len(p)):
        total = 0.0
        for s, c in zip(p.scores[p.rows(i)].tolist(), p.classes[p.rows(i)].tolist(), strict=True):
            weight = 1 + alpha * beta * math.log(1 + gamma * difficulty[c])
            total += weight * (-s * math.log(s) - ((1 - s) * math.log(1 - s) if s < 1 else 0))
        expected.append(total)
    query = ask(p.counts, p.scores, p.classes, difficulty)
    assert dcus(query, alpha=alpha, beta=beta) == pytest.approx(expected, abs=1e-12)
    assert (p.counts == 0).any()


def test_a_harder_class_weighs_more_and_an_easy_one_gains_most_per_step():
    one_box = [float(dcus(ask([1], [0.5], [0], [d]))[0]) / math.log(2) for d in np.linspace(0, 1, 6)]
    gains = np.diff(one_box)
    assert (gains > 0).all() and (np.diff(gains) < 0).all()
    assert one_box[0] == pytest.approx(1) and one_box[-1] == pytest.approx(1.2)


def test_no_detections_anywhere_is_zero():
    assert dcus(ask([0, 0], [], [], [0.5, 1.0])).tolist() == [0, 0]


SIDES = [  # width and height in px, whether it counts: 16 px must be passed, an aspect of 5 must not be met
    (16, 16, False),
    (16.01, 16, True),
    (8, 32, False),  # the root of the area is 16 as well
    (8, 33, True),
    (40, 8, False),
    (8, 40, False),
    (39.9, 8, True),
    (8, 39.9, True),
    (300, 0, False),
    (0, 0, False),
]


def test_an_image_with_one_class_counts_whatever_its_size():
    """Eight pixels a side, as scikit-learn's digits: the box is the image, so no filter of objects applies."""
    table = ask([1], [0.5], [0], [0.0], [(0, 0, 8, 8)]).candidates
    images = dataclasses.replace(table, prob_kind="exclusive")
    assert dcus(Query(images, 1, np.random.default_rng(0))) == pytest.approx([math.log(2)])
    assert dcus(Query(table, 1, np.random.default_rng(0))).tolist() == [0]


def test_boxes_that_are_small_or_long_do_not_count():
    boxes = np.array([(30, 50, 30 + width, 50 + height) for width, height, _ in SIDES])
    n = len(boxes)
    query = ask(np.ones(n, int), np.full(n, 0.5), np.zeros(n), [0.0], boxes)
    counted = [math.log(2) * counts for *_, counts in SIDES]
    assert dcus(query) == pytest.approx(counted)
    assert (dcus(query, min_size_px=0, max_aspect=None) > 0).tolist() == [w * h > 0 for w, h, _ in SIDES]
    assert (dcus(query, min_size_px=15.9) > 0).tolist()[:4] == [True] * 4
    assert (dcus(query, max_aspect=5.1) > 0).tolist()[4:6] == [True] * 2
