"""What a run's data was: every image of its splits, written before the first round and compared whenever it matters.

    split,image,width,height,labels,content
    pool,07.jpg,640,480,5d41402abc4b2a76,...      digests of the labels and of the file's bytes

A run that goes on with other data would mix two data sets in one table, and its image ids would name other images.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from al_cli.errors import RunError
from al_cli.records.formats import csv_text, read_csv
from al_cli.system import read_regular
from al_cli.types import Splits

COLUMNS = ("split", "image", "width", "height", "labels", "content")
CLASS = "class"  # in the first column: a row that names a class, in the order of the class numbers
Key = tuple[str, str]  # split and name


@dataclass(frozen=True)
class DataRecord:
    """`classes` in order; `images` has, for split and name, size, labels and content as the file has them."""

    classes: tuple[str, ...]
    images: dict[Key, tuple[str, ...]]

    @classmethod
    def of(cls, splits: Splits) -> DataRecord:
        """The record of these splits."""
        images: dict[Key, tuple[str, ...]] = {}
        for name, data in (("pool", splits.train), ("val", splits.val), ("test", splits.test)):
            for image in () if data is None else data.images:
                described = (str(image.width), str(image.height), image.labels_digest, image.content)
                images[name, image.name] = described
        return cls(splits.train.class_names, images)

    @property
    def text(self) -> str:
        """The content of data.csv."""
        return csv_text(COLUMNS, self._rows())

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for name in self.classes:
            yield CLASS, name, "", "", "", ""
        for key, described in self.images.items():
            yield *key, *described

    def difference(self, now: DataRecord) -> str:
        """The first thing that is different now, in a sentence; empty where nothing is."""
        if self.classes != now.classes:
            return f"the classes were {', '.join(self.classes)} and are {', '.join(now.classes)}"
        for (split, name), was in self.images.items():
            described = now.images.get((split, name))
            if described is None:
                came = [other for other in ("pool", "val", "test") if (other, name) in now.images.keys() - self.images]
                elsewhere = (f"in the {other} now" for other in came)
                return f"image {name} of the {split} is {next(elsewhere, 'not there any more')}"
            for what, before, after in zip(("size", "labels", "pixels"), _parts(was), _parts(described), strict=True):
                if before != after:
                    values = f": {before} was, {after} is" if what == "size" else ""
                    return f"image {name} of the {split} has other {what} now{values}"
        for key in now.images:
            if key not in self.images:
                return f"image {key[1]} of the {key[0]} was not there"
        return ""


def _parts(described: tuple[str, ...]) -> tuple[str, str, str]:
    width, height, labels, content = described
    return f"{width} x {height} px", labels, content


def require_alike(runs: Sequence[Path]) -> None:
    """RunError unless these runs began with the same data. A run whose data is not on record is passed over."""
    texts: dict[bytes, Path] = {}
    for run in runs:
        file = run / "data.csv"
        if file.is_file():
            texts.setdefault(read_regular(file), run)
    first, *others = texts.values() or [Path()]
    for run in others:
        what = read_data_record(first / "data.csv").difference(read_data_record(run / "data.csv"))
        if what:
            raise RunError(
                f"the data of {run.name} is not that of {first.name}: {what}",
                where=str(run),
                remedy="run one of them again on the other's data, or move it out of this study; two datasets in one "
                "study need two names, dataset.name=NAME",
            )


def read_data_record(path: Path) -> DataRecord:
    """The inverse of `DataRecord.text`. RunError for a file that is none."""
    try:
        rows = read_csv(path)
        if not rows or any(tuple(row) != COLUMNS or None in row.values() for row in rows):
            raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
    except (OSError, ValueError, csv.Error) as error:
        remedy = "restore it, or give this run another name with run_name=NAME"
        raise RunError(f"the record of the data cannot be read: {error}", where=str(path), remedy=remedy) from error
    cells = [tuple(row.values()) for row in rows]
    classes = tuple(name for split, name, *_ in cells if split == CLASS)
    return DataRecord(classes, {(split, name): tuple(rest) for split, name, *rest in cells if split != CLASS})
