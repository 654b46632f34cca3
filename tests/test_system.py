"""Files are whole or absent, memory is in MiB on every system, and Windows is refused in a sentence."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from al_cli import system


def full(*_):
    raise OSError(28, "No space left on device")


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    system.write_atomic(path, "ol\n")
    monkeypatch.setattr(system.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        system.write_atomic(path, "new")
    assert path.read_bytes() == b"ol\n" and list(tmp_path.iterdir()) == [path]


def test_an_unfinished_file_is_hidden_until_its_block_ends(tmp_path):
    path = tmp_path / "weights.pth"
    with system.unfinished(path) as draft:
        draft.write_bytes(b"all")
        assert draft.name.startswith(".") and draft.suffix == ".tmp" and not path.exists()
    assert path.read_bytes() == b"all" and not draft.exists()


def test_a_lock_is_exclusive_unless_shared(tmp_path):
    handles = [os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(3)]
    assert system.lock(handles[0], shared=True) and system.lock(handles[1], shared=True)
    assert not system.lock(handles[2])
    for handle in handles[:2]:
        os.close(handle)
    assert system.lock(handles[2], wait=True)
    os.close(handles[2])


@pytest.mark.parametrize(("platform", "mib"), [("linux", 300), ("darwin", 300 / 1024)])
def test_peak_memory_is_in_mib_whatever_the_system_counts(platform, mib, monkeypatch):
    monkeypatch.setattr(system.sys, "platform", platform)
    monkeypatch.setattr(system.resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=300 * 1024))
    assert system.peak_memory_mib() == mib


@pytest.mark.parametrize("absent", ["fcntl", "resource"])
def test_a_system_without_them_is_refused_in_one_sentence(absent):
    code = f"import sys; sys.modules[{absent!r}] = None; from al_cli.cli.main import main; main(['ls'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "al runs on Linux and macOS; on Windows use WSL.\n"
