"""A run with `stop` ends after the round that reaches the value: at the same one, with the same bytes, whatever happened."""

import shutil
from pathlib import Path

import pytest
from shapes import tree_bytes, with_words, write_yolo

from al_cli.errors import RunError
from al_cli.experiment.job import jobs_of
from al_cli.experiment.replay import plan_replay
from al_cli.experiment.run import run_job
from al_cli.records import RunFolder
from al_cli.records.settings import config_text
from al_cli.report.statistics.curves import Target
from al_cli.report.study import curves_of, find_missing, read_study
from al_cli.report.write import report_text, target_of
from al_cli.sweep.check import check_jobs
from al_cli.sweep.forecast import forecast
from al_cli.tasks.detection import TASK

RUN, PLAIN = Path("outputs/s/r"), Path("outputs/s/plain")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The words of a fake run on 20 images whose AP is 2.6, 12.4, 17.5, 28.5, 24.2 and 31.9 after rounds 0 to 5; and a folder
    with that run, `plain`, with one that stops at 20, `r`, and with the store of both."""
    folder = tmp_path_factory.mktemp("made")
    root = write_yolo(folder / "few", {"train": 20, "test": 6})
    words = ["dataset=yolo", f"dataset.root={root}", "model=fake", "study=s", "plots=false", "sampler=entropy"]
    words += ["initial=4", "budget=2", "rounds=5"]
    for more in (["run_name=plain"], ["run_name=r", "stop.at=20"]):
        [job] = jobs_of([*words, f"outputs={folder / 'outputs'}", *more])
        run_job(job)
    return words, folder / "outputs"


@pytest.fixture
def few(made):
    return made[0]


@pytest.fixture
def runs(al, made):
    """`al` where these runs lie."""
    shutil.copytree(made[1], "outputs")
    return al


def aps(run: Path) -> list[float]:
    return [record.metrics["AP"] for record in RunFolder(run).records()]


def rounds_of(run: Path, until: int) -> dict[str, bytes]:
    """What the rounds up to this one hold, the weights left out: only those of the last one are kept."""
    names = [f"round_0{number}" for number in range(until + 1)]
    return {k: v for k, v in tree_bytes(run).items() if k.startswith(tuple(names)) and not k.endswith(".pth")}


def test_a_run_ends_after_the_first_round_that_reaches_the_value(runs, few):
    """By hand: the first round of an equal run without `stop` whose AP is at least 20. It is done, and nothing is missing."""
    last = next(number for number, ap in enumerate(aps(PLAIN)) if ap >= 20)
    assert 0 < last < 5
    said = runs("run", *few, "run_name=r", "stop.at=20").stderr
    assert f"r is done already (stopped at AP {aps(PLAIN)[last]:.2f} >= 20 after round {last})" in said
    assert f"stopped at AP {aps(PLAIN)[last]:.2f} >= 20 after round {last}" in (RUN / "run.log").read_text()
    assert aps(RUN) == aps(PLAIN)[: last + 1] and rounds_of(RUN, 5) == rounds_of(PLAIN, last)
    assert (RUN / f"round_0{last}/checkpoint.pth").is_file() and not (RUN / "round_00/checkpoint.pth").exists()
    assert RunFolder(RUN).state == "done" and f"{last + 1}/{last + 1}" in runs("ls").stdout
    study = read_study("outputs/s")
    assert not find_missing(study)
    assert "all matches: 1 run, 4 rounds" in runs("verify", RUN).stdout


def test_a_metric_of_choice_and_boxes(al, few):
    words = with_words(few, "run_name=r", "stop.metric=AP50", "stop.at=50", "budget_unit=boxes", "budget=5", "rounds=4")
    al("run", *words)
    values = [record.metrics["AP50"] for record in RunFolder(RUN).records()]
    assert values[-1] >= 50 and all(value < 50 for value in values[:-1]) and 1 < len(values) < 5


def test_a_run_that_was_killed_or_broken_ends_with_the_same_bytes(runs, few):
    words = ["run", *few, "run_name=r", "stop.at=20", "store=false"]
    whole = tree_bytes(RUN)
    shutil.rmtree(RUN / "round_02")
    shutil.rmtree(RUN / "round_03")
    (RUN / "round_00/record.json").write_text("broken")
    runs(*words)
    after = tree_bytes(RUN)
    assert {name: after[name] for name in whole} == whole


def test_a_higher_value_or_none_goes_on_and_a_lower_one_is_refused(runs, few):
    before = tree_bytes(RUN)
    refused = runs("run", *few, "run_name=r", "stop.at=15", code=2)
    assert "this run has 4 rounds, and would have stopped at AP 17.53 >= 15 after round 2" in refused.stderr
    assert tree_bytes(RUN) == before and RunFolder(RUN).state == "done"
    runs("run", *few, "run_name=r", "stop.at=28")
    assert len(aps(RUN)) == 4 and RunFolder(RUN).state == "done", "another one that ends it at the same round"
    runs("run", *few, "run_name=r")
    assert aps(RUN) == aps(PLAIN) and rounds_of(RUN, 5) == rounds_of(PLAIN, 5)


def test_rounds_after_a_stop_that_came_earlier_are_kept_aside(runs, few):
    """As where a round was made again on another machine, and reaches the value now."""
    config = PLAIN / "config.yaml"
    config.write_text(config.read_text().replace("\n  at: null", "\n  at: 20.0"))
    assert "the run goes on, and by its configuration stopped at AP 28.51" in runs("verify", PLAIN, code=1).stdout
    (PLAIN / "done.json").unlink()
    runs("run", *few, "run_name=plain", "stop.at=20")
    assert len(aps(PLAIN)) == 4 and (PLAIN / "round_04.orphan").is_dir() and (PLAIN / "round_05.orphan").is_dir()
    assert (PLAIN / "round_03/checkpoint.pth").is_file(), "the last round keeps its weights"


def test_the_name_does_not_say_how_far_a_run_goes(few):
    [one], [other] = jobs_of(few), jobs_of(with_words(few, "stop.at=20", "rounds=6"))
    assert one.folder == other.folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stop.metric=mAP", "stop.at=20"], "stop.metric is 'mAP': did you mean AP? valid: AP, "),
        (["stop.metric=AP"], "does not say at which value"),
        (["stop.at=101"], "up to 100"),
        (["stop.at=0.3"], "in percent, from 1"),
        (["stop.at=-1"], "from 1"),
        (["stop.at=many"], "give a number"),
        (["stop.metric=ap50", "stop.at=20"], "did you mean AP50? valid: AP, "),
        (["stop=20"], "give stop.at=VALUE (null: no stop), or stop.metric=NAME too"),
        (
            ["stop={at: 20, value: 3}"],
            "there is no setting called stop.value (stop={at: 20, value: 3}): did you mean stop.at?",
        ),
        (["stop=20", "stop.at=20"], "stop=20 takes the place of all settings of stop, so stop.at cannot be set"),
    ],
)
def test_what_no_run_can_stop_at_is_refused(al, few, words, said):
    refused = al("run", *few, *words, code=2).stderr
    assert said in refused and not Path("outputs").exists()


def test_a_reference_ignores_it(al, few):
    words = [*few, "reference=true", "run_name=r"]
    al("run", *words, "stop.at=20")
    assert RunFolder(RUN).total_rounds == 1 and "stopped" not in al("run", *words, "stop.at=90").stderr


def test_the_forecast_says_at_most_until_records_or_the_store_know(al, few, made):
    jobs = jobs_of([*few, "run_name=r", "stop.at=20"])
    before = forecast(jobs)
    assert (before.naive, before.needed, before.sure) == (6, 6, False)
    assert before.sentences()[0].startswith("At most 6 trainings")
    assert "at most 5" in al("run", "--dry-run", *few, "stop.at=20").stdout
    shutil.copytree(made[1], "outputs")
    after = forecast(jobs)
    assert (after.naive, after.done, after.needed) == (4, 4, 0)
    shutil.rmtree(RUN)
    known = forecast(jobs)  # the store has the same rounds
    assert (known.naive, known.stored, known.needed, known.sure) == (4, 4, 0, True)


def test_a_replay_of_a_stopped_run_has_its_rounds(runs):
    [job] = jobs_of(["model=fake", "training.iterations=60", "training.iterations_per=run", "rounds=5"])
    config = RunFolder(RUN).config() | {"training": job.config["training"]}
    (RUN / "config.yaml").write_text(config_text(config))
    said = runs("replay", RUN, "study=again", "plots=false").stderr
    assert "of 6 rounds so far" not in said
    [again] = Path("outputs/again").iterdir()
    assert aps(again) == aps(RUN)
    training = RunFolder(again).config()["training"]
    assert (training["iterations"], training["iterations_per"]) == (10, "round"), "each training as long as it was"


def test_several_runs_are_refused_before_any_begins_where_one_has_gone_further(runs, few):
    """Like one run; its dry run found nothing wrong."""
    jobs = [jobs_of([*few, f"run_name={name}", "stop.at=10"])[0] for name in ("new", "plain")]
    with pytest.raises(RunError, match=r"^plain: this run has 6 rounds, and would have stopped at AP 12.37 >= 10"):
        check_jobs(jobs, ["new", "stopped"])


def test_a_value_that_the_last_round_reaches_ended_nothing_early(runs):
    config = PLAIN / "config.yaml"
    config.write_text(config.read_text().replace("at: null", "at: 30"))
    study = read_study("outputs/s")
    assert [curve.stopped for curve in curves_of(study.runs, study.task)] == ["", "AP 20"]


def test_a_replay_to_another_stop_is_the_same_run(runs):
    shutil.copytree(PLAIN, "outputs/s/at5_s0")
    plain, *to = [plan_replay(Path("outputs/s/at5_s0"), words).job for words in ([], ["stop.at=10"], ["stop.at=20"])]
    assert {job.folder for job in to} == {plain.folder} and plain.name == "at5_s0"
    assert to[0].experiment.last_in_words == "at most 5"


def test_the_report_compares_what_runs_that_stopped_needed(runs, few):
    assert target_of(read_study("outputs/s"), None) == Target(TASK.metric("AP"), 20.0), "plain, too, may reach it"
    shutil.rmtree(PLAIN)
    runs("run", *with_words(few, "sampler=random", "stop.at=20", "budget=1", "rounds=9", "run_name=random"))
    assert len(aps(RUN)) != len(aps(Path("outputs/s/random")))
    study = read_study("outputs/s")
    assert target_of(study, None) == Target(study.task.metric("AP"), 20.0)
    text = report_text("outputs/s")
    assert "labels to AP 20" in text and "2 of 2 runs stopped at AP 20, so their final values say little" in text
    assert "stopped with" not in text
