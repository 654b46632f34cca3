"""What image files contain, read once: size, orientation and colors in the header, the digest of the bytes.

Answers are remembered in a per-user cache folder by path, length, times of change and inode, so a second look at the same
folder costs one `stat` a file. The cache is only ever a shortcut: lost, corrupt or unwritable, it costs time, no more.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stat import S_ISREG
from typing import Any, BinaryIO

from PIL import Image

from al_cli.errors import DatasetError
from al_cli.progress import phase
from al_cli.system import sha256, write_atomic

log = logging.getLogger("al.datasets")

Complain = Callable[[str, str], None]  # (what, where): where a reader says what it could not read

# What a file of pixels may be inside, whatever it is called: for others Pillow would start a program (Ghostscript for EPS).
PIXEL_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "JPEG2000")
EXIF_ORIENTATION = 0x0112
QUARTER_TURNS = (5, 6, 7, 8)  # the orientations that swap width and height
GREY_MODES = ("1", "L", "LA", "La")  # Pillow's modes without color
DEEP = ("I", "F")  # Pillow's modes of 32 bits; those of 16 begin with I;16
SETTLED_NS = 2 * 10**9  # a file that changed so shortly before it was read may change again within the clock's step
CHUNK = 64  # files a thread takes at once: one task a file costs more than reading a header
THREADS = 8  # so that waits for a slow disk overlap; from a warm one any count takes the same, and processes longer


def cache_dir() -> Path:
    """Where al keeps what it can make again: $AL_CACHE as it is, else $XDG_CACHE_HOME/al, else ~/.cache/al."""
    own, base = os.environ.get("AL_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(own).expanduser() if own else (Path(base) if base else Path.home() / ".cache") / "al"


def read_sizes(paths: Sequence[Path], report: Complain | None = None) -> list[tuple[int, int]]:
    """(width, height) of each image as it is seen, after its EXIF orientation, from its header alone.

    An unreadable file is given to `report` and gets (0, 0); without `report` it is a DatasetError.
    """
    headers = _remembered("headers", paths, _header, report or _raise)
    return [(0, 0) if header is None else (header[0], header[1]) for header in headers]


def read_digests(paths: Sequence[Path], report: Complain | None = None) -> list[str | None]:
    """32 hex digits of the SHA-256 of each file's bytes; None for an unreadable file, which is given to `report` (without it:
    DatasetError)."""
    return _remembered("digests", paths, _digest, report or _raise)


def read_traits(paths: Sequence[Path]) -> list[tuple[int, bool]]:
    """(EXIF orientation 1..8, whether it is greyscale) of each image from its header; (1, False) where it cannot be read."""
    headers = _remembered("headers", paths, _header, lambda what, where: None)
    return [(1, False) if header is None else (header[2], bool(header[3])) for header in headers]


def _raise(what: str, where: str) -> None:
    raise DatasetError(what, where=where, remedy="replace or remove the file")


def _header(path: Path) -> list[int]:
    """Width and height as the image is seen, EXIF orientation, whether it is greyscale."""
    with path.open("rb") as file, Image.open(file, formats=PIXEL_FORMATS) as image:
        width, height = image.size
        if image.mode in DEEP or image.mode.startswith("I;16"):
            what = f"has {image.mode} pixels, more than 8 bits each, which would be clipped to white or black"
            raise DatasetError(what, remedy="convert it to 8 bits a channel")
        orientation = orientation_of(image, file)
        # TIFF is the one format whose orientation Pillow has already applied to the size.
        if orientation in QUARTER_TURNS and image.format != "TIFF":
            width, height = height, width
        return [width, height, orientation, int(image.mode in GREY_MODES)]


def is_turned(path: Path) -> bool:
    """Whether a readable image's EXIF orientation swaps its width and height."""
    with Image.open(path, formats=PIXEL_FORMATS) as image:
        return [*image.size] != _header(path)[:2]


def orientation_of(image: Image.Image, file: BinaryIO) -> int:
    """What EXIF says of how the picture in this open file is turned: 1 (as it lies there) to 8."""
    try:
        # A PNG's own getexif decodes every pixel, because metadata may follow them: only do so where it does.
        plain = image.format == "PNG" and "exif" not in image.info and not _png_metadata_after_pixels(file)
        exif = Image.Image.getexif(image) if plain else image.getexif()
        return int(exif[EXIF_ORIENTATION]) if exif.get(EXIF_ORIENTATION) in range(1, 9) else 1
    except Exception:  # broken EXIF means no orientation, as in Detectron2's reader, which must agree with us
        return 1


def _png_metadata_after_pixels(file: BinaryIO) -> bool:
    """Whether an eXIf or iTXt (XMP) chunk follows the first IDAT. Leaves the file where it was."""
    position, pixels = file.tell(), False
    try:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            kind = head[4:]
            if pixels and kind in (b"eXIf", b"iTXt"):
                return True
            pixels |= kind == b"IDAT"
            file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)  # the data and its checksum
        return False
    finally:
        file.seek(position)


def _digest(path: Path) -> str:
    return sha256(path)[:32]


OF_NOTHING = hashlib.sha256().hexdigest()[:32]  # the digest of a file without bytes


def _remembered(kind: str, paths: Sequence[Path], read: Callable[[Path], Any], report: Complain) -> list[Any]:
    """`read(path)` (a JSON value) of each path, None where it failed, from the cache where the file has not changed."""
    if not paths:
        return []
    store = _cache_file(kind, paths)
    known = _load(kind, store)
    answers: list[Any] = [None] * len(paths)
    stamps: dict[int, list[int]] = {}  # of what must be read, by position
    now = time.time_ns()
    for n, path in enumerate(paths):
        try:
            stat = path.stat()
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            report(f"cannot be read: {getattr(error, 'strerror', error)}", str(path))
            continue
        if not S_ISREG(stat.st_mode):  # reading a pipe or a device may never end
            report("is not a regular file", str(path))
            continue
        row, stamp = known.get(str(path)), [stat.st_mtime_ns, stat.st_size, stat.st_ctime_ns, stat.st_ino]
        if row is not None and row[:-1] == stamp:
            answers[n] = row[-1]
        else:
            stamps[n] = stamp
    if not stamps:
        return answers
    for n, answer in read_each(kind, paths, list(stamps), read):
        if isinstance(answer, Exception):
            report(why_unreadable(answer), str(paths[n]))
            continue
        answers[n] = answer
        if now - max(stamps[n][0], stamps[n][2]) > SETTLED_NS:
            known[str(paths[n])] = [*stamps[n], answer]
    _save(store, known)
    return answers


def read_each(
    kind: str, paths: Sequence[Path], positions: list[int], read: Callable[[Path], Any]
) -> Iterator[tuple[int, Any]]:
    """(position, answer or the exception) of each, in order; the files are read in parallel."""

    def read_chunk(chunk: list[int]) -> list[tuple[int, Any]]:
        answers: list[tuple[int, Any]] = []
        for n in chunk:
            try:
                answers.append((n, read(paths[n])))
            except Exception as error:  # Pillow's plugins raise nearly anything; it is reported by name
                answers.append((n, error))
        return answers

    Image.preinit()  # plugins register themselves here, once, before threads ask for them
    chunks = [positions[i : i + CHUNK] for i in range(0, len(positions), CHUNK)]
    with phase(f"read image {kind}", len(positions)) as step, ThreadPoolExecutor(THREADS) as threads:
        for answers in threads.map(read_chunk, chunks):
            step(len(answers))
            yield from answers


def why_unreadable(error: Exception) -> str:
    if isinstance(error, DatasetError):
        return f"{error.what}: {error.remedy}"
    if type(error).__name__ == "UnidentifiedImageError":  # its own text is the address of a file object
        return "is not a readable image: no known image format"
    return f"is not a readable image: {type(error).__name__}: {error}"


def _cache_file(kind: str, paths: Sequence[Path]) -> Path:
    """One file a dataset, named after the folder that holds all of these images."""
    folder = os.path.commonpath([str(path.parent) for path in paths])
    return cache_dir() / "headers" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}-{kind}-2.json"


def _is_row(kind: str, row: Any) -> bool:
    if not (isinstance(row, list) and len(row) == 5):
        return False
    if kind == "digests":
        return isinstance(row[-1], str)
    return isinstance(row[-1], list) and [type(number) for number in row[-1]] == [int] * 4


def _load(kind: str, store: Path) -> dict[str, list[Any]]:
    """{path: [mtime_ns, bytes, ctime_ns, inode, answer]}; empty where the cache is missing or not to be trusted."""
    try:
        known = json.loads(store.read_bytes())
        if not all(_is_row(kind, row) for row in known.values()):
            raise ValueError("a row is not [mtime_ns, bytes, ctime_ns, inode, answer]")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        log.warning("ignoring the cache of image headers, reading the files again (%s: %s)", store, error)
        return {}
    return known


def _save(store: Path, known: dict[str, list[Any]]) -> None:
    """Keep the cache. Where the disk refuses it, a warning says so."""
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(store, json.dumps(known, separators=(",", ":")))
    except OSError as error:
        log.warning("cannot keep the cache of image headers, the next start reads them again (%s: %s)", store, error)
