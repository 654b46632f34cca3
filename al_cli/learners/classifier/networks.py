"""The networks that classify images: a trunk that makes a vector of an image, and a head that makes logits of the vector.

ResNets are torchvision's, with another first layer where the images ask for one (He et al., 2016). VGG-16 is 13
convolutions in five groups and 3 linear layers (Simonyan and Zisserman, 2015; configuration D). tiny_cnn is al's own. Knows
neither files nor labels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchvision.models import resnet18, resnet50

from al_cli.errors import ConfigError, ModelError
from al_cli.learners.classifier.spec import RESNETS, VGG_SMALLEST, ClassifierSpec

TINY_WIDTHS = (24, 48, 96)
VGG_GROUPS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
VGG_HIDDEN = (4096, 4096)
VGG_DROPOUT = 0.5
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class Network(nn.Module):
    """Logits [B, C] of images [B, K, H, W] in 0..1.

    `trunk`   [B, K, H, W], normalised, to [B, D], pooled and flat
    `head`    [B, D] to [B, C]; its last module is the last linear layer
    `blocks`  names of the modules whose outputs [B, c, h, w] loss prediction reads
    `mean`, `deviation`   [K, 1, 1] of the pixels; part of the state
    `normalized`   False while `mean` and `deviation` are still to be measured on the images of the first training

    With `freeze` the head alone trains: the trunk's parameters have no gradient, and its batch normalisation keeps its
    statistics in training, too.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        trunk: nn.Module,
        head: nn.Sequential,
        blocks: Sequence[str],
        channels: int,
        *,
        freeze: bool = False,
        smallest_px: int = 1,
    ):
        super().__init__()
        self.trunk, self.head, self.blocks = trunk, head, tuple(blocks)
        self.freeze, self.smallest_px, self.normalized = freeze, smallest_px, True
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("deviation", torch.ones(channels, 1, 1))
        if freeze:
            trunk.requires_grad_(False)

    def features(self, x: Tensor) -> Tensor:
        """The vectors [B, D] that the head is given."""
        if min(x.shape[-2:]) < self.smallest_px:
            raise ModelError(
                f"images of {x.shape[-1]} x {x.shape[-2]} px are too small for this network",
                remedy=f"set model.image_size={self.smallest_px} or more, or take another model",
            )
        pooled: Tensor = self.trunk((x - self.mean) / self.deviation)
        return pooled

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits

    def penultimate(self, x: Tensor) -> Tensor:
        """What the last linear layer is given, [B, P]."""
        vectors: Tensor = self.head[:-1](self.features(x))
        return vectors

    @property
    def linear_layers(self) -> tuple[nn.Linear, ...]:
        """The last linear layers of the head, at most three, in order (FSDL 4.4)."""
        return tuple(layer for layer in self.head if isinstance(layer, nn.Linear))[-3:]

    def train(self, mode: bool = True) -> Network:
        super().train(mode)
        if self.freeze:
            self.trunk.eval()
        return self

    @torch.no_grad()
    def normalize_by(self, mean: Tensor, deviation: Tensor) -> None:
        """Subtract this mean of each channel and divide by this deviation from now on, [K, 1, 1] each."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)
        self.normalized = True


def build(spec: ClassifierSpec, classes: int, channels: int) -> Network:
    """The network of this spec for so many classes and channels. Its weights are drawn from torch's global generator."""
    if spec.network in RESNETS:
        trunk, width = _resnet(spec, channels)
        blocks = [f"trunk.layer{n}" for n in (1, 2, 3, 4)]
    else:
        groups = VGG_GROUPS if spec.network == "vgg16" else tuple((width,) for width in TINY_WIDTHS)
        trunk, width = _vgg(channels) if spec.network == "vgg16" else _tiny(channels)
        blocks = [f"trunk.block{n}" for n in range(1, len(groups) + 1)]
    smallest = VGG_SMALLEST if spec.network == "vgg16" else 1
    network = Network(trunk, _head(spec, width, classes), blocks, channels, freeze=spec.freeze, smallest_px=smallest)
    _normalize(network, spec.normalize, channels)
    return network


def _normalize(network: Network, normalize: str | Mapping[str, Sequence[float]], channels: int) -> None:
    """ImageNet's numbers are of RGB: grey gets their mean, and other bands are measured as for `train`. ConfigError for
    numbers that were given for another number of channels."""
    if isinstance(normalize, Mapping):
        given = [torch.tensor(list(normalize[key])).view(-1, 1, 1) for key in ("mean", "deviation")]
        if len(given[0]) != channels:
            raise ConfigError(
                f"model.normalize has {len(given[0])} channel(s), and the images have {channels}",
                remedy="give one number a channel, or model.normalize=train",
            )
        network.normalize_by(*given)
    elif normalize == "imagenet" and channels in (1, 3):
        rgb = torch.tensor([IMAGENET_MEAN, IMAGENET_DEVIATION])
        mean, deviation = rgb.mean(1, keepdim=True).expand(2, channels) if channels == 1 else rgb
        network.normalize_by(mean.view(-1, 1, 1), deviation.view(-1, 1, 1))
    elif normalize != "none":
        network.normalized = False


def _resnet(spec: ClassifierSpec, channels: int) -> tuple[nn.Module, int]:
    stock = (resnet18 if spec.network == "resnet18" else resnet50)(weights=None, num_classes=1)
    parts = OrderedDict((name, module) for name, module in stock.named_children() if name != "fc")
    if spec.stem == "small":
        parts["conv1"] = _convolution(channels, 64, size=3)
        del parts["maxpool"]
    elif channels != 3:
        parts["conv1"] = _convolution(channels, 64, size=7, stride=2)
    parts["flat"] = nn.Flatten()
    return nn.Sequential(parts), stock.fc.in_features


def _vgg(channels: int) -> tuple[nn.Module, int]:
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    width = channels
    for number, group in enumerate(VGG_GROUPS, 1):
        layers: list[nn.Module] = []
        for out in group:
            layers += [_convolution(width, out, size=3, bias=True), nn.ReLU(inplace=True)]
            width = out
        parts[f"block{number}"] = nn.Sequential(*layers, nn.MaxPool2d(2))
    parts |= {"pool": nn.AdaptiveAvgPool2d((7, 7)), "flat": nn.Flatten()}
    return nn.Sequential(parts), width * 7 * 7


def _tiny(channels: int) -> tuple[nn.Module, int]:
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    width = channels
    for number, out in enumerate(TINY_WIDTHS, 1):
        layers: list[nn.Module] = [_convolution(width, out, size=3), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
        if number < len(TINY_WIDTHS):
            layers.append(nn.MaxPool2d(2, ceil_mode=True))  # an image of 1 px stays one
        parts[f"block{number}"] = nn.Sequential(*layers)
        width = out
    parts |= {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten()}
    return nn.Sequential(parts), width


def hidden_widths(spec: ClassifierSpec) -> tuple[int, ...]:
    """Widths of the head's linear layers before the last one."""
    return tuple(spec.hidden) or (VGG_HIDDEN if spec.network == "vgg16" else ())


def _head(spec: ClassifierSpec, width: int, classes: int) -> nn.Sequential:
    """Linear layers; after each but the last batch normalisation (if they are `hidden`), ReLU and dropout: FSDL's order, and
    without the first VGG's. A head of one layer has its dropout before it. Names are the same with and without dropout.
    """
    widths = hidden_widths(spec)
    rate = VGG_DROPOUT if spec.dropout is None and spec.network == "vgg16" else spec.dropout
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if rate is not None and not widths:
        parts["dropout"] = nn.Dropout(rate)
    for number, out in enumerate(widths, 1):
        parts[f"linear{number}"] = linear = nn.Linear(width, out)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        if spec.hidden:
            parts[f"norm{number}"] = nn.BatchNorm1d(out)
        parts[f"relu{number}"] = nn.ReLU()
        if rate is not None:
            parts[f"dropout{number}"] = nn.Dropout(rate)
        width = out
    parts["last"] = nn.Linear(width, classes)
    return nn.Sequential(parts)


def _convolution(channels: int, out: int, *, size: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """Drawn as He et al. (2015) draw it, padded so that stride 1 keeps the size."""
    layer = nn.Conv2d(channels, out, size, stride, padding=size // 2, bias=bias)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
