"""A csv of files and labels: a row an image, the columns `file` and `label` and, where the data is divided, `split`.

Header names as people write them (`HEADERS`), in any capitals; commas, semicolons or tabs; the files lie below the csv's
folder or below `images`, with their suffix or without.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from al_cli.datasets.checks import (
    Problems,
    is_class_name,
    quoted,
    require_class_names,
    require_pool,
    shortened,
    to_splits,
)
from al_cli.datasets.names import names_with_folders
from al_cli.datasets.notes import Notes
from al_cli.datasets.places import IMAGE_SUFFIXES, SPLIT_NAMES, Places, read_text
from al_cli.datasets.whole_images import SPLIT_FOLDERS, BadRows, LabeledFile, in_order, read_labeled, subfolders
from al_cli.errors import DatasetError
from al_cli.types import OwnSplits

HEADERS = {
    "file": ("file", "filename", "image", "image_id", "path"),
    "label": ("label", "class", "category"),
    "split": ("split",),
}
BAD_LINE = "rows that name no labeled image"


class _Row(NamedTuple):
    """One image of the csv: where it is written, its split, its file and its label as written."""

    where: str
    split: str
    path: Path
    label: str


def load_csv(
    root: str | Path,
    name: str = "",
    *,
    images: str | None = None,
    class_names: Mapping[str, str] | None = None,
    bad_rows: BadRows = "refuse",
    notes: Notes | None = None,
) -> OwnSplits:
    """Read a csv of files and labels: `root` is the file, or a folder with one csv.

    `images` is the folder that files are relative to, below the csv's own. `class_names` calls the labels, and gives their
    order; without it a class is called as its label, numbers in the order of numbers. Without a column `split` all is pool.
    DatasetError lists all that is broken, with file and line.
    """
    file = csv_of(Path(root).expanduser().absolute())
    problems = Problems(file, notes, leave_out=bad_rows == "leave_out")
    places = Places()
    base = file.parent
    if images is not None:
        images = str(images)  # a folder's name may be a number
        found = places.find(images, [base])
        if found is None or not found.is_dir():
            what = f"there is no folder {images} in {base}{places.near(images, base)}"
            raise DatasetError(what, where=f"dataset.images={images}", remedy="name the folder of the images")
        base = found
    rows = list(_rows(file, base, images, places, problems))
    if class_names is not None:
        for row in rows:
            if row.label not in class_names:
                problems.row(BAD_LINE, f"label {quoted(row.label)} is none of the classes", row.where)
        rows = [row for row in rows if row.label in class_names]
    if not rows:
        problems.check()
        raise DatasetError("has no rows", where=str(file), remedy="give a csv with a row for each image")
    called = class_names or {label: label for label in in_order(row.label for row in rows)}
    names = tuple(called.values())
    require_class_names(names, str(file))
    number = {label: n for n, label in enumerate(called)}
    splits = {split: [row for row in rows if row.split == split] for split in SPLIT_NAMES}
    found_in = {split: of_split for split, of_split in splits.items() if of_split}
    require_pool(found_in, file, "write train into its rows of the column split")
    labeled = {}
    for split, of_split in found_in.items():
        paths = [row.path for row in of_split]
        labeled[split] = [
            LabeledFile(row.path, name, number[row.label])
            for row, name in zip(of_split, names_with_folders(paths, [base] * len(paths), file.parent), strict=True)
        ]
    data = read_labeled(labeled, names, problems, how=" in the column split")
    return to_splits(name or file.parent.resolve().name, data)


def csv_of(root: Path) -> Path:
    """The csv itself, or the only one in a folder."""
    if not root.is_dir():
        return root
    found = sorted(path for path in root.glob("*.[cC][sS][vV]") if not path.name.startswith("."))
    if len(found) == 1:
        return found[0]
    listed = ", ".join(path.name for path in found[:5]) or "none"
    what = f"holds {len(found)} csv files ({listed})" if found else "holds no csv"
    raise DatasetError(
        what, where=str(root), remedy="name the file that has a row for each image: dataset.root=DIR/train.csv"
    )


def delimiter_of(first: str) -> str:
    """What separates the cells, as the first line says."""
    return max(",;\t", key=first.count)


def columns_of(header: Sequence[str]) -> dict[str, int]:
    """{file, label, split: the place of that column} for those that the header has, by the first name that is there."""
    names = [name.strip().lower() for name in header]
    return {
        column: names.index(there[0])
        for column, known in HEADERS.items()
        if (there := [name for name in known if name in names])
    }


def _rows(file: Path, base: Path, images: str | None, places: Places, problems: Problems) -> Iterator[_Row]:
    """The good rows; the others become problems."""
    try:
        text = read_text(file)
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror}", where=str(file), remedy="name a csv") from error
    first = text.partition("\n")[0]
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(first))
    try:
        header = next(table, [])
        column = columns_of(header)
        if missing := [one for one in ("file", "label") if one not in column]:
            known = " or ".join(HEADERS[missing[0]])
            what = f"has no column {missing[0]} (the first line is {shortened(first.strip()) or 'empty'})"
            raise DatasetError(what, where=str(file), remedy=f"name the column {known} in the first line")
        seen: dict[Path, _Row] = {}
        for cells in table:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{file}:{table.line_num}"
            row = _read(cells, column, where, base, images, places, problems)
            if row is None:
                continue
            earlier = seen.setdefault(row.path, row)
            if earlier is row:
                yield row
            elif (row.label, row.split) == (earlier.label, earlier.split):
                problems.row(BAD_LINE, f"{row.path.name} is named again, first in line {_line(earlier)}", where)
            else:
                one, other = (
                    f"{got.label} ({got.split})" if "split" in column else got.label for got in (row, earlier)
                )
                problems.row(BAD_LINE, f"{row.path.name} is {one} here and {other} in line {_line(earlier)}", where)
    except csv.Error as error:
        remedy = "export it again as csv"
        raise DatasetError(f"is no csv: {error}", where=f"{file}:{table.line_num}", remedy=remedy) from error


def _line(row: _Row) -> str:
    return row.where.rpartition(":")[2]


def _read(
    cells: Sequence[str],
    column: Mapping[str, int],
    where: str,
    base: Path,
    images: str | None,
    places: Places,
    problems: Problems,
) -> _Row | None:
    if len(cells) <= max(column.values()):
        problems.row(BAD_LINE, f"{len(cells)} cells, too few for its columns", where)
        return None
    text, label = cells[column["file"]].strip(), cells[column["label"]].strip()
    split = cells[column["split"]].strip().lower() if "split" in column else "train"
    known = next((one for one, names in SPLIT_FOLDERS.items() if split in names), None)
    if not text or not label:
        problems.row(BAD_LINE, "the cell of the file is empty" if not text else "the label is empty", where)
        return None
    if not is_class_name(label):
        problems.row(BAD_LINE, f"label {quoted(label)} is too long, or not one line", where)
        return None
    if known is None:
        problems.row(BAD_LINE, f"split {quoted(split)} is none of train, val and test", where)
        return None
    path = _image(text, base, places)
    if path is None:
        what = f"there is no image {shortened(base / text)}{places.near(text, base)}"
        inside = next((one for one in subfolders(base) if _image(text, one, places)), None) if images is None else None
        if inside is not None:
            what += f", but {inside.name} has it: set dataset.images={inside.name}"
        problems.row(BAD_LINE, what, where)
        return None
    return _Row(where, known, path, label)


def _image(text: str, base: Path, places: Places) -> Path | None:
    """The file that a cell names: as written, or with the suffix of an image."""
    endings = ("",) if text.lower().endswith(IMAGE_SUFFIXES) else ("", *IMAGE_SUFFIXES)
    for ending in endings:
        path = places.find(text + ending, [base])
        if path is not None and path.is_file():
            return path
    return None
