"""Each score on a case worked by hand, and against SciPy or a loop over boxes."""

import math

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy

from al_cli.samplers import (
    box_count,
    class_entropy,
    entropy,
    least_confidence,
    margin,
    ratio,
    true_box_count,
    true_loss,
)
from al_cli.samplers.uncertainty import entropy_of, least_confidence_of, margin_of, ratio_of
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
    p = table([2, 0, 1], [1, 0.5, 0.5], [0, 0, 1], [[1 / 3, 1 / 3], [1, 0], [0.5, 0.5]])
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
    for name, combine in (("mean", np.mean), ("max", np.max), ("sum", np.sum), ("top_n", lambda x: x[:2].mean())):
        expected = [combine(per_box[p.rows(i)]) if p.counts[i] else 0 for i in range(40)]
        assert entropy(ask(p), aggregate=name, top_n=2) == pytest.approx(expected, abs=1e-12)
    assert (p.counts == 0).any() and (p.counts == 1).any() and (p.counts > 2).any()


HAND = [  # class vector, kind -> least confidence, margin, ratio
    ([1 / 3, 1 / 3], "softmax", 1, 1, 1),  # background as likely as each of the two classes
    ([1, 0], "softmax", 0, 0, 0),
    ([0.5, 0.5], "softmax", 0.5 * 3 / 2, 1, 1),
    ([0.1, 0.1], "softmax", 0.2 * 3 / 2, 0.3, 0.125),  # background 0.8
    ([0.5, 0.5], "sigmoid", 1, 1, 1),  # background 1 - max p, here 0.5
    ([0, 1], "sigmoid", 0, 0, 0),
    ([0.9, 0.8], "sigmoid", 0.2, 0.9, 8 / 9),  # between two classes
    ([0.1, 0.05], "sigmoid", 0.2, 0.2, 1 / 9),  # hardly anything: background 0.9
]


@pytest.mark.parametrize(("probs", "kind", "least", "gap", "part"), HAND)
def test_confidence_scores_by_hand(probs, kind, least, gap, part):
    p = table([0, 2, 1], [0.9, 0.8, 0.5], [0, 0, 0], [probs, [1, 0], probs], kind)
    for score, value in ((least_confidence, least), (margin, gap), (ratio, part)):
        assert score(ask(p)) == pytest.approx([0, value / 2, value]), (
            "the mean of this box and a certain one; and alone"
        )
        assert score(ask(p), aggregate="max") == pytest.approx([0, value, value])
        assert score(ask(p), aggregate="top_n", top_n=1) == pytest.approx([0, value, value])


def test_the_three_candidates_of_datahunt():
    """Puppy, cat, hamster: the blog gives 0.5 / 0.34 / 0.4 as largest, 0.1 / 0.01 / 0 as margins, and the entropies in bits.

    Its order by least confidence, 3 > 1 > 2, contradicts its own rule and numbers (0.34 is the lowest); the rule is right.
    """
    p = np.array([[0.5, 0.4, 0.1], [0.33, 0.33, 0.34], [0.4, 0.4, 0.2]])
    assert least_confidence_of(p, "softmax") * 3 / 4 == pytest.approx(1 - np.array([0.5, 0.34, 0.4]))
    assert 1 - margin_of(p, "softmax") == pytest.approx([0.1, 0.01, 0])
    assert entropy_of(p, "softmax") * np.log2(4) == pytest.approx([1.361, 1.585, 1.522], abs=5e-4)
    orders = {f: (np.argsort(-f(p, "softmax")) + 1).tolist() for f in (least_confidence_of, margin_of, entropy_of)}
    assert orders == {least_confidence_of: [2, 3, 1], margin_of: [3, 2, 1], entropy_of: [2, 3, 1]}


def test_the_three_images_of_datahunt():
    """The same as images with one of three classes, which is what they are: no background, n = 3, entropy in bits over log2 3.

    Its order by least confidence, 3 > 1 > 2, is a slip: 0.34 is the lowest, so the second is first.
    """
    p = np.array([[0.5, 0.4, 0.1], [0.34, 0.33, 0.33], [0.4, 0.4, 0.2]])
    images = table([1, 1, 1], p.max(1), p.argmax(1), p, "exclusive", 3)
    assert least_confidence(ask(images)) == pytest.approx((1 - np.array([0.5, 0.34, 0.4])) * 3 / 2)
    assert 1 - margin(ask(images)) == pytest.approx([0.1, 0.01, 0])
    assert ratio(ask(images)) == pytest.approx([0.8, 33 / 34, 1])
    assert entropy(ask(images)) * math.log2(3) == pytest.approx([1.361, 1.585, 1.522], abs=5e-4)
    orders = {f: (np.argsort(-f(ask(images))) + 1).tolist() for f in (least_confidence, margin, entropy)}
    assert orders == {least_confidence: [2, 3, 1], margin: [3, 2, 1], entropy: [2, 3, 1]}
    for aggregate in ("max", "sum", "top_n"):  # of one box
        assert entropy(ask(images), aggregate=aggregate).tolist() == entropy(ask(images)).tolist()


@pytest.mark.parametrize("n", [2, 3, 1000])
def test_equations_of_lund_with_as_many_answers_as_classes(n):
    """Eq. 3.1 to 3.3 written out: a random vector; all alike, which is 1; and one certain answer, which is 0."""
    p = np.stack([np.random.default_rng(n).dirichlet(np.ones(n)), np.full(n, 1 / n), np.eye(n)[0]])
    y1, y2 = np.sort(p[0])[::-1][:2]
    assert least_confidence_of(p, "exclusive") == pytest.approx([(1 - y1) * n / (n - 1), 1, 0])
    assert margin_of(p, "exclusive") == pytest.approx([1 - (y1 - y2), 1, 0])
    assert ratio_of(p, "exclusive") == pytest.approx([y2 / y1, 1, 0])
    assert entropy_of(p, "exclusive") == pytest.approx([scipy_entropy(p[0]) / np.log(n), 1, 0])


@pytest.mark.parametrize("measure", [least_confidence_of, margin_of, ratio_of, entropy_of])
def test_the_only_class_is_certain(measure):
    assert measure(np.ones((2, 1)), "exclusive").tolist() == [0, 0]


def test_class_entropy_of_images_looks_at_no_threshold():
    """-s ln s of the predicted class, for a probability of 0.25 too: half of ln 2 each, in classes of one weight."""
    p = table([1, 1], [0.5, 0.25], [0, 1], kind="exclusive")
    assert class_entropy(ask(p), score_threshold=0.3) == pytest.approx([math.log(2) / 2] * 2)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid", "exclusive"])
@pytest.mark.parametrize("measure", [least_confidence_of, margin_of, ratio_of, entropy_of])
def test_a_box_has_a_value_from_0_to_1(measure, kind, ragged):
    rng = np.random.default_rng(0)
    probs = np.concatenate([ragged(rng, prob_kind=kind).columns[Signal.PROBS] for _ in range(20)]).astype(np.float32)
    nothing = np.eye(1, 4, dtype=np.float32) * (kind == "exclusive")  # or the background is certain
    probs = np.concatenate([probs, np.eye(4, dtype=np.float32), nothing, np.full((1, 4), 0.2)])
    if kind == "exclusive":
        probs[-1] = 0.25
    values = measure(probs, kind)
    assert values.shape == (len(probs),)
    assert (values >= 0).all() and (values <= 1).all()
    assert values[-6:-1] == pytest.approx(np.zeros(5)), "one answer is certain"
    if kind != "sigmoid":
        assert values[-1] == pytest.approx(1), "all answers are equally likely"
    assert measure(probs[:0], kind).shape == (0,)


def test_controls_and_oracles_by_hand():
    p = table([3, 0, 1], [0.9, 0.3, 0.2, 0.1], [0, 0, 0, 0])
    assert box_count(ask(p)).tolist() == [2, 0, 0]
    assert box_count(ask(p), score_threshold=0).tolist() == [3, 0, 1]
    columns = {Signal.TRUE_BOXES: [1, 4, 0], Signal.TRUE_LOSS: [0.5, 2.5, 0.1]}
    known = Predictions(p.image_ids, p.offsets, p.boxes, p.scores, p.classes, 2, "softmax", columns)
    assert true_box_count(ask(known)).tolist() == [1, 4, 0]
    assert true_loss(ask(known)).tolist() == [0.5, 2.5, 0.1]


def test_class_entropy_by_hand():
    """h(s) = -s ln s. Class 0: h(.5) + h(.5) = ln 2; class 1: h(.25) = ln(4) / 4 = ln 2 / 2, so its weight is 1/2.

    Image 0: h(.5) + h(.25) / 2 = (1/2 + 1/4) ln 2. Image 1: none. Image 2: h(.5) = ln 2 / 2. Class 2 is never met.
    """
    p = table([2, 0, 1], [0.5, 0.25, 0.5], [0, 1, 0], num_classes=3)
    ln2 = math.log(2)
    assert class_entropy(ask(p)) == pytest.approx([0.75 * ln2, 0, 0.5 * ln2])


def test_class_entropy_from_a_threshold_by_hand():
    """From 0.3 on the two faint boxes count neither for their images nor for class 1, which is then as heavy as it shows.

    Class 0: h(.5) + h(.5) = ln 2; class 1: h(.5) = ln 2 / 2, so its weight is 1/2. Without a threshold it has h(.25) too:
    ln 2, weight 1. The image with a faint box only has nothing.
    """
    p = table([2, 1, 2], [0.5, 0.25, 0.25, 0.5, 0.5], [0, 1, 1, 0, 1])
    ln2 = math.log(2)
    assert class_entropy(ask(p), score_threshold=0.3) == pytest.approx([ln2 / 2, 0, ln2 / 2 + ln2 / 4])
    assert class_entropy(ask(p), score_threshold=0.5).tolist() == class_entropy(ask(p), score_threshold=0.3).tolist()
    assert class_entropy(ask(p), score_threshold=0.6).tolist() == [0, 0, 0]
    class_1 = 1 + 0.5  # in units of ln 2: two of h(.25) and one of h(.5), heavier than class 0 with 1
    expected = np.array([0.5 / class_1 + 0.5, 0.5, 0.5 / class_1 + 0.5]) * ln2
    assert class_entropy(ask(p)) == pytest.approx(expected)


def test_class_entropy_does_not_depend_on_the_order_of_images(ragged):
    p = ragged(np.random.default_rng(4), images=30)
    values = class_entropy(ask(p))
    rows = np.concatenate([np.arange(p.offsets[i], p.offsets[i + 1]) for i in range(30)][::-1])
    offsets = np.concatenate([[0], np.cumsum(p.counts[::-1])])
    mirrored = Predictions(p.image_ids, offsets, p.boxes[rows], p.scores[rows], p.classes[rows], p.num_classes)
    assert class_entropy(ask(mirrored)) == pytest.approx(values[::-1], abs=1e-12)


@pytest.mark.parametrize("score", [class_entropy, entropy, least_confidence, margin, ratio, box_count])
def test_no_detections_anywhere_is_zero(score):
    p = table([0, 0], [], [], probs=np.zeros((0, 2)))
    assert score(ask(p)).tolist() == [0, 0]
    assert score(ask(p)).dtype == np.float64


def test_certain_detections_only_are_zero():
    assert class_entropy(ask(table([1, 1], [1, 1], [0, 1]))).tolist() == [0, 0]
