"""A folder at a glance: which files lie where, for saying what it is."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from al_cli.datasets.foreign_files import kind_of_json, read_some
from al_cli.datasets.places import IMAGE_SUFFIXES, SPLIT_NAMES

MOST_FILES = 200_000  # a home folder given by mistake should not be walked for minutes
LOOKED_INTO = 300  # files of one kind in all folders
FEW = 3  # files of one kind looked into in each folder
LISTS_OF_NAMES = (
    "classes.txt",
    "obj.names",
    "labels.txt",
    "predefined_classes.txt",
    "classes.names",
    "_darknet.labels",
)
SPLIT_WORDS = {name: split for split, names in SPLIT_NAMES.items() for name in names}
SPLIT_WORDS |= {"training": "train", "testing": "test"}
LABEL_ROW = re.compile(rb"\s*\d{1,4}(\.0*)?(\s+[-+]?[\d.][\d.eE+-]*){4,}\s*")
NO_FOLDER = ("__MACOSX", "node_modules", "__pycache__")


@dataclass(frozen=True)
class Tree:
    """The files below `root` (hidden ones left out), in the order of their folders and names."""

    root: Path
    files: tuple[Path, ...]

    @classmethod
    def of(cls, root: Path, only: Path | None = None) -> Tree:
        """The tree below a folder; with `only`, that file and the images."""
        found: list[Path] = []
        visited = set()
        for place, folders, files in os.walk(root, followlinks=True):
            if (real := os.path.realpath(place)) in visited:  # a link to a folder that contains it
                folders.clear()
                continue
            visited.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in NO_FOLDER)
            found += [Path(place) / name for name in sorted(files) if not name.startswith(".")]
            if len(found) > MOST_FILES:
                break
        if only is not None:
            found = [path for path in found if path == only or path.suffix.lower() in IMAGE_SUFFIXES]
        return cls(root, tuple(found))

    def short(self, path: Path) -> str:
        """A path below the root; `.` for the root itself."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def with_suffix(self, *suffixes: str) -> list[Path]:
        return [path for path in self.files if path.suffix.lower() in suffixes]

    def some_of_each_folder(self, suffix: str) -> list[Path]:
        """The first files with a suffix in each folder: where there is one an image, a few say what all are."""
        counts: Counter[Path] = Counter()
        found = []
        for path in self.with_suffix(suffix):
            counts[path.parent] += 1
            if counts[path.parent] <= FEW:
                found.append(path)
        return found[:LOOKED_INTO]

    @cached_property
    def json_kinds(self) -> dict[Path, str]:
        """What the first json files of each folder are."""
        return {path: kind_of_json(path) for path in self.some_of_each_folder(".json")}

    def folders(self) -> list[Path]:
        """Every folder that holds a file, and those above it, down to the root."""
        inside = {folder for path in self.files for folder in path.parents if folder.is_relative_to(self.root)}
        return sorted(inside)

    @cached_property
    def images_by_folder(self) -> Counter[Path]:
        """How many images lie in each folder."""
        return Counter(path.parent for path in self.with_suffix(*IMAGE_SUFFIXES))

    @property
    def images(self) -> int:
        """How many images there are."""
        return self.images_by_folder.total()

    def image_folders(self) -> list[Path]:
        """The folders that hold images, sorted."""
        return sorted(self.images_by_folder)

    def topmost(self, folders: list[Path]) -> list[Path]:
        """Those of the folders that lie in none of the others."""
        return [folder for folder in folders if not set(folder.parents) & set(folders)]

    def label_files(self) -> list[Path]:
        """The text files that may hold YOLO rows, one that does first; empty where none of the first few does."""
        texts = [path for path in self.with_suffix(".txt") if path.name.lower() not in LISTS_OF_NAMES]
        counts: Counter[Path] = Counter()
        seen = []
        for path in texts:
            if counts[path.parent] < FEW and _first_line(path):
                counts[path.parent] += 1
                seen.append(path)
        sure = next((path for path in seen if LABEL_ROW.fullmatch(_first_line(path))), None)
        return [] if sure is None else [sure, *(path for path in texts if path != sure)]

    def class_names(self, labels: list[Path]) -> tuple[list[str], str]:
        """(names for every class number in the label files, where they are from)."""
        highest = max((_highest_class(path) for path in labels), default=0)
        listed = next((path for name in LISTS_OF_NAMES for path in self.files if path.name.lower() == name), None)
        names, source = [], "are numbers here: put your own in their order"
        if listed is not None:
            names, source = _lines(listed), f"from {self.short(listed)}"
        elif notes := next((path for path in self.files if path.name == "notes.json"), None):
            names, source = _label_studio_names(notes), f"from {self.short(notes)}"
        return [*names, *(str(n) for n in range(len(names), highest + 1))], source


def split_of(path: Path, root: Path) -> str:
    """train, val or test, as the last folder or the file name of a path below the root says; empty where none does."""
    parts = path.relative_to(root).with_suffix("").parts if path.is_relative_to(root) else ()
    for part in reversed(parts):
        words = re.split(r"[^a-z]+", part.lower())
        found = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
        if len(found) == 1:
            return found.pop()
    return ""


def _lines(path: Path) -> list[str]:
    text = read_some(path).decode("utf-8-sig", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _label_studio_names(path: Path) -> list[str]:
    try:
        rows = json.loads(read_some(path))["categories"]
        return [str(row["name"]) for row in sorted(rows, key=lambda row: row["id"])]
    except (ValueError, KeyError, TypeError):
        return []


def _first_line(path: Path) -> bytes:
    return next((line for line in read_some(path, 4096).splitlines() if line.strip()), b"")


def _highest_class(path: Path) -> int:
    rows = [line.split()[0] for line in read_some(path).splitlines() if LABEL_ROW.fullmatch(line)]
    return max((int(float(row)) for row in rows), default=0)
