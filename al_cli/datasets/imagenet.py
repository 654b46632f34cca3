"""ImageNet's 1000 classes, and the test sets that share them: Lund's "V2" and "Mixed" data (section 4.2.1).

ImageNet-V2 (Recht et al., 2019), -R (Hendrycks et al., 2020) and -A (Hendrycks et al., 2019) are published as a folder a
class. Folders are called by WordNet (n01440764), or in ImageNet-V2 by the class's number, 0 to 999: as numbers, so folder 10
is class 10, which the order of text would put third. The classes are always ImageNet's 1000, in the order of a network's
outputs, whether or not all occur.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from al_cli.datasets.checks import Problems, to_splits
from al_cli.datasets.names import printable
from al_cli.datasets.noisy import with_noise
from al_cli.datasets.notes import Notes
from al_cli.datasets.places import walk_images
from al_cli.datasets.whole_images import BadRows, LabeledFile, read_labeled, subfolders
from al_cli.errors import DatasetError
from al_cli.types import OwnSplits

SOURCES = {"v2": "ImageNet-V2", "r": "ImageNet-R", "a": "ImageNet-A"}  # of the mixture, in its order
CALLED = "folders are called 0 to 999, or as WordNet calls the classes (n01440764)"


@cache
def imagenet_classes() -> dict[str, str]:
    """{WordNet's id: name} of the 1000 classes of ILSVRC 2012, in their order, which is that of the ids."""
    text = Path(__file__).with_name("imagenet_classes.txt").read_text(encoding="utf-8")
    return dict(line.split(" ", 1) for line in text.splitlines())


def load_imagenet(
    root: str | Path, name: str = "", *, bad_rows: BadRows = "refuse", notes: Notes | None = None
) -> OwnSplits:
    """Read folders of ImageNet's classes as one pool. DatasetError lists all that is broken."""
    root = Path(root).expanduser().absolute()
    problems = Problems(root, notes, leave_out=bad_rows == "leave_out")
    files = imagenet_files(root, problems.notes)
    data = read_labeled({"train": files}, tuple(imagenet_classes().values()), problems)
    return to_splits(name or root.resolve().name, data)


def load_imagenet_mixed(
    root: str | Path,
    name: str = "",
    *,
    v2: str,
    r: str,
    a: str,
    images: int,
    split_seed: int = 0,
    noise: float | None = None,
    bad_rows: BadRows = "refuse",
    notes: Notes | None = None,
) -> OwnSplits:
    """Read so many `images` as one pool, a third each of the folders `v2`, `r` and `a` (below `root`, or absolute).

    Where a third is no whole number, the first have one more. Which images, a hash of `split_seed` and their names says, so
    another image more or less replaces one at most. An image is called `SOURCE/CLASS/FILE`. `noise` as `with_noise` has it.
    """
    root = Path(root).expanduser().absolute()
    problems = Problems(root, notes, leave_out=bad_rows == "leave_out")
    each, more = divmod(images, len(SOURCES))
    drawn: list[LabeledFile] = []
    for n, ((source, called), given) in enumerate(zip(SOURCES.items(), (v2, r, a), strict=True)):
        folder = root / Path(given).expanduser()
        if not folder.is_dir():
            remedy = f"put {called} there, or give its folder: dataset.{source}=DIR"
            raise DatasetError(f"there is no folder of {called}", where=str(folder), remedy=remedy)
        files, wanted = imagenet_files(folder, problems.notes, f"{source}/"), each + (n < more)
        if len(files) < wanted:
            what = f"{called} has {len(files)} images, and {wanted} are a third of dataset.images={images}"
            remedy = f"give the whole of {called}, or fewer images"
            raise DatasetError(what, where=str(folder), remedy=remedy)
        drawn += draw_by_name(files, wanted, split_seed)
    data = read_labeled({"train": drawn}, tuple(imagenet_classes().values()), problems)
    own = to_splits(name or root.resolve().name, data)
    return own if noise is None else with_noise(own, noise, split_seed)


def imagenet_files(root: Path, notes: Notes, prefix: str = "") -> list[LabeledFile]:
    """The images in folders of classes. An image is called `CLASS/FILE` behind the prefix, by WordNet however its folder is
    called. DatasetError for a folder that is no class, and where none is."""
    classes = list(imagenet_classes())
    folders = _folders_of_classes(root)
    labels = {folder: class_number(folder.name) for folder in folders}
    if strange := [folder for folder, label in labels.items() if label is None]:
        remedy = f"{CALLED}: rename or move it"
        raise DatasetError(f"folder {strange[0].name} is no class of ImageNet", where=str(strange[0]), remedy=remedy)
    if not folders or len({folder.name.isdecimal() for folder in folders}) > 1:
        what = "has folders that are numbered and folders that WordNet names" if folders else "has no folder of a class"
        raise DatasetError(what, where=str(root), remedy=f"give one data set as it was published: {CALLED}")
    return [
        LabeledFile(path, f"{prefix}{classes[label]}/{_below(path, folder)}", label)
        for folder, label in labels.items()
        if label is not None
        for path in walk_images(folder, notes)
    ]


def draw_by_name(files: Sequence[LabeledFile], count: int, seed: int) -> list[LabeledFile]:
    """So many of the files, the same on every machine, in no order that means anything."""

    def place(file: LabeledFile) -> bytes:
        return hashlib.sha256(f"mixed/{seed}/{file.name}".encode()).digest()

    return sorted(files, key=place)[:count]


def is_imagenet(root: Path) -> bool:
    """Whether these are folders of all of ImageNet's classes, by their names."""
    return {class_number(folder.name) for folder in _folders_of_classes(root)} == set(range(len(imagenet_classes())))


def class_number(folder: str) -> int | None:
    """The class that a folder is called after, 0 to 999; None for another name."""
    if folder.isdecimal():
        return int(folder) if int(folder) < len(imagenet_classes()) else None
    return _numbers().get(folder)


@cache
def _numbers() -> dict[str, int]:
    return {wnid: number for number, wnid in enumerate(imagenet_classes())}


def _folders_of_classes(root: Path) -> list[Path]:
    """The folders in `root`, or in the one folder in it that an archive was unpacked to."""
    below = subfolders(root)
    wrapped = len(below) == 1 and class_number(below[0].name) is None
    return subfolders(below[0]) if wrapped else below


def _below(path: Path, folder: Path) -> str:
    return printable(unicodedata.normalize("NFC", path.relative_to(folder).as_posix()))
