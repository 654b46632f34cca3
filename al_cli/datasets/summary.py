"""What `al data` says of a dataset, as one object: the counts of each split and all that is odd."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from al_cli.datasets.checks import count_images, count_splits
from al_cli.datasets.near import groups_of, is_flat, look_at
from al_cli.datasets.notes import Notes
from al_cli.datasets.oddities import (
    Oddity,
    below,
    find_oddities,
    named_splits,
    objects_by_class,
    some,
    without_label_file,
)
from al_cli.datasets.places import SPLIT_NAMES
from al_cli.errors import DatasetError
from al_cli.types import LabelKind, Splits

NOT_DEEP = "near-duplicates and broken images: not looked for; --deep does"


@dataclass(frozen=True)
class Summary:
    """Rows of counts, one a split; oddities; and for each split its objects by class, or its images."""

    splits: Splits
    format: str
    rows: list[dict[str, str | int]]
    odd: list[Oddity]
    deep: bool

    def as_json(self, words: list[str]) -> dict[str, Any]:
        """Plain values for --json; `words` are those that `al run` takes."""
        named = ("most common", "rarest")
        return {
            "name": self.splits.name,
            "format": self.format,
            "classes": list(self.splits.train.class_names),
            "splits": [
                {key: value for key, value in row.items() if key not in named} | {"by class": objects_by_class(data)}
                for row, (_, data) in zip(self.rows, named_splits(self.splits), strict=True)
            ],
            "odd": [oddity.as_json() for oddity in self.odd],
            "deep": self.deep,
            "words": words,
        }


def summary_of(
    splits: Splits, notes: Notes, root: Path, format: str, deep: bool = False, labels: LabelKind = "objects"
) -> Summary:
    """Count, and look for all that is odd. `deep` decodes every image: DatasetError names those that cannot be."""
    root = root.absolute()
    root = root if root.is_dir() else root.parent
    if not splits.train.images[0].path.is_relative_to(root):  # unpacked to the cache
        parents = {str(image.path.parent) for _, data in named_splits(splits) for image in data.images}
        root = Path(os.path.commonpath(parents))
    odd = find_oddities(splits, notes, root, labels) + (look_alikes(splits, root) if deep else [])
    if labels == "image":
        return Summary(splits, format, count_images(splits), odd, deep)
    unlabeled = None if format == "coco" else without_label_file(splits, notes)
    return Summary(splits, format, count_splits(splits, unlabeled), odd, deep)


def look_alikes(splits: Splits, root: Path) -> list[Oddity]:
    """Images that look like another one of their split or of an earlier split, each image of equal bytes once; and those that
    are too uniform to be compared. DatasetError names every image that cannot be decoded."""
    owner = [split for split, data in named_splits(splits) for _ in data.images]
    images = [image for _, data in named_splits(splits) for image in data.images]
    thumbnails, broken = look_at([image.path for image in images])
    if broken:
        raise _undecodable(broken, root)
    once = {image.content or str(image.path): n for n, image in reversed(list(enumerate(images)))}
    which = sorted(once.values())
    # (split, earlier split or itself): image, the one it looks like
    pairs: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for group in groups_of(thumbnails[which]):
        first: dict[str, int] = {}
        for one in (which[n] for n in group):
            for earlier, other in first.items():
                pairs.setdefault((owner[one], earlier), []).append((one, other))
            first.setdefault(owner[one], one)
    odd, order = [], list(SPLIT_NAMES)
    for (split, like), found in sorted(pairs.items(), key=lambda item: [order.index(name) for name in item[0]]):
        within = split == like
        kind = "images that look like an earlier one" if within else f"images that look like one of {like}"
        so = "each costs budget for little that is new" if within else f"{split} is not unseen"
        places = [f"{below(images[n].path, root)} as {below(images[m].path, root)}" for n, m in sorted(found)]
        odd.append(Oddity(kind, len(places), places.__getitem__, split, so))
    flat = is_flat(thumbnails).tolist()
    for split in order:
        uniform = [image for image, name, is_one in zip(images, owner, flat, strict=True) if is_one and name == split]
        odd += some("images too uniform to be compared", uniform, split, root)
    return odd


def _undecodable(broken: list[tuple[str, str]], root: Path) -> DatasetError:
    remedy = "replace or remove the file"
    if len(broken) == 1:
        return DatasetError(broken[0][0], where=broken[0][1], remedy=remedy)
    lines = "".join(f"\n  {where}: {what}" for what, where in broken)
    error = DatasetError(
        f"{len(broken)} images cannot be decoded", where=str(root), remedy=f"replace or remove the files{lines}"
    )
    error.problems = tuple((what, where, remedy) for what, where in broken)
    return error
