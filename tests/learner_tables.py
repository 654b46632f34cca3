"""What learners' tables are held to: the shape and range that `types.Signal` documents for each signal; and their equality."""

import numpy as np

from al_cli.types import Predictions, Signal

ANY = (-np.inf, np.inf)
# Axes by name (N images, M boxes, C classes, None: any length of at least 1), and the smallest and largest value.
SIGNALS = {
    Signal.PROBS: (("M", "C"), (0, 1)),
    Signal.BOX_FEATURES: (("M", None), ANY),
    Signal.CENTER_FEATURES: (("M", None), ANY),
    Signal.IMAGE_FEATURES: (("N", None), ANY),
    Signal.TOWER_FEATURES: (("N", None), ANY),
    Signal.DROPOUT: ((None, "M", "C"), (0, 1)),
    Signal.JITTER: (("M", 6), (0, 1)),
    Signal.PROPOSAL_IOU: (("M",), (0, 1)),
    Signal.CLASS_DIFFICULTY: (("C",), (0, 1)),
    Signal.PREDICTED_LOSS: (("N",), ANY),
    Signal.TRUE_LOSS: (("N",), (0, np.inf)),
    Signal.TRUE_BOXES: (("N",), (0, np.inf)),
    Signal.TRUE_CLASSES: (("N", "C"), (0, np.inf)),
    Signal.INFLUENCE: (("N",), ANY),
    Signal.GRADIENT_SIMILARITY: (("N",), ANY),
    Signal.LAYER_ACTIVATIONS: (("M", None, 2), ANY),
    Signal.ERROR_PROBABILITY: (("N",), (0, 1)),
    Signal.POOL_PROBABILITY: (("N",), (0, 1)),
}


def assert_as_documented(table: Predictions) -> None:
    """Every column of the table has the axes and the range of its signal."""
    lengths = {"N": len(table), "M": len(table.scores), "C": table.num_classes}
    for signal, column in table.columns.items():
        axes, (low, high) = SIGNALS[signal]
        assert column.ndim == len(axes), f"{signal}: {column.shape} for {axes}"
        for length, axis in zip(column.shape, axes, strict=True):
            assert length >= 1 if axis is None else length == lengths.get(axis, axis), f"{signal}: {column.shape}"
        assert (column >= low).all() and (column <= high).all(), f"{signal} leaves [{low}, {high}]"


def assert_same(a: Predictions, b: Predictions) -> None:
    for field in ("image_ids", "offsets", "boxes", "scores", "classes"):
        assert np.array_equal(getattr(a, field), getattr(b, field)), field
    assert a.columns.keys() == b.columns.keys() and a.prob_kind == b.prob_kind
    for signal in a.columns:
        assert np.array_equal(a.columns[signal], b.columns[signal]), signal
