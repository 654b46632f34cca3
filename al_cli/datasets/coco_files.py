"""The files of a COCO dataset: which folder and which json are which split, named or found by layout; what a json holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from al_cli.datasets.exports import explain_path
from al_cli.datasets.places import SPLIT_NAMES
from al_cli.errors import DatasetError
from al_cli.system import read_regular

LAYOUTS = (
    "name the splits: dataset.train.images=DIR dataset.train.annotations=FILE, and the same for val and test. "
    "Recognised without: train/_annotations.coco.json (with valid/, test/), instances_train2017.json or train.json, in "
    "annotations/ or beside the images, with train2017/, train/ or images/train/"
)
ImagesAndJson = tuple[Path, Path]  # folder of images, instances json
Split = Mapping[str, str]


def named_sources(root: Path, given: Mapping[str, Split]) -> dict[str, ImagesAndJson]:
    """{split: source} of splits that are named, relative to `root`."""
    return {split: _named(root, split, value) for split, value in given.items()}


def _named(root: Path, split: str, value: Split) -> ImagesAndJson:
    if set(value) != {"images", "annotations"}:
        raise DatasetError(
            f"{split} has the keys {sorted(value)}",
            where=str(root),
            remedy="give it exactly `images` and `annotations`",
        )
    folder, file = root / value["images"], root / value["annotations"]
    if not folder.is_dir():
        raise DatasetError(f"{split}.images is not a folder", where=str(folder), remedy="correct it")
    return folder, file


def find_sources(root: Path) -> dict[str, ImagesAndJson]:
    """{split: source} of a layout that is known; what is not there is left out."""
    sources = {}
    for split, folders in SPLIT_NAMES.items():
        found = [source for folder in folders for source in _candidates(root, folder)]
        if len(found) > 1:
            files = ", ".join(str(file.relative_to(root)) for _, file in found)
            raise DatasetError(f"the {split} split could be any of {files}", where=str(root), remedy=LAYOUTS)
        if found:
            sources[split] = found[0]
    if not sources:
        raise explain_path(root)
    return sources


def _candidates(root: Path, split: str) -> Iterator[ImagesAndJson]:
    if (root / split / "_annotations.coco.json").exists():
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


def read_instances(file: Path, labeled: bool = True) -> dict[str, Any]:
    """The file's three tables, each a list of mappings. DatasetError where it is something else; a file that need not be
    `labeled` may have no list of annotations."""
    try:
        table = json.loads(read_regular(file))
    except FileNotFoundError as error:
        raise DatasetError("there is no such file", where=str(file), remedy=LAYOUTS) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            f"cannot be read as JSON: {error}", where=str(file), remedy="correct or replace it"
        ) from error
    if isinstance(table, dict) and not labeled:
        table.setdefault("annotations", [])
    for key in ("images", "annotations", "categories"):
        rows = table.get(key) if isinstance(table, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise DatasetError(f"has no list of {key}", where=str(file), remedy="it must be a COCO instances file")
    return table
