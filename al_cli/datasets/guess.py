"""Which format a folder or file looks like: the words that `al data DIR` would have been given."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

from al_cli.datasets.archives import WELL_KNOWN, find_files
from al_cli.datasets.exports import YAMLS
from al_cli.datasets.foreign_files import read_some
from al_cli.datasets.image_formats import published_format
from al_cli.datasets.labeled_csv import columns_of, delimiter_of
from al_cli.datasets.places import as_utf8
from al_cli.datasets.tree import Tree
from al_cli.datasets.whole_images import class_folders, class_of, split_folders
from al_cli.errors import DatasetError

YAML_START = 65536  # bytes in which a data.yaml names one of its keys, and a csv its columns
# Words in the names of folders that are called after what lies in them, not after a class.
NO_CLASS = re.compile(
    r"(?i)(^|[^a-z])(train|val|valid|test|images?|imgs?|labels?|annotations?|masks?|frames|jpegimages)(?![a-z])"
)


def guess_format(root: Path) -> str:
    """The format that a path looks like, by what is cheap to see; `coco` where it looks like none."""
    if root.suffix.lower() in YAMLS or os.path.lexists(root / "data.yaml"):
        return "yolo"
    yamls = root.glob("*.y*ml") if root.is_dir() else ()
    if any(re.search(rb"(?m)^(names|train|val|nc)\s*:", read_some(path, YAML_START)) for path in yamls):
        return "yolo"
    return _format_of_images(root) or "coco"


def _format_of_images(root: Path) -> str:
    """The format of images with a class each; empty where it is none."""
    if published := published_format(root):
        return published
    if known := next((format for format in WELL_KNOWN if _has_files_of(format, root)), ""):
        return known
    if not root.is_dir():
        return "csv" if root.suffix.lower() == ".csv" else ""
    tree = Tree.of(root)
    if "coco" in tree.json_kinds.values() or tree.label_files() or tree.with_suffix(".xml"):
        return ""
    for file in root.glob("*.[cC][sS][vV]"):
        first = as_utf8(read_some(file, YAML_START)).decode(errors="replace").partition("\n")[0]
        header = next(csv.reader([first], delimiter=delimiter_of(first)), [])
        if {"file", "label"} <= columns_of(header).keys():
            return "csv"
    try:
        classes = {class_of(one) for folder in split_folders(root).values() for one in class_folders(folder)}
    except DatasetError:  # who reads it will say so
        return ""
    return "folder" if len(classes) > 1 and not any(NO_CLASS.search(name) for name in classes) else ""


def _has_files_of(format: str, root: Path) -> bool:
    try:
        return find_files(format, root) is not None
    except DatasetError:  # one of its files is missing: who reads it will say so
        return True
