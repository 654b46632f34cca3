"""Which function reads a format of images with one class each, which settings of `dataset` it takes, and how a folder of a
published set is known."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from al_cli.datasets.archives import WELL_KNOWN, load_archive
from al_cli.datasets.droughtwatch import load_droughtwatch, record_files
from al_cli.datasets.imagenet import is_imagenet, load_imagenet, load_imagenet_mixed
from al_cli.datasets.labeled_csv import load_csv
from al_cli.datasets.published_csv import CASSAVA, DEEPWEEDS, load_cassava, load_deepweeds
from al_cli.datasets.whole_images import load_folder
from al_cli.types import OwnSplits


class ImagesFormat(NamedTuple):
    """load(root, name, bad_rows=..., notes=..., **settings)."""

    load: Callable[..., OwnSplits]
    settings: tuple[str, ...] = ()


READERS = {
    "digits_images": ImagesFormat(load_folder),
    "folder": ImagesFormat(load_folder),
    "csv": ImagesFormat(load_csv, ("images",)),
    **{format: ImagesFormat(partial(load_archive, format)) for format in WELL_KNOWN},
    "imagenet_v2": ImagesFormat(load_imagenet),
    "imagenet_mixed": ImagesFormat(load_imagenet_mixed, ("v2", "r", "a", "images", "split_seed", "noise")),
    "droughtwatch": ImagesFormat(load_droughtwatch, ("bands", "binary")),
    "deepweeds": ImagesFormat(load_deepweeds),
    "cassava": ImagesFormat(load_cassava),
}


def published_format(root: Path) -> str | None:
    """The published set that a folder looks like, by the names in it; None for another path."""
    if not os.access(root, os.R_OK) or not root.is_dir():
        return None
    for format, known in (("deepweeds", DEEPWEEDS), ("cassava", CASSAVA)):
        if (root / known.csv).is_file() and (root / known.images).is_dir():
            return format
    if record_files(root, "train"):
        return "droughtwatch"
    if is_imagenet(root):
        return "imagenet_v2"
    if all((root / folder).is_dir() for folder in ("imagenet-r", "imagenet-a")):
        return "imagenet_mixed"
    return None
