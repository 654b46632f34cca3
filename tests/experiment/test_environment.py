"""environment.json says how a run was asked for, as it was typed, and what it ran on."""

import json

import pytest
import torch

from al_cli.learners.identity import device_used
from al_cli.learners.spec import ModelSpec


def test_the_command_as_typed_and_the_device_that_was_used(al, fake):
    words = [*fake, "study=s", "run_name=r r", "rounds=1", "device=auto"]
    al(*words)
    known = json.loads((al.cwd / "outputs/s/r r/environment.json").read_text())
    assert known["command"] == ["al", *words] and known["device"] == "cpu"


@pytest.mark.slow
def test_processes_of_a_study_know_the_command(al, fake):
    words = [*fake, "-m", "study=s", "seed=0,1", "sampler=random", "rounds=1"]
    al(*words)
    commands = [json.loads(path.read_text())["command"] for path in (al.cwd / "outputs/s").glob("*/environment.json")]
    assert commands == [["al", *words]] * 2


@pytest.mark.parametrize("asked", ["auto", "cuda", "cpu"])
def test_devices_by_name(monkeypatch, asked):
    real = ModelSpec("tiny_faster_rcnn", "tiny_faster_rcnn", weights="none")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_used(real, asked) == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "H100")
    assert device_used(real, asked) == ("cpu" if asked == "cpu" else "cuda:0 (H100)")
    assert device_used(ModelSpec("fake", None, family="fake"), asked) == "cpu"
