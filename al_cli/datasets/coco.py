"""COCO datasets: a folder of images and an instances json for each split, read in place.

Category ids may have gaps: they become classes 0..C-1 in ascending order, and `Dataset.category_ids` maps them back.
Crowd regions and the file's own areas are kept; images without annotations are negatives. Where no split is named, the
layouts of Roboflow and of COCO itself are recognised.
Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from al_cli.datasets.annotations import extents, is_id, read_annotations, why_no_id
from al_cli.datasets.checks import (
    UNLABELED_TEST,
    Problems,
    check_leakage,
    check_not_empty,
    clip,
    quoted,
    read_contents,
    require_apart,
    require_class_names,
    require_left,
    require_pool,
    shortened,
    to_splits,
)
from al_cli.datasets.coco_files import ImagesAndJson, Split, find_sources, named_sources, read_instances
from al_cli.datasets.coco_layouts import LAYOUTS
from al_cli.datasets.exports import explain_path
from al_cli.datasets.headers import is_turned, read_sizes
from al_cli.datasets.names import CONTROL, names_of
from al_cli.datasets.notes import Notes
from al_cli.datasets.places import Places, walk_images
from al_cli.errors import DatasetError
from al_cli.types import Dataset, Image, OwnSplits


def load_coco(
    root: str | Path,
    *,
    train: Split | None = None,
    val: Split | None = None,
    test: Split | None = None,
    name: str = "",
    bad_rows: Literal["refuse", "leave_out"] = "refuse",
    notes: Notes | None = None,
) -> OwnSplits:
    """Read a COCO dataset. A split is `{"images": folder, "annotations": file}`, relative to `root`.

    Where no split is named, all are found by their layout. Image ids count from 0 over train, val and test, each split sorted
    by name, as those of every format; `source_id` is the file's. `name` defaults to the folder's name. `bad_rows` says
    whether rows and images that cannot be read, and the pool's images that are held out too, stop the reading. What is odd but
    read goes into `notes`. DatasetError lists all that is broken.
    """
    notes = Notes() if notes is None else notes
    root = Path(root).expanduser().absolute()
    if not root.is_dir():
        raise explain_path(root)
    given = {split: value for split, value in (("train", train), ("val", val), ("test", test)) if value is not None}
    sources = named_sources(root, given) if given else find_sources(root)
    require_pool(sources, root, LAYOUTS)
    problems = Problems(root, notes, leave_out=bad_rows == "leave_out")
    tables = {
        split: read_instances(file, labeled=split != "test" or "val" not in sources)
        for split, (_, file) in sources.items()
    }
    if "val" in tables and not tables.get("test", {"annotations": True})["annotations"]:
        notes.add(UNLABELED_TEST, str(sources["test"][1]))
        del tables["test"]
    places = Places()
    categories = _categories(tables, sources, problems)
    problems.check()  # annotations go by their categories, and would be told one by one
    files = {split: _image_files(*sources[split], tables[split], places, problems) for split in tables}
    apart = require_apart({split: list(of_split.values()) for split, of_split in files.items()}, problems, "")
    paths = {split: list(of_split) for split, of_split in apart.items()}
    contents = read_contents(paths)
    gone = check_leakage(paths, contents, problems)
    found = {}
    first_id = 0
    unread = functools.partial(problems.row, "images that cannot be read")
    for split, of_split in paths.items():
        folder, file = sources[split]
        sizes = read_sizes(of_split, unread)
        names = names_of(of_split, [folder] * len(of_split), root)
        rows = zip(names, files[split], of_split, contents[split], sizes, range(len(of_split)), strict=True)
        kept = [row[:-1] for row in sorted(rows) if row[-1] not in gone[split] and row[-2] != (0, 0)]
        listed = {i: Listed(first_id + n, name, *rest) for n, (name, i, *rest) in enumerate(kept)}
        skipped = {repr(row.get("id")) for row in tables[split]["images"]} - {repr(i) for i in listed}
        found[split] = _dataset(split, file, tables[split], listed, skipped, categories, problems)
        first_id += len(listed)
    _note_unlisted({sources[split][0] for split in paths}, itertools.chain(*paths.values()), notes)
    problems.check()
    splits = {split: data for split, data in found.items() if data is not None}
    for split, data in splits.items():
        require_left(split, data, sources[split][1])
    return to_splits(name or root.name, splits)


def _note_unlisted(folders: Iterable[Path], listed: Iterable[Path], notes: Notes) -> None:
    """Note the images that lie among those of a split and are in no list."""
    known = set(listed)
    for folder in sorted(folders):
        for path in walk_images(folder, notes):
            if path not in known:
                known.add(path)
                notes.add("images in the folders that no json lists, left out", str(path))


def _categories(tables: Mapping[str, Any], sources: Mapping[str, ImagesAndJson], problems: Problems) -> dict[int, str]:
    """{category id: name} of all splits together, by ascending id.

    Roboflow adds a category for the whole project: one that is another's supercategory and has no annotation goes.
    """
    names: dict[int, str] = {}
    parents: dict[str, set[int]] = {}  # supercategory -> its categories
    for split, table in tables.items():
        where = str(sources[split][1])
        listed = Counter(repr(row.get("id")) for row in table["categories"])
        for category, count in listed.items():
            if count > 1:
                problems.add(f"category id {category} is given {count} times", where)
        for row in table["categories"]:
            category, name = row.get("id"), row.get("name")
            if not is_id(category):
                problems.add(f"the category named {quoted(name)}: id {why_no_id(category)}", where)
            elif not isinstance(name, str) or not name:
                problems.add(f"category {category} has the name {quoted(name)}, which must be a text", where)
            elif names.setdefault(category, name) != name:
                here, elsewhere = shortened(name), shortened(names[category])
                remedy = "give a category the same id and name in the files of all splits"
                problems.add(f"category {category} is '{here}' here and '{elsewhere}' elsewhere", where, remedy)
            else:
                parents.setdefault(str(row.get("supercategory")), set()).add(category)
    used = {repr(row.get("category_id")) for table in tables.values() for row in table["annotations"]}
    kept = {
        category: name
        for category, name in sorted(names.items())
        if repr(category) in used or not parents.get(name, set()) - {category}
    }
    if not problems.count:  # else a class may be missing or doubled because of what is told already
        if not kept:
            what = "lists no category"
            raise DatasetError(
                what, where=str(next(iter(sources.values()))[1]), remedy="list the classes as categories"
            )
        require_class_names(list(kept.values()), str(problems.root))
    return kept


def _image_files(
    folder: Path, file: Path, table: dict[str, Any], places: Places, problems: Problems
) -> dict[int, Path]:
    """{image id: path} of the images that are listed soundly and lie in the folder, ids ascending."""
    paths: dict[int, Path] = {}
    ids: dict[Path, int] = {}
    for row in table["images"]:
        image, name = row.get("id"), row.get("file_name")
        wrong = ""
        if not is_id(image):
            wrong = f"the image of file_name {quoted(name)}: id {why_no_id(image)}"
        elif not isinstance(name, str) or not name or CONTROL.search(name):
            wrong = f"image {image} has the file_name {quoted(name)}, which names no file"
        elif image in paths:
            wrong = f"image id {image} is given to {paths[image].name} and to {name}"
        elif (path := places.find(name, [folder])) is None:
            wrong = f"there is no image {folder / name}{places.near(name, folder)}"
        elif path in ids:
            wrong = f"file_name {name} is given to the images {ids[path]} and {image}"
        else:
            paths[image], ids[path] = path, image
        if wrong:
            where = f"{file}, image id {quoted(image)}"
            problems.row("images that are not listed soundly or not there", wrong, where)
    return dict(sorted(paths.items()))


class Listed(NamedTuple):
    """An image of the file's list: al's number, the name, where it lies, the digest of its bytes, and its size."""

    number: int
    name: str
    path: Path
    content: str
    size: tuple[int, int]


def _dataset(
    split: str,
    file: Path,
    table: dict[str, Any],
    listed: dict[int, Listed],
    skipped: Collection[str],
    names: dict[int, str],
    problems: Problems,
) -> Dataset | None:
    """One split, its images `listed` by the file's ids, in al's order; annotations of the `skipped`, whose ids
    are given as text, are passed over. None where its annotations cannot be put in a table, which `problems` then says."""
    before = problems.count
    sizes = {i: image.size for i, image in listed.items()}
    _check_sizes(file, table, listed, problems)
    rows = read_annotations(file, table["annotations"], sizes, skipped, names, problems)
    told = problems.count > before or (skipped and not problems.leave_out)  # why there may be nothing left
    if not told and rows.crowd.all():
        crowds = len(rows.crowd)
        left_out = len(table["annotations"]) - crowds
        lost = [f"{crowds} annotations are crowd regions"] * bool(crowds)
        lost += [f"{left_out} are left out"] * bool(left_out)
        check_not_empty(split, len(table["images"]), 0, str(file), problems, ", ".join(lost))
    if problems.count > before:
        return None
    boxes = clip(rows.boxes, extents(rows, sizes))
    sides = boxes[:, 2:] - boxes[:, :2]
    areas = np.where(np.isnan(rows.areas), sides[:, 0] * sides[:, 1], rows.areas)
    class_of = {category: n for n, category in enumerate(names)}
    classes = np.array([class_of[category] for category in rows.categories.tolist()], dtype=np.int64)
    of: dict[int, list[int]] = {image: [] for image in listed}  # rows of each image, in the file's order
    for n, i in enumerate(rows.images.tolist()):
        of[i].append(n)
    images = (
        Image(
            number,
            path,
            *sizes[i],
            boxes[of[i]],
            classes[of[i]],
            rows.crowd[of[i]],
            areas[of[i]],
            name=name,
            content=content,
            source_id=i,
        )
        for i, (number, name, path, content, _) in listed.items()
    )
    return Dataset(tuple(names.values()), tuple(images), tuple(names))


def _check_sizes(file: Path, table: dict[str, Any], listed: Mapping[int, Listed], problems: Problems) -> None:
    """The file's width and height against the image's own, as it is seen after its EXIF orientation."""
    for row in table["images"]:
        image = row.get("id")
        if type(image) is not int or image not in listed:
            continue
        written, seen = (row.get("width"), row.get("height")), listed[image].size
        if None in written or written == seen:  # absent, as null is
            continue
        texts = [side for side in written if isinstance(side, str)]
        if texts:
            wrong = f"lists a size as text, {texts[0]!r}, which must be a number"
        else:
            wrong = f"is {seen[0]} x {seen[1]} px, listed as {shortened(written[0])} x {shortened(written[1])}"
            if written == seen[::-1]:
                turned = is_turned(listed[image].path)
                wrong += (
                    ", its size before the EXIF orientation is applied"
                    if turned
                    else ": width and height are exchanged"
                )
        problems.add(f"{row.get('file_name')} {wrong}", f"{file}, image id {image}")
