"""Where a file lies that a dataset names: as written first, then as another system, folder or keyboard would spell it."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from al_cli.datasets.notes import Notes
from al_cli.errors import DatasetError
from al_cli.system import read_regular

IMAGE_SUFFIXES = (".bmp", ".jfif", ".jpeg", ".jpg", ".mpo", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# What the splits are called, in their order.
SPLIT_NAMES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
UNREAD_SUFFIXES = (
    ".avif",
    ".dng",
    ".exr",
    ".gif",
    ".heic",
    ".heif",
    ".jp2",
    ".jxl",
    ".nef",
    ".npy",
    ".psd",
    ".svg",
    ".tga",
)


class Places:
    """Finds files by listing each folder once; one object serves one reading of a dataset."""

    def __init__(self) -> None:
        self._names: dict[Path, frozenset[str]] = {}
        self._alike: dict[Path, dict[str, list[str]]] = {}

    def names(self, folder: Path) -> frozenset[str]:
        """The names in a folder; none where there is no such folder."""
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(entry.name for entry in os.scandir(folder))
            except PermissionError as error:  # what lies there is not missing
                raise closed(error) from error
            except (OSError, ValueError):  # ValueError: a NUL in the path
                self._names[folder] = frozenset()
        return self._names[folder]

    def alike(self, folder: Path, name: str) -> str | None:
        """The one name in a folder that is `name` but for capitals and Unicode's forms; None where none or several are."""
        if name in self.names(folder):
            return name
        if folder not in self._alike:
            known: dict[str, list[str]] = {}
            for other in self.names(folder):
                known.setdefault(_plain(other), []).append(other)
            self._alike[folder] = known
        found = self._alike[folder].get(_plain(name), [])
        return found[0] if len(found) == 1 else None

    def find(self, text: str, folders: Sequence[Path]) -> Path | None:
        """The file or folder that `text` names, below the first of `folders` that has it; None where none has.

        As written; with `/` for `\\`; without the folder's own name in front (`set/train` written in set/data.yaml); then in
        other capitals or another of Unicode's forms, where only one file is spelled so.
        """
        spellings = [text, text.replace("\\", "/")] if "\\" in text else [text]
        tries = [
            place / spelling
            for folder in folders
            for spelling in spellings
            for place in ((folder, folder.parent) if spelling.split("/")[0] == folder.name else (folder,))
        ]
        for path in tries:
            if path.name in self.names(path.parent) or (path.name in ("", "..") and path.is_dir()):
                return path
        for folder in folders:
            if (near := self._walk_alike(folder, spellings[-1])) is not None:
                return near
        return None

    def near(self, text: str, folder: Path) -> str:
        """What a path that was not found says about itself: that it is of another system, and which file of `folder` may be
        meant: the longest end of the path that is there, or the image of the same name with another suffix."""
        parts = re.split(r"[\\/]+", text)
        for first in range(len(parts)):
            if parts[first] and (found := self._walk_alike(folder, "/".join(parts[first:]))) not in (None, folder):
                return f"{_of_another_system(text)}; {found} is there"
        stem = Path(parts[-1]).stem
        same = [name for suffix in IMAGE_SUFFIXES if (name := self.alike(folder, stem + suffix)) is not None]
        return _of_another_system(text) + (f"; {folder / same[0]} is there" if stem and same else "")

    def _walk_alike(self, folder: Path, text: str) -> Path | None:
        for part in text.split("/"):
            if part in ("", ".", ".."):
                folder = folder / part
            elif (name := self.alike(folder, part)) is None:
                return None
            else:
                folder = folder / name
        return folder


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def as_utf8(data: bytes) -> bytes:
    """The bytes of a text without the mark of its encoding; those of UTF-16 and UTF-32, as Windows writes them, in UTF-8."""
    encoding = json.detect_encoding(data)
    return data if encoding == "utf-8" else data.decode(encoding, errors="replace").encode()


def read_text(file: Path) -> str:
    """A text file, whose encoding is one of Unicode's. OSError as `read_regular`, DatasetError for another encoding."""
    data = as_utf8(read_regular(file))
    if b"\0" in data:
        raise DatasetError("is not text", where=str(file), remedy="name another file, or unpack this one")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DatasetError("is not text in UTF-8", where=f"{file}:{line}", remedy="save it as UTF-8") from error


def closed(error: OSError) -> DatasetError:
    """The error for a folder that may not be read."""
    what = f"the folder cannot be read: {error.strerror}"
    return DatasetError(what, where=str(error.filename), remedy="allow it, for example with chmod -R u+rX")


def _raise_closed(error: OSError) -> None:
    if isinstance(error, PermissionError):
        raise closed(error) from error


def walk_images(folder: Path, notes: Notes) -> Iterator[Path]:
    """The images in a folder and below, hidden ones (`._x.jpg`, `.ipynb_checkpoints/`) left out. Follows links.

    Pictures of a type that is not read are noted by their suffix.
    """
    visited = set()
    for place, folders, files in os.walk(folder, onerror=_raise_closed, followlinks=True):
        stat = Path(place).stat()
        if (stat.st_dev, stat.st_ino) in visited:  # a link to a folder that contains it
            folders.clear()
            continue
        visited.add((stat.st_dev, stat.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        parent = Path(place)
        for name in sorted(files):
            if name.startswith("."):
                continue
            suffix = Path(name).suffix.lower()
            if suffix in IMAGE_SUFFIXES:
                yield parent / name
            elif suffix in UNREAD_SUFFIXES:
                notes.add(f"pictures of a type that is not read ({suffix}), left out", str(parent / name))


def _of_another_system(text: str) -> str:
    """`, a path of another system` for one that begins with a drive."""
    return ", a path of another system" if re.match(r"[A-Za-z]:[\\/]|\\\\", text) else ""
