"""The forecast says exactly how many trainings a study makes: followed, then run with the fake learner and counted."""

import json
import shutil
from pathlib import Path

import pytest
from shapes import write_yolo

from al_cli.experiment import compose
from al_cli.experiment.job import Job, jobs_of
from al_cli.experiment.run import run_job
from al_cli.records import RunFolder
from al_cli.store.disk import Store
from al_cli.sweep.forecast import Forecast, forecast

SCHEDULES = sorted(path.stem for path in (compose.shipped("conf") / "schedule").glob("*.yaml"))


@pytest.fixture
def few(tmp_path):
    """The words of a fake run on 20 images."""
    root = write_yolo(tmp_path / "few", {"train": 20, "test": 6})
    return ["dataset=yolo", f"dataset.root={root}", "model=fake", "study=s", "plots=false"]


def study_of(words: list[str]) -> list[Job]:
    return jobs_of(words, many=True)


def run_all(jobs: list[Job]) -> None:
    """In this process, which spares the start of others."""
    for job in jobs:
        run_job(job)


def trained(folder: Path) -> int:
    """How many trainings the rounds of these runs really made."""
    timings = (json.loads(path.read_text()) for path in folder.rglob("timing.json"))
    return sum(timing["store"]["misses"]["training"] for timing in timings)


STUDIES = {
    "schedules": ["sampler=ccms", f"schedule={','.join(SCHEDULES[::4])}", "training=thesis"],
    "samplers": ["sampler=random,half_random", "rounds=2"],
    "a pool that is not used up": ["sampler=random,ccms", "initial=4", "budget=3", "rounds=2"],
    "boxes": ["sampler=random,entropy", "budget_unit=boxes", "budget=0.1", "initial=4", "rounds=2"],
    "reselect": ["sampler=random,ccms", "training.data=reselect", "rounds=2"],
    "reselect, some held out": [
        "sampler=random,ccms",
        "training.data=reselect",
        "rounds=2",
        "dataset.val=30% of initial",
    ],
    "other last splits": ["sampler=ccms", "training=thesis", "rounds=2", "ud_split=[0.5,1],[0.5,0.5]"],
    "in the order of labeling": ["sampler=random,ccms", "training.shuffle=false", "rounds=2"],
    "references": ["sampler=random", "reference=true", "seed=0,1"],
    "without the store": ["sampler=random,entropy", "store=false", "rounds=1"],
}


@pytest.mark.parametrize("name", STUDIES)
def test_the_forecast_is_what_happens(al, few, name):
    """In each of these studies, histories determine the training sets; where they do not, see the next test."""
    words = [*few, *STUDIES[name]]
    jobs = study_of(words)
    before = forecast(jobs)
    assert not Path("outputs").exists()
    run_all(jobs)
    assert before.naive == len(list(Path("outputs/s").glob("*/round_*")))
    assert (before.done, before.stored) == (0, 0)
    assert before.naive == before.needed + before.shared
    if name == "without the store":
        assert before.needed == before.naive
        return
    assert before.needed == trained(Path("outputs/s"))
    assert before.needed == sum(1 for entry in Store("outputs/.store").entries() if entry.kind == "training")
    after = forecast(jobs)
    assert (after.done, after.needed) == (after.naive, 0)
    for job in jobs:
        shutil.rmtree(job.folder)
    again = forecast(jobs)
    assert (again.done, again.needed, again.stored) == (0, 0, before.needed)


def test_only_chance_makes_it_too_high(al, few):
    """Runs with different histories may choose the same images. Nobody can know that before: the forecast then counts each
    history, and is too high by exactly the number of histories less the number of different training sets."""
    words = [*few, "initial=16", "budget=1", "rounds=2", "sampler=ccms", "ud_split=[1,1],[1,0.5],[0.5,1],[0.5,0.5]"]
    jobs = study_of(words)
    before = forecast(jobs)
    run_all(jobs)
    histories, sets = set(), set()
    for job in jobs:
        for record in RunFolder(job.folder).records():
            histories.add(tuple(job.experiment.ud[: record.round + 1]))
            sets.add((record.round, frozenset(record.labeled)))
    assert before.needed == len(histories) == 1 + 2 + 4
    assert trained(Path("outputs/s")) == len(sets) < len(histories), "the test shows nothing if no two chose alike"


def test_the_forecast_of_the_thesis_grid_counts_its_prefixes(al, few):
    """12 UD schedules on a pool that the last round uses up: round 0, every distinct beginning of one to three rounds, and
    the whole pool are a training each; random shares the first and the last."""
    words = [*few, "seed=10,11", "rounds=4"]
    ccms = study_of([*words, "sampler=ccms", f"schedule={','.join(SCHEDULES)}"])
    random = study_of([*words, "sampler=random"])
    uds = [tuple(job.experiment.config["ud_split"]) for job in ccms if job.folder.name.endswith("s10")]
    assert len(uds) == 12
    beginnings = {ud[:length] for ud in uds for length in (1, 2, 3)}
    expected = forecast([*ccms, *random])
    assert (expected.naive, expected.needed) == (130, 2 * (1 + len(beginnings) + 3 + 1))


def test_forecast_in_the_middle_of_a_study(al, few):
    words = [*few, "sampler=ccms", f"schedule={','.join(SCHEDULES[::4])}"]
    jobs = study_of(words)
    whole = forecast(jobs)
    assert whole.seconds is None and "not known" in " ".join(whole.sentences())
    al("run", *few, "sampler=ccms", f"schedule={SCHEDULES[4]}")
    middle = forecast(jobs)
    assert middle.done == 5 and middle.needed == whole.needed - 5 > 0
    assert middle.seconds is not None and "with 2 processes" in " ".join(middle.sentences(2))
    run_all(jobs)
    assert trained(Path("outputs/s")) == 5 + middle.needed


def test_one_training_is_and_several_are():
    [line] = Forecast(naive=5, done=1, stored=2, shared=1, needed=1, seconds=None).sentences()[:1]
    assert line.endswith("1 is the same as one of these, 2 are in the store, 1 is done.")
