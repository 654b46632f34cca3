"""The shipped sweeps: each names its source, composes, passes every check, and its dry run says what it would train."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from al_cli.cli.samplers import detectors
from al_cli.experiment import build, compose
from al_cli.samplers.guide import guide
from al_cli.sweep import file, preview
from al_cli.sweep.plan import plan_study
from al_cli.types import Dataset, Image, Splits

# For a pool of 320 (lund: 7 000, as in its file) and one seed: runs, trainings one by one, and those needed. Counted
# by hand: arms share round 0 where they train alike (not learning_loss, which trains its module along), CCMS arms as long as
# their splits agree, and arms that train anew on the whole pool their last training, the reference included.
SMALL = ["initial=20", "budget=5"]  # for sweeps that count images
SHIPPED = {
    "thesis": ([], 13, 65, 48),
    "thesis_digits": ([], 14, 66, 36),
    "ppal_voc": ([], 5, 35, 31),
    "ppal_coco": ([], 5, 25, 21),
    "isal_voc": (SMALL, 5, 50, 47),
    "isal_coco": (SMALL, 5, 55, 52),
    "lund": (["arms=[random,entropy,pivot_25,budget_500,base_500,reselect,fixed_epochs,fixed_iterations]"], 8, 53, 49),
    "datahunt": ([], 4, 20, 17),
    "fsdl_samplers": (["budget=20"], 18, 126, 109),
    "samplers_digits": ([], 35, 105, 72),
}
DOCUMENTS = ("Thesis", "PPAL", "ISAL", "Lund", "DataHunt", "FSDL", "all source documents")


def test_every_shipped_sweep_is_listed_here_and_in_its_readme():
    assert set(SHIPPED) == set(file.shipped_names())
    readme = (compose.shipped("sweeps") / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in SHIPPED)


def in_memory(pool: int) -> Splits:
    """A pool of images with one box each, which nobody reads from disk."""
    box, one = np.array([[0.0, 0, 8, 8]]), np.zeros(1, int)
    images = [Image(i, Path(f"{i}.png"), 16, 16, box, one) for i in range(pool + 20)]
    train, val, test = (Dataset(("thing",), tuple(part)) for part in (images[:pool], images[pool:-10], images[-10:]))
    return Splits("stand-in", train, val, test)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_sweep_passes_every_check_and_its_dry_run_counts(name, tmp_path, monkeypatch, capsys):
    words, runs, naive, needed = SHIPPED[name]
    sweep = file.read_sweep(name)
    assert sweep.source.startswith(DOCUMENTS)
    data = [] if name.endswith("_digits") else [f"dataset.root={tmp_path}"]
    study = plan_study(sweep, [f"seeds=[{sweep.seeds[0]}]", *words, *data, f"outputs={tmp_path / 'outputs'}"])
    assert len(study.jobs) == runs and study.jobs[0].config["sampler"]["name"] == "random"
    monkeypatch.setattr(build, "load_dataset", lambda dataset: in_memory(7000 if name == "lund" else 320))
    preview.show(study.jobs)
    printed = capsys.readouterr().out
    assert printed.count(f"{sweep.seeds[0]} │") >= runs
    assert f"{naive} trainings run one by one: {needed} will be made" in printed
    assert not (tmp_path / "outputs").exists()
    if name == "lund":  # one respect at a time: everything else is the centre's
        centre = next(job for job in study.jobs if job.arm == "entropy").config
        for job in study.jobs:
            changed = {key for key in ("sampler", "training", "initial", "budget") if job.config[key] != centre[key]}
            assert len(changed) <= 1, job.arm
    else:
        assert (
            len({(str(job.config["training"]), job.config["initial"], job.config["budget"]) for job in study.jobs}) == 1
        )


@pytest.mark.parametrize("name", ["thesis", "ppal_voc"])
def test_a_sweep_on_data_of_ones_own_asks_for_it(name, al):
    assert "dataset.root is not given: add dataset.root=..." in al("sweep", name, "--dry-run", code=2).stderr


def test_the_thesis_grid_is_its_schedules_and_random():
    arms = {arm.name: set(arm.overrides) for arm in file.read_sweep("thesis").arms}
    schedules = compose.group_choices("schedule")
    assert len(schedules) == 12
    assert arms == {"random": {"sampler=random"}} | {s: {"sampler=ccms", f"schedule={s}"} for s in schedules}
    digits = file.read_sweep("thesis_digits")
    assert digits.arms == file.read_sweep("thesis").arms and digits.reference and digits.seeds == (10, 11, 12)


def test_the_digits_sweep_is_the_study_that_was_published():
    """Its arms are the rows of the published table and practical samplers; a sampler that is newer owes it no arm."""
    arms = [arm.name for arm in file.read_sweep("samplers_digits").arms]
    page = (Path(__file__).parents[2] / "docs/samplers_digits.md").read_text()
    published = re.findall(r"^\| (\w+) \| [\d.]+ ±", page, re.MULTILINE)
    assert sorted(arms) == sorted(published), (
        "docs/samplers_digits.md has the results of these arms: change neither alone"
    )
    practical = [entry.name for entry in guide(compose.shipped("conf") / "sampler", detectors()) if not entry.oracle]
    newer = sorted(set(practical) - set(arms))
    gone = sorted(set(arms) - set(practical))
    assert not gone, f"no longer practical samplers: {gone}; shipped and newer than the study: {newer}"


def test_the_example_of_the_readme_is_a_sweep(tmp_path):
    text = (compose.shipped("sweeps") / "README.md").read_text()
    first, second = (block.split("```")[0] for block in text.split("```yaml")[1:])
    sweep = file.parse_sweep("readme", yaml.safe_load(first))
    assert sweep.reference and sweep.claim and [arm.name for arm in sweep.arms] == ["random", "half", "falling"]
    assert len(plan_study(replace(sweep, typed="readme.yaml"), ["model=fake"]).jobs) == 8
    assert "ccms_ud0.5" in [arm.name for arm in file.parse_sweep("readme", yaml.safe_load(second)).arms]


R_CNN, DENSE = "model=tiny_faster_rcnn", "model=tiny_retinanet"
SMALL = ["training.duration=iterations", "initial=8", "budget=8"]
SHORT = [*SMALL, "training.iterations=3"]
REAL = {  # with a tiny detector and data in place of the sweep's own, every arm
    "thesis": [R_CNN, *SMALL, "training.iterations=10"],
    "ppal_voc": [DENSE, "model.weights=none", "rounds=1", *SHORT],
    "ppal_coco": [DENSE, "model.weights=none", "rounds=1", *SHORT],
    "isal_voc": [DENSE, "rounds=1", *SHORT],
    "isal_coco": [DENSE, "rounds=1", *SHORT],
    "lund": [
        DENSE,
        "rounds=1",
        "initial=8",
        "budget=8",
        "training.epochs=1",
        "training.iterations=3",
        "training.val_every=1",
    ],
    "datahunt": [DENSE, "rounds=1", *SHORT],
    "fsdl_samplers": [R_CNN, "model.weights=none", "model.dropout=0.2", "rounds=1", "dataset.val=null", *SHORT],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_a_shipped_sweep_trains_for_real(name, al, yolo_root):
    words = ["dataset=yolo", f"dataset.root={yolo_root}", "seeds=[0]", "training.amp=false", *REAL[name]]
    if name == "lund":  # its arms of other budgets and base sets would be those of the centre here
        words.append("arms=[random,entropy,margin,loss_descending,pivot_25,pivot_100,reselect,fixed_iterations]")
    runs = 8 if name == "lund" else len(file.read_sweep(name).arms)
    assert f"{runs} of {runs} runs done" in al("sweep", name, "--jobs", "2", *words).stdout
