"""YOLO datasets as Ultralytics and Roboflow write them, read in place.

A folder with a data.yaml that names classes and splits; a split is a folder of images, a text file that lists them,
or a list of either. The labels of `.../images/x.jpg` are `.../labels/x.txt` (the last `/images/` of the path counts;
without one the label file lies next to the image), one row an object: `class cx cy w h` as shares of the image's width
and height, or `class x1 y1 x2 y2 x3 y3 ...`, a polygon, which becomes its bounding box. An image without label file or
with an empty one is a negative. Differs from Ultralytics: nothing is dropped or repaired silently, and `download:` is
never executed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from al_cli.datasets.checks import (
    IMAGE_SUFFIXES,
    Problems,
    box_problems,
    check_leakage,
    check_not_empty,
    clip,
    read_contents,
    require_held_out,
    to_splits,
)
from al_cli.datasets.headers import read_sizes
from al_cli.datasets.names import names_of
from al_cli.datasets.notes import Notes
from al_cli.errors import DatasetError
from al_cli.types import Dataset, Image, Splits

SLACK = 0.01  # shares of the image that a corner may lie outside: rounding, clipped
SPLIT_KEYS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
HELD_OUT = "give data.yaml a `train:` line and a `val:` or `test:` line with a folder of other images"
NULLS = ("", "~", "null", "Null", "NULL")


def load_yolo(root: str | Path, name: str = "", *, notes: Notes | None = None) -> Splits:
    """Read a YOLO dataset: `root` is the folder with data.yaml (or the only *.yaml in it), or the yaml file itself.

    Image ids count from 0 over train, val and test, each split sorted by name, so they are the same on every machine and in
    every format. `name` defaults to the folder's name. What is odd but read goes into `notes`. DatasetError lists all that
    is broken.
    """
    notes = Notes() if notes is None else notes
    file = _find_yaml(Path(root).expanduser().absolute())
    config = _read_yaml(file)
    base = _base(file, config)
    names = _class_names(file, config)
    entries = _split_entries(file, config)
    problems = Problems(file)
    images: dict[str, list[Path]] = {}
    called: dict[str, list[str]] = {}
    for split, entry in entries.items():
        pairs = _image_paths(split, entry, base, file, problems)
        paths, folders = [path for path, _ in pairs], [folder for _, folder in pairs]
        named = sorted(zip(names_of(paths, folders, base), paths, strict=True))
        called[split], images[split] = [name for name, _ in named], [path for _, path in named]
    contents = read_contents(images)
    check_leakage(images, contents, problems)
    labels = {
        split: _read_labels(split, paths, entries[split], len(names), problems) for split, paths in images.items()
    }
    sizes = {split: read_sizes(paths, problems.add) for split, paths in images.items()}
    problems.check()

    found: dict[str, Dataset] = {}
    first_id = 0
    for split, paths in images.items():
        offsets, classes, shares = labels[split]
        extent = np.array(sizes[split], dtype=np.float64)  # [N, 2]
        pixels = shares * np.tile(np.repeat(extent, np.diff(offsets), axis=0), 2)  # [K, 4]
        rows = [slice(a, b) for a, b in pairwise(offsets.tolist())]
        found[split] = Dataset(
            names,
            tuple(
                Image(
                    first_id + n,
                    path,
                    *sizes[split][n],
                    boxes=pixels[rows[n]],
                    classes=classes[rows[n]],
                    name=called[split][n],
                    content=contents[split][n],
                )
                for n, path in enumerate(paths)
            ),
        )
        first_id += len(paths)
    return to_splits(name or base.resolve().name, found)


def _find_yaml(root: Path) -> Path:
    if root.is_file():
        return root
    if not root.is_dir():
        raise DatasetError("there is no such folder", where=str(root), remedy="give the folder of data.yaml")
    if (root / "data.yaml").is_file():
        return root / "data.yaml"
    found = sorted(path for path in root.iterdir() if path.suffix in (".yaml", ".yml") and path.is_file())
    if len(found) == 1:
        return found[0]
    have = f"several: {', '.join(path.name for path in found)}" if found else "no yaml file"
    raise DatasetError(
        f"there is no data.yaml but {have}", where=str(root), remedy="give the yaml file itself as dataset.root"
    )


class _TextLoader(yaml.BaseLoader):
    """YAML in which every scalar is text (a class called `no` or `on` is not a boolean) and no key comes twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"the key '{twice[0]}' comes twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        config = yaml.load(file.read_bytes(), _TextLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DatasetError(f"cannot be read as YAML: {error}", where=str(file), remedy="correct the file") from error
    if not isinstance(config, dict):
        raise DatasetError("is not a mapping", where=str(file), remedy="it needs the keys train, val and names")
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
    for folder in (file.parent / Path(given).expanduser(), file.parent.parent / given):
        if folder.is_dir():
            return folder
    raise DatasetError(
        f"path: {given} is not a folder",
        where=str(file),
        remedy="correct it, or remove the line if the images lie next to the file",
    )


def _class_names(file: Path, config: dict[str, Any]) -> tuple[str, ...]:
    names, count = config.get("names", ""), config.get("nc", "")
    if isinstance(names, dict):
        try:
            by_id = {int(key): value for key, value in names.items()}
        except ValueError:
            by_id = {}
        if sorted(by_id) != list(range(len(names))):
            raise DatasetError(
                f"names must number the classes 0..{len(names) - 1} without gaps, got {', '.join(names)}",
                where=str(file),
                remedy="name every class id",
            )
        names = [by_id[n] for n in range(len(by_id))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise DatasetError(
            f"names is {names!r}", where=str(file), remedy="it must be a list, or {id: name}, of class names"
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DatasetError(f"two classes are named '{twice}'", where=str(file), remedy="give each class its own name")
    if count not in NULLS and str(count) != str(len(names)):
        raise DatasetError(
            f"nc is {count} but names has {len(names)}", where=str(file), remedy="correct either of them"
        )
    return tuple(names)


def _split_entries(file: Path, config: dict[str, Any]) -> dict[str, list[str]]:
    """{split: folders or list files as written}, in the order train, val, test; absent splits left out."""
    found = {}
    for split, keys in SPLIT_KEYS.items():
        given = [key for key in keys if config.get(key, "") not in (*NULLS, [])]
        if len(given) > 1:
            raise DatasetError(f"has both {' and '.join(given)}", where=str(file), remedy="keep one of them")
        if given:
            entry = config[given[0]]
            entry = [entry] if isinstance(entry, str) else entry
            if not isinstance(entry, list) or not all(isinstance(item, str) for item in entry):
                raise DatasetError(
                    f"{given[0]} is {entry!r}", where=str(file), remedy="give a folder, a .txt file, or a list"
                )
            found[split] = entry
    require_held_out(found, file, HELD_OUT)
    return found


def _image_paths(split: str, entries: list[str], base: Path, file: Path, problems: Problems) -> list[tuple[Path, Path]]:
    """(image, the folder that its name is relative to) of each image of a split."""
    paths: list[tuple[Path, Path]] = []
    for entry in entries:
        # Roboflow writes ../train/images though the folder lies next to data.yaml.
        for place in (base / entry, base / entry.removeprefix("../")):
            if place.is_dir():
                paths += [(path, place) for path in _walk(place)]
                break
            if place.is_file():
                paths += [(path, _images_folder(path, base)) for path in _read_list(place, base, problems)]
                break
        else:
            raise DatasetError(
                f"{split}: {entry} is neither a folder nor a file in {base}",
                where=str(file),
                remedy="correct the line, or remove it where there is no such split",
            )
    return paths


def _walk(folder: Path) -> Iterator[Path]:
    """The images in a folder and below, hidden ones (`._x.jpg`, `.ipynb_checkpoints/`) left out. Follows links."""
    visited = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        stat = Path(place).stat()
        if (stat.st_dev, stat.st_ino) in visited:  # a link to a folder that contains it
            folders.clear()
            continue
        visited.add((stat.st_dev, stat.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        parent = Path(place)
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES):
                yield parent / name


def _read_list(file: Path, base: Path, problems: Problems) -> Iterator[Path]:
    """The images named by a text file; `./` lines are relative to the file, others to the dataset's root."""
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problems.add(f"cannot be read as a list of images: {error}", str(file))
        return
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line:
            continue
        path = file.parent / line.removeprefix("./") if line.startswith("./") else base / line
        if not line.lower().endswith(IMAGE_SUFFIXES):
            problems.add(f"'{line}' is not a known image type", f"{file}:{number}")
        elif not path.is_file():
            problems.add(f"there is no image {path}", f"{file}:{number}")
        else:
            yield path


def _images_folder(image: Path, base: Path) -> Path:
    """What the name of a listed image is relative to: the last folder `images` of its path, else the dataset's root."""
    head, images, _ = image.as_posix().rpartition("/images/")
    return Path(f"{head}/images") if images else base


def label_path(image: Path) -> Path:
    """Where the labels of an image are: the last `/images/` of its path becomes `/labels/`, the suffix `.txt`."""
    head, images, tail = image.as_posix().rpartition("/images/")
    return Path(f"{head}/labels/{tail}" if images else tail).with_suffix(".txt")


LabelArrays = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def _read_labels(
    split: str, images: Sequence[Path], entries: list[str], num_classes: int, problems: Problems
) -> LabelArrays:
    """offsets [N+1], classes [K] and boxes [K,4] (xyxy shares of the image, clipped to 0..1) of N images."""
    rows: list[list[float]] = []  # class x1 y1 x2 y2
    places: list[tuple[Path, int]] = []  # label file and line of each row
    offsets, lines = [0], 0
    owner: dict[Path, Path] = {}
    for image in images:
        file = label_path(image)
        if owner.setdefault(file, image) != image:
            problems.add(f"shares its label file {file} with {owner[file].name}", str(image))
        try:
            text = file.read_bytes()
        except FileNotFoundError:
            text = b""
        except OSError as error:
            problems.add(f"cannot be read: {error.strerror}", str(file))
            text = b""
        for number, line in enumerate(text.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
            if tokens := line.split():
                lines += 1
                try:
                    rows.append(_parse_row(tokens))
                except ValueError as error:
                    problems.add(f"{error} in '{line.decode(errors='replace').strip()[:80]}'", f"{file}:{number}")
                else:
                    places.append((file, number))
        offsets.append(len(rows))
    where = ", ".join(entries) + (f", labels looked for as {label_path(images[0])}" if images else "")
    check_not_empty(split, len(images), lines, where, problems)

    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    classes, boxes = table[:, 0], table[:, 1:]
    unit = np.ones((len(boxes), 2))
    wrong = box_problems(boxes, unit, SLACK)
    for row in np.flatnonzero(~(np.isin(classes, np.arange(num_classes)))).tolist():
        wrong[row] = f"class {classes[row]:g} is not one of 0..{num_classes - 1}"
    for row in sorted(wrong):
        problems.add(wrong[row], f"{places[row][0]}:{places[row][1]}")
    good = np.where(np.isfinite(classes), classes, 0)
    return np.array(offsets), good.astype(np.int64), clip(boxes, unit)


def _parse_row(tokens: list[bytes]) -> list[float]:
    """class, x1, y1, x2, y2 of one row's tokens. ValueError says what is wrong with it."""
    numbers = [float(token) for token in tokens]  # its own ValueError names the token
    if len(numbers) == 5:
        label, cx, cy, w, h = numbers
        return [label, cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
    if len(numbers) == 6:
        raise ValueError("6 numbers, a prediction with its confidence and not a label,")
    if len(numbers) < 5 or len(numbers) % 2 == 0:
        raise ValueError(f"{len(numbers)} numbers, neither `class cx cy w h` nor a polygon,")
    x, y = numbers[1::2], numbers[2::2]
    return [numbers[0], min(x), min(y), max(x), max(y)]
