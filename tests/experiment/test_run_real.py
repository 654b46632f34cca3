"""The same promises with a real detector: equal bytes, killed or not, and clear words when training cannot go on."""

import os
import signal
import subprocess
import sys

import pytest
from shapes import tree_bytes

SMALL = ["training.iterations=12", "training.val_every=6", "rounds=1", "initial=8", "budget=8"]


@pytest.fixture
def tiny(yolo_root):
    return ["run", "dataset=yolo", f"dataset.root={yolo_root}", "ud_split=0.5", *SMALL]


def test_a_detector_killed_in_training_continues_to_the_same_bytes(al, tiny):
    al(*tiny, "outputs=whole", "study=s")
    code = f"""
import os, signal
from al_cli.learners.pytorch.curve import Curve
original = Curve.took
calls = [0]
def took(self, *told):
    calls[0] += 1
    if calls[0] == 18:  # the sixth step of the second round
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, *told)
Curve.took = took
from al_cli.cli.main import main
main({[*tiny, "outputs=killed", "study=s"]!r})
"""
    killed = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "continuing after round 0" in al(*tiny, "outputs=killed", "study=s").stderr
    [whole], [resumed] = (list((al.cwd / name / "s").iterdir()) for name in ("whole", "killed"))
    assert tree_bytes(whole) == tree_bytes(resumed)


def test_a_diverging_training_is_one_sentence_and_a_failed_run(al, tiny):
    done = al(*tiny, "training.lr=1e6", "training.ema=null", code=2)
    assert "lower the learning rate" in done.stderr
    assert "failed" in al("ls").stdout


def test_a_misspelt_detectron2_key_names_the_near_one(al, tiny):
    done = al(*tiny, "model.overrides.SOLVER.BASE_RL=1", code=2)
    assert "SOLVER.BASE_LR" in done.stderr


def test_a_model_of_the_zoo_without_network_says_what_to_fetch(al, tiny, monkeypatch):
    done = al(*tiny, "model=retinanet_R50_FPN_3x", "training.amp=false", code=2)
    assert "model_final" in done.stderr and "model.weights=" in done.stderr
