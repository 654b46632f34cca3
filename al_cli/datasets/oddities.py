"""What is odd about a dataset that can be read: counted, with the places, so that a person can look before training.

Knows nothing of YOLO or COCO: `Splits` come in, and what the reader noted; a list of oddities goes out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from al_cli.datasets.headers import read_traits
from al_cli.datasets.names import printable
from al_cli.datasets.notes import Notes
from al_cli.types import Dataset, Image, LabelKind, Splits

KEPT = 100  # boxes of one image that COCO's evaluation looks at, and that detectors give
EXAMPLES = 10


@dataclass(frozen=True)
class Oddity:
    """`count` things of one `kind`, a phrase in the plural; `place(n)` says where the n-th is; `split` is empty where it is
    no split's; `so` says what follows from it; a line of text shows the first `shown` places."""

    kind: str
    count: int
    place: Callable[[int], str]
    split: str = ""
    so: str = ""
    shown: int = 1

    def places(self, most: int | None = None) -> list[str]:
        """The places, in the dataset's order; the first `most` of them where it is given."""
        return [self.place(n) for n in range(self.count if most is None else min(most, self.count))]

    def line(self) -> str:
        """`train: exact repeats of boxes: 2, first images/00.png, ...: what follows`."""
        first = ", ".join(self.places(self.shown)) + (", ..." if self.count > self.shown > 1 else "")
        head = f"{self.split}: {self.kind}" if self.split else self.kind
        return f"{head}: {self.count}, {'first ' if self.shown == 1 < self.count else ''}{first}" + (
            f": {self.so}" if self.so else ""
        )

    def as_json(self) -> dict[str, Any]:
        """Split, kind, count, at most ten examples, consequence."""
        return {
            "split": self.split or None,
            "kind": self.kind,
            "count": self.count,
            "examples": self.places(EXAMPLES),
            "so": self.so or None,
        }


def named_splits(splits: Splits) -> list[tuple[str, Dataset]]:
    """(name, dataset) of the splits that are there: train, val, test."""
    every = (("train", splits.train), ("val", splits.val), ("test", splits.test))
    return [
        (name, data) for name, data in every if data is not None and len(data)
    ]  # test=none: a test split without images


def find_oddities(splits: Splits, notes: Notes, root: Path, labels: LabelKind = "objects") -> list[Oddity]:
    """Of each split what is odd by its images, boxes and classes, then what the reader noted. Paths are shown below `root`."""
    found: list[Oddity] = []
    for split, data in named_splits(splits):
        found += _of_images(split, data, root, labels)
        found += _of_boxes(split, data, root) if labels == "objects" else _in_two_classes(split, data, root)
        if split != "val":
            found += _of_classes(split, data, labels)
    for kind, places in notes.places.items():
        found.append(Oddity(kind, len(places), [below(place, root) for place in places].__getitem__))
    return found


def below(path: Path | str, root: Path) -> str:
    """A path as it is shown: without the dataset's root where it lies below it."""
    return printable(str(path).removeprefix(f"{root}{os.sep}"))


def some(kind: str, images: Sequence[Image], split: str, root: Path, so: str = "") -> Iterator[Oddity]:
    """One oddity whose places are these images; none for no image."""
    if images:
        yield Oddity(kind, len(images), lambda n: below(images[n].path, root), split, so)


def _of_images(split: str, data: Dataset, root: Path, labels: LabelKind) -> Iterator[Oddity]:
    first: dict[str, Image] = {}
    again = [(i, first[i.content]) for i in data.images if i.content and first.setdefault(i.content, i) is not i]
    if again:
        yield Oddity(
            "images with the bytes of an earlier one",
            len(again),
            lambda n: f"{below(again[n][0].path, root)} as {below(again[n][1].path, root)}",
            split,
            "each copy costs budget again",
        )
    traits = read_traits([image.path for image in data.images])
    turned = [image for image, (orientation, _) in zip(data.images, traits, strict=True) if orientation != 1]
    grey = [image for image, (_, is_grey) in zip(data.images, traits, strict=True) if is_grey]
    so = (
        "boxes are read in the turned picture, as people see it"
        if labels == "objects"
        else "they are read as people see them"
    )
    yield from some("images that EXIF turns", turned, split, root, so)
    if labels == "objects" or len(grey) < len(data):
        yield from some("greyscale images", grey, split, root, "they are read as three equal channels")
    objects = [int((~image.crowd).sum()) for image in data.images]
    crowded = [image for image, count in zip(data.images, objects, strict=True) if count > KEPT]
    if crowded:
        share = sum(min(count, KEPT) for count in objects) / sum(objects)
        so = f"detectors give {KEPT} boxes an image, so at most {100 * share:.1f}% of the boxes here can be found"
        so += "" if split == "train" else ", which caps every score"
        yield from some(f"images with more than {KEPT} objects", crowded, split, root, so)
        of_one_class = [i for i in crowded if np.bincount(i.classes[~i.crowd]).max() > KEPT]
        yield from some(f"images with more than {KEPT} objects of one class", of_one_class, split, root)


class _Boxes(NamedTuple):
    """All boxes of a split in one table of K rows."""

    data: Dataset
    boxes: NDArray[np.float64]  # [K, 4]
    classes: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    owner: NDArray[np.int64]  # the position of its image
    root: Path

    def where(self, row: int) -> str:
        """The image, the class and the corners of one box."""
        x0, y0, x1, y1 = self.boxes[row].tolist()
        image = below(self.data.images[self.owner[row]].path, self.root)
        return f"{image}, {self.data.class_names[self.classes[row]]} from ({x0:.6g}, {y0:.6g}) to ({x1:.6g}, {y1:.6g})"


def _of_boxes(split: str, data: Dataset, root: Path) -> Iterator[Oddity]:
    images = data.images
    boxes = np.concatenate([image.boxes for image in images])
    classes = np.concatenate([image.classes for image in images])
    owner = np.repeat(np.arange(len(images)), [len(image.classes) for image in images])
    table = _Boxes(data, boxes, classes, np.concatenate([image.crowd for image in images]), owner, root)
    repeats, in_two = _same_boxes(table)
    rows = {
        "exact repeats of boxes": (repeats, "a repeat can never be found, so it counts as missed"),
        "boxes that have another class too": (in_two, "at most one of the classes is right"),
        "boxes thinner than a pixel": (
            np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).min(axis=1) < 1),
            "no detector finds them",
        ),
        "crowd regions": (np.flatnonzero(table.crowd), "neither trained on nor counted as missed"),
    }
    for kind, (which, so) in rows.items():
        if len(which):
            yield Oddity(kind, len(which), lambda n, which=which: table.where(which[n]), split, so)  # type: ignore[misc]


def _same_boxes(table: _Boxes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows that repeat an earlier one of their image, box and class; rows whose box has an earlier one of another class)."""
    rows = np.flatnonzero(~table.crowd)
    boxes, owner = table.boxes[rows], table.owner[rows]
    order = np.lexsort((rows, table.classes[rows], *boxes.T, owner))
    pairs = order[1:], order[:-1]
    same = (owner[pairs[0]] == owner[pairs[1]]) & (boxes[pairs[0]] == boxes[pairs[1]]).all(axis=1)
    alike = table.classes[rows][pairs[0]] == table.classes[rows][pairs[1]]
    return np.sort(rows[pairs[0][same & alike]]), np.sort(rows[pairs[0][same & ~alike]])


def _in_two_classes(split: str, data: Dataset, root: Path) -> Iterator[Oddity]:
    """Images of equal bytes that have not the same class."""
    first: dict[str, Image] = {}
    pairs = [(image, first.setdefault(image.content, image)) for image in data.images if image.content]
    unlike = [(one, other) for one, other in pairs if one.classes[0] != other.classes[0]]

    def place(n: int) -> str:
        return ", ".join(f"{below(i.path, root)} ({printable(data.class_names[i.classes[0]])})" for i in unlike[n])

    if unlike:
        kind = "images with the bytes of one of another class"
        yield Oddity(kind, len(unlike), place, split, "at most one of the classes is right")


def _of_classes(split: str, data: Dataset, labels: LabelKind) -> Iterator[Oddity]:
    counts = objects_by_class(data)
    absent = [name for name, count in counts.items() if not count]
    so = "they cannot be learned" if split == "train" else "nothing is measured of them"
    if absent:
        kind = f"classes without an {'object' if labels == 'objects' else 'image'}"
        yield Oddity(kind, len(absent), absent.__getitem__, split, so, shown=EXAMPLES)


def objects_by_class(data: Dataset) -> dict[str, int]:
    """{class: objects}, in the order of the classes. Crowd regions are not counted."""
    classes = np.concatenate([image.classes[~image.crowd] for image in data.images])
    return dict(zip(data.class_names, np.bincount(classes, minlength=len(data.class_names)).tolist(), strict=True))


def without_label_file(splits: Splits, notes: Notes) -> dict[str, int]:
    """{split: images that are read as negatives because they have no label file}."""
    missing = {place for kind, places in notes.places.items() if "without a label file" in kind for place in places}
    return {split: sum(str(i.path) in missing for i in data.images) for split, data in named_splits(splits)}
