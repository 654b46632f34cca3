"""Localization stability and tightness on cases worked by hand, and box by box."""

import numpy as np
import pytest

from al_cli.samplers import localization_stability, localization_tightness
from al_cli.types import Predictions, Query, Signal


def ask(table: Predictions) -> Query:
    return Query(table, budget=1, rng=np.random.default_rng(0))


def table(counts, scores, **columns) -> Predictions:
    return Predictions(
        image_ids=np.arange(len(counts)) * 2,
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        boxes=np.tile([0.0, 0, 1, 1], (len(scores), 1)),
        scores=scores,
        classes=np.zeros(len(scores), int),
        num_classes=1,
        columns={Signal(name): np.array(column) for name, column in columns.items()},
    )


def test_stability_by_hand():
    """Image 0: S = (1/2, 1) with P = (1, 1/4), so S(I) = (1/2 + 1/4) / (5/4) = 3/5. Image 2: 1/3 whatever its P."""
    p = table([2, 0, 1], [1, 0.25, 0.1], jitter=[[0, 1, 0.5], [1, 1, 1], [0, 1, 0]])
    assert localization_stability(ask(p)) == pytest.approx([2 / 5, 0, 2 / 3])


def test_stability_box_by_box(ragged):
    p = ragged(np.random.default_rng(0), images=40)
    moves = np.random.default_rng(1).random((len(p.scores), 6))
    expected = []
    for i in range(40):
        weights = p.scores[p.rows(i)].astype(float)
        stable = moves[p.rows(i)].mean(1)
        expected.append(1 - sum(weights * stable) / sum(weights) if p.counts[i] else 0)
    full = Predictions(
        p.image_ids, p.offsets, p.boxes, p.scores, p.classes, p.num_classes, columns={Signal.JITTER: moves}
    )
    assert localization_stability(ask(full)) == pytest.approx(expected, abs=1e-9)
    assert (p.counts == 0).any()


def test_stability_at_its_ends():
    p = table([1, 1, 0], [0.5, 0.5], jitter=[[1, 1], [0, 0]])
    assert localization_stability(ask(p)).tolist() == [0, 1, 0]


def test_tightness_by_hand():
    """Image 0: |.9 + .9 - 1| = .8 and |.5 + .25 - 1| = .25, the smaller counts. Image 2: tight and doubtful, .9 + .1 = 1.

    Image 3: loose and certain, 0 + 1. Image 4: tight and certain: consistent.
    """
    p = table([2, 0, 1, 1, 1], [0.9, 0.25, 0.1, 1, 1], proposal_iou=[0.9, 0.5, 0.9, 0, 1])
    assert localization_tightness(ask(p)) == pytest.approx([0.75, 0, 1, 1, 0], abs=1e-7)


def test_no_detections_anywhere():
    p = table([0, 0], [], jitter=np.zeros((0, 6)), proposal_iou=np.zeros(0))
    for score in (localization_stability, localization_tightness):
        assert score(ask(p)).tolist() == [0, 0]
        assert score(ask(p)).dtype == np.float64
