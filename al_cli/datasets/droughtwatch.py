"""DroughtWatch: satellite images of Northern Kenya, labeled by how many cows the place can feed (FSDL sections 2.1, 8.3.1).

The Weights & Biases benchmark publishes TFRecords in train/ and val/, files `part-...`. An Example has the bands B1 to B11,
each 65 x 65 bytes, and the label 0, 1, 2 or 3 (3 or more cows). A band may be longer: its first 65 x 65 bytes are the picture,
as in the benchmark's own reader. Pictures are written once to al's cache: PNG of B4, B3, B2 (red, green, blue), or TIFF with a
page a band.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from al_cli.datasets.checks import Problems, to_splits
from al_cli.datasets.notes import Notes
from al_cli.datasets.tfrecords import Feature, parse_example, read_records
from al_cli.datasets.unpacked import unpacked
from al_cli.datasets.whole_images import BadRows, LabeledFile, read_labeled
from al_cli.errors import DatasetError
from al_cli.progress import phase
from al_cli.types import OwnSplits

Bands = Literal["all", "rgb"]
BANDS: dict[str, tuple[str, ...]] = {
    "all": tuple(f"B{n}" for n in range(1, 12)),
    "rgb": ("B4", "B3", "B2"),
}
SIDE_PX = 65
COWS = ("0 cows", "1 cow", "2 cows", "3+ cows")
NONE_OR_SOME = ("0 cows", "1+ cows")
WRITTEN = "droughtwatch-1"  # to be changed with what is written
HOW_IT_LIES = "give the folder with the benchmark's train/part-r-00000 and val/part-r-00000"


def load_droughtwatch(
    root: str | Path,
    name: str = "",
    *,
    bands: Bands = "all",
    binary: bool = False,
    bad_rows: BadRows = "refuse",
    notes: Notes | None = None,
) -> OwnSplits:
    """Read the benchmark's train and val; `binary`: no cow against one or more. DatasetError names file and byte of what is
    broken in a record file."""
    root = Path(root).expanduser().absolute()
    problems = Problems(root, notes, leave_out=bad_rows == "leave_out")
    parts = {split: record_files(root, split) for split in ("train", "val")}
    for split, paths in parts.items():
        if not paths:
            what = f"there are no record files of the {split} split"
            raise DatasetError(what, where=str(root / split), remedy=HOW_IT_LIES)
    called = "/".join(f"{split}:{path.name}" for split, paths in parts.items() for path in paths)
    kind = f"{WRITTEN}-{bands}-{hashlib.sha256(called.encode()).hexdigest()[:8]}"
    sources = [path for paths in parts.values() for path in paths]
    folder = unpacked(kind, sources, lambda draft: write_pictures(draft, parts, bands))
    found = {
        split: [
            LabeledFile(path, path.name, min(label, 1) if binary else label)
            for label in range(len(COWS))
            for path in sorted((folder / split / str(label)).iterdir())
        ]
        for split in parts
    }
    # A place that several people judged may be in both splits, as published.
    data = read_labeled(found, NONE_OR_SOME if binary else COWS, problems, as_published=True)
    return to_splits(name or root.resolve().name, data)


def record_files(root: Path, split: str) -> list[Path]:
    """The record files of a split, sorted, in `root` or the folder that the archive has; those that a download left unfinished
    are none. Empty where there are none."""
    places = (root / split, root / "droughtwatch_data" / split)
    found = (
        [path for path in place.glob("part-*") if not path.name.endswith("gstmp") and path.is_file()]
        for place in places
    )
    return sorted(next(filter(None, found), []))


def write_pictures(folder: Path, parts: Mapping[str, Sequence[Path]], bands: Bands) -> None:
    """Write {train,val}/LABEL/PART-NUMBER.png or .tif, NUMBER the record's place in its part, from 0."""
    with phase("unpack DroughtWatch", sum(map(len, parts.values())), "files") as step:
        for split, paths in parts.items():
            for label in range(len(COWS)):
                (folder / split / str(label)).mkdir(parents=True)
            for path in paths:
                for number, (offset, data) in enumerate(read_records(path)):
                    where = f"{path}, byte {offset}"
                    features = parse_example(data, where)
                    place = folder / split / str(_label(features, where))
                    _write(place / f"{path.name}-{number:05d}", [_band(features, band, where) for band in BANDS[bands]])
                step()


def _write(path: Path, bands: Sequence[NDArray[np.uint8]]) -> None:
    """RGB as PNG, else a page a band."""
    if len(bands) == 3:
        Pillow.fromarray(np.stack(bands, axis=-1)).save(path.with_name(f"{path.name}.png"))
        return
    first, *others = (Pillow.fromarray(band) for band in bands)
    tiff = path.with_name(f"{path.name}.tif")
    first.save(tiff, save_all=True, append_images=others, compression="tiff_adobe_deflate")


def _band(features: Mapping[str, Feature], band: str, where: str) -> NDArray[np.uint8]:
    """[65, 65] the picture of one band."""
    values = features.get(band, [])
    if len(values) != 1 or not isinstance(values[0], bytes):
        raise DatasetError(f"the record has no band {band}", where=where, remedy=HOW_IT_LIES)
    if len(values[0]) < SIDE_PX**2:
        what = f"band {band} has {len(values[0])} bytes, fewer than {SIDE_PX} x {SIDE_PX}"
        raise DatasetError(what, where=where, remedy=HOW_IT_LIES)
    return np.frombuffer(values[0], np.uint8, SIDE_PX**2).reshape(SIDE_PX, SIDE_PX)


def _label(features: Mapping[str, Feature], where: str) -> int:
    values = features.get("label", [])
    if len(values) != 1 or values[0] not in range(len(COWS)):
        found = ", ".join(map(str, values)) or "none"
        raise DatasetError(f"the record's label is {found}, not one of 0 to 3", where=where, remedy=HOW_IT_LIES)
    return int(values[0])
