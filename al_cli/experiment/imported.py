"""Selections from a file: which images each round labels, as another tool or an earlier run chose them.

    round,image       `image` is a file name of the pool, with as many folders before it as its name needs to be unique;
    0,street/07.jpg   `image_id` may stand next to it or instead of it. Round 0 is the initial set; without rows for it,
    1,street/12.jpg   that is drawn from the seed as in any other run. The order of a round's rows is kept.

An `image_id` alone is the id that the data itself gives the image (COCO's), where it gives one; next to a name it is al's
number.

`read_picks` needs no dataset, `Imported.picks` no model: a wrong row is named, with its line, before anything is trained.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from al_cli.datasets.places import read_text
from al_cli.errors import ConfigError
from al_cli.types import Dataset, Image

MAX_PICKS = 500_000_000  # bytes of a file
MAX_ROUNDS = 10_000  # of a run
MAX_IMAGE_ID = 2**64 - 1
DIGITS = re.compile(r"[0-9]{1,20}")
SURPLUS = "\0"  # the key of cells behind the last column: no column can be called so
PICKS_EXAMPLE = "give a CSV with the columns round and image (or image_id), for example sampler.file=picks.csv"


@dataclass(frozen=True)
class PickedRow:
    """One line of the file; `image_id` is None and `image` empty where the file does not say."""

    line: int
    round: int
    image: str
    image_id: int | None

    @property
    def what(self) -> str:
        return self.image or f"image_id {self.image_id}"


@dataclass(frozen=True)
class Imported:
    """The rows of a file, not yet looked up in a dataset."""

    path: Path
    rows: tuple[PickedRow, ...]

    def check_rounds(self, rounds: int) -> None:
        """ConfigError where the file's active rounds are not 1 to `rounds`."""
        found = {row.round for row in self.rows} - {0}
        last = max(found, default=0)
        if last != len(found):
            gap = next(round for round in range(1, last) if round not in found)
            raise self._error(f"round {gap} has no row, and round {last} has", "number the rounds without a gap")
        if last != rounds:
            remedy = f"add rounds={last}" if last else "give at least one round after the initial set"
            raise self._error(f"the file has {last} active rounds, and rounds={rounds}", remedy)

    @property
    def fixes_initial(self) -> bool:
        """Whether the file has rows of round 0."""
        return any(row.round == 0 for row in self.rows)

    def picks(
        self,
        train: Dataset,
        drawn: Sequence[int],
        *,
        again: bool = False,
        held_out: Mapping[str, Dataset] = MappingProxyType({}),
    ) -> tuple[tuple[int, ...], ...]:
        """[rounds + 1] ids of each round, in the file's order; round 0 is `drawn` where the file has no rows of it.

        `again`: later rounds may name images of earlier ones. `held_out` are the other splits, by name, to say where a row's
        image is. ConfigError, with the line, for an image that is not in the pool, that the row does not single out, or that
        is in an earlier round or named twice.
        """
        initial = () if self.fixes_initial else tuple(drawn)
        by_name: dict[str, list[int]] = defaultdict(list)
        for image in train.images:
            names = {image.path.name, PurePosixPath(image.name).name}  # two where the disk spells it in another way
            for name in names:
                by_name[name].append(image.id)
        # Next to a name an image_id is al's number, as in al's own tables; alone it is what the data itself calls the image.
        als = {i: i for i in train.ids.tolist()}
        own = {own_id(image): image.id for image in train.images}
        found: list[list[int]] = [[] for _ in range(max((row.round for row in self.rows), default=0) + 1)]
        first: dict[tuple[int, int], int] = {}  # (image, round or 0 where rounds do not matter) -> line
        for row in self.rows:
            image_id = self._look_up(row, train, held_out, by_name, als if row.image else own)
            earlier = first.setdefault((image_id, row.round if again else 0), row.line)
            if earlier != row.line:
                raise self._error(f"{row.what} is named in line {earlier} already", "leave one out", row)
            if image_id in initial and not again:
                what = f"{row.what} is in the initial set that the seed draws"
                raise self._error(what, "add the initial set to the file, as rows of round 0", row)
            found[row.round].append(image_id)
        return (initial or tuple(found[0]), *map(tuple, found[1:]))

    def require_size(self, round: int, ids: Sequence[int], size: int, key: str) -> None:
        """ConfigError where a round of the file has another number of images than the setting `key` says."""
        if len(ids) != size:
            what = f"round {round} has {len(ids)} images in the file and {size} by {key}"
            raise self._error(what, f"leave out {key}: the file decides")

    def _look_up(
        self,
        row: PickedRow,
        train: Dataset,
        held_out: Mapping[str, Dataset],
        by_name: dict[str, list[int]],
        numbers: dict[int, int],
    ) -> int:
        """al's number of the row's image. `numbers` has what an `image_id` stands for."""
        wanted = PurePosixPath(row.image.replace("\\", "/")).parts

        def is_called(image: Image) -> bool:
            return row.image == image.name or image.path.parts[-len(wanted) :] == wanted

        def refuse_held_out(is_it: Callable[[Image], bool]) -> None:
            for split, data in held_out.items():
                if found := next(filter(is_it, data.images), None):
                    what = f"{found.name} is in the {split} split, so it cannot be picked"
                    remedy = "leave it out of the file, or hold out what was held out when the images were picked"
                    raise self._error(what, remedy, row)

        if row.image_id is not None:
            if row.image_id not in numbers:
                refuse_held_out(lambda image: row.image_id == (image.id if wanted else own_id(image)))
                raise self._error(f"the pool has no image with image_id {row.image_id}", "is it of this dataset?", row)
            image = train[numbers[row.image_id]]
            if row.image and not is_called(image):
                what = f"image_id {row.image_id} is {image.name} here, not {row.image}"
                raise self._error(what, "is it of this dataset? Leave the column image_id out to go by name", row)
            return image.id
        same = [i for i in by_name.get(wanted[-1] if wanted else "", ()) if is_called(train[i])]
        if not same:
            refuse_held_out(is_called)
            raise self._error(f"the pool has no image {row.image}", "name the file as the train split has it", row)
        if len(same) > 1:
            what = f"{len(same)} images of the pool are called {row.image}"
            raise self._error(what, "put its folder before the name (a/7.jpg), or add a column image_id", row)
        return same[0]

    def _error(self, what: str, remedy: str, row: PickedRow | None = None) -> ConfigError:
        return ConfigError(what, where=str(self.path) if row is None else f"{self.path}:{row.line}", remedy=remedy)


def own_id(image: Image) -> int:
    """What the data itself calls the image; al's number where it has none."""
    return image.id if image.source_id is None else image.source_id


def read_picks(path: Path) -> Imported:
    """The rows of the file. ConfigError, with the line, for columns that are missing or cells that cannot be read."""
    where = f"sampler.file={path}"
    try:
        if path.exists() and not path.is_file():
            raise ConfigError("it is no file", where=where, remedy=PICKS_EXAMPLE)
        if path.stat().st_size > MAX_PICKS:
            what = f"it has {path.stat().st_size:,} bytes, and a file of picks at most {MAX_PICKS:,}"
            raise ConfigError(what, where=where, remedy=PICKS_EXAMPLE)
        text = read_text(path)
    except OSError as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else f"it cannot be read: {error}"
        raise ConfigError(why, where=where, remedy=PICKS_EXAMPLE) from error
    return parse_picks(text, path)


def parse_picks(text: str, path: Path) -> Imported:
    """The rows of this CSV; `path` is what errors call it."""
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), restkey=SURPLUS)
        header = reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        lines = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise ConfigError(f"it cannot be read: {error}", where=f"sampler.file={path}", remedy=PICKS_EXAMPLE) from error
    columns = set(header)
    if "round" not in columns or not columns & {"image", "image_id"}:
        shown = ", ".join(sorted(columns))[:100]
        other = next((mark for mark in (";", "\t") if len(header) == 1 and mark in header[0]), "")
        remedy = f"separate the columns with commas, not with {other!r}" if other else PICKS_EXAMPLE
        raise ConfigError(f"the columns are {shown or 'missing'}", where=str(path), remedy=remedy)
    for name in ("round", "image", "image_id"):
        if header.count(name) > 1:
            raise ConfigError(f"the column {name} is there twice", where=f"{path}:1", remedy="leave one out")
    return Imported(path, tuple(_row(path, line, cells) for line, cells in lines))


def _row(path: Path, line: int, cells: dict[str, Any]) -> PickedRow:
    where = f"{path}:{line}"
    if any(map(str.strip, cells.get(SURPLUS) or ())):
        raise ConfigError(
            "the row has more cells than there are columns", where=where, remedy="quote a name with commas"
        )
    values = {name: (cells.get(name) or "").strip() for name in ("round", "image", "image_id")}
    for name, most in (("round", MAX_ROUNDS), ("image_id", MAX_IMAGE_ID)):
        text = values[name]
        if (not text and name == "image_id") or (DIGITS.fullmatch(text) and int(text) <= most):
            continue
        shown = repr(text) if len(text) <= 40 else f"a text of {len(text):,} characters"
        raise ConfigError(f"{name} is {shown}", where=where, remedy=f"give a whole number from 0 to {most}")
    if not values["image"] and not values["image_id"]:
        raise ConfigError("the row names no image", where=where, remedy="fill in image or image_id")
    image_id = int(values["image_id"]) if values["image_id"] else None
    return PickedRow(line, int(values["round"]), values["image"], image_id)
