"""What, besides data and seed, determines the numbers of a learner: its settings, the device, the versions, the kernels.

Two learners of equal identity and equal code (`al_cli.store.code`), given the same images, seed and starting weights, train to
the same bytes on a CPU. That is what the store relies on, so whatever changes a number must change the identity.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from al_cli.learners.kinds import AnyModel
from al_cli.learners.training_spec import TrainingSpec
from al_cli.masked import without_login
from al_cli.system import sha256
from al_cli.types import Signal

COMPUTING_PACKAGES = (
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
# How a person, or an administrator, sends a library to other kernels than it would take.
KERNEL_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_CPU_ISA_HINTS",
    "DNNL_CPU_ISA_HINTS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_DEBUG_CPU_TYPE",
    "OPENBLAS_CORETYPE",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "CUBLAS_WORKSPACE_CONFIG",
)
VECTORS = ("sse", "avx", "fma", "amx", "f16c", "asimd", "sve", "neon", "bf16")  # beginnings of their flags
ASKING = ("dropout_passes", "influence")  # settings of a model that change its answers and not its training
NO_NUMBERS = ("keep_checkpoints",)  # settings of a training that change what is kept, not what is computed


def training_identity(
    model: AnyModel,
    training: TrainingSpec,
    class_names: Sequence[str],
    *,
    iterations: int,
    trainings: int,
    device: str,
    needs: frozenset[Signal],
) -> dict[str, Any]:
    """Everything but code that determines the weights besides the arguments of `fit`, as plain values. `trainings`: how
    many its run has, where one schedule lies over all of them."""
    settings = {key: value for key, value in asdict(model).items() if key not in ("name", "loss_prediction", *ASKING)}
    recipe = {key: value for key, value in asdict(training).items() if key not in NO_NUMBERS}
    return {
        "model": settings | {"weights": without_login(model.weights)},
        "weights_file": starting_weights(model),
        # `fit` is given images and weights; which weights those of a joined training are, and hold, is its own affair
        "training": recipe
        | {"iterations": iterations, "data": None, "init": "join" if training.init == "join" else None},
        "trainings": trainings if training.spans_run else None,
        "classes": list(class_names),
        "learns_loss": model.loss_prediction if Signal.PREDICTED_LOSS in needs else None,
        "device": device_kind(model, device),
        "versions": versions(),
        "kernels": kernels(model),
    }


def asking_identity(model: AnyModel) -> dict[str, Any]:
    """Settings that, with the weights, determine what is inferred."""
    settings = asdict(model)
    return {"asking": {key: settings[key] for key in (*ASKING, *model.asking)}}


def starting_weights(model: AnyModel) -> str | None:
    """The digest of a weights file; None where the spec's own words (zoo, none, an address) say which they are."""
    path = Path(model.weights).expanduser()
    if model.weights in ("zoo", "imagenet", "none") or not path.is_file():
        return None
    return file_digest(path)


def file_digest(path: Path) -> str:
    """32 hex digits of a file's bytes."""
    return sha256(path)[:32]


def device_used(model: AnyModel, asked: str) -> str:
    """The device that a run computes on where `auto`, `cpu` or `cuda` was asked: `cpu`, or `cuda:0` with the GPU's name."""
    if model.architecture == "fake" or asked == "cpu":
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{torch.cuda.current_device()} ({torch.cuda.get_device_name()})"


def device_kind(model: AnyModel, device: str) -> str:
    """Kind of processor: last digits depend on it, and on a CPU on the number of threads (the tiny models use one)."""
    if model.architecture == "fake":
        return "none"
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    threads = 1 if model.tiny else torch.get_num_threads()
    return f"cpu {platform.machine()} {threads} threads"


@cache
def versions() -> dict[str, str]:
    """Of Python and of the packages that compute."""
    found = {}
    for name in COMPUTING_PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found | {"python": ".".join(platform.python_version_tuple()[:2])}


def kernels(model: AnyModel) -> dict[str, str]:
    """What picks the numeric kernels on this machine: the CPU and its vector units, the path that ATen takes, and every
    variable by which someone may send oneDNN, MKL, OpenBLAS or NumPy another way. Each can change a result's last digits,
    and those a whole training.
    """
    found = {"cpu": cpu_model(), "vectors": vector_units()}
    if model.architecture != "fake":
        import torch

        found["ATen"] = torch.backends.cpu.get_cpu_capability()
    return found | {name: os.environ[name] for name in KERNEL_VARIABLES if name in os.environ}


@cache
def cpu_model() -> str:
    """The CPU as its maker calls it; the kind of machine where the system does not say."""
    return _cpu_line("model name") or _macos("machdep.cpu.brand_string") or platform.processor() or platform.machine()


@cache
def vector_units() -> str:
    """The vector instructions that this CPU, or the virtual one, offers; nothing where the system does not say."""
    flags = _cpu_line("flags") or _cpu_line("Features") or _macos("machdep.cpu.leaf7_features")
    return " ".join(sorted(flag for flag in flags.lower().split() if flag.startswith(VECTORS)))


def _cpu_line(key: str) -> str:
    """The first value of this key in Linux' /proc/cpuinfo, or nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")


def _macos(key: str) -> str:
    if platform.system() != "Darwin":
        return ""
    done = subprocess.run(["sysctl", "-n", key], capture_output=True, text=True)
    return done.stdout.strip()
