"""Runs in processes of their own: crashes, errors, kills and locks cost one run; the same command completes the rest."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from al_cli.records import RunFolder
from al_cli.sweep import gpus

CRASH = '''
"""Scores that end their process in the ways a process can end, unless the file `calm` exists."""
import os, signal
from pathlib import Path
from al_cli.samplers.base import score

def made(name, end):
    def crash(query):
        if not Path("calm").exists():
            end()
        return query.candidates.counts.astype(float)
    crash.__name__ = name
    return score(needs=frozenset(), family="control", source="a test")(crash)

def bug():
    raise RuntimeError("the disk is on fire")

kill = made("kill", lambda: os.kill(os.getpid(), signal.SIGKILL))
leave = made("leave", lambda: os._exit(7))
fail = made("fail", bug)
'''
STUDY = """
source: a test
base: {{model: fake, dataset: yolo, dataset.root: {root}, initial: 8, budget: 8, rounds: 1, store: false, plots: false}}
arms:
  - {{name: killed, sampler: entropy, sampler.stages: [{{score: {{_target_: crash.kill, _partial_: true}}, {top}}}]}}
  - {{name: left, sampler: entropy, sampler.stages: [{{score: {{_target_: crash.leave, _partial_: true}}, {top}}}]}}
  - {{name: buggy, sampler: entropy, sampler.stages: [{{score: {{_target_: crash.fail, _partial_: true}}, {top}}}]}}
"""
TOP = "select: {_target_: al_cli.samplers.top, _partial_: true}, keep: budget"


@pytest.fixture
def interruptible():
    """SIGINT interrupts, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def study(al, yolo_root, monkeypatch):
    """A sweep file with a random arm, and three that crash in their second round."""
    (al.cwd / "conf").mkdir()  # so modules next to it may be named in a study's file
    (al.cwd / "crash.py").write_text(CRASH)
    monkeypatch.syspath_prepend(al.cwd)
    monkeypatch.delitem(sys.modules, "crash", raising=False)  # that of an earlier test lies elsewhere
    (al.cwd / "mine.yaml").write_text(STUDY.format(root=yolo_root, top=TOP))
    return al.cwd / "outputs/mine"


def test_whatever_ends_a_run_ends_that_run_alone(al, study):
    done = al("sweep", "mine.yaml", "--jobs", "2", code=1)
    assert "1 of 4 runs done" in done.stdout and "al report outputs/mine" in done.stdout
    for words in (
        "the process of this run was ended by signal SIGKILL, as the system does when memory runs out",
        "the process of this run ended with exit code 7",
        "RuntimeError: the disk is on fire; the traceback is in outputs/mine/buggy_s0/run.log",
        "random seed 0 round 1 of 1 AP",
        "random_s0 is done  (runs ",
        "rounds 5/8",
    ):
        assert words in done.stderr, words
    assert "RuntimeError: the disk is on fire" in (study / "buggy_s0/run.log").read_text()
    states = {name: RunFolder(study / f"{name}_s0").state for name in ("random", "killed", "left", "buggy")}
    assert states == {"random": "done", "killed": "failed", "left": "failed", "buggy": "failed"}
    assert "SIGKILL" in RunFolder(study / "killed_s0").error
    before = {path: path.stat().st_mtime_ns for path in study.glob("*/round_*/record.json")}
    assert len(before) == 5  # both rounds of random, the first one of the three that crashed

    # The same command goes on after the last records, and passes over what is done or worked on elsewhere.
    (al.cwd / "calm").touch()
    with (study / "left_s0/run.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        again = al("sweep", "mine.yaml")
    assert "random_s0 is skipped: it is done already" in again.stderr
    assert "left_s0 is skipped: another process is working on it" in again.stderr
    assert "3 of 4 runs done" in again.stdout and "1 run is worked on by another process" in again.stdout
    assert "continuing after round 0" in (study / "killed_s0/run.log").read_text()
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert RunFolder(study / "killed_s0").state == "done" and RunFolder(study / "killed_s0").error == ""


def test_dry_run_writes_nothing(al, study):
    (study / "random_s0").mkdir(parents=True)
    before = sorted((al.cwd / "outputs").rglob("*"))
    done = al("sweep", "mine.yaml", "--dry-run", "seeds=[0,1]", "arms=[random,killed]")
    rows = [line.replace("│", " ").split() for line in done.stdout.splitlines() if "│" in line]
    assert rows == [["random", "0", "random", "1"], ["random", "1", "random", "1"]] + [
        ["killed", seed, "entropy", "1"] for seed in "01"
    ]
    assert "8 trainings run one by one" in done.stdout
    assert sorted((al.cwd / "outputs").rglob("*")) == before


def test_a_broken_dataset_is_one_error_before_anything_starts(al, study, yolo_root):
    root = Path(shutil.copytree(yolo_root, al.cwd / "broken"))
    label = next(path for path in (root / "labels").rglob("*.txt") if path.read_text())
    label.write_text("0 0.5 0.5 nonsense 0.1\n")
    done = al("sweep", "mine.yaml", f"dataset.root={root}", code=2)
    assert done.stderr.count(f"{label.name}:1") == 1
    assert not (al.cwd / "outputs").exists()


def test_ctrl_c_stops_all_runs_and_they_go_on_later(al, study, interruptible):
    def interrupt():
        deadline = time.monotonic() + 200  # a busy machine; a second on a free one
        while time.monotonic() < deadline:
            if len(list(study.glob("*/round_00/record.json"))) == 2:
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(0.05)

    words = ["sweep", "mine.yaml", "arms=[random]", "seeds=[4,5]", "--jobs", "2"]
    thread = threading.Thread(target=interrupt)
    thread.start()
    done = al(*words, "rounds=30", "initial=1", "budget=1", "model.overrides.fit_s=1", code=130)
    thread.join()
    assert "stopping 2 runs" in done.stderr and "al: stopped" in done.stderr
    for seed in (4, 5):
        folder = RunFolder(study / f"random_s{seed}")
        assert folder.state == "stopped" and 1 <= len(folder.records()) < 31
        assert "the same command continues" in (folder.path / "run.log").read_text()
    assert json.loads((study / "study.json").read_text())["seeds"] == [4, 5]


PATCH = """
import multiprocessing, os, signal, time
from pathlib import Path
from al_cli.learners.fake import FakeLearner

original = FakeLearner.fit


def fit(self, *args, **options):
    name = multiprocessing.current_process().name
    PATCHED
    return original(self, *args, **options)


FakeLearner.fit = fit
"""


@pytest.fixture
def patched(al, fake):
    """Call al in a process of its own whose fake learner does this first: patched("os._exit(7)", "run", ...)."""

    def call(line: str, *words: str, env: dict | None = None, **options):
        (al.cwd / "sitecustomize.py").write_text(PATCH.replace("PATCHED", line))
        path = f"{al.cwd}:{os.environ.get('PYTHONPATH', '')}"
        return al(*fake, "store=false", *words, env={"PYTHONPATH": path, **(env or {})}, **options)

    return call


def test_a_killed_training_of_a_multirun_costs_that_run_alone(al, fake, patched):
    words = ["-m", "sampler=random", "seed=0,1,2", "rounds=1", "study=s"]
    done = patched('name.endswith("s1") and os.kill(os.getpid(), signal.SIGKILL)', *words, code=1)
    assert "2 of 3 runs done" in done.stdout and "SIGKILL" in done.stdout
    assert sorted(path.name for path in (al.cwd / "outputs").iterdir()) == ["s"]  # no multirun.yaml, no Hydra folders
    again = al(*fake, "store=false", *words)
    assert again.stderr.count("is skipped: it is done already") == 2 and "3 of 3 runs done" in again.stdout


SEEN = 'Path(f"seen_{os.getpid()}").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all")); time.sleep(0.3)'


def test_each_process_sees_one_gpu(al, patched):
    """A learner that writes down what it sees: runs side by side have a GPU each, and the record says which."""
    words = ["-m", "sampler=random", "seed=0,1,2", "rounds=1", "study=s", "--jobs", "2", "--gpus", "5,7"]
    patched(SEEN, *words, env={"CUDA_VISIBLE_DEVICES": "4,5,7"})
    assert {path.read_text() for path in al.cwd.glob("seen_*")} == {"5", "7"}
    environments = al.cwd.glob("outputs/s/*/environment.json")
    assert {json.loads(path.read_text())["gpus"] for path in environments} == {"5", "7"}


def test_one_run_sees_the_gpus_that_were_asked_for(al, fake, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    al(*fake, "rounds=1", "study=s", "run_name=r", "--gpus", "1")
    assert json.loads((al.cwd / "outputs/s/r/environment.json").read_text())["gpus"] == "1"


def test_all_visible_gpus_are_used_and_the_least_used_comes_first(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,7")
    assert gpus.chosen(None) == ["4", "5", "7"] and gpus.chosen("5-5,4") == ["5", "4"]
    busy: list[str | None] = []
    for _ in range(4):
        busy.append(gpus.least_used(gpus.chosen(None), busy))
    assert busy == ["4", "5", "7", "4"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.chosen(None) == [] and gpus.least_used([], []) is None


@pytest.mark.parametrize("words", [["0-3"], ["x"], ["2-1"], [""]], ids=str)
def test_a_gpu_that_is_not_there_is_one_sentence(al, monkeypatch, words):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    done = al("run", "--gpus", *words, code=2)
    assert done.stderr.count("\n") == 1 and "--gpus" in done.stderr


def test_sigterm_ends_a_run_cleanly(al, fake):
    words = [*fake, "rounds=9", "initial=1", "budget=1", "+model.overrides.fit_s=1", "study=s", "run_name=r"]
    process = subprocess.Popen([sys.executable, "-m", "al_cli.cli.main", *words], stderr=subprocess.PIPE, text=True)
    record = al.cwd / "outputs/s/r/round_00/record.json"
    deadline = time.monotonic() + 200
    while not record.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143 and "the same command continues" in told and "Traceback" not in told
    assert RunFolder(al.cwd / "outputs/s/r").state == "stopped"


def test_every_command_has_the_same_options_and_the_same_table(al, fake):
    words = [*fake, "rounds=1", "study=s"]
    assert "2 trainings run one by one" in al(*words, "--dry-run").stdout
    assert "8 trainings run one by one" in al(*words, "-m", "seed=0,1", "sampler=random,entropy", "--dry-run").stdout
    assert not (al.cwd / "outputs").exists()
    done = al(*words, "-m", "seed=0,1", "sampler=random", "--jobs", "2")
    assert "2 of 2 runs done" in done.stdout and "Report:  al report outputs/s" in done.stdout
    other = al(*words, "training.lr=1", "-m", "seed=0,1", "run_name=random_fake_rounds1_s${seed}", "--dry-run").stdout
    assert "2 runs would be refused" in other and "another configuration" in other
    run = next((al.cwd / "outputs/s").iterdir())
    dry = al("replay", str(run), "training.iterations=30", "--dry-run").stdout
    assert "2 trainings run one by one" in dry and not (al.cwd / "outputs/s_replay").exists()
