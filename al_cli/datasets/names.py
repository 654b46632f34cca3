"""What an image is called: the name that a person would say, the same on every machine and in every format.

Records, the initial draw and the order of training go by these names, so nothing moves when a dataset is copied, exported in
another format, or numbered in another way.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # what would break a line, or a terminal


def names_of(paths: Sequence[Path], folders: Sequence[Path], base: Path) -> list[str]:
    """[N] the name of each image of one split: its file's name; where several share that, the path below the split's folder
    (`folders` [N]); where several share even that, the path below the dataset's root `base`.

    In Unicode's composed form, for a copy made on another system may spell é in another way; the form on disk where two
    images differ in the form alone. Bytes that are no text and control characters are written as \\xNN.
    """
    return _first_unique([[path.name for path in paths], *_levels(paths, folders, base)], paths)


def names_with_folders(paths: Sequence[Path], folders: Sequence[Path], base: Path) -> list[str]:
    """[N] the same, where folders mean something, a class for example: never the file's name alone, which another image more
    would change."""
    return _first_unique(_levels(paths, folders, base), paths)


def _levels(paths: Sequence[Path], folders: Sequence[Path], base: Path) -> list[list[str]]:
    return [
        [_below(path, folder) for path, folder in zip(paths, folders, strict=True)],
        [_below(path, base) for path in paths],
    ]


def _first_unique(levels: Sequence[Sequence[str]], paths: Sequence[Path]) -> list[str]:
    """[N] of each image the first of its levels that no other image has."""
    chosen: list[str | None] = [None] * len(paths)
    spellings = [[unicodedata.normalize("NFC", name) for name in level] for level in levels]
    for level in (*spellings, levels[-1]):
        counts = Counter(name for name, done in zip(level, chosen, strict=True) if done is None)
        taken = {name for name in chosen if name is not None}
        for n, name in enumerate(level):
            if chosen[n] is None and counts[name] == 1 and name not in taken:
                chosen[n] = name
    return [printable(name if name is not None else str(path)) for name, path in zip(chosen, paths, strict=True)]


def _below(path: Path, folder: Path) -> str:
    text, prefix = str(path), f"{folder}{os.sep}"
    inside = text.removeprefix(prefix) if text.startswith(prefix) else os.path.relpath(text, folder)
    return inside.replace(os.sep, "/")


def printable(name: str) -> str:
    """A name or path that any terminal and file takes: bytes that are no text and control characters written as \\xNN."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), as_unicode(name))


def as_unicode(name: str) -> str:
    """A name as text: bytes that are none written as \\xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
