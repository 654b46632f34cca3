"""What a mistake of the user's leaves behind: nothing where nothing was, and nothing lost where there was a run."""

import pytest
from labeled_images import unlike_others
from shapes import write_yolo

from al_cli.errors import DatasetError
from al_cli.learners.fake import FakeLearner


@pytest.fixture
def root(tmp_path):
    return write_yolo(tmp_path / "data", {"train": 12, "test": 4})


def break_labels(root):
    label = next(iter(sorted((root / "labels/train").glob("*.txt"))))
    label.write_text("99 0.5 0.5 0.1 0.1\n")


@pytest.fixture
def words(root):
    return ["run", "dataset=yolo", f"dataset.root={root}", "model=fake", "sampler=random", "rounds=1", "study=s"]


def test_a_broken_dataset_leaves_no_folder(al, root, words):
    break_labels(root)
    assert "99" in al(*words, code=2).stderr
    assert not (al.cwd / "outputs/s").exists()
    assert "no runs" in al("ls").stdout


@pytest.mark.parametrize(
    ("odd", "model", "says"), [((9, 9), "tiny_cnn", "is 9 x 9 px, and the first is 8 x 8"), ((8, 8), "vgg16", "vgg16")]
)
def test_an_image_that_the_network_cannot_take_is_named_before_anything_is_trained(al, tmp_path, odd, model, says):
    root = tmp_path / "set"
    for split in ("train", "test"):
        for n in range(8):
            unlike_others(root / split / "ab"[n % 2] / f"{n}.png", (8, 8))
    unlike_others(root / "test/b/odd.png", odd)
    words = ["run", "dataset=folder", f"dataset.root={root}", f"model={model}", "rounds=1", "study=s"]
    words += ["model.weights=none", "model.outputs=new", "model.image_size=null"]
    for dry in (["--dry-run"], []):
        assert says in al(*words, *dry, code=2).stderr
    assert not (al.cwd / "outputs/s").exists()


def test_a_pool_too_small_for_the_plan_leaves_no_folder(al, words):
    al(*words, "initial=500", code=2)
    assert not (al.cwd / "outputs/s").exists()


def test_no_run_of_several_starts_where_one_is_a_mistake(al, words):
    done = al(*words, "-m", "initial=4,500", code=2)
    assert "random_initial500_fake_rounds1_s0: " in done.stderr and "pool of 12" in done.stderr
    assert not (al.cwd / "outputs/s").exists()


def test_a_run_that_had_begun_keeps_its_rounds_and_says_why_it_failed(al, root, words):
    al(*words)
    [run] = (path for path in (al.cwd / "outputs/s").iterdir() if path.is_dir())
    (run / "round_01/record.json").unlink()
    break_labels(root)
    al(*words, code=2)
    assert "99" in (run / "error.txt").read_text()
    assert (run / "round_00/record.json").exists()


def test_a_mistake_that_shows_in_training_leaves_its_reason_and_the_same_command_goes_on(al, words, monkeypatch):
    def bad(*_, **__):
        raise DatasetError("the image cannot be read", where="a [1].png")

    with monkeypatch.context() as patched:
        patched.setattr(FakeLearner, "infer", bad)
        al(*words, "run_name=mine", code=2)
    run = al.cwd / "outputs/s/mine"
    assert "a [1].png" in (run / "error.txt").read_text() and "failed: the image" in al("ls").stdout
    assert "2 rounds" in al(*words, "initial=3", "run_name=mine").stderr  # corrected settings do too
    assert not (run / "error.txt").exists() and (run / "round_01/record.json").exists()


def test_what_a_user_put_into_the_folder_stays(al, root, words):
    mine = al.cwd / "outputs/s/mine/notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("do not delete")
    break_labels(root)
    al(*words, "run_name=mine", code=2)
    assert mine.read_text() == "do not delete"
