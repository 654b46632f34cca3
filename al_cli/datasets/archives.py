"""Well-known sets of images with one class each, in the files that people download: CIFAR-10, CIFAR-100, SVHN and MNIST.

    cifar10, cifar100   the folder of the python or binary version, or its .tar.gz (Krizhevsky, 2009); fine labels of CIFAR-100
    svhn                train_32x32.mat and test_32x32.mat (Netzer et al., 2011, format 2); its label 10 is the digit 0
    mnist               train-images-idx3-ubyte, ... with .gz or without (LeCun et al., 1998; Fashion-MNIST is alike)

The images are written once to al's cache, {train,test}/CLASS/NUMBER.png, and read from there as any folder of classes; NUMBER
is the image's place in its file (CIFAR-10's five batches follow each other). Sets are read as they were published, with the
images that both of their splits have.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from PIL import Image as Pillow

from al_cli.datasets import image_arrays as arrays
from al_cli.datasets.checks import quoted
from al_cli.datasets.image_arrays import DOWNLOAD_AGAIN, Labeled
from al_cli.datasets.notes import Notes
from al_cli.datasets.unpacked import unpacked
from al_cli.datasets.whole_images import BadRows, load_folder, subfolders
from al_cli.errors import DatasetError
from al_cli.progress import phase
from al_cli.system import open_regular, read_regular
from al_cli.types import OwnSplits

VERSION = 1  # to be changed with what is written
MOST_FOLDERS = 50  # looked into for the files
MOST_BYTES = 2**30  # of one file, unpacked; those of EMNIST, the largest set in these formats, have half of it
MOST_NAME_BYTES = 200  # of a class, whose folder is called so; systems take 255
TARS = (".tar.gz", ".tgz", ".tar")
TEN_DIGITS = tuple("0123456789")
Files = Mapping[str, bytes]  # by the names that a layout calls them


class Layout(NamedTuple):
    """The files of one version: those of train, of test, and that of the classes' names, which MNIST and SVHN lack."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    names: tuple[str, ...]
    read: Callable[[Files, tuple[str, ...]], Labeled]  # the images of these files
    classes: Callable[[bytes], tuple[str, ...]]
    tar: str = ""  # how its archive is called

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, *self.test, *self.names)


class Place(NamedTuple):
    """Where a layout's files lie: in a folder, by the names of the layout, or all in one archive."""

    layout: Layout
    files: Mapping[str, Path]
    tar: Path | None

    @property
    def sources(self) -> list[Path]:
        return list(self.files.values()) if self.tar is None else [self.tar]


def _each(read: Callable[[bytes], Labeled]) -> Callable[[Files, tuple[str, ...]], Labeled]:
    """A reader of the files of a split, from that of one file. DatasetError names the file."""

    def read_all(files: Files, names: tuple[str, ...]) -> Labeled:
        parts = []
        for name in names:
            try:
                parts.append(read(files[name]))
            except DatasetError as error:
                raise DatasetError(error.what, where=name, remedy=error.remedy) from error
        return arrays.joined_parts(parts)

    return read_all


def _mnist(files: Files, names: tuple[str, ...]) -> Labeled:
    images, labels = names
    try:
        return arrays.mnist_idx(files[images], files[labels])
    except DatasetError as error:
        raise DatasetError(error.what, where=f"{images}, {labels}", remedy=error.remedy) from error


def _python(key: str) -> Callable[[Files, tuple[str, ...]], Labeled]:
    return _each(lambda data: arrays.cifar_python(data, key))


def _binary(labels: int) -> Callable[[Files, tuple[str, ...]], Labeled]:
    return _each(lambda data: arrays.cifar_binary(data, labels))


BATCHES = tuple(f"data_batch_{n}" for n in range(1, 6))
WELL_KNOWN: dict[str, tuple[Layout, ...]] = {
    "cifar10": (
        Layout(
            BATCHES,
            ("test_batch",),
            ("batches.meta",),
            _python("labels"),
            lambda data: arrays.names_in_pickle(data, "label_names"),
            "cifar-10-python",
        ),
        Layout(
            tuple(f"{name}.bin" for name in BATCHES),
            ("test_batch.bin",),
            ("batches.meta.txt",),
            _binary(1),
            arrays.names_in_text,
            "cifar-10-binary",
        ),
    ),
    "cifar100": (
        Layout(
            ("train",),
            ("test",),
            ("meta",),
            _python("fine_labels"),
            lambda data: arrays.names_in_pickle(data, "fine_label_names"),
            "cifar-100-python",
        ),
        Layout(
            ("train.bin",),
            ("test.bin",),
            ("fine_label_names.txt",),
            _binary(2),
            arrays.names_in_text,
            "cifar-100-binary",
        ),
    ),
    "svhn": (Layout(("train_32x32.mat",), ("test_32x32.mat",), (), _each(arrays.svhn_mat), lambda data: TEN_DIGITS),),
    "mnist": (
        Layout(
            ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
            ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
            (),
            _mnist,
            lambda data: TEN_DIGITS,
        ),
    ),
}
LOOKED_FOR = {
    "cifar10": "data_batch_1 to 5, test_batch and batches.meta (or the same with .bin), or cifar-10-python.tar.gz",
    "cifar100": "train, test and meta (or train.bin, test.bin and fine_label_names.txt), or cifar-100-python.tar.gz",
    "svhn": "train_32x32.mat and test_32x32.mat",
    "mnist": "train-images-idx3-ubyte, train-labels-idx1-ubyte and the same of t10k, with .gz or without",
}


def load_archive(
    format: str, root: str | Path, name: str = "", *, bad_rows: BadRows = "refuse", notes: Notes | None = None
) -> OwnSplits:
    """Read one of `WELL_KNOWN` from the folder that holds its files, a folder above, one of them, or its archive. DatasetError
    says what was looked for, or which file is broken."""
    root = Path(root).expanduser().absolute()
    place = find_files(format, root)
    if place is None:
        raise DatasetError(f"holds no {format} files", where=str(root), remedy=f"looked for {LOOKED_FOR[format]}")
    folder = unpacked(f"{format}-{VERSION}", place.sources, lambda draft: _write(place, root, draft))
    return load_folder(folder, name or root.name, bad_rows=bad_rows, notes=notes, as_published=True)


def find_files(format: str, root: Path) -> Place | None:
    """Where the files of a format lie, in this folder, below it or in this archive; None where the first of them is nowhere.
    DatasetError where others are missing."""
    if root.is_file() and any(spelled(root.name) in layout.files for layout in WELL_KNOWN[format]):
        root = root.parent
    if root.is_file():
        return next((Place(layout, {}, root) for layout in WELL_KNOWN[format] if _is_tar_of(layout, root)), None)
    below = subfolders(root)[:MOST_FOLDERS]
    for folder in (root, *below, *(deeper for one in below for deeper in subfolders(one)[:MOST_FOLDERS])):
        known = {spelled(path.name): path for path in sorted(folder.iterdir())}
        for layout in WELL_KNOWN[format]:
            there = {name: known[name] for name in layout.files if name in known and known[name].is_file()}
            if not there or (format == "cifar100" and len(there) < 2):  # `train` may be anything
                continue
            if missing := [name for name in layout.files if name not in there]:
                what = f"{', '.join(missing)} of {format} is missing"
                raise DatasetError(what, where=str(folder), remedy=f"put it there: {LOOKED_FOR[format]}")
            return Place(layout, there, None)
        for path in known.values():
            for layout in WELL_KNOWN[format]:
                if _is_tar_of(layout, path) and path.is_file():
                    return Place(layout, {}, path)
    return None


def spelled(name: str) -> str:
    """A file's name as layouts call it: without .gz, and MNIST's train-images.idx3-ubyte with a hyphen."""
    return re.sub(r"\.(idx\d-ubyte)$", r"-\1", name.removesuffix(".gz") if "ubyte" in name else name)


def _is_tar_of(layout: Layout, path: Path) -> bool:
    return bool(layout.tar) and path.name.startswith(layout.tar) and path.name.endswith(TARS)


def _read(place: Place) -> dict[str, bytes]:
    """The bytes of each file of the layout."""
    if place.tar is None:
        files = {}
        for name, path in place.files.items():
            try:
                if path.suffix == ".gz":
                    with open_regular(path) as packed, gzip.GzipFile(fileobj=packed) as file:
                        files[name] = _whole(file, path)
                else:
                    files[name] = read_regular(path)
            except (OSError, EOFError, zlib.error) as error:
                raise _broken(path, error) from error
        return files
    try:
        with tarfile.open(place.tar) as tar:
            files = {}
            for member in tar:
                called = member.name.rpartition("/")[2]
                if called not in place.layout.files or not member.isfile():  # a link leads out of it, or nowhere
                    continue
                if (opened := tar.extractfile(member)) is not None:
                    files[called] = _whole(opened, place.tar / called)
    except DatasetError:
        raise
    except Exception as error:  # broken headers can raise anything
        raise _broken(place.tar, error) from error
    if missing := [name for name in place.layout.files if name not in files]:
        raise DatasetError(f"{', '.join(missing)} is missing in it", where=str(place.tar), remedy=DOWNLOAD_AGAIN)
    return files


def _whole(file: IO[bytes] | gzip.GzipFile, path: Path) -> bytes:
    """All bytes of a packed file. DatasetError where they are so many that it was made to fill the memory."""
    data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        what = f"unpacks to more than {MOST_BYTES >> 20} MiB, which no file of such a set has"
        raise DatasetError(what, where=str(path), remedy=DOWNLOAD_AGAIN)
    return data


def _broken(path: Path, error: Exception) -> DatasetError:
    why = getattr(error, "strerror", None) or "it is cut short, or no archive"
    return DatasetError(f"cannot be read: {why}", where=str(path), remedy=DOWNLOAD_AGAIN)


def _write(place: Place, root: Path, folder: Path) -> None:
    """Write {train,test}/CLASS/NUMBER.png."""
    layout, files = place.layout, _read(place)
    try:
        names = layout.classes(files[layout.names[0]] if layout.names else b"")
        parts = {"train": layout.read(files, layout.train), "test": layout.read(files, layout.test)}
        arrays.require_labels({split: part.labels for split, part in parts.items()}, len(names))
        _require_folder_names(names)
    except DatasetError as error:
        at = place.tar or next(iter(place.files.values())).parent
        where = f"{at}: {error.where}" if error.where else str(at)
        raise DatasetError(error.what, where=where, remedy=error.remedy) from error
    for name in names:
        for split in parts:
            (folder / split / name).mkdir(parents=True)
    with phase("unpack images", sum(len(part.labels) for part in parts.values())) as step:
        for split, part in parts.items():
            for number, (pixels, label) in enumerate(zip(part.pixels, part.labels.tolist(), strict=True)):
                Pillow.fromarray(pixels).save(folder / split / names[label] / f"{number:05d}.png")
                step()


def _require_folder_names(names: Sequence[str]) -> None:
    """DatasetError for names of classes by which no folders can be called, one each, on every system."""
    if len({name.casefold() for name in names}) < len(names):
        raise DatasetError("has two classes of one name", remedy=DOWNLOAD_AGAIN)
    for name in names:
        if not re.fullmatch(r"\w[\w .,()+&'-]*", name) or len(name.encode()) > MOST_NAME_BYTES:
            raise DatasetError(f"has a class called {quoted(name)}", remedy=DOWNLOAD_AGAIN)
