"""What every dataset format is held to: one report of all that is wrong, no image in two splits, boxes inside images.

Knows nothing of YOLO or COCO: paths and arrays come in, problems and tables go out.
"""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from al_cli.datasets.headers import OF_NOTHING, read_digests
from al_cli.datasets.names import CONTROL
from al_cli.datasets.notes import Notes
from al_cli.datasets.oddities import named_splits, objects_by_class
from al_cli.datasets.places import IMAGE_SUFFIXES
from al_cli.errors import DatasetError
from al_cli.types import Dataset, OwnSplits, Splits

SHOWN = 10
TINY_PX = 1e-12  # a side this short is the rounding of a subtraction, and gone once scaled to pixels
SMALL_PX2, MEDIUM_PX2 = 32**2, 96**2  # COCO's borders between small, medium and large
LEAK = "images in two splits"
UNLABELED_TEST = "test split without labels, val is used as test"
LONGEST_CLASS_NAME = 200  # letters; a longer one is a mistake, and fits no figure
GIVE_IMAGES = "put images there, or name another folder"
GIVE_LABELS = "label some of them, or name another split"


_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxlong = 2, 70, 70


class Problems:
    """Collects what is wrong with a dataset, so that the user corrects all of it at once.

    With `leave_out`, single rows and images are left out and noted instead (dataset.bad_rows=leave_out).
    """

    def __init__(self, root: Path, notes: Notes | None = None, *, leave_out: bool = False):
        self.root, self.notes, self.leave_out = root, Notes() if notes is None else notes, leave_out
        self.all: list[tuple[str, str, str]] = []  # what, where, remedy
        self.removable = 0  # of these, how many `leave_out` would leave out

    @property
    def count(self) -> int:
        return len(self.all)

    def add(self, what: str, where: str, remedy: str = "") -> None:
        """`what` is wrong and with which value; `where` is the file and its line or annotation id."""
        self.all.append((what, where, remedy))

    def row(self, kind: str, what: str, where: str) -> None:
        """The same of one row or image, which can be left out: then it is noted as one of `kind`, in the plural."""
        if self.leave_out:
            self.notes.add(f"{kind}, left out", f"{where}: {what}")
        else:
            self.removable += 1
            self.add(what, where)

    def check(self) -> None:
        """DatasetError with the count and the first ten problems, if there are any; it carries all of them."""
        if not self.all:
            return
        aloud = ", or leave out what is wrong with dataset.bad_rows=leave_out" if self.removable == self.count else ""
        if self.count == 1:
            what, where, remedy = self.all[0]
            raise DatasetError(what, where=where, remedy=remedy or f"correct or remove it and run again{aloud}")
        these = "these" if self.count <= SHOWN else f"these and {self.count - SHOWN} more"
        lines = "".join(
            f"\n  {where}: {what}" + (f": {remedy}" if remedy else "") for what, where, remedy in self.all[:SHOWN]
        )
        error = DatasetError(
            f"{self.count} problems",
            where=str(self.root),
            remedy=f"correct or remove {these} and run again{aloud}{lines}",
        )
        error.problems = tuple(self.all)
        raise error


def shortened(text: object) -> str:
    """A value as it is shown in an error: cut where it is long."""
    shown = str(text)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def quoted(value: object) -> str:
    """A value's `repr` as it is shown in an error: cut where it is long or deep, so that it costs nothing either."""
    if type(value) is int and abs(value) < 10**18:  # what nearly every annotation's id is: reprlib takes 10 us for it
        return str(value)
    return shortened(_REPR.repr(value))


def require_class_names(names: Sequence[str], where: str) -> None:
    """DatasetError for a name that is empty, comes twice, or cannot be shown on one line."""
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DatasetError(
            f"two classes are named '{shortened(name)}'", where=where, remedy="give each class its own name"
        )
    for name in names:
        if not is_class_name(name):
            what = f"class name {quoted(name)} is empty, longer than {LONGEST_CLASS_NAME} letters or not one line"
            raise DatasetError(what, where=where, remedy="give the class a name that can be shown")


def is_class_name(name: str) -> bool:
    """Whether it can be shown, on one line."""
    return bool(name.strip()) and not CONTROL.search(name) and len(name) <= LONGEST_CLASS_NAME


def require_left(split: str, data: Dataset, where: Path) -> None:
    """DatasetError where what was left out leaves no object in a split."""
    if not any((~image.crowd).any() for image in data.images):
        if not len(data):
            what, remedy = f"nothing of the {split} split remains after what is left out", GIVE_IMAGES
        else:
            what = f"the {split} split has {len(data)} images but not one object after what is left out"
            remedy = GIVE_LABELS
        raise DatasetError(what, where=str(where), remedy=remedy)


def require_pool(found: Collection[str], where: Path, remedy: str) -> None:
    """DatasetError unless there is a train split to pick images from. What is held out, `held_out.py` says."""
    if "train" not in found:
        raise DatasetError("there is no train split, the pool to pick images from", where=str(where), remedy=remedy)


def to_splits(name: str, found: Mapping[str, Dataset]) -> OwnSplits:
    """The splits that a reader found, by their names."""
    return OwnSplits(name, found["train"], found.get("val"), found.get("test"))


def read_contents(splits: Mapping[str, Sequence[Path]]) -> dict[str, list[str]]:
    """{split: [N] digest of each file's bytes}, empty for a file without bytes or one that cannot be read: reading its size
    reports it."""

    def content(digest: str | None) -> str:
        return "" if digest in (None, OF_NOTHING) else str(digest)

    return {
        split: [content(digest) for digest in read_digests(paths, lambda what, where: None)]
        for split, paths in splits.items()
    }


def check_leakage(
    splits: Mapping[str, Sequence[Path]], contents: Mapping[str, Sequence[str]], problems: Problems
) -> dict[str, set[int]]:
    """One image in two splits: the same path, or the same bytes (links and renamed copies). Also a path twice in one.

    Where `problems` leaves out, the positions in each split that go: of two splits the pool's image, else val's.
    """
    gone: dict[str, set[int]] = {split: set() for split in splits}
    seen: dict[Path, str] = {}
    holders: dict[str, tuple[str, list[int]]] = {}  # of each content: the split that has it, and where in it
    for split, paths in splits.items():  # train, val, test
        for n, (path, content) in enumerate(zip(paths, contents[split], strict=True)):
            first_split, held = holders.get(content or str(path), (split, []))
            if path in seen:
                again = "twice" if seen[path] == split else "too"
                problems.row(LEAK, f"image of the {seen[path]} split is in the {split} split {again}", str(path))
                if seen[path] == split:
                    gone[split].add(n)
            elif first_split != split:
                what = (
                    f"image of the {split} split is also in the {first_split} split, as {splits[first_split][held[0]]}"
                )
                problems.row(LEAK, what, str(path))
            seen[path] = split
            if first_split != split:
                gone[first_split].update(held)
                held = []
            held.append(n)
            holders[content or str(path)] = split, held
    if 1 < len(splits["train"]) == len(gone["train"]):  # of one image, its own sentence says it
        what = "every image of the train split is held out too, by its path or its bytes"
        raise DatasetError(what, where=str(problems.root), remedy="name other images as train, val or test")
    return gone


def require_apart(splits: Mapping[str, Sequence[Path]], problems: Problems, how: str) -> dict[str, Sequence[Path]]:
    """The splits, with val left out (and noted) where it is test under another name. DatasetError where the pool is the
    held-out split, or holds all of it; `how` says where splits are named, for the remedy."""
    paths = {split: set(of_split) for split, of_split in splits.items()}
    for split in ("val", "test"):
        inside = bool(paths.get(split)) and paths[split] <= paths["train"]
        whole = inside and paths[split] == paths["train"]
        if inside and (not problems.leave_out or whole):
            raise DatasetError(
                f"every image of the {split} split is in the train split too",
                where=str(problems.root),
                remedy=f"name other images as {split}{how}, or remove it and draw one from the pool: dataset.test=20%"
                if whole
                else f"name the train split without them{how}, or leave them out of it with dataset.bad_rows=leave_out",
            )
    if paths.get("val") and paths.get("val") == paths.get("test"):
        problems.notes.add("split named twice: val and test are the same images, used as test", str(problems.root))
        return {split: of_split for split, of_split in splits.items() if split != "val"}
    return dict(splits)


def check_not_empty(
    split: str, images: int, boxes: int, where: str, problems: Problems, lost: str = "", remedy: str = GIVE_LABELS
) -> None:
    """A split without images or without a single object can neither be learned from nor evaluated on. `boxes` are those left
    after every filter, `lost` says what the filters took."""
    if not images:
        problems.add(f"the {split} split has no images ({', '.join(IMAGE_SUFFIXES)})", where, GIVE_IMAGES)
    elif not boxes:
        left = f": {lost}" if lost else ""
        problems.add(f"the {split} split has {images} images but not one labeled object{left}", where, remedy)


def box_problems(boxes: NDArray[np.float64], extent: NDArray[np.float64], slack: float) -> dict[int, str]:
    """{row: what is wrong} for xyxy `boxes` [K,4] in images of `extent` [K,2]; empty where all are good.

    Wrong is a number that is not finite, a side that is not positive (before or after clipping), or a corner outside
    the image by more than `slack`. All in one unit, px or shares of the image.
    """
    with np.errstate(invalid="ignore"):
        sides = boxes[:, 2:] - boxes[:, :2]
        inside = clip(boxes, extent)
        infinite = ~np.all(np.isfinite(boxes), axis=1)
        empty = ~np.all(sides > TINY_PX, axis=1)
        outside = np.any(boxes[:, :2] < -slack, axis=1) | np.any(boxes[:, 2:] > extent + slack, axis=1)
        nothing_left = ~np.all(inside[:, 2:] - inside[:, :2] > TINY_PX, axis=1)
    found = {}
    for row in np.flatnonzero(infinite | empty | outside | nothing_left).tolist():
        corners = ", ".join(f"{value:.7g}" for value in boxes[row])
        frame = f"0..{extent[row, 0]:g} x 0..{extent[row, 1]:g}"
        if infinite[row]:
            found[row] = f"box has a number that is not finite: corners ({corners})"
        elif empty[row]:
            found[row] = f"box is {sides[row, 0]:.7g} wide and {sides[row, 1]:.7g} high, both must be above 0"
        elif outside[row]:
            found[row] = f"box with corners ({corners}) reaches outside the image, {frame}, by more than {slack:g}"
        else:
            found[row] = f"box with corners ({corners}) lies wholly outside the image, {frame}"
    return found


def clip(boxes: NDArray[np.float64], extent: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes [K,4] xyxy cut to 0..extent [K,2]."""
    return np.clip(boxes, 0, np.hstack([extent, extent]))


def count_splits(splits: Splits, unlabeled: Mapping[str, int] | None = None) -> list[dict[str, str | int]]:
    """One row a split for `al data`: counts of images, negatives, boxes by COCO size, the commonest and rarest class.

    `unlabeled` says how many images of each split have no label file, where labels lie in files. Crowd regions are not
    counted as boxes. Of classes with equal counts the first is named.
    """
    rows: list[dict[str, str | int]] = []
    for split, data in named_splits(splits):
        areas = np.concatenate([image.areas[~image.crowd] for image in data.images])
        counts = objects_by_class(data)
        most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
        rows.append(
            {
                "split": split,
                "images": len(data),
                **({} if unlabeled is None else {"no label file": unlabeled[split]}),
                "negatives": sum(not len(image.boxes) for image in data.images),
                "boxes": len(areas),
                "small": int((areas < SMALL_PX2).sum()),
                "medium": int(((areas >= SMALL_PX2) & (areas < MEDIUM_PX2)).sum()),
                "large": int((areas >= MEDIUM_PX2).sum()),
                "most common": f"{most} ({counts[most]})",
                "rarest": f"{least} ({counts[least]})",
            }
        )
    return rows


def count_images(splits: Splits) -> list[dict[str, str | int]]:
    """One row a split for `al data`, of images with one class each: images, classes that have one, the commonest and rarest.

    The rarest is one of those that have an image. Of classes with equal counts the first is named.
    """
    rows: list[dict[str, str | int]] = []
    for split, data in named_splits(splits):
        counts = {name: count for name, count in objects_by_class(data).items() if count}
        most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
        rows.append(
            {
                "split": split,
                "images": len(data),
                "classes with images": len(counts),
                "most common": f"{most} ({counts[most]})",
                "rarest": f"{least} ({counts[least]})",
            }
        )
    return rows
