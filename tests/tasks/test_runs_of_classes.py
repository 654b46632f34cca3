"""Runs, reports and verbs where a label is a class of the image: the right numbers, and the right words everywhere."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from shapes import tree_bytes, with_words, write_classes
from sklearn import metrics as sk

from al_cli.datasets.whole_images import load_folder
from al_cli.records import RunFolder
from al_cli.report.drawing.confusion import most_confused, plot_confusion
from al_cli.report.of_run import show
from al_cli.report.of_run.pool_map import layout, sampled
from al_cli.types import Signal

NAMES = ("cat", "dog", "eel", "fox", "gnu", "hen", "ibis")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_classes(tmp_path_factory.mktemp("classes"), {"train": 60, "test": 35}, NAMES)


@pytest.fixture
def words(root) -> list[str]:
    of_data = ["dataset=folder", f"dataset.root={root}", "dataset.name=animals"]
    return ["run", *of_data, "model=fake", "store=false", "initial=14", "budget=7", "rounds=2"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("made") / "one"


@pytest.fixture
def one(al, words, made) -> Path:
    """A run that kept all weights: made once, and each test has a copy."""
    folder = al.cwd / "outputs/s/one"
    if made.exists():
        shutil.copytree(made, folder)
    else:
        al(*words, "run_name=one", "study=s", "plots=false", "training.keep_checkpoints=all")
        shutil.copytree(folder, made)
    return folder


# ---- the numbers


def test_a_finished_run_has_the_numbers_that_scikit_learn_finds_in_its_stored_predictions(one, root):
    test = load_folder(root).test
    truth = np.array([image.classes[0] for image in test.images])
    for record in RunFolder(one).records():
        stored = RunFolder(one).predictions(record.round)
        assert stored.prob_kind == "exclusive" and stored.image_ids.tolist() == test.ids.tolist()
        assert record.metrics["accuracy"] == pytest.approx(100 * sk.accuracy_score(truth, stored.classes))
        for name, average in (("F1", "macro"), ("F1_weighted", "weighted")):
            want = sk.f1_score(truth, stored.classes, average=average, zero_division=0)
            assert record.metrics[name] == pytest.approx(100 * want)
        probs = stored.columns[Signal.PROBS]
        every = range(len(NAMES))
        assert record.metrics["top5"] == pytest.approx(100 * sk.top_k_accuracy_score(truth, probs, k=5, labels=every))
        classes, counts = RunFolder(one).confusion(record.round)
        assert classes == list(NAMES)
        assert np.array_equal(counts, sk.confusion_matrix(truth, stored.classes, labels=every))


def test_the_fakes_loss_is_the_cross_entropy(al, words):
    al(*words, "run_name=m", "study=s", "plots=false", "measure_loss=true")
    for record in RunFolder(al.cwd / "outputs/s/m").records():
        assert record.loss == pytest.approx(-record.metrics["log_likelihood"], rel=1e-5)
        assert record.class_loss is record.box_loss is None
    table = (al.cwd / "outputs/s/m/round_01/image_losses.csv").read_text()
    assert table.startswith("image_id,image,loss\n") and len(RunFolder(al.cwd / "outputs/s/m").image_losses(1)) == 35


# ---- files: written, read, verified, mended


def test_files_of_a_round(one):
    record = json.loads((one / "round_01/record.json").read_text())
    assert record["label"] == "image" and "boxes" not in record and "box_loss" not in record
    assert RunFolder(one).records()[1].boxes == record["images"] == 21
    picked = [row.split(",") for row in (one / "round_01/selection.csv").read_text().splitlines()]
    assert picked[0] == ["order", "image_id", "image", "score", "class"]
    assert all(name.startswith(f"{label}/") for _, _, name, _, label in picked[1:])
    assert (one / "round_00/per_class.csv").read_text().startswith("class,images,recall,precision,F1\ncat,5,")


def test_a_run_verifies_and_its_tables_are_mended(al, words, one):
    assert "all matches" in al("verify", one).stdout
    before = tree_bytes(one)
    table = one / "round_01/confusion.csv"
    table.write_text(table.read_text().replace("cat,cat,", "cat,cat,1", 1))
    assert "confusion.csv: not as it was written" in al("verify", one, code=1).stdout
    al(*words, "run_name=one", "study=s", "plots=false", "training.keep_checkpoints=all")
    assert tree_bytes(one) == before
    shutil.rmtree(one / "round_02")  # as a process that was killed leaves it
    (one / "done.json").unlink()
    al(*words, "run_name=one", "study=s", "plots=false", "training.keep_checkpoints=all")
    assert tree_bytes(one) == before


def test_a_run_is_replayed(al, one):
    al("replay", one, "study=again", "run_name=r", "seeds.training=5")
    again = RunFolder(al.cwd / "outputs/again/r").records()
    assert [record.picked for record in again] == [record.picked for record in RunFolder(one).records()]
    assert again[0].metrics != RunFolder(one).records()[0].metrics


# ---- the words

OF_DETECTION = re.compile(r"\b(box|boxes|AP|detection|detections|detector|object|objects)\b")


def texts_below(folder: Path) -> dict[Path, str]:
    """What people and programs read: every text file; of a page what is no style, and of drawings nothing."""
    files = [
        p for p in folder.rglob("*") if p.suffix in (".csv", ".md", ".tex", ".json", ".yaml", ".log", ".html", ".txt")
    ]
    without = re.compile(r"<style>.*?</style>|<svg.*?</svg>|data:image[^\"]*", re.DOTALL)
    return {path: without.sub("", path.read_text()) for path in files}


def test_no_file_of_a_study_speaks_of_boxes(al, words):
    said = ""
    for sampler in ("random", "entropy"):
        more = ["measure_loss=true", "plots=false", *(["tracking=tensorboard"] if sampler == "entropy" else [])]
        for seed in (0, 1):
            done = al(*words, "study=st", f"run_name={sampler}_s{seed}", f"sampler={sampler}", f"seed={seed}", *more)
            said += done.stdout + done.stderr
    plan = {"arms": [{"name": "random"}, {"name": "entropy"}], "seeds": [0, 1]}
    claim = {"arm": "entropy", "against": "random"}
    (al.cwd / "outputs/st/study.json").write_text(json.dumps(plan | {"claim": claim}))
    told = al("report", "outputs/st", "--metric", "F1").stdout
    said_all = {"the run": said, "the report": told, "ls": al("ls").stdout}
    for name, text in {**said_all, **texts_below(al.cwd / "outputs/st")}.items():
        found = OF_DETECTION.search(text)
        where = text[max(0, found.start() - 60) : found.end() + 40] if found else ""
        assert found is None, f"{name} says {found[0]!r}: {where!r}"
    assert "images labeled: accuracy " in said_all["the run"] and "best accuracy" in said_all["ls"]
    assert "better than random in AUC of accuracy against images" in said_all["the report"]
    report = al.cwd / "outputs/st/report"
    page = (report / "index.html").read_text()
    assert "Labeled images of each class" in page and "captions are the true classes" in page
    assert "the loss of the images that rounds are scored on, against" in page  # no parts
    figures = {path.name for path in report.glob("*.svg")}
    assert {"f1.svg", "f1_by_round.svg"} <= figures and not any("_vs_" in name for name in figures)
    sheets = {path.name for path in report.glob("*.jpg")}
    assert sheets == {f"{kind}_round_0{n}.jpg" for kind in ("hardest", "easiest") for n in (1, 2)}
    assert page.count("<img") == 2 and "next to this page: hardest_round_01.jpg, easiest_round_01.jpg" in page
    events = next((al.cwd / "outputs/st").glob("*/tracking/*round_01")).read_bytes()
    assert b"by_images/F1" in events and b"boxes" not in events


def test_a_class_that_no_evaluated_image_has_is_not_missed(al, words, tmp_path):
    root = write_classes(tmp_path / "few", {"train": 60, "test": 3}, NAMES)
    al(*with_words(words, f"dataset.root={root}"), "run_name=f", "study=few", "plots=false")
    assert {"fox", "ibis"} <= {row["class"] for row in RunFolder("outputs/few/f").per_class(2) if row["images"] == "0"}
    report = al("report", "outputs/few", "--format", "md").stdout
    assert not re.search(r"no prediction is of class[^;]*\b(fox|gnu|hen|ibis)\b", report)


def test_plots_of_a_run(al, words):
    al(*words, "run_name=p", "study=s", "measure_loss=true")
    plots = {path.name for path in (al.cwd / "outputs/s/p/plots").iterdir()}
    sheets = {f"contact_sheet_round_0{n}.png" for n in range(3)}
    assert plots == {
        "accuracy_vs_images.png",
        "class_counts.png",
        "confusion.png",
        "losses.png",
        "loss_parts.png",
        *sheets,
    }
    table = (al.cwd / "outputs/s/p/rounds.md").read_text().splitlines()[0]
    assert [cell.strip() for cell in table.split("|")[1:-1]] == [
        "round", "images", "accuracy", "top5", "F1", "val_loss", "ud", "epochs", "loss",
    ]  # fmt: skip


def test_a_budget_of_boxes_is_refused(al, words):
    error = al(*words, "budget_unit=boxes", code=2).stderr
    assert "a label is an image here: dataset animals has a class for each image (budget_unit=boxes)" in error


def test_a_run_stops_at_a_likelihood(al, words):
    al(*words, "run_name=l", "study=s", "plots=false", "stop.metric=log_likelihood", "stop.at=-100")
    assert len(RunFolder(al.cwd / "outputs/s/l").records()) == 1
    error = al(*words, "stop.metric=log_likelihood", "stop.at=0.1", code=2).stderr
    assert "stop.at is 0.1, which log_likelihood cannot stop at: give a value below 0" in error
    al("report", "outputs/s", "--target", "log_likelihood=-0.5", "--format", "md")
    assert "give a value up to 0" in al("report", "outputs/s", "--target", "log_likelihood=1", code=2).stderr


# ---- al show


def frames(path: Path, cells: int) -> list[str]:
    """The colour in the corner of each cell of a sheet: right or wrong."""
    pixels = np.asarray(PILImage.open(path).convert("RGB"))
    colors = {tuple(bytes.fromhex(color[1:])): name for color, name in ((show.RIGHT, "right"), (show.WRONG, "wrong"))}
    step_x, step_y, left, top = 170 + 8, 170 + 20 + 8, 8, 30  # of sheets: cell, gap, caption, title
    columns = min(6, max(4, cells))
    at = [(left + n % columns * step_x + 2, top + n // columns * step_y + 2) for n in range(cells)]
    return [colors.get(tuple(pixels[y, x].tolist()), "none") for x, y in at]


def test_show_frames_what_is_right_and_what_is_wrong(al, one, root):
    al("show", one, "-n", "35", "--round", "0", "--out", "a.png")
    stored = RunFolder(one).predictions(0)
    truth = [int(image.classes[0]) for image in load_folder(root).test.images]
    expected = ["right" if t == p else "wrong" for t, p in zip(truth, stored.classes.tolist(), strict=True)]
    assert set(expected) == {"right", "wrong"} and frames(al.cwd / "a.png", 35) == expected
    al("show", one, "-n", "35", "--checkpoint", one / "round_00/checkpoint.pth", "--out", "b.png")
    assert frames(al.cwd / "b.png", 35) == expected
    assert "every image has one prediction (--threshold 0.5): leave it out" in al(
        "show", one, "--threshold", "0.5", code=2
    ).stderr.replace("\n", " ")


def test_the_map_of_a_pool(al, one):
    wrote = al("show", one, "--map").stdout
    assert wrote.strip().endswith("plots/map_round_02.png")
    first = (one / "plots/map_round_02.png").read_bytes()
    al("show", one, "--map", "--round", "2")
    assert (one / "plots/map_round_02.png").read_bytes() == first
    al("show", one, "--map", "--round", "1", "--out", "b.png")
    assert (al.cwd / "b.png").read_bytes() != first
    assert "drawn at random, before there were any weights" in al("show", one, "--map", "--round", "0", code=2).stderr
    assert "-n would do nothing: a map shows the pool" in al("show", one, "--map", "-n", "3", code=2).stderr
    (one / "round_01/checkpoint.pth").unlink()  # as training.keep_checkpoints=last leaves it
    (one / "round_00/checkpoint.pth").unlink()
    error = al("show", one, "--map", "--round", "2", code=2).stderr
    assert "made with the weights of round 1, which are not kept" in error and "training.keep_checkpoints=all" in error
    assert "no round's picks can be mapped" in al("show", one, "--map", code=2).stderr
    al("show", one, "--map", "--checkpoint", one / "round_02/checkpoint.pth", "--out", "c.png")


def test_a_map_of_a_detectors_pool_and_of_weights_that_choose_first(al, fake):
    al(*fake, "rounds=1", "initial=0", "budget=5", "study=s", "run_name=d", "store=false", "sampler=entropy")
    al("show", "outputs/s/d", "--map", "--round", "0", "--out", "a.png")
    assert "weights of round 0, which are not kept" in al("show", "outputs/s/d", "--map", "--round", "1", code=2).stderr


def test_a_large_pool_is_sampled_with_all_picks():
    pool, picked = np.arange(100, 300), [100, 250, 299]
    some = sampled(pool, picked, seed=1, most=20)
    assert len(some) == 20 and set(picked) <= set(some.tolist()) <= set(pool.tolist()) and (np.diff(some) > 0).all()
    assert sampled(pool, picked, seed=1, most=20).tolist() == some.tolist() != sampled(pool, picked, 2, 20).tolist()
    assert sampled(pool, picked, seed=1, most=2).tolist() == picked
    assert sampled(pool, picked, seed=1) is pool


@pytest.mark.parametrize("features", [np.zeros((4, 3)), np.arange(5.0)[:, None]], ids=["all alike", "one number"])
def test_any_features_can_be_laid_out(features):
    assert np.isfinite(layout(features, seed=0)).all()


def test_images_of_one_kind_lie_together():
    features = np.repeat(np.eye(3), 20, axis=0) * 20 + np.random.default_rng(0).normal(size=(60, 3))
    points = layout(features, seed=0)
    distances = np.linalg.norm(points[:, None] - points, axis=2) + np.diag(np.full(60, np.inf))
    assert (distances.argmin(1) // 20 == np.arange(60) // 20).all()


# ---- the confusion matrix


def test_of_many_classes_the_most_confused_are_shown(tmp_path):
    counts = np.diag(np.full(40, 5))
    counts[7, 3], counts[39, 0] = 9, 4
    assert {0, 3, 7, 39} <= set(most_confused(counts).tolist()) and len(most_confused(counts)) == 30
    assert most_confused(counts, most=2).tolist() == [3, 7]
    for n in (2, 31):
        [path] = plot_confusion([f"class {c} <$>" for c in range(n)], np.eye(n, dtype=int), tmp_path / f"{n}.png")
        assert np.asarray(PILImage.open(path).convert("RGB")).std() > 5
