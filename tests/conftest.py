"""Shared by all tests: a small dataset in memory and on disk, and the program as a user starts it."""

import gc
import io
import os
import pickle
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from omegaconf import omegaconf

os.environ["COLUMNS"] = "200"  # before anything makes a console: tables must not fold in tests

from shapes import write_yolo

from al_cli.cli.main import main

gc.set_threshold(50_000)  # a test makes many small objects and ends soon
os.fsync = lambda handle: (
    None
)  # no power fails here, and a run waits dozens of times for the disk; processes of their own do
_parsed: dict[str, bytes] = {}


def parsed_once(stream, Loader):
    """`yaml.load`, each text once. Hydra parses its dozen files again for every run that is composed, a fifth of that time."""
    at = stream.tell()
    text = stream.read()
    if text not in _parsed:
        stream.seek(at)  # so that an error names the file
        _parsed[text] = pickle.dumps(yaml.load(stream, Loader))
    return pickle.loads(_parsed[text])  # several times as fast as a deep copy


omegaconf.yaml = SimpleNamespace(**{**vars(yaml), "load": parsed_once})


@pytest.fixture(scope="session")
def yolo_root(tmp_path_factory) -> Path:
    """40 images in the pool, 10 to validate, 12 to evaluate on."""
    return write_yolo(tmp_path_factory.mktemp("shapes"), {"train": 40, "val": 10, "test": 12})


@pytest.fixture
def al(tmp_path, monkeypatch):
    """Call `al` as a user does, in an empty folder: al("run", "seed=1") -> CompletedProcess.

    In this process, which spares the imports; `fresh=True` or `env` start a new one.
    """
    monkeypatch.chdir(tmp_path)
    environment = {**os.environ, "AL_CACHE": str(tmp_path / "cache")}
    monkeypatch.setenv("AL_CACHE", environment["AL_CACHE"])

    def call(*words: str, code: int = 0, env: dict | None = None, fresh: bool = False) -> subprocess.CompletedProcess:
        words = [str(word) for word in words]
        if fresh or env:
            command = [sys.executable, "-m", "al_cli.cli.main", *words]
            done = subprocess.run(command, env=environment | (env or {}), capture_output=True, text=True)
        else:
            out, err = io.StringIO(), io.StringIO()
            with redirect_stdout(out), redirect_stderr(err):
                try:
                    exit_code = main(words)
                except SystemExit as leaving:
                    exit_code = leaving.code or 0
            done = subprocess.CompletedProcess(words, exit_code, out.getvalue(), err.getvalue())
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    call.cwd = tmp_path  # type: ignore[attr-defined]
    return call


@pytest.fixture
def fake(yolo_root):
    """The words of a run that takes a second: the fake learner on the small dataset, without plots."""
    return ["run", "dataset=yolo", f"dataset.root={yolo_root}", "model=fake", "plots=false"]
