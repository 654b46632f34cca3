"""Images with one class each: the built-in digits and folders of classes, read as people really keep them."""

import numpy as np
import pytest
from labeled_images import class_folders, unlike_others
from PIL import Image
from sklearn.datasets import load_digits

from al_cli.datasets.digits_images import digits_images_root
from al_cli.datasets.divided import divided
from al_cli.datasets.guess import guess_format
from al_cli.datasets.held_out import HeldOut
from al_cli.datasets.notes import Notes
from al_cli.datasets.repeated import repeat_pool
from al_cli.datasets.summary import summary_of
from al_cli.datasets.whole_images import load_folder
from al_cli.errors import DatasetError
from al_cli.types import Splits


def test_the_digits_are_scikit_learns_each_once():
    splits = load_folder(digits_images_root())
    assert splits.val is None and splits.test is not None
    data = load_digits()
    numbers = []
    for split, size in ((splits.train, 1300), (splits.test, 497)):
        assert len(split) == size and split.class_names == tuple("0123456789")
        for image in split.images:
            digit, number = image.name.removesuffix(".png").split("/")
            numbers.append(int(number))
            assert [int(digit)] == image.classes.tolist() == [data.target[int(number)]]
            assert image.boxes.tolist() == [[0, 0, 8, 8]]
    assert sorted(numbers) == list(range(1797))
    shares = np.bincount([i.classes[0] for i in splits.test.images]) / np.bincount(data.target)
    assert shares == pytest.approx(497 / 1797, abs=0.005)  # stratified
    image = splits.train.images[100]
    pixels = np.asarray(Image.open(image.path)).astype(float)
    assert abs(pixels / 255 * 16 - data.images[int(image.path.stem)]).max() < 1e-9 + 0.5 / 255 * 16


def test_a_folder_with_splits_joins_the_classes_of_all_and_sorts_numbers_as_numbers(tmp_path):
    root = class_folders(tmp_path / "set", train={"10": 2, "9": 1}, valid={"9": 1}, test={"2": 1, "10": 1})
    splits = load_folder(root)
    assert splits.name == "set" and splits.train.class_names == ("2", "9", "10")
    assert [(i.name, i.classes.tolist()) for i in splits.train.images] == [
        ("10/0.png", [2]), ("10/1.png", [2]), ("9/0.png", [1])]  # fmt: skip
    assert splits.val is not None and splits.test is not None
    assert [i.id for part in (splits.train, splits.val, splits.test) for i in part.images] == list(range(6))
    assert splits.test.images[1].boxes.tolist() == [[0, 0, 6, 4]]


def test_a_folder_without_splits_is_a_pool_and_train_may_be_a_class(tmp_path):
    splits = load_folder(class_folders(tmp_path, _={"car": 1, "train": 2, "empty": 0}))
    assert splits.val is splits.test is None
    assert splits.train.class_names == ("car", "empty", "train")  # a class without images is a class


def test_what_lies_below_a_class_belongs_to_it_and_what_is_no_image_is_left(tmp_path):
    root = class_folders(tmp_path, _={"a": 1, "b": 1})
    unlike_others(root / "a" / "deep" / "er" / "x.png")
    (root / "b" / "notes.txt").write_text("no image")
    unlike_others(root / "b" / ".hidden.png")
    unlike_others(root / "loose.png")
    (root / "c").symlink_to(root / "a" / "deep")
    notes = Notes()
    names = [image.name for image in load_folder(root, notes=notes).train.images]
    assert names == ["a/0.png", "a/deep/er/x.png", "b/0.png", "c/er/x.png"]
    assert [(kind, count) for kind, count, _ in notes] == [("train images outside the folder of a class, not read", 1)]


def test_a_leak_and_a_broken_image_are_refused_or_left_out_aloud(tmp_path):
    root = class_folders(tmp_path, train={"a": 2, "b": 1}, test={"a": 1})
    leak = unlike_others(root / "test" / "a" / "again.png", like=root / "train" / "b" / "0.png")
    (root / "train" / "a" / "1.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(DatasetError) as error:
        load_folder(root)
    assert len(error.value.problems) == 2 and "bad_rows=leave_out" in str(error.value)
    (root / "train" / "b" / "1.png").write_bytes((root / "train" / "a" / "0.png").read_bytes())
    notes = Notes()
    splits = load_folder(root, bad_rows="leave_out", notes=notes)
    assert [image.name for image in splits.train.images] == ["a/0.png", "b/1.png"]
    assert {kind for kind, *_ in notes} == {"images in two splits, left out", "images that cannot be read, left out"}
    kept = Notes()
    (root / "train" / "a" / "1.png").unlink()
    published = load_folder(root, as_published=True, notes=kept)  # CIFAR-100 is such a set
    assert len(published.train) == 3
    assert list(kept) == [("images of the test split that are in the train split too, as published", 1, str(leak))]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda root: root.mkdir(), "there is no folder of a class"),
        (lambda root: root.write_text("x"), "is no folder"),
        (lambda root: unlike_others(root / "x.png"), "there is no folder of a class"),
        (lambda root: class_folders(root, test={"a": 1}), "no train split"),
        (lambda root: class_folders(root, train={"a": 1}, test={"a": 0}), "no folder of a class in the test split"),
        (
            lambda root: class_folders(root, train={"a": 1}, test={"a": 1}, testing={"a": 1}),
            "two folders for the test split",
        ),
        (
            lambda root: class_folders(root, train={"a": 2}, test={"a": 1}),
            "only one class, a, and a classifier needs two",
        ),
        (lambda root: class_folders(root, _={"a\nb": 1, "c": 1}), "not one line"),
    ],
)
def test_a_folder_that_is_none_of_these_gets_one_error(tmp_path, make, says):
    make(tmp_path / "x")
    with pytest.raises(DatasetError, match=says) as error:
        load_folder(tmp_path / "x")
    assert error.value.remedy


def test_sizes_are_those_of_the_upright_picture(tmp_path):
    root = class_folders(tmp_path, _={"a": 1, "b": 1})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(root / "a" / "turned.jpg", exif=exif)
    image = next(i for i in load_folder(root).train.images if i.name == "a/turned.jpg")
    assert (image.width, image.height) == (4, 6) and image.boxes.tolist() == [[0, 0, 4, 6]]


def test_a_turned_copy_keeps_the_class_of_the_whole_image(tmp_path):
    unlike_others(tmp_path / "train" / "wide" / "x.png", (100, 1))  # turned, its corners leave the picture's own box
    splits = load_folder(class_folders(tmp_path, test={"wide": 1, "other": 0}))
    assert splits.test is not None
    pool = repeat_pool(Splits("n", splits.train, None, splits.test), 3, 0).train
    assert [image.name for image in pool.images] == ["wide/x.png", "wide/x.png~2", "wide/x.png~3"]
    assert [image.boxes.tolist() for image in pool.images] == [[[0, 0, 100, 1]]] * 3


@pytest.mark.parametrize(
    ("make", "format"),
    [
        (lambda root: class_folders(root, train={"cat": 1, "dog": 1}, test={"cat": 1}), "folder"),
        (lambda root: class_folders(root, _={"cat": 1, "dog": 1}), "folder"),
        (lambda root: class_folders(root, train={"cat": 1}, test={"cat": 1}), "folder"),
        (lambda root: class_folders(root, train={"cat": 1, "dog": 1}, val={"cat": 1}, valid={"cat": 1}), "folder"),
        (lambda root: class_folders(root, _={"cat": 1}), "coco"),
        (lambda root: class_folders(root, _={"images": 1, "labels": 0}), "coco"),
        (lambda root: class_folders(root, train={"images": 1}, test={"images": 1}), "coco"),
        (lambda root: (class_folders(root, _={"a": 1, "b": 1}) / "a" / "0.txt").write_text("0 .5 .5 .1 .1"), "coco"),
        (lambda root: (class_folders(root, _={"a": 1, "b": 1}) / "data.yaml").write_text("names: [a]"), "yolo"),
        (lambda root: (class_folders(root, _={"train_images": 1}) / "t.csv").write_text("image_id,label\n"), "csv"),
        (lambda root: (class_folders(root, _={"a": 1, "b": 1}) / "t.csv").write_text("when,where\n"), "folder"),
        (lambda root: (class_folders(root, _={"x": 0}) / "x" / "train_32x32.mat").write_text(""), "svhn"),
        (lambda root: (class_folders(root, _={"x": 0}) / "t10k-labels.idx1-ubyte.gz").write_text(""), "mnist"),
        (lambda root: (class_folders(root, _={"x": 0}) / "cifar-100-python.tar.gz").write_text(""), "cifar100"),
        (lambda root: (class_folders(root, _={"x": 0}) / "data_batch_4.bin").write_text(""), "cifar10"),
        (lambda root: root.mkdir(), "coco"),
    ],
)
def test_what_a_folder_looks_like(tmp_path, make, format):
    make(tmp_path / "x")
    assert guess_format(tmp_path / "x") == format


def test_a_folder_that_is_a_class_is_no_group_and_a_pattern_looks_below_it(tmp_path):
    splits = load_folder(class_folders(tmp_path, _={"a": 20, "b": 20}))
    with pytest.raises(DatasetError, match="each class is one folder"):
        divided(splits, HeldOut(test=0.3, group="folder"))
    drawn = divided(splits, HeldOut(test=0.3, group="[^/]+/([0-9]+)"))
    names = [{image.name for image in part.images} for part in (drawn.train, drawn.test)]
    assert all({f"a/{n}.png", f"b/{n}.png"} <= names[f"a/{n}.png" in names[1]] for n in range(20))
    unlike_others(tmp_path / "a" / "deeper" / "x.png")  # now folders divide a class
    divided(load_folder(tmp_path), HeldOut(test=0.3, group="folder", split_seed=1))


def test_one_image_in_two_classes_is_odd(tmp_path):
    root = class_folders(tmp_path, train={"a": 2, "b": 1}, test={"a": 1, "b": 1})
    unlike_others(root / "train" / "b" / "same.png", like=root / "train" / "a" / "1.png")
    notes = Notes()
    own = load_folder(root, notes=notes)
    assert own.test is not None
    summary = summary_of(Splits("n", own.train, own.val, own.test), notes, root, "folder", labels="image")
    assert {(odd.split, odd.kind): odd.places() for odd in summary.odd} == {
        ("train", "images with the bytes of an earlier one"): ["train/b/same.png as train/a/1.png"],
        ("train", "images with the bytes of one of another class"): ["train/b/same.png (b), train/a/1.png (a)"],
    }
    assert summary.rows[0] == {
        "split": "train",
        "images": 4,
        "classes with images": 2,
        "most common": "a (2)",
        "rarest": "a (2)",
    }
    assert summary.as_json([])["splits"][1] == {
        "split": "test",
        "images": 2,
        "classes with images": 2,
        "by class": {"a": 1, "b": 1},
    }
