"""al doctor: what is broken is said with its remedy, and the exit code is 1."""

from collections import namedtuple

import pytest
from labeled_images import class_folders

from al_cli.experiment import build, health
from al_cli.experiment.job import jobs_of
from al_cli.store.disk import Store

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def job(tmp_path, yolo_root):
    [job] = jobs_of(["dataset=yolo", f"dataset.root={yolo_root}", f"outputs={tmp_path}/o", "rounds=3"])
    return job


def test_locks_are_tried_across_processes(tmp_path, monkeypatch):
    assert health.check_locks("outputs", tmp_path / "not" / "yet").remedy == ""
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(health, "_LOCK_IN_CHILD", "import sys; sys.exit(0)")  # as where flock is local to each process
    found = health.check_locks("outputs", tmp_path)
    assert "do not keep other processes out" in found.text and "one process at a time" in found.remedy
    monkeypatch.setattr(health.tempfile, "mkstemp", refuse)
    assert "outputs=DIR" in health.check_locks("outputs", tmp_path).remedy


def refuse(**_):
    raise OSError(30, "Read-only file system")


def test_a_store_of_another_version_or_unreadable_is_broken(tmp_path):
    assert health.check_store(tmp_path).remedy == ""
    (tmp_path / "training/00/0000").mkdir(parents=True)  # a result, though not of this version
    (tmp_path / "format").write_text("1\n")
    assert "al store prune" in health.check_store(tmp_path).remedy
    (tmp_path / "format").write_text("\0\n")
    assert "AL_STORE=DIR" in health.check_store(tmp_path).remedy


def test_memory_and_disk_against_what_is_there(job, monkeypatch):
    assert "room for 4 at once" in health.check_memory(job, 10**9, 4 * 10**9).text
    assert "batch_size" in health.check_memory(job, 5 * 10**9, 4 * 10**9).remedy
    places = {"outputs": job.folder.parent.parent, "store": Store(job.folder.parent / ".store").root}
    monkeypatch.setattr(health.shutil, "disk_usage", lambda folder: Usage(0, 0, 5_999_999))
    [found] = health.check_disk(job, places, 10**6)
    assert "keeps 6.0 MB" in found.text and "prune" in found.remedy  # two in outputs, four in the store
    monkeypatch.setattr(health.shutil, "disk_usage", lambda folder: Usage(0, 0, 6_000_001))
    assert [found.remedy for found in health.check_disk(job, places, 10**6)] == [""]


def test_it_says_that_all_is_well_or_ends_with_1(al, fake, monkeypatch):
    done = al("doctor", *fake[1:])
    assert "all is well" in done.stdout and "the same bytes" in done.stdout and "40 images in the pool" in done.stdout
    assert not (al.cwd / "outputs").exists()
    monkeypatch.setattr("al_cli.learners.detectron.doctor.check_detectron2", broken)
    done = al("doctor", *fake[1:], code=1)
    assert "broken: ImportError: no detectron2 [here]" in done.stdout and "make clean setup" in done.stdout
    assert "1 thing is broken" in done.stdout


def broken(device):
    raise ImportError("no detectron2 [here]")


def test_a_classifier_is_measured_and_repeated_without_detectron2(tmp_path, monkeypatch):
    root = class_folders(tmp_path / "data", train={"a": 6, "b": 6}, test={"a": 1, "b": 1})
    monkeypatch.setattr("al_cli.learners.detectron.doctor.check_detectron2", broken)
    words = ["dataset=folder", f"dataset.root={root}", "model.hidden=[4]", "training.lr_finder=true", "device=cpu"]
    [job] = jobs_of([*words, f"outputs={tmp_path}/o"])
    found = {condition.name: condition for condition in health.check_installation(job)}
    assert found.keys() == {"threads", "device", "determinism"} and "the same bytes" in found["determinism"].text
    peak, free, checkpoint = health._measure(job, build.load_dataset(job.config["dataset"]).train)
    assert peak > checkpoint > 100_000 and (free is None or free > 0)  # 50 thousand weights of 4 bytes


@pytest.mark.slow
def test_the_measured_step_of_a_real_detector(al, yolo_root):
    done = al("doctor", "dataset=yolo", f"dataset.root={yolo_root}", "device=cpu")
    assert (
        "one training step of tiny_faster_rcnn takes" in done.stdout
        and "of weights in outputs and store" in done.stdout
    )
