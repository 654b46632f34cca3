"""Which processor computes."""

from __future__ import annotations

import torch

from al_cli.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """`auto`: the GPU where there is one. ConfigError for a GPU that is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"there is no device {name}", where=f"device={name}", remedy="valid: auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "torch sees no GPU", where="device=cuda", remedy="use device=cpu, or check the driver with nvidia-smi"
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
