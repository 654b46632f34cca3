"""The shipped sweeps: each names its source, composes, passes every check, and its dry run says what it would train."""

import functools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from shapes import whole_images, write_yolo

from al_cli.cli.samplers import classifiers, detectors
from al_cli.datasets.held_out import HeldOut
from al_cli.experiment import build, compose
from al_cli.experiment.dataset_settings import OF_IMAGES
from al_cli.samplers.guide import guide
from al_cli.store import strategy
from al_cli.store.code import code_of_modules
from al_cli.sweep import file, preview
from al_cli.sweep.plan import plan_study
from al_cli.types import Dataset, Image, Splits

# For a stand-in pool and one seed: words, runs, trainings one by one, and those needed. Counted by hand: arms share round 0
# where they train alike (not learning_loss, which trains its module along, nor influence_split, which holds images out), CCMS
# arms as long as their splits agree, and arms that train anew on the whole pool their last training, the reference included.
# Nothing is shared where the starting weights choose the first images, but for the last round, where each model has a training
# seed of its own, or between rounds of other numbers.
SMALL = ["initial=20", "budget=5"]  # for sweeps that count images
TENTH = ["budget=50"]  # of a pool of 600
TWO_OF_12 = ["arms=[model_01,model_12]"]  # the others differ in a seed alone, as a test below says
SHIPPED = {
    "thesis": ([], 15, 75, 56),
    "thesis_length": ([], 2, 2, 2),
    "thesis_unseeded": (TWO_OF_12, 2, 2, 2),
    "thesis_seeded": (TWO_OF_12, 2, 2, 2),
    "thesis_digits": ([], 14, 66, 36),
    "ppal_voc": (SMALL, 5, 35, 31),
    "ppal_coco": (SMALL, 5, 25, 21),
    "isal_voc": (SMALL, 7, 70, 66),
    "isal_coco": ([*SMALL, "rounds=6"], 7, 49, 45),
    "isal_large": ([], 7, 70, 62),
    "isal_faster_rcnn": ([*SMALL, "rounds=6"], 4, 28, 26),
    "lund": (["model.weights=none"], 5, 30, 30),
    "lund_real": (["model.weights=none"], 3, 18, 18),
    "lund_synthetic": (["model.weights=none"], 3, 18, 18),
    "lund_untrained": ([], 3, 18, 18),
    "lund_parameters": ([], 15, 94, 85),
    "datahunt": ([], 5, 25, 21),
    "fsdl_samplers": (["budget=20"], 18, 126, 109),
    "samplers_digits": ([], 35, 105, 72),
    "isal_cifar10": (SMALL, 4, 40, 38),
    "isal_cifar100": (SMALL, 4, 40, 38),
    "isal_svhn": (SMALL, 4, 40, 38),
    "isal_cifar10_large": (["initial=32", "budget=32"], 4, 40, 36),
    "isal_cifar10_k": (SMALL, 5, 50, 46),
    "isal_cifar10_hessian": (SMALL, 3, 30, 28),
    "isal_cifar10_reference": (SMALL, 5, 50, 46),
    "lund_shuffle": (TENTH, 6, 72, 70),
    "lund_length": (TENTH, 5, 60, 59),
    "lund_pivot": (TENTH, 5, 60, 56),
    "lund_pivot_epochs": (TENTH, 5, 60, 56),
    "lund_check": ([], 3, 3, 3),
    "lund_budget": ([], 5, 58, 57),
    "lund_accumulate": (TENTH, 3, 36, 34),
    "lund_balance": (TENTH, 4, 48, 45),
    "lund_methods": (TENTH, 5, 60, 56),
    "lund_base_500": ([], 6, 72, 65),
    "lund_base_1000": ([], 10, 115, 103),
    "fsdl_droughtwatch": (SMALL, 6, 210, 205),
    "fsdl_droughtwatch_2000": (SMALL, 8, 80, 74),
    "fsdl_droughtwatch_binary": (SMALL, 6, 60, 55),
    "fsdl_droughtwatch_scratch": (SMALL, 6, 210, 205),
    "fsdl_mnist_100": (SMALL, 6, 60, 55),
    "fsdl_mnist_50": (SMALL, 6, 48, 43),
    "fsdl_mnist_8": (SMALL, 7, 168, 162),
    "fsdl_deepweeds": (["budget=45"], 5, 40, 32),
    "fsdl_cassava": (["budget=40"], 5, 45, 37),
    "classification_digits": ([], 8, 43, 38),
}
DIFFER = {  # in what else than the sampler the arms of a sweep differ
    "thesis_length": {"initial"},
    **{key: {"dataset"} for key in ("isal_voc", "isal_coco", "isal_large", "isal_faster_rcnn")},
    **{key: {"training"} for key in ("lund_shuffle", "lund_length", "lund_accumulate")},
    "lund_budget": {"budget"},
    **{key: {"initial"} for key in ("lund_base_500", "lund_base_1000")},
}
DOCUMENTS = ("Thesis", "PPAL", "ISAL", "Lund", "DataHunt", "FSDL", "all source documents")


def test_every_shipped_sweep_is_listed_here_and_in_its_readme():
    assert set(SHIPPED) == set(file.shipped_names())
    readme = (compose.shipped("sweeps") / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in SHIPPED)


@functools.cache
def in_memory(pool: int) -> Splits:
    """A pool of images with one box each, which nobody reads from disk."""
    box, one = np.array([[0.0, 0, 8, 8]]), np.zeros(1, int)
    images = [Image(i, Path(f"{i}.png"), 16, 16, box, one) for i in range(pool + 20)]
    train, val, test = (Dataset(("thing",), tuple(part)) for part in (images[:pool], images[pool:-10], images[-10:]))
    return Splits("stand-in", train, val, test)


@functools.cache
def of_classes(pool: int, val: bool) -> Splits:
    """A pool of images of 1,000 classes, which nobody reads from disk."""
    names = [str(label) for label in range(1000)]
    train, held, test = (
        whole_images(np.arange(n) % 1000, names, first) for n, first in ((pool, 0), (10, 9000), (10, 9010))
    )
    return Splits("stand-in", train, held if val else None, test)


def stand_in(name: str):
    """What reads data for this sweep: a pool of the document's size where the sweep's counts need it, or a small one."""

    def load(dataset):
        if dataset["format"] not in OF_IMAGES:
            return in_memory(8000 if name.startswith("lund") else 320)
        pool = (6000, 600)[SHIPPED[name][0] == TENTH] if name.startswith("lund") else 320
        return of_classes(pool, HeldOut.of(dataset).val is not None or dataset["test"] == "none")

    return load


@functools.cache
def code_once(names: frozenset[str]) -> dict[str, str]:
    """No source changes meanwhile, and a forecast asks for every run."""
    return code_of_modules(names)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_sweep_passes_every_check_and_its_dry_run_counts(name, tmp_path, monkeypatch, capsys):
    words, runs, naive, needed = SHIPPED[name]
    sweep = file.read_sweep(name)
    assert sweep.source.startswith(DOCUMENTS)
    data = [] if name.endswith("_digits") else [f"dataset.root={tmp_path}"]
    study = plan_study(sweep, [f"seeds=[{sweep.seeds[0]}]", *words, *data, f"outputs={tmp_path / 'outputs'}"])
    assert len(study.jobs) == runs
    assert study.jobs[0].config["sampler"]["name"] == "random" or study.jobs[0].config["rounds"] == 0
    monkeypatch.setattr(build, "load_dataset", stand_in(name))
    for module in (build, strategy):
        monkeypatch.setattr(module, "code_of_modules", lambda names: code_once(frozenset(names)))
    preview.show(study.jobs)
    printed = capsys.readouterr().out
    assert printed.count(f"{sweep.seeds[0]} │") >= runs
    assert f"{naive} trainings run one by one: {needed} will be made" in printed
    assert not (tmp_path / "outputs").exists()
    alike = ("training", "initial", "budget", "dataset")
    if name == "lund_parameters":  # one respect at a time: everything else is the centre's
        centre = next(job for job in study.jobs if job.arm == "entropy").config
        for job in study.jobs:
            changed = {key for key in ("sampler", *alike) if job.config[key] != centre[key]}
            assert len(changed) <= 1, job.arm
    else:
        own = {key for key in alike if len({str(job.config[key]) for job in study.jobs}) > 1}
        assert own == DIFFER.get(name, set())


@pytest.mark.parametrize("name", ["thesis", "ppal_voc"])
def test_a_sweep_on_data_of_ones_own_asks_for_it(name, al):
    assert "dataset.root is not given: add dataset.root=..." in al("sweep", name, "--dry-run", code=2).stderr


@pytest.mark.parametrize(("name", "seed"), [("thesis_unseeded", "training"), ("thesis_seeded", "sampling")])
def test_the_twelve_models_of_the_thesis_differ_in_one_seed(name, seed):
    arms = {arm.name: list(arm.overrides) for arm in file.read_sweep(name).arms}
    assert arms == {f"model_{number:02}": [f"seeds.{seed}={number}"] for number in range(1, 13)}


def test_the_thesis_grid_is_its_schedules_and_random():
    arms = {arm.name: set(arm.overrides) for arm in file.read_sweep("thesis").arms}
    schedules = compose.group_choices("schedule")
    assert len(schedules) == 12
    grid = {"random": {"sampler=random"}} | {s: {"sampler=ccms_coords", f"schedule={s}"} for s in schedules}
    features = "sampler.stages.1.select.feature=box"
    further = {f"{s}_box_features": grid[s] | {features} for s in ("diversity", "constant_50")}
    assert arms == grid | further
    digits = file.read_sweep("thesis_digits")
    assert {arm.name: set(arm.overrides) for arm in digits.arms} == grid
    assert digits.reference and digits.seeds == (10, 11, 12)


def test_the_digits_sweep_is_the_study_that_was_published():
    """Its arms are the rows of the published table and practical samplers; a sampler that is newer owes it no arm."""
    arms = [arm.name for arm in file.read_sweep("samplers_digits").arms]
    page = (Path(__file__).parents[2] / "docs/samplers_digits.md").read_text()
    published = re.findall(r"^\| (\w+) \| [\d.]+ ±", page, re.MULTILINE)
    assert sorted(arms) == sorted(published), (
        "docs/samplers_digits.md has the results of these arms: change neither alone"
    )
    practical = [
        entry.name
        for entry in guide(compose.shipped("conf") / "sampler", detectors(), classifiers())
        if not entry.oracle
    ]
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
SMALL = ["training.duration=iterations", "training.schedule=null", "training.milestones=null", "initial=8", "budget=8"]
SHORT = [*SMALL, "training.iterations=3"]
UNTRAINED = "model.weights=none"
ISAL = [DENSE, UNTRAINED, "rounds=1", *SHORT]
LUND = [DENSE, UNTRAINED, "rounds=1", "budget=8", "training.epochs=2"]
ROUND_0 = [R_CNN, "initial=8", "training.iterations=3", "training.val_every=3"]
REAL = {  # with a tiny detector and data in place of the sweep's own, every arm
    "thesis": [R_CNN, *SMALL, "training.iterations=3"],
    "thesis_length": [word for word in ROUND_0 if not word.startswith("initial")],
    "thesis_unseeded": ROUND_0,
    "thesis_seeded": ROUND_0,
    "ppal_voc": [DENSE, UNTRAINED, "rounds=1", *SHORT],
    "ppal_coco": [DENSE, UNTRAINED, "rounds=1", *SHORT],
    "isal_voc": ISAL,
    "isal_coco": [*ISAL, "stop.at=99"],
    "isal_large": ISAL,
    "isal_faster_rcnn": [R_CNN, UNTRAINED, "stop.at=99", "rounds=1", *SHORT],
    "lund": LUND,
    "lund_real": LUND,
    "lund_synthetic": LUND,
    "lund_untrained": LUND,
    "lund_parameters": [DENSE, "rounds=1", "initial=8", "budget=8", "training.epochs=1", "training.iterations=3"],
    "datahunt": [DENSE, "rounds=1", "training.epochs=1", "training.batch_size=4", "initial=8", "budget=8"],
    "fsdl_samplers": [R_CNN, UNTRAINED, "model.dropout=0.2", "rounds=1", "dataset.val=null", *SHORT],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_a_shipped_sweep_trains_for_real(name, al, yolo_root):
    """What it overrides of its own detector is left out: a tiny one has other keys."""
    if name.startswith("isal"):  # ISAL's data has one held-out split, which it evaluates on
        yolo_root = write_yolo(al.cwd / "one_split", {"train": 40, "test": 12})
    content = yaml.safe_load((compose.shipped("sweeps") / f"{name}.yaml").read_text())
    content["base"] = {key: value for key, value in content["base"].items() if not key.startswith("model.overrides.")}
    (al.cwd / f"{name}.yaml").write_text(yaml.safe_dump(content))
    words = ["dataset=yolo", f"dataset.root={yolo_root}", "seeds=[0]", "training.amp=false", *REAL[name]]
    if name == "lund_parameters":  # its arms of other budgets, base sets and pivots would be those of the centre here
        names = "random,entropy,kept_order,stop_on_AP,fixed_steps,pivot_100,reselect,class_balanced"
        words.append(f"arms=[{names}]")
    runs = 8 if name == "lund_parameters" else len(file.read_sweep(name).arms)
    assert f"{runs} of {runs} runs done" in al("sweep", f"{name}.yaml", "--jobs", "2", *words).stdout
