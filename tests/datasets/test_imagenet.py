"""ImageNet's classes, and the test sets that share them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from labeled_images import unlike_others
from PIL import Image as PILImage
from torchvision.models._meta import _IMAGENET_CATEGORIES

from al_cli.datasets.imagenet import imagenet_classes, load_imagenet, load_imagenet_mixed
from al_cli.datasets.noisy import with_noise
from al_cli.datasets.repeated import repeat_pool
from al_cli.errors import ConfigError, DatasetError
from al_cli.experiment.build import load_dataset
from al_cli.experiment.dataset_settings import check_dataset_config
from al_cli.types import Dataset, Image, OwnSplits, Splits

WNIDS = list(imagenet_classes())


def test_the_classes_are_those_of_the_published_weights():
    assert len(WNIDS) == 1000 and sorted(set(WNIDS)) == WNIDS
    assert (WNIDS[0], WNIDS[388], WNIDS[999]) == ("n01440764", "n02510455", "n15075141")  # tench, panda, toilet tissue
    assert list(imagenet_classes().values()) == _IMAGENET_CATEGORIES


def labels(data: Dataset) -> dict[str, int]:
    return {image.name: int(image.classes[0]) for image in data.images}


def test_numbered_folders_are_numbers_and_not_text(tmp_path):
    """As text 10 comes before 2: a reader that sorts names gives it the class 2."""
    for number in (0, 2, 10, 999):
        unlike_others(tmp_path / "imagenetv2-matched-frequency-format-val" / str(number) / "x.png")
    wanted = {f"{WNIDS[number]}/x.png": number for number in (0, 2, 10, 999)}
    own = load_imagenet(tmp_path)
    assert labels(own.train) == wanted and own.val is own.test is None
    assert own.train.class_names == tuple(_IMAGENET_CATEGORIES)
    assert labels(load_imagenet(tmp_path / "imagenetv2-matched-frequency-format-val").train) == wanted


def test_folders_that_wordnet_names_are_the_same_data(tmp_path):
    for number in (0, 10):
        first = unlike_others(tmp_path / "numbered" / str(number) / "x.png")
        unlike_others(tmp_path / "named" / WNIDS[number] / "x.png", like=first)
    one, other = (load_imagenet(tmp_path / folder).train for folder in ("numbered", "named"))
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["0", "1000"], "folder 1000 is no class of ImageNet"),
        (["n01440764", "n01440765"], "folder n01440765 is no class of ImageNet"),
        (["0", "n01440764"], "numbered and folders that WordNet names"),
        ([], "has no folder of a class"),
        (["dog/big"], "folder big is no class"),
    ],
)
def test_other_folders_are_refused(tmp_path, folders, message):
    for folder in folders:
        unlike_others(tmp_path / folder / "x.png")
    with pytest.raises(DatasetError, match=message):
        load_imagenet(tmp_path)


@pytest.fixture
def three(tmp_path) -> Path:
    """12 images of each source; those of R and A are called alike in every class, as published."""
    for n in range(12):
        unlike_others(tmp_path / "v2" / str(n) / f"{n}.png")
        unlike_others(tmp_path / "r" / WNIDS[n % 3] / f"art_{n // 3}.png")
        unlike_others(tmp_path / "a" / WNIDS[n % 4] / f"0.0{n // 4}.png")
    return tmp_path


def mixed(root: Path, images: int = 10, **settings) -> OwnSplits:
    return load_imagenet_mixed(root, **({"v2": "v2", "r": "r", "a": str(root / "a"), "images": images} | settings))


def test_the_mixture_is_a_third_of_each(three):
    data = mixed(three).train
    assert Counter(image.name.split("/")[0] for image in data.images) == {"v2": 4, "r": 3, "a": 3}
    for image in data.images:
        source, wnid, file = image.name.split("/")
        assert image.classes.tolist() == [WNIDS.index(wnid)]
        assert image.path.parts[-3] == source and image.path.name == file


def test_the_draw_goes_by_names_and_seed(three):
    names, more = set(labels(mixed(three).train)), set(labels(mixed(three, 19).train))
    assert names < more, "a larger draw holds the smaller one"
    assert names != set(labels(mixed(three, split_seed=1).train))
    unlike_others(three / "r" / WNIDS[5] / "art_0.png")
    assert len(names - set(labels(mixed(three).train))) <= 1, "one image more replaces one at most"


def test_too_few_images_and_a_missing_folder_name_the_source(three):
    with pytest.raises(DatasetError, match=r"ImageNet-V2 has 12 images, and 13 are a third of dataset\.images=37"):
        mixed(three, 37)
    with pytest.raises(DatasetError, match="no folder of ImageNet-A") as error:
        mixed(three, a="imagenet-a")
    assert error.value.where == str(three / "imagenet-a") and "dataset.a=DIR" in error.value.remedy


def grey(path: Path, side: int = 200) -> Image:
    PILImage.fromarray(np.full((side, side, 3), 128, np.uint8)).save(path)
    return Image(0, path, side, side, [[0, 0, side, side]], [0], content=path.name)  # type: ignore[arg-type]


def shown(image: Image) -> np.ndarray:
    return np.asarray(PILImage.open(image.path), np.float64)


def test_noise_has_the_deviation_that_was_asked_for(tmp_path):
    """Of 120,000 values: mean and deviation within 4 standard errors; rounding adds 1/12 to the variance."""
    image = grey(tmp_path / "x.png")
    own = OwnSplits("n", Dataset(("c",), (image,)), None, None)
    noisy = with_noise(own, 10, 0).train.images[0]
    values = shown(noisy)
    assert values.mean() == pytest.approx(128, abs=4 * 10 / 120_000**0.5)
    assert values.std() == pytest.approx((100 + 1 / 12) ** 0.5, abs=4 * 10 / 240_000**0.5)
    assert abs(np.corrcoef(values[..., 0].ravel(), values[..., 1].ravel())[0, 1]) < 0.02, "each channel alone"
    assert noisy.path != image.path and noisy.labels_digest == image.labels_digest and noisy.name == image.name
    assert (shown(image) == 128).all(), "the user's file is as it was"


def test_noise_is_drawn_again_alike_and_by_seed_and_content(tmp_path):
    image = grey(tmp_path / "x.png", 20)
    own = OwnSplits("n", Dataset(("c",), (image,)), None, Dataset(("c",), (grey(tmp_path / "y.png", 20),)))
    noisy = with_noise(own, 10, 0)
    assert noisy.test is not None
    one, first = noisy.train.images[0], noisy.train.images[0].path.read_bytes()
    assert not (shown(one) == shown(noisy.test.images[0])).all(), "another image has other noise"
    for other in (with_noise(own, 10, 1), with_noise(own, 11, 0)):
        assert other.train.images[0].content != one.content and other.train.images[0].path != one.path
    one.path.unlink()
    assert with_noise(own, 10, 0).train.images[0].path.read_bytes() == first


def test_hard_is_noisy_with_repeats_in_the_pool_alone(three):
    dataset = {
        "format": "imagenet_mixed",
        "root": str(three),
        "name": "hard",
        "v2": "v2",
        "r": "r",
        "a": "a",
        "images": 30,
        "noise": 25,
        "val": "8 images",
        "test": "8 images",
        "split_seed": 0,
        "group": None,
        "repeat": 4,
        "bad_rows": "refuse",
    }
    check_dataset_config(dataset, "test")
    splits = load_dataset(dataset)
    assert splits.val is not None
    names = {image.name.partition("~")[0] for image in splits.train.images}
    assert (len(names), len(splits.train), len(splits.val), len(splits.test)) == (14, 56, 8, 8)
    for image in (*splits.train.images, *splits.val.images, *splits.test.images):
        assert image.boxes.tolist() == [[0, 0, image.width, image.height]] and not image.path.is_relative_to(three)
    once = load_dataset(dataset | {"repeat": None})
    assert repeat_pool(Splits("x", once.train, None, once.test), 4, 0).train.fingerprint == (
        splits.train.fingerprint
    ), "what is turned is the noisy image"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"noise": 0}, "dataset.noise is 0"),
        ({"noise": True}, "dataset.noise is true"),
        ({"noise": 256}, "dataset.noise is 256"),
        ({"noise": float("nan")}, "dataset.noise is nan"),
        ({"images": 2}, "dataset.images is 2"),
        ({"images": 0.5}, "dataset.images is 0.5"),
        ({"a": None}, "dataset.a"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_read(three, setting, message):
    dataset = {
        "format": "imagenet_mixed",
        "root": str(three),
        "v2": "v2",
        "r": "r",
        "a": "a",
        "images": 9,
        "noise": None,
    }
    check_dataset_config(dataset, "test")
    with pytest.raises(ConfigError, match=message):
        check_dataset_config(dataset | setting, "test")
