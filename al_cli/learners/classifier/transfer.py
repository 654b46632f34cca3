"""The classifier's own head, fine-tuned to answer another question: is its class wrong, or, is this image not labeled yet?

FSDL section 4.6: "we fine-tune the classification head of the previous model on this new dataset" (active transfer learning:
Monarch 2021; discriminative active learning: Gissin and Shalev-Shwartz 2019). The head is a copy whose last layer is replaced
by one output; its other layers start as they were trained. A head of one layer is that new layer alone.

It learns with binary cross-entropy on the vectors that the trunk makes, by Adam (Kingma and Ba 2015), as the new network of
the samplers does: batches of 32, a fifth held out, an end once its loss has not fallen for five epochs, of at most 100, back
to the best weights. How FSDL trained it is not stated. Dropout is active, batch normalization keeps its statistics.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.modules.batchnorm import _BatchNorm

from al_cli.errors import ConfigError
from al_cli.learners.classifier.images import ImageReader
from al_cli.learners.classifier.networks import Network
from al_cli.learners.classifier.outputs import BATCH, classes_of
from al_cli.learners.pytorch.modes import evaluating
from al_cli.progress import phase
from al_cli.rng import rng_for, seed_for
from al_cli.types import Dataset

TUNED_BATCH, TUNED_RATE, TUNED_EPOCHS, TUNED_PATIENCE, TUNED_HELD_OUT = 32, 1e-3, 100, 5, 0.2


def error_probability(
    network: Network, reader: ImageReader, images: Dataset, judged: Dataset | None, seed: int
) -> NDArray[np.float64]:
    """[N] that the network's class is wrong, learned from the images `judged`, whose labels say where it is: validation images
    (FSDL 4.6), or images of the training (8.6).

    Where it is right, or wrong, on all of them, that is the answer for every image. ConfigError where there are none.
    """
    if judged is None or not len(judged):
        raise ConfigError(
            "the errors of the model are learned on validation images, and there are none",
            where="dataset.val",
            remedy="add dataset.val=20%",
        )
    if not len(images):
        return np.zeros(0)
    x = _features(network, reader, judged)
    with torch.no_grad(), evaluating(network):
        classes = torch.cat([network.head(part).argmax(1).cpu() for part in x.split(BATCH)])
    wrong = (classes.numpy() != classes_of(judged)).astype(np.float64)
    return _learned(network, reader, x, wrong, images, seed, "error")


def pool_probability(
    network: Network, reader: ImageReader, images: Dataset, labeled: Dataset, seed: int
) -> NDArray[np.float64]:
    """[N] that an image is one of those asked for and not labeled, learned from equal numbers of both kinds.

    1 for all where nothing is labeled."""
    n = min(len(labeled), len(images))
    if not n:
        return np.ones(len(images))
    rng = rng_for(seed, 0, "transfer/pool/images")
    drawn = [some.select(np.sort(rng.choice(some.ids, n, replace=False))) for some in (labeled, images)]
    x = torch.cat([_features(network, reader, some) for some in drawn])
    return _learned(network, reader, x, np.repeat([0.0, 1.0], n), images, seed, "pool")


def tuned_head(head: nn.Sequential, x: Tensor, target: NDArray[np.float64], seed: int, purpose: str) -> nn.Sequential:
    """The fine-tuned copy of `head`: [B, D] to logits [B, 1]. `x` [n, D] are the trunk's vectors, `target` [n] is 0 or 1.

    Below five examples none is held out. `head` stays as it was.
    """
    rng = rng_for(seed, 0, f"transfer/{purpose}")
    order = rng.permutation(len(x))
    held_out, kept = np.split(order, [int(TUNED_HELD_OUT * len(x))])
    judge = held_out if len(held_out) else kept
    y = torch.from_numpy(target).to(x)[:, None]
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []), torch.enable_grad():
        torch.manual_seed(seed_for(seed, 0, f"transfer/{purpose}/weights"))
        tuned = with_one_output(head)
        optimizer = torch.optim.Adam(tuned.parameters(), TUNED_RATE)
        best, weights, since_best = np.inf, copy.deepcopy(tuned.state_dict()), 0
        for _ in range(TUNED_EPOCHS):
            _learning(tuned)
            shuffled = rng.permutation(kept)
            for start in range(0, len(shuffled), TUNED_BATCH):
                batch = shuffled[start : start + TUNED_BATCH]
                optimizer.zero_grad()
                binary_cross_entropy_with_logits(tuned(x[batch]), y[batch]).backward()
                optimizer.step()
            tuned.eval()
            with torch.no_grad():
                loss = float(binary_cross_entropy_with_logits(tuned(x[judge]), y[judge]))
            if loss < best:
                best, weights, since_best = loss, copy.deepcopy(tuned.state_dict()), 0
            elif (since_best := since_best + 1) == TUNED_PATIENCE:
                break
    tuned.load_state_dict(weights)
    return tuned.eval()


def with_one_output(head: nn.Sequential) -> nn.Sequential:
    """A copy of the head, its last layer replaced by one that torch's global generator draws; all of it trains."""
    old = head[-1]
    assert isinstance(old, nn.Linear), type(old)
    tuned = copy.deepcopy(head)
    tuned[-1] = nn.Linear(old.in_features, 1).to(old.weight)
    return tuned.requires_grad_(True)


def _learning(head: nn.Sequential) -> None:
    head.train()
    for module in head.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def _learned(
    network: Network,
    reader: ImageReader,
    x: Tensor,
    target: NDArray[np.float64],
    images: Dataset,
    seed: int,
    purpose: str,
) -> NDArray[np.float64]:
    """[N] probabilities of images, after learning `target` [n] from `x` [n, D]."""
    if np.ptp(target) == 0:
        return np.full(len(images), target[0])
    tuned = tuned_head(network.head, x, target, seed, purpose)
    with torch.no_grad():
        parts = [tuned(some).double().sigmoid()[:, 0].cpu() for some in _vectors(network, reader, images)]
    return torch.cat(parts).numpy()


def _features(network: Network, reader: ImageReader, images: Dataset) -> Tensor:
    return torch.cat(list(_vectors(network, reader, images)))


@torch.no_grad()
def _vectors(network: Network, reader: ImageReader, images: Dataset) -> Iterator[Tensor]:
    """[B, D] what the trunk makes of these images, batch by batch."""
    with phase("features", total=len(images)) as step, evaluating(network):
        for batch in reader.batches(images, BATCH):
            yield network.features(batch)
            step(len(batch))
