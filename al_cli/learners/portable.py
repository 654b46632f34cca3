"""`portable=true`: every process of a run takes the numeric kernels of one instruction set, AVX2, whatever its CPU offers.

The last digits of a training depend on the kernels that ATen, oneDNN and MKL choose. Each library reads its variable when it
first computes, so the variables are set before that. Blocks that oneDNN chooses by cache size are not capped: therefore the
store's keys keep the CPU beside these variables, and two CPUs share no entry.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from typing import Any

from al_cli.errors import ConfigError, RunError
from al_cli.learners.identity import vector_units

CAPS = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}
# Older names and finer switches of the same libraries: they would undo a cap.
RIVALS = ("DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")


def check_portable(config: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> None:
    """ConfigError where this machine or its environment cannot keep the promise. A variable that the user has set to another
    value is never overruled in silence: it is refused."""
    if not config.get("portable", False):
        return
    environ = os.environ if environ is None else environ
    if platform.machine().lower() not in ("x86_64", "amd64"):
        raise ConfigError(
            f"portable kernels are those of AVX2, and this CPU is {platform.machine()}",
            where="portable=true",
            remedy="leave it out: results are equal to the byte on this machine only",
        )
    if (units := vector_units()) and "avx2" not in units.split():
        raise ConfigError(
            "portable kernels are those of AVX2, which this CPU does not have",
            where="portable=true",
            remedy="leave it out, or take another machine",
        )
    for name in (*CAPS, *RIVALS):
        if name in environ and environ[name].lower() != CAPS.get(name, "").lower():
            raise ConfigError(
                f"portable=true needs {name}={CAPS[name]}"
                if name in CAPS
                else f"portable=true cannot work with {name}",
                where=f"{name}={environ[name]} is set",
                remedy=f"`unset {name}`, or leave portable=true out",
            )


def cap_kernels(config: Mapping[str, Any]) -> None:
    """Cap this process and those that it starts, where the run asks for it. RunError where torch has chosen before."""
    if not config.get("portable", False):
        return
    check_portable(config)
    os.environ.update(CAPS)
    if config["model"].get("family") == "fake" and "torch" not in sys.modules:
        return
    import torch

    if torch.backends.cpu.get_cpu_capability() != "AVX2":
        raise RunError(
            "torch had chosen its kernels before portable=true could cap them",
            where=f"ATen takes {torch.backends.cpu.get_cpu_capability()}",
            remedy="give " + " ".join(f"{name}={value}" for name, value in CAPS.items()) + " before the command",
        )
