"""YOLO datasets as Ultralytics and Roboflow write them, read in place.

A folder with a data.yaml that names classes and splits; a split is a folder of images, a text file that lists them,
or a list of either. Label files (`labels.py`) have one row an object: `class cx cy w h` as shares of the image's width
and height, or `class x1 y1 x2 y2 x3 y3 ...`, a polygon, which becomes its bounding box. Differs from Ultralytics: nothing
is dropped or repaired silently, and `download:` is never executed.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from al_cli.datasets.checks import (
    UNLABELED_TEST,
    Problems,
    check_leakage,
    quoted,
    read_contents,
    require_apart,
    require_class_names,
    require_left,
    require_pool,
    shortened,
    to_splits,
)
from al_cli.datasets.exports import YAMLS, explain_path
from al_cli.datasets.headers import read_sizes
from al_cli.datasets.labels import LabelFiles, MissingLabels, images_folder, read_labels
from al_cli.datasets.names import names_of
from al_cli.datasets.notes import Notes
from al_cli.datasets.places import IMAGE_SUFFIXES, SPLIT_NAMES, Places, read_text, walk_images
from al_cli.errors import DatasetError, first_line
from al_cli.types import Dataset, Image, OwnSplits

MOST_CLASSES = 100_000  # more are a mistake, and would take minutes to list
KEYS = ("path", "names", "nc", *(key for keys in SPLIT_NAMES.values() for key in keys))
NO_POOL = "give data.yaml a `train:` line with the folder of the images to pick from"
NULLS = ("", "~", "null", "Null", "NULL")


def load_yolo(
    root: str | Path,
    name: str = "",
    *,
    missing_labels: MissingLabels = None,
    bad_rows: Literal["refuse", "leave_out"] = "refuse",
    notes: Notes | None = None,
) -> OwnSplits:
    """Read a YOLO dataset: `root` is the folder with data.yaml (or the only *.yaml in it), or the yaml file itself.

    Image ids count from 0 over train, val and test, each split sorted by name, so they are the same on every machine and in
    every format. `name` defaults to the folder's name. `missing_labels` says what an image without a label file is (None: a
    negative, refused above 30% of a split), `bad_rows` whether rows and images that cannot be read, and the pool's images that
    are held out too, stop the reading. What is odd but read goes into `notes`. DatasetError lists all that is broken.
    """
    file = _find_yaml(Path(root).expanduser().absolute())
    notes = Notes() if notes is None else notes
    problems = Problems(file, notes, leave_out=bad_rows == "leave_out")
    reading = _Reading(file, Places(), problems)
    config = _read_yaml(file)
    base = _base(file, config)
    names = _class_names(file, config, notes)
    entries = _split_entries(file, config)
    found = {split: _image_paths(split, entry, base, reading) for split, entry in entries.items()}
    if not all(found.values()):  # there may be no image because of what is told already
        problems.check()
    apart = require_apart(
        {split: [path for path, _ in pairs] for split, pairs in found.items()}, problems, " in data.yaml"
    )
    called: dict[str, list[str]] = {}
    images: dict[str, list[Path]] = {}
    for split in apart:
        paths, folders = [path for path, _ in found[split]], [folder for _, folder in found[split]]
        named = sorted(zip(names_of(paths, folders, base), paths, strict=True))
        called[split], images[split] = [name for name, _ in named], [path for _, path in named]
    files = LabelFiles(base, reading.places, notes)
    label_files = {split: files.of(paths) for split, paths in images.items()}
    if "val" in images and images.get("test") and not any(label_files["test"]):
        notes.add(UNLABELED_TEST, str(apart["test"][0]))
        del images["test"]
    contents = read_contents(images)
    gone = check_leakage(images, contents, problems)
    labels = {
        split: read_labels(
            split, paths, label_files[split], ", ".join(entries[split]), files, len(names), missing_labels, problems
        )
        for split, paths in images.items()
    }
    files.note_orphans(reading.lists)
    unread = functools.partial(problems.row, "images that cannot be read")
    sizes = {split: read_sizes(paths, unread) for split, paths in images.items()}
    problems.check()

    splits: dict[str, Dataset] = {}
    first_id = 0
    for split, paths in images.items():
        offsets, classes, shares, missing = labels[split]
        extent = np.array(sizes[split], dtype=np.float64)  # [N, 2]
        pixels = shares * np.tile(np.repeat(extent, np.diff(offsets), axis=0), 2)  # [K, 4]
        rows = [slice(a, b) for a, b in pairwise(offsets.tolist())]
        out = gone[split] | (set(missing) if missing_labels == "leave_out" else set())
        kept = [n for n in range(len(paths)) if n not in out and sizes[split][n] != (0, 0)]
        splits[split] = Dataset(
            names,
            tuple(
                Image(
                    first_id + place,
                    paths[n],
                    *sizes[split][n],
                    boxes=pixels[rows[n]],
                    classes=classes[rows[n]],
                    name=called[split][n],
                    content=contents[split][n],
                )
                for place, n in enumerate(kept)
            ),
        )
        first_id += len(kept)
        require_left(split, splits[split], file)
    return to_splits(name or base.resolve().name, splits)


@dataclass
class _Reading:
    """What one reading goes by, and the text files that it found to list images."""

    file: Path
    places: Places
    problems: Problems
    lists: list[Path] = field(default_factory=list)


def _find_yaml(root: Path) -> Path:
    if root.is_file() and root.suffix.lower() in YAMLS:
        return root
    if not root.is_dir():
        raise explain_path(root)
    if os.path.lexists(root / "data.yaml"):  # one that cannot be read is said to be so
        return root / "data.yaml"
    found = sorted(path for path in root.iterdir() if path.suffix in YAMLS and path.is_file())
    if len(found) == 1:
        return found[0]
    if not found:
        raise explain_path(root)
    have = f"several: {', '.join(path.name for path in found)}"
    raise DatasetError(
        f"there is no data.yaml but {have}", where=str(root), remedy="give the yaml file itself as dataset.root"
    )


class _TextLoader(yaml.BaseLoader):
    """YAML in which every scalar is text (a class called `no` or `on` is not a boolean) and no key comes twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key.value, str):
                if key.value in seen:
                    what = f"the key '{shortened(key.value)}' comes twice"
                    raise yaml.constructor.ConstructorError(None, None, what, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        config = yaml.load(read_text(file), _TextLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        what = f"cannot be read as YAML: {str(error.problem or error.context).removeprefix('but ')}"
        raise DatasetError(what, where=where, remedy="correct the line") from error
    except (OSError, yaml.YAMLError, RecursionError) as error:
        said = getattr(error, "strerror", None) or first_line(error)
        raise DatasetError(f"cannot be read as YAML: {said}", where=str(file), remedy="correct the file") from error
    if not isinstance(config, dict):
        raise DatasetError("is not a mapping", where=str(file), remedy="it needs the keys train, val and names")
    for key in config:
        if key not in KEYS and str(key).lower() in KEYS and str(key).lower() not in config:
            what, remedy = f"has the key {key}, and keys are in small letters", f"write {str(key).lower()}"
            raise DatasetError(what, where=str(file), remedy=remedy)
    if "kpt_shape" in config:
        raise DatasetError(
            "is a keypoint dataset (kpt_shape), whose rows look like polygons",
            where=str(file),
            remedy="export it as detection: class cx cy w h",
        )
    return config


def _base(file: Path, config: dict[str, Any]) -> Path:
    """The root that splits are relative to: `path` where given, else the yaml's folder.

    A relative `path` is taken from the yaml's folder or, where that does not exist, from the folder above it: what
    `path: coco8` in coco8/ and `path: ../datasets/x` in data/ mean in Ultralytics, which asks the working directory.
    """
    given = config.get("path", "")
    if given in NULLS:
        return file.parent
    given = str(given)
    for text in (given, given.replace("\\", "/")):
        for folder in (file.parent / Path(text).expanduser(), file.parent.parent / text):
            if folder.is_dir():
                return folder
    raise DatasetError(
        f"path: {given} is not a folder{Places().near(given, file.parent)}",
        where=str(file),
        remedy="correct it, or remove the line if the images lie next to the file",
    )


def _class_names(file: Path, config: dict[str, Any], notes: Notes) -> tuple[str, ...]:
    names, count = config.get("names", ""), config.get("nc", "")
    if isinstance(names, dict):
        try:
            by_id = {int(key): value for key, value in names.items()}
        except ValueError:
            by_id = {}
        if sorted(by_id) != list(range(len(names))):
            raise DatasetError(
                f"names must number the classes 0..{len(names) - 1} without gaps, got {shortened(', '.join(names))}",
                where=str(file),
                remedy="number them from 0, as label files do",
            )
        names = [by_id[n] for n in range(len(by_id))]
    if names in (*NULLS, [], {}):
        if not (isinstance(count, str) and count.isascii() and count.isdigit() and 0 < int(count[:9]) < MOST_CLASSES):
            what = f"names no classes, and nc is {quoted(count)}" if count not in NULLS else "names no classes"
            raise DatasetError(
                what, where=str(file), remedy="give data.yaml a list of class names: `names: [cat, dog]`"
            )
        notes.add("data.yaml without class names: classes are called by their numbers", str(file))
        names = [str(n) for n in range(int(count))]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        what = f"names is {quoted(names)}"
        raise DatasetError(what, where=str(file), remedy="it must be a list, or {id: name}, of class names")
    require_class_names(names, str(file))
    if count not in NULLS and str(count) != str(len(names)):
        raise DatasetError(
            f"nc is {shortened(count)} but names has {len(names)}", where=str(file), remedy="correct either of them"
        )
    return tuple(names)


def _split_entries(file: Path, config: dict[str, Any]) -> dict[str, list[str]]:
    """{split: folders or list files as written}, in the order train, val, test; absent splits left out."""
    found = {}
    for split, keys in SPLIT_NAMES.items():
        given = [key for key in keys if config.get(key, "") not in (*NULLS, [])]
        if len(given) > 1:
            raise DatasetError(f"has both {' and '.join(given)}", where=str(file), remedy="keep one of them")
        if given:
            entry = config[given[0]]
            entry = [entry] if isinstance(entry, str) else entry
            if not isinstance(entry, list) or not all(isinstance(item, str) for item in entry):
                raise DatasetError(
                    f"{given[0]} is {quoted(entry)}",
                    where=str(file),
                    remedy="give a folder, a .txt file, or a list",
                )
            found[split] = entry
    require_pool(found, file, NO_POOL)
    return found


def _image_paths(split: str, entries: list[str], base: Path, reading: _Reading) -> list[tuple[Path, Path]]:
    """(image, the folder that its name is relative to) of each image of a split."""
    paths: list[tuple[Path, Path]] = []
    for entry in entries:
        # Roboflow writes ../train/images though the folder lies next to data.yaml.
        texts = [entry, entry.removeprefix("../").removeprefix("..\\")]
        place = next((place for text in texts if (place := reading.places.find(text, [base])) is not None), None)
        if place is not None and place.is_dir():
            paths += [(path, place) for path in walk_images(place, reading.problems.notes)]
        elif place is not None and place.exists():
            reading.lists.append(place)
            for path in _read_list(place, base, reading):
                below = images_folder(path, base)
                paths.append((path, base if below is None else below[0]))
        else:
            raise DatasetError(
                f"{split}: {entry} is neither a folder nor a file in {base}{reading.places.near(entry, base)}",
                where=str(reading.file),
                remedy="correct the line" + (", or remove it where there is no such split" if split != "train" else ""),
            )
    return paths


def _read_list(file: Path, base: Path, reading: _Reading) -> Iterator[Path]:
    """The images named by a text file; `./` lines are relative to the file, others to the dataset's root."""
    if file.suffix.lower() in IMAGE_SUFFIXES:
        what, remedy = "is an image and no list of images", "name its folder, or a text file that lists images"
        raise DatasetError(what, where=str(file), remedy=remedy)
    try:
        lines = read_text(file).splitlines()
    except OSError as error:
        what = f"cannot be read as a list of images: {error.strerror}"
        raise DatasetError(what, where=str(file), remedy="correct or replace it") from error
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line:
            continue
        if not line.lower().endswith(IMAGE_SUFFIXES):
            reading.problems.row("lines that name no image", f"'{line}' is not a known image type", f"{file}:{number}")
            continue
        text, folder = (line[2:], file.parent) if line.startswith(("./", ".\\")) else (line, base)
        path = reading.places.find(text, [folder])
        if path is None or not path.is_file():
            what = f"there is no image {folder / text}{reading.places.near(text, folder)}"
            reading.problems.row("lines that name no image", what, f"{file}:{number}")
        else:
            yield path
