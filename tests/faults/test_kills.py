"""Kills: whatever moment they choose, the same command ends with the bytes of a run that nobody disturbed.

The short form has a few kills of each kind; the long form (`-m slow`) 30 of a run and 30 of a study, and all of the windows.
"""

import os
import random
import signal
from pathlib import Path

import pytest
from disturbed import ForkedWorkers, count_changes, fork, kill_at, results
from shapes import write_yolo

from al_cli.experiment import run as one_run
from al_cli.experiment.job import jobs_of
from al_cli.records import RunFolder
from al_cli.store.disk import Store
from al_cli.sweep.execute import execute

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
RUN = Path("outputs/s/r")
FEW = [pytest.param(number, marks=pytest.mark.slow) if number >= 4 else number for number in range(30)]
FEWER = [pytest.param(number, marks=pytest.mark.slow) if number >= 2 else number for number in range(30)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Kind of work -> what does it, what it leaves when nobody disturbs it, how many files it changes."""
    root = tmp_path_factory.mktemp("kills")
    data = write_yolo(root / "data", {"train": 14, "val": 3, "test": 4})
    words = f"dataset=yolo dataset.root={data} model=fake plots=false rounds=2 initial=4 budget=2 study=s".split()
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for store in ("true", "false"):
            [job] = jobs_of([*words, "sampler=entropy", "run_name=r", f"store={store}"])
            found[f"run, store={store}"] = lambda job=job: one_run.run_job(job)
        jobs = jobs_of([*words, "sampler=random,entropy", "seed=0,1"], many=True)
        found["study"] = lambda: execute(jobs, at_once=2)
        (root / "warm").mkdir()
        patch.chdir(root / "warm")
        one_run.run_job(jobs[0])  # imports everything here, once, and not in each fork
        for kind, work in found.items():
            folder = root / kind
            folder.mkdir()
            patch.chdir(folder)
            changes = count_changes(study(work) if kind == "study" else work)
            found[kind] = work, results(Path("outputs")), changes
    return found


def study(work):
    """The work with its runs in forks of this process."""

    def forked():
        ForkedWorkers().install()
        work()

    return forked


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def again(work) -> dict[str, bytes]:
    """What the outputs are after the same command."""
    assert fork(work) == 0, Path("error").read_text()
    return results(Path("outputs"))


@pytest.mark.parametrize("number", FEW)
def test_a_run_that_is_killed_anywhere(made, here, number):
    work, whole, changes = made[f"run, store={('true', 'false')[number % 2]}"]
    rng = random.Random(number)
    for _ in range(rng.choice((1, 1, 2))):  # sometimes the second try is killed too
        fork(work, kill_at(rng.randint(1, changes), SIGNALS[number % 3]))
    assert again(work) == whole


@pytest.mark.parametrize("number", FEWER)
def test_a_study_that_is_killed_anywhere(made, here, number):
    """The hook is in the parent and in the runs, so the kill hits whichever comes to that number first, each of them once."""
    work, whole, changes = made["study"]
    at = random.Random(number).randint(1, changes // 4)
    fork(study(work), kill_at(at, SIGNALS[number % 3]))
    assert again(study(work)) == whole


WINDOWS = {
    "between a record and the weights before it": (RunFolder, "write_round", "after", 2),
    "between the last record and done.json": (RunFolder, "mark_done", "before", 1),
    "after done.json": (RunFolder, "mark_done", "after", 1),
    "before a result is published": (Store, "_publish", "before", 3),
    "after a result is published": (Store, "_publish", "after", 3),
    "after the weights are saved": (RunFolder, "write_round", "before", 2),
    "while weights are dropped": (RunFolder, "drop_checkpoint", "after", 3),
}


def kill_in(owner, name, when, number):
    """SIGKILL right before or after the call of that number."""

    def prepare():
        calls, original = 0, getattr(owner, name)

        def called(*args, **rest):
            nonlocal calls
            calls += 1
            if calls == number and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*args, **rest)
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, called)

    return prepare


@pytest.mark.parametrize("window", WINDOWS)
def test_a_kill_in_a_narrow_window(made, here, window):
    work, whole, _ = made["run, store=true"]
    assert fork(work, kill_in(*WINDOWS[window])) == -signal.SIGKILL
    assert again(work) == whole


MENDING = [*range(2), *(pytest.param(number, marks=pytest.mark.slow) for number in range(2, 20))]


@pytest.mark.parametrize("number", MENDING)
def test_a_kill_while_a_broken_run_is_mended(made, here, number):
    """Nothing good is lost: what is set aside meanwhile is the one thing that may stay."""
    work, whole, changes = made["run, store=false"]
    fork(work)
    rng = random.Random(number)
    (RUN / f"round_0{number % 3}/record.json").write_text("{")
    (RUN / "round_02/checkpoint.pth").unlink()
    fork(work, kill_at(rng.randint(1, changes), SIGNALS[number % 3]))
    left = again(work)
    assert {name: content for name, content in left.items() if ".orphan" not in name} == whole


def test_the_clock_may_go_backwards(made, here):
    work, whole, changes = made["run, store=true"]
    fork(work, kill_at(changes // 2, signal.SIGKILL))
    for number, path in enumerate(sorted(Path("outputs").rglob("*"))):
        os.utime(path, (4e9, 4e9) if number % 2 else (1, 1))
    assert again(work) == whole


def test_two_processes_in_one_run(made, here):
    """One of them works, the other one says so; afterwards all is as if there had been one."""
    work, whole, _ = made["run, store=true"]

    def both():
        other = os.fork()
        if other == 0:
            code = 0
            try:
                work()
            except Exception as error:
                code = 2 if "another process is working" in str(error) else 1
            finally:
                os._exit(code)
        try:
            work()
        finally:
            ended = os.waitstatus_to_exitcode(os.waitpid(other, 0)[1])
            assert ended in (0, 2)

    assert fork(both) in (0, 2)
    assert again(work) == whole
