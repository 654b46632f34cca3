"""COCO datasets: a folder of images and an instances json for each split, read in place.

Category ids may have gaps: they become classes 0..C-1 in ascending order, and `Dataset.category_ids` maps them back.
Crowd regions and the file's own areas are kept; images without annotations are negatives. Where no split is named, the
layouts of Roboflow, of COCO itself and `annotations/{train,val,test}.json` are recognised.
Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from al_cli.datasets.checks import (
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

log = logging.getLogger("al")
SLACK_PX = 1.0  # how far a corner may lie outside its image: rounding, clipped
FOLDERS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
LAYOUTS = (
    "name the splits: dataset.train.images=DIR dataset.train.annotations=FILE, and the same for val and test. "
    "Recognised without: train/_annotations.coco.json (with valid/, test/), annotations/instances_train2017.json with "
    "train2017/, annotations/train.json with images/train/ or train/"
)
ImagesAndJson = tuple[Path, Path]  # folder of images, instances json
Split = Mapping[str, str]


def load_coco(
    root: str | Path,
    *,
    train: Split | None = None,
    val: Split | None = None,
    test: Split | None = None,
    name: str = "",
    notes: Notes | None = None,
) -> Splits:
    """Read a COCO dataset. A split is `{"images": folder, "annotations": file}`, relative to `root`.

    Where no split is named, all are found by their layout. Image ids count from 0 over train, val and test, each split sorted
    by name, as those of every format; `source_id` is the file's. `name` defaults to the folder's name. What is odd but read
    goes into `notes`. DatasetError lists all that is broken.
    """
    notes = Notes() if notes is None else notes
    root = Path(root).expanduser().absolute()
    if not root.is_dir():
        raise DatasetError("there is no such folder", where=str(root), remedy="correct dataset.root")
    given = {split: value for split, value in (("train", train), ("val", val), ("test", test)) if value is not None}
    sources = {split: _named(root, split, value) for split, value in given.items()} if given else _detect(root)
    require_held_out(sources, root, LAYOUTS)
    tables = {split: _read_json(file) for split, (_, file) in sources.items()}
    problems = Problems(root)
    categories = _categories(tables, sources, problems)
    files = {split: _image_files(*sources[split], tables[split], problems) for split in sources}
    paths = {split: list(of_split.values()) for split, of_split in files.items()}
    contents = read_contents(paths)
    check_leakage(paths, contents, problems)
    found = {}
    first_id = 0
    for split, (folder, file) in sources.items():
        names = names_of(paths[split], [folder] * len(paths[split]), root)
        rows = sorted(zip(names, files[split], paths[split], contents[split], strict=True))
        listed = {
            i: Listed(number, name, path, content) for number, (name, i, path, content) in enumerate(rows, first_id)
        }
        found[split] = _dataset(split, file, tables[split], listed, categories, problems, notes)
        first_id += len(listed)
    problems.check()
    return to_splits(name or root.name, {split: data for split, data in found.items() if data is not None})


def _named(root: Path, split: str, value: Split) -> ImagesAndJson:
    if set(value) != {"images", "annotations"}:
        raise DatasetError(
            f"{split} has the keys {sorted(value)}",
            where=str(root),
            remedy="give it exactly `images` and `annotations`",
        )
    folder, file = root / value["images"], root / value["annotations"]
    if not folder.is_dir():
        raise DatasetError(f"{split}.images is not a folder", where=str(folder), remedy="correct it")
    return folder, file


def _detect(root: Path) -> dict[str, ImagesAndJson]:
    """{split: source} of a layout that is known; what is not there is left out."""
    sources = {}
    for split, folders in FOLDERS.items():
        found = [source for folder in folders for source in _candidates(root, folder)]
        if len(found) > 1:
            files = ", ".join(str(file.relative_to(root)) for _, file in found)
            raise DatasetError(f"the {split} split could be any of {files}", where=str(root), remedy=LAYOUTS)
        if found:
            sources[split] = found[0]
    return sources


def _candidates(root: Path, split: str) -> Iterator[ImagesAndJson]:
    if (root / split / "_annotations.coco.json").is_file():
        yield root / split, root / split / "_annotations.coco.json"
    annotations = root / "annotations"
    if not annotations.is_dir():
        return
    for file in sorted(annotations.iterdir()):
        match = re.fullmatch(rf"(?:instances_)?({split}\d*)\.json", file.name)
        if match:
            for folder in (root / "images" / match[1], root / match[1]):
                if folder.is_dir():
                    yield folder, file
                    break
            else:
                raise DatasetError(
                    f"there is no folder of images for this file, neither images/{match[1]} nor {match[1]}",
                    where=str(file),
                    remedy=LAYOUTS,
                )


def _read_json(file: Path) -> dict[str, Any]:
    """The file's three tables, each a list of mappings. DatasetError where it is something else."""
    try:
        table = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise DatasetError("there is no such file", where=str(file), remedy=LAYOUTS) from error
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"cannot be read as JSON: {error}", where=str(file), remedy="correct or replace it"
        ) from error
    for key in ("images", "annotations", "categories"):
        rows = table.get(key) if isinstance(table, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise DatasetError(f"has no list of {key}", where=str(file), remedy="it must be a COCO instances file")
    return table


def _categories(tables: Mapping[str, Any], sources: Mapping[str, ImagesAndJson], problems: Problems) -> dict[int, str]:
    """{category id: name} of all splits together, by ascending id.

    Roboflow adds a category for the whole project: one that is another's supercategory and has no annotation goes.
    """
    names: dict[int, str] = {}
    parents: dict[str, set[str]] = {}  # supercategory -> its categories
    for split, table in tables.items():
        where = str(sources[split][1])
        listed = Counter(repr(row.get("id")) for row in table["categories"])
        for category, count in listed.items():
            if count > 1:
                problems.add(f"category id {category} is given {count} times", where)
        for row in table["categories"]:
            category, name = row.get("id"), row.get("name")
            if not _is_id(category) or not isinstance(name, str) or not name:
                problems.add(
                    f"a category needs a whole number as id and a name, got id {category!r}, name {name!r}", where
                )
            elif names.setdefault(category, name) != name:
                problems.add(f"category {category} is '{name}' here and '{names[category]}' elsewhere", where)
            else:
                parents.setdefault(str(row.get("supercategory")), set()).add(name)
    used = {repr(row.get("category_id")) for table in tables.values() for row in table["annotations"]}
    kept = {
        category: name
        for category, name in sorted(names.items())
        if repr(category) in used or not parents.get(name, set()) - {name}
    }
    for name, count in Counter(kept.values()).items():
        if count > 1:
            problems.add(f"{count} categories are named '{name}'", str(problems.root))
    return kept


def _is_id(value: Any) -> TypeGuard[int]:
    return type(value) is int and abs(value) < 2**63  # what fits a column of int64


def _image_files(folder: Path, file: Path, table: dict[str, Any], problems: Problems) -> dict[int, Path]:
    """{image id: path} of the images that are listed soundly, ids ascending."""
    paths: dict[int, Path] = {}
    ids: dict[str, int] = {}
    for row in table["images"]:
        image, name = row.get("id"), row.get("file_name")
        if not _is_id(image) or not isinstance(name, str) or not name:
            problems.add(f"an image needs a whole number as id and a file_name, got id {image!r}, {name!r}", str(file))
        elif image in paths:
            problems.add(f"image id {image} is given to {paths[image].name} and to {name}", str(file))
        elif name in ids:
            problems.add(f"file_name {name} is given to the images {ids[name]} and {image}", str(file))
        else:
            paths[image], ids[name] = folder / name, image
    return dict(sorted(paths.items()))


class Listed(NamedTuple):
    """An image of the file's list: al's number, the name, where it lies, and the digest of its bytes."""

    number: int
    name: str
    path: Path
    content: str


def _dataset(
    split: str,
    file: Path,
    table: dict[str, Any],
    listed: dict[int, Listed],
    names: dict[int, str],
    problems: Problems,
    notes: Notes,
) -> Dataset | None:
    """One split, its images `listed` by the file's ids, in al's order. None where its images or annotations cannot be put in a
    table, which `problems` then says."""
    before = problems.count
    sizes = dict(zip(listed, read_sizes([image.path for image in listed.values()], problems.add), strict=True))
    _check_sizes(file, table, sizes, problems)
    rows = _without_flat_boxes(file, list(_annotations(file, table, sizes, names, problems)), notes)
    check_not_empty(split, len(table["images"]), len(table["annotations"]), str(file), problems)
    boxes = np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    extent = np.array([sizes[row[0]] for row in rows], dtype=np.float64).reshape(-1, 2)
    for n, wrong in box_problems(boxes, extent, SLACK_PX).items():
        problems.add(wrong, f"{file}, {rows[n][5]}")
    if problems.count > before:
        return None
    boxes = clip(boxes, extent)
    sides = boxes[:, 2:] - boxes[:, :2]
    areas = np.array([row[3] for row in rows], dtype=np.float64)  # NaN: the file gives none
    areas = np.where(np.isnan(areas), sides[:, 0] * sides[:, 1], areas)
    class_of = {category: n for n, category in enumerate(names)}
    classes = np.array([class_of[row[1]] for row in rows], dtype=np.int64)
    crowd = np.array([row[4] for row in rows], dtype=bool)
    of: dict[int, list[int]] = {image: [] for image in listed}  # rows of each image, in the file's order
    for n, row in enumerate(rows):
        of[row[0]].append(n)
    images = (
        Image(
            number,
            path,
            *sizes[i],
            boxes[of[i]],
            classes[of[i]],
            crowd[of[i]],
            areas[of[i]],
            name=name,
            content=content,
            source_id=i,
        )
        for i, (number, name, path, content) in listed.items()
    )
    return Dataset(tuple(names.values()), tuple(images), tuple(names))


def _without_flat_boxes(file: Path, rows: list[Any], notes: Notes) -> list[Any]:
    """The rows without boxes of zero width or height: COCO's own train2017 has two, so they are no reason to refuse a file."""
    flat = [row for row in rows if np.isfinite(row[2]).all() and min(row[2][2:]) == 0]
    if flat:
        shown = ", ".join(row[5] for row in flat[:5]) + (", ..." if len(flat) > 5 else "")
        log.warning("%s: %d box(es) of zero width or height are left out (%s)", file, len(flat), shown)
    for row in flat:
        notes.add("boxes of zero width or height, left out", f"{file}, {row[5]}")
    dropped = {id(row) for row in flat}
    return [row for row in rows if id(row) not in dropped]


def _check_sizes(file: Path, table: dict[str, Any], sizes: dict[int, tuple[int, int]], problems: Problems) -> None:
    """The file's width and height against the image's own, as it is seen after its EXIF orientation."""
    for row in table["images"]:
        image = row.get("id")
        if type(image) is not int or sizes.get(image, (0, 0)) == (0, 0) or "width" not in row or "height" not in row:
            continue
        written, seen = (row["width"], row["height"]), sizes[image]
        if written != seen:
            turned = ", its size before the EXIF orientation is applied" if written == seen[::-1] else ""
            problems.add(
                f"{row.get('file_name')} is {seen[0]} x {seen[1]} px, listed as {written[0]} x {written[1]}{turned}",
                f"{file}, image id {image}",
            )


JsonRow = tuple[int, int, list[float], float, bool, str]  # image id, category id, x y w h, area or NaN, crowd, where


def _annotations(
    file: Path,
    table: dict[str, Any],
    sizes: Mapping[int, tuple[int, int]],
    names: Mapping[int, str],
    problems: Problems,
) -> Iterator[JsonRow]:
    """The annotations whose fields are sound and whose image could be read; the others are reported."""
    seen = set()
    number = {int, float}
    unread = {image for image, size in sizes.items() if size == (0, 0)}
    for n, row in enumerate(table["annotations"]):
        where = f"annotation id {row['id']!r}" if "id" in row else f"annotations[{n}]"
        image, category, box = row.get("image_id"), row.get("category_id"), row.get("bbox")
        area, crowd = row.get("area"), row.get("iscrowd", 0)
        wrong = ""
        if "id" in row and repr(row["id"]) in seen:
            wrong = "its id comes twice"
        elif type(image) is not int or image not in sizes:
            wrong = f"image_id {image!r} is not in the list of images"
        elif type(category) is not int or category not in names:
            wrong = f"category_id {category!r} is not in the list of categories"
        elif not isinstance(box, list) or len(box) != 4 or not {type(value) for value in box} <= number:
            wrong = f"bbox {box!r} is not [x, y, width, height]"
        elif area is not None and (type(area) not in number or not 0 <= area < float("inf")):
            wrong = f"area {area!r} is not a number of at least 0"
        elif crowd not in (0, 1):
            wrong = f"iscrowd {crowd!r} is neither 0 nor 1"
        seen.add(repr(row.get("id")))
        if wrong:
            problems.add(wrong, f"{file}, {where}")
        elif image not in unread:
            yield image, category, box, float("nan") if area is None else area, bool(crowd), where
