"""Influence of unlabeled images on the loss of a reference set, over all parameters of a classifier (ISAL: Liu et al. 2021,
eq. 2 to 4, section 4.1, appendix B).

    I(x) = - s^T G(x),  s = H^-1 g      g: gradient of the reference set's mean cross-entropy; H: Hessian of the labeled
    S(x) =   g^T G(x)                   images' mean cross-entropy; G(x): the gradient to expect of an image (eq. 3);
                                        all with respect to every parameter that training moves, in evaluation mode

The more negative I, the more the reference loss would fall; S is gradient similarity (section 4.4.2), the inner product
without the Hessian. s is estimated by LiSSA, one labeled image a step. With z(theta) the logits of an image, p their softmax
and k its K likeliest classes, grad l(x, k) = (p - e_k)^T dz/dtheta. So one forward-mode pass, which gives the logits of a
whole batch with their derivatives along s, gives the influence of all its images for every K; no image has a backward pass.

K = 1 takes the image's own class as its label, with weight 1 (section 3.3); K > 1 weighs the K gradients with their
probabilities. With K = the number of classes they cancel: sum_k p_k (p - e_k) = 0 whatever the image, so I and S are 0 but for
rounding, and nothing is left to choose by (ISAL's table 1 has K = 10 of 10 classes, below random selection).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call, jvp
from torch.nn.functional import cross_entropy

from al_cli.learners.classifier.images import ImageReader
from al_cli.learners.classifier.networks import Network
from al_cli.learners.classifier.outputs import BATCH, classes_of
from al_cli.learners.pytorch.lissa import Loss, gradient, inverse_hessian_product
from al_cli.learners.pytorch.modes import evaluating
from al_cli.learners.spec import InfluenceSpec
from al_cli.progress import phase
from al_cli.rng import rng_for
from al_cli.types import Dataset, Signal

log = logging.getLogger("al")


class ClassifierInfluence:
    """INFLUENCE I(x), lowest for the image that would help most, and GRADIENT_SIMILARITY S(x), highest for it, of the network
    as it now is.

    `labeled` are the images of the last training, `reference` those whose loss counts, both with labels: ValueError where
    there are none. Frozen parameters do not count, for training does not move them. Deterministic on a CPU: the images that
    estimate the Hessian are drawn from the labeled data's fingerprint. Leaves the network as it was.
    """

    def __init__(
        self, network: Network, reader: ImageReader, *, labeled: Dataset, reference: Dataset, spec: InfluenceSpec
    ):
        if not len(labeled) or not len(reference):
            raise ValueError(f"influence needs images: {len(labeled)} labeled, {len(reference)} reference")
        self.network, self.reader, self.spec = network, reader, spec.check()
        self.labeled, self.reference = labeled, reference
        moving = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
        self.shapes = {name: p.shape for name, p in moving.items()}
        self.sizes = [p.numel() for p in moving.values()]
        self.theta = torch.cat([p.flatten() for p in moving.values()])  # [P]

    def of(self, images: Dataset, signals: Collection[Signal]) -> dict[Signal, NDArray[np.float32]]:
        """[N] for each of these signals. No images: [0], and nothing is estimated."""
        found: dict[Signal, list[Tensor]] = {signal: [] for signal in sorted(signals)}
        if len(images):
            if self.spec.classes == len(images.class_names):
                log.warning(
                    "model.influence.classes=%d are all classes of the data: their gradients cancel, and influence is 0 but "
                    "for rounding",
                    self.spec.classes,
                )
            directions = {signal: self._direction(signal) for signal in found}
            with phase("influence", total=len(images)) as step:
                for x in self.reader.batches(images, BATCH):
                    for signal, direction in directions.items():
                        found[signal].append(self.derivatives(x, direction))
                    step(len(x))
        none = torch.zeros(0, dtype=torch.float64)
        return {signal: torch.cat([none, *parts]).float().numpy() for signal, parts in found.items()}

    def derivatives(self, x: Tensor, direction: Tensor) -> Tensor:
        """[B] direction^T G(x_i) of each image, float64 on the CPU."""
        with torch.no_grad(), evaluating(self.network):
            logits, moves = jvp(  # type: ignore[misc]
                lambda parameters: self._logits(parameters, x),
                (self._named(self.theta),),
                (self._named(direction),),
            )
        logits, moves = logits.double().cpu(), moves.double().cpu()  # [B, C] each
        p = logits.softmax(dim=1)
        likeliest = p.argsort(dim=1, descending=True, stable=True)[:, : self.spec.classes]  # [B, K]
        of_class = (p * moves).sum(1, keepdim=True) - moves.gather(1, likeliest)  # [B, K] along each class' gradient
        weights = p.gather(1, likeliest) if self.spec.classes > 1 else 1
        return (weights * of_class).sum(1)

    @cached_property
    def gradient(self) -> Tensor:
        """[P] g, of the reference set's mean loss."""
        total, classes = torch.zeros_like(self.theta), torch.from_numpy(classes_of(self.reference))
        images = zip(self.reader.batches(self.reference, BATCH), classes.split(BATCH), strict=True)
        with phase("reference", total=len(self.reference)) as step, evaluating(self.network):
            for x, true in images:
                total += len(x) * gradient(partial(self._loss, x=x, true=true.to(x.device)), self.theta)
                step(len(x))
        return total / len(self.reference)

    @cached_property
    def direction(self) -> Tensor:
        """[P] s = H^-1 g."""
        steps = min(self.spec.samples or len(self.labeled), len(self.labeled))
        rng = rng_for(0, 0, f"influence/{self.labeled.fingerprint}")
        orders = np.stack([rng.permutation(len(self.labeled))[:steps] for _ in range(self.spec.repeats)])
        g, damping, scale = self.gradient, self.spec.damping, self.spec.scale
        with phase("hessian", total=orders.size, unit="steps") as step, evaluating(self.network):
            return inverse_hessian_product(
                _LabeledLosses(self), self.theta, g, orders=orders, damping=damping, scale=scale, step=step
            )

    def loss_of(self, position: int) -> Loss:
        """theta [P] -> the cross-entropy of the labeled image at this position. In evaluation mode, if the network is."""
        image = self.labeled.images[position]
        x = self.reader.batch([image], None, flip=False, crop_px=None)
        return partial(self._loss, x=x, true=torch.tensor(image.classes[:1], device=x.device))

    def _direction(self, signal: Signal) -> Tensor:
        return -self.direction if signal is Signal.INFLUENCE else self.gradient

    def _named(self, theta: Tensor) -> dict[str, Tensor]:
        parts = zip(self.shapes.items(), theta.split(self.sizes), strict=True)
        return {name: part.view(shape) for (name, shape), part in parts}

    def _logits(self, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        logits: Tensor = functional_call(self.network, parameters, (x,))
        return logits

    def _loss(self, theta: Tensor, x: Tensor, true: Tensor) -> Tensor:
        return cross_entropy(self._logits(self._named(theta), x), true)


class _LabeledLosses(Sequence[Loss]):
    """The losses of labeled images by position, read when asked for."""

    def __init__(self, influence: ClassifierInfluence):
        self.influence = influence

    def __len__(self) -> int:
        return len(self.influence.labeled)

    def __getitem__(self, position: int) -> Loss:  # type: ignore[override]
        return self.influence.loss_of(position)
