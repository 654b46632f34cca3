"""Held-out shares in runs: one labeled split is enough, seeds share what is held out, and evaluate=val leaves test alone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from shapes import CLASSES, random_dataset, tree_bytes, write_yolo

from al_cli import loop
from al_cli.datasets import load_yolo
from al_cli.errors import ConfigError, DatasetError
from al_cli.experiment import build, without_val
from al_cli.experiment.job import jobs_of
from al_cli.experiment.replay import plan_replay
from al_cli.learners.fake import FakeLearner
from al_cli.records import RunFolder
from al_cli.records.formats import load_predictions, read_csv
from al_cli.report.story import Story
from al_cli.report.study import read_study
from al_cli.tasks.detection import evaluate
from al_cli.types import Dataset, Splits

SHARES = ["dataset.test=30%", "dataset.val=20%"]


@pytest.fixture(scope="module")
def one_split(tmp_path_factory) -> Path:
    """What labeling tools export: 40 labeled images, nothing held out. No test changes them."""
    return write_yolo(tmp_path_factory.mktemp("one_split") / "yolo", {"train": 40})


def words_of(root: Path, *more: str, format: str = "yolo") -> list[str]:
    words = ["run", f"dataset={format}", f"dataset.root={root}", "model=fake", "plots=false", "study=s"]
    words += ["sampler=entropy", "rounds=1", "initial=6", "budget=3"]
    said = {word.partition("=")[0] for word in more}
    return [*(word for word in words if word.partition("=")[0] not in said), *more]


def held(run: str) -> dict[str, str]:
    """Which split each image is in, as the run's data.csv says."""
    rows = read_csv(Path("outputs/s") / run / "data.csv")
    return {row["image"]: row["split"] for row in rows if row["split"] != "class"}


def as_coco(yolo: Path, root: Path) -> Path:
    """The one split of this YOLO folder as images/ and result.json, numbered backwards."""
    shutil.copytree(yolo / "images/train", root / "images")
    images, rows = [], []
    for image in reversed(load_yolo(yolo).train.images):
        size = {"width": image.width, "height": image.height}
        images.append({"id": 1000 - image.id, "file_name": image.name, **size})
        for (x0, y0, x1, y1), c in zip(image.boxes.tolist(), image.classes.tolist(), strict=True):
            box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
            rows.append({"id": len(rows) + 1, "image_id": 1000 - image.id, "category_id": c, **box})
    categories = [{"id": c, "name": name} for c, name in enumerate(CLASSES)]
    (root / "result.json").write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))
    return root


def test_one_labeled_split_is_enough_in_either_form(al, one_split, tmp_path):
    said = al(*words_of(one_split), code=2).stderr
    assert "no held-out split" in said and "add dataset.test=20%" in said
    assert not Path("outputs/s").exists()
    al(*words_of(one_split, *SHARES, "run_name=yolo"))
    place = "dataset.train={images: images, annotations: result.json}"
    al(*words_of(as_coco(one_split, tmp_path / "coco"), place, *SHARES, "run_name=coco", format="coco"))
    assert held("yolo") == held("coco") and set(held("yolo").values()) == {"pool", "val", "test"}
    for name in ("rounds.csv", "round_01/per_class.csv", "round_01/candidates.csv"):
        assert (Path("outputs/s/yolo") / name).read_bytes() == (Path("outputs/s/coco") / name).read_bytes()
    pool = {image for image, split in held("yolo").items() if split == "pool"}
    picked = [
        row["image"] for round in (0, 1) for row in read_csv(Path(f"outputs/s/yolo/round_0{round}/selection.csv"))
    ]
    assert len(set(picked)) == 9 and set(picked) <= pool
    assert "wrote" in al("show", "outputs/s/yolo", "-n", "1").stdout


def test_seeds_share_what_is_held_out_and_a_stopped_run_goes_on_with_it(al, one_split):
    words = words_of(one_split, *SHARES, "store=false", "training.keep_checkpoints=all")
    for seed in (0, 1):
        al(*words, f"seed={seed}", f"run_name=r{seed}")
    assert held("r0") == held("r1")
    picks = [read_csv(Path(f"outputs/s/r{seed}/round_00/selection.csv")) for seed in (0, 1)]
    assert picks[0] != picks[1]
    whole = tree_bytes(Path("outputs/s/r0"))
    shutil.rmtree("outputs/s/r0/round_01")
    al(*words, "seed=0", "run_name=r0")
    assert tree_bytes(Path("outputs/s/r0")) == whole
    said = al(*words, "run_name=r0", "dataset.split_seed=1", code=2).stderr
    assert "dataset.split_seed was 0 and is now 1" in said


def test_a_replay_keeps_the_draw_and_another_draw_names_the_pick(al, one_split):
    al(*words_of(one_split, *SHARES, "evaluate=val", "run_name=r"))
    al("replay", "outputs/s/r", "study=s", "run_name=again", "plots=false")
    assert held("again") == held("r")
    al("verify", "outputs/s/r")  # the tables follow from the predictions on val
    runs = [RunFolder(f"outputs/s/{name}") for name in ("r", "again")]
    assert runs[1].config()["evaluate"] == "val"
    assert [r.labeled for r in runs[0].records()] == [r.labeled for r in runs[1].records()]
    said = al("replay", "outputs/s/r", "study=s", "run_name=x", "dataset.test=60%", code=2).stderr
    name = said.partition("image ")[2].split()[0]
    assert f"image {name} of the {held('r')[name]} is in the " in said
    assert "leave out dataset.test: the run has settled what is held out" in said


@pytest.mark.parametrize("row", ["1,,{id}", "1,{name},", "1,{name},{id}"])
def test_a_pick_that_is_held_out_is_named(one_split, tmp_path, row):
    splits = build.load_dataset(jobs_of(words_of(one_split, *SHARES)[1:])[0].config["dataset"])
    image = splits.val.images[0]
    (tmp_path / "picks.csv").write_text(f"round,image,image_id\n{row.format(name=image.name, id=image.id)}\n")
    words = words_of(one_split, *SHARES, "sampler=imported", f"sampler.file={tmp_path}/picks.csv", "budget=null")
    [job] = jobs_of(words[1:])
    with pytest.raises(ConfigError, match=f"{image.name} is in the val split, so it cannot be picked"):
        build.plan_rounds(job.experiment, splits)


class Spy(FakeLearner):
    def __init__(self, class_names):
        super().__init__(class_names)
        self.read: set[int] = set()
        self.scored: list = []

    def inform(self, **labels):
        self.scored.append(labels["scored"])

    def fit(self, train, *, val, seed, init, order=None):
        self.read |= {*train.ids.tolist(), *(() if val is None else val.ids.tolist())}
        return super().fit(train, val=val, seed=seed, init=init)

    def infer(self, images, signals=frozenset()):
        self.read |= set(images.ids.tolist())
        return super().infer(images, signals)


def play(words: list[str], folder: Path) -> tuple[Spy, Splits, list]:
    [job] = jobs_of(words[1:])
    splits = build.load_dataset(job.config["dataset"])
    spy, plan = Spy(CLASSES), build.plan_rounds(job.experiment, splits)
    with RunFolder.create(folder, job.config, {}) as run:
        return spy, splits, list(loop.run(splits, spy, job.experiment.strategy, plan, run, job.experiment.task))


def test_evaluate_val_scores_on_val_and_never_reads_test(one_split, tmp_path):
    spy, splits, records = play(words_of(one_split, *SHARES, "evaluate=val"), tmp_path / "r")
    assert splits.val is not None
    for record in records:
        predictions = load_predictions((tmp_path / f"r/round_0{record.round}/predictions.npz").read_bytes())
        assert predictions.image_ids.tolist() == splits.val.ids.tolist()
        assert evaluate(predictions, splits.val).metrics == record.metrics
    last = FakeLearner(CLASSES)
    last.load(tmp_path / "r/round_01/checkpoint.pth")
    assert evaluate(last.infer(splits.val), splits.val).metrics == records[-1].metrics
    assert spy.read == {*splits.train.ids.tolist(), *splits.val.ids.tolist()}
    spy, splits, _ = play(words_of(one_split, *SHARES), tmp_path / "t")
    assert set(splits.test.ids.tolist()) < spy.read


def test_what_also_trains_by_the_scored_split_is_said(al, one_split):
    done = al(*words_of(one_split, *SHARES, "evaluate=val", "training=lund"))
    assert (
        "evaluate=val: early stopping goes by the validation loss, so the scores are not held out from it"
        in done.stderr
    )
    assert "not held out" not in al(*words_of(one_split, *SHARES, "training=lund", "study=t")).stderr


def test_choosing_by_the_labels_of_the_scored_images_is_said(al, one_split):
    """In the log of the run and in the report, and only of samplers that measure influence."""
    isal = ["model.influence.reference=test"]
    done = al(*words_of(one_split, *SHARES, *isal, "sampler=influence"))
    assert "influence chooses with the labels of the images that it is scored on (the test split)" in done.stderr
    (warning,) = [line for line in Story(read_study("outputs/s"), None, None).warnings if "scored on" in line]
    assert warning.startswith("influence") and "chose with the labels of the images that it is scored on" in warning
    jobs = jobs_of(words_of(one_split, *SHARES, "sampler=entropy,influence", *isal)[1:], many=True)
    assert [without_val.influence_reference(job.experiment) for job in jobs] == [None, "test"]
    [job] = jobs_of(words_of(one_split, *SHARES, "sampler=influence")[1:])
    assert without_val.influence_reference(job.experiment) == "val"


@pytest.mark.parametrize("evaluate", ["test", "val"])
def test_a_learner_is_told_of_the_images_that_rounds_are_scored_on(one_split, tmp_path, evaluate):
    spy, splits, _ = play(words_of(one_split, *SHARES, "sampler=influence", f"evaluate={evaluate}"), tmp_path / "r")
    assert [images.ids.tolist() for images in spy.scored] == [splits.scored(evaluate).ids.tolist()]


def test_evaluate_val_needs_a_val_that_all_seeds_share(tmp_path):
    root = write_yolo(tmp_path / "two", {"train": 30, "val": 6})

    def plan(*words):
        [job] = jobs_of(words_of(root, "evaluate=val", *words)[1:])
        return build.plan_rounds(job.experiment, build.load_dataset(job.config["dataset"]))

    with pytest.raises(DatasetError, match=r"there is no val split to score rounds on.*add dataset\.val=20%"):
        plan()
    assert plan("dataset.val=20%").evaluate == "val"
    with pytest.raises(ConfigError, match="each seed has others"):
        plan("dataset.val=20% of initial")


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (["evaluate=val"], [], "a has evaluate=val, b has evaluate=test"),
        ([], ["dataset.split_seed=1"], "the data of b is not that of a: image"),
    ],
)
def test_a_report_compares_no_runs_that_are_scored_on_other_images(al, one_split, one, other, said):
    al(*words_of(one_split, *SHARES, *one, "run_name=a"))
    assert ("scored on the val split" in Story(read_study("outputs/s"), None, None).subtitle()) == bool(one)
    al(*words_of(one_split, *SHARES, *other, "run_name=b"))
    assert said in al("report", "outputs/s", code=2).stderr


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("evaluate=test,val", "would be scored on test and"),
        ("dataset.split_seed=0,1", "would have other data, which no report compares: image"),
    ],
)
def test_a_study_that_no_report_would_compare_is_refused_before_it_starts(al, one_split, word, said):
    error = al(*words_of(one_split, *SHARES, word), "-m", code=2).stderr
    assert said in error and "study=NAME" in error
    assert not Path("outputs/s").exists()


def test_a_run_of_an_earlier_version_goes_on_under_the_new_words(al, tmp_path):
    root = write_yolo(tmp_path / "two", {"train": 20, "test": 6})
    words = words_of(root, "dataset.val=50% of initial", "run_name=r", "store=false", "training.keep_checkpoints=all")
    al(*words)
    folder = Path("outputs/s/r")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    now = RunFolder(folder).config()
    del config["evaluate"]
    for key in ("val", "test", "split_seed", "group"):
        del config["dataset"][key]
    config["dataset"]["holdout"] = 0.5
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert RunFolder(folder).config() == now
    whole = tree_bytes(folder, skip=("config.yaml", "timing.json", "environment.json", "run.log", "run.lock"))
    shutil.rmtree(folder / "round_01")
    al(*words)
    after = tree_bytes(folder)
    assert {name: after[name] for name in whole} == whole
    al("show", folder, "-n", "1")
    assert plan_replay(folder, []).job.config["dataset"]["val"] == "50% of initial"
    said = al(*words_of(root, "dataset.holdout=0.5", "run_name=r"), code=2).stderr
    assert "write dataset.val='50% of initial'" in said


def test_a_sweep_file_with_the_old_word_is_answered_with_the_new_one(al, one_split, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "source: me\nseeds: [0]\nbase: {dataset: yolo, dataset.holdout: 0.2, model: fake}\n"
        "arms: [{name: random, sampler: random}]\n"
    )
    said = al("sweep", "mine.yaml", f"dataset.root={one_split}", code=2).stderr
    assert "write dataset.val='20% of initial'" in said


def test_images_with_an_equal_copy_in_the_pool_do_not_validate():
    """Else they would be validated on here and trained on there."""
    images = [
        replace(image, content=f"bytes{image.id // 2}" if image.id < 20 else "") for image in random_dataset(40).images
    ]
    train = Dataset(CLASSES, tuple(images))
    splits = Splits("x", train, None, random_dataset(4, first_id=100))
    [job] = jobs_of(["model=fake", "dataset.val=30% of initial", "initial=20", "budget=5"])
    start = loop.opening(splits, build.plan_rounds(job.experiment, splits))
    assert len(start.heldout) == 6 and min(start.heldout) >= 20
    assert set(start.heldout) < set(start.order[:20])
    twins = Dataset(CLASSES, tuple(replace(image, content=f"{image.id // 2}") for image in images))
    with pytest.raises(ConfigError, match="only 0 of the 20 initial images have no equal copy"):
        build.plan_rounds(job.experiment, Splits("x", twins, None, splits.test))


def test_a_share_is_a_setting_of_the_name_and_a_place_is_not():
    words = ("dataset.val=20%", "dataset.val={images: a, annotations: b}")
    [share], [place] = (jobs_of(["dataset=coco", "dataset.root=.", word]) for word in words)
    assert "val20" in share.folder.name and "val" not in place.folder.name


def test_ids_with_gaps_serve_every_kind_of_round(one_split, tmp_path):
    for n, words in enumerate(
        (["budget_unit=boxes"], ["training.data=reselect"], ["sampler=ccms"], ["reference=true"])
    ):
        _, splits, records = play(words_of(one_split, *SHARES, *words), tmp_path / str(n))
        assert np.diff(splits.train.ids).max() > 1
        assert set(records[-1].labeled) <= set(splits.train.ids.tolist())
