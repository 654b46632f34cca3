"""From a sweep and the command line to runs: names, order, precedence, study.json, and mistakes before anything starts."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from al_cli.cli.main import make_parser
from al_cli.errors import AlError, ConfigError
from al_cli.experiment.job import jobs_of
from al_cli.pasted import as_text, path_word
from al_cli.records import RunFolder
from al_cli.records.study import StudyFile, read_study_file
from al_cli.sweep import study_file
from al_cli.sweep.check import require_comparable
from al_cli.sweep.file import parse_sweep, read_sweep
from al_cli.sweep.outcomes import Outcome, finish
from al_cli.sweep.plan import plan_study

CONTENT = {
    "source": "a test",
    "base": {"model": "fake", "rounds": 2, "training.iterations": 5},
    "seeds": [3, 1],
    "arms": [{"name": "half", "sampler": "ccms", "ud_split": 0.5}, {"name": "plain", "sampler": "entropy"}],
    "claim": {"arm": "half", "against": "random", "metric": "AUC", "cost": "boxes", "alpha": 0.05},
}


def planned(*words: str, **changes):
    return plan_study(replace(parse_sweep("mine", CONTENT | changes), typed="mine.yaml"), words)


def test_runs_are_named_and_ordered_arm_by_arm_with_the_reference_last():
    study = planned(reference=True)
    names = ["random_s3", "random_s1", "half_s3", "half_s1", "plain_s3", "plain_s1", "reference_s3", "reference_s1"]
    assert [str(job.folder) for job in study.jobs] == [f"outputs/mine/{name}" for name in names]
    assert [job.config["seed"] for job in study.jobs] == [3, 1] * 4
    assert [job.config["reference"] for job in study.jobs] == [False] * 6 + [True] * 2
    assert [job.rounds for job in study.jobs] == [3] * 6 + [1] * 2
    assert {job.config["training"]["iterations"] for job in study.jobs} == {5}
    assert study.jobs[2].config["ud_split"] == 0.5 and study.jobs[0].config["ud_split"] is None


def test_the_command_line_wins_and_speaks_to_the_sweep():
    study = planned(
        "training.iterations=9", "seeds=[7]", "arms=[plain]", "reference=true", "study=quick", "outputs=there"
    )
    assert [str(job.folder) for job in study.jobs] == ["there/quick/plain_s7", "there/quick/reference_s7"]
    assert {job.config["training"]["iterations"] for job in study.jobs} == {9}
    assert planned("reference=false", "seeds=4", "arms=half", reference=True).jobs[-1].folder.name == "half_s4"


MISTAKES = {
    "seed=3": ["seed cannot be set", "seeds=[...]"],
    "run_name=x": ["run_name cannot be set"],
    "seeds=0,1": ["several values", "seeds=[0,1]"],
    "seeds=[a]": ["whole numbers"],
    "arms=[haff]": ["no arm haff", "did you mean half?"],
    "arms=[]": ["nothing to run"],
    "budget=0": ["arm random: budget is 0"],
    "smapler=ccms": ["arm random: there is no setting called smapler", "did you mean sampler?"],
    "dataset=yolo": ["dataset.root is not given", "dataset.root=..."],
    "reference=maybe": ["reference is 'maybe'"],
    "just_a_word": ["key=value"],
}


def test_a_claim_is_of_the_task_that_its_dataset_brings():
    """A report would refuse it, after all trainings."""
    base, claim = CONTENT["base"] | {"dataset": "digits_images"}, CONTENT["claim"]
    arms = [{"name": "half", "sampler": "entropy"}]
    assert planned(base=base, arms=arms, claim=claim | {"metric": "AUC of F1", "cost": "images"}).jobs
    with pytest.raises(ConfigError, match="'AP50' is no metric of a claim on task classification"):
        planned(base=base, arms=arms, claim=claim | {"metric": "AP50", "cost": "images"})
    with pytest.raises(ConfigError, match="'boxes' is no cost of task classification"):
        planned("dataset=digits_images", arms=arms)


def test_runs_of_two_tasks_are_no_study():
    jobs = jobs_of(["model=fake", "dataset=digits,digits_images", "study=s"], many=True)
    with pytest.raises(
        ConfigError, match=r"would be of task detection and .* of classification, which no report compares"
    ):
        require_comparable(jobs, {})
    require_comparable([replace(job, folder=Path(f"outputs/{i}/r")) for i, job in enumerate(jobs)], {})


@pytest.mark.parametrize("word", MISTAKES)
def test_a_mistake_is_one_sentence(word):
    with pytest.raises(AlError) as caught:
        planned(word)
    for words in MISTAKES[word]:
        assert words in str(caught.value)


def test_arms_that_are_not_run_may_be_the_same():
    """With this, half and plain would be; one of them runs."""
    same = ["sampler=ccms", "schedule=null", "ud_split=0.5"]
    assert {job.arm for job in planned(*same, "arms=[plain]").jobs} == {"plain"}
    with pytest.raises(ConfigError, match=r"half and plain are the same with what the command line sets"):
        planned(*same, "arms=[half,plain]")


def test_an_unknown_sampler_and_a_bad_split_name_their_arm():
    with pytest.raises(ConfigError, match=r"arm a: there is no sampler called cmms .*did you mean ccms"):
        planned(arms=[{"name": "a", "sampler": "cmms"}], claim=None)
    with pytest.raises(ConfigError, match="arm a: ud_split has 3 values for 2 active rounds"):
        planned(arms=[{"name": "a", "sampler": "ccms", "ud_split": [1, 1, 1]}], claim=None)


@pytest.mark.parametrize("words", [["mine.yaml"], ["mine.yaml", "--jobs", "0"], ["nowhere"], []])
def test_the_verb_ends_with_2_and_writes_nothing(al, words):
    (al.cwd / "mine.yaml").write_text("{base: {model: fake}, arms: [{name: a, sampler: cmms}]}")
    done = al("sweep", *words, code=2)
    assert done.stderr.startswith("al: ") and done.stderr.count("\n") == 1
    assert not list(al.cwd.glob("outputs*"))


@pytest.fixture(scope="module")
def whole():
    return planned(reference=True)


def test_study_json_says_what_the_study_is(tmp_path, whole):
    study_file.write(replace(whole, folder=tmp_path), lambda: "2026-01-01T10:00:00+01:00", lambda jobs: (0, 0))
    content = json.loads((tmp_path / "study.json").read_text())
    assert (content["name"], content["source"], content["seeds"], content["reference"]) == (
        "mine",
        "a test",
        [1, 3],
        True,
    )
    assert [arm["name"] for arm in content["arms"]] == ["random", "half", "plain"]
    assert {"sampler=ccms", "ud_split=0.5", "model=fake"} <= set(content["arms"][1]["overrides"])
    assert content["claim"] == CONTENT["claim"]
    assert content["claim_written_at"] == content["written_at"] == "2026-01-01T10:00:00+01:00"
    assert content["command"] == "al sweep mine.yaml"


def test_a_claim_keeps_its_time_until_it_changes(tmp_path, whole):
    def written(claim, time):
        study = replace(whole, folder=tmp_path, sweep=replace(whole.sweep, claim=claim))
        return study_file.write(study, lambda: time, lambda jobs: (0, 0)).claim_written_at

    claim = CONTENT["claim"]
    assert written(claim, "first") == written(claim, "second") == "first"
    assert written(claim | {"alpha": 0.01}, "third") == "third"
    assert written(None, "fourth") is None


def test_a_study_run_in_parts_lists_what_has_runs(tmp_path, whole):
    def written(arms, seeds):
        some = tuple(arm for arm in whole.arms if arm.name in arms)
        part = replace(whole, folder=tmp_path, arms=some, seeds=seeds, reference=False)
        content = study_file.write(replace(part, sweep=replace(whole.sweep, claim=None)))
        return list(content.arms), list(content.seeds), content.reference

    written(["plain"], (3,))
    (tmp_path / "plain_s3").mkdir()
    assert written(["half"], (5,)) == (["half", "plain"], [3, 5], False)
    assert written(["random"], (3,)) == (["random", "plain"], [3], False)  # of half_s5 there is no run
    (tmp_path / "reference_s3").mkdir()
    assert written(["random"], (3,)) == (["random", "plain"], [3], True)


def test_a_broken_study_json_is_named(tmp_path):
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(AlError, match=r"study.json cannot be read.*delete it"):
        read_study_file(tmp_path)
    assert read_study_file(tmp_path / "nowhere") == StudyFile()


ODD_FOLDERS = ["my set=(v1)", "it's", "a,b [c]", "-x", "~x"]


@pytest.mark.parametrize("name", ODD_FOLDERS)
def test_what_is_printed_of_a_study_can_be_pasted(al, name, capsys):
    """The command in study.json gives the same runs, and the lines at the end name the folders, whatever they are called."""
    (al.cwd / f"{name}.yaml").write_text("{base: {model: fake, rounds: 1}, arms: [{name: e, sampler: entropy}]}")
    words = [f"study={as_text(name)}", f"outputs={as_text(path_word(name))}"]
    study = plan_study(read_sweep(path_word(f"{name}.yaml")), words)
    again = make_parser().parse_args(shlex.split(study.command)[1:])
    assert plan_study(read_sweep(again.name), again.overrides).folder == study.folder
    assert study.folder.absolute() == al.cwd / name / name

    with RunFolder.create(Path(name, name, "e_s0"), study.jobs[0].experiment.recorded, {}) as run:
        finish([Outcome(run.path, [])])
    lines = [line.partition("al ")[2] for line in capsys.readouterr().out.splitlines() if "  al " in line]
    named = [make_parser().parse_args(shlex.split(line)) for line in lines]
    assert [args.run.absolute() for args in named[:1]] == [al.cwd / name / name / "e_s0"]
    assert [args.study.absolute() for args in named[1:]] == [al.cwd / name / name]
