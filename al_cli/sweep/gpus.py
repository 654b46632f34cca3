"""Which GPUs the runs of one command may use, and which of them each process sees.

CUDA gives a process that names no device the first one it sees, so runs side by side would all train on GPU 0. Each
process is therefore shown one GPU alone (CUDA_VISIBLE_DEVICES). Imports no torch: that would take longer than the rest.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence

from al_cli.errors import ConfigError

VARIABLE = "CUDA_VISIBLE_DEVICES"
GPUS_EXAMPLE = "write them as --gpus 0-3 or --gpus 0,2"


def visible() -> list[str]:
    """The GPUs that a process started here would see; none where there is no NVIDIA driver."""
    if VARIABLE in os.environ:
        named = [word.strip() for word in os.environ[VARIABLE].split(",")]
        return [word for word in named if word and word != "-1"]
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return re.findall(r"^GPU (\d+):", listed.stdout, re.MULTILINE) if listed.returncode == 0 else []


def chosen(text: str | None) -> list[str]:
    """The GPUs of `--gpus`, or all visible ones where nothing is said. ConfigError for one that is not there."""
    found = visible()
    if text is None:
        return found
    wanted: list[str] = []
    for part in text.split(","):
        bounds = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if bounds is None or (bounds[2] and int(bounds[2]) < int(bounds[1])):
            raise ConfigError(f"{part!r} names no GPU", where=f"--gpus {text}", remedy=GPUS_EXAMPLE)
        wanted += map(str, range(int(bounds[1]), int(bounds[2] or bounds[1]) + 1))
    for gpu in wanted:
        if gpu not in found:
            there = f"GPUs {', '.join(found)} are visible" if found else "no GPU is visible here"
            raise ConfigError(
                f"there is no GPU {gpu}", where=f"--gpus {text}", remedy=f"{there}; leave --gpus out for all"
            )
    return list(dict.fromkeys(wanted))


def least_used(gpus: Sequence[str], busy: Sequence[str | None]) -> str | None:
    """The GPU that the fewest running processes have, the first of equals; None where there are no GPUs."""
    return min(gpus, key=busy.count, default=None)
