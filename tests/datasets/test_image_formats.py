"""What all readers of images with one class each share: yaml and table, and how a folder of a published set is known."""

from pathlib import Path

import pytest
import yaml
from published_sets import write_published

from al_cli.cli.data import FORMATS
from al_cli.datasets.guess import guess_format
from al_cli.datasets.image_formats import READERS
from al_cli.datasets.imagenet import imagenet_classes
from al_cli.errors import ConfigError
from al_cli.experiment.build import load_dataset
from al_cli.experiment.dataset_settings import OF_IMAGES, check_dataset_config
from al_cli.experiment.job import jobs_of

CONF = Path(__file__).parents[2] / "conf" / "dataset"


def test_every_format_of_images_has_a_reader_and_a_yaml_with_its_settings():
    assert set(READERS) == set(OF_IMAGES)
    assert set(FORMATS) == {*READERS, "yolo", "coco"} - {"digits_images"}
    for format, reader in READERS.items():
        dataset = yaml.safe_load((CONF / f"{format}.yaml").read_text())["dataset"]
        assert dataset["format"] == format and set(reader.settings) <= dataset.keys()


@pytest.mark.parametrize(
    ("format", "sizes"),
    [
        ("imagenet_v2", (40, 10, 10, 1000)),
        ("imagenet_mixed", (40, 10, 10, 1000)),
        ("droughtwatch", (40, None, 12, 4)),
        ("deepweeds", (40, None, 14, 9)),
        ("cassava", (37, None, 13, 5)),
    ],
)
def test_a_published_set_is_read_with_the_settings_of_its_yaml(tmp_path, format, sizes):
    [job] = jobs_of([*write_published(format, tmp_path), f"outputs={tmp_path / 'outputs'}"])
    assert job.config["task"] == "classification" and job.experiment.task.label == "image"
    splits = load_dataset(job.config["dataset"])
    val = None if splits.val is None else len(splits.val)
    assert (len(splits.train), val, len(splits.test), len(splits.train.class_names)) == sizes
    for image in (*splits.train.images, *splits.test.images):
        assert image.boxes.tolist() == [[0, 0, image.width, image.height]] and len(image.classes) == 1


@pytest.mark.parametrize(
    ("names", "format"),
    [
        (["labels/labels.csv", "images/a.jpg"], "deepweeds"),
        (["train.csv", "train_images/a.jpg", "test_images/b.jpg"], "cassava"),
        (["train/part-r-00000", "val/part-r-00000"], "droughtwatch"),
        (["droughtwatch_data/train/part-r-00000"], "droughtwatch"),
        ([f"{n}/a.jpeg" for n in range(1000)], "imagenet_v2"),
        ([f"images/{wnid}/a.jpeg" for wnid in imagenet_classes()], "imagenet_v2"),
        ([f"{n}/a.jpeg" for n in range(999)], "folder"),
        (["imagenet-r/n01443537/a.jpg", "imagenet-a/n01498041/a.jpg", "v2/0/a.jpeg"], "imagenet_mixed"),
        (["train/part-one/a.jpg", "train/part-two/a.jpg"], "folder"),
    ],
)
def test_a_folder_of_a_published_set_is_known(tmp_path, names, format):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert guess_format(tmp_path) == format


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"bands": "B4,B3,B2"}, "dataset.bands"), ({"binary": 1}, "dataset.binary is 1"), ({"binary": None}, "binary")],
)
def test_bands_and_binary_are_checked_before_anything_is_read(tmp_path, setting, message):
    dataset = {"format": "droughtwatch", "root": str(tmp_path), "bands": "all", "binary": False}
    check_dataset_config(dataset, "test")
    with pytest.raises(ConfigError, match=message):
        check_dataset_config(dataset | setting, "test")
