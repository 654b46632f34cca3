"""Overrides of one arm, and those that would turn the arm `random` into something else."""

import json
from dataclasses import replace

import pytest

from al_cli.cli.completion import complete
from al_cli.errors import AlError
from al_cli.sweep import study_file
from al_cli.sweep.file import parse_sweep
from al_cli.sweep.plan import asked_of, plan_study

BASE = {"model": "fake", "rounds": 2, "initial": 4, "budget": 4}
ARMS = {
    "base": BASE,
    "arms": [{"name": "half", "sampler": "ccms", "ud_split": 0.5}, {"name": "plain", "sampler": "entropy"}],
}
CROSSED = {"base": BASE, "hydra": {"sweeper": {"params": {"sampler": "ccms,ccms_coords", "ud_split": "0.5,1"}}}}


def planned(*words: str, content=ARMS):
    return plan_study(replace(parse_sweep("mine", content), typed="mine.yaml"), words)


def by_arm(study):
    return {job.arm: job.config for job in study.jobs}


def test_an_override_reaches_its_arm_alone_and_wins_over_that_of_all(tmp_path):
    words = ["budget=5", "arms.half.budget=6", "arms.half.ud_split=[1,0]", "arms.plain.sampler=ccms_coords"]
    study = planned(*words, "arms.half.model.overrides.fit_s=0")
    runs = by_arm(study)
    assert {arm: run["budget"] for arm, run in runs.items()} == {"random": 5, "half": 6, "plain": 5}
    assert [runs[arm]["sampler"]["name"] for arm in runs] == ["random", "ccms", "ccms_coords"]
    assert runs["half"]["ud_split"] == [1, 0] and runs["half"]["model"]["overrides"] == {"fit_s": 0}
    assert runs["plain"]["model"]["overrides"] == {}
    study_file.write(replace(study, folder=tmp_path))
    content = json.loads((tmp_path / "study.json").read_text())
    assert content["command"].startswith("al sweep mine.yaml budget=5 arms.half.budget=6 'arms.half.ud_split=[1,0]'")
    assert {"budget=6", "ud_split=[1,0]"} <= set(content["arms"][1]["overrides"])


def test_it_goes_with_a_choice_of_arms_and_with_names_that_hold_dots():
    assert by_arm(planned("arms=[plain]", "arms.plain.rounds=3"))["plain"]["rounds"] == 3
    runs = asked_of(parse_sweep("mine", CROSSED), ["arms.ccms_ud0.5.rounds=3", "arms.ccms_ud1.budget=5"]).runs
    assert [arm.name for arm in runs if "rounds=3" in arm.overrides] == ["ccms_ud0.5"]
    assert [arm.name for arm in runs if "budget=5" in arm.overrides] == ["ccms_ud1"]


MISTAKES = {
    ("arms.haff.budget=5",): ["no arm haff", "did you mean half?"],
    ("arms.half=5",): ["names no setting of the arm half", "arms.half.sampler=ccms"],
    ("arms.half.smapler=ccms",): ["arm half: there is no setting called smapler"],
    ("arms.plain.sampler.stages.0.score.aggregat=sum",): [
        "arm plain: there is no setting called sampler.stages.0.score.aggregat (sampler.stages.0.score.aggregat=sum)",
        "did you mean sampler.stages.0.score.aggregate?",
    ],
    ("arms.half.budget=5", "arms.half.budget=6"): ["arm half: budget is given twice"],
    ("arms.half.budget=5,6",): ["arm half: budget=5,6 names several values"],
    ("arms.half.seed=5",): ["arm half sets seed, which the sweep sets for each run", "seeds: [...]"],
    ("arms.half.hydra.searchpath=[x]",): ["arm half sets hydra.searchpath, which a sweep cannot"],
    ("arms=[plain]", "arms.half.budget=5"): ["arms.half.budget=5 would do nothing", "add half to arms=[...]"],
    ("arms.plain.sampler=ccms", "arms.plain.ud_split=0.5"): ["half and plain are the same", "arms.plain.ud_split=0.5"],
    ("sampler=coreset",): ["sampler=coreset would reach the arm random", "arms.half.sampler=coreset"],
    ("sampler.stages.0.keep=budget",): ["would reach the arm random", "arms.half.sampler.stages.0.keep=budget"],
    ("schedule=diversity",): ["would reach the arm random", "(arms=[half,...])", "copy of the sweep's file"],
    ("ud_split=0.3",): ["would reach the arm random"],
    ("sampler=ccms", "arms=[random]"): ["would reach the arm random"],
    ("arms.random.sampler=ccms",): ["sampler=ccms would reach the arm random"],
}


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_a_mistake_is_one_sentence(words):
    with pytest.raises(AlError) as caught:
        planned(*words)
    for part in MISTAKES[words]:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_random_is_known_by_its_sampler_and_what_leaves_it_alone_is_taken():
    named = {"base": BASE, "arms": [{"name": "baseline", "sampler": "random"}, {"name": "e", "sampler": "entropy"}]}
    with pytest.raises(AlError, match=r"would reach the arm baseline.*arms\.e\.sampler=coreset"):
        planned("sampler=coreset", content=named)
    assert by_arm(planned("sampler=coreset", "arms=[e]", content=named))["e"]["sampler"]["name"] == "coreset"
    assert by_arm(planned("ud_split=null", "schedule=null"))["random"]["sampler"]["name"] == "random"


COMPLETED = {
    "thes": ["thesis", "thesis_digits"],
    "thesis_digits arms.div": ["arms.diversity."],
    "thesis_digits budget=5 arms.diversity.sampler=ccms_co": ["arms.diversity.sampler=ccms_coords"],
    "thesis_digits see": ["seeds="],
    "nowhere arms.": [],
}


@pytest.mark.parametrize("line", COMPLETED)
def test_the_shell_completes_arms_and_their_settings(line, monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", f"al sweep {line}")
    monkeypatch.setenv("COMP_POINT", "0")
    assert complete(["-sc", "query=bash"], ["sweep"]) == 0
    choices = [choice for choice in capsys.readouterr().out.split() if choice.startswith(line.rpartition(" ")[2])]
    assert choices[: len(COMPLETED[line])] == COMPLETED[line] and bool(choices) == bool(COMPLETED[line])
