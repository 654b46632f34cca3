"""Whole runs with the fake learner: folders, determinism, kill and resume, sweeps, the verbs that look at them."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pandas as pd
import PIL.Image
import pytest
from shapes import tree_bytes, with_words, write_yolo

from al_cli.experiment import run as run_module
from al_cli.experiment.job import jobs_of
from al_cli.experiment.run import run_job


def records(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("round_*/record.json"))]


def test_a_run_leaves_the_documented_folder(al, fake):
    done = al(*with_words(fake, "plots=true"), "sampler=ccms", "ud_split=[1,0.75,0.5,0]", "seed=3", "study=s")
    run = al.cwd / "outputs/s/ccms_ud1-0.75-0.5-0_fake_s3"
    for name in ("config.yaml", "environment.json", "rounds.csv", "rounds.md", "run.log", "plots/ap_vs_images.png"):
        assert (run / name).is_file(), name
    for name in ("record.json", "timing.json", "metrics.csv", "per_class.csv", "predictions.npz"):
        assert (run / "round_04" / name).is_file(), name
    rows = records(run)
    assert [row["round"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["images"] for row in rows] == [8, 16, 24, 32, 40]
    assert [row["ud"] for row in rows] == [None, 1, 0.75, 0.5, 0]
    for before, after in pairwise(rows):
        assert after["labeled"] == before["labeled"] + after["picked"]
    assert sorted(rows[-1]["labeled"]) == list(range(40))
    table = pd.read_csv(run / "rounds.csv")
    assert table["AP"].iloc[-1] > table["AP"].iloc[0]
    assert list(table.columns[:9]) == ["round", "images", "boxes", "AP", "AP50", "AP75", "APs", "APm", "APl"]
    for words in ("Best AP", "outputs/s/ccms_ud1-0.75-0.5-0_fake_s3", "al report outputs/s"):
        assert words in done.stdout
    assert [path.name for path in run.glob("round_*/checkpoint*")] == ["checkpoint.pth"], "only the last is kept"


def test_equal_commands_give_equal_bytes(al, fake):
    al(*with_words(fake, "plots=true"), "study=a", "seed=5")
    al(*with_words(fake, "plots=true"), "study=b", "seed=5")
    al(*fake, "study=b", "seed=6")
    a, b, other = (
        tree_bytes(al.cwd / "outputs" / name) for name in ("a/ccms_fake_s5", "b/ccms_fake_s5", "b/ccms_fake_s6")
    )
    assert a == b
    assert a["round_01/record.json"] != other["round_01/record.json"]
    assert {name for name in a if name.startswith("plots")} and not {name for name in other if name.startswith("plots")}


def test_a_budget_above_what_is_left_is_said(al, fake):
    said = al(*fake, "sampler=random", "rounds=1", "initial=30", "budget=1e9").stderr
    assert "the last round labels the 10 images that are left: budget=1000000000 is more" in said
    assert "that are left" not in al(*fake, "sampler=random", "rounds=1", "initial=30", "budget=10").stderr


def test_arms_of_one_seed_share_the_initial_set(al, fake):
    for job in jobs_of([*fake[1:], "study=s", "sampler=random,entropy", "seed=1,2", "rounds=1"], many=True):
        run_job(job)
    first = {path.name: records(path)[0]["picked"] for path in (al.cwd / "outputs/s").iterdir() if path.is_dir()}
    assert first["random_fake_rounds1_s1"] == first["entropy_fake_rounds1_s1"] != first["random_fake_rounds1_s2"]


def test_seeds_can_be_set_alone(al, fake):
    al(*fake, "study=s", "rounds=1", "seed=1", "seeds.sampling=9")
    al(*fake, "study=s", "rounds=1", "seed=1")
    one, other = (
        records(al.cwd / "outputs/s" / name)
        for name in ("ccms_fake_rounds1_seeds.sampling9_s1", "ccms_fake_rounds1_s1")
    )
    assert one[0] == other[0]


@pytest.mark.parametrize("moment", ["training", "inference", "record"])
def test_a_killed_run_continues_to_the_same_bytes(al, fake, moment, tmp_path):
    words = [*fake, "study=s", "sampler=ccms", "seed=2"]
    al(*words, "outputs=whole")
    # The process kills itself with SIGKILL at the chosen moment of round 2, as a crash or a scheduler would.
    code = f"""
import os, signal, sys
from al_cli.learners.fake import FakeLearner
from al_cli.records import RunFolder
import al_cli.records as records
def kill_in(owner, name, number):
    original, calls = getattr(owner, name), [0]
    def patched(*args, **kw):
        calls[0] += 1
        if calls[0] == number:
            if {moment!r} == "record":
                folder = args[0].path / "round_02"
                folder.mkdir(exist_ok=True)
                (folder / "metrics.csv").write_text("half a fi")
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kw)
    setattr(owner, name, patched)
dict(training=lambda: kill_in(FakeLearner, "fit", 3), inference=lambda: kill_in(FakeLearner, "infer", 6),
     record=lambda: kill_in(RunFolder, "write_round", 3))[{moment!r}]()
from al_cli.cli.main import main
main({[*words, "outputs=killed"]!r})
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    folder = al.cwd / "killed/s/ccms_fake_s2"
    assert len(records(folder)) == 2
    again = al(*words, "outputs=killed")
    assert "continuing after round 1" in again.stderr
    whole, resumed = tree_bytes(al.cwd / "whole/s/ccms_fake_s2"), tree_bytes(folder)
    assert whole == resumed


def test_kill_from_outside_and_lock(al, fake):
    words = [*fake, "study=s", "model.overrides.fit_s=4"]
    command = [sys.executable, "-m", "al_cli.cli.main", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = al.cwd / "outputs/s"
    deadline = time.monotonic() + 60
    while not list(folder.glob("*/run.log")) and time.monotonic() < deadline:
        time.sleep(0.1)
    [run] = folder.iterdir()
    second = al(*words, code=2)
    assert "another process" in second.stderr
    assert "running" in al("ls").stdout
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert "stopped" in al("ls").stdout
    assert run.is_dir()


def test_a_changed_configuration_does_not_continue_another_run(al, fake):
    al(*fake, "study=s", "run_name=mine", "rounds=1")
    done = al(*fake, "study=s", "run_name=mine", "rounds=2", code=2)
    assert "the finished rounds have labeled" in done.stderr and "run_name=" in done.stderr


def test_report_and_show(al, fake):
    for job in jobs_of([*fake[1:], "study=s", "rounds=1", "sampler=random,ccms", "seed=0,1"], many=True):
        run_job(job)
    al("report", "outputs/s")
    arms = pd.read_csv(al.cwd / "outputs/s/report/arms.csv")
    assert len(arms) == 4  # two arms, two rounds
    assert (al.cwd / "outputs/s/report/ap.png").is_file()
    done = al("show", "outputs/s/ccms_fake_rounds1_s0", "--round", "1", "-n", "4")
    assert (al.cwd / done.stdout.split()[1]).is_file()
    assert "round 7" in al("show", "outputs/s/ccms_fake_rounds1_s0", "--round", "7", code=2).stderr
    assert "no run here" in al("show", "outputs/s", code=2).stderr
    checkpoint = al.cwd / "outputs/s/ccms_fake_rounds1_s0/round_01/checkpoint.pth"
    al("show", "outputs/s/ccms_fake_rounds1_s0", "--checkpoint", str(checkpoint), "--out", "mine.png")
    assert (al.cwd / "mine.png").is_file()
    al("show", "outputs/s/ccms_fake_rounds1_s0", "--picks", "-n", "3", "--out", "picks.png")
    with PIL.Image.open(al.cwd / "picks.png") as sheet:
        assert sheet.size == (3 * 268 + 8, 30 + 288 + 8), "one row of three"
    assert "--map would do nothing" in al("show", "outputs/s/ccms_fake_rounds1_s0", "--picks", "--map", code=2).stderr


def test_training_regimes_choose_what_is_trained_on(al, fake, yolo_root):
    al(*fake, "study=s", "training=thesis", "sampler=random", "seed=0")
    al(*fake, "study=s", "training=ppal", "sampler=random", "seed=0")
    thesis, ppal = (records(al.cwd / "outputs/s" / name) for name in ("random_fake_thesis_s0", "random_fake_ppal_s0"))
    assert [r["picked"] for r in thesis] == [r["picked"] for r in ppal]
    # the fake learner's counts add up over continued trainings, so both regimes have seen every box once at the end
    last = json.loads((al.cwd / "outputs/s/random_fake_thesis_s0/round_04/checkpoint.pth").read_text())
    whole = json.loads((al.cwd / "outputs/s/random_fake_ppal_s0/round_04/checkpoint.pth").read_text())
    assert last["state"]["counts"] == whole["state"]["counts"]


def test_early_stopping_needs_a_validation_set(al, tmp_path):
    root = write_yolo(tmp_path / "two", {"train": 20, "test": 5})
    words = ["run", "dataset=yolo", f"dataset.root={root}", "model=fake", "training=lund", "sampler=random"]
    assert "add dataset.val=20%" in al(*words, code=2).stderr
    al(*words, "dataset.val=25% of initial")


def test_rounds_whose_contact_sheet_is_drawn_are_not_drawn_again(al, fake, monkeypatch):
    """After each round; where a drawing failed (the second here) the sheets of that round are still to be drawn."""
    asked, answers = [], iter([[], None, [], []])
    monkeypatch.setattr(run_module, "PLOT_EVERY_S", -1)
    monkeypatch.setattr(run_module, "draw", lambda folder, splits, sheets: asked.append(sheets) or next(answers))
    [job] = jobs_of([*with_words(fake, "plots=true")[1:], "study=s", "sampler=random", "rounds=2"])
    run_job(job)
    assert asked == [0, 1, 1, 3]
