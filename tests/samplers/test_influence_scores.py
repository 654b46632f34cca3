"""The two scores of ISAL on a case worked by hand: which sign comes first."""

import numpy as np
import pytest

from al_cli.samplers import gradient_similarity, influence, top
from al_cli.types import Predictions, Query, Signal

VALUES = [0.5, -2.0, 0.0]


def ask(signal: Signal, counts=(1, 0, 1), budget=1) -> Query:
    """Three images of ids 10, 20, 30; the second has no boxes, and a value all the same."""
    n = sum(counts)
    boxes, offsets = np.tile([0.0, 0, 1, 1], (n, 1)), np.concatenate([[0], np.cumsum(counts)])
    table = Predictions([10, 20, 30], offsets, boxes, np.ones(n), np.zeros(n), 2, columns={signal: np.array(VALUES)})
    return Query(table, budget=budget, rng=np.random.default_rng(0))


def test_the_most_negative_influence_comes_first():
    query = ask(Signal.INFLUENCE, budget=3)
    assert influence(query).tolist() == [-0.5, 2.0, -0.0]
    assert top(query, influence(query)).ids.tolist() == [20, 30, 10]


def test_the_most_similar_gradient_comes_first():
    query = ask(Signal.GRADIENT_SIMILARITY, budget=3)
    assert gradient_similarity(query).tolist() == VALUES
    assert top(query, gradient_similarity(query)).ids.tolist() == [10, 30, 20]


@pytest.mark.parametrize(("score", "signal"), [(influence, "influence"), (gradient_similarity, "gradient_similarity")])
def test_no_boxes_anywhere(score, signal):
    values = score(ask(Signal(signal), counts=(0, 0, 0)))
    assert values.shape == (3,) and values.dtype == np.float64 and np.isfinite(values).all()
