"""The files of a COCO dataset: which folder and which json are which split, named or found by layout; what a json holds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from al_cli.datasets.checks import shortened
from al_cli.datasets.coco_layouts import LAYOUTS, ImagesAndJson, dataset_above, find_layout
from al_cli.datasets.exports import explain_path
from al_cli.datasets.places import read_text
from al_cli.errors import DatasetError, first_line

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
    """{split: source} of a layout that is known. DatasetError for a folder that has none, or is a part of one that has."""
    try:
        sources = find_layout(root)
    except DatasetError:
        if dataset_above(root) is not None:
            raise explain_path(root) from None
        raise
    if not sources:
        raise explain_path(root)
    return sources


def read_instances(file: Path, labeled: bool = True) -> dict[str, Any]:
    """The file's three tables, each a list of mappings. DatasetError where it is something else; a file that need not be
    `labeled` may have no list of annotations."""
    try:
        table = json.loads(read_text(file), object_pairs_hook=_each_once)
    except FileNotFoundError as error:
        raise DatasetError("there is no such file", where=str(file), remedy=LAYOUTS) from error
    except (OSError, ValueError, RecursionError) as error:
        said = getattr(error, "strerror", None) or first_line(error)
        raise DatasetError(
            f"cannot be read as JSON: {said}", where=str(file), remedy="correct or replace it"
        ) from error
    if isinstance(table, dict) and not labeled:
        table.setdefault("annotations", [])
    for key in ("images", "annotations", "categories"):
        rows = table.get(key) if isinstance(table, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise DatasetError(f"has no list of {key}", where=str(file), remedy="it must be a COCO instances file")
    return table


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object's mapping. ValueError for a key that comes twice: which of the values is meant, nobody can know."""
    table = dict(pairs)
    if len(table) < len(pairs):
        key, count = Counter(key for key, _ in pairs).most_common(1)[0]
        some = shortened({name: value for name, value in pairs if name in ("id", "file_name", "image_id", "name")})
        raise ValueError(
            f"the key '{shortened(key)}' comes {count} times in one object" + (f", {some}" if some != "{}" else "")
        )
    return table
