"""Learning loss: a module on a classifier's blocks learns which of two images has the larger cross-entropy (Yoo and Kweon
2019; ISAL appendix D.1).

    block -> global average -> FC(128) -> ReLU,   all of them concatenated -> FC(1) = predicted loss

The images of a batch are taken in pairs, with the ranking loss of `pytorch/loss_module.py` (margin 1), and it is added to the
classifier's own with weight 1. Its gradient reaches the network in the first part of a training alone
(`model.loss_prediction_share`; ISAL: 120 of 200 epochs); after that the module learns alone.

`model.loss_prediction` says what moves the module. shared: the classifier's optimizer, as in the papers. own: an Adam of its
own on averages that are detached from the first step, so that the classifier learns the same to the bit as without.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from al_cli.learners.classifier.networks import Network
from al_cli.learners.classifier.spec import SHARE
from al_cli.learners.pytorch.loss_module import (
    LossModule,
    drawn_loss_module,
    has_loss_module,
    loss_module_extras,
    ranking_loss,
    restored_loss_module,
)
from al_cli.learners.pytorch.modes import evaluating

OWN_RATE = 1e-3  # of Adam, as for detectors
PROBED_PX = 32  # side of the image that shows how many channels the blocks have


class LearningLoss:
    """Trains a LossModule while `network` trains. `seed` draws a new one; `start`, the extras of the checkpoint that training
    goes on from, may hold one already. `own` is then its optimizer, or None where the classifier's is to move it; `share` of
    the training its gradient reaches the network."""

    def __init__(
        self,
        network: Network,
        *,
        seed: int,
        own: bool,
        share: float = SHARE,
        start: Mapping[str, NDArray[Any]] | None = None,
    ):
        self.share = share
        if start is not None and has_loss_module(start):
            self.module = restored_loss_module(start)
        else:
            self.module = drawn_loss_module(_channels(network), seed)
        self.module.to(network.mean.device)
        self.own = torch.optim.Adam(self.module.parameters(), OWN_RATE) if own else None

    def parameters(self) -> list[nn.Parameter]:
        """What the classifier's optimizer must move: all, or with `own` nothing."""
        return [] if self.own else list(self.module.parameters())

    def loss(self, blocks: Sequence[Tensor], losses: Tensor, progress: float) -> Tensor:
        """What to add to the classifier's loss, from the outputs [B, c, h, w] of its blocks and its images' losses [B].

        `progress` is the share of the training that is done. 0 for a batch of one image, which makes no pair; and with `own`,
        where the module has taken a step when this returns.
        """
        if len(losses) < 2:
            return losses.new_zeros(())
        with torch.autocast(losses.device.type, enabled=False):
            features = _averages(blocks)
            if self.own or progress >= self.share:
                features = features.detach()
            ranking = ranking_loss(self.module(features), losses.float())
            if not self.own:
                return ranking
            self.own.zero_grad()
            ranking.backward()
            self.own.step()
            return losses.new_zeros(())

    @property
    def extras(self) -> dict[str, NDArray[Any]]:
        """What a checkpoint keeps of it."""
        return loss_module_extras(self.module)


@torch.no_grad()
def predicted_losses(module: LossModule, blocks: Sequence[Tensor]) -> Tensor:
    """[B] from the outputs [B, c, h, w] of the network's blocks: an order, without a unit."""
    found: Tensor = module(_averages(blocks))
    return found


@contextmanager
def block_outputs(network: Network) -> Iterator[list[Tensor]]:
    """What the network's blocks put out in its next pass, in their order; to be emptied before another one."""
    outputs: list[Tensor] = []
    handles = [
        network.get_submodule(name).register_forward_hook(lambda _module, _args, output: outputs.append(output))
        for name in network.blocks
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _averages(blocks: Sequence[Tensor]) -> Tensor:
    """[B, D] the global average of each map, one after the other."""
    return torch.cat([block.float().mean(dim=(2, 3)) for block in blocks], dim=1)


def _channels(network: Network) -> list[int]:
    """How many channels each block puts out."""
    side = max(PROBED_PX, network.smallest_px)
    probe = network.mean.new_zeros(1, len(network.mean), side, side)
    with torch.no_grad(), evaluating(network), block_outputs(network) as outputs:
        network(probe)
    return [output.shape[1] for output in outputs]
