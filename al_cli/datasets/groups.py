"""Which images stay together where a share of a pool is drawn: dataset.group, and images of equal bytes."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from al_cli.datasets.names import as_unicode
from al_cli.errors import ConfigError, DatasetError
from al_cli.types import Image

FOLDER = "folder"


def check_group(group: Any) -> None:
    """ConfigError unless it is null, `folder` or a regular expression."""
    if group is None:
        return
    ways = "give folder, or a regular expression for the beginning of names, such as 'video[0-9]+'"
    if not isinstance(group, str) or not group:
        raise ConfigError(f"dataset.group is {group!r}", remedy=ways)
    try:
        re.compile(group)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"dataset.group={group} is no regular expression: {error}", remedy=ways) from error


def group_keys(images: Sequence[Image], group: str | None) -> list[str]:
    """[N] what each image is drawn by: its name or its group's; the first of several that images of equal bytes have."""
    if group is None:
        keys = [image.name for image in images]
    elif group == FOLDER:
        _refuse_classes(images)
        called = _folder_names({image.path.parent for image in images})
        keys = [called[image.path.parent] for image in images]
    else:
        keys = [_matched(image.name, group) for image in images]
        if unmatched := [image.name for image, key in zip(images, keys, strict=True) if not key]:
            some = len(unmatched) < len(images)
            raise DatasetError(
                f"dataset.group matches nothing at the beginning of {len(unmatched)} of {len(images)} names, the first is "
                f"{unmatched[0]}",
                where=f"dataset.group={group}",
                remedy="let it match those too: with |.+ at its end each of them stands alone"
                if some
                else "give an expression for the beginning of such names, or dataset.group=folder",
            )
    return _joined(keys, [image.content for image in images])


def _refuse_classes(images: Sequence[Image]) -> None:
    """DatasetError where images have one class each and each class is one folder: what is held out could not be learned."""
    if any(image.boxes.tolist() != [[0, 0, image.width, image.height]] for image in images):
        return
    folders: dict[int, set[Path]] = {}
    for image in images:
        folders.setdefault(int(image.classes[0]), set()).add(image.path.parent)
    if len(folders) > 1 and all(len(of_class) == 1 for of_class in folders.values()):
        raise DatasetError(
            "each class is one folder, so all images of a class would be held out or none",
            where="dataset.group=folder",
            remedy="leave it out, or group by names: dataset.group='[^/]+/(video[0-9]+)' keeps the images of video1 together",
        )


def _joined(keys: Sequence[str], contents: Sequence[str]) -> list[str]:
    """The keys, where all keys that share a content have become the first of them."""
    joined: dict[str, str] = {}  # key -> an earlier one that it belongs to

    def first_of(key: str) -> str:
        while key in joined:
            key = joined[key]
        return key

    of_content: dict[str, str] = {}
    for content, key in zip(contents, keys, strict=True):
        if content:
            one, other = sorted((first_of(of_content.get(content, key)), first_of(key)))
            of_content[content] = one
            if one != other:
                joined[other] = one
    return [first_of(key) for key in keys]


def _matched(name: str, group: str) -> str:
    """What the expression finds at the beginning of a name: its first group that took part, else the whole match."""
    match = re.match(group, name)
    return "" if match is None else next((found for found in match.groups() if found), match[0])


def _folder_names(folders: Collection[Path]) -> dict[Path, str]:
    """Each folder's own name; where several share that, with as many folders above it as make it unlike the others."""
    called: dict[Path, str] = {}
    depth, left = 0, set(folders)
    while left:
        depth += 1
        tails = {folder: "/".join(folder.parts[-depth:]) for folder in left}
        counts = Counter(tails.values())
        called |= {
            folder: unicodedata.normalize("NFC", as_unicode(tail))
            for folder, tail in tails.items()
            if counts[tail] == 1
        }
        left -= called.keys()
    return called
