"""Images that a query strategy written for modAL picks (Danka and Horvath 2018): `strategy(classifier, X, n_instances=...)`.

`X` are the features of the candidates, one row an image; `classifier` stands in for modAL's ActiveLearner and knows what our
model said of them: probabilities, and features and classes of the labeled images. The other way: `as_modal.py`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_cli.errors import ConfigError
from al_cli.samplers.base import name_of, selection
from al_cli.types import Predictions, Query, Selection, Signal

_SEEN = frozenset({Signal.PROBS, Signal.IMAGE_FEATURES})


@selection(needs=_SEEN, labeled=_SEEN, source="modAL (Danka & Horvath 2018)", family="elsewhere", boxes=False)
def modal(query: Query, scores: NDArray[np.float64] | None = None, *, strategy: Callable[..., Any]) -> Selection:
    """`budget` candidates in the order that `strategy` returns. Scores are not read.

    It is called as modAL calls one, with `n_instances` and the options of the file, and may return indices of rows of X, or
    these and anything else (the rows, or their scores). Where it draws from NumPy's global generator, that is seeded from
    `query.rng` and put back afterwards; a generator of its own is its own affair, and then equal runs may differ.
    ConfigError where it returns another number of images, one twice, or none of X.

    When to use: to compare with a strategy that exists for modAL already.
    """
    assert query.labeled is not None and query.truth is not None
    labels = [int(query.truth[int(i)].classes[0]) for i in query.labeled.image_ids]
    classifier = StandIn(query.candidates, query.labeled, np.array(labels, np.int64))
    with seeded(query.rng):
        answer = strategy(classifier, classifier.pool.copy(), n_instances=query.budget)
    rows = _rows(answer, query.budget, len(query.candidates), name_of(strategy))
    return Selection(query.candidates.image_ids[rows], np.full(len(rows), np.nan))


class StandIn:
    """What a strategy asks of an ActiveLearner, answered from two tables of images with one class each.

    `X_training` [L, D] and `y_training` [L] are those of the labeled images, `classes_` [C] their numbers; the estimator is
    this itself. `pool` [N, D] are the features of the candidates.
    """

    def __init__(self, candidates: Predictions, labeled: Predictions, labels: NDArray[np.int64]):
        self.pool, self.X_training = (
            table.columns[Signal.IMAGE_FEATURES].astype(np.float64) for table in (candidates, labeled)
        )
        self.y_training, self.classes_, self.estimator = labels, np.arange(candidates.num_classes), self
        probs = [table.columns[Signal.PROBS].astype(np.float64) for table in (candidates, labeled)]
        self._probs = dict(zip(map(bytes, [*self.pool, *self.X_training]), np.concatenate(probs), strict=True))

    def predict_proba(self, X: Any, **_options: Any) -> NDArray[np.float64]:
        """[n, C] of rows of features that are those of a candidate or a labeled image. ConfigError for others."""
        rows = np.ascontiguousarray(X, dtype=np.float64).reshape(-1, self.pool.shape[1])
        try:
            return np.array([self._probs[bytes(row)] for row in rows]).reshape(-1, len(self.classes_))
        except KeyError as error:
            what = "the strategy asks for probabilities of features that are those of no image"
            raise ConfigError(what, where="sampler.strategy", remedy="ask with rows of X, as they are") from error

    def predict(self, X: Any, **options: Any) -> NDArray[np.int64]:
        """[n] the likeliest class of each row."""
        return self.predict_proba(X, **options).argmax(1)


@contextmanager
def seeded(rng: np.random.Generator) -> Iterator[None]:
    """NumPy's global generator, which strategies of modAL draw from, seeded inside and as it was outside."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(int(rng.integers(2**32)))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _rows(answer: Any, budget: int, n: int, name: str) -> NDArray[np.int64]:
    """The rows [budget] that an answer names: indices, or a pair of indices and something about them."""
    if isinstance(answer, tuple) and len(answer) == 2:
        two_rows = budget == 2 and np.ndim(answer[0]) == np.ndim(answer[1]) == 0
        answer = answer if two_rows else answer[0]
    rows = np.atleast_1d(np.asarray(answer))
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        wrong = f"no indices but {rows.dtype} of shape {rows.shape}"
    elif len(rows) != budget:
        wrong = f"{len(rows)} images instead of {budget}"
    elif len(np.unique(rows)) < len(rows):
        wrong = f"row {int(rows[np.flatnonzero(np.bincount(rows - rows.min())[rows - rows.min()] > 1)[0]])} of X twice"
    elif rows.min() < 0 or rows.max() >= n:
        wrong = f"row {int(rows[(rows < 0) | (rows >= n)][0])} of X, which has {n}"
    else:
        return rows.astype(np.int64)
    remedy = "correct it: it must return n_instances indices of rows of X, each once"
    raise ConfigError(f"the strategy {name} returned {wrong}", where="sampler.strategy", remedy=remedy)
