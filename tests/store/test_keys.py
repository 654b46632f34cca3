"""What voids which stored results, tried as a user does: code is added or edited between two commands."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shapes import write_yolo

import al_cli

REPOSITORY = Path(al_cli.__file__).parent.parent
SAMPLER = """
from al_cli.samplers.base import score


@score(needs=frozenset(), family="mine", source="me")
def boxes(query):
    return SIGN * query.candidates.counts.astype(float)
"""
YAML = """
name: NAME
stages:
  - score: {_target_: TARGET, _partial_: true}
    select: {_target_: al_cli.samplers.top, _partial_: true}
    keep: budget
"""


@pytest.fixture
def place(tmp_path):
    """An empty folder with data, and a checkout of al that this test may change."""
    write_yolo(tmp_path / "data", {"train": 20, "val": 5, "test": 6})
    for folder in ("al_cli", "conf", "sweeps"):
        shutil.copytree(REPOSITORY / folder, tmp_path / "al" / folder)
    return tmp_path


def al(place: Path, *words: str, **variables: str) -> str:
    """Call the copy of al in a process of its own; what it printed."""
    environment = {**os.environ, "PYTHONPATH": f"{place / 'al'}:{place}", **variables}
    command = [sys.executable, "-m", "al_cli.cli.main", *words]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(place: Path, study: str, *words: str, **variables: str) -> dict[str, int]:
    """A run of the fake on the data; how many of each kind it had to compute."""
    data = (
        "dataset=yolo",
        f"dataset.root={place / 'data'}",
        "model=fake",
        "rounds=2",
        "initial=5",
        "budget=5",
        "plots=false",
    )
    al(place, "run", *data, f"study={study}", "run_name=r", *words, **variables)
    counts = {"training": 0, "inference": 0, "selection": 0}
    for path in (place / "outputs" / study).rglob("timing.json"):
        for kind, count in json.loads(path.read_text())["store"]["misses"].items():
            counts[kind] += count
    return counts


STUDY = """
base: {model: fake, dataset: yolo, dataset.root: data, rounds: 2, initial: 5, budget: 5, plots: false}
random: false
arms: [{name: e, sampler: entropy}]
"""


def dry(place: Path) -> str:
    """What a new study of the same runs would cost."""
    printed = al(place, "sweep", "study.yaml", "--dry-run", "study=again").splitlines()
    return next(line for line in printed if "trainings run one by one" in line)


def test_a_sampler_that_is_added_or_edited_leaves_every_training_valid_and_a_learner_does_not(place):
    (place / "study.yaml").write_text(STUDY)
    al(place, "sweep", "study.yaml")
    before = dry(place)
    assert "0 will be made" in before
    samplers = place / "al/al_cli/samplers"
    (samplers / "score_mine.py").write_text(SAMPLER.replace("SIGN", "+1"))
    (place / "al/conf/sampler/mine.yaml").write_text(
        YAML.replace("NAME", "mine").replace("TARGET", "al_cli.samplers.boxes")
    )
    coreset = samplers / "select_coreset.py"
    coreset.write_text(coreset.read_text() + "\nEDITED = True\n")
    assert dry(place) == before
    entropy = samplers / "score_entropy.py"  # its own selections are void, and no training is
    entropy.write_text(entropy.read_text() + "\nEDITED = True\n")
    assert run(place, "edited", "sampler=entropy") == {"training": 0, "inference": 0, "selection": 2}
    fake = place / "al/al_cli/learners/fake.py"
    fake.write_text(fake.read_text() + "\nEDITED = True\n")
    assert "3 will be made" in dry(place)


def test_a_sampler_outside_the_package_is_asked_again_once_it_is_edited(place):
    """Fewest boxes first, after it was most boxes first, is another choice; trainings that are still the same are kept."""
    mine, helper = place / "my_sampler.py", place / "my_helper.py"
    mine.write_text("from my_helper import SIGN\n" + SAMPLER)
    helper.write_text("SIGN = +1\n")
    (place / "ext/sampler").mkdir(parents=True)
    (place / "ext/sampler/mine.yaml").write_text(YAML.replace("NAME", "mine").replace("TARGET", "my_sampler.boxes"))
    words = ["sampler=mine", f"hydra.searchpath=[file://{place / 'ext'}]"]
    run(place, "most", *words)
    helper.write_text("SIGN = -1.0\n")  # another length, so that Python compiles it again in the same second too
    assert run(place, "fewest", *words) == {"training": 2, "inference": 3, "selection": 2}
    picked = [(place / f"outputs/{study}/r/round_01/selection.csv").read_text() for study in ("most", "fewest")]
    assert picked[0] != picked[1]
    mine.write_text(mine.read_text().replace("float", "int"))
    assert run(place, "its file", *words) == {"training": 0, "inference": 0, "selection": 2}
