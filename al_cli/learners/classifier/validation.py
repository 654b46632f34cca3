"""What a training measures on validation images on its way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from al_cli.learners.classifier.images import ImageReader
from al_cli.learners.classifier.networks import Network
from al_cli.learners.classifier.outputs import as_predictions, classes_of, mean_cross_entropy, read_pass
from al_cli.types import Dataset, Judge, Signal


class Validation:
    """Loss and metric on the validation images, out of one pass."""

    def __init__(self, network: Network, reader: ImageReader, val: Dataset, judge: Judge | None):
        self.network, self.reader, self.val, self.judge = network, reader, val, judge
        self._truth = classes_of(val)
        self._logits: NDArray[np.float32] = np.zeros((0, 0), np.float32)

    def loss(self) -> float:
        """Of the network as it now is, which is then ready to train on."""
        self._logits, _ = read_pass(self.network, self.reader, self.val, frozenset())
        self.network.train()
        return mean_cross_entropy(self._logits, self._truth)

    def metric(self) -> float | None:
        """What the judge says of the network as `loss` found it."""
        assert self.judge is not None
        return self.judge(as_predictions(self.val, self._logits, frozenset({Signal.PROBS}), {}), self.val)
