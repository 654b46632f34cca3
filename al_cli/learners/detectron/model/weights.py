"""Starting weights: found or downloaded by Detectron2's own means, or one error that says which file to put where."""

from __future__ import annotations

import logging
import socket
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from detectron2 import model_zoo
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.data import MetadataCatalog
from detectron2.utils.file_io import Detectron2Handler, PathManager
from iopath.common.file_io import get_cache_dir
from torch import nn

from al_cli.errors import ModelError, first_line
from al_cli.learners.pytorch.pickled import CLASSES, read_weights
from al_cli.learners.spec import ModelSpec, require_weights

log = logging.getLogger("al")
CONNECT_S = 5  # a host that does not answer for so long is unreachable
STALL_S = 30  # a download that brings nothing for so long has failed
ZOO_OF_COCO = ("COCO-Detection/", "COCO-InstanceSegmentation/")  # folders of the zoo: trained on COCO's 80 classes
CANNOT_CHOOSE = (  # the first images: what to do then
    "give model.weights of this model trained on the dataset's classes, or model.weights=none, or initial of at least 1"
)


def locate(spec: ModelSpec) -> Path | None:
    """The file with this model's starting weights, downloaded into Detectron2's cache if need be; None for `none`.

    ModelError where there is no such file, naming the URL to fetch and where to put it.
    """
    name = source(spec)
    if name is None:
        return None
    return _download(name) if name.startswith(("https://", "http://")) else Path(name).expanduser()


def source(spec: ModelSpec) -> str | None:
    """The file or address that this model's starting weights come from; None for `none`. Downloads nothing. ModelError where
    no file is there, or nobody publishes them."""
    if spec.weights == "none":
        return None
    require_weights(spec)
    name = _published(spec) if spec.weights == "zoo" else spec.weights
    if name.startswith(Detectron2Handler.PREFIX):
        name = Detectron2Handler.S3_DETECTRON2_PREFIX + name.removeprefix(Detectron2Handler.PREFIX)
    return name


def local_file(spec: ModelSpec) -> Path | None:
    """The file with this model's starting weights, where it lies here already."""
    name = source(spec)
    if name is None:
        return None
    path = _cached(name) if name.startswith(("https://", "http://")) else Path(name).expanduser()
    return path if path.is_file() else None


def require_classes(spec: ModelSpec, class_names: Sequence[str]) -> None:
    """ModelError where the starting weights are no detector's, or a detector's of other classes than these, in this order. A
    warning where nobody has written down which classes they have."""
    name = source(spec)
    if name is None:
        return
    where, remedy = f"initial=0 model.weights={spec.weights}", CANNOT_CHOOSE
    if name.startswith(Detectron2Handler.S3_DETECTRON2_PREFIX + "ImageNetPretrained/"):
        what = "these weights hold no detector head, so they cannot choose the first images"
        raise ModelError(what, where=where, remedy=remedy)
    named = _named_classes(name, local_file(spec))
    if named is None:
        log.warning("%s does not say which classes its detector has: only their number could be checked", name)
    elif tuple(named) != tuple(class_names):
        pairs = enumerate(zip_longest(named, class_names))
        number, (theirs, ours) = next(pair for pair in pairs if pair[1][0] != pair[1][1])
        what = (
            f"these weights know {len(named)} classes and the dataset has {len(class_names)}; class {number} is "
            f"{theirs or 'none'} there and {ours or 'none'} here, so they cannot choose the first images"
        )
        raise ModelError(what, where=where, remedy=remedy)


def _named_classes(name: str, path: Path | None) -> Sequence[str] | None:
    """What the classes of these weights are called: in al's checkpoints, and in the zoo's that were trained on COCO."""
    if name.startswith(tuple(Detectron2Handler.S3_DETECTRON2_PREFIX + kind for kind in ZOO_OF_COCO)):
        return list(MetadataCatalog.get("coco_2017_val").thing_classes)
    found = None if path is None or path.suffix == ".pkl" else read_weights(path).get(CLASSES)
    return found if isinstance(found, list) else None


def _published(spec: ModelSpec) -> str:
    try:
        return model_zoo.get_checkpoint_url(str(spec.config))
    except RuntimeError as error:
        raise ModelError(
            f"Detectron2 publishes no trained weights for {spec.config}",
            where="model.weights=zoo",
            remedy="start from ImageNet (model.weights=detectron2://ImageNetPretrained/MSRA/R-50.pkl for a ResNet-50), "
            "from the seed with model.weights=none, or give a file",
        ) from error


def _download(url: str) -> Path:
    """Detectron2's cached copy of the URL, fetched now where there is none. Fails in seconds without a network."""
    cached = _cached(url)
    if cached.is_file():
        return cached
    log.info("downloading %s", url)
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=CONNECT_S).close()
        with _socket_timeout(STALL_S):
            return Path(PathManager.get_local_path(url))
    except (OSError, ValueError, HTTPException) as error:  # the last two for what is no address
        raise ModelError(
            f"the starting weights cannot be downloaded: {getattr(error, 'reason', error)}",
            where=url,
            remedy=f"fetch that file on another machine and put it at {cached}, or name it with "
            f"model.weights=/path/to/{cached.name}; model.weights=none starts without",
        ) from error


def _cached(url: str) -> Path:
    """Where Detectron2 keeps what it has downloaded from this address."""
    return Path(get_cache_dir()) / urlparse(url).path.lstrip("/")


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    former = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(former)


class _QuietCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer, keeping what did not fit instead of one warning for each tensor, and reading files so that
    nothing in them runs."""

    def _load_file(self, filename: str) -> dict[str, Any]:
        return read_weights(Path(filename))

    def _log_incompatible_keys(self, incompatible: Any) -> None:
        self.incompatible = incompatible


def load_weights(model: nn.Module, path: Path, whole: bool = False) -> None:
    """Every tensor of `path` that fits goes into the model; one log line names the parts that keep their drawn values.

    Heads for another number of classes do not fit and are expected not to. ModelError where nothing fits or the file
    cannot be read; and with `whole` where a part would be drawn.
    """
    checkpointer = _QuietCheckpointer(model)
    try:
        checkpointer.load(str(path))
    except (RuntimeError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise ModelError(
            f"the weights do not fit Detectron2: {first_line(error)}",
            where=str(path),
            remedy="give a checkpoint written by al or by Detectron2 (.pth or .pkl)",
        ) from error
    misfits = [key for key, _, _ in checkpointer.incompatible.incorrect_shapes]
    fresh = sorted({*misfits, *checkpointer.incompatible.missing_keys})
    # Older files lack the counters of BatchNorm; torch fills them in without a word.
    expected = {key for key in model.state_dict() if not key.endswith("num_batches_tracked")}
    fresh = [key for key in fresh if key in expected]
    total = len(expected)
    if len(fresh) == total:
        raise ModelError(
            f"none of the model's {total} tensors is in this file",
            where=str(path),
            remedy="these weights belong to another model: choose that one with model=..., or other weights",
        )
    if fresh and whole:
        shapes = {key: (tuple(theirs), tuple(ours)) for key, theirs, ours in checkpointer.incompatible.incorrect_shapes}
        key = min(shapes or fresh, key=lambda key: "cls_score" not in key)
        what = f"these weights hold no whole detector: they have no {key}"
        if key in shapes:
            theirs, ours = shapes[key]
            what = (
                "these weights are of another number of classes, or of another model: "
                f"{key} is {theirs} there and {ours} here"
            )
        raise ModelError(f"{what}, so they cannot choose the first images", where=str(path), remedy=CANNOT_CHOOSE)
    if fresh:
        parts = sorted({key.rpartition(".")[0] for key in fresh})
        names = ", ".join(parts[:4]) + (f" and {len(parts) - 4} more" if len(parts) > 4 else "")
        log.info("%s: %d of %d tensors; drawn from the seed: %s", path.name, total - len(fresh), total, names)
