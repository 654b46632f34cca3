"""Copies of images that lie in al's cache: each made once from an image of the user's, whose folder is never written to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from PIL import Image as Pillow

from al_cli.datasets.headers import GREY_MODES, PIXEL_FORMATS, cache_dir, orientation_of, read_each, why_unreadable
from al_cli.datasets.near import TURNS
from al_cli.errors import DatasetError
from al_cli.system import unfinished

How = TypeVar("How")
END_OF_PNG = bytes(4) + b"IEND" + bytes.fromhex("ae426082")  # a chunk without data, and its checksum


def place_of(kind: str, content: str) -> Path:
    """Where the copy with this digest lies."""
    return cache_dir() / kind / content[:2] / f"{content}.png"


def write_missing(
    kind: str, made_from: Mapping[Path, tuple[Path, How]], draw: Callable[[Path, How], Pillow.Image]
) -> None:
    """Write the copies that the cache does not hold whole, as PNG: path -> the image's file, and what `draw` takes. Each
    appears whole or not at all, so several processes may do so at once. `kind` is what a copy is: turned, for example.

    DatasetError, with the file, for an image that cannot be decoded or a cache that cannot be written.
    """
    missing = [path for path in made_from if not _is_whole(path)]

    def write(path: Path) -> None:
        picture = draw(*made_from[path])
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished(path) as draft:
                picture.save(draft, format="PNG")
        except OSError as error:
            remedy = "set AL_CACHE to a folder that can be written and has room"
            where = str(error.filename or path)
            raise DatasetError(f"a {kind} copy cannot be kept: {error.strerror}", where=where, remedy=remedy) from error

    for n, failed in read_each("copies", missing, list(range(len(missing))), write):
        if isinstance(failed, DatasetError):
            raise failed
        if isinstance(failed, Exception):
            where = str(made_from[missing[n]][0])
            raise DatasetError(why_unreadable(failed), where=where, remedy="replace or remove the file")


def _is_whole(path: Path) -> bool:
    """Whether a file is there and ends as a PNG does: somebody else may have cut what lies in a cache."""
    try:
        with path.open("rb") as file:
            file.seek(-len(END_OF_PNG), os.SEEK_END)
            return file.read() == END_OF_PNG
    except OSError:
        return False


def upright(path: Path) -> Pillow.Image:
    """The picture in a file as it is seen, grey or in color."""
    with path.open("rb") as file, Pillow.open(file, formats=PIXEL_FORMATS) as image:
        image.load()
        turn = TURNS.get(orientation_of(image, file))
        plain = image.convert("L" if image.mode in GREY_MODES else "RGB")
        return plain if turn is None else plain.transpose(turn)
