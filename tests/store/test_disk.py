"""The store alone: whole results or none, one computation whatever the number of processes, pruning by last use."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from al_cli.errors import AlError, RunError
from al_cli.store.disk import Store, parse_size, sizes


def write(result: str, folder: Path) -> dict:
    (folder / "result.txt").write_text(result)
    return {"length": len(result)}


def read(folder: Path) -> str:
    return (folder / "result.txt").read_text()


def never() -> str:
    raise AssertionError("computed again")


def put(store: Store, about: dict, result: str = "x" * 100, kind: str = "training"):
    return store.get(kind, about, read, lambda: result, write)


def test_a_result_is_made_once_and_read_after_that(tmp_path):
    store = Store(tmp_path)
    made = put(store, {"seed": 1, "lr": 0.1})
    again = Store(tmp_path).get("training", {"lr": 0.1, "seed": 1}, read, never, write)
    assert (made.hit, again.hit, again.result) == (False, True, made.result)
    assert again.entry.about == {"seed": 1, "lr": 0.1} and again.entry.notes == {"length": 100}


@pytest.mark.parametrize("other", [{"seed": 2}, {"seed": 1, "lr": 0.2}, {"seed": "1"}, {}])
def test_another_determinant_is_another_result(tmp_path, other):
    store = Store(tmp_path)
    put(store, {"seed": 1})
    assert not put(store, other).hit
    assert store.find("inference", {"seed": 1}) is None  # and another kind


def test_a_number_that_json_does_not_know_is_no_key(tmp_path):
    with pytest.raises(ValueError):
        Store.key({"lr": float("nan")})


def test_account_counts_and_forgets(tmp_path):
    store = Store(tmp_path)
    for seed in (1, 2, 1):
        put(store, {"seed": seed})
    taken = store.take_account()["store"]
    assert (taken["hits"]["training"], taken["misses"]["training"], taken["hits"]["selection"]) == (1, 2, 0)
    assert store.take_account()["store"]["misses"]["training"] == 0


def test_what_is_not_worth_keeping_is_not_kept(tmp_path):
    store = Store(tmp_path)
    for _ in range(2):
        got = store.get("inference", {"a": 1}, read, lambda: "big", lambda result, folder: None)
        assert (got.result, got.entry, got.hit) == ("big", None, False)
    assert not list(tmp_path.glob("unfinished/*"))


@pytest.mark.parametrize("damage", ["cut", "remove", "garble", "no entry"])
def test_a_damaged_result_is_made_anew(tmp_path, damage):
    store = Store(tmp_path)
    path = put(store, {"seed": 1}).entry.path
    file, entry = path / "result.txt", path / "entry.json"
    match damage:
        case "cut":
            file.write_text("x")
        case "remove":
            file.unlink()
        case "garble":
            entry.write_text("{")
        case "no entry":
            entry.unlink()
    assert not put(store, {"seed": 1}).hit
    assert put(store, {"seed": 1}).hit


def test_a_result_that_cannot_be_read_is_made_anew(tmp_path, caplog):
    store = Store(tmp_path)
    put(store, {"seed": 1})

    def broken(folder: Path) -> str:
        raise ValueError("not a checkpoint")

    assert store.get("training", {"seed": 1}, broken, lambda: "new", write).result == "new"
    assert "not a checkpoint" in caplog.text
    assert store.get("training", {"seed": 1}, read, never, write).result == "new"


def test_a_failure_leaves_nothing(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(AssertionError):
        store.get("training", {"seed": 1}, read, never, write)

    def failing(result: str, folder: Path) -> dict:
        (folder / "half").write_text("h")
        raise OSError("disk full")

    got = store.get("training", {"seed": 1}, read, lambda: "made", failing)
    assert (got.result, got.entry) == ("made", None)  # a run needs no store: it goes on
    assert store.find("training", {"seed": 1}) is None
    assert not list(tmp_path.glob("unfinished/*"))


def slow_put(root: Path, log: Path, seconds: float, name: str) -> None:
    def make() -> str:
        with log.open("a") as file:
            file.write(f"{name}\n")
        time.sleep(seconds)
        return name

    Store(root).get("training", {"seed": 1}, read, make, write)


def test_processes_that_want_the_same_compute_it_once(tmp_path):
    context = multiprocessing.get_context("fork")
    log = tmp_path / "made.txt"
    workers = [context.Process(target=slow_put, args=(tmp_path, log, 0.3, str(n))) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert len(log.read_text().splitlines()) == 1


def test_a_killed_process_frees_the_result_and_leaves_no_half(tmp_path):
    context = multiprocessing.get_context("fork")
    log = tmp_path / "made.txt"
    worker = context.Process(target=slow_put, args=(tmp_path, log, 60, "killed"))
    worker.start()
    while not log.exists():
        time.sleep(0.01)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert put(Store(tmp_path), {"seed": 1}, "mine").result == "mine"


def test_prune_removes_what_was_used_longest_ago(tmp_path):
    store = Store(tmp_path)
    paths = [put(store, {"seed": seed}).entry.path for seed in range(4)]
    for age, path in enumerate(paths):
        os.utime(path / "entry.json", (1000 + age, 1000 + age))
    put(store, {"seed": 0})  # a hit makes it the youngest
    assert store.prune(keep=250) == (2, 200)
    assert [path.exists() for path in paths] == [True, False, False, True]
    assert store.prune(keep=250) == (0, 0)
    assert store.prune(keep=0) == (2, 200)
    assert not list(tmp_path.glob("locks/*"))


def test_prune_leaves_what_is_in_use_and_sweeps_up_after_the_dead(tmp_path):
    store = Store(tmp_path)
    about = {"seed": 1}
    path = put(store, about).entry.path
    dead = tmp_path / "unfinished" / "abc-999"
    dead.mkdir(parents=True)
    (tmp_path / "locks" / "training-abc").touch()
    with store._locked("training", Store.key(about)):
        assert store.prune(keep=0) == (0, 0)
    assert path.exists() and not dead.exists()


def test_summary_says_what_lies_there(tmp_path):
    store = Store(tmp_path)
    put(store, {"seed": 1, "model": {"config": "tiny"}})
    put(store, {"seed": 2, "model": {"config": "tiny"}})
    put(store, {"seed": 2}, kind="selection")
    rows = {row[0]: row[1:4] for row in store.summary()}
    assert rows == {"training": ("tiny", "2", "200 B"), "selection": ("", "1", "100 B")}


@pytest.mark.parametrize(
    ("text", "bytes"), [("20GB", 20 * 10**9), ("500 mb", 500 * 10**6), ("0", 0), ("1.5KB", 1500), ("7B", 7)]
)
def test_sizes_are_read(text, bytes):
    assert parse_size(text) == bytes


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "20 potatoes", "1e9"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(AlError, match="write it as 20GB"):
        parse_size(text)


def test_sizes_for_people():
    assert [sizes(n) for n in (0, 999, 1000, 2_500_000, 3 * 10**12)] == ["0 B", "999 B", "1.0 KB", "2.5 MB", "3.0 TB"]


def test_entries_are_readable_by_people(tmp_path):
    entry = json.loads((put(Store(tmp_path), {"seed": 1}).entry.path / "entry.json").read_text())
    assert entry["about"] == {"seed": 1} and entry["files"] == {"result.txt": 100}


@pytest.mark.parametrize("said", ["2", "7", ";", ""])
def test_the_format_of_a_store_is_that_of_what_it_holds(tmp_path, said):
    """A flipped bit in the file is no reason to empty a store; a store of another format is emptied as the message says."""
    store = Store(tmp_path)
    put(store, {"seed": 1})
    (tmp_path / "format").write_text(said)
    store.require_format()
    [entry] = (tmp_path / "training").glob("*/*/entry.json")
    entry.write_text("{}")
    if said in ("2", "7"):
        with pytest.raises(RunError, match=f"format {said}; .*prune --keep 0"):
            store.require_format()
    store.prune(0)
    store.require_format()
    assert not list((tmp_path / "training").glob("*/*"))
