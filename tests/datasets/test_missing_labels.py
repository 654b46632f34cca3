"""Images without a label file, labels in other places, what is left out aloud: laws of the YOLO reader's pairing."""

import json
import os
import unicodedata

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import picture

from al_cli.datasets import load_yolo
from al_cli.datasets.notes import Notes
from al_cli.errors import DatasetError

ROW = "0 0.5 0.5 0.2 0.4\n"


def folder(root, *, images="images", labels="labels", count=10, unlabeled=0, text=None):
    """`count` training images, the last `unlabeled` of them without a label file; two test images."""
    for split, n in (("train", count), ("test", 2)):
        for k in range(n):
            picture(root / split / images / f"{k}.png")
            if split == "test" or k < n - unlabeled:
                file = root / split / labels / f"{k}.txt"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(ROW)
    (root / "data.yaml").write_text(text or f"train: train/{images}\ntest: test/{images}\nnames: [cat]\n")
    return root


def noted(root, **settings):
    """(the splits, {kind: how many})."""
    notes = Notes()
    splits = load_yolo(root, notes=notes, **settings)
    return splits, {kind: count for kind, count, _ in notes}


@pytest.mark.parametrize(("unlabeled", "refused"), [(0, False), (1, False), (3, False), (4, True), (9, True)])
def test_up_to_three_in_ten_are_negatives_and_more_are_refused_with_both_remedies(tmp_path, unlabeled, refused):
    root = folder(tmp_path / "d", unlabeled=unlabeled)
    if refused:
        with pytest.raises(DatasetError) as caught:
            load_yolo(root)
        text = str(caught.value)
        assert f"{unlabeled} of 10 train images have no label file" in text
        assert f"{10 - unlabeled}.png" in text  # the first of them
        assert "dataset.missing_labels=negative" in text and "dataset.missing_labels=leave_out" in text
    else:
        splits, kinds = noted(root)
        assert sum(not len(image.boxes) for image in splits.train.images) == unlabeled
        assert sum(kinds.values()) == unlabeled


def test_each_way_to_settle_missing_labels(tmp_path):
    root = folder(tmp_path / "d", unlabeled=6)
    splits, kinds = noted(root, missing_labels="negative")
    assert len(splits.train) == 10
    assert kinds == {"train images without a label file, read as images without objects": 6}
    splits, kinds = noted(root, missing_labels="leave_out")
    assert [image.name for image in splits.train.images] == ["0.png", "1.png", "2.png", "3.png"]
    assert splits.test.ids.tolist() == [4, 5]
    assert kinds == {"train images without a label file, left out": 6}
    with pytest.raises(DatasetError, match="this image has no label file"):
        load_yolo(folder(tmp_path / "one", unlabeled=1), missing_labels="refuse")


def test_an_empty_label_file_is_a_negative_and_never_missing(tmp_path):
    root = folder(tmp_path / "d")
    for k in range(8):
        (root / f"train/labels/{k}.txt").write_text("")
    splits, kinds = noted(root, missing_labels="refuse")
    assert sum(not len(image.boxes) for image in splits.train.images) == 8
    assert kinds == {}


def test_a_root_below_a_folder_called_images(tmp_path):
    root = folder(
        tmp_path / "images" / "set", images="photos", labels="photos"
    )  # labels beside, no `images` below the root
    splits, kinds = noted(root)
    assert splits.train.box_count == 10
    assert kinds == {}


@pytest.mark.parametrize("labels", ["images", "Labels", "LABELS"])
def test_labels_beside_the_images_or_in_other_capitals_are_found(tmp_path, labels):
    splits, _ = noted(folder(tmp_path / "d", labels=labels), missing_labels="refuse")
    assert splits.train.box_count == 10


def test_some_labels_beside_are_found_and_said(tmp_path):
    root = folder(tmp_path / "d")
    for k in (2, 5):
        (root / f"train/labels/{k}.txt").rename(root / f"train/images/{k}.txt")
    splits, kinds = noted(root, missing_labels="refuse")
    assert splits.train.box_count == 10
    assert kinds == {"label files found in another place than the others": 2}


def test_other_forms_and_capitals_of_a_name_are_one_name(tmp_path):
    root = folder(tmp_path / "d")
    composed, split = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    for image, label in ((composed, split), ("Kö", unicodedata.normalize("NFD", "kö")), ("IMG", "img")):
        picture(root / f"train/images/{image}.png")
        (root / f"train/labels/{label}.txt").write_text(ROW)
    (root / "train/labels/0.txt").rename(root / "train/labels/0.TXT")
    splits, kinds = noted(root, missing_labels="refuse")
    assert splits.train.box_count == 13
    assert kinds == {"label files found in another spelling than their image's": 4}


def test_an_odd_label_file_of_a_test_split_is_counted_once(tmp_path):
    root = folder(tmp_path / "d", text="train: train/images\nval: val/images\ntest: test/images\nnames: [cat]\n")
    picture(root / "val/images/9.png")
    (root / "val/images/9.txt").write_text(ROW)
    (root / "test/labels/0.txt").rename(root / "test/labels/0.TXT")
    kinds = noted(root)[1]
    assert kinds["label files found in another spelling than their image's"] == 1


def test_a_label_file_that_is_spelled_exactly_is_taken_by_no_other_image(tmp_path):
    root = folder(tmp_path / "d")
    picture(root / "train/images/a.png")
    picture(root / "train/images/A.png")
    (root / "train/labels/a.txt").write_text(ROW * 2)
    splits, _ = noted(root)
    assert {image.name: len(image.boxes) for image in splits.train.images if image.name in "a.png A.png"} == {
        "a.png": 2,
        "A.png": 0,
    }


def test_label_files_of_no_image_are_counted(tmp_path):
    root = folder(tmp_path / "d")
    for name in ("orphan.txt", "other.TXT", "classes.txt"):
        (root / "train/labels" / name).write_text(ROW)
    (root / "more/labels").mkdir(parents=True)
    (root / "more/labels/lost.txt").write_text(ROW)
    _, kinds = noted(root)
    assert kinds == {"label files of no image": 3}


def test_pictures_of_unread_types_are_counted_by_suffix(tmp_path):
    root = folder(tmp_path / "d")
    for name in ("a.gif", "b.HEIC", "c.gif"):
        (root / "train/images" / name).write_bytes(b"x")
    _, kinds = noted(root)
    assert kinds == {
        "pictures of a type that is not read (.gif), left out": 2,
        "pictures of a type that is not read (.heic), left out": 1,
    }


def test_a_label_file_that_is_a_pipe_a_device_or_a_link_to_nothing_is_refused(tmp_path):
    for n, make in enumerate((os.mkfifo, lambda p: p.symlink_to("/dev/zero"), lambda p: p.symlink_to("gone"))):
        root = folder(tmp_path / str(n))
        (root / "train/labels/0.txt").unlink()
        make(root / "train/labels/0.txt")
        with pytest.raises(DatasetError, match=r"cannot be read.*0\.txt"):
            load_yolo(root)


def test_bad_rows_are_left_out_aloud(tmp_path):
    root = folder(tmp_path / "d")
    (root / "train/labels/0.txt").write_text(ROW + "0 0.5 0.5 0 0\nx\n7 0.5 0.5 0.1 0.1\n")
    (root / "train/images/1.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"4 problems .*dataset\.bad_rows=leave_out"):
        load_yolo(root)
    splits, kinds = noted(root, bad_rows="leave_out")
    assert [len(image.boxes) for image in splits.train.images] == [1] * 9
    assert kinds == {"rows that are no label, left out": 3, "images that cannot be read, left out": 1}


def test_what_all_rows_of_a_split_lose_is_refused(tmp_path):
    root = folder(tmp_path / "d")
    for k in range(2):
        (root / f"test/labels/{k}.txt").write_text("0 0.5 0.5 0 0\n")
    with pytest.raises(DatasetError, match="test split has 2 images but not one labeled object: 2 rows are left out"):
        load_yolo(root, bad_rows="leave_out")


def test_leaks_are_left_out_of_the_pool(tmp_path):
    root = folder(tmp_path / "d")
    held = (root / "test/images/0.png").read_bytes()
    for k in (3, 4):
        (root / f"train/images/{k}.png").write_bytes(held)
    splits, kinds = noted(root, bad_rows="leave_out")
    assert [image.name for image in splits.train.images] == [f"{k}.png" for k in (0, 1, 2, 5, 6, 7, 8, 9)]
    assert len(splits.test) == 2
    assert kinds == {"images in two splits, left out": 1}


# ---- data.yaml


@pytest.mark.parametrize(
    "entry", ["d/train/images", "train\\images", "Train/Images", "./train/images/", "../train/images"]
)
def test_a_split_is_found_however_its_line_is_spelled(tmp_path, entry):
    root = folder(tmp_path / "d", text=f"train: '{entry}'\nval: test/images\nnames: [cat]\n")
    assert len(load_yolo(root).train) == 10


@pytest.mark.parametrize(
    "line", ["train\\images\\{}.png", "d/train/images/{}.png", "./train/images/{}.PNG", ".\\train\\images\\{}.png"]
)
def test_a_listed_image_is_found_however_its_line_is_spelled(tmp_path, line):
    root = folder(tmp_path / "d", text="train: list.txt\nval: test/images\nnames: [cat]\n")
    (root / "list.txt").write_text("".join(line.format(k) + "\n" for k in range(10)))
    splits, _ = noted(root, missing_labels="refuse")
    assert [image.name for image in splits.train.images] == [f"{k}.png" for k in range(10)]


def test_a_path_of_another_system_is_called_so(tmp_path):
    root = folder(tmp_path / "d", text="train: 'C:\\data\\train'\nval: test/images\nnames: [cat]\n")
    with pytest.raises(DatasetError, match="a path of another system"):
        load_yolo(root)


def test_val_and_test_that_are_one_folder_are_the_test_split(tmp_path):
    root = folder(tmp_path / "d", text="train: train/images\nval: test/images\ntest: test/images\nnames: [cat]\n")
    splits, kinds = noted(root)
    assert splits.val is None and len(splits.test) == 2
    assert kinds == {"split named twice: val and test are the same images, used as test": 1}


@pytest.mark.parametrize("val", ["train/images", "train"])
def test_a_held_out_split_within_the_pool_is_one_problem(tmp_path, val):
    root = folder(tmp_path / "d", text=f"train: [train/images, test/images]\nval: {val}\nnames: [cat]\n")
    with pytest.raises(DatasetError, match="every image of the val split is in the train split too") as caught:
        load_yolo(root)
    assert "\n" not in str(caught.value)


def test_a_test_split_without_labels_gives_way_to_val(tmp_path):
    root = folder(tmp_path / "d", text="train: train/images\nval: test/images\ntest: blind/images\nnames: [cat]\n")
    picture(root / "blind/images/x.png")
    splits, kinds = noted(root)
    assert [image.name for image in splits.val.images] == ["0.png", "1.png"] and splits.test is None
    assert kinds == {"test split without labels, val is used as test": 1}


def test_classes_without_names_are_called_by_their_numbers(tmp_path):
    root = folder(tmp_path / "d", text="train: train/images\nval: test/images\nnc: 2\n")
    splits, kinds = noted(root)
    assert splits.train.class_names == ("0", "1")
    assert len(kinds) == 1


@pytest.mark.parametrize("name", ["a\\nb", "a\\u2028b", "", " ", "x" * 300])
def test_a_class_name_that_no_line_can_hold_is_refused(tmp_path, name):
    root = folder(tmp_path / "d", text=f'train: train/images\nval: test/images\nnames: ["{name}"]\n')
    with pytest.raises(DatasetError, match="class name"):
        load_yolo(root)


def test_ten_thousand_classes_take_no_time(tmp_path):
    names = json.dumps({n: f"c{n}" for n in range(10_000)})
    root = folder(tmp_path / "d", text=f"train: train/images\nval: test/images\nnames: {names}\n")
    assert len(load_yolo(root).train.class_names) == 10_000  # was quadratic: minutes


def test_a_yaml_bomb_or_a_deep_one_is_one_short_error(tmp_path):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join(['*' + a] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    for text in ("\n".join(lines) + "\ntrain: t\nval: v\nnames: *i\n", "names: " + "[" * 5000):
        root = folder(tmp_path / "d", text=text)
        with pytest.raises(DatasetError) as caught:
            load_yolo(root)
        assert len(str(caught.value)) < 1000


# ---- whatever is in the files


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("good"), count=2)


NUMBERS = st.one_of(st.floats().map(repr), st.integers(-3, 10**400).map(str), st.text(max_size=4))
ROWS = st.lists(st.lists(NUMBERS, max_size=9).map(" ".join), max_size=3).map("\n".join)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(rows=st.one_of(ROWS.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary(max_size=30)))
def test_any_label_file_is_read_or_refused_in_a_sentence(good, rows):
    (good / "train/labels/0.txt").write_bytes(rows)
    try:
        splits = load_yolo(good)
    except DatasetError as error:
        assert error.what and error.remedy and len(str(error)) < 4000
    else:
        assert len(splits.train) == 2


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.just("train/images")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=5,
)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(key=st.sampled_from(["path", "train", "val", "test", "nc", "names"]), value=VALUES)
def test_any_data_yaml_is_read_or_refused_in_a_sentence(good, key, value):
    (good / "train/labels/0.txt").write_text(ROW)
    text = yaml.safe_dump({"train": "train/images", "val": "test/images", "names": ["cat"]} | {key: value})
    (good / "data.yaml").write_text(text)
    try:
        load_yolo(good)
    except DatasetError as error:
        assert error.what and error.remedy and len(str(error)) < 4000
