"""Our scores and selections as query strategies for modAL (Danka and Horvath 2018), over any estimator with `predict_proba`.

    learner = ActiveLearner(estimator, query_strategy=modal_strategy(entropy), X_training=X, y_training=y)
    indices, images = learner.query(pool, n_instances=10)

The other way, one of modAL's as our sampler: `select_modal.py`.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import Declaration, boxes_of, function_of, held_out_of, labeled_of, name_of, needs_of
from al_cli.types import Dataset, Image, Predictions, Query, Signal

GIVEN = frozenset({Signal.PROBS, Signal.BOX_FEATURES, Signal.IMAGE_FEATURES})  # what an estimator can give


def modal_strategy(function: Callable[..., Any], *, seed: int = 0, **options: Any) -> Callable[..., tuple[Any, Any]]:
    """A query strategy of modAL: `f(classifier, X, n_instances=1) -> (indices, X[indices])`, best first.

    `function` is a score, whose highest are taken (of equals the first), or a selection that needs no scores.
    `X` [n, ...] are features, flattened to one vector an example; what a sampler compares with are `classifier.X_training` and
    `y_training`. What it draws goes on from `seed`, query after query. TypeError for a function that is neither, or that needs
    what an estimator cannot give; ConfigError for an option that it does not take.
    """
    name, declaration = name_of(function), getattr(function_of(function), "declaration", None)
    if not isinstance(declaration, Declaration):
        raise TypeError(f"{name} is neither a score nor a selection of al")
    if declaration.scored:
        raise TypeError(f"{name} needs scores: give a score, and its highest are taken")
    part = partial(function, **options)
    labeled = labeled_of(part)
    lacking = sorted(((needs_of(part) or frozenset()) | (labeled or frozenset())) - GIVEN)
    if boxes_of(part) is not None:
        lacking.insert(0, "boxes" if boxes_of(part) else "a model of al")  # type: ignore[arg-type]
    if held_out_of(part) is not None:
        lacking.append("validation images")  # type: ignore[arg-type]
    if lacking:
        raise TypeError(f"{name} needs {', '.join(lacking)}, which an estimator cannot give")
    rng = np.random.default_rng(seed)

    def query_strategy(classifier: Any, X: Any, n_instances: int = 1, **predict_options: Any) -> tuple[Any, Any]:
        n = np.shape(X)[0]
        if not 1 <= n_instances <= n:
            raise ValueError(f"n_instances={n_instances} of {n} examples")
        known, truth = None, None
        if labeled is not None:
            known = _table(classifier, _training(classifier, name), predict_options)
            truth = _truth(classifier, known)
        query = Query(_table(classifier, X, predict_options), n_instances, rng, truth=truth, labeled=known)
        if declaration.kind == "score":
            picked = np.argsort(-np.asarray(part(query)), kind="stable")[:n_instances]
        else:
            picked = part(query, None).ids
        return picked, X.iloc[picked] if hasattr(X, "iloc") else np.asarray(X)[picked]

    return query_strategy


def _table(classifier: Any, X: Any, options: dict[str, Any]) -> Predictions:
    """The examples as images with one class each, numbered from 0."""
    probs = np.asarray(classifier.predict_proba(X, **options), np.float64)
    n = len(probs)
    features = np.asarray(X).reshape(n, -1)
    columns = {Signal.PROBS: probs, Signal.IMAGE_FEATURES: features, Signal.BOX_FEATURES: features}
    return Predictions.of_classes(np.arange(n), [(1, 1)] * n, probs, columns)


def _training(classifier: Any, name: str) -> Any:
    X = getattr(classifier, "X_training", None)
    if X is None or not np.shape(X)[0]:
        raise TypeError(f"{name} compares with the labeled examples, and this classifier has no X_training")
    return X


def _truth(classifier: Any, labeled: Predictions) -> Dataset:
    """The labeled examples with their classes, in the order of the estimator's."""
    y: NDArray[Any] = np.asarray(classifier.y_training)
    names = np.asarray(getattr(classifier.estimator, "classes_", np.unique(y)))
    classes = np.searchsorted(names, y)
    images = [Image.of_class(i, Path(str(i)), 1, 1, label) for i, label in enumerate(classes.tolist())]
    return Dataset(tuple(map(str, range(labeled.num_classes))), tuple(images))
