"""`portable=true`: every process of a run takes the numeric kernels of AVX2, whatever else its CPU offers.

The last digits of a training depend on the kernels that ATen, oneDNN and MKL choose, those of a selection also on NumPy's and
OpenBLAS'. Each library reads its variable when it is loaded or first computes, so all are set before a process starts; what is
loaded cannot be capped, nor a cap be taken back. MKL ignores every branch but COMPATIBLE on a CPU that Intel did not make.

Caps are necessary and may not be enough: oneDNN also chooses blocks by cache size. Therefore the store's keys keep the CPU
next to these variables, and two kinds of CPU share no result even where both are capped.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np

from al_cli.errors import ConfigError, RestartNeeded
from al_cli.learners.identity import KERNEL_VARIABLES, vector_units

_SIMD = np.show_config(mode="dicts")["SIMD Extensions"]
CAPS = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",  # the first core with AVX2
    # NumPy refuses names that it does not know; those before 2.4 had one for each kind of instruction.
    "NPY_ENABLE_CPU_FEATURES": "X86_V3" if "X86_V3" in (*_SIMD["found"], *_SIMD.get("not found", ())) else "AVX2 FMA3",
}
# Older names and finer switches of the same libraries, which would change what a cap means.
RIVALS = tuple(name for name in KERNEL_VARIABLES if name not in CAPS and "TF32" not in name and "CUBLAS" not in name)


def check_portable(config: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> None:
    """ConfigError where this machine or its environment cannot keep the promise. A variable that somebody has set to another
    value is never overruled in silence: it is refused."""
    if not config.get("portable", False):
        return
    environ = os.environ if environ is None else environ
    if config.get("device") == "cuda":
        raise ConfigError("portable kernels are those of a CPU", where="portable=true", remedy="set device=cpu")
    if platform.machine().lower() not in ("x86_64", "amd64"):
        raise ConfigError(
            f"portable kernels are those of AVX2, and this CPU is {platform.machine()}",
            where="portable=true",
            remedy="leave it out: results are equal to the byte on CPUs of one kind only",
        )
    if (units := vector_units()) and "avx2" not in units.split():
        raise ConfigError(
            "portable kernels are those of AVX2, which this CPU does not have",
            where="portable=true",
            remedy="leave it out, or take another machine",
        )
    for name in (*CAPS, *RIVALS):
        if name in environ and environ[name].lower() != CAPS.get(name, "").lower():
            needs = f"needs {name}={CAPS[name]}" if name in CAPS else f"cannot work with {name}"
            raise ConfigError(
                f"portable=true {needs}",
                where=f"{name}={environ[name]} is set",
                remedy=f"`unset {name}`, or leave portable=true out",
            )


def caps(config: Mapping[str, Any]) -> dict[str, str]:
    """The variables that a process of this run must be started with; none where it does not ask for portable kernels."""
    return dict(CAPS) if config.get("portable", False) else {}


def require_caps(config: Mapping[str, Any]) -> None:
    """RestartNeeded where this process was not started with the variables that its run asks for."""
    check_portable(config)
    wanted = caps(config)
    if any(name not in os.environ for name in wanted):
        raise RestartNeeded("portable=true takes effect in a new process only", wanted)
