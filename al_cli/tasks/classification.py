"""Classification of whole images: the metrics of the documents, from Predictions and a Dataset, for every learner.

Sources: accuracy (ISAL 4.1; FSDL 8.5), top-5, top-20 and cross-entropy (Lund 3.2.1, 4.2.5), F1 (FSDL 5.1, which does not say
how classes are averaged: both ways are here). Each equals the function of scikit-learn that computes it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_cli.tasks.base import PERCENT, Cost, Evaluation, Metric, Task
from al_cli.types import Dataset, Predictions, Signal

TOP = (5, 20)
SMALLEST = float(np.finfo(np.float32).tiny)  # a probability that underflowed: its logarithm would not be finite


def evaluate_classes(predictions: Predictions, dataset: Dataset) -> Evaluation:
    """How well the class of each image is predicted, on exactly these images; in percent but for log_likelihood.

    accuracy; top5 and top20 (`_top`; None where there are not more classes than that); F1, the mean over the classes that
    occur in truth or prediction, a class that is never right counting 0; F1_weighted, the mean of the same over images, by
    their true class; log_likelihood, the mean natural logarithm of the true class's probability: minus the cross-entropy.
    `per_class` has class, images, recall, precision, F1: None where no image is of the class, none is predicted to be, or
    neither. The table `confusion` has a row for each true and predicted class that occur together, with the number of images:
    of 1000 classes a table of all pairs would have a million cells a round.

    ValueError when the predictions are not one row with its class probabilities for each of the dataset's images.
    """
    _check(predictions, dataset)
    names = dataset.class_names
    truth = np.array([image.classes[0] for image in dataset.images])  # [N]
    probs = predictions.columns[Signal.PROBS].astype(np.float64)  # [N, C]
    confusion = np.zeros((len(names), len(names)), dtype=np.int64)  # [true, predicted]
    np.add.at(confusion, (truth, predictions.classes), 1)
    right, true, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    recall, precision = _percent(right, true), _percent(right, predicted)
    f1 = _percent(2 * right, true + predicted)
    metrics = {
        "accuracy": 100 * float(right.sum() / len(truth)),
        **{f"top{k}": _top(probs, truth, k) for k in TOP},
        "F1": float(np.nanmean(f1)),
        "F1_weighted": float(np.nansum(f1 * true) / len(truth)),
        "log_likelihood": float(np.log(np.maximum(probs[np.arange(len(truth)), truth], SMALLEST)).mean()),
    }
    rows = [
        {"class": name, "images": int(true[c]), "recall": _known(recall[c]), "precision": _known(precision[c]),
         "F1": _known(f1[c])}
        for c, name in enumerate(names)
    ]  # fmt: skip
    table = [
        {"true": names[i], "predicted": names[j], "images": int(confusion[i, j])}
        for i, j in np.argwhere(confusion).tolist()
    ]
    return Evaluation(metrics, rows, {"confusion": table})


def _check(predictions: Predictions, dataset: Dataset) -> None:
    if not len(dataset):
        raise ValueError("there are no images to evaluate on")
    if not np.array_equal(predictions.image_ids, dataset.ids) or (predictions.counts != 1).any():
        raise ValueError(
            f"{len(predictions.classes)} predictions for {len(dataset)} images: each image must have one, of its class"
        )
    if predictions.num_classes != len(dataset.class_names):
        raise ValueError(f"predictions of {predictions.num_classes} classes for {len(dataset.class_names)} class names")
    if Signal.PROBS not in predictions.columns:
        raise ValueError("the predictions have no class probabilities")
    if unlike := [image.name for image in dataset.images if len(image.classes) != 1]:
        raise ValueError(f"image {unlike[0]} has not one class")


def _top(probs: NDArray[np.float64], truth: NDArray[np.int64], k: int) -> float | None:
    """Images whose true class is among the k most probable, in percent; None where k classes are all of them.

    Of equally probable classes the later one comes first, as in scikit-learn's top_k_accuracy_score.
    """
    if probs.shape[1] <= k:
        return None
    order = np.argsort(probs, axis=1, kind="stable")[:, ::-1]
    return 100 * float((order[:, :k] == truth[:, None]).any(1).mean())


def _percent(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """100 part / whole, NaN where the whole is nothing."""
    return np.where(whole > 0, 100 * part / np.maximum(whole, 1), np.nan)


def _known(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _metric(name: str, title: str = "") -> Metric:
    return Metric(name, PERCENT, decimals=2, highest=100.0, title=title)


TASK = Task(
    "classification",
    metrics=(
        _metric("accuracy"),
        _metric("top5", "top-5 accuracy"),
        _metric("top20", "top-20 accuracy"),
        _metric("F1", "F1, mean of classes"),
        _metric("F1_weighted", "F1, weighted"),
        Metric("log_likelihood", "nats", decimals=3, highest=0.0, title="log-likelihood"),
    ),
    costs=(Cost("images"),),
    evaluate=evaluate_classes,
    curves=("accuracy", "F1"),
    line=("accuracy", "top5", "F1"),
    table=("accuracy", "top5", "F1"),
    label="image",
    needs=frozenset({Signal.PROBS}),
)
