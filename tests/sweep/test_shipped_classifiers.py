"""Every shipped sweep of image classification, for two short rounds with a tiny network on images made up for it."""

from pathlib import Path

import pytest
import yaml
from labeled_images import unlike_others

from al_cli.experiment import compose
from al_cli.sweep.file import shipped_names

RECIPES = {"isal_": "isal_classification", "lund_": "lund_classification", "fsdl_": "fsdl"}
SPLITS = {
    "isal": ("train", "test"),
    "fsdl_droughtwatch": ("train", "val"),
    "fsdl_mnist": ("train", "test"),
}  # else: train alone
SHORT = {"rounds": 1, "training.epochs": 2, "training.steps_per_epoch": 3}  # where an arm has one of its own
KEPT = ("evaluate", "measure_", "training.", "dataset.val", "dataset.test")  # settings of a sweep, next to its arms'


def sources() -> dict[str, dict]:
    """The sweeps of the documents on image classification, as they are written."""
    read = {name: yaml.safe_load((compose.shipped("sweeps") / f"{name}.yaml").read_text()) for name in shipped_names()}
    networks = ("resnet18", "vgg16", "resnet50")
    return {name: content for name, content in read.items() if content["base"].get("model") in networks}


SOURCES = sources()


def small_images(root: Path, name: str) -> Path:
    """Images of 10 classes, in the splits that the data of this sweep has of its own."""
    splits = next((splits for start, splits in SPLITS.items() if name.startswith(start)), ("train",))
    for split, count in zip(splits, (8, 2), strict=False):
        for label in range(10):
            for number in range(count):
                unlike_others(root / split / f"class_{label}" / f"{number}.png", size=(12, 12))
    return root


def shortened(name: str, root: Path, weights: Path | None) -> dict:
    """The sweep with the data at `root`, a tiny network and two short rounds; all arms are still others."""
    content = yaml.safe_load(yaml.safe_dump(SOURCES[name]))
    base = {key: value for key, value in content["base"].items() if key.startswith(KEPT)}
    base |= {key: "10 images" for key in ("dataset.val", "dataset.test") if str(base.get(key)).endswith("images")}
    if name.startswith("isal_"):
        base |= {"training.milestones": [1]}
    if name.startswith("fsdl_"):
        base |= {"model.hidden": [8], "model.dropout": 0.1}
    if weights is not None:
        base |= {"model.weights": str(weights), "model.outputs": "kept"}
    first = content["base"]["initial"] and 10
    rounds = min(1, content["base"]["rounds"])
    base |= {"dataset": "folder", "dataset.root": str(root), "model": "tiny_cnn", "training.epochs": 2}
    base |= {"training.batch_size": 8}
    base |= {"training": next(recipe for start, recipe in RECIPES.items() if name.startswith(start))}
    content["base"] = base | {"initial": first, "budget": 10, "rounds": rounds, "plots": False}
    for arm in content["arms"]:
        arm |= {key: value for key, value in SHORT.items() if key in arm}
        if "budget" in arm:
            arm["budget"] = arm["budget"] // 250 + 3
    return content


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_a_sweep_of_classifiers_trains_for_real(name, al):
    root = small_images(al.cwd / "images", name)
    arms = SOURCES[name]["arms"]
    weights = None
    if 0 in [SOURCES[name]["base"]["initial"], *(arm.get("initial") for arm in arms)]:  # they choose the first images
        words = ["model=tiny_cnn", "training.iterations=3", "dataset.test=20%", "rounds=0", "initial=10", "plots=false"]
        al("run", "dataset=folder", f"dataset.root={root}", "sampler=random", "study=start", "run_name=start", *words)
        weights = al.cwd / "outputs/start/start/round_00/checkpoint.pth"
    file = al.cwd / f"{name}.yaml"
    file.write_text(yaml.safe_dump(shortened(name, root, weights)))
    runs = len(arms) + all(arm["sampler"] != "random" for arm in arms)
    assert f"{runs} of {runs} runs done" in al("sweep", str(file), "seeds=[0]", "--jobs", "2").stdout
