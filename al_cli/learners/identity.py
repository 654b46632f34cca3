"""What, beside data and seed, determines the numbers of a learner: its settings, the device, the versions, our code.

Two learners of equal identity, given the same images, seed and starting weights, train to the same bytes on a CPU. That
is what the store relies on, so whatever changes a number must change the identity; what merely might is counted too.
"""

from __future__ import annotations

import ast
import hashlib
import platform
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from al_cli.errors import AlError
from al_cli.learners.spec import TINY, ModelSpec, TrainingSpec
from al_cli.types import Signal

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "hdbscan",
    "detectron2",
    "sal-detectron2",
    "fvcore",
)
OURS = ("types.py", "rng.py", "strategy.py", "budget.py", "samplers", "learners")
ASKING = ("dropout_passes", "influence")  # settings of a model that change its answers and not its training
NO_NUMBERS = ("keep_checkpoints",)  # settings of a training that change what is kept, not what is computed


def training_identity(
    model: ModelSpec,
    training: TrainingSpec,
    class_names: Sequence[str],
    *,
    iterations: int,
    device: str,
    needs: frozenset[Signal],
) -> dict[str, Any]:
    """Everything that determines the weights beside the arguments of `fit`, as plain values."""
    settings = {key: value for key, value in asdict(model).items() if key not in ("name", *ASKING)}
    recipe = {key: value for key, value in asdict(training).items() if key not in NO_NUMBERS}
    return {
        "model": settings,
        "weights_file": starting_weights(model),
        "training": recipe
        | {"iterations": iterations, "data": None, "init": None},  # `fit` is given images and weights
        "classes": list(class_names),
        "learns_loss": Signal.PREDICTED_LOSS in needs,
        "device": device_kind(model, device),
        "versions": versions(),
    }


def asking_identity(model: ModelSpec) -> dict[str, Any]:
    """Settings that, with the weights, determine what is inferred."""
    settings = asdict(model)
    return {"asking": {key: settings[key] for key in (*ASKING, "config", "overrides", "dropout")}}


def starting_weights(model: ModelSpec) -> str | None:
    """The digest of a weights file; None where the spec's own words (zoo, none, an address) say which they are."""
    path = Path(model.weights).expanduser()
    if model.weights in ("zoo", "none") or not path.is_file():
        return None
    return file_digest(path)


def file_digest(path: Path) -> str:
    """32 hex digits of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def device_kind(model: ModelSpec, device: str) -> str:
    """Kind of processor: last digits depend on it, and on a CPU on the number of threads (the tiny models use one)."""
    if model.architecture == "fake":
        return "none"
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    threads = 1 if model.config in TINY else torch.get_num_threads()
    return f"cpu {platform.machine()} {torch.backends.cpu.get_cpu_capability()} {threads} threads"


@cache
def versions() -> dict[str, str]:
    """Of the packages that compute, and the digest of our own code that does."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found | {"python": ".".join(platform.python_version_tuple()[:2]), "al": code_digest()}


@cache
def code_digest() -> str:
    """16 hex digits of the code that computes numbers, comments and docstrings left out."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for name in OURS:
        place = package / name
        for path in sorted(place.glob("*.py")) if place.is_dir() else [place]:
            digest.update(
                f"{path.relative_to(package).as_posix()} {code_of(path.read_text(encoding='utf-8'))}".encode()
            )
    return digest.hexdigest()[:16]


def code_of(source: str) -> str:
    """The syntax tree without docstrings: equal for sources that compute the same in the same words."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise AlError("al's own source cannot be read", where=str(error), remedy="install it anew") from error
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:]  # type: ignore[attr-defined]
    return ast.dump(tree)
