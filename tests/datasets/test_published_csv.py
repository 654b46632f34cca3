"""dataset=deepweeds and cassava, and what all readers of images with one class share: their yaml and their table."""

from pathlib import Path

import pytest
import yaml
from labeled_images import unlike_others

from al_cli.cli.data import FORMATS
from al_cli.datasets.guess import guess_format
from al_cli.datasets.image_formats import READERS
from al_cli.datasets.imagenet import imagenet_classes
from al_cli.datasets.published_csv import load_cassava, load_deepweeds
from al_cli.errors import ConfigError, DatasetError
from al_cli.experiment.dataset_settings import OF_IMAGES, check_dataset_config

CONF = Path(__file__).parents[2] / "conf" / "dataset"


def test_deepweeds_as_published(tmp_path):
    for name in ("20160928-140314-0.jpg", "20160928-140337-0.jpg", "20171025-1.jpg"):
        unlike_others(tmp_path / "images" / name.replace(".jpg", ".png")).rename(tmp_path / "images" / name)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "labels.csv").write_text(
        "Filename,Label,Species\n20160928-140314-0.jpg,0,Chinee apple\n20160928-140337-0.jpg,8,Negative\n"
        "20171025-1.jpg,7,Snake weed\n"
    )
    own = load_deepweeds(tmp_path)
    named = {image.name: own.train.class_names[image.classes[0]] for image in own.train.images}
    assert named == {
        "20160928-140314-0.jpg": "Chinee apple",
        "20160928-140337-0.jpg": "Negative",
        "20171025-1.jpg": "Snake weed",
    }
    assert len(own.train.class_names) == 9 and own.val is own.test is None and own.name == tmp_path.name


def test_cassava_as_published(tmp_path):
    for n in range(2):
        unlike_others(tmp_path / "train_images" / f"{n}.png")
    (tmp_path / "train.csv").write_text("image_id,label\n0.png,3\n1.png,4\n")
    (tmp_path / "sample_submission.csv").write_text("image_id,label\n9.png,4\n")
    own = load_cassava(tmp_path)
    assert [own.train.class_names[image.classes[0]] for image in own.train.images] == ["Mosaic disease", "Healthy"]
    (tmp_path / "train.csv").write_text("image_id,label\n0.png,3\n1.png,5\n")
    with pytest.raises(DatasetError, match="label '5' is none of the classes") as error:
        load_cassava(tmp_path)
    assert error.value.where == f"{tmp_path}/train.csv:3"


def test_another_folder_says_what_is_missing(tmp_path):
    with pytest.raises(DatasetError, match=r"DeepWeeds has no labels/labels\.csv here") as error:
        load_deepweeds(tmp_path)
    assert error.value.where == str(tmp_path) and "images/" in error.value.remedy


def test_every_format_of_images_has_a_reader_and_a_yaml_with_its_settings():
    assert set(READERS) == set(OF_IMAGES)
    assert set(FORMATS) == {*READERS, "yolo", "coco"} - {"digits_images"}
    for format, reader in READERS.items():
        dataset = yaml.safe_load((CONF / f"{format}.yaml").read_text())["dataset"]
        assert dataset["format"] == format and set(reader.settings) <= dataset.keys()


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
