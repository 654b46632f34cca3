"""YOLO datasets as Ultralytics and Roboflow write them, read in place.

A folder with a data.yaml that names classes and splits; a split is a folder of images, a text file that lists them,
or a list of either. Label files (`labels.py`) have one row an object: `class cx cy w h` as shares of the image's width
and height, or `class x1 y1 x2 y2 x3 y3 ...`, a polygon, which becomes its bounding box. Differs from Ultralytics: nothing
is dropped or repaired silently, and `download:` is never executed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from al_cli.datasets.checks import (
    UNLABELED_TEST,
    Problems,
    check_leakage,
    read_contents,
    require_apart,
    require_left,
    to_splits,
)
from al_cli.datasets.data_yaml import read_data_yaml
from al_cli.datasets.headers import read_sizes
from al_cli.datasets.labels import LabelFiles, MissingLabels, images_folder, read_labels
from al_cli.datasets.names import names_of
from al_cli.datasets.notes import Notes
from al_cli.datasets.places import IMAGE_SUFFIXES, Places, read_text, walk_images
from al_cli.errors import DatasetError
from al_cli.types import Dataset, Image, OwnSplits


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
    notes = Notes() if notes is None else notes
    file, base, names, entries = read_data_yaml(Path(root).expanduser().absolute(), notes)
    problems = Problems(file, notes, leave_out=bad_rows == "leave_out")
    reading = _Reading(file, Places(), problems)
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
