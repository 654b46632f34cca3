"""Faults of the machine: a full or read-only disk, no memory, a bug. The reason is said, and the same command then ends with
the bytes of a run that nobody disturbed.

The disk is full, or read-only, in a hook on every change of a file: a real one would need root.
"""

import errno
import os
import random
import resource
from pathlib import Path

import numpy as np
import pytest
from disturbed import fork, on_change, results
from shapes import write_yolo

from al_cli.experiment.job import jobs_of
from al_cli.experiment.run import run_job
from al_cli.learners.fake import FakeLearner
from al_cli.records import RunFolder, find_runs
from al_cli.store.disk import KINDS

RUN = Path("outputs/s/r")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Whether there is a store -> the run, and what it leaves when nobody disturbs it."""
    root = tmp_path_factory.mktemp("faults")
    data = write_yolo(root / "data", {"train": 14, "val": 3, "test": 4})
    words = (
        f"dataset=yolo dataset.root={data} model=fake plots=false rounds=2 initial=4 budget=2 sampler=entropy study=s"
    )
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for store in (True, False):
            (root / str(store)).mkdir()
            patch.chdir(root / str(store))
            [job] = jobs_of([*words.split(), "run_name=r", f"store={store}"])
            run_job(job)
            found[store] = lambda job=job: run_job(job), results(Path("outputs"))
    return found


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refuse(code: int, first: int, below: str = "outputs"):
    """From that change on, the system refuses every change below a folder that is not a removal."""

    def act(count, path):
        if count >= first:
            raise OSError(code, os.strerror(code), path)

    return lambda: on_change(act, below)


def ended_again(work) -> dict[str, bytes]:
    assert fork(work) == 0, Path("error").read_text()
    return results(Path("outputs"))


@pytest.mark.parametrize(
    "code", [errno.ENOSPC, pytest.param(errno.EROFS, marks=pytest.mark.slow)], ids=errno.errorcode.get
)
@pytest.mark.parametrize("first", [1, 6, 30, 61])
def test_a_disk_that_is_full_or_read_only(made, here, code, first):
    work, whole = made[False]
    assert fork(work, refuse(code, first)) == 1
    assert f"[Errno {code}] {os.strerror(code)}: " in (said := Path("error").read_text())
    assert "outputs/s/r" in said.splitlines()[-1], "the path is named"
    assert all(run.state in ("stopped", "failed") for run in find_runs("outputs"))
    assert ended_again(work) == whole


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
@pytest.mark.parametrize("first", [1, 9])
def test_a_store_that_cannot_be_written_is_gone_around(made, here, code, first):
    work, whole = made[True]
    assert fork(work, refuse(code, first, "outputs/.store")) == 0, Path("error").read_text()
    assert results(Path("outputs")) == whole
    assert (RUN / "run.log").read_text().count("cannot be written") == 1


def test_a_read_only_store_is_still_read(made, here):
    work, whole = made[True]
    fork(work)
    RUN.rename("first")
    Path("outputs/s").rename("s")
    counted = fork(lambda: (forbid_training(), work()), refuse(errno.EROFS, 1, "outputs/.store"))
    assert counted == 0 and results(Path("outputs")) == whole


@pytest.mark.parametrize("seed", range(2))
def test_flipped_bits_in_all_that_a_store_has_change_no_result(made, here, seed):
    work, whole = made[True]
    fork(work)
    RUN.rename("first")
    rng = random.Random(seed)
    files = [path for path in Path("outputs/.store").rglob("*") if path.parent.parent.parent.name in KINDS]
    assert {path.name for path in files} == {"checkpoint.pth", "predictions.npz", "choice.npz", "entry.json"}
    entries = {path.parent for path in files}
    for entry in entries:
        path = rng.choice(sorted(entry.iterdir()))
        content = bytearray(path.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
    assert ended_again(work) == whole
    assert (RUN / "run.log").read_text().count("computed again") == len(entries)


def forbid_training() -> None:
    def fit(*_, **__):
        raise AssertionError("this training is in the store")

    FakeLearner.fit = fit  # in a fork


def test_a_limit_of_file_sizes(made, here):
    work, whole = made[False]

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))

    assert fork(work, limit) == 1
    assert "File too large: 'outputs/s/r/" in Path("error").read_text()
    assert not list(RUN.rglob("*.tmp"))
    assert ended_again(work) == whole


def failing(method, number, fail):
    """The fake learner's call of that number fails."""

    def prepare():
        calls, original = 0, getattr(FakeLearner, method)

        def called(*args, **rest):
            nonlocal calls
            calls += 1
            return fail(original(*args, **rest)) if calls == number else original(*args, **rest)

        setattr(FakeLearner, method, called)

    return prepare


def raise_bug(_):
    raise RuntimeError("device-side assert triggered")


def run_out_of_memory(_):
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**20, resource.RLIM_INFINITY))
    try:
        return np.ones(2**28)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def not_a_number(table):
    return table.__class__(
        table.image_ids, table.offsets, table.boxes * np.nan, table.scores, table.classes, table.num_classes
    )


@pytest.mark.parametrize(
    ("method", "number", "fail", "said"),
    [
        ("fit", 2, raise_bug, "device-side assert"),
        ("infer", 4, raise_bug, "device-side assert"),
        ("fit", 2, run_out_of_memory, "MemoryError|Unable to allocate"),
        ("infer", 3, not_a_number, "finite|nan|NaN"),
    ],
    ids=["a bug in training", "a bug in inference", "no memory", "boxes that are no numbers"],
)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux' /proc")
def test_what_fails_is_kept_and_the_same_command_goes_on(made, here, method, number, fail, said):
    work, whole = made[True]
    assert fork(work, failing(method, number, fail)) in (1, 2)
    folder = RunFolder(RUN)
    assert folder.state == "failed"
    assert any(word in (RUN / "error.txt").read_text() for word in said.split("|"))
    assert ended_again(work) == whole
