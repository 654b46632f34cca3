"""A table of predictions that breaks its contract cannot be built, and the error names the values."""

import numpy as np
import pytest

from al_cli.types import Predictions, Signal


def table(scores, probs=None, dropout=None, classes=2):
    """Images 4, 7 and 9: two boxes, none, and the other boxes."""
    m = len(scores)
    columns = {
        signal: column for signal, column in ((Signal.PROBS, probs), (Signal.DROPOUT, dropout)) if column is not None
    }
    boxes = np.tile([0, 0, 5, 5], (m, 1))
    return Predictions([4, 7, 9], [0, 2, 2, m], boxes, scores, np.zeros(m, int), classes, columns=columns)


def test_scores_descend_within_each_image_and_may_rise_between_two():
    assert table([0.5, 0.5, 0.9, 0.1]).scores.tolist() == pytest.approx([0.5, 0.5, 0.9, 0.1])
    with pytest.raises(ValueError, match=r"scores must descend within an image: \[0\.25, 0\.5\] in image 4"):
        table([0.25, 0.5, 0.9])
    with pytest.raises(ValueError, match=r"\[0\.25, 0\.75\] in image 9"):
        table([0.5, 0.5, 0.5, 0.25, 0.75])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"probs": np.ones((3, 7))}, r"probs: shape \(3, 7\) for 2 classes"),
        ({"probs": np.ones((3, 2, 2))}, r"probs: shape \(3, 2, 2\) for 2 classes"),
        ({"probs": np.full((3, 2), 1.5)}, r"probs must lie in \[0, 1\]: \[1\.5, "),
        ({"probs": np.full((3, 2), -0.5)}, r"probs must lie in \[0, 1\]: \[-0\.5, "),
        ({"dropout": np.ones((5, 3, 3))}, r"dropout: shape \(5, 3, 3\) for 2 classes"),
        ({"dropout": np.full((5, 3, 2), 2.0)}, r"dropout must lie in \[0, 1\]: \[2\.0, "),
    ],
)
def test_class_probabilities_have_a_column_a_class_and_are_probabilities(columns, words):
    with pytest.raises(ValueError, match=words):
        table([0.5, 0.4, 0.3], **columns)
    table([0.5, 0.4, 0.3], probs=np.array([[0.0, 1.0]] * 3), dropout=np.ones((5, 3, 2)))
