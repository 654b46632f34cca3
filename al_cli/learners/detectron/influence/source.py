"""Influence of unlabeled images on the loss of a reference set (ISAL: Liu et al. 2021, eq. 2 to 4, appendix B).

    I(x) = - g^T H^-1 grad l(x, y')       g: gradient of the reference set's mean loss; H: Hessian of the labeled images' mean
    S(x) =   g^T grad l(x, y')            loss; l(x, y'): the image's loss with the detector's own detections as labels;
                                          all with respect to the last layers (`last_layers`)

The more negative I, the more the reference loss would fall; S is gradient similarity, the paper's ablation without the
Hessian. s = H^-1 g is estimated once a checkpoint (`lissa`). Then I(x) = - d/de l(theta + e s), and no image needs a
backward pass of its own: a batch costs one pass through the backbone, which also finds the pseudo labels, and the
derivatives of all its images come together (`HeadLoss.derivatives`), once for each of K classes (`pseudo_labels`).

Box losses that are linear (L1, Detectron2's default) or not convex (GIoU) have no positive curvature: there the inverse is
the damping alone, so the box layers weigh more in I than they would under a quadratic loss. That is ISAL's as published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from al_cli.learners.detectron.influence.head_loss import HeadLoss, LastLayers, Maps, Sizes
from al_cli.learners.detectron.influence.last_layers import RCNNLayers, last_layers
from al_cli.learners.detectron.influence.pseudo_labels import PseudoLabels
from al_cli.learners.detectron.training.data import Mapper, ordered_batches, to_dicts
from al_cli.learners.pytorch.lissa import Loss, gradient, inverse_hessian_product
from al_cli.learners.spec import InfluenceSpec
from al_cli.progress import phase
from al_cli.rng import rng_for
from al_cli.types import Dataset, Signal

KEPT_BYTES = 2**30  # of inputs to the last layers that labeled images may keep in memory between steps


class InfluenceSource:
    """INFLUENCE I(x), lowest for the image that would help most, and GRADIENT_SIMILARITY S(x), highest for it, of the model
    as it now is. An image without detections has the influence of its background.

    `labeled` are the images of the last training, `reference` those whose loss counts; both with labels. `mapper(labels=)`
    gives the learner's mapper. Valid until the model is trained or loaded again. Deterministic on a CPU: the images that
    estimate the Hessian are drawn from the labeled data's fingerprint, so a resumed run draws the same ones.
    """

    def __init__(
        self,
        model: nn.Module,
        mapper: Callable[..., Mapper],
        *,
        labeled: Dataset,
        reference: Dataset,
        spec: InfluenceSpec,
        workers: int = 0,
    ):
        if not len(labeled) or not len(reference):
            raise ValueError(f"influence needs images: {len(labeled)} labeled, {len(reference)} reference")
        self.layers, self.mapper, self.spec = last_layers(model), mapper, spec.check()
        self.labeled, self.reference = labeled, reference
        self.workers = workers
        self.theta = self.layers.theta()  # [P]

    def reader(self, signal: Signal) -> Callable[[Maps, Sizes], Tensor]:
        """For a Tap, which has the backbone's maps already: maps by name and (height, width) of each image -> [B] float32.

        What does not depend on the images is computed here: call it before the pass begins.
        """
        sign, direction = (-1, self.direction) if signal is Signal.INFLUENCE else (1, self.gradient)
        pseudo = PseudoLabels(self.spec.threshold, self.spec.classes)

        def read(maps: Maps, sizes: Sizes) -> Tensor:
            return sign * self.layers.expected(maps, sizes, pseudo).derivatives(self.theta, direction)

        return read

    @cached_property
    def gradient(self) -> Tensor:
        """[P] g, of the reference set's mean loss."""
        total = torch.zeros_like(self.theta)
        records, mapper = to_dicts(self.reference), self.mapper(labels=True)
        with phase("reference", total=len(records)) as step:
            for one in ordered_batches(records, mapper, batch_size=1, workers=self.workers):
                total += gradient(self.layers.record(one), self.theta)
                step()
        return total / len(self.reference)

    @cached_property
    def direction(self) -> Tensor:
        """[P] s = H^-1 g."""
        most = self.spec.samples or (500 if isinstance(self.layers, RCNNLayers) else 5000)
        steps = min(most, len(self.labeled))
        rng = rng_for(0, 0, f"influence/{self.labeled.fingerprint}")
        orders = np.stack([rng.permutation(len(self.labeled))[:steps] for _ in range(self.spec.repeats)])
        losses = LabeledLosses(self.layers, self.mapper(labels=True), self.labeled)
        gradient, damping, scale = self.gradient, self.spec.damping, self.spec.scale
        with phase("hessian", total=orders.size, unit="steps") as step:
            return inverse_hessian_product(
                losses, self.theta, gradient, orders=orders, damping=damping, scale=scale, step=step
            )


class LabeledLosses(Sequence[Loss]):
    """The losses of labeled images by position, recorded when first asked for and kept as far as memory allows."""

    def __init__(self, layers: LastLayers, mapper: Mapper, labeled: Dataset, limit: int = KEPT_BYTES):
        self.layers, self.mapper, self.records, self.left = layers, mapper, to_dicts(labeled), limit
        self._kept: dict[int, HeadLoss] = {}

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, position: int) -> HeadLoss:  # type: ignore[override]
        if position in self._kept:
            return self._kept[position]
        loss = self.layers.record([self.mapper(self.records[position])])
        if loss.nbytes <= self.left:
            self.left -= loss.nbytes
            self._kept[position] = loss
        return loss
