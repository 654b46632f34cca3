"""Symbolic links that somebody planted in a shared folder: nothing is written to, or deleted from, what they name."""

import logging
import os
import shutil
from pathlib import Path

import pytest
from shapes import tree_bytes, write_yolo

from al_cli import system
from al_cli.errors import RunError
from al_cli.experiment.job import jobs_of
from al_cli.experiment.run import log_to, run_job
from al_cli.records import RunFolder
from al_cli.records.study import StudyFile, update_study_file
from al_cli.store.disk import Store

RUN = Path("outputs/s/r")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("links")
    words = f"dataset=yolo dataset.root={write_yolo(root / 'data', {'train': 10, 'val': 2, 'test': 3})}"
    words += " model=fake rounds=1 initial=4 budget=2 sampler=entropy study=s run_name=r plots=false"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        [job] = jobs_of(words.split())
        run_job(job)
    return root / "outputs", job


@pytest.fixture
def again(made, tmp_path, monkeypatch):
    """A finished run in this folder, and a folder of somebody else that must not change; gives what runs it again."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made[0], "outputs")
    shutil.copytree(RUN, "victim")
    before = tree_bytes(Path("victim"))
    yield lambda: run_job(made[1])
    assert tree_bytes(Path("victim")) == before


def link(path: Path, target: str) -> None:
    """Put a link to something of the victim in the place of what is there."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(Path(target).absolute())


def test_a_run_folder(again):
    link(RUN, "victim")
    with pytest.raises(RunError, match="a symbolic link lies where the run's folder"):
        again()


def test_a_round_s_folder(again, caplog):
    whole = tree_bytes(RUN)
    link(RUN / "round_00", "victim/round_00")
    link(RUN / "round_02", "victim")
    (RUN / "done.json").unlink()
    again()
    assert tree_bytes(RUN) == whole and "the link is removed" in caplog.text


@pytest.mark.parametrize("name", ["record.json", "metrics.csv", "checkpoint.pth", "predictions.npz"])
def test_a_file_of_a_round(again, name):
    whole = tree_bytes(RUN)
    link(RUN / "round_01" / name, "victim/round_00/metrics.csv")
    again()
    assert tree_bytes(RUN) == whole and not (RUN / "round_01" / name).is_symlink()


def test_the_lock_and_the_log(again):
    link(RUN / "run.lock", "new")
    with pytest.raises(OSError, match="a symbolic link lies"):
        again()
    (RUN / "run.lock").unlink()
    link(RUN / "run.log", "victim/round_00/metrics.csv")
    with pytest.raises(RunError, match="a symbolic link lies where the run's log"):
        again()
    assert not Path("new").exists()


def test_the_plots(made, again, caplog):
    link(RUN / "plots", "victim")
    made[1].experiment.config["plots"] = True
    try:
        again()
    finally:
        made[1].experiment.config["plots"] = False
    assert "plots is a symbolic link" in caplog.text


def test_a_half_written_file(again):
    Path(f"outputs/.a.txt.{os.getpid()}.tmp").symlink_to(Path("victim/config.yaml").absolute())
    system.write_atomic(Path("outputs/a.txt"), "content")
    assert Path("outputs/a.txt").read_text() == "content" and not Path("outputs/a.txt").is_symlink()
    link(Path("outputs/a.txt"), "victim/config.yaml")
    system.write_atomic(Path("outputs/a.txt"), "content")
    assert not Path("outputs/a.txt").is_symlink()


def test_a_study_s_lock(again):
    link(Path("outputs/s/.study.lock"), "victim/config.yaml")
    with pytest.raises(OSError, match="a symbolic link lies"):
        update_study_file(Path("outputs/s"), lambda content: StudyFile(name="s"))


def test_the_store(again, made):
    store = Store("outputs/.store")
    shutil.copytree("outputs/.store", "victim_store")
    kept = tree_bytes(Path("victim_store"))
    link(Path("outputs/.store/training"), "victim_store/training")
    inference = next(Path("outputs/.store/inference").glob("*/*"))
    link(inference, f"victim_store/inference/{inference.parent.name}/{inference.name}")
    for lock in list(Path("outputs/.store/locks").iterdir())[:2]:
        link(lock, "new")
    shutil.rmtree(RUN)
    again()
    assert RunFolder(RUN).state == "done"
    store.prune(0)
    assert tree_bytes(Path("victim_store")) == kept and not Path("new").exists()


def test_a_log_on_a_full_disk_stops_nothing(tmp_path, monkeypatch, capsys):
    with log_to(tmp_path / "run.log"):
        logging.getLogger("al").warning("before")
        handler = logging.getLogger().handlers[-1]

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(handler.stream, "write", full, raising=False)
        logging.getLogger("al").warning("after")
    assert "before" in (tmp_path / "run.log").read_text()
    assert "Logging error" not in capsys.readouterr().err
