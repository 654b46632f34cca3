"""`initial: 0`: nothing is labeled before the first selection, which the starting weights make (Lund, algorithm 1)."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from shapes import tree_bytes, with_words, write_yolo

from al_cli import budget
from al_cli.errors import ConfigError
from al_cli.experiment import build
from al_cli.experiment.job import jobs_of
from al_cli.experiment.run import run_job
from al_cli.learners.fake import FakeLearner
from al_cli.records import RunFolder
from al_cli.report.statistics.warnings import unequal_starts
from al_cli.report.study import curves_of, find_missing, read_study
from al_cli.rng import rng_for
from al_cli.sweep.forecast import forecast
from al_cli.types import Request, Signal

RUN = Path("outputs/s/r")


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    root = write_yolo(tmp_path_factory.mktemp("few"), {"train": 20, "test": 6})
    words = ["dataset=yolo", f"dataset.root={root}", "model=fake", "study=s", "plots=false", "sampler=entropy"]
    return [*words, "initial=0", "budget=3", "rounds=2", "run_name=r"]


@pytest.fixture(scope="module")
def made(few, tmp_path_factory):
    """A folder with the run of these words and its store."""
    outputs = tmp_path_factory.mktemp("made") / "outputs"
    [job] = jobs_of([*few, f"outputs={outputs}"])
    run_job(job)
    return outputs


@pytest.fixture
def there(al, made):
    """`al` where that run lies."""
    shutil.copytree(made, "outputs")
    return al


def run(words):
    [job] = jobs_of(words)
    run_job(job)
    return job.experiment, build.load_dataset(job.config["dataset"]), RunFolder(job.folder)


@pytest.mark.parametrize(("amounts", "sizes"), [((0, 3, 2), [3, 3, 3]), ((0, None, 3), [5, 5, 5, 5]), ((0, 0.2, 1), [4, 4]),
                                                ((0, None, 0), [20])])  # fmt: skip
def test_every_round_has_a_budget(amounts, sizes):
    assert budget.images_per_round(20, *amounts) == sizes


def test_the_starting_weights_choose_round_0(there, few):
    """By hand: an untrained fake, its predictions of the whole pool, and the sampler asked for three of them."""
    experiment, splits, folder = run(few)
    plan, learner, ids = build.plan_rounds(experiment, splits), FakeLearner(splits.train.class_names), splits.train.ids
    learner.state = {"counts": [0] * 3, "seed": plan.training_seed(0)}
    table = learner.infer(splits.train, frozenset({Signal.PROBS}))
    rng = rng_for(plan.seeds.sampling, 0, "sampling")
    choice = experiment.strategy.select(Request(ids.tolist(), lambda ids, _: table.select(ids), 3, rng))
    first, _, third = folder.records()
    assert first.picked == tuple(choice.selection.ids.tolist()) == first.labeled
    assert first.scores == tuple(choice.selection.scores.tolist()) and None not in first.scores
    assert [stage.name for stage in first.stages] == ["entropy -> top"] and len(third.labeled) == 9
    rows = pd.read_csv(RUN / "round_00/candidates.csv")
    assert len(rows) == 20 and set(rows.image_id[rows.outcome == "picked"]) == set(first.picked)
    assert rows.score[rows.outcome == "picked"].min() >= rows.score[rows.outcome != "picked"].max()
    learner.fit(splits.train.select(first.picked), val=None, seed=plan.training_seed(0), init=None)
    now = learner.infer(splits.test)
    assert np.array_equal(folder.predictions(0).scores, now.scores), "then trained on these three, from the start again"


def test_a_run_that_was_killed_in_round_0_ends_with_the_same_bytes(there, few):
    """With the store and then without: it changes no byte."""
    whole = tree_bytes(RUN)
    for gone in ("round_00/record.json", "round_01", "round_02"):
        (RUN / gone).unlink() if gone.endswith("json") else shutil.rmtree(RUN / gone)
    run([*few, "store=false"])
    assert tree_bytes(RUN) == whole


def test_the_forecast_follows_it_through_the_store(al, few):
    jobs = [
        jobs_of(with_words(few, f"sampler={name}", f"run_name={name}", "rounds=1"))[0] for name in ("entropy", "random")
    ]
    before = forecast(jobs)
    assert (before.naive, before.needed) == (4, 4)
    assert not Path("outputs").exists()
    for job in jobs:
        run_job(job)
    shutil.rmtree("outputs/s")
    assert (forecast(jobs).stored, forecast(jobs).needed) == (4, 0)


def test_arms_that_choose_first_have_no_unequal_starts(al, few):
    for name in ("entropy", "random"):
        run(with_words(few, f"sampler={name}", f"run_name={name}", "rounds=1"))
    study = read_study("outputs/s")
    curves = curves_of(study.runs, study.task)
    assert study.first_choice == 0 and not find_missing(study)
    assert curves[0].metrics["AP"][0] != curves[1].metrics["AP"][0]
    assert not unequal_starts(curves, study.task.primary, {})


def test_a_replay_labels_the_same_images(there, few):
    *_, folder = run(few)
    there("replay", RUN, "study=again", "plots=false")
    [again] = Path("outputs/again").iterdir()
    for one, other in zip(folder.records(), RunFolder(again).records(), strict=True):
        assert one.picked == other.picked and one.metrics == other.metrics
    assert "all matches: 1 run, 3 rounds" in there("verify", RUN).stdout


def test_boxes_and_a_split_for_each_selection(al, few):
    *_, folder = run(with_words(few, "sampler=ccms", "ud_split=[1,0.5,0]", "budget_unit=boxes", "budget=6"))
    records = folder.records()
    assert [record.ud for record in records] == [1, 0.5, 0]
    pool = pd.read_csv(RUN / "round_00/selection.csv")
    assert pool.boxes.sum() >= 6 > pool.boxes[:-1].sum()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sampler=coreset"], "sampler coreset compares with the labeled images, and nothing is labeled"),
        (["sampler=discriminative"], "compares with the labeled images"),
        (["sampler=influence"], "measures influence with the labeled images"),
        (
            ["sampler=gradient_similarity", "dataset.val=20%"],
            "measures influence with the labeled images",
        ),
        (["sampler=learning_loss"], "learns with the model"),
        (["dataset.val=20% of initial"], "there are no initial images"),
        (["sampler=imported", "sampler.file=picks.csv"], "the file decides"),
        (["sampler=ccms", "ud_split=[1,0]"], "2 values for 2 active rounds and round 0"),
        (["budget=false"], "budget is false: give a count of images (1, 2"),
        (["initial=-1"], "initial is -1: give a count of images (0, 1, 2"),
        (["initial=0.0"], "initial is 0.0: give a count"),  # else the same run would have two folders
        (["seeds.initial=7"], "seeds.initial would do nothing"),
    ],
)
def test_what_could_not_choose_is_refused_in_the_first_second(few, words, said):
    with pytest.raises(ConfigError) as error:
        jobs_of(with_words(few, *words))
    assert said in str(error.value)


def test_a_single_round_is_one_training_that_the_starting_weights_chose_for(al, few):
    said = al("run", *with_words(few, "rounds=0")).stderr
    assert "entropy picks, fake trains once, on 3 images chosen by the starting weights" in said


def test_a_reference_labels_everything_all_the_same(al, few):
    *_, folder = run([*few, "reference=true"])
    assert len(folder.records()[0].labeled) == 20 and folder.records()[0].stages[0].name == "initial"
