"""Where the splits of a COCO dataset lie when nobody says so: the layouts of Roboflow and of COCO itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from al_cli.datasets.places import SPLIT_NAMES
from al_cli.errors import DatasetError

LAYOUTS = (
    "name the splits: dataset.train.images=DIR dataset.train.annotations=FILE, and the same for val and test. "
    "Recognised without: train/_annotations.coco.json (with valid/, test/), instances_train2017.json or train.json, in "
    "annotations/ or beside the images, with train2017/, train/ or images/train/"
)
ImagesAndJson = tuple[Path, Path]  # folder of images, instances json


def find_layout(root: Path) -> dict[str, ImagesAndJson]:
    """{split: source} of a layout that is known; what is not there is left out, so nothing is where none is known.

    DatasetError for a split that could be several, and for a json whose folder of images is not there.
    """
    sources = {}
    for split, folders in SPLIT_NAMES.items():
        found = [source for folder in folders for source in _candidates(root, folder)]
        if len(found) > 1:
            files = ", ".join(str(file.relative_to(root)) for _, file in found)
            raise DatasetError(f"the {split} split could be any of {files}", where=str(root), remedy=LAYOUTS)
        if found:
            sources[split] = found[0]
    return sources


def _candidates(root: Path, split: str) -> Iterator[ImagesAndJson]:
    if os.path.lexists(root / split / "_annotations.coco.json"):  # one that cannot be read is said to be so
        yield root / split, root / split / "_annotations.coco.json"
    for place in (root / "annotations", root):
        for file in sorted(place.iterdir()) if place.is_dir() else ():
            match = re.fullmatch(rf"(?:instances_)?({split}\d*)\.json", file.name)
            if not match:
                continue
            for folder in (root / "images" / match[1], root / match[1]):
                if folder.is_dir():
                    yield folder, file
                    break
            else:
                raise DatasetError(
                    f"there is no folder of images for this file, neither images/{match[1]} nor {match[1]}",
                    where=str(file),
                    remedy=LAYOUTS,
                )


def dataset_above(path: Path) -> Path | None:
    """The folder above whose layout is known and has its images or its annotations in `path`; None where there is none."""
    path = path.absolute()
    for folder in path.parents[:2]:
        try:
            sources = find_layout(folder)
        except (OSError, DatasetError):
            continue
        if "train" in sources and any(place.is_relative_to(path) for source in sources.values() for place in source):
            return folder
    return None
