"""portable=true: a run's processes start with capped kernels, or a sentence says why they cannot."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
import yaml

from al_cli.cli.main import main
from al_cli.errors import ConfigError, RestartNeeded
from al_cli.learners import portable

CLEAN = {name: value for name, value in os.environ.items() if name not in (*portable.CAPS, *portable.RIVALS)}
UNITS = portable.vector_units().split()
has_avx2 = pytest.mark.skipif("avx2" not in UNITS, reason="this CPU has no AVX2")
RUN = [
    "run",
    "dataset=yolo",
    "plots=false",
    "store=false",
    "rounds=1",
    "initial=6",
    "budget=4",
    "device=cpu",
    "study=s",
]
RUN += ["training.iterations=4", "training.val_every=4", "sampler=ccms", "run_name=r"]


@has_avx2
@pytest.mark.parametrize("name", [*portable.CAPS, *portable.RIVALS])
def test_another_value_that_somebody_set_is_refused(name):
    with pytest.raises(ConfigError, match=f"unset {name}"):
        portable.check_portable({"portable": True}, {name: "COMPATIBLE-NOT"})
    portable.check_portable({"portable": False}, {name: "COMPATIBLE-NOT"})
    portable.check_portable({"portable": True}, {key: value.lower() for key, value in portable.CAPS.items()})


def test_what_cannot_be_capped_is_told(monkeypatch):
    monkeypatch.setattr(portable.platform, "machine", lambda: "x86_64")
    with pytest.raises(ConfigError, match="set device=cpu"):
        portable.check_portable({"portable": True, "device": "cuda"}, {})
    monkeypatch.setattr(portable, "vector_units", lambda: "sse4_2 avx")
    with pytest.raises(ConfigError, match="does not have"):
        portable.check_portable({"portable": True}, {})
    monkeypatch.setattr(portable.platform, "machine", lambda: "arm64")
    with pytest.raises(ConfigError, match="this CPU is arm64"):
        portable.check_portable({"portable": True}, {})


@has_avx2
def test_a_process_that_began_without_the_caps_computes_nothing(al, fake, monkeypatch):
    for name in (*portable.CAPS, *portable.RIVALS):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RestartNeeded, match="MKL_CBWR='COMPATIBLE'"):
        portable.require_caps({"portable": True})
    assert "new process" in al(*fake, "portable=true", code=2).stderr
    assert list(al.cwd.iterdir()) == []


@has_avx2
def test_in_a_study_each_run_has_the_kernels_that_it_asks_for(al, fake, monkeypatch):
    for name in (*portable.CAPS, *portable.RIVALS):
        monkeypatch.delenv(name, raising=False)
    al(*fake, "-m", "portable=true,false", "rounds=1", "--jobs", "2", "study=s", "outputs=o")
    for path in (al.cwd / "o" / "s").glob("*/environment.json"):
        asked = yaml.safe_load((path.parent / "config.yaml").read_text())["portable"]
        found = json.loads(path.read_text())["kernels"]
        assert {name: found.get(name) for name in portable.CAPS} == {
            name: value if asked else None for name, value in portable.CAPS.items()
        }
    assert not any(name in os.environ for name in portable.CAPS)


@has_avx2
def test_the_command_line_starts_once_more_by_itself(fake, tmp_path, monkeypatch):
    for name in (*portable.CAPS, *portable.RIVALS):
        monkeypatch.delenv(name, raising=False)
    words = [*fake, "portable=true", f"outputs={tmp_path}/o"]
    monkeypatch.setattr(sys, "argv", ["al", *words])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "al_cli.cli.main", *words])
    began = []
    monkeypatch.setattr(os, "execve", lambda *how: began.append(how))
    main()
    [(program, command, environ)] = began
    assert program == sys.executable and command == [sys.executable, "-m", "al_cli.cli.main", *words]
    assert environ.items() >= portable.CAPS.items()
    assert not (tmp_path / "o").exists()


@has_avx2
@pytest.mark.slow
def test_the_command_line_starts_once_more_with_the_caps(yolo_root, tmp_path):
    """Each way of running gives the bytes of a process that was started with the caps, under whatever surroundings this CPU
    can emulate; without portable=true they are others where the CPU has more than AVX2."""

    def run(*words: str, **environ: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "al_cli.cli.main", *RUN, f"dataset.root={yolo_root}", *words],
            env={**CLEAN, **environ},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        outputs = next(word.partition("=")[2] for word in words if word.startswith("outputs="))
        digests = hashlib.sha256()
        for path in sorted((tmp_path / outputs / "s").rglob("round_*/*")):
            if path.name in ("predictions.npz", "candidates.csv"):
                digests.update(path.read_bytes())
        environment = next((tmp_path / outputs).rglob("environment.json")).read_text()
        assert all(
            (f'"{name}": "{value}"' in environment) == ("portable=true" in words)
            for name, value in portable.CAPS.items()
        )
        return digests.hexdigest()

    alone = run("outputs=a", "portable=true")
    no_512 = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW:glibc.cpu.x86_data_cache_size=32768"
    assert run("outputs=b", "portable=true", GLIBC_TUNABLES=no_512, **portable.CAPS) == alone
    if "avx512f" in UNITS:
        assert run("outputs=d") != alone
