"""Files of weights, read so that nothing in them can run (`pickles.py`)."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from numpy._core import multiarray, numeric

from al_cli.errors import ModelError, first_line
from al_cli.pickles import ARRAYS, ArraysOnly

# al's own key: what its checkpoints call their classes, in order. Older checkpoints and those of others have none.
CLASSES = "class_names"


# What files of weights hold besides plain arrays.
_MADE = {
    "_reconstruct": multiarray._reconstruct,
    "scalar": multiarray.scalar,
    "_frombuffer": numeric._frombuffer,  # type: ignore[attr-defined]
}
_KNOWN: dict[tuple[str, str], Any] = {
    **ARRAYS,
    ("collections", "OrderedDict"): OrderedDict,
    **{(f"numpy.{core}.{room}", name): what for name, what in _MADE.items() for core in ("core", "_core")
       for room in ("multiarray", "numeric")},
    **{(module, kind.__name__): kind for module in ("builtins", "__builtin__")
       for kind in (set, frozenset, bytes, bytearray, complex)},
}  # fmt: skip


def read_arrays(path: Path) -> Any:
    """What a `.pkl` holds: Detectron2's own files of weights, those that Python 2 wrote included."""
    with path.open("rb") as file:
        return ArraysOnly(file, _KNOWN).load()


def read_tensors(path: Path) -> Any:
    """What torch.save wrote, if it is tensors, numbers, text and their containers."""
    return torch.load(path, map_location="cpu", weights_only=True)


def refusal(error: Exception) -> str:
    """Why a file of weights was not read, in half a sentence. torch's own text advises to run what is in it."""
    if named := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return f"it names {named[1]}, which is no array; nothing of it was run"
    if isinstance(error, OSError):
        return error.strerror or first_line(error)
    return f"it is cut short, or no file of weights ({type(error).__name__})"


def read_weights(path: Path) -> dict[str, Any]:
    """A file of weights as Detectron2's checkpointer wants it: `.pkl` of arrays, or what torch.save wrote. ModelError, with
    the reason, for any other."""
    try:
        data = (read_arrays if path.suffix == ".pkl" else read_tensors)(path)
    except Exception as error:  # broken bytes can raise anything
        raise ModelError(
            f"the weights cannot be read: {refusal(error)}",
            where=str(path),
            remedy="give a checkpoint written by al or by Detectron2 (.pth, or .pkl of arrays alone)",
        ) from error
    model = data.get("model", data.get("blobs", data)) if isinstance(data, dict) else None
    if not isinstance(model, dict) or not model or not all(isinstance(key, str) for key in model):
        remedy = "give a checkpoint written by al or by Detectron2 (.pth or .pkl)"
        raise ModelError("this file holds no weights", where=str(path), remedy=remedy)
    if path.suffix != ".pkl" or "__author__" in data:
        return data if "model" in data else {"model": model}
    # Caffe2's, whose names must be matched: all of ImageNetPretrained/MSRA
    weights = {key: value for key, value in model.items() if not key.endswith("_momentum")}
    return {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}
