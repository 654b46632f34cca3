"""A run that takes more rounds ends with the bytes of a run that had them from the start; else it is refused, untouched."""

import shutil
from pathlib import Path

import pytest
from shapes import tree_bytes, with_words, write_yolo

from al_cli.records import RunFolder


@pytest.fixture
def few(tmp_path):
    """The words of a fake run on 20 images, in counts."""
    root = write_yolo(tmp_path / "few", {"train": 20, "test": 6})
    return [
        "run",
        "dataset=yolo",
        f"dataset.root={root}",
        "model=fake",
        "study=s",
        "initial=4",
        "budget=2",
        "plots=false",
    ]


@pytest.mark.parametrize(
    ("more", "first", "then"),
    [
        (["sampler=entropy", "training.data=new", "training.init=continue"], [], []),
        (["sampler=entropy", "training.init=join", "training.schedule=constant"], [], []),
        (["sampler=ccms"], ["ud_split=[1,0.5]"], ["ud_split=[1,0.5,0.75,0]"]),
        (["sampler=entropy", "budget_unit=boxes", "dataset.val=50% of initial"], [], []),
    ],
    ids=["continued weights", "one training", "splits", "boxes"],
)
def test_more_rounds_give_the_bytes_of_a_run_that_had_them_from_the_start(al, few, more, first, then):
    al(*few, *more, *then, "rounds=4", "run_name=whole", "store=false")
    al(*few, *more, *first, "rounds=2", "run_name=r", "store=false")
    grown, whole = Path("outputs/s/r"), tree_bytes(Path("outputs/s/whole"))
    before = {name: content for name, content in tree_bytes(grown).items() if name.startswith("round_0")}
    done = al(*few, *more, *then, "rounds=4", "run_name=r", "store=false")
    assert "continuing after round 2" in done.stderr
    after = tree_bytes(grown)
    assert after.keys() - whole.keys() <= {"environment_round_03.json"}, "another command went on"
    assert {name: after[name] for name in whole} == whole
    kept = [name for name in before if not name.endswith("checkpoint.pth")]
    assert all(after[name] == before[name] for name in kept), "finished rounds are not touched"
    assert "done already" in al(*few, *more, *then, "rounds=4", "run_name=r", "store=false").stderr


@pytest.mark.parametrize(
    ("words", "changed", "said"),
    [
        (["rounds=2"], ["rounds=1"], "a run can take more rounds, but not fewer: rounds was 2 and is now 1"),
        (["rounds=2", "budget=null"], ["rounds=3"], "the finished rounds have labeled [4, 7, 6] images"),
        (["rounds=2", "reference=true"], ["rounds=3"], "a reference trains once"),
        (["rounds=1", "training.iterations_per=run"], ["rounds=2"], "each training would take"),
        (
            ["rounds=1", "training=datahunt"],
            ["rounds=2"],
            "its rounds are one training, whose learning rate lies over all",
        ),
        (["rounds=1", "sampler=imported", "initial=null", "budget=null"], ["rounds=2"], "imported selections cannot"),
    ],
    ids=["fewer", "shares", "reference", "length", "one training", "imported"],
)
def test_what_would_not_be_the_same_run_is_refused_and_nothing_is_touched(al, few, words, changed, said):
    words = with_words([*few, "sampler=random", "run_name=r"], *words)
    if "sampler=imported" in words:
        names = sorted(path.name for path in Path(few[2].removeprefix("dataset.root=")).glob("images/train/*"))
        Path("picks.csv").write_text(f"round,image\n0,{names[0]}\n1,{names[1]}\n")
        words.append("sampler.file=picks.csv")
    al(*words)
    run = Path("outputs/s/r")
    before = tree_bytes(run)
    if "sampler=imported" in words:
        Path("picks.csv").write_text(Path("picks.csv").read_text() + f"2,{names[2]}\n")
    refused = al(*with_words(words, *changed), code=2)
    assert said in refused.stderr and "run_name=" in refused.stderr
    assert tree_bytes(run) == before and RunFolder(run).state == "done"


def test_a_stopped_run_takes_more_rounds_too(al, few):
    words = [*few, "sampler=entropy", "store=false", "training.keep_checkpoints=all"]
    al(*words, "rounds=3", "run_name=whole")
    al(*words, "rounds=2", "run_name=r")
    shutil.rmtree("outputs/s/r/round_02")
    al(*words, "rounds=3", "run_name=r")
    whole, grown = tree_bytes(Path("outputs/s/whole")), tree_bytes(Path("outputs/s/r"))
    assert {name: grown[name] for name in whole} == whole


def test_weights_that_are_gone_are_made_again(al, few):
    words = [*few, "sampler=entropy", "run_name=r"]
    al(*words, "rounds=1")
    Path("outputs/s/r/round_01/checkpoint.pth").unlink()
    assert "the weights of round 1 are needed and not there" in al(*words, "rounds=2").stderr
    assert RunFolder("outputs/s/r").state == "done"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, "same"),
        ({"rounds": 5}, "longer"),
        ({"rounds": 5, "ud_split": [1, 0, 0.5]}, "longer"),
        ({"rounds": 5, "ud_split": [0, 1, 0.5]}, "other"),
        ({"rounds": 5, "ud_split": 0.5}, "other"),
        ({"rounds": 1}, "other"),
        ({"rounds": 5, "seed": 1}, "other"),
        ({"rounds": 5, "reference": True}, "other"),
    ],
    ids=str,
)
def test_how_a_configuration_compares(tmp_path, change, found):
    config = {"rounds": 2, "seed": 0, "ud_split": [1, 0], "reference": False}
    with RunFolder.create(tmp_path, config, {}) as folder:
        assert folder.compare(config | change) == found
