"""portable=true caps the kernels of a process, or says why it cannot."""

import os
import subprocess
import sys

import pytest

from al_cli.errors import ConfigError
from al_cli.learners import portable

PROBE = """
import os, torch
from al_cli.learners.portable import cap_kernels
cap_kernels({"portable": True, "model": {"family": None}})
print(torch.backends.cpu.get_cpu_capability(), os.environ["ONEDNN_MAX_CPU_ISA"], os.environ["MKL_CBWR"])
"""
has_avx2 = pytest.mark.skipif("avx2" not in portable.vector_units().split(), reason="this CPU has no AVX2")


@has_avx2
def test_all_three_libraries_are_capped_after_torch_was_imported_but_not_used():
    clean = {key: value for key, value in os.environ.items() if key not in (*portable.CAPS, *portable.RIVALS)}
    done = subprocess.run([sys.executable, "-c", PROBE], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["AVX2", "AVX2", "AVX2"]


@has_avx2
@pytest.mark.parametrize("name", ["ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "DNNL_MAX_CPU_ISA"])
def test_another_value_of_the_user_is_refused(name):
    with pytest.raises(ConfigError, match=f"unset {name}"):
        portable.check_portable({"portable": True}, {name: "COMPATIBLE"})
    portable.check_portable({"portable": False}, {name: "COMPATIBLE"})
    portable.check_portable({"portable": True}, {key: value.lower() for key, value in portable.CAPS.items()})


def test_a_cpu_that_is_not_capped_is_told(monkeypatch):
    monkeypatch.setattr(portable, "vector_units", lambda: "sse4_2 avx")
    monkeypatch.setattr(portable.platform, "machine", lambda: "x86_64")
    with pytest.raises(ConfigError, match="does not have"):
        portable.check_portable({"portable": True}, {})
    monkeypatch.setattr(portable.platform, "machine", lambda: "arm64")
    with pytest.raises(ConfigError, match="this CPU is arm64"):
        portable.check_portable({"portable": True}, {})
