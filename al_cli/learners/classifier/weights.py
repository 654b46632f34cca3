"""Starting weights of a classifier: published ones or a file's, put into a network layer by layer, or one error that says why
not. Nothing in a file is run."""

from __future__ import annotations

import hashlib
import logging
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision.models import ResNet18_Weights, ResNet50_Weights, VGG16_Weights

from al_cli.errors import ModelError
from al_cli.learners.classifier.networks import VGG_GROUPS, Network, hidden_widths
from al_cli.learners.classifier.spec import ClassifierSpec
from al_cli.learners.pytorch.pickled import CLASSES, read_tensors, refusal
from al_cli.progress import phase
from al_cli.system import unfinished

log = logging.getLogger("al")
# The first that were published: those that `pretrained` meant to the documents' programs, of 2021 and before.
PUBLISHED: dict[str, Any] = {
    "resnet18": ResNet18_Weights.IMAGENET1K_V1,
    "vgg16": VGG16_Weights.IMAGENET1K_V1,
    "resnet50": ResNet50_Weights.IMAGENET1K_V1,
}
_CONNECT_S, _STALL_S = 5, 30  # as for Detectron2's weights
_CHUNK = 2**20


class _Found(NamedTuple):
    """A file of weights, under the names that `Network` has, and what its classes are called, where al wrote it."""

    path: Path
    state: dict[str, Tensor]
    named: list[str] | None


def load_starting_weights(network: Network, spec: ClassifierSpec, class_names: Sequence[str] | None = None) -> None:
    """Put what `spec.weights` names into the network; nothing for `none`. One log line says what keeps its drawn values.

    The trunk must fit whole. Its first layer is adapted to images that are not RGB. The head's last layer is kept with
    `outputs` kept, and where a checkpoint of al has these `class_names`; the layers before it where they fit. A checkpoint
    of al brings the mean and deviation of its pixels. ModelError names the layer that does not fit.
    """
    if spec.weights == "none":
        return
    path, theirs, named = _read(spec)
    ours = network.state_dict()
    first = next(key for key in ours if key.startswith("trunk.") and key.endswith("weight"))
    if first in theirs:
        theirs[first] = _of_channels(theirs[first], ours[first].shape[1])
    taken = _fitting_trunk(ours, theirs, str(path), spec)
    taken |= _fitting_head(ours, theirs, str(path), spec, named, class_names)
    if all(key in theirs and theirs[key].shape == ours[key].shape for key in ("mean", "deviation")):
        network.normalize_by(theirs["mean"], theirs["deviation"])
    network.load_state_dict(taken, strict=False)
    drawn = {key.rpartition(".")[0] for key in ours if key.startswith("head.") and key not in taken}
    if drawn:
        log.info("%s: the head's %s drawn from the seed", path.name, ", ".join(sorted(key[5:] for key in drawn)))


def require_outputs(spec: ClassifierSpec, class_names: Sequence[str]) -> None:
    """ModelError where the starting weights are no whole classifier of these classes, in this order, so that they cannot
    choose the first images (initial=0). Downloads nothing. Drawn weights (`none`) may: nobody takes them for trained."""
    if spec.weights == "none":
        return
    count, named, widths = _outputs(spec)
    own = spec.weights != "imagenet" and named is not None
    what = remedy = None
    if count != len(class_names):
        what = f"these weights know {count} classes and the dataset has {len(class_names)}"
        remedy = "give model.weights trained on the dataset's classes, or model.weights=none"
    elif own and widths != hidden_widths(spec):
        what = (
            f"these weights have hidden layers of {list(widths)} in their head, and model.hidden is {list(spec.hidden)}"
        )
        remedy = "give model.hidden as the weights have it"
    elif not own and spec.outputs != "kept":
        what, remedy = "the last layer would be drawn from the seed", "add model.outputs=kept"
    elif wrong := [*_misplaced(class_names, named or (), of_al=own)]:
        number, theirs, name = wrong[0]
        what = f"class {number} is {theirs} in these weights and {name} here"
        remedy = "order the dataset's classes as the weights do"
    if what is not None:
        raise ModelError(
            f"{what}, so these weights cannot choose the first images",
            where=f"initial=0 model.weights={spec.weights}",
            remedy=f"{remedy}, or set initial of at least 1",
        )


def require_kept_outputs(spec: ClassifierSpec, class_names: Sequence[str]) -> None:
    """ModelError where `outputs` are kept and the weights have another number of them. Downloads nothing."""
    if spec.outputs != "kept":
        return
    count, *_ = _outputs(spec)
    if count != len(class_names):
        raise ModelError(
            f"these weights know {count} classes and the dataset has {len(class_names)}, so their outputs cannot be kept",
            where=f"model.outputs=kept model.weights={spec.weights}",
            remedy="set model.outputs=new for a last layer of the dataset's classes, or give other weights",
        )


def _outputs(spec: ClassifierSpec) -> tuple[int, Sequence[str] | None, tuple[int, ...]]:
    """How many classes the weights have, what they are called, and the widths of the layers before their last one."""
    if spec.weights == "imagenet":
        named: list[str] = PUBLISHED[spec.network].meta["categories"]
        return len(named), named, hidden_widths(spec)
    found = _read(spec)
    hidden = [key for key in found.state if key.startswith("head.linear") and key.endswith("bias")]
    return len(found.state.get("head.last.bias", ())), found.named, tuple(len(found.state[key]) for key in hidden)


def _misplaced(class_names: Sequence[str], named: Sequence[str], *, of_al: bool) -> Iterator[tuple[int, str, str]]:
    """Classes that stand elsewhere than in the weights: number, name there, name here. Of others' weights only where a name
    says so, a number or one of the weights' own names: who calls ImageNet's classes by WordNet's cannot be checked."""
    place = {name: number for number, name in enumerate(named)} | {str(number): number for number in range(len(named))}
    for number, (theirs, name) in enumerate(zip(named, class_names, strict=False)):
        if theirs != name and (of_al or place.get(name, number) != number):
            yield number, theirs, name


def published_file(spec: ClassifierSpec) -> Path:
    """Where torch keeps the weights that torchvision publishes for this network, whether they are there or not."""
    return Path(torch.hub.get_dir()) / "checkpoints" / _url(spec).rpartition("/")[2]


def _url(spec: ClassifierSpec) -> str:
    url: str = PUBLISHED[spec.network].url
    return url


def _read(spec: ClassifierSpec) -> _Found:
    """ModelError, with the reason, for a file that holds no weights."""
    path = _downloaded(spec) if spec.weights == "imagenet" else Path(spec.weights).expanduser()
    remedy = "give a checkpoint written by al, or the state dict of torchvision's model"
    try:
        data = read_tensors(path)
    except Exception as error:  # broken bytes can raise anything
        raise ModelError(f"the weights cannot be read: {refusal(error)}", where=str(path), remedy=remedy) from error
    data = data if isinstance(data, dict) else {}
    state, named = data.get("model", data), data.get(CLASSES)
    tensors = isinstance(state, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    if not tensors or not state:
        raise ModelError("this file holds no weights", where=str(path), remedy=remedy)
    return _Found(path, _renamed(state, spec.network), named if isinstance(named, list) else None)


def _downloaded(spec: ClassifierSpec) -> Path:
    """The published file, from torch's cache or fetched into it. The first digits of its SHA-256 stand in its name."""
    path, url = published_file(spec), _url(spec)
    digest = path.stem.rpartition("-")[2]
    if not path.is_file():
        log.info("downloading %s", url)
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_CONNECT_S).close()
            path.parent.mkdir(parents=True, exist_ok=True)
            _fetch(url, path)
        except (OSError, ValueError, HTTPException) as error:
            raise ModelError(
                f"the weights {path.name} cannot be downloaded: {getattr(error, 'reason', error)}",
                where=url,
                remedy=f"fetch that file on another machine and put it into {path.parent}, or name it: model.weights=FILE",
            ) from error
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(digest):
        raise ModelError(
            f"this is not the file that torchvision publishes: its SHA-256 begins with {found[:8]}",
            where=str(path),
            remedy=f"delete it, and fetch {url}",
        )
    return path


def _fetch(url: str, path: Path) -> None:
    with urllib.request.urlopen(url, timeout=_STALL_S) as answer, unfinished(path) as draft, draft.open("wb") as file:
        size = int(answer.headers.get("Content-Length") or 0)
        with phase(f"download {path.name}", total=-(-size // _CHUNK), unit="MiB") as step:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                step()


def _renamed(state: Mapping[str, Tensor], network: str) -> dict[str, Tensor]:
    """torchvision's names as `Network` has them; al's own as they are."""
    if any(key.startswith("trunk.") for key in state):
        return dict(state)
    if network == "vgg16":
        layers = [f"block{g}.{n}" for g, group in enumerate(VGG_GROUPS, 1) for n in range(2 * len(group) + 1)]
        names = {f"features.{n}": f"trunk.{layer}" for n, layer in enumerate(layers)}
        names |= {"classifier.0": "head.linear1", "classifier.3": "head.linear2", "classifier.6": "head.last"}
    else:
        names = {"fc": "head.last"}
    renamed = {}
    for key, value in state.items():
        layer, _, what = key.rpartition(".")
        renamed[f"{names[layer]}.{what}" if layer in names else f"trunk.{key}"] = value
    return renamed


def _of_channels(weight: Tensor, channels: int) -> Tensor:
    """The first layer [out, 3, k, k] for so many channels. One: their sum, so that a grey image gets the answer that it would
    get as RGB. More than three: the further ones have the first's, as in FSDL's program; its text does not say."""
    if weight.ndim != 4 or weight.shape[1] != 3 or channels == 3:
        return weight
    if channels == 1:
        return weight.sum(1, keepdim=True)
    return torch.cat([weight, weight[:, :1].expand(-1, max(channels - 3, 0), -1, -1)], 1)[:, :channels]


def _fitting_trunk(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], where: str, spec: ClassifierSpec
) -> dict[str, Tensor]:
    remedy = (
        f"these weights belong to another model than model.network={spec.network}: choose that one, or other weights"
    )
    for key in [key for key in theirs if key.startswith("trunk.") and key not in ours]:
        raise ModelError(f"{spec.network} has no layer {_layer(key)}, and the weights do", where=where, remedy=remedy)
    taken = {}
    for key, value in ours.items():
        if not key.startswith("trunk."):
            continue
        if key not in theirs:
            if key.endswith("num_batches_tracked"):  # older files have no such counters
                continue
            raise ModelError(f"the weights have no layer {_layer(key)}", where=where, remedy=remedy)
        if theirs[key].shape != value.shape:
            shapes = f"{tuple(theirs[key].shape)} in the weights and {tuple(value.shape)} here"
            stem = _layer(key) == "conv1" and theirs[key].shape[2:] != value.shape[2:]
            other = "small" if spec.stem == "imagenet" else "imagenet"
            better = f"they have another first layer: model.stem={other}" if stem else remedy
            raise ModelError(f"layer {_layer(key)} is {shapes}", where=where, remedy=better)
        taken[key] = theirs[key]
    return taken


def _fitting_head(
    ours: Mapping[str, Tensor],
    theirs: Mapping[str, Tensor],
    where: str,
    spec: ClassifierSpec,
    named: Sequence[str] | None,
    class_names: Sequence[str] | None,
) -> dict[str, Tensor]:
    """What of the head is taken: all, all but the last layer, or nothing, where its layers are others."""
    shapes, found = ({key: value.shape for key, value in state.items() if _in_head(key)} for state in (ours, theirs))
    last = {"head.last.weight", "head.last.bias"}
    kept = spec.outputs == "kept" or (named is not None and list(named) == list(class_names or named))
    if kept and shapes == found:
        return {key: theirs[key] for key in shapes}
    if spec.outputs == "kept":
        key = next(key for key in [*found, *shapes] if shapes.get(key) != found.get(key))
        there, here = (tuple(some[key]) if key in some else "missing" for some in (found, shapes))
        raise ModelError(
            f"layer {_layer(key)} is {there} in the weights and {here} here, so their outputs cannot be kept",
            where=where,
            remedy="set model.outputs=new for a last layer of the dataset's classes, or give other weights",
        )
    before = {key: shape for key, shape in shapes.items() if key not in last}
    same = before == {key: shape for key, shape in found.items() if key not in last}
    return {key: theirs[key] for key in before} if same else {}


def _in_head(key: str) -> bool:
    return key.startswith("head.") and not key.endswith("num_batches_tracked")


def _layer(key: str) -> str:
    name = key.removeprefix("trunk.")
    return name.rpartition(".")[0] or name
