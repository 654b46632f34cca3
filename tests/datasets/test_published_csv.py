"""dataset=deepweeds and dataset=cassava: a csv of labels and a folder of images, as they are published."""

import pytest
from labeled_images import unlike_others

from al_cli.datasets.published_csv import load_cassava, load_deepweeds
from al_cli.errors import DatasetError


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
