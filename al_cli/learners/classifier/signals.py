"""Signals of a classifier that take more than its one pass: dropout, predicted and true losses, influence, a tuned head.

DROPOUT [T, N, C] (FSDL 4.3; Gal and Ghahramani 2016): the probabilities with dropout active in the head, T times. What lies
before the head does not depend on the pass and is computed once. Batch normalization is as in every inference. The masks of an
image are a function of the checkpoint's seed and the image's id, whatever other images are asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from al_cli.learners.classifier.images import ImageReader
from al_cli.learners.classifier.influence import ClassifierInfluence
from al_cli.learners.classifier.loss_prediction import block_outputs, predicted_losses
from al_cli.learners.classifier.networks import Network
from al_cli.learners.classifier.outputs import BATCH, losses_alone
from al_cli.learners.classifier.spec import ClassifierSpec
from al_cli.learners.classifier.transfer import error_probability, pool_probability
from al_cli.learners.pytorch.labels import KnownLabels
from al_cli.learners.pytorch.loss_module import restored_loss_module
from al_cli.learners.pytorch.modes import evaluating
from al_cli.progress import phase
from al_cli.rng import seed_for
from al_cli.types import INFLUENCES, MEASURED_AGAINST_LABELS, Dataset, Signal

Columns = dict[Signal, NDArray[Any]]


def signal_columns(
    network: Network,
    reader: ImageReader,
    images: Dataset,
    signals: frozenset[Signal],
    spec: ClassifierSpec,
    extras: Mapping[str, NDArray[Any]],
    labels: KnownLabels | None,
) -> Columns:
    """Those of `signals` that `outputs.read_pass` does not give, each as `types.Signal` documents it; [0] or [T, 0, C] for no
    images. `extras` are the checkpoint's: its seed, the module of learning loss, class difficulty.

    RuntimeError for a signal measured against labels before any are known, KeyError for a loss module that was not trained.
    """
    seed, found = int(extras.get("seed", 0)), Columns()
    if Signal.DROPOUT in signals:
        found[Signal.DROPOUT] = dropout_passes(network, reader, images, spec.dropout_passes, seed)
    if Signal.PREDICTED_LOSS in signals:
        found[Signal.PREDICTED_LOSS] = _predicted(network, reader, images, extras)
    if Signal.TRUE_LOSS in signals:
        found[Signal.TRUE_LOSS] = losses_alone(network, reader, images)
    if Signal.TRUE_CLASSES in signals:
        found[Signal.TRUE_CLASSES] = images.class_counts
    if Signal.CLASS_DIFFICULTY in signals:
        found[Signal.CLASS_DIFFICULTY] = extras["class_difficulty"]
    if signals & MEASURED_AGAINST_LABELS:
        if labels is None:
            raise RuntimeError("inform first: these signals are measured against labeled images")
        found |= _against_labels(network, reader, images, signals, spec, labels, seed)
    return found


@torch.no_grad()
def dropout_passes(
    network: Network, reader: ImageReader, images: Dataset, passes: int, seed: int
) -> NDArray[np.float32]:
    """[T, N, C] class probabilities with dropout active in the head; no images give [T, 0, C]."""
    classes = network.linear_layers[-1].out_features
    found, ids, at = np.zeros((passes, len(images), classes), np.float32), images.ids.tolist(), 0
    with phase("dropout", total=len(images)) as step, evaluating(network), _dropping(network.head):
        for batch in reader.batches(images, BATCH):
            for vector in network.features(batch):  # [D]
                found[:, at] = _passes(network.head, vector, passes, seed_for(seed, 0, f"dropout/{ids[at]}"))
                at += 1
            step(len(batch))
    return found


def _passes(head: nn.Module, vector: Tensor, passes: int, seed: int) -> NDArray[np.float32]:
    """[T, C]. All passes of an image are one batch: each of its rows has a mask of its own."""
    with torch.random.fork_rng(devices=[vector.device] if vector.is_cuda else []):
        torch.manual_seed(seed)
        probs: NDArray[np.float32] = head(vector.expand(passes, -1)).float().softmax(dim=1).cpu().numpy()
    return probs


@contextmanager
def _dropping(head: nn.Module) -> Iterator[None]:
    """The dropout layers of the head are active inside. In evaluation mode, which ends it."""
    for module in head.modules():
        if isinstance(module, _DropoutNd):
            module.train()
    yield


@torch.no_grad()
def _predicted(
    network: Network, reader: ImageReader, images: Dataset, extras: Mapping[str, NDArray[Any]]
) -> NDArray[np.float32]:
    """[N]"""
    module = restored_loss_module(extras).to(network.mean.device)
    found = [np.zeros(0, np.float32)]
    with phase("loss prediction", total=len(images)) as step, evaluating(network), block_outputs(network) as blocks:
        for batch in reader.batches(images, BATCH):
            blocks.clear()
            network(batch)
            found.append(predicted_losses(module, blocks).cpu().numpy())
            step(len(batch))
    return np.concatenate(found)


def _against_labels(
    network: Network,
    reader: ImageReader,
    images: Dataset,
    signals: frozenset[Signal],
    spec: ClassifierSpec,
    labels: KnownLabels,
    seed: int,
) -> Columns:
    found = Columns()
    if asked := signals & INFLUENCES:
        influence = ClassifierInfluence(
            network,
            reader,
            labeled=labels.labeled,
            reference=labels.reference(spec.influences.reference),
            spec=spec.influences,
        )
        found |= influence.of(images, asked)
    if Signal.ERROR_PROBABILITY in signals:
        found[Signal.ERROR_PROBABILITY] = error_probability(network, reader, images, labels.val, seed)
    if Signal.POOL_PROBABILITY in signals:
        found[Signal.POOL_PROBABILITY] = pool_probability(network, reader, images, labels.labeled, seed)
    return found
