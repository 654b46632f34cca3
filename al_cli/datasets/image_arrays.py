"""Images and labels as arrays, from the bytes of the files of CIFAR, SVHN and MNIST. Knows no folders.

Every function raises DatasetError, without a place, for bytes that are something else; whoever has the file names it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from al_cli.errors import DatasetError, first_line
from al_cli.pickles import ArraysOnly, NotAnArray

SIDE_PX, COLORS = 32, 3  # of CIFAR's images and SVHN's
DOWNLOAD_AGAIN = "download it again"


class Labeled(NamedTuple):
    """`pixels` [N,H,W] or [N,H,W,3] uint8 and `labels` [N], 0..C-1."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


def joined_parts(parts: Sequence[Labeled]) -> Labeled:
    """The images of several files, one file after the other."""
    return Labeled(np.concatenate([part.pixels for part in parts]), np.concatenate([part.labels for part in parts]))


def read_pickle(data: bytes) -> dict[str, Any]:
    """The dict that a file of CIFAR's python version holds, with keys of text."""
    try:
        found = ArraysOnly(io.BytesIO(data)).load()
    except NotAnArray as error:
        what = f"names {error.named}, which is no array; nothing of it was run"
        if error.outside:
            what = "refers to something outside, and was not read"
        raise DatasetError(what, remedy=DOWNLOAD_AGAIN) from error
    except Exception as error:  # broken bytes can raise anything
        what = f"cannot be read: it is cut short, or no file of CIFAR ({type(error).__name__})"
        raise DatasetError(what, remedy=DOWNLOAD_AGAIN) from error
    if not isinstance(found, dict):
        raise DatasetError("is no file of CIFAR: it holds no dict", remedy=DOWNLOAD_AGAIN)
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in found.items()}


def cifar_python(data: bytes, labels: str) -> Labeled:
    """A batch of the python version; `labels` is the key of its labels, `labels` or `fine_labels`."""
    batch = read_pickle(data)
    pixels, numbers = batch.get("data"), batch.get(labels)
    good = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 2
    if not good or not isinstance(numbers, list) or not all(map(_is_label, numbers)):
        raise DatasetError(
            f"is no file of CIFAR: it lacks the bytes `data` or the list `{labels}`", remedy=DOWNLOAD_AGAIN
        )
    assert isinstance(pixels, np.ndarray)
    return _planes(pixels, np.array(numbers, dtype=np.int64))


def _is_label(number: object) -> bool:
    return type(number) is int and abs(number) < 2**31


def cifar_binary(data: bytes, labels: int) -> Labeled:
    """A batch of the binary version, whose images begin with so many labels; the last of them counts (CIFAR-100: the fine)."""
    row = labels + COLORS * SIDE_PX**2
    if not data or len(data) % row:
        raise DatasetError(
            f"is no file of CIFAR: its {len(data)} bytes are no multiple of {row}", remedy=DOWNLOAD_AGAIN
        )
    table = np.frombuffer(data, dtype=np.uint8).reshape(-1, row)
    return _planes(table[:, labels:], table[:, labels - 1].astype(np.int64))


def _planes(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Labeled:
    """From rows [N,3072], all red, then all green, then all blue."""
    size = COLORS * SIDE_PX**2
    if pixels.shape != (len(labels), size):
        what = f"is no file of CIFAR: {len(labels)} labels, and data of {' x '.join(map(str, pixels.shape))}, not of {size}"
        raise DatasetError(what, remedy=DOWNLOAD_AGAIN)
    return Labeled(pixels.reshape(-1, COLORS, SIDE_PX, SIDE_PX).transpose(0, 2, 3, 1), labels)


def names_in_pickle(data: bytes, key: str) -> tuple[str, ...]:
    """The names of the classes in CIFAR's batches.meta or meta."""
    names = read_pickle(data).get(key)
    if not isinstance(names, list) or not names:
        raise DatasetError(f"is no file of CIFAR: it lacks the list `{key}`", remedy=DOWNLOAD_AGAIN)
    return tuple(name.decode("latin1") if isinstance(name, bytes) else str(name) for name in names)


def names_in_text(data: bytes) -> tuple[str, ...]:
    """The same of the binary version: a name a line."""
    return tuple(line.strip() for line in data.decode("latin1").splitlines() if line.strip())


def svhn_mat(data: bytes) -> Labeled:
    """SVHN's format 2, MATLAB's version 5: `X` [32,32,3,N] and `y` [N,1], where 10 is the digit 0."""
    from scipy.io import loadmat  # half a second

    if data[:19] == b"MATLAB 7.3 MAT-file":
        remedy = "save it with -v7, or download train_32x32.mat and test_32x32.mat"
        raise DatasetError("is a MATLAB file of version 7.3, which is not read", remedy=remedy)
    try:
        found = loadmat(io.BytesIO(data), variable_names=("X", "y"))
    except Exception as error:  # broken bytes can raise anything
        what = f"cannot be read as a MATLAB file: {first_line(error)}"
        raise DatasetError(what, remedy=DOWNLOAD_AGAIN) from error
    pixels, labels = found.get("X"), found.get("y")
    good = isinstance(pixels, np.ndarray) and isinstance(labels, np.ndarray) and pixels.dtype == np.uint8
    if not good or not _are_whole(labels) or pixels.shape != (SIDE_PX, SIDE_PX, COLORS, labels.size):
        what = "is none of SVHN's cropped digits: it lacks X of 32 x 32 x 3 x N bytes or y of N whole numbers"
        raise DatasetError(what, remedy="download train_32x32.mat and test_32x32.mat (format 2)")
    digits = labels.reshape(-1).astype(np.int64)
    return Labeled(pixels.transpose(3, 0, 1, 2), np.where(digits == 10, 0, digits))


def _are_whole(labels: NDArray[Any]) -> bool:
    """Whether these are whole numbers; MATLAB writes them as floating-point ones where nothing else is said."""
    return labels.dtype.kind in "iu" or (
        labels.dtype.kind == "f" and bool(np.isfinite(labels).all() and (labels == np.round(labels)).all())
    )


def mnist_idx(images: bytes, labels: bytes) -> Labeled:
    """MNIST's two files of one split, unpacked."""
    pixels, numbers = _idx(images, 3), _idx(labels, 1)
    if len(pixels) != len(numbers):
        raise DatasetError(f"has {len(pixels)} images and {len(numbers)} labels", remedy=DOWNLOAD_AGAIN)
    return Labeled(pixels, numbers.astype(np.int64))


def _idx(data: bytes, axes: int) -> NDArray[np.uint8]:
    """An array in the format idx: 0, 0, 8 (bytes), the number of axes, their lengths, the values."""
    head = 4 + 4 * axes
    if data[:4] != bytes((0, 0, 8, axes)) or len(data) < head:
        raise DatasetError(f"is no file of MNIST: it does not begin as idx of {axes} axes does", remedy=DOWNLOAD_AGAIN)
    shape = tuple(int(n) for n in np.frombuffer(data[4:head], dtype=">u4"))
    expected = head + int(np.prod(shape, dtype=object))
    if len(data) != expected:
        raise DatasetError(f"is cut short: it has {len(data)} bytes of {expected}", remedy=DOWNLOAD_AGAIN)
    if 0 in shape[1:]:
        raise DatasetError(f"has images of {shape[2]} x {shape[1]} px", remedy=DOWNLOAD_AGAIN)
    return np.frombuffer(data, dtype=np.uint8, offset=head).reshape(shape)


def require_labels(labels: Mapping[str, NDArray[np.int64]], classes: int) -> None:
    """DatasetError for a label outside 0..C-1 of any split, and for a split without an image."""
    for split, numbers in labels.items():
        if not len(numbers):
            raise DatasetError(f"has no {split} images", remedy=DOWNLOAD_AGAIN)
        if numbers.min() < 0 or numbers.max() >= classes:
            what = f"has the label {numbers[(numbers < 0) | (numbers >= classes)][0]}, outside 0..{classes - 1}"
            raise DatasetError(what, remedy=DOWNLOAD_AGAIN)
