"""What a configuration says of its dataset, checked before anything of it is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from al_cli.datasets.held_out import HeldOut
from al_cli.errors import ConfigError, DatasetError, written
from al_cli.experiment.names import check_path
from al_cli.experiment.values import one_of, whole
from al_cli.learners.kinds import LearnerKind
from al_cli.tasks import Task
from al_cli.types import LabelKind

OF_BOXES = ("yolo", "coco", "digits")
OF_PUBLICATIONS = ("imagenet_v2", "imagenet_mixed", "droughtwatch", "deepweeds", "cassava")
OF_ARCHIVES = ("cifar10", "cifar100", "svhn", "mnist")
OF_IMAGES = ("digits_images", "folder", "csv", *OF_ARCHIVES, *OF_PUBLICATIONS)
DATASET_FORMATS = (*OF_BOXES, *OF_IMAGES)
MOST_REPEATS = 100
MOST_MIXED = 30_000  # three times ImageNet-V2
MOST_NOISE = 255


def labels_of(dataset: Mapping[str, Any]) -> LabelKind:
    """What a label of this dataset is. ConfigError for a format that does not exist."""
    one_of(dataset["format"], "dataset.format", DATASET_FORMATS)
    return "image" if dataset["format"] in OF_IMAGES else "objects"


def check_labels(plain: Mapping[str, Any], task: Task, kind: LearnerKind) -> None:
    """ConfigError where dataset, model and task do not agree on what a label is."""
    name, model = plain["dataset"]["name"], plain["model"]["name"]
    words: dict[LabelKind, str] = {"objects": "boxes in its images", "image": "a class for each image"}
    others: dict[LabelKind, str] = {
        "objects": "task=detection model=tiny_faster_rcnn",
        "image": "task=classification model=tiny_cnn",
    }
    labels = labels_of(plain["dataset"])
    if task.label != labels:
        raise ConfigError(
            f"dataset {name} has {words[labels]}, and task {task.name} judges {words[task.label].replace(' its', '')}",
            where=f"task={plain['task']}",
            remedy=f"leave task out, or take another dataset (for this one: {others[labels]})",
        )
    if labels not in kind.labels:
        raise ConfigError(
            f"dataset {name} has {words[labels]}, and model {model} {kind.noun}",
            where=f"model={model}",
            remedy=f"take another model or dataset (for this one: {others[labels]})",
        )
    if labels == "image" and plain["budget_unit"] == "boxes":
        what = f"a label is an image here: dataset {name} has {words[labels]}"
        raise ConfigError(what, where="budget_unit=boxes", remedy="leave budget_unit out")


def check_dataset_config(dataset: dict[str, Any], evaluate: str) -> None:
    """ConfigError for settings that cannot work, whatever the data is; DatasetError for a folder that is not there."""
    one_of(dataset["format"], "dataset.format", DATASET_FORMATS)
    if dataset.get("missing_labels") is not None:
        one_of(dataset["missing_labels"], "dataset.missing_labels", ("negative", "refuse", "leave_out"))
    if "bad_rows" in dataset:
        one_of(dataset["bad_rows"], "dataset.bad_rows", ("refuse", "leave_out"))
    if not isinstance(dataset.get("train"), dict | None):
        raise ConfigError(
            f"dataset.train is {written(dataset['train'])}",
            remedy="name its folder and its file: dataset.train.images=DIR dataset.train.annotations=FILE",
        )
    placed = [split for split in ("train", "val", "test") if isinstance(dataset.get(split), dict)]
    if placed and dataset["format"] != "coco":
        raise ConfigError(
            f"dataset.{placed[0]} names images and annotations, which is how COCO's splits are given",
            where=f"dataset={dataset['format']}",
            remedy="add dataset=coco, or leave it out",
        )
    if dataset.get("repeat") is not None:
        whole(dataset["repeat"], "dataset.repeat", at_least=2, at_most=MOST_REPEATS)
        if HeldOut.of(dataset).initial:
            raise ConfigError(
                "a part of the initial labels cannot validate where images are repeated: their turned copies are trained on",
                where=f"dataset.repeat={dataset['repeat']} dataset.val={dataset['val']}",
                remedy="add dataset.val=20%, a share of the pool that is taken out before the rest is repeated",
            )
    check_of_format(dataset)
    if HeldOut.of(dataset).initial and evaluate == "val":
        raise ConfigError(
            "rounds cannot be scored on a part of the initial labels: each seed has others",
            where=f"evaluate=val dataset.val={dataset['val']}",
            remedy="add dataset.val=20%, a share of the pool that all seeds share, or set evaluate=test",
        )
    if HeldOut.of(dataset).no_test and evaluate == "test":
        raise ConfigError(
            "there is no test split to score rounds on",
            where=f"evaluate={evaluate} dataset.test=none",
            remedy="add evaluate=val, or leave dataset.test out",
        )
    if "root" in dataset:
        check_path(dataset["root"], "dataset.root")
    if "root" in dataset and not Path(str(dataset["root"])).expanduser().exists():
        raise DatasetError(
            "there is no such folder",
            where=f"dataset.root={dataset['root']}",
            remedy="give the folder that holds the dataset",
        )


def check_of_format(dataset: Mapping[str, Any]) -> None:
    """ConfigError for what only one format of images has."""
    if dataset["format"] == "droughtwatch":
        one_of(dataset["bands"], "dataset.bands", ("all", "rgb"))
        if not isinstance(dataset["binary"], bool):
            raise ConfigError(f"dataset.binary is {written(dataset['binary'])}", remedy="give true or false")
    if dataset["format"] == "imagenet_mixed":
        whole(dataset["images"], "dataset.images", at_least=3, at_most=MOST_MIXED)
        for source in ("v2", "r", "a"):
            check_path(dataset[source], f"dataset.{source}")
        noise = dataset["noise"]
        number = isinstance(noise, int | float) and not isinstance(noise, bool)
        if noise is not None and not (number and 0 < noise <= MOST_NOISE):
            remedy = f"give a standard deviation above 0 and up to {MOST_NOISE} grey levels, or null for none"
            raise ConfigError(f"dataset.noise is {written(noise)}", remedy=remedy)
