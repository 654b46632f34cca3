"""What a network says of images in one pass: probabilities, features, activations. Trains nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from al_cli.learners.classifier.images import ImageReader
from al_cli.learners.classifier.networks import Network
from al_cli.progress import phase
from al_cli.types import Dataset, Predictions, Signal

OF_THE_PASS = frozenset({Signal.PROBS, Signal.BOX_FEATURES, Signal.IMAGE_FEATURES, Signal.LAYER_ACTIVATIONS})
BATCH = 64  # images a pass; no setting, for last digits depend on it


def classes_of(images: Dataset) -> NDArray[np.int64]:
    """[N] the class of each image."""
    return np.array([image.classes[0] for image in images.images], dtype=np.int64)


def read_pass(
    network: Network, reader: ImageReader, images: Dataset, signals: frozenset[Signal]
) -> tuple[NDArray[np.float32], dict[Signal, NDArray[np.float32]]]:
    """Logits [N, C], and a column for each of `signals` but PROBS, all of them OF_THE_PASS. No image gives empty columns."""
    layers = network.linear_layers
    sizes = {Signal.BOX_FEATURES: (layers[-1].in_features,), Signal.LAYER_ACTIVATIONS: (len(layers), 2)}
    sizes[Signal.IMAGE_FEATURES] = sizes[Signal.BOX_FEATURES]
    wanted = {signal: np.zeros((len(images), *sizes[signal]), np.float32) for signal in signals - {Signal.PROBS}}
    logits = np.zeros((len(images), layers[-1].out_features), np.float32)
    at = 0
    with phase("infer", total=len(images)) as step:
        for x, vectors, activations in _forward(network, reader, images):
            rows = slice(at, at + len(x))
            logits[rows] = x.cpu().numpy()
            for signal, column in wanted.items():
                column[rows] = (activations if signal == Signal.LAYER_ACTIVATIONS else vectors).cpu().numpy()
            at += len(x)
            step(len(x))
    return logits, wanted


@torch.no_grad()
def _forward(network: Network, reader: ImageReader, images: Dataset) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Logits [B, C], the input [B, P] of the last linear layer, mean and largest activation [B, L, 2] of the linear layers."""
    network.eval()
    given: list[Tensor] = []
    put_out: list[Tensor] = []

    def look(_layer: Any, args: tuple[Tensor], output: Tensor) -> None:
        given.append(args[0])
        put_out.append(torch.stack([output.mean(1), output.amax(1)], dim=1))

    handles = [layer.register_forward_hook(look) for layer in network.linear_layers]
    try:
        for batch in reader.batches(images, BATCH):
            given.clear()
            put_out.clear()
            logits = network(batch)
            yield logits.float(), given[-1].float(), torch.stack(put_out, dim=1).float()
    finally:
        for handle in handles:
            handle.remove()


def as_predictions(
    images: Dataset,
    logits: NDArray[np.float32],
    signals: frozenset[Signal],
    columns: Mapping[Signal, NDArray[Any]],
) -> Predictions:
    """One row an image, as `Predictions.of_classes` has it, with the columns that are asked for."""
    probs = torch.from_numpy(logits).softmax(dim=1).numpy()
    sizes = [(image.width, image.height) for image in images.images]
    own = {Signal.PROBS: probs} if Signal.PROBS in signals else {}
    return Predictions.of_classes(images.ids, sizes, probs, own | dict(columns))


def mean_cross_entropy(logits: NDArray[np.float32], classes: NDArray[np.int64]) -> float:
    """The mean cross-entropy of images with these classes."""
    return float(cross_entropy(torch.from_numpy(logits), torch.from_numpy(classes)))


@torch.no_grad()
def losses_alone(network: Network, reader: ImageReader, images: Dataset) -> NDArray[np.float64]:
    """[N] cross-entropy of each image, one at a time: the same to the bit whatever others are asked about."""
    network.eval()
    found = np.zeros(len(images), np.float64)
    with phase("loss", total=len(images)) as step:
        for i, (x, true) in enumerate(zip(reader.batches(images, 1), classes_of(images), strict=True)):
            found[i] = -network(x).double().log_softmax(dim=1)[0, int(true)].item()
            step(1)
    return found
