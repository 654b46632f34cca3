"""Runs that share a store: the same bytes as without it, and fewer trainings."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shapes import CLASSES, random_dataset, tree_bytes, write_yolo

from al_cli.experiment.job import jobs_of
from al_cli.experiment.run import run_job
from al_cli.learners.fake import FakeLearner
from al_cli.store.disk import Store
from al_cli.store.learner import StoredLearner


@pytest.fixture
def few(tmp_path):
    """The words of a fake run on 20 images that this test may change."""
    root = write_yolo(tmp_path / "few", {"train": 20, "val": 5, "test": 6})
    return ["run", "dataset=yolo", f"dataset.root={root}", "model=fake", "study=s", "plots=false"]


def made(folder: Path) -> dict[str, int]:
    """Kind of result -> how many the rounds of these runs computed."""
    counts = {"training": 0, "inference": 0, "selection": 0}
    for path in folder.rglob("timing.json"):
        for kind, count in json.loads(path.read_text())["store"]["misses"].items():
            counts[kind] += count
    return counts


@pytest.mark.parametrize("sampler", ["ccms", "influence", "half_random", "active_transfer"])
def test_the_store_changes_no_byte(al, few, sampler):
    al(*few, f"sampler={sampler}", "run_name=without", "store=false")
    assert not Path("outputs/.store").exists()
    al(*few, f"sampler={sampler}", "run_name=first")
    al(*few, f"sampler={sampler}", "run_name=again")
    without, first, again = (tree_bytes(Path("outputs/s") / name) for name in ("without", "first", "again"))
    assert without == first == again
    assert made(Path("outputs/s/first"))["training"] == 5
    assert made(Path("outputs/s/again")) == {"training": 0, "inference": 0, "selection": 0}


@pytest.mark.parametrize(
    "more", [["training=thesis"], ["budget_unit=boxes", "initial=3", "budget=6"], ["training.data=reselect"]], ids=str
)
def test_nor_under_another_regime(al, few, more):
    al(*few, "sampler=entropy", *more, "run_name=without", "store=false")
    al(*few, "sampler=entropy", *more, "run_name=first")
    al(*few, "sampler=entropy", *more, "run_name=again")
    assert tree_bytes(Path("outputs/s/without")) == tree_bytes(Path("outputs/s/first"))
    assert tree_bytes(Path("outputs/s/first")) == tree_bytes(Path("outputs/s/again"))
    assert made(Path("outputs/s/again"))["training"] == 0


def test_losses_are_kept_by_weights_and_images(tmp_path):
    """A loss is asked of the learner once for the same weights and images, and never taken for that of others."""
    asked = []

    class Asked(FakeLearner):
        def loss(self, images):
            asked.append(len(images))
            return super().loss(images)

    data, same = random_dataset(12), {"code": "", "versions": "", "device": "", "kernels": ""}
    one, other = (StoredLearner(Asked(CLASSES), Store(tmp_path), identity=same, asking={}) for _ in range(2))
    for learner in (one, other):
        learner.fit(data.select(data.ids[:3]), val=None, seed=1, init=None)
    losses, again = one.loss(data), other.loss(data)
    assert asked == [12] and vars(losses).keys() == vars(again).keys()
    for name, column in vars(losses).items():
        assert column.tolist() == getattr(again, name).tolist() and len(set(column.tolist())) > 3
    other.loss(data.select(data.ids[:5]))
    other.fit(data.select(data.ids[:4]), val=None, seed=1, init=None)
    assert other.loss(data).total.tolist() != losses.total.tolist() and asked == [12, 5, 12]


def test_which_images_a_stage_chooses_from_is_in_the_key(al, few):
    al(*few, "sampler=half_random", "rounds=1", "run_name=outside")
    al(*few, "sampler=half_random", "rounds=1", "sampler.stages.2.of=all", "run_name=all")
    assert made(Path("outputs/s/all"))["selection"] == 1


def test_arms_share_what_they_have_in_common(al, few):
    for job in jobs_of([*few[1:], "sampler=random,entropy"], many=True):
        run_job(job)
    assert made(Path("outputs/s"))["training"] == 5 + 3  # round 0, and the last: both label all images
    al(*few, "reference=true")
    assert made(Path("outputs/s"))["training"] == 8  # the reference is the same training as their last rounds


def test_the_order_of_the_images_counts_where_they_are_not_shuffled(tmp_path):
    stored, images = StoredLearner(FakeLearner(CLASSES), Store(tmp_path), identity={}, asking={}), random_dataset(3)
    orders = (None, [0, 1, 2], [2, 1, 0])
    shuffled, kept, other = (Store.key(stored.about_training(images, None, 0, None, order)) for order in orders)
    assert len({shuffled, kept, other}) == 3


def test_other_pixels_of_the_same_length_are_other_data(al, few):
    al(*few, "sampler=random", "run_name=first")
    for image in Path(few[2].partition("=")[2]).rglob("train/*.png"):
        content = bytearray(image.read_bytes())
        content[-20] ^= 1  # the fake learner looks at labels alone, so the file need not be a picture any more
        image.write_bytes(content)
    al(*few, "sampler=random", "run_name=again")
    assert made(Path("outputs/s/again"))["training"] == 5


def test_a_run_continued_from_disk_finds_what_follows(al, few):
    al(*few, "sampler=entropy", "run_name=whole")
    shutil.copytree("outputs/s/whole", "outputs/s/cut")
    for round in (3, 4):
        shutil.rmtree(f"outputs/s/cut/round_0{round}")
    for path in ("done.json", "round_02/checkpoint.pth"):
        Path("outputs/s/cut", path).unlink(missing_ok=True)
    al(*few, "sampler=entropy", "run_name=upto", "training.keep_checkpoints=all")
    shutil.copy("outputs/s/upto/round_02/checkpoint.pth", "outputs/s/cut/round_02/checkpoint.pth")
    before = made(Path("outputs/s/cut"))
    al(*few, "sampler=entropy", "run_name=cut")
    cut, whole = tree_bytes(Path("outputs/s/cut")), tree_bytes(Path("outputs/s/whole"))
    assert {name: cut[name] for name in whole} == whole
    assert made(Path("outputs/s/cut"))["training"] == before["training"]


@pytest.mark.parametrize("changed", ["pixels", "label", "seed", "model", "training"])
def test_what_changes_a_number_is_not_taken_from_the_store(al, few, changed):
    root = Path(few[2].removeprefix("dataset.root="))
    al(*few, "sampler=random", "run_name=before")
    more = []
    match changed:
        case "pixels":  # of an image of the initial set, as another program would save it
            for path in (root / "images/train").iterdir():
                path.write_bytes(path.read_bytes() + b"\0")
        case "label":
            for path in (root / "labels/train").iterdir():
                path.write_text(path.read_text() + "0 0.5 0.5 0.2 0.2\n")
        case "seed":
            more = ["seeds.training=7"]
        case "model":
            more = ["+model.overrides.iterations=10"]
        case "training":
            more = ["training.weight_decay=0.5"]
    al(*few, "sampler=random", "run_name=after", *more)
    assert made(Path("outputs/s/after"))["training"] == 5


def test_what_changes_no_number_is(al, few):
    al(*few, "sampler=random", "run_name=before")
    elsewhere = [*(word for word in few if word != "study=s"), "study=other"]
    al(*elsewhere, "sampler=random", "run_name=after", "training.keep_checkpoints=all")
    assert made(Path("outputs/other/after")) == {"training": 0, "inference": 0, "selection": 0}


def test_processes_at_once_train_once(al, few):
    words = [*few, "sampler=random", "+model.overrides.fit_s=0.2"]
    command = [sys.executable, "-m", "al_cli.cli.main", *words]
    runs = [subprocess.Popen([*command, f"run_name=r{n}"], stderr=subprocess.DEVNULL) for n in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    assert made(Path("outputs/s"))["training"] == 5
    assert tree_bytes(Path("outputs/s/r0")) == tree_bytes(Path("outputs/s/r1"))


def test_the_store_can_lie_elsewhere(al, few, tmp_path, monkeypatch):
    monkeypatch.setenv("AL_STORE", str(tmp_path / "elsewhere"))
    al(*few, "sampler=random")
    assert (tmp_path / "elsewhere" / "training").is_dir() and not Path("outputs/.store").exists()
    assert "5" in al("store", "ls").stdout


def test_ls_and_prune_say_what_they_did(al, few):
    assert "empty" in al("store", "ls").stdout
    al(*few, "sampler=random")
    told = al("store", "ls").stdout
    assert "training" in told and "al store prune --keep 20GB" in told
    assert "--keep 20GB" in al("store", "prune", code=2).stderr
    assert "removed 0 results" in al("store", "prune", "--keep", "1GB").stdout
    al("store", "prune", "--keep", "0")
    assert "empty" in al("store", "ls").stdout
    al(*few, "sampler=random", "run_name=again")
    assert made(Path("outputs/s/again"))["training"] == 5


def test_a_store_of_another_version_is_refused_in_a_sentence_and_can_be_emptied(al, few):
    al(*few, "sampler=random", "rounds=1")
    Path("outputs/.store/format").unlink()
    for path in Path("outputs/.store").glob("*/*/*/entry.json"):
        path.write_text(path.read_text().replace('"digest"', '"other"'))
    refused = al(*few, "sampler=random", "rounds=1", "run_name=again", code=2).stderr
    assert "format 1" in refused and "al store prune --keep 0" in refused and "Traceback" not in refused
    assert "format 1" in al("store", "ls", code=2).stderr
    assert "removed 5 results" in al("store", "prune", "--keep", "0").stdout
    al(*few, "sampler=random", "rounds=1", "run_name=again")
    assert made(Path("outputs/s/again"))["training"] == 2


def test_whoever_writes_into_a_checkpoint_does_not_edit_the_store(al, few):
    al(*few, "run_name=a")
    [last] = Path("outputs/s/a").glob("round_*/checkpoint.pth")
    with last.open("r+b") as file:
        file.write(b"overwritten in place")
    assert al(*few, "run_name=b").returncode == 0
    assert made(Path("outputs/s/b")) == {"training": 0, "inference": 0, "selection": 0}
    assert (Path("outputs/s/b") / last.relative_to("outputs/s/a")).read_bytes() != last.read_bytes()


def test_a_store_that_cannot_be_written_is_gone_around(al, few, tmp_path, monkeypatch):
    al(*few, "run_name=without", "store=false")
    (tmp_path / "file").write_text("no folder can be made below this")
    monkeypatch.setenv("AL_STORE", str(tmp_path / "file/store"))
    said = al(*few, "run_name=with").stderr
    assert said.count("cannot be written") == 1
    assert tree_bytes(Path("outputs/s/with")) == tree_bytes(Path("outputs/s/without"))


def test_a_store_that_can_only_be_read_still_gives_its_results(al, few, monkeypatch):
    al(*few, "run_name=a")

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    def read_only(path, flags, *rest, opened=os.open, **more):
        return refuse() if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else opened(path, flags, *rest, **more)

    monkeypatch.setattr("al_cli.store.disk.os.open", read_only)
    monkeypatch.setattr("al_cli.store.disk.os.utime", refuse)
    [entry, *_] = Store("outputs/.store").entries()
    got = Store("outputs/.store").get(entry.kind, entry.about, lambda folder: "read", lambda: "made", lambda *_: None)
    assert (got.result, got.hit) == ("read", True)
