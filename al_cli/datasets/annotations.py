"""The annotations of one COCO file as a table: what is no annotation is reported, and boxes of no area are left out aloud.

Knows nothing of folders and splits: the file's rows and its images' sizes come in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from al_cli.datasets.checks import Problems, box_problems, quoted, shortened

HUGE = 1e30  # px: what no image has and every float holds
BAD_ANNOTATION = "annotations that cannot be read"
SLACK_PX = 1.0  # how far a corner may lie outside its image: rounding, clipped


class Annotations(NamedTuple):
    """Of K annotations: image ids [K], category ids [K], boxes [K,4] xyxy in px, areas [K] (NaN: the file gives none), crowd
    [K], and their places in the file's list [K]."""

    images: NDArray[np.int64]
    categories: NDArray[np.int64]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    places: NDArray[np.int64]

    def only(self, which: NDArray[np.bool_]) -> Annotations:
        """Those of a mask [K]."""
        columns = self.images[which], self.categories[which], self.boxes[which], self.areas[which], self.crowd[which]
        return Annotations(*columns, self.places[which])


def read_annotations(
    file: Path,
    rows: Sequence[Any],
    sizes: Mapping[int, tuple[int, int]],
    skipped: Collection[str],
    names: Mapping[int, str],
    problems: Problems,
) -> Annotations:
    """The sound ones of a file's annotations, in its order. `sizes` has (width, height) of the images that are read, `names`
    the categories; annotations of the `skipped` images, whose ids
    are given as text, are passed over."""
    columns = list(zip(*_sound(file, rows, sizes, skipped, names, problems), strict=True)) or [()] * 6
    images, categories, places = (np.array(columns[n], dtype=np.int64) for n in (0, 1, 5))
    boxes = np.array(columns[2], dtype=np.float64).reshape(-1, 4)
    # COCO's own train2017 has two boxes of zero width or height, so they are no reason to refuse a file.
    flat = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:].min(axis=1) == 0)
    for place in places[flat].tolist():
        problems.notes.add("boxes of zero width or height, left out", f"{file}, {_called(rows, place)}")
    boxes[:, 2:] += boxes[:, :2]
    areas, crowd = np.array(columns[3], dtype=np.float64), np.array(columns[4], dtype=bool)
    table = Annotations(images, categories, boxes, areas, crowd, places).only(~flat)
    bad = box_problems(table.boxes, extents(table, sizes), SLACK_PX)
    for n, wrong in bad.items():
        problems.row(BAD_ANNOTATION, wrong, f"{file}, {_called(rows, table.places[n])}")
    return table.only(~np.isin(np.arange(len(table.images)), list(bad)))


def extents(table: Annotations, sizes: Mapping[int, tuple[int, int]]) -> NDArray[np.float64]:
    """[K,2] width and height of each annotation's image."""
    return np.array([sizes[image] for image in table.images.tolist()], dtype=np.float64).reshape(-1, 2)


def is_id(value: Any) -> TypeGuard[int]:
    """Whether a value of the file is an id."""
    return type(value) is int and abs(value) < 2**63  # what fits a column of int64


def why_no_id(value: Any) -> str:
    """Why a value is no id."""
    if type(value) is int:
        return f"{shortened(value)} is beyond 64 bits"
    written = isinstance(value, str) or (type(value) is float and value.is_integer())
    how = ": write it without quotes or a decimal point" if written else ""
    return f"{quoted(value)} is not a whole number{how}"


def _called(rows: Sequence[Any], place: int) -> str:
    row = rows[place]
    return f"annotation id {quoted(row['id'])}" if row.get("id") is not None else f"annotations[{place}]"


Sound = tuple[int, int, list[float], float, bool, int]  # image id, category id, x y w h, area or NaN, crowd, place


def _sound(
    file: Path,
    rows: Sequence[Any],
    sizes: Mapping[int, tuple[int, int]],
    skipped: Collection[str],
    names: Mapping[int, str],
    problems: Problems,
) -> Iterator[Sound]:
    """The annotations whose fields are sound and whose image could be read; the others are reported."""
    seen = set()
    number = {int, float}
    for n, row in enumerate(rows):
        image, category, box = row.get("image_id"), row.get("category_id"), row.get("bbox")
        area, crowd = row.get("area"), row.get("iscrowd")
        own = repr(row.get("id"))
        known = type(image) is int and image in sizes
        passed_over = not known and repr(image) in skipped
        wrong = ""
        if own in seen and row.get("id") is not None:  # null as absent, here and below
            wrong = "its id comes twice"
        elif not known and not passed_over:
            unlisted = f"{shortened(image)} is not in the list of images"
            wrong = f"image_id {unlisted if is_id(image) else why_no_id(image)}"
        elif type(category) is not int:
            wrong = f"category_id {why_no_id(category)}"
        elif category not in names:
            wrong = f"category_id {shortened(category)} is not in the list of categories"
        elif not isinstance(box, list) or len(box) != 4 or not {type(value) for value in box} <= number:
            wrong = f"bbox {quoted(box)} is not [x, y, width, height]"
        elif HUGE < max(map(abs, box)) < float("inf"):  # more than a float may hold; infinity is told with the box
            wrong = f"bbox {quoted(box)} is beyond any image"
        elif area is not None and (type(area) not in number or not 0 <= area <= HUGE):
            wrong = f"area {quoted(area)} is not a number of at least 0"
        elif crowd not in (0, 1, None):
            wrong = f"iscrowd {quoted(crowd)} is neither 0 nor 1"
        seen.add(own)
        if row.get("ignore") and not crowd and not wrong:
            problems.notes.add("annotations marked `ignore`, read as ordinary objects", f"{file}, {_called(rows, n)}")
        if wrong:
            problems.row(BAD_ANNOTATION, wrong, f"{file}, {_called(rows, n)}")
        elif known:
            yield image, category, box, float("nan") if area is None else area, bool(crowd), n
