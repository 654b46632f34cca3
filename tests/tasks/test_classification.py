"""The metrics of classification are scikit-learn's."""

import math
import warnings

import numpy as np
import pytest
from shapes import predicted_classes, whole_images
from sklearn import metrics as sk

from al_cli.tasks import named
from al_cli.types import Signal

TASK = named("classification")


def scores(truth, probs, classes=None):
    names = [f"c{i}" for i in range(len(probs[0]))]
    return TASK.judge(predicted_classes(probs, classes), whole_images(truth, names))


def random_case(n, c, kind, seed=0):
    """Truth [n] and probabilities [n, c]; `ties`: few different values; `absent`: half of the classes never occur."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, c if kind != "absent" else max(1, c // 2), n)
    logits = rng.normal(size=(n, c)) + 1.5 * np.eye(c)[truth]
    if kind == "ties":
        logits = np.round(logits)
    if kind == "absent" and c > 3:  # and the last is never predicted either
        logits[:, -1] = -9
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return truth, probs.astype(np.float32)


@pytest.mark.parametrize("kind", ["plain", "ties", "absent"])
@pytest.mark.parametrize("classes", [2, 3, 6, 25])
def test_every_number_is_that_of_scikit_learn(classes, kind):
    truth, probs = random_case(60, classes, kind)
    found, every, predicted = scores(truth, probs), np.arange(classes), probs.argmax(1)
    assert found.metrics["accuracy"] == pytest.approx(100 * sk.accuracy_score(truth, predicted))
    for k in (5, 20):
        want = None
        if classes > k:
            want = pytest.approx(100 * sk.top_k_accuracy_score(truth, probs, k=k, labels=every))
        assert found.metrics[f"top{k}"] == want
    present = np.union1d(truth, predicted)
    for name, average in (("F1", "macro"), ("F1_weighted", "weighted")):
        want = 100 * sk.f1_score(truth, predicted, average=average, labels=present, zero_division=0)
        assert found.metrics[name] == pytest.approx(want)
    assert found.metrics["log_likelihood"] == pytest.approx(-sk.log_loss(truth, probs, labels=every), rel=1e-5)
    matrix = sk.confusion_matrix(truth, predicted, labels=every)
    assert [tuple(row.values()) for row in found.tables["confusion"]] == [
        (f"c{i}", f"c{j}", matrix[i, j]) for i in every for j in every if matrix[i, j]
    ]
    columns = sk.precision_recall_fscore_support(truth, predicted, labels=every, zero_division=np.nan)
    for row, precision, recall, f1, support in zip(found.per_class, *columns, strict=True):
        assert row["images"] == support
        for name, value in (("precision", precision), ("recall", recall)):
            assert row[name] == (None if math.isnan(value) else pytest.approx(100 * value))
        absent = not support and row["precision"] is None
        assert row["F1"] == (None if absent else pytest.approx(100 * f1))


def test_of_equally_probable_classes_the_later_is_among_the_first_k():
    probs = np.full((2, 6), 1 / 6, np.float32)
    found = scores([0, 5], probs)
    assert found.metrics["top5"] == 50.0  # of class 5: class 0 is the one left out
    assert found.metrics["accuracy"] == 50.0  # of class 0: the first is the prediction


def test_one_class_is_always_right():
    found = scores([0, 0], np.ones((2, 1), np.float32))
    assert found.metrics == {
        "accuracy": 100, "top5": None, "top20": None, "F1": 100, "F1_weighted": 100, "log_likelihood": 0,
    }  # fmt: skip


def test_a_probability_of_zero_has_a_finite_logarithm():
    found = scores([0], np.array([[0, 1]], np.float32))
    assert found.metrics["log_likelihood"] == pytest.approx(math.log(np.finfo(np.float32).tiny))
    assert found.metrics["accuracy"] == found.metrics["F1"] == found.metrics["F1_weighted"] == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p, d: (p.select([]), d.select([])), "no images to evaluate on"),
        (lambda p, d: (p.select([0]), d), "1 predictions for 2 images"),
        (lambda p, d: (p.filter(np.array([True, False])), d), "1 predictions for 2 images"),
        (lambda p, d: (p, whole_images([0, 0], ["a", "b"])), "predictions of 3 classes for 2 class names"),
        (lambda p, d: (predicted_classes(p.columns[Signal.PROBS], signals=False), d), "no class probabilities"),
    ],
)
def test_predictions_that_are_not_one_a_image_are_refused(change, says):
    probs = np.full((2, 3), 1 / 3, np.float32)
    with pytest.raises(ValueError, match=says):
        TASK.judge(*change(predicted_classes(probs), whole_images([0, 1], ["a", "b", "c"])))


def test_no_warning_is_given_where_classes_are_absent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores([0, 0], np.array([[0.2, 0.8, 0], [0.9, 0.1, 0]], np.float32))
