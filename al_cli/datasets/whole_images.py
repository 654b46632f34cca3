"""Images that have one class each, and folders of them: a folder a class, as most people keep such data.

    root/{train,val|valid|validation,test}/CLASS/*.jpg      with splits of its own
    root/CLASS/*.jpg                                        a pool, of which shares can be held out

A label is the whole image: one box from corner to corner, with the class. Classes are called as their folders, numbers in the
order of numbers; a class of one split is a class of all. Folders below a class belong to it. Links are followed.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from al_cli.datasets.checks import (
    Problems,
    check_leakage,
    check_not_empty,
    read_contents,
    require_apart,
    require_class_names,
    require_left,
    require_pool,
    shortened,
    to_splits,
)
from al_cli.datasets.headers import read_sizes
from al_cli.datasets.names import as_unicode, names_with_folders
from al_cli.datasets.notes import Notes
from al_cli.datasets.places import IMAGE_SUFFIXES, SPLIT_NAMES, closed, walk_images
from al_cli.errors import DatasetError
from al_cli.types import Dataset, Image, OwnSplits

# What folders of splits are called; `training` and `testing` as in exports of MNIST.
SPLIT_FOLDERS = {"train": ("train", "training"), "val": SPLIT_NAMES["val"], "test": ("test", "testing")}
A_FOLDER_A_CLASS = "a folder for each class, with its images: train/CAT/1.jpg and test/CAT/2.jpg, or CAT/1.jpg"
BadRows = Literal["refuse", "leave_out"]


class LabeledFile(NamedTuple):
    """An image file, its name (unique in its split) and its class, 0..C-1."""

    path: Path
    name: str
    label: int


def load_folder(
    root: str | Path,
    name: str = "",
    *,
    bad_rows: BadRows = "refuse",
    notes: Notes | None = None,
    as_published: bool = False,
    class_names: Sequence[str] | None = None,
) -> OwnSplits:
    """Read a folder a class. `name` defaults to the folder's name; what is odd but read goes into `notes`; `bad_rows` and
    `as_published` as `read_labeled` has them. `class_names` [C] gives the classes in their order, where folders are called
    so and not all are there. DatasetError lists all that is broken."""
    root = Path(root).expanduser().absolute()
    if not root.is_dir():
        raise DatasetError("is no folder", where=str(root), remedy=f"give {A_FOLDER_A_CLASS}")
    problems = Problems(root, notes, leave_out=bad_rows == "leave_out")
    folders = split_folders(root)
    classes = {split: class_folders(folder) for split, folder in folders.items()}
    for split, folder in folders.items():
        if not classes[split]:
            what = "there is no folder of a class" + ("" if folder == root else f" in the {split} split")
            raise DatasetError(what, where=str(folder), remedy=f"give {A_FOLDER_A_CLASS}")
    if class_names is None:
        class_names = in_order({class_of(folder) for of_split in classes.values() for folder in of_split})
        require_class_names(class_names, str(root))
    number = {called: n for n, called in enumerate(class_names)}
    strange = [folder for of_split in classes.values() for folder in of_split if class_of(folder) not in number]
    if strange:
        raise DatasetError(
            f"{strange[0].name} is none of the classes", where=str(strange[0]), remedy="rename or remove it"
        )
    found = {}
    for split, of_split in classes.items():
        pairs = [
            (path, number[class_of(folder)]) for folder in of_split for path in walk_images(folder, problems.notes)
        ]
        paths = [path for path, _ in pairs]
        names = names_with_folders(paths, [folders[split]] * len(paths), root)
        found[split] = [LabeledFile(path, called, label) for (path, label), called in zip(pairs, names, strict=True)]
        note_outside(folders[split], split, problems.notes)
    data = read_labeled(found, class_names, problems, as_published=as_published)
    return to_splits(name or root.resolve().name, data)


def split_folders(root: Path) -> dict[str, Path]:
    """{split: its folder}; {"train": root} where there are none: a `train` that holds images itself is a class."""
    names = {entry.name.lower(): entry for entry in subfolders(root)}
    found: dict[str, Path] = {}
    for split, called in SPLIT_FOLDERS.items():
        there = [names[one] for one in called if one in names]
        if len(there) > 1:
            what = f"has two folders for the {split} split, {there[0].name} and {there[1].name}"
            raise DatasetError(what, where=str(root), remedy="rename or move one of them")
        if there:
            found[split] = there[0]
    if "train" in found and class_folders(found["train"]):
        return found
    if found and len(found) == len(names):  # nothing but splits, train missing or without classes
        require_pool(found, root, f"give {A_FOLDER_A_CLASS}")
        return found
    return {"train": root}


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, links to folders too, sorted; hidden ones and those of unpacking programs left out."""
    try:
        entries = sorted(folder.iterdir())
    except PermissionError as error:
        raise closed(error) from error
    return [entry for entry in entries if not entry.name.startswith((".", "__MACOSX")) and entry.is_dir()]


def class_folders(folder: Path) -> list[Path]:
    """The folders in a folder, where any of them has an image in it or below; else none."""
    below = subfolders(folder)
    return below if any(next(walk_images(one, Notes()), None) is not None for one in below) else []


def class_of(folder: Path) -> str:
    """The class that a folder is called after, the same on every system."""
    return unicodedata.normalize("NFC", as_unicode(folder.name))


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of classes sorted, numbers in the order of numbers where all are."""
    every = sorted(set(names))
    return tuple(sorted(every, key=int) if all(one.isdecimal() for one in every) else every)


def note_outside(folder: Path, split: str, notes: Notes) -> None:
    """Note the images that lie next to the folders of classes."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file():
            notes.add(f"{split} images outside the folder of a class, not read", str(path))


def read_labeled(
    found: Mapping[str, Sequence[LabeledFile]],
    class_names: Sequence[str],
    problems: Problems,
    *,
    as_published: bool = False,
    how: str = "",
) -> dict[str, Dataset]:
    """{split: its images} of labeled files: sizes and digests are read, and what every format is held to is checked.

    Image ids count from 0 over train, val and test, each split sorted by name. An image that cannot be read, or of the pool
    that is held out too, is a problem, or left out aloud where `problems` says so. `as_published`: a well-known data set whose
    splits share images is read as it is, and the fact noted. `how` says where splits are named, for a remedy. DatasetError
    lists all problems.
    """
    for split, files in found.items():
        check_not_empty(split, len(files), len(files), str(problems.root), problems)
    problems.check()
    if len(class_names) < 2:
        what = f"has only one class, {shortened(class_names[0])}, and a classifier needs two"
        raise DatasetError(what, where=str(problems.root), remedy="give images of two classes or more")
    found = {split: sorted(files, key=lambda file: file.name) for split, files in found.items()}
    paths = require_apart({split: [file.path for file in files] for split, files in found.items()}, problems, how)
    contents = read_contents(paths)
    if as_published:
        gone: Mapping[str, set[int]] = {split: set() for split in paths}
        _note_shared(paths, contents, problems.notes)
    else:
        gone = check_leakage(paths, contents, problems)
    unread = functools.partial(problems.row, "images that cannot be read")
    sizes = {split: read_sizes(of_split, unread) for split, of_split in paths.items()}
    problems.check()
    splits: dict[str, Dataset] = {}
    first_id = 0
    for split in paths:
        kept = [n for n in range(len(found[split])) if n not in gone[split] and sizes[split][n] != (0, 0)]
        images: list[Image] = []
        for n in kept:
            path, name, label = found[split][n]
            size, content = sizes[split][n], contents[split][n]
            images.append(Image.of_class(first_id + len(images), path, *size, label, name=name, content=content))
        splits[split] = Dataset(tuple(class_names), tuple(images))
        first_id += len(images)
        require_left(split, splits[split], problems.root)
    return splits


def _note_shared(paths: Mapping[str, Sequence[Path]], contents: Mapping[str, Sequence[str]], notes: Notes) -> None:
    holder: dict[str, str] = {}
    for split, of_split in paths.items():
        for path, content in zip(of_split, contents[split], strict=True):
            if (first := holder.setdefault(content, split)) != split:
                notes.add(f"images of the {split} split that are in the {first} split too, as published", str(path))
