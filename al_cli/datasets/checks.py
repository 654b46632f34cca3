"""What every dataset format is held to: one report of all that is wrong, no image in two splits, boxes inside images.

Knows nothing of YOLO or COCO: paths and arrays come in, problems and tables go out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from al_cli.datasets.headers import OF_NOTHING, read_digests
from al_cli.errors import DatasetError
from al_cli.types import Dataset, Splits

SHOWN = 10
TINY_PX = 1e-12  # a side this short is the rounding of a subtraction, and gone once scaled to pixels
SMALL_PX2, MEDIUM_PX2 = 32**2, 96**2  # COCO's borders between small, medium and large
IMAGE_SUFFIXES = (".bmp", ".jfif", ".jpeg", ".jpg", ".mpo", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class Problems:
    """Collects what is wrong with a dataset, so that the user corrects all of it at once."""

    def __init__(self, root: Path):
        self.root, self.count = root, 0
        self.first: list[tuple[str, str]] = []

    def add(self, what: str, where: str) -> None:
        """`what` is wrong and with which value; `where` is the file and its line or annotation id."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append((what, where))

    def check(self) -> None:
        """DatasetError with the count and the first ten problems, if there are any."""
        if not self.count:
            return
        if self.count == 1:
            what, where = self.first[0]
            raise DatasetError(what, where=where, remedy="correct or remove it and run again")
        these = "these" if self.count <= SHOWN else f"these and {self.count - SHOWN} more"
        lines = "".join(f"\n  {where}: {what}" for what, where in self.first)
        raise DatasetError(
            f"{self.count} problems", where=str(self.root), remedy=f"correct or remove {these} and run again{lines}"
        )


def require_held_out(found: Collection[str], where: Path, remedy: str) -> None:
    """DatasetError unless there is a train split to pick images from and another one to evaluate on."""
    if "train" not in found:
        raise DatasetError("there is no train split, the pool to pick images from", where=str(where), remedy=remedy)
    if not {"val", "test"} & set(found):
        raise DatasetError(
            "there is no held-out split: every round is evaluated on images that are never trained on",
            where=str(where),
            remedy=remedy,
        )


def to_splits(name: str, found: Mapping[str, Dataset]) -> Splits:
    """Two held-out splits are val and test; a single one is the test split, so that it never steers training."""
    if "val" in found and "test" in found:
        return Splits(name, found["train"], found["val"], found["test"])
    return Splits(name, found["train"], None, found["val"] if "val" in found else found["test"])


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
) -> None:
    """One image in two splits: the same path, or the same bytes (links and renamed copies). Also a path twice in one."""
    seen: dict[Path, str] = {}
    originals: dict[str, tuple[str, Path]] = {}
    for split, paths in splits.items():
        for path, content in zip(paths, contents[split], strict=True):
            if path in seen:
                again = "twice" if seen[path] == split else "too"
                problems.add(f"image of the {seen[path]} split is in the {split} split {again}", str(path))
                continue
            seen[path] = split
            first_split, first = originals.setdefault(content, (split, path)) if content else (split, path)
            if first_split != split:
                problems.add(f"image of the {split} split is also in the {first_split} split, as {first}", str(path))


def check_not_empty(split: str, images: int, boxes: int, where: str, problems: Problems) -> None:
    """A split without images or without a single object can neither be learned from nor evaluated on."""
    if not images:
        problems.add(f"the {split} split has no images ({', '.join(IMAGE_SUFFIXES)})", where)
    elif not boxes:
        problems.add(f"the {split} split has {images} images but not one labeled object", where)


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


def count_splits(splits: Splits) -> list[dict[str, str | int]]:
    """One row a split for `al data`: counts of images, negatives, boxes by COCO size, the commonest and rarest class.

    Crowd regions are not counted as boxes. Of classes with equal counts the first is named.
    """
    rows: list[dict[str, str | int]] = []
    for split, data in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        if data is None:
            continue
        areas = np.concatenate([image.areas[~image.crowd] for image in data.images])
        classes = np.concatenate([image.classes[~image.crowd] for image in data.images])
        counts = np.bincount(classes, minlength=len(data.class_names))
        most, least = int(counts.argmax()), int(counts.argmin())
        rows.append(
            {
                "split": split,
                "images": len(data),
                "negatives": sum(not len(image.boxes) for image in data.images),
                "boxes": len(areas),
                "small": int((areas < SMALL_PX2).sum()),
                "medium": int(((areas >= SMALL_PX2) & (areas < MEDIUM_PX2)).sum()),
                "large": int((areas >= MEDIUM_PX2).sum()),
                "most common": f"{data.class_names[most]} ({counts[most]})",
                "rarest": f"{data.class_names[least]} ({counts[least]})",
            }
        )
    return rows
