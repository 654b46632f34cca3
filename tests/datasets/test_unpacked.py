"""What is written to the cache once: whole or absent, by whoever comes first, and nothing is left of a killed process."""

import os
import time
from pathlib import Path

import pytest

from al_cli.datasets.unpacked import kept, unpacked
from al_cli.errors import DatasetError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def writer(text, calls):
    def write(folder: Path) -> None:
        calls.append(text)
        (folder / "x").write_text(text)

    return write


def test_a_folder_is_keyed_by_kind_and_bytes_and_made_once(tmp_path, cache):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    calls: list[str] = []
    first = unpacked("kind", [one, two], writer("a", calls))
    one.rename(tmp_path / "moved")  # the same bytes under another name
    assert unpacked("kind", [tmp_path / "moved", two], writer("b", calls)) == first
    assert unpacked("kind", [two, tmp_path / "moved"], writer("c", calls)) != first
    assert unpacked("other", [tmp_path / "moved", two], writer("d", calls)) != first
    assert calls == ["a", "c", "d"] and (first / "x").read_text() == "a"
    with pytest.raises(DatasetError, match="No such file"):
        unpacked("kind", [one], writer("e", calls))


def test_who_fails_leaves_nothing_and_who_was_killed_is_cleaned_up_after_a_day(cache):
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise DatasetError("broken", where="", remedy="")

    with pytest.raises(DatasetError, match="broken"):
        kept("set", fail)
    assert list(cache.iterdir()) == []
    old, new = cache / ".set-old", cache / ".set-new"
    for left in (old, new):
        left.mkdir()
    long_ago = time.time() - 3 * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    kept("set", writer("a", []))
    assert sorted(path.name for path in cache.iterdir()) == [".set-new", "set"]


def test_who_comes_second_takes_what_is_there(cache):
    calls: list[str] = []

    def slow(folder: Path) -> None:
        kept("set", writer("faster", calls))
        (folder / "x").write_text("slower")

    assert (kept("set", slow) / "x").read_text() == "faster"
    assert [path.name for path in cache.iterdir()] == ["set"]


@pytest.mark.parametrize(
    "spoil", [lambda x: x.unlink(), lambda x: x.write_text(""), lambda x: x.with_name("y").touch()]
)
def test_a_folder_that_lost_a_part_is_made_again(cache, spoil, caplog):
    def write(folder: Path) -> None:
        (folder / "a").mkdir()
        (folder / "a" / "x").write_text("whole")

    folder = kept("set", write)
    spoil(folder / "a" / "x")
    assert kept("set", write) == folder and (folder / "a" / "x").read_text() == "whole"
    assert sorted(path.name for path in folder.rglob("[!.]*")) == ["a", "x"]
    assert "is not as al wrote it" in caplog.text and [path.name for path in cache.iterdir()] == ["set"]
    kept("set", writer("never", calls := []))
    assert calls == []
