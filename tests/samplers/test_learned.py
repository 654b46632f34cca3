"""The small network against finite differences, errors counted by hand, and scores that find what was hidden in them."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from al_cli.samplers import active_transfer, discriminative, learning_loss
from al_cli.samplers.base import held_out_of, labeled_of, needs_of
from al_cli.samplers.detection_errors import error_share
from al_cli.samplers.network import SmallNetwork, learn_and_predict
from al_cli.types import Dataset, Image, Predictions, Query, Signal


def test_gradients_equal_finite_differences():
    rng = np.random.default_rng(0)
    network, z, target = SmallNetwork(3, rng), rng.normal(size=(7, 3)), rng.random(7)
    for weights, gradient in zip(network.weights, network.gradients(z, target), strict=True):
        assert weights.shape == gradient.shape
        for place in np.ndindex(weights.shape):
            was, step = weights[place], 1e-6
            weights[place] = was + step
            above = network.loss(z, target)
            weights[place] = was - step
            below = network.loss(z, target)
            weights[place] = was
            assert gradient[place] == pytest.approx((above - below) / (2 * step), abs=1e-7)


def test_loss_by_hand():
    """Zero weights say 1/2: the loss is ln 2 whatever the target."""
    network = SmallNetwork(2, np.random.default_rng(0))
    network.weights = [0 * w for w in network.weights]
    assert network.loss(np.ones((3, 2)), np.array([0, 0.3, 1])) == pytest.approx(np.log(2))


def test_the_network_learns_what_can_be_learned():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 5)) * [1, 100, 1e-3, 1, 0] + 7  # any scale, and a column that never changes
    truth = 1 / (1 + np.exp(-3 * (x[:, 0] - 7)))
    asked = rng.normal(size=(300, 5)) * [1, 100, 1e-3, 1, 0] + 7
    p = learn_and_predict(x, truth, asked, np.random.default_rng(0))
    assert ((p > 0) & (p < 1)).all()
    assert np.abs(p - 1 / (1 + np.exp(-3 * (asked[:, 0] - 7)))).mean() < 0.05


def test_the_network_does_not_learn_noise_by_heart():
    rng = np.random.default_rng(2)
    x, target = rng.normal(size=(100, 50)), rng.integers(0, 2, 100).astype(float)
    p = learn_and_predict(x, target, rng.normal(size=(200, 50)), np.random.default_rng(0))
    assert np.abs(p - 0.5).mean() < 0.25


def test_same_generator_same_answer_and_few_examples():
    rng = np.random.default_rng(3)
    for n in (1, 2, 4, 5, 33):
        x, target, asked = rng.normal(size=(n, 3)), np.arange(n) % 2.0, rng.normal(size=(6, 3))
        one, other = (learn_and_predict(x, target, asked, np.random.default_rng(9)) for _ in range(2))
        assert np.array_equal(one, other) and one.shape == (6,) and np.isfinite(one).all()


def test_targets_that_are_alike_are_the_answer():
    x = np.random.default_rng(0).normal(size=(9, 2))
    for value in (0.0, 0.25, 1.0):
        assert learn_and_predict(x, np.full(9, value), x[:3], np.random.default_rng(0)).tolist() == [value] * 3


A, B, C = [0, 0, 10, 10], [20, 0, 30, 10], [0, 50, 100, 100]


def image(id, boxes, classes, crowd=None) -> Image:
    return Image(id, Path(f"{id}.png"), 200, 200, np.array(boxes, float).reshape(-1, 4), np.array(classes, int), crowd)


def found(per_image, columns=None) -> Predictions:
    """A table from a list of (boxes, scores, classes) for images 0, 1, ..."""
    boxes, scores, classes = ([value for one in per_image for value in one[k]] for k in range(3))
    offsets = np.cumsum([0, *(len(one[1]) for one in per_image)])
    return Predictions(np.arange(len(per_image)), offsets, boxes, scores, classes, 3, columns=columns or {})


def test_error_share_by_hand():
    """0: A hit, its duplicate a false alarm, B missed: 2 of 3. 1: nothing there and nothing found: 0. 2: right box, wrong
    class: a false alarm and a miss: 1. 3: both found: 0. 4: a box shifted by half (IoU 1/3): 1. 5: below the threshold."""
    truth = Dataset(
        ("a", "b", "c"),
        (
            image(0, [A, B], [0, 1]),
            image(1, [], []),
            image(2, [A], [0]),
            image(3, [A, B], [0, 0]),
            image(4, [A], [0]),
            image(5, [], []),
        ),
    )
    table = found(
        [
            ([A, A], [0.9, 0.8], [0, 0]),
            ([], [], []),
            ([A], [0.9], [1]),
            ([B, A], [0.9, 0.5], [0, 0]),
            ([[5, 0, 15, 10]], [0.9], [0]),
            ([A, B], [0.29, 0.1], [0, 0]),
        ]
    )
    assert error_share(table, truth, 0.3) == pytest.approx([2 / 3, 0, 1, 0, 1, 0])
    assert error_share(table, truth, 0.0)[5] == 1


def test_each_object_is_found_once_by_the_best_score():
    """Two detections over one object: the better one, though it overlaps less, finds it; the other is a false alarm."""
    truth = Dataset(("a",), (image(0, [A], [0]),))
    table = found([([[0, 0, 10, 8], A], [0.9, 0.8], [0, 0])])
    assert error_share(table, truth, 0.3).tolist() == [0.5]


def test_detections_in_a_crowd_are_no_errors():
    """C is a crowd of class 0: two detections inside it count nowhere, one of another class is a false alarm."""
    inside = [[0, 50, 10, 60], [20, 60, 40, 90], [50, 60, 60, 70]]
    truth = Dataset(("a", "b", "c"), (image(0, [A, C], [0, 0], [False, True]),))
    table = found([([A, *inside], [0.9, 0.8, 0.7, 0.6], [0, 0, 0, 1])])
    assert error_share(table, truth, 0.3).tolist() == [0.5]


def test_whole_images_are_right_or_wrong():
    """One object that fills the image, as in classification: 0 for the right class, 1 for a wrong one."""
    whole = [0, 0, 200, 200]
    truth = Dataset(("a", "b"), tuple(image(i, [whole], [i % 2]) for i in range(4)))
    table = found([([whole], [0.9], [c]) for c in (0, 0, 1, 1)])
    assert error_share(table, truth, 0.0).tolist() == [0, 1, 1, 0]


def test_a_wrong_class_is_wrong_however_unlikely():
    """Of images with one class each: the score of 0.2 is below the threshold, and its class is the answer all the same."""
    whole = [0, 0, 200, 200]
    truth = Dataset(("a", "b", "c"), tuple(image(i, [whole], [i % 2]) for i in range(4)))
    table = found([([whole], [0.2], [c]) for c in (0, 0, 1, 1)])
    assert error_share(table, truth, 0.3).tolist() == [1, 1, 1, 1], "as objects: none found, all missed"
    assert error_share(replace(table, prob_kind="exclusive"), truth, 0.3).tolist() == [0, 1, 1, 0]


def with_features(features) -> Predictions:
    features = np.asarray(features, np.float32)
    return found([([], [], [])] * len(features), {Signal.IMAGE_FEATURES: features})


def test_active_transfer_finds_where_the_detector_errs():
    """Every validation image has one object; it is missed where the first feature is positive."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(120, 4)).astype(np.float32)
    table = found(
        [(([] if f[0] > 0 else [A]), ([] if f[0] > 0 else [0.9]), ([] if f[0] > 0 else [0])) for f in features],
        {Signal.IMAGE_FEATURES: features},
    )
    truth = Dataset(("a", "b", "c"), tuple(image(i, [A], [0]) for i in range(120)))
    asked = rng.normal(size=(80, 4)).astype(np.float32)
    query = Query(with_features(asked), 10, np.random.default_rng(0), held_out_truth=truth, held_out=table)
    values = active_transfer(query)
    assert values[asked[:, 0] > 0.3].min() > values[asked[:, 0] < -0.3].max()
    assert (values[np.argsort(-values)[:10]] > 0.7).all()


def test_active_transfer_of_images_learns_wrong_from_right_of_either_set():
    """Every image is of class 0, and predicted as 1 where the first feature is positive; validation or labeled images."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(120, 4)).astype(np.float32)
    known = found([([A], [0.2], [int(f[0] > 0)]) for f in features], {Signal.IMAGE_FEATURES: features})
    known = replace(known, prob_kind="exclusive")
    truth = Dataset(("a", "b", "c"), tuple(image(i, [A], [0]) for i in range(120)))
    asked = rng.normal(size=(80, 4)).astype(np.float32)
    for of, where in (
        ("validation", {"held_out": known, "held_out_truth": truth}),
        ("training", {"labeled": known, "truth": truth}),
    ):
        values = active_transfer(Query(with_features(asked), 10, np.random.default_rng(0), **where), of=of)
        assert values[asked[:, 0] > 0.3].min() > values[asked[:, 0] < -0.3].max()


@pytest.mark.parametrize(
    ("score", "signal"), [(active_transfer, Signal.ERROR_PROBABILITY), (discriminative, Signal.POOL_PROBABILITY)]
)
def test_the_own_head_is_asked_and_nothing_else(score, signal):
    table = found([([A], [0.5], [0])] * 3, {signal: np.array([0.25, 1, 0], np.float32)})
    part = partial(score, head="own")
    assert needs_of(part) == {signal} and labeled_of(part) is None and held_out_of(part) is None
    assert part(Query(table, 1, np.random.default_rng(0))).tolist() == [0.25, 1, 0]


def test_active_transfer_of_a_detector_without_errors_is_zero():
    truth = Dataset(("a", "b", "c"), tuple(image(i, [], []) for i in range(4)))
    features = np.random.default_rng(0).normal(size=(4, 3))
    query = Query(
        with_features(features), 1, np.random.default_rng(0), held_out_truth=truth, held_out=with_features(features)
    )
    assert active_transfer(query).tolist() == [0, 0, 0, 0]


def test_discriminative_prefers_what_the_labeled_set_lacks():
    """The pool is two groups, the labeled images are all of the first: the second group scores higher."""
    rng = np.random.default_rng(4)
    labeled = rng.normal(size=(40, 6))
    pool = np.concatenate([rng.normal(size=(60, 6)), rng.normal(size=(60, 6)) + np.array([3, 0, 0, 0, 0, 0])])
    query = Query(with_features(pool), 20, np.random.default_rng(0), labeled=with_features(labeled))
    values = discriminative(query)
    assert ((values >= 0) & (values <= 1)).all()
    assert (np.argsort(-values)[:20] >= 60).all()


def test_learning_loss_is_the_predicted_loss():
    table = found([([], [], []), ([A], [0.5], [0])], {Signal.PREDICTED_LOSS: np.array([0.5, -2], np.float32)})
    values = learning_loss(Query(table, 1, np.random.default_rng(0)))
    assert values.tolist() == [0.5, -2] and values.dtype == np.float64
