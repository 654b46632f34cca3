"""Small classifiers in double precision, and images that are no files: what signals of classifiers are tested on."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from al_cli.learners.classifier.networks import Network
from al_cli.types import Dataset, Image


class ToyReader:
    """Stands for an ImageReader: images by their id."""

    def __init__(self, pixels: Mapping[int, Tensor]):
        self.pixels = dict(pixels)
        self.read = 0

    def batches(self, dataset, batch_size):
        for at in range(0, len(dataset), batch_size):
            yield self.batch(dataset.images[at : at + batch_size], None, flip=False, crop_px=None)

    def batch(self, images, rng, flip, crop_px):
        assert rng is None and not flip and crop_px is None
        self.read += len(images)
        return torch.stack([self.pixels[image.id] for image in images])


def images_of(ids, classes, number: int) -> Dataset:
    """Images of these ids and classes, one each; the data has `number` classes."""
    made = [
        Image(int(i), Path(f"{i}.png"), 4, 4, [[0, 0, 4, 4]], [int(c)], content=f"{i}/{c}")
        for i, c in zip(ids, classes, strict=True)
    ]
    return Dataset(tuple(map(str, range(number))), tuple(made))


def softmax_regression(inputs: int, classes: int) -> Network:
    """Logits that are linear in the `inputs` pixels of an image [inputs, 1, 1]."""
    head = nn.Sequential(OrderedDict(last=nn.Linear(inputs, classes)))
    return Network(nn.Flatten(), head, (), inputs).double().eval()


def convolutional(classes: int = 3, dropout: float = 0.4) -> Network:
    """Two blocks with batch normalization that has statistics, and a head of two linear layers with dropout between."""
    torch.manual_seed(0)
    trunk = nn.Sequential(
        OrderedDict(
            one=nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
            two=nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True)),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
        )
    )
    head = nn.Sequential(
        OrderedDict(
            linear1=nn.Linear(6, 8), relu1=nn.ReLU(), dropout1=nn.Dropout(dropout), norm1=nn.BatchNorm1d(8),
            last=nn.Linear(8, classes),
        )
    )  # fmt: skip
    network = Network(trunk, head, ("trunk.one", "trunk.two"), 2).double().train()
    with torch.no_grad():
        network(torch.rand(16, 2, 6, 6, dtype=torch.float64))
        for parameter in network.parameters():
            parameter.mul_(2)
    return network.eval()


def pictures(count: int, seed: int, shape=(2, 6, 6)) -> dict[int, Tensor]:
    """Of ids 0..count-1."""
    rng = np.random.default_rng(seed)
    return {i: torch.from_numpy(rng.random(shape)) for i in range(count)}
