"""The bytes of a file: the same for the same content.

Knows nothing of runs. Text is UTF-8 with "\\n" on every system; NPZ is written without the timestamps that
`numpy.savez` puts in, and without compression, so that its hash is a function of the arrays alone.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import yaml
from numpy.typing import NDArray

from al_cli.system import encoded, read_regular, sha256
from al_cli.types import Dataset, Predictions, ProbKind, Signal

YAML: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_DEPTH, MAX_VALUES = 50, 100_000  # of YAML: a configuration has 5 and 200
COLUMN = "column/"  # prefix of the arrays that hold a table's signals


def content_hash(content: str | bytes) -> str:
    """SHA-256 of a file that has this content, in hexadecimal."""
    return hashlib.sha256(encoded(content) if isinstance(content, str) else content).hexdigest()


def has_hash(path: Path, digest: str) -> bool:
    """Whether this file is there with the content of that hash."""
    try:
        return sha256(path) == digest
    except OSError:
        return False


def json_text(value: Any) -> str:
    """JSON with sorted keys. A number that is not finite becomes null: JSON has no NaN."""
    return json.dumps(_plain(value), sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A CSV table. None and NaN are empty cells; floats have four decimals, or six digits where they are below 1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_short(cell) for cell in row] for row in rows)
    return text.getvalue()


def _short(cell: Any) -> Any:
    if _absent(cell):
        return ""
    if not isinstance(cell, float | np.floating):
        return cell
    value = float(cell)
    return f"{value:.6g}" if abs(value) < 1 else f"{value:.4f}".rstrip("0").rstrip(".")


def _absent(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float | np.floating) and math.isnan(cell))


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table as text, by column name."""
    return csv_rows(read_regular(path))


def csv_rows(content: bytes) -> list[dict[str, str]]:
    """The same of a file's content."""
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def markdown_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table whose columns line up as plain text too; floats with two decimals, None as an empty cell."""
    cells = [[_cell(value).replace("|", "\\|") for value in row] for row in rows]
    widths = [max([len(name), 3, *(len(row[i]) for row in cells)]) for i, name in enumerate(columns)]
    numeric = [all(_is_number(row[i]) for row in cells) for i in range(len(columns))]

    def line(row: Sequence[str]) -> str:
        aligned = (c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, numeric, strict=True))
        return f"| {' | '.join(aligned)} |"

    rule = ["-" * (w - 1) + ":" if n else "-" * w for w, n in zip(widths, numeric, strict=True)]
    return "\n".join([line(columns), line(rule), *(line(row) for row in cells)]) + "\n"


def _cell(value: Any) -> str:
    if _absent(value):
        return ""
    return f"{value:.2f}" if isinstance(value, float | np.floating) else str(value)


def _is_number(cell: str) -> bool:
    try:
        return cell == "" or math.isfinite(float(cell))
    except ValueError:
        return False


def plain_yaml(text: str | bytes) -> Any:
    """The values of a YAML file that al wrote. YAMLError for any other, and for one that stands for far more than it holds.

    The C reader, 8 times faster than Python's, ends the process where brackets are nested ten thousand deep; and whoever walks
    through what nine aliases of nine aliases stand for never ends. So both are counted first.
    """
    sizes: dict[str, int] = {}  # anchor -> values that it stands for
    inside: list[tuple[str | None, int]] = []  # of each collection around: its anchor, and the values before it
    count = 0
    for event in yaml.parse(text, YAML):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = inside.pop()
            if anchor:
                sizes[anchor] = count - before
            continue
        if isinstance(event, yaml.AliasEvent):
            count += sizes.get(event.anchor, MAX_VALUES)  # of itself: without end
        elif isinstance(event, yaml.NodeEvent):
            count += 1
            if isinstance(event, yaml.CollectionStartEvent):
                inside.append((event.anchor, count))
            elif event.anchor:
                sizes[event.anchor] = 1
        if len(inside) > MAX_DEPTH or count >= MAX_VALUES:
            raise yaml.YAMLError("it is nested too deeply, or stands for too many values")
    return yaml.load(text, YAML)


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """What `numpy.load` reads back as these arrays; equal arrays give equal bytes. No pickled objects."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0)), member.getvalue())
    return buffer.getvalue()


def predictions_bytes(predictions: Predictions, images: Dataset | None = None) -> bytes:
    """The table as an NPZ of its own field names; signals are `column/<signal>`.

    With the `images` that it is about, also what their user calls them: `image_names` [N] and `class_names` [C], and where the
    dataset has ids of its own (COCO) `source_image_ids` [N] and `category_ids` [C].
    """
    names = ("image_ids", "offsets", "boxes", "scores", "classes", "num_classes", "prob_kind")
    arrays = {name: np.asarray(getattr(predictions, name)) for name in names}
    arrays |= {COLUMN + signal.value: column for signal, column in sorted(predictions.columns.items())}
    if images is not None:
        listed = images.select(predictions.image_ids.tolist()).images
        arrays["image_names"] = np.array([image.name for image in listed], dtype=np.str_)
        arrays["class_names"] = np.array(images.class_names, dtype=np.str_)
        if all(image.source_id is not None for image in listed):
            arrays["source_image_ids"] = np.array([image.source_id for image in listed], dtype=np.int64)
        if images.category_ids:
            arrays["category_ids"] = np.array(images.category_ids, dtype=np.int64)
    return npz_bytes(arrays)


def load_predictions(content: bytes) -> Predictions:
    """The inverse of `predictions_bytes`. ValueError when the bytes are no such file; packed ones are none."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("its arrays are packed, which al's never are")
        return _predictions_in(content)
    except ValueError:
        raise
    except (
        Exception
    ) as error:  # where bytes are not what they should be, the readers of zip and numpy raise what they like
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _predictions_in(content: bytes) -> Predictions:
    with np.load(io.BytesIO(content), allow_pickle=False) as data:
        kind = str(data["prob_kind"])
        if kind not in get_args(ProbKind):
            raise ValueError(f"prob_kind is {kind!r}")
        return Predictions(
            data["image_ids"],
            data["offsets"],
            data["boxes"],
            data["scores"],
            data["classes"],
            int(data["num_classes"]),
            kind,  # type: ignore[arg-type]
            {Signal(name.removeprefix(COLUMN)): data[name] for name in data.files if name.startswith(COLUMN)},
        )
