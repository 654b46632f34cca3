"""The classifiers' networks against torchvision's own models and the numbers that are known of them."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
import yaml
from torch import nn

from al_cli.errors import ConfigError, ModelError
from al_cli.learners.classifier.images import statistics
from al_cli.learners.classifier.networks import build
from al_cli.learners.classifier.spec import RESNETS, ClassifierSpec
from al_cli.learners.classifier.weights import _renamed


def spec(network, **settings):
    return ClassifierSpec(network, network, **{"stem": "imagenet", **settings}).check()


@pytest.mark.parametrize("network", ["tiny_cnn", "resnet18", "vgg16", "resnet50"])
def test_a_models_file_has_every_setting_that_does_something(network):
    """`influence` has its own page, and only ResNets have another first layer."""
    path = Path(__file__).parents[3] / "conf" / "model" / f"{network}.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]
    expected = {field.name for field in fields(ClassifierSpec)} - {"influence"}
    assert set(settings) == expected - (set() if network in RESNETS else {"stem"})
    made = ClassifierSpec(**settings).check()
    assert made.network == made.name == network


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    "network, settings, classes, channels, known",
    [
        ("resnet18", {}, 10, 3, 11_181_642),
        ("resnet18", {"stem": "small"}, 10, 3, 11_173_962),
        ("resnet18", {"stem": "small"}, 10, 1, 11_173_962 - 2 * 64 * 9),
        ("vgg16", {}, 1000, 3, 138_357_544),
        ("resnet50", {}, 1000, 3, 25_557_032),
        ("resnet50", {}, 1000, 11, 25_557_032 + 8 * 64 * 49),
        # two more linear layers with their biases and the two numbers of each of their batch normalizations
        ("resnet50", {"hidden": [2048, 512]}, 4, 3, 23_508_032 + 2048 * 2051 + 512 * 2051 + 513 * 4),
        ("tiny_cnn", {}, 10, 3, 648 + 10_368 + 41_472 + 2 * (24 + 48 + 96) + 970),
    ],
)
def test_parameters_are_as_many_as_is_known(network, settings, classes, channels, known):
    with torch.device("meta"):  # shapes without numbers
        assert parameters(build(spec(network, **settings), classes, channels)) == known


@pytest.mark.parametrize(
    "network, side, maps",
    [
        ("resnet18", 64, [(64, 16), (128, 8), (256, 4), (512, 2)]),
        ("vgg16", 64, [(64, 32), (128, 16), (256, 8), (512, 4), (512, 2)]),
        ("resnet50", 64, [(256, 16), (512, 8), (1024, 4), (2048, 2)]),
        ("tiny_cnn", 8, [(24, 4), (48, 2), (96, 2)]),
        ("tiny_cnn", 32, [(24, 16), (48, 8), (96, 8)]),
    ],
)
def test_blocks_are_the_modules_whose_maps_are_read(network, side, maps):
    with torch.device("meta"):
        made = build(spec(network), 5, 3).eval()
        seen = []
        for name in made.blocks:
            made.get_submodule(name).register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape)))
        x = torch.zeros(2, 3, side, side)
        assert made(x).shape == (2, 5)
        assert seen == [(2, width, px, px) for width, px in maps]
        assert made.penultimate(x).shape == (2, made.linear_layers[-1].in_features)


def test_the_small_stem_keeps_the_size_of_small_images():
    with torch.device("meta"):
        made = build(spec("resnet18", stem="small"), 5, 3)
        seen = []
        made.get_submodule("trunk.layer1").register_forward_hook(lambda module, args, out: seen.append(out.shape[-1]))
        made(torch.zeros(2, 3, 32, 32))
    assert seen == [32]


def test_with_torchvisions_weights_a_network_gives_torchvisions_logits():
    torch.manual_seed(0)
    stock = torchvision.models.resnet18(num_classes=7).eval()
    ours = build(spec("resnet18", normalize="imagenet"), 7, 3).eval()
    ours.load_state_dict(_renamed(stock.state_dict(), "resnet18"), strict=False)
    x = torch.rand(2, 3, 48, 48)
    normalize = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.inference_mode():
        expected, found = stock(normalize(x)), ours(x)
        assert torch.allclose(ours.linear_layers[-1](ours.penultimate(x)), found)
    assert torch.allclose(found, expected, atol=1e-5) and found.std() > 0


def test_the_groups_of_vgg16_are_torchvisions_layers():
    """Layer for layer, of the same kind and shape."""
    with torch.device("meta"):
        stock, ours = torchvision.models.vgg16(), build(spec("vgg16"), 1000, 3)
    theirs = [repr(layer) for layer in stock.modules() if not list(layer.children())]
    mine = [repr(layer) for layer in ours.modules() if not list(layer.children()) and not isinstance(layer, nn.Flatten)]
    # those of the head write a new tensor: what goes into them is read too
    assert mine == theirs[:33] + [text.replace("inplace=True", "") for text in theirs[33:]]


def test_linear_layers_are_the_last_three_at_most():
    with torch.device("meta"):
        assert [layer.out_features for layer in build(spec("vgg16"), 9, 3).linear_layers] == [4096, 4096, 9]
        assert [layer.out_features for layer in build(spec("resnet18"), 9, 3).linear_layers] == [9]
        deep = build(spec("tiny_cnn", hidden=[8, 7, 6]), 9, 3)
    assert [layer.out_features for layer in deep.linear_layers] == [7, 6, 9]
    assert deep.head[-1] is deep.linear_layers[-1]


@pytest.mark.parametrize(
    "network, settings, kinds",
    [
        ("tiny_cnn", {}, "L"),
        ("tiny_cnn", {"dropout": 0.2}, "DL"),
        ("tiny_cnn", {"hidden": [6, 5]}, "LBRLBRL"),
        ("resnet50", {"hidden": [6, 5], "dropout": 0.2}, "LBRDLBRDL"),
        ("vgg16", {}, "LRDLRDL"),
        ("vgg16", {"hidden": [5]}, "LBRDL"),
    ],
)
def test_the_layers_of_a_head(network, settings, kinds):
    letters = {nn.Linear: "L", nn.BatchNorm1d: "B", nn.ReLU: "R", nn.Dropout: "D"}
    chosen = spec(network, **settings)
    with torch.device("meta"):
        head = build(chosen, 3, 3).head
    assert "".join(letters[type(layer)] for layer in head) == kinds
    rates = {layer.p for layer in head if isinstance(layer, nn.Dropout)}
    assert rates == ({settings.get("dropout", 0.5)} if "D" in kinds else set())
    assert chosen.has_dropout == bool(rates)


def test_a_frozen_trunk_neither_learns_nor_follows_the_images():
    torch.manual_seed(0)
    network = build(spec("tiny_cnn", freeze=True, weights="FILE", hidden=[4]), 3, 1).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    nn.functional.cross_entropy(network(torch.rand(6, 1, 8, 8)), torch.arange(6) % 3).backward()
    optimizer.step()
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert changed and all(key.startswith("head.") for key in changed)
    assert "head.norm1.running_mean" in changed  # the head's own normalization does follow
    assert network.head.training and not network.trunk.training and not network.eval().head.training


def test_equal_seeds_draw_equal_weights_and_convolutions_as_he_et_al():
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(build(spec("tiny_cnn", hidden=[64]), 3, 3).state_dict())
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])
    assert not torch.equal(made[0]["trunk.block2.0.weight"], made[2]["trunk.block2.0.weight"])
    assert made[0]["trunk.block3.0.weight"].std().item() == pytest.approx(np.sqrt(2 / (96 * 9)), rel=0.02)
    assert made[0]["head.linear1.weight"].std().item() == pytest.approx(np.sqrt(2 / 96), rel=0.05)


def test_pixels_are_normalised_inside_and_the_numbers_are_part_of_the_state():
    torch.manual_seed(0)
    network = build(spec("tiny_cnn"), 3, 3).eval()
    assert not network.normalized
    x = torch.rand(2, 3, 8, 8)
    plain = network(x)
    mean, deviation = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([2.0, 4.0, 0.5]).view(3, 1, 1)
    network.normalize_by(mean, deviation)
    assert network.normalized and torch.allclose(network(x * deviation + mean), plain, atol=1e-5)
    assert torch.equal(network.state_dict()["mean"], mean)


def test_imagenets_numbers_are_of_rgb_and_grey_has_their_mean():
    rgb, grey, bands = (build(spec("tiny_cnn", normalize="imagenet"), 3, channels) for channels in (3, 1, 11))
    assert torch.allclose(rgb.mean.flatten(), torch.tensor([0.485, 0.456, 0.406])) and rgb.normalized
    assert grey.mean.item() == pytest.approx(1.347 / 3) and grey.deviation.item() == pytest.approx(0.678 / 3)
    assert not bands.normalized and build(spec("tiny_cnn", normalize="none"), 3, 11).normalized


def test_numbers_that_are_given_are_one_a_channel():
    given = {"mean": [0.5, 0.4, 0.3], "deviation": [0.2, 0.2, 0.1]}
    network = build(spec("tiny_cnn", normalize=given), 3, 3)
    assert network.normalized and network.mean.flatten().tolist() == pytest.approx([0.5, 0.4, 0.3])
    with pytest.raises(ConfigError, match=r"model\.normalize has 3 channel"):
        build(spec("tiny_cnn", normalize=given), 3, 1)
    with pytest.raises(ConfigError, match=r"normalize\.mean must be a number that is finite"):
        spec("tiny_cnn", normalize=given | {"mean": [0.5, 0.4, "a"]})


def test_images_too_small_for_five_poolings_are_refused_in_a_sentence():
    with pytest.raises(ConfigError, match=r"vgg16 halves an image five times .*model\.image_size=31"):
        spec("vgg16", image_size=31)
    assert spec("vgg16", image_size=32) and spec("tiny_cnn", image_size=1)
    with torch.device("meta"):
        network = build(spec("vgg16"), 3, 3)
        assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
        with pytest.raises(ModelError, match=r"images of 28 x 40 px are too small .*model.image_size=32"):
            network(torch.zeros(1, 3, 40, 28))


@pytest.mark.parametrize("channels, side", [(1, 8), (3, 32)])
def test_tiny_cnn_learns_small_images(channels, side):
    """Stripes that lie or stand, in noise, from 32 examples in 12 steps."""
    torch.manual_seed(0)
    y = torch.arange(64) % 2
    stripes = (torch.arange(side) % 2 * 0.4).expand(side, side)
    x = torch.stack([stripes.T if label else stripes for label in y])[:, None] + 0.6 * torch.rand(
        64, channels, side, side
    )
    network = build(spec("tiny_cnn"), 2, channels).train()
    network.normalize_by(*statistics([x[:32]]))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for _ in range(12):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x[:32]), y[:32]).backward()
        optimizer.step()
    with torch.inference_mode():
        assert (network.eval()(x[32:]).argmax(1) == y[32:]).float().mean() > 0.9
