"""A claim is sealed with its runs before the first record; what it is held to is what study.json says, in every copy."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from shapes import write_yolo

from al_cli.experiment.run import run_job
from al_cli.records.study import read_study_file
from al_cli.report import write
from al_cli.sweep import study_file
from al_cli.sweep.file import parse_sweep
from al_cli.sweep.plan import plan_study

CLAIM = {"arm": "e", "against": "random", "metric": "AUC", "cost": "images", "alpha": 0.05}
CONTENT = {
    "base": {"model": "fake", "rounds": 1, "initial": 4, "budget": 4, "dataset": "yolo", "plots": False},
    "seeds": [0, 1],
    "arms": [{"name": "e", "sampler": "entropy"}],
    "claim": CLAIM,
}


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    """Plans the sweep above on 20 images, each plan once: that takes a while."""
    root = write_yolo(tmp_path_factory.mktemp("few") / "few", {"train": 20, "test": 6})
    made = {}

    def plan(*words: str, **changes):
        if (key := json.dumps([words, changes])) not in made:
            made[key] = plan_study(parse_sweep("mine", CONTENT | changes), [f"dataset.root={root}", *words])
        return made[key]

    return plan


@pytest.fixture
def planned(al, plans):
    """The same in a folder of its own."""
    return plans


def sealed(study, time="2026-01-01T10:00:00+01:00", known=(0, 0)):
    return study_file.write(study, lambda: time, lambda jobs: known).seal


def begin(study, name="e_s0"):
    """One finished round of a run, as far as sealing looks."""
    (study.folder / name / "round_00").mkdir(parents=True)
    (study.folder / name / "round_00" / "record.json").write_text("{}")


def test_the_seal_has_all_arms_seeds_and_rounds_also_where_a_part_runs(planned):
    seal = sealed(planned("arms=[e]", "seeds=[1]"))
    assert (list(seal.arms), seal.seeds, seal.rounds) == (["random", "e"], (0, 1), {"random": 2, "e": 2})
    assert seal.claim == CLAIM and seal.intact and seal.records == 0
    assert {"sampler=entropy", "budget=4"} <= set(seal.arms["e"])
    assert not any("dataset.root" in word or "study=" in word for word in seal.arms["e"])
    assert sealed(planned("seeds=[5,6]")).seeds == (5, 6), "no record yet: seeds that the file does not name are meant"


def test_a_seal_stays_once_records_exist(planned):
    first = sealed(planned())
    assert sealed(planned(), "later", known=(9, 9)) == first
    begin(planned())
    assert sealed(planned("seeds=[0,1,2]"), "later") == first, "a seed that is added later is not sealed"
    changed = sealed(planned(claim=CLAIM | {"alpha": 0.1}), "later")
    assert (changed.records, changed.written_at) == (1, "later")


def test_seeds_that_change_before_the_first_record_are_sealed_again(planned):
    first = sealed(planned())
    again = sealed(planned(seeds=[0, 1, 2]), "later")
    assert (again.seeds, again.written_at) == ((0, 1, 2), "later") and again.sealed != first.sealed


def test_an_arm_with_other_settings_than_sealed_is_noted_for_good(planned):
    sealed(planned())
    begin(planned())
    elsewhere = planned("tracking=null", "store=false")
    sealed(elsewhere)
    assert read_study_file(elsewhere.folder).changed == ()
    sealed(planned(arms=[{"name": "e", "sampler": "margin"}]))
    sealed(planned())
    assert read_study_file(elsewhere.folder).changed == ("e",)


def test_a_study_of_an_earlier_version_keeps_its_claim_without_a_seal(planned):
    study = planned()
    sealed(study)
    path = study.folder / "study.json"
    old = json.loads(path.read_text())
    del old["seal"], old["changed"]
    path.write_text(json.dumps(old))
    begin(study)
    content = study_file.write(study, lambda: "later", lambda jobs: (0, 0))
    assert content.seal is None and content.claim_written_at == "2026-01-01T10:00:00+01:00"


def test_a_claim_of_what_the_store_knows_says_so_in_every_copy(planned):
    """The hole that was: a claim written for results already seen, in a study whose trainings all come from the store."""
    for job in planned("study=seen").jobs:
        run_job(job)
    fresh, seen = planned(seeds=[7]), planned()
    assert study_file.write(fresh).seal.stored == 0
    shutil.rmtree(fresh.folder)
    seal = study_file.write(seen).seal
    made = len(list(Path("outputs/.store/training").glob("*/*")))
    assert seal.stored == seal.trainings == made
    assert study_file.write(replace(planned("store=false"), folder=Path("outputs/none"))).seal.stored is None
    for job in seen.jobs[:3]:
        run_job(job)
    text = write.report_text(seen.folder)
    assert f"{made} of its {made} trainings were in the store by then" in text
    assert "Interim, so there is no verdict: 1 of the 2 sealed seeds are complete, 1 not." in text
    shutil.copytree(seen.folder, "copy/mine")
    for path in Path("copy").rglob("*"):
        os.utime(path, (0, 0))
    assert write.report_text(Path("copy/mine")) == text


def test_a_margin_may_be_sealed_and_another_one_is_another_claim(planned):
    seal = sealed(planned(claim=CLAIM | {"margin": 0.5}))
    assert seal.claim["margin"] == 0.5 and seal.intact
    begin(planned())
    assert sealed(planned(claim=CLAIM | {"margin": 2}), "later").records == 1
