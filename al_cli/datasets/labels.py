"""YOLO label files: which one belongs to an image, what its rows say, and which images have none.

`.../images/x.jpg` has its labels in `.../labels/x.txt`, by the last folder `images` of its path below the dataset's root;
without one, next to the image. A file is also found next to an image that has a folder of labels, in other capitals and in
another of Unicode's forms; label files that no image claims are counted.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from al_cli.datasets.checks import GIVE_LABELS, Problems, box_problems, check_not_empty, clip
from al_cli.datasets.notes import Notes
from al_cli.datasets.places import Places, as_utf8
from al_cli.system import read_regular

SLACK = 0.01  # shares of the image that a corner may lie outside: rounding, clipped
FEW_MISSING = 0.3  # COCO as YOLO lacks the files of its 1% of images without objects; a half-labeled folder lacks 50%
NO_LABELS = ("classes.txt", "labels.txt", "notes.txt", "obj.names.txt", "train.txt", "val.txt", "valid.txt", "test.txt")
OTHER_LABELS = (".xml", ".json")  # formats of one file an image that are not YOLO's
BAD_ROW = "rows that are no label"
MissingLabels = Literal["negative", "refuse", "leave_out"] | None


class Labels(NamedTuple):
    """Of N images with K objects: offsets [N+1], classes [K], boxes [K,4] (xyxy, shares of the image, clipped to 0..1), and
    the positions of the images without a label file."""

    offsets: NDArray[np.int64]
    classes: NDArray[np.int64]
    boxes: NDArray[np.float64]
    missing: list[int]


def images_folder(image: Path, base: Path) -> tuple[Path, str] | None:
    """(the last folder `images` on the way to an image, the image's place in it); None where there is none.

    Below the root `base` only folders below it count: what the root itself lies in says nothing about the dataset.
    """
    for position, part in _parts(image.parent, base):
        if part.casefold() == "images":
            return Path(*image.parts[: position + 1]), "/".join(image.parts[position + 1 :])
    return None


def _parts(folder: Path, base: Path) -> list[tuple[int, str]]:
    """(position, name) of the folders of a path, the last first: those below `base`, all where it does not lie there."""
    first = len(base.parts) if folder.is_relative_to(base) else 1
    return list(enumerate(folder.parts))[first:][::-1]


class LabelFiles:
    """Finds the label file of each image of a dataset, and afterwards those of no image."""

    def __init__(self, base: Path, places: Places, notes: Notes):
        self.base, self.places, self.notes = base, places, notes
        self.claimed: dict[Path, Path] = {}  # label file -> its image
        self.taken: set[Path] = set()  # the label files that `of` found
        self._folders: dict[Path, list[Path]] = {}
        self._names: dict[str, list[tuple[Path, frozenset[str]]]] = {}

    def expected(self, image: Path) -> Path:
        """Where the labels of an image belong."""
        return self.folders(image.parent)[0] / f"{image.stem}.txt"

    def folders(self, images: Path) -> list[Path]:
        """The folders in which the labels of the images of one folder may lie, the most likely first."""
        if images not in self._folders:
            swapped = []
            for position, part in _parts(images, self.base):
                if part.casefold() == "images":
                    above = Path(*images.parts[:position])
                    name = self.places.alike(above, "labels") or "labels"
                    swapped.append(above.joinpath(name, *images.parts[position + 1 :]))
            head, found, tail = f"{images.as_posix()}/".rpartition("/images/")  # as Ultralytics, also above the root
            above_root = [Path(f"{head}/labels/{tail}")] if found else []
            self._folders[images] = list(dict.fromkeys([*swapped, images, *above_root]))
        return self._folders[images]

    def of(self, images: Sequence[Path]) -> list[Path | None]:
        """[N] the label file of each image; None where there is none."""
        found: list[Path | None] = []
        for image in images:  # files that are spelled as they should be go first: a.txt is a.jpg's, not A.jpg's
            name, looked_in = f"{image.stem}.txt", self._listed(image)
            place = next((n for n, (_, names) in enumerate(looked_in) if name in names), None)
            found.append(None if place is None else looked_in[place][0] / name)
            if place:
                self.notes.add("label files found in another place than the others", str(found[-1]))
        exact = set(found) if None in found else set()
        for n, image in enumerate(images):
            if found[n] is None and (near := self._alike(image)) is not None and near not in exact:
                found[n] = near
                self.notes.add("label files found in another spelling than their image's", str(near))
        self.taken.update(path for path in found if path is not None)
        return found

    @cached_property
    def _walked(self) -> list[tuple[str, list[str]]]:
        """(folder, names in it) below the root, of files that may be labels; walked once for all who ask."""
        walked = []
        for place, folders, files in os.walk(self.base):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            walked.append((place, [name for name in files if name.lower().endswith((".txt", *OTHER_LABELS))]))
        return walked

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        """{name: files} of all files below the root that may be labels and are no image's."""
        known = defaultdict(list)
        for place, names in self._walked:
            for name in names:
                if (path := Path(place) / name) not in self.taken:
                    known[name].append(path)
        return known

    def stray(self, image: Path) -> Path | None:
        """A file that no image has and that is called as the labels of this one: in another place, named after the whole file
        name, or of another format. Asked when the files of all images are found."""
        names = (f"{image.stem}.txt", f"{image.name}.txt", *(image.stem + suffix for suffix in OTHER_LABELS))
        called = next((self._by_name[name] for name in names if name in self._by_name), [])
        return max(called, key=lambda path: len({*path.parent.parts} & {*image.parent.parts}), default=None)

    def _listed(self, image: Path) -> list[tuple[Path, frozenset[str]]]:
        """(folder, names in it) of each folder where the labels of an image may lie."""
        # As text: making and hashing each image's `parent` is half of what looking costs.
        above = str(image).rpartition(os.sep)[0]
        if above not in self._names:
            self._names[above] = [(folder, self.places.names(folder)) for folder in self.folders(image.parent)]
        return self._names[above]

    def _alike(self, image: Path) -> Path | None:
        for folder in self.folders(image.parent):
            if (name := self.places.alike(folder, f"{image.stem}.txt")) is not None:
                return folder / name
        return None

    def note_orphans(self, lists: Iterable[Path]) -> None:
        """Note the label files below the root that are no image's; `lists` are the text files that list images."""
        known = {str(path) for path in (*self.taken, *lists)}
        searched = {folder for folders in self._folders.values() for folder in folders}
        for place, names in self._walked:
            folder = Path(place)
            if folder not in searched and not any(part.casefold() == "labels" for _, part in _parts(folder, self.base)):
                continue
            for name in sorted(names):
                called = name.lower()
                no_label = called.startswith((".", "readme")) or called in NO_LABELS or not called.endswith(".txt")
                if not no_label and (path := f"{place}{os.sep}{name}") not in known:
                    self.notes.add("label files of no image", path)


def read_labels(
    split: str,
    images: Sequence[Path],
    found: Sequence[Path | None],
    where: str,
    files: LabelFiles,
    num_classes: int,
    missing_labels: MissingLabels,
    problems: Problems,
) -> Labels:
    """The labels of one split's images, whose label files are `found`; `where` is what data.yaml calls the split."""
    rows: list[list[float]] = []  # class x1 y1 x2 y2
    numbers: list[int] = []  # the line of each row
    owner: list[int] = []  # the image of each row
    missing: list[int] = []
    lines = 0
    for n, (image, file) in enumerate(zip(images, found, strict=True)):
        if file is None:
            missing.append(n)
            continue
        first = files.claimed.setdefault(file, image)
        if first is not image and first != image:
            problems.add(f"shares its label file {file} with {first.name}", str(image))
        try:
            text = read_regular(file)
        except OSError as error:
            problems.add(f"cannot be read: {error.strerror}", str(file))
            continue
        for number, line in enumerate(as_utf8(text).splitlines(), 1):
            if tokens := line.split():
                lines += 1
                try:
                    row = parse_row(tokens)
                except ValueError as error:
                    what = f"{error} in '{line.decode(errors='replace').strip()[:80]}'"
                    problems.row(BAD_ROW, what, f"{file}:{number}")
                else:
                    rows.append(row)
                    numbers.append(number)
                    owner.append(n)

    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    classes, boxes = table[:, 0], table[:, 1:]
    unit = np.ones((len(boxes), 2))
    wrong = box_problems(boxes, unit, SLACK)
    for n in wrong:
        if 2 < np.abs(boxes[n]).max() < np.inf:
            wrong[n] += ": YOLO's numbers are shares of the image's width and height, no pixels"
    for n in np.flatnonzero(~(np.isin(classes, np.arange(num_classes)))).tolist():
        from_one = ": classes are numbered from 0" if classes[n] == num_classes and not (classes == 0).any() else ""
        wrong[n] = f"class {classes[n]:g} is not one of 0..{num_classes - 1}{from_one}"
    for n in sorted(wrong):
        problems.row(BAD_ROW, wrong[n], f"{found[owner[n]]}:{numbers[n]}")
    good = np.setdiff1d(np.arange(len(rows)), np.fromiter(wrong, dtype=np.int64, count=len(wrong)))

    left = len(good) if problems.leave_out else lines  # rows that are refused are a problem of their own
    if left:
        _settle_missing(split, [images[n] for n in missing], len(images), files, missing_labels, problems)
    else:
        looked_for = f", labels looked for as {files.expected(images[0])}" if images else ""
        there, remedy = _strays([images[n] for n in missing], files)
        lost = [f"{len(missing)} have no label file{there}"] * bool(missing)
        lost += [f"{lines} rows are left out"] * bool(lines)
        check_not_empty(split, len(images), 0, where + looked_for, problems, ", ".join(lost), remedy)
    offsets = np.concatenate(
        [[0], np.cumsum(np.bincount(np.array(owner, dtype=np.int64)[good], minlength=len(images)))]
    )
    return Labels(offsets, classes[good].astype(np.int64), clip(boxes[good], unit[good]), missing)


def _settle_missing(
    split: str, missing: Sequence[Path], total: int, files: LabelFiles, how: MissingLabels, problems: Problems
) -> None:
    """What becomes of images without a label file: they may hold no object, or not be labeled yet."""
    if not missing:
        return
    many = len(missing) > FEW_MISSING * total
    there, remedy = _strays(missing, files)
    if how == "refuse" or (how is None and many):
        settle = (
            "if they hold no object, set dataset.missing_labels=negative; if they are not labeled yet, "
            "dataset.missing_labels=leave_out"
        )
        these = "this image has" if len(missing) == 1 else f"{len(missing)} of {total} {split} images have"
        problems.add(
            f"{these} no label file, looked for as {files.expected(missing[0])}{there}",
            str(missing[0]),
            f"{remedy}; {settle}" if there else settle,
        )
    else:
        what = "left out" if how == "leave_out" else "read as images without objects"
        for image in missing:
            files.notes.add(f"{split} images without a label file, {what}", str(image))
            if (path := files.stray(image)) is not None:
                files.notes.add("files that may be their labels, in another place or format, not read", str(path))


def _strays(missing: Sequence[Path], files: LabelFiles) -> tuple[str, str]:
    """What to say of the images without a label file, and what to do: whether a file that is theirs lies elsewhere."""
    path = next((path for image in missing if (path := files.stray(image)) is not None), None)
    if path is None:
        return "", GIVE_LABELS
    if path.suffix.lower() in OTHER_LABELS:
        return f", but {path} is there", "export YOLO from the tool that wrote such files"
    return f", but {path} is there", "move or rename such files to where labels are looked for"


def _no_number(tokens: list[bytes]) -> str:
    """What to say of the first of these tokens that is none."""
    for token in tokens:
        try:
            float(token)
        except ValueError:
            break
    return f"'{token.decode(errors='replace')[:80]}' is no number, and rows are numbers with spaces between them,"


def parse_row(tokens: list[bytes]) -> list[float]:
    """class, x1, y1, x2, y2 of one row's tokens. ValueError says what is wrong with it."""
    if b"_" in b" ".join(tokens):
        raise ValueError("'_' is no part of a number")  # which Python's float would take
    try:
        numbers = [float(token) for token in tokens]
    except ValueError:
        raise ValueError(_no_number(tokens)) from None
    if len(numbers) == 5:
        label, cx, cy, w, h = numbers
        return [label, cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
    if len(numbers) == 6:
        raise ValueError("6 numbers, a prediction with its confidence and not a label,")
    if len(numbers) < 5 or len(numbers) % 2 == 0:
        raise ValueError(f"{len(numbers)} numbers, neither `class cx cy w h` nor a polygon,")
    x, y = numbers[1::2], numbers[2::2]
    return [numbers[0], min(x), min(y), max(x), max(y)]
