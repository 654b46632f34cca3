"""Pickles, read so that nothing in them can run: a pickle is a program, and data sets and weights may come from anybody."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy._core import multiarray, numeric


def _bytes(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into a pickle that Python 2 can read."""
    return text.encode("latin1")


# What arrays are made of in the pickles of every version of NumPy and Python: (module, name) -> what stands for it.
ARRAYS: Mapping[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _bytes,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): multiarray._reconstruct for core in ("core", "_core")},
    **{
        (f"numpy.{core}.numeric", "_frombuffer"): numeric._frombuffer  # type: ignore[attr-defined]
        for core in ("core", "_core")
    },
}


class NotAnArray(pickle.UnpicklingError):
    """The pickle names a class or a function that is not known, or (`outside`) refers to what it does not hold."""

    def __init__(self, named: str, outside: bool = False):
        super().__init__(f"GLOBAL {named}")  # the words of torch's own reader
        self.named, self.outside = named, outside


class ArraysOnly(pickle.Unpickler):
    """Builds arrays, text, numbers, lists and dicts, of classes those that are `known`, and imports nothing. NotAnArray for
    any other; it is neither imported nor run."""

    def __init__(self, file: IO[bytes], known: Mapping[tuple[str, str], Any] = ARRAYS):
        super().__init__(file, encoding="latin1")
        self.known = known

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.known:
            raise NotAnArray(f"{module}.{name}")
        return self.known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise NotAnArray(type(pid).__name__, outside=True)
