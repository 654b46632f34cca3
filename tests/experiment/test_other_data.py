"""A run that continues goes on with the data it began with, or says in one sentence what has changed."""

import shutil
from pathlib import Path

import pytest
from PIL import Image as PILImage
from shapes import CLASSES, tree_bytes, write_yolo


@pytest.fixture
def stopped(al, tmp_path):
    """The words of a run of two rounds, its folder with the first two records, and its data, which a test may change."""
    root = write_yolo(tmp_path / "d", {"train": 12, "val": 4, "test": 5})
    words = ["run", "dataset=yolo", f"dataset.root={root}", "model=fake", "plots=false", "store=false", "rounds=2"]
    words += ["initial=4", "budget=4", "sampler=entropy", "run_name=r", "study=s", "training.keep_checkpoints=all"]
    al(*words)
    folder = Path("outputs/s/r")
    whole = tree_bytes(folder)
    shutil.rmtree(folder / "round_02")
    return words, root, whole


def image(root: Path, split: str, n: int = 0) -> Path:
    return sorted((root / "images" / split).iterdir())[n]


def remove(root):
    image(root, "train").unlink()
    return "of the pool is not there any more"


def add(root):
    new = image(root, "train").with_name("zz.png")
    PILImage.new("RGB", (40, 30), (1, 2, 3)).save(new)
    return "image zz.png of the pool was not there"


def swap(root):
    a, b = image(root, "train"), image(root, "train", 1)
    one, two = a.read_bytes(), b.read_bytes()
    a.write_bytes(two)
    b.write_bytes(one)
    return "of the pool has other pixels now"


def relabel(root):
    file = next(path for path in sorted((root / "labels/train").iterdir()) if path.read_text().strip())
    file.write_text(file.read_text() + "\n0 0.5 0.5 0.123 0.1\n")
    return "of the pool has other labels now"


def rename_class(root):
    text = (root / "data.yaml").read_text()
    (root / "data.yaml").write_text(text.replace(CLASSES[1], "wolf"))
    return "wolf"


def drop_test_image(root):
    image(root, "test").unlink()
    return "of the test is not there any more"


@pytest.mark.parametrize("change", [remove, add, swap, relabel, rename_class, drop_test_image])
def test_other_data_is_refused_and_nothing_is_lost(al, stopped, change):
    words, root, _ = stopped
    before = tree_bytes(Path("outputs/s/r"))
    expected = change(root)
    said = al(*words, code=2).stderr
    assert "the data is not what this run began with" in said and expected in said
    after = tree_bytes(Path("outputs/s/r"))
    assert {name: after[name] for name in before} == before


def test_a_copy_elsewhere_with_new_times_is_the_same_data(al, stopped, tmp_path):
    words, root, whole = stopped
    aside = tmp_path / "aside"
    shutil.copytree(root, aside, copy_function=shutil.copyfile)
    shutil.rmtree(root)
    shutil.copytree(aside, root, copy_function=shutil.copyfile)
    al(*words)
    assert tree_bytes(Path("outputs/s/r")) == whole


def test_a_study_is_not_continued_with_other_data(al, tmp_path):
    """A finished run would be passed over, and the others trained on other labels."""
    root = write_yolo(tmp_path / "d", {"train": 12, "val": 4, "test": 5})
    words = ["run", "-m", "dataset=yolo", f"dataset.root={root}", "model=fake", "plots=false", "rounds=1", "study=s"]
    al(*words, "seed=0,1")
    expected = relabel(root)
    said = al(*words, "seed=0,1,2", code=2).stderr
    assert "the data is not what this run began with" in said and expected in said and "_s0" in said
    assert not list(Path("outputs/s").glob("*_s2"))


def test_a_copy_at_another_path_continues_the_run(al, stopped, tmp_path):
    words, root, whole = stopped
    root.rename(tmp_path / "moved")
    al(*(word.replace(str(root), str(tmp_path / "moved")) for word in words))
    now = tree_bytes(Path("outputs/s/r"))
    assert {name: now[name] for name in whole} == whole  # beside an environment of its own, for the command is another


def test_a_replay_wants_the_data_that_was_picked_from(al, stopped, tmp_path):
    _, root, _ = stopped
    shutil.copytree(root, tmp_path / "copy")
    expected = swap(root)
    before = tree_bytes(Path("outputs"))
    said = al("replay", "outputs/s/r", "model=fake", code=2).stderr
    assert expected in said and "dataset.root=DIR" in said
    assert tree_bytes(Path("outputs")) == before
    shutil.rmtree(root)
    al("replay", "outputs/s/r", "model=fake", f"dataset.root={tmp_path / 'copy'}", "plots=false")


def test_a_report_compares_no_runs_of_other_data(al, tmp_path):
    root = write_yolo(tmp_path / "d", {"train": 12, "val": 4, "test": 5})
    words = ["run", "dataset=yolo", f"dataset.root={root}", "model=fake", "plots=false", "rounds=1", "study=s"]
    al(*words, "seed=0", "run_name=a_s0")
    al(*words, "seed=1", "run_name=a_s1")
    al("report", "outputs/s", "--format", "md")
    expected = relabel(root)
    al(*words, "seed=2", "run_name=a_s2")
    said = al("report", "outputs/s", code=2).stderr
    assert "the data of a_s2 is not that of a_s0" in said and expected in said
