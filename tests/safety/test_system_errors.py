"""What the system refuses is one sentence with the path and what to do, exit code 2; a bug of ours keeps its traceback."""

import errno
import os
import shutil

import pytest
import torch

from al_cli.cli import main as command
from al_cli.errors import of_system
from al_cli.learners.fake import FakeLearner

LONG = "n" * 300


def one_sentence(said: str, *words: str) -> None:
    assert said.startswith("al: ") and said.count("\n") == 1 and "Traceback" not in said, said
    for word in words:
        assert word in said, said


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.ENAMETOOLONG, errno.EIO, errno.ELOOP]
)
def test_each_refusal_names_the_path_and_a_remedy(number):
    error = of_system(OSError(number, os.strerror(number), "/data/x"))
    assert error.what.lower() == os.strerror(number).lower() and error.where == "/data/x" and error.remedy


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/ro/[b]"), "permission denied (/ro/[b])"),
        (OSError("image file is truncated"), "image file is truncated: check the files"),
        (OSError(errno.EXDEV, "Invalid cross-device link", "/a", None, "/b"), "(/a -> /b)"),
        (MemoryError(), "the memory does not suffice"),
        (RecursionError(), "nested too deeply"),
        (FileNotFoundError(errno.ENOENT, "No such file", b"/x\xff"), "/x\\udcff"),
    ],
)
def test_a_verb_that_raises_it_ends_in_a_sentence(al, monkeypatch, error, word):
    def fail(words):
        raise error

    monkeypatch.setattr(command, "dispatch", fail)
    one_sentence(al("ls", code=2).stderr, word)


def test_a_bug_keeps_its_traceback(al, monkeypatch):
    monkeypatch.setattr(command, "dispatch", lambda words: {}["x"])
    with pytest.raises(KeyError):
        al("ls")


def test_a_run_that_cannot_write_is_one_sentence(al, fake, monkeypatch):
    (al.cwd / "file").write_text("")
    one_sentence(al(*fake, "outputs=file", code=2).stderr, "file", "name a folder")
    one_sentence(al(*fake, f"outputs={LONG}", code=2).stderr, "too long", "at most 255")

    def full(self, train, **options):
        raise OSError(errno.ENOSPC, "No space left on device", "/full/checkpoint.pth")

    monkeypatch.setattr(FakeLearner, "fit", full)
    said = al(*fake, "store=false", code=2).stderr
    assert said.splitlines()[-1].startswith("al: no space left on device (/full/checkpoint.pth): free some space")


@pytest.fixture
def run(al, fake):
    """A finished run of the fake on data of its own; each test does with it what it likes."""
    root = shutil.copytree(fake[2].partition("=")[2], al.cwd / "data")
    al("run", "dataset=yolo", f"dataset.root={root}", "model=fake", "plots=false", "rounds=1", "study=s", "run_name=r")
    return al.cwd / "outputs/s/r"


def test_data_that_has_moved_is_named_in_words(al, run):
    moved = shutil.move(al.cwd / "data", al.cwd / "elsewhere [1]")
    assert "no such" in al("show", run, code=2).stderr
    al("show", run, f"dataset.root={moved}", "-n", "1", "--out", "a.png")
    weights = run / "round_01/checkpoint.pth"
    al("show", run, f"dataset.root={moved}", "-n", "1", "--checkpoint", weights, "--out", "b.png")
    al("replay", run, f"dataset.root='{moved}'", "--dry-run")
    al("report", run.parent, "--format", "md")  # needs no data
    al("report", run.parent, f"dataset.root={moved}")
    one_sentence(al("report", run.parent, "seed=1", code=2).stderr, "al report cannot use seed=1", "dataset.root=DIR")
    page = (run.parent / "report/index.html").read_text()
    assert "images cannot be shown" not in page
    one_sentence(al("show", run, "dataset.root", code=2).stderr, "dataset.root is no override", "key=value")
    for word in ("seed=1", "dataset.name=x", "dataset.train=x"):
        one_sentence(al("show", run, word, code=2).stderr, f"al show cannot use {word}", "dataset.root=DIR")


def test_show_says_what_is_wrong_with_weights_or_a_seed(al, run):
    (al.cwd / "empty").touch()
    torch.save({"model": {}}, al.cwd / "torch.pth")
    (al.cwd / "other.pth").write_text('{"state": {"counts": [1], "seed": 0}, "history": []}')
    for path in ("/etc/passwd", "empty", "torch.pth"):
        one_sentence(
            al("show", run, "--checkpoint", path, code=2).stderr, path, "cannot be read", "give a checkpoint.pth"
        )
    one_sentence(al("show", run, "--checkpoint", "other.pth", code=2).stderr, "another number of classes")
    for path in ("data", "/dev/zero"):
        one_sentence(al("show", run, "--checkpoint", path, code=2).stderr, "there are no weights here", path)
    one_sentence(al("show", run, "--seed", "-1", code=2).stderr, "the seed is -1")
    one_sentence(al("show", run, "--round", "-1", code=2).stderr)
    one_sentence(al("show", run, "--out", "empty/a.png", code=2).stderr, "(empty)", "no folder")
    one_sentence(al("show", run, "--out", f"{LONG}.png", code=2).stderr, "too long")
