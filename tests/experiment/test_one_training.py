"""`rounds: 0`: a run of the initial training alone, and a study of such runs."""

from pathlib import Path

import pytest
from shapes import tree_bytes, with_words, write_yolo

from al_cli import budget
from al_cli.experiment.job import jobs_of
from al_cli.experiment.run import run_job
from al_cli.records import RunFolder
from al_cli.report.write import report_text


@pytest.fixture
def once(tmp_path):
    root = write_yolo(tmp_path / "few", {"train": 20, "test": 6})
    words = ["dataset=yolo", f"dataset.root={root}", "model=fake", "study=s", "plots=false", "sampler=entropy"]
    return [*words, "initial=4", "budget=2", "rounds=0"]


def test_amounts_of_one_training():
    assert budget.images_per_round(20, None, None, 0) == [20]
    assert budget.images_per_round(20, 0.2, None, 0) == [4]


@pytest.mark.parametrize("more", [[], ["budget_unit=boxes"], ["reference=true"]], ids=str)
def test_it_labels_trains_and_evaluates_once(al, once, more):
    said = al("run", *once, *more, "run_name=r").stderr
    [record] = RunFolder("outputs/s/r").records()
    assert record.images == (20 if "reference=true" in more else 4)
    assert "trains once, on" in said and "picks" not in said and "round 0 of 0" in said


def test_it_goes_on_as_a_run_that_had_the_rounds_from_the_start(al, once):
    for words in (once, with_words(once, "rounds=2")):
        al("run", *words, "run_name=r", "store=false")
    al("run", *with_words(once, "rounds=2"), "run_name=whole", "store=false")
    whole, grown = tree_bytes(Path("outputs/s/whole")), tree_bytes(Path("outputs/s/r"))
    assert {name: grown[name] for name in whole} == whole


def test_it_selects_nothing_that_could_be_replayed(al, once):
    al("run", *once, "run_name=r")
    assert "it has no active round" in al("replay", "outputs/s/r", code=2).stderr


def test_a_study_of_such_runs_compares_their_values(al, once):
    for kept in (4, 12):  # all have 16 labeled images, of which so many train
        for seed in range(2):
            words = with_words(once, "initial=16", f"seed={seed}")
            [job] = jobs_of(
                [*words, f"dataset.val='{100 - kept / 0.16:g}% of initial'", f"run_name=from{kept}_s{seed}"]
            )
            run_job(job)
    finals = {run.name: RunFolder(run).records()[0].metrics["AP"] for run in Path("outputs/s").iterdir()}
    gap = sum(finals[f"from12_s{seed}"] - finals[f"from4_s{seed}"] for seed in range(2)) / 2
    text = report_text("outputs/s")
    assert f"{-gap:+.2f} points of final AP" in text or f"{gap:+.2f} points of final AP" in text
    assert "p-values" in text and "AUC of AP against images: p-values" not in text
