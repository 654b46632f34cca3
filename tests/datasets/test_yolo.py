"""YOLO layouts and rows, written by hand; expected pixels worked by hand or by the format's own formula."""

import os
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from shapes import picture

from al_cli.datasets import headers, load_yolo
from al_cli.datasets.labels import LabelFiles, parse_row
from al_cli.datasets.notes import Notes
from al_cli.datasets.places import Places
from al_cli.errors import DatasetError

YAML = "train: images/train\nval: images/val\ntest: images/test\nnc: 3\nnames: [cat, dog, owl]\n"


def labels(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


def dataset(root, text=YAML, splits=("train", "val", "test")):
    """A sound dataset of one image a split in the images/train layout."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "data.yaml").write_text(text)
    for split in splits:
        picture(root / "images" / split / "a.png")
        labels(root / "labels" / split / "a.txt", "1 0.5 0.5 0.2 0.4")
    return root


def load(root, **settings):
    """With images that have no label file as negatives: most tests are about something else."""
    return load_yolo(root, **{"missing_labels": "negative"} | settings)


def error_of(root, **settings):
    with pytest.raises(DatasetError) as caught:
        load(root, **settings)
    return str(caught.value)


def row_error(tmp_path, *rows):
    root = dataset(tmp_path / "d")
    labels(root / "labels/train/a.txt", *rows)
    return error_of(root)


# ---- rows


def test_rows_become_pixel_boxes(tmp_path):
    root = dataset(tmp_path / "d")
    labels(root / "labels/train/a.txt", "1 0.5 0.5 0.2 0.4", "", "  2\t0.25 0.25 0.5 0.5  ", "0.0 0.1 0.1 0.1 0.1")
    image = load(root).train[0]
    # 200 x 100 px: centre (100, 50), 40 wide, 40 high; then (50, 25), 100 x 50; then (20, 10), 20 x 10.
    np.testing.assert_allclose(image.boxes, [[80, 30, 120, 70], [0, 0, 100, 50], [10, 5, 30, 15]], atol=1e-9)
    assert image.classes.tolist() == [1, 2, 0]
    np.testing.assert_allclose(image.areas, [1600, 5000, 200])
    assert not image.crowd.any()


def test_polygons_and_oriented_boxes_become_boxes_row_by_row(tmp_path):
    root = dataset(tmp_path / "d")
    labels(
        root / "labels/train/a.txt",
        "0 0.1 0.2 0.4 0.3 0.2 0.9",  # a triangle: the shortest polygon
        "1 0.5 0.5 0.2 0.4",
        "2 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5",  # an oriented box, a diamond
    )
    image = load(root).train[0]
    np.testing.assert_allclose(image.boxes, [[20, 20, 80, 90], [80, 30, 120, 70], [20, 10, 180, 90]], atol=1e-9)
    assert image.classes.tolist() == [0, 1, 2]


def test_a_little_outside_is_clipped(tmp_path):
    root = dataset(tmp_path / "d")
    labels(root / "labels/train/a.txt", "0 0.5 0.5 1.018 1.0", "0 -0.01 0 1.01 0 1.01 1.01")
    boxes = load(root).train[0].boxes
    np.testing.assert_array_equal(boxes, [[0, 0, 200, 100], [0, 0, 200, 100]])


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("3 0.5 0.5 0.2 0.2", r"class 3 is not one of 0\.\.2"),
        ("-1 0.5 0.5 0.2 0.2", r"class -1 is not one of 0\.\.2"),
        ("1.5 0.5 0.5 0.2 0.2", r"class 1\.5 is not one of"),
        ("nan 0.5 0.5 0.2 0.2", "class nan is not one of"),
        ("1 nan 0.5 0.2 0.2", "not finite"),
        ("1 0.5 0.5 inf 0.2", "not finite"),
        ("1 0.5 0.5 -0.2 0.2", r"-0\.2 wide and 0\.2 high"),
        ("1 0.5 0.5 0.2 0", r"0\.2 wide and 0 high"),
        ("1 0.5 0.5 0.2 1.03", r"outside the image.*by more than 0\.01"),
        ("1 100 50 40 40", r"outside the image"),  # pixels instead of shares
        ("1 0.5 0.5 0.2 1e-16", "high, both must be above 0"),
        ("1 -0.005 0.5 0.002 0.2", "wholly outside"),
        ("1 0.1 0.2 0.4 0.3 0.2 1.2", "outside the image"),
        ("1 0.1 0.2 0.1 0.3 0.1 0.9", "0 wide"),  # a polygon that is a line
        ("1 0.5 0.5 0.2 0.2 0.9", "a prediction with its confidence"),
        ("1 0.5 0.5 0.2", "4 numbers"),
        ("1", "1 numbers"),
        ("1 0.1 0.2 0.4 0.3 0.2 0.9 0.5", "8 numbers"),
        ("cat 0.5 0.5 0.2 0.2", "'cat' is no number.*cat 0.5"),
        ("1,0.5,0.5,0.2,0.2", "is no number, and rows are numbers with spaces"),
    ],
)
def test_a_broken_row_names_file_line_and_value(tmp_path, row, what):
    text = row_error(tmp_path, "1 0.5 0.5 0.2 0.4", "", row)
    assert re.search(what, text)
    assert "labels/train/a.txt:3" in text
    assert "problems" not in text


def test_all_problems_come_at_once_the_first_ten_in_words(tmp_path):
    root = dataset(tmp_path / "d")
    labels(root / "labels/train/a.txt", *["7 0.5 0.5 0.2 0.2"] * 25)
    labels(root / "labels/test/a.txt", "0 0.5 0.5 2 2")
    (root / "images/val/b.png").write_bytes(b"no image")
    text = error_of(root)
    assert text.startswith("27 problems (")
    assert "these and 17 more" in text
    assert len([line for line in text.splitlines() if "class 7 is not" in line]) == 10
    assert "a.txt:10:" in text
    assert "a.txt:11:" not in text
    labels(root / "labels/train/a.txt", "not a row")
    text = error_of(root)  # now rows and an image, of three splits, in one report
    assert text.startswith("3 problems (")
    assert all(part in text for part in ("train/a.txt:1", "test/a.txt:1", "images/val/b.png"))


@given(
    width=st.integers(1, 4000),
    height=st.integers(1, 4000),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
    polygon=st.booleans(),
)
def test_round_trip_from_pixels(width, height, corners, polygon):
    """Pixel boxes written as shares with 17 digits come back as the same pixels."""
    x1, x2 = sorted((corners[0] * width, corners[2] * width))
    y1, y2 = sorted((corners[1] * height, corners[3] * height))
    if x2 - x1 < 1e-3 or y2 - y1 < 1e-3:
        return
    if polygon:
        numbers = [x1 / width, y1 / height, x2 / width, y1 / height, x2 / width, y2 / height, x1 / width, y2 / height]
    else:
        numbers = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
    tokens = ["2", *(f"{number:.17g}" for number in numbers)]
    label, *shares = parse_row([token.encode() for token in tokens])
    assert label == 2
    np.testing.assert_allclose(
        np.array(shares) * [width, height, width, height], [x1, y1, x2, y2], atol=1e-9 * max(width, height)
    )


# ---- negatives


def test_missing_and_empty_label_files_are_negatives(tmp_path):
    root = dataset(tmp_path / "d")
    picture(root / "images/train/b.png")
    picture(root / "images/train/c.png")
    labels(root / "labels/train/c.txt", "", "   ")
    train = load(root).train
    assert [len(image.boxes) for image in train.images] == [1, 0, 0]
    assert train.box_count == 1


def test_a_split_without_any_label_is_an_error_and_says_where_it_looked(tmp_path):
    root = dataset(tmp_path / "d")
    shutil.move(root / "labels/train", root / "Labels-train")
    text = error_of(root)
    assert "train split has 1 images but not one labeled object" in text
    assert str(root / "labels/train/a.txt") in text


def test_a_split_without_images_is_an_error(tmp_path):
    root = dataset(tmp_path / "d")
    (root / "images/val/a.png").unlink()
    assert "val split has no images" in error_of(root)


# ---- layouts


def test_splits_ids_and_names(tmp_path):
    root = dataset(tmp_path / "birds")
    for name in ("b.png", "c/a.png", "B.png"):
        picture(root / "images/train" / name)
    splits = load(str(root))
    assert splits.name == "birds"
    assert load(root, name="n").name == "n"
    assert splits.train.class_names == ("cat", "dog", "owl")
    relative = [image.path.relative_to(root / "images/train").as_posix() for image in splits.train.images]
    assert relative == ["B.png", "a.png", "b.png", "c/a.png"]  # plain text order, folders searched
    assert splits.train.ids.tolist() == [0, 1, 2, 3]
    assert splits.val.ids.tolist() == [4]
    assert splits.test.ids.tolist() == [5]
    assert all(image.path.is_absolute() for image in splits.train.images)


@pytest.mark.parametrize("key", ["val", "valid", "validation"])
def test_the_held_out_split_by_any_of_its_names(tmp_path, key):
    root = dataset(tmp_path / "d", f"train: images/train\n{key}: images/val\ntest: images/test\nnames: [cat, dog]\n")
    splits = load(root)
    assert splits.val.images[0].path == root / "images/val/a.png"
    assert splits.test.images[0].path == root / "images/test/a.png"


@pytest.mark.parametrize(("key", "other"), [("val", "test"), ("test", "val")])
def test_a_single_held_out_split_is_read_under_its_name(tmp_path, key, other):
    root = dataset(tmp_path / "d", f"train: images/train\n{key}: images/{key}\nnames: [cat, dog]\n")
    splits = load(root)
    assert getattr(splits, other) is None
    assert getattr(splits, key).images[0].path == root / f"images/{key}/a.png"
    assert getattr(splits, key).ids.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("val: images/val\nnames: [cat]\n", "no train split"),
        ("train: images/train\nval: images/val\nvalid: images/test\nnames: [cat]\n", "both val and valid"),
        ("train: images/train\nval: {a: b}\nnames: [cat]\n", "val is"),
        ("train: images/train\nval: images/nowhere\nnames: [cat]\n", "val: images/nowhere is neither"),
        ("train: images/train\nval: images/val\n", "names no classes"),
        ("train: images/train\nval: images/val\nnames: []\n", "names no classes"),
        ("train: images/train\nval: images/val\nnames: [a, b]\nnc: 3\n", "nc is 3 but names has 2"),
        ("train: images/train\nval: images/val\nnames: [a, b, a]\n", "two classes are named 'a'"),
        ("train: images/train\nval: images/val\nnames: {0: a, 2: b}\n", r"0\.\.1 without gaps, got 0, 2"),
        ("train: images/train\nval: images/val\nnames: {0: a, 1: b, 1: c}\n", "'1' comes twice"),
        ("train: images/train\nval: images/val\nnames: {a: 0}\n", "without gaps, got a"),
        ("path: /nowhere/at/all\ntrain: images/train\nval: images/val\nnames: [a]\n", "path: /nowhere/at/all is not"),
        ("train: images/train\nval: images/val\nnames: [a]\nkpt_shape: [17, 3]\n", "keypoint"),
        ("- train\n", "not a mapping"),
        ("train: [\n", "cannot be read as YAML"),
    ],
)
def test_a_bad_yaml_is_one_error_with_the_file(tmp_path, text, what):
    root = dataset(tmp_path / "d", text)
    with pytest.raises(DatasetError, match=what) as caught:
        load(root)
    assert str(root / "data.yaml") in str(caught.value)


@pytest.mark.parametrize(
    "names",
    [
        "names: [cat, dog, owl]",
        "names:\n- cat\n- dog\n- owl",
        "names: {0: cat, 1: dog, 2: owl}",
        "names: {2: owl, 0: cat, 1: dog}",
    ],
)
def test_names_as_list_or_mapping(tmp_path, names):
    root = dataset(tmp_path / "d", f"train: images/train\nval: images/val\n{names}\n")
    assert load(root).train.class_names == ("cat", "dog", "owl")


def test_names_that_yaml_takes_for_something_else(tmp_path):
    root = dataset(tmp_path / "d", "train: images/train\nval: images/val\nnc: 5\nnames: [no, on, 007, 1e3, null]\n")
    assert load(root).train.class_names == ("no", "on", "007", "1e3", "null")


def test_yaml_by_folder_by_other_name_or_by_path(tmp_path):
    root = dataset(tmp_path / "d")
    (root / "data.yaml").rename(root / "birds.yml")
    assert len(load(root).train) == len(load(root / "birds.yml").train) == 1
    (root / "other.yaml").write_text(YAML)
    assert "several: birds.yml, other.yaml" in error_of(root)
    (root / "data.yaml").write_text(YAML)
    assert len(load(root).train) == 1
    assert "is a part of the YOLO dataset" in error_of(root / "images")
    assert "no such folder" in error_of(tmp_path / "gone")


def test_both_folder_orders_and_roboflow_parents(tmp_path):
    """train/images as Roboflow has it, whose ../ leads out of the folder that the images lie in."""
    root = tmp_path / "d"
    for split in ("train", "valid", "test"):
        picture(root / split / "images/a.jpg")
        labels(root / split / "labels/a.txt", "0 0.5 0.5 0.2 0.4")
    (root / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 1\nnames: ['cat']\n\n"
        "roboflow:\n  workspace: w\n  version: 1\n"
    )
    splits = load(root)
    assert [data.images[0].path.relative_to(root).as_posix() for data in (splits.train, splits.val, splits.test)] == [
        "train/images/a.jpg",
        "valid/images/a.jpg",
        "test/images/a.jpg",
    ]
    assert splits.val.box_count == 1


def test_parent_folders_that_do_exist_are_meant(tmp_path):
    root = dataset(tmp_path / "d")
    (root / "conf").mkdir()
    (root / "conf/data.yaml").write_text("train: ../images/train\nval: ../images/val\nnames: [cat, dog]\n")
    assert load(root / "conf").train.box_count == 1


@pytest.mark.parametrize(("place", "path"), [("d", "d"), ("d", "."), ("conf", "../d"), ("conf", "d"), ("", "d")])
def test_path_is_the_root(tmp_path, place, path):
    root = dataset(tmp_path / "d")
    (root / "data.yaml").unlink()
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / "x.yaml").write_text(f"path: {path}\n{YAML}")
    assert load(tmp_path / place / "x.yaml").train.box_count == 1
    (tmp_path / place / "x.yaml").write_text(f"path: {root}\n{YAML}")
    splits = load(tmp_path / place / "x.yaml")
    assert splits.train.box_count == 1
    assert splits.name == "d"


def test_list_files_and_lists(tmp_path):
    root = dataset(tmp_path / "d", "train: [lists/one.txt, images/more]\nval: lists/val.txt\nnames: [cat, dog]\n")
    for name in ("more/b.png", "train/c.png", "train/unlisted.png"):
        picture(root / "images" / name)
    absolute = picture(tmp_path / "elsewhere/images/z.png")
    labels(tmp_path / "elsewhere/labels/z.txt", "0 0.5 0.5 0.1 0.1")
    labels(root / "lists/one.txt", "./../images/train/c.png", "", "images/train/a.png ", absolute)
    (root / "lists/val.txt").write_bytes(b"\xef\xbb\xbfimages/val/a.png\r\n")
    splits = load(root)
    assert [image.path.name for image in splits.train.images] == ["a.png", "b.png", "c.png", "z.png"]
    assert [len(image.boxes) for image in splits.train.images] == [1, 0, 0, 1]
    assert len(splits.val) == 1


def test_bad_lines_of_a_list_file(tmp_path):
    root = dataset(tmp_path / "d", "train: one.txt\nval: images/val\nnames: [cat, dog]\n")
    labels(root / "one.txt", "images/train/a.png", "images/train/gone.png", "images/train/a.doc", "images/train/a.png")
    text = error_of(root)
    assert text.startswith("3 problems")
    assert f"one.txt:2: there is no image {root}/images/train/gone.png" in text
    assert "one.txt:3: 'images/train/a.doc' is not a known image type" in text
    assert "images/train/a.png: image of the train split is in the train split twice" in text
    (root / "one.txt").write_bytes(b"images/\xe9.png")
    assert "one.txt:1): save it as UTF-8" in error_of(root)


def test_the_last_images_of_a_path_becomes_labels(tmp_path):
    root = dataset(tmp_path / "images" / "d" / "images")
    expected = LabelFiles(root, Places(), Notes()).expected(root / "images/train/a.b.JPG")
    assert expected == root / "labels/train/a.b.txt"
    assert load(root).train.box_count == 1


def test_without_images_in_the_path_labels_lie_beside(tmp_path):
    root = tmp_path / "d"
    for split in ("train", "val"):
        picture(root / split / "my-images" / "a.png")
        labels(root / split / "my-images" / "a.txt", "0 0.5 0.5 0.2 0.4")
    (root / "data.yaml").write_text("train: train\nval: val\nnames: [cat]\n")
    assert load(root).train.box_count == 1


def test_any_type_and_letter_case_hidden_files_left_out(tmp_path):
    root = dataset(tmp_path / "d")
    for name in ("b.JPG", "c.Jpeg", "d.BMP", "e.webp", "f.TIF"):
        picture(root / "images/train" / name)
        labels(root / "labels/train" / Path(name).with_suffix(".txt"), "0 0.5 0.5 0.2 0.4")
    (root / "images/train/._a.png").write_bytes(b"resource fork")
    picture(root / "images/train/.ipynb_checkpoints/a-checkpoint.png")
    (root / "images/train/notes.txt").write_text("no image")
    train = load(root).train
    assert [image.path.name for image in train.images] == ["a.png", "b.JPG", "c.Jpeg", "d.BMP", "e.webp", "f.TIF"]
    assert train.box_count == 6


def test_links_are_followed_and_circles_end(tmp_path):
    root = dataset(tmp_path / "d")
    picture(tmp_path / "store/b.png")
    (root / "images/train/linked").symlink_to(tmp_path / "store")
    (tmp_path / "store/again").symlink_to(tmp_path / "store")
    assert [image.path.name for image in load(root).train.images] == ["a.png", "b.png"]


def test_labels_with_a_byte_order_mark_and_windows_lines(tmp_path):
    root = dataset(tmp_path / "d")
    (root / "labels/train/a.txt").write_bytes(b"\xef\xbb\xbf1 0.5 0.5 0.2 0.4\r\n0 0.5 0.5 0.2 0.4\r\n")
    assert load(root).train[0].classes.tolist() == [1, 0]


def test_two_images_with_one_label_file(tmp_path):
    root = dataset(tmp_path / "d")
    picture(root / "images/train/a.jpg")
    text = error_of(root)
    assert "shares its label file" in text
    assert "a.jpg" in text
    assert "a.png" in text


def test_boxes_are_of_the_turned_image(tmp_path):
    root = dataset(tmp_path / "d")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(root / "images/train/a.png", 200, 100, exif=exif)
    image = load(root).train[0]
    assert (image.width, image.height) == (100, 200)
    np.testing.assert_allclose(image.boxes, [[40, 60, 60, 140]])


# ---- leakage


def test_the_same_folder_for_two_splits(tmp_path):
    root = dataset(tmp_path / "d", "train: images/train\nval: images/train\nnames: [cat, dog]\n")
    text = error_of(root)
    assert text.startswith("every image of the val split is in the train split too")
    assert "dataset.test=20%" in text


@pytest.mark.parametrize("how", ["copy", "symlink", "hardlink"])
def test_the_same_image_under_another_name(tmp_path, how):
    root = dataset(tmp_path / "d")
    source, target = root / "images/train/a.png", root / "images/test/other.png"
    {"copy": shutil.copy, "symlink": os.symlink, "hardlink": os.link}[how](source, target)
    text = error_of(root)
    assert f"image of the test split is also in the train split, as {source} ({target})" in text


def test_equal_length_is_not_equal_content(tmp_path):
    root = dataset(tmp_path / "d")
    for split in ("train", "test"):
        picture(root / "images" / split / "b.bmp")
    sizes = {(root / "images" / split / "b.bmp").stat().st_size for split in ("train", "test")}
    assert len(sizes) == 1
    assert len(load(root).train) == 2


# ---- the same everywhere, and in place


def test_same_ids_and_fingerprint_on_another_file_system(tmp_path, monkeypatch):
    root = dataset(tmp_path / "d")
    for n in random.Random(0).sample(range(30), 30):
        picture(root / f"images/train/{n % 3}/{n}.png")
    shutil.copytree(root, tmp_path / "copy")
    one = load(root)
    real = os.walk
    monkeypatch.setattr(
        os, "walk", lambda *a, **k: ((p, d, f) for p, d, f in real(*a, **k) if d.reverse() is f.reverse())
    )
    two = load(tmp_path / "copy")
    for a, b in ((one.train, two.train), (one.val, two.val), (one.test, two.test)):
        assert a.fingerprint == b.fingerprint
        assert a.ids.tolist() == b.ids.tolist()


def test_nothing_is_written_or_run_and_a_second_load_opens_no_image(tmp_path, monkeypatch):
    root = dataset(
        tmp_path / "d", YAML + f"download: |\n  from pathlib import Path\n  Path('{tmp_path}/ran').touch()\n"
    )

    def state():
        return sorted((str(path), path.stat().st_mtime_ns) for path in root.rglob("*"))

    before = state()
    first = load(root)
    assert state() == before
    assert not (tmp_path / "ran").exists()

    def fail(path):
        raise AssertionError(f"opened {path}")

    monkeypatch.setattr(headers, "_header", fail)
    monkeypatch.setattr(headers, "_digest", fail)
    assert load(root).train.fingerprint == first.train.fingerprint


def test_empty_files_in_two_splits_are_unreadable_and_not_one_image(tmp_path):
    root = dataset(tmp_path / "d")
    for split in ("train", "val"):
        (root / f"images/{split}/empty.png").write_bytes(b"")
    text = error_of(root)
    assert text.startswith("2 problems") and text.count("is not a readable image") == 2
