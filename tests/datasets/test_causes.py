"""Each cause is told as what it is, once, with a remedy for it: encodings, keys given twice, labels and images elsewhere."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from al_cli.datasets import load_coco, load_yolo, places
from al_cli.datasets.notes import Notes
from al_cli.errors import DatasetError

YAML = "train: train/images\nval: test/images\nnames: [café, dog]\n"
UNICODE = ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


@pytest.fixture
def yolo(tmp_path):
    """6 images of train and 2 of test, one box each."""
    root = tmp_path / "d"
    for split, count in (("train", 6), ("test", 2)):
        for folder in ("images", "labels"):
            (root / split / folder).mkdir(parents=True)
        for n in range(count):
            Image.fromarray(np.full((20, 20, 3), 10 * n + count, np.uint8)).save(root / split / f"images/{n}.png")
            (root / split / f"labels/{n}.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    (root / "data.yaml").write_text(YAML, encoding="utf-8")
    return root


@pytest.fixture
def coco(tmp_path):
    """3 images of train and of valid, one box each, in Roboflow's layout."""
    for split in ("train", "valid"):
        folder = tmp_path / "c" / split
        folder.mkdir(parents=True)
        rows = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "café"}]}
        for n in range(3):
            Image.fromarray(np.full((20, 20, 3), 20 * n + ord(split[0]), np.uint8)).save(folder / f"{split}{n}.png")
            rows["images"].append({"id": n, "file_name": f"{split}{n}.png"})
            rows["annotations"].append({"id": n, "image_id": n, "category_id": 1, "bbox": [2, 2, 9, 9]})
        (folder / "_annotations.coco.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return tmp_path / "c"


def json_of(root, split="train"):
    return root / split / "_annotations.coco.json"


def edit(root, change):
    for split in ("train", "valid"):
        table = json.loads(json_of(root, split).read_text(encoding="utf-8"))
        change(table, split)
        json_of(root, split).write_text(json.dumps(table))


def refusal(load, root, **options):
    with pytest.raises(DatasetError) as caught:
        load(root, **options)
    return str(caught.value)


def recode(file, encoding):
    file.write_bytes(file.read_text(encoding="utf-8").encode(encoding))


@pytest.mark.parametrize("encoding", UNICODE)
def test_text_in_any_of_unicodes_encodings_is_read(yolo, coco, encoding):
    (yolo / "train.txt").write_text("".join(f"train/images/{n}.png\n" for n in range(6)))
    (yolo / "data.yaml").write_text(YAML.replace("train/images", "train.txt"), encoding="utf-8")
    before, table = load_yolo(yolo).train.fingerprint, load_coco(coco).train.fingerprint
    for file in (yolo / "data.yaml", yolo / "train.txt", yolo / "train/labels/3.txt", json_of(coco)):
        recode(file, encoding)
    assert load_yolo(yolo).train.fingerprint == before
    assert load_coco(coco).train.fingerprint == table


def test_text_in_another_encoding_is_told_with_its_line(yolo, coco):
    recode(yolo / "data.yaml", "latin-1")
    assert refusal(load_yolo, yolo) == f"is not text in UTF-8 ({yolo}/data.yaml:3): save it as UTF-8"
    recode(json_of(coco), "latin-1")
    assert "is not text in UTF-8" in refusal(load_coco, coco)
    (yolo / "data.yaml").write_text(YAML.replace("train/images", "train.txt"), encoding="utf-8")
    (yolo / "train.txt").write_bytes("train/images/0.png\ntrain/images/é.png\n".encode("latin-1"))
    assert refusal(load_yolo, yolo) == f"is not text in UTF-8 ({yolo}/train.txt:2): save it as UTF-8"


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('"annotations": [{', '"annotations": [], "annotations": [{', "annotations"),
        ('"bbox": [', '"bbox": [1, 1, 3, 3], "bbox": [', "bbox"),
        ('"file_name": "train0', '"file_name": "train2.png", "file_name": "train0', "file_name"),
        ('"name": "caf', '"name": "cat", "name": "caf', "name"),
    ],
)
def test_a_key_that_comes_twice_in_a_json_object_is_refused(coco, old, new, key):
    text = json_of(coco).read_text(encoding="utf-8")
    json_of(coco).write_text(text.replace(old, new, 1), encoding="utf-8")
    assert f"the key '{key}' comes 2 times in one object" in refusal(load_coco, coco)


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        (YAML + "train: test/images\n", "the key 'train' comes twice", 4),
        (YAML.replace("val: ", "val:\t"), "cannot start any token", 2),
        (YAML + "---\na: 1\n", "found another document", 4),
    ],
)
def test_a_fault_of_yaml_is_one_line_that_names_its_line(yolo, text, said, line):
    (yolo / "data.yaml").write_text(text, encoding="utf-8")
    found = refusal(load_yolo, yolo)
    assert said in found and f"data.yaml:{line})" in found and "\n" not in found


def test_a_key_in_capitals_is_named(yolo):
    (yolo / "data.yaml").write_text(YAML.replace("names", "Names"), encoding="utf-8")
    assert (
        refusal(load_yolo, yolo) == f"has the key Names, and keys are in small letters ({yolo}/data.yaml): write names"
    )


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path.name)])
def test_a_data_file_that_is_no_file_is_named(yolo, coco, make, al):
    for root, name in ((yolo, "data.yaml"), (coco, "train/_annotations.coco.json")):
        (root / name).unlink()
        make(root / name)
        assert f"({root / name})" in al("data", root, code=2).stderr


# ---- labels and images that lie elsewhere


@pytest.mark.parametrize(
    "new", ["train/annotations/{}.txt", "labels/train/{}.txt", "train/labels/{}.png.txt", "{}.txt"]
)
def test_label_files_in_a_place_where_none_is_looked_for_are_named(yolo, new):
    for n in range(6):
        (yolo / new.format(n)).parent.mkdir(parents=True, exist_ok=True)
        (yolo / f"train/labels/{n}.txt").rename(yolo / new.format(n))
    said = refusal(load_yolo, yolo)
    assert f"6 have no label file, but {yolo / new.format(0)} is there" in said
    assert said.endswith("move or rename such files to where labels are looked for")
    for n in range(6):  # the remedy
        (yolo / new.format(n)).rename(yolo / f"train/labels/{n}.txt")
    assert load_yolo(yolo).train.box_count == 6


def test_of_label_files_elsewhere_those_of_the_images_split_are_named(yolo):
    for split in ("test", "train"):
        (yolo / split / "labels").rename(yolo / split / "annotations")
    assert f"{yolo}/train/annotations/0.txt is there" in refusal(load_yolo, yolo)


def test_label_files_of_another_split_are_not_taken_for_those_of_an_image(yolo):
    shutil.rmtree(yolo / "train/labels")
    assert "is there" not in refusal(load_yolo, yolo)  # test/labels/0.txt is that of test/images/0.png


@pytest.mark.parametrize("suffix", [".xml", ".json"])
def test_labels_of_another_format_are_named(yolo, suffix):
    for n in range(3):
        (yolo / f"train/labels/{n}.txt").rename(yolo / f"train/labels/{n}{suffix}")
    said = refusal(load_yolo, yolo)
    assert f"train/labels/0{suffix} is there" in said and "export YOLO" in said and "missing_labels=negative" in said


def test_a_label_file_elsewhere_is_counted_where_few_are_missing(yolo):
    (yolo / "train/labels/0.txt").rename(yolo / "0.txt")
    notes = Notes()
    load_yolo(yolo, notes=notes)
    assert notes.places["files that may be their labels, in another place or format, not read"] == [f"{yolo}/0.txt"]


@pytest.mark.parametrize("entry", ["C:\\set\\train\\images", "/content/set/train/images", "file:///x/train/images"])
def test_a_split_elsewhere_names_the_folder_that_is_there(yolo, entry):
    (yolo / "data.yaml").write_text(YAML.replace("train/images", f"'{entry}'"), encoding="utf-8")
    said = refusal(load_yolo, yolo)
    assert f"{yolo}/train/images is there" in said and said.endswith("correct the line")  # the pool cannot be left out


@pytest.mark.parametrize("name", ["C:\\set\\{}.png", "/home/bob/{}.png", "images/{}.png", "{}.jpg", "{}"])
def test_an_image_elsewhere_names_the_file_that_is_there(coco, name):
    def change(table, split):
        for row in table["images"]:
            row["file_name"] = name.format(row["file_name"].removesuffix(".png"))

    edit(coco, change)
    said = refusal(load_coco, coco)
    assert f"{coco}/train/train0.png is there" in said
    assert said.startswith("6 problems")  # and not one more for each annotation of such an image


def test_a_folder_that_may_not_be_read_is_no_folder_without_files(yolo, monkeypatch):
    def scandir(folder, listed=os.scandir):
        if str(folder).endswith(hidden):
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(places.os, "scandir", scandir)
    for hidden in ("train/labels", "train/images"):
        said = refusal(load_yolo, yolo)
        assert said.startswith(f"the folder cannot be read: Permission denied ({yolo}/{hidden})")


# ---- told once


def test_what_follows_from_a_problem_is_no_second_one(yolo, coco):
    def change(table, split):
        del table["categories"][0]["name"]

    edit(coco, change)
    assert refusal(load_coco, coco).startswith("2 problems")  # one a file, none an annotation
    (yolo / "data.yaml").write_text(YAML.replace("train/images", "train.txt"), encoding="utf-8")
    (yolo / "train.txt").write_text("gone.png\n")
    assert refusal(load_yolo, yolo).startswith("there is no image")


def test_an_image_as_a_list_of_images_is_called_an_image(yolo):
    (yolo / "data.yaml").write_text(YAML.replace("train/images", "train/images/0.png"), encoding="utf-8")
    assert refusal(load_yolo, yolo).startswith("is an image and no list of images")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("1", "without quotes"),
        (1.0, "without quotes or a decimal point"),
        (None, "None is not a whole"),
        (2**70, "64 bits"),
    ],
)
def test_an_id_that_is_none_says_why(coco, value, said):
    edit(coco, lambda table, split: table["images"][1].update(id=value))
    assert said in refusal(load_coco, coco)


def test_null_is_as_absent(coco):
    def change(table, split):
        for row in table["annotations"]:
            row.update(id=None, iscrowd=None, area=None)

    edit(coco, change)
    assert load_coco(coco).train.box_count == 3


def test_nothing_left_of_a_split_is_said_without_counts_of_nothing(yolo):
    for n in range(5):
        shutil.copy(yolo / f"train/images/{n}.png", yolo / f"test/images/copy{n}.png")
        shutil.copy(yolo / f"train/labels/{n}.txt", yolo / f"test/labels/copy{n}.txt")
    (yolo / "train/images/5.png").write_bytes(b"no image")
    assert "nothing of the train split remains" in refusal(load_yolo, yolo, bad_rows="leave_out")


@pytest.mark.parametrize("word", ["missing_labels=maybe", "missing_labels=true", "bad_rows=maybe", "bad_rows=null"])
def test_a_choice_that_is_none_is_refused(yolo, al, word):
    said = al("data", yolo, f"dataset.{word}", code=2).stderr
    assert f"dataset.{word.split('=')[0]} is" in said and "valid: " in said


# ---- a part of a dataset, and systematic faults


@pytest.mark.parametrize("part", ["train", "valid", "train/_annotations.coco.json"])
def test_a_part_of_a_coco_dataset_is_answered_with_the_dataset(coco, al, part):
    said = al("data", coco / part, code=2).stderr
    assert said.strip().endswith(f"give that folder: al data {coco}")


@pytest.mark.parametrize("part", ["annotations", "images", "images/train2017", "annotations/instances_train2017.json"])
def test_a_part_of_a_dataset_in_cocos_layout_is_answered_with_it(coco, al, part):
    for folder in ("annotations", "images"):
        (coco / folder).mkdir()
    for split, name in (("train", "train2017"), ("valid", "val2017")):
        json_of(coco, split).rename(coco / f"annotations/instances_{name}.json")
        (coco / split).rename(coco / "images" / name)
    assert len(load_coco(coco).train) == 3
    said = al("data", coco / part, code=2).stderr
    assert said.strip().endswith(f"give that folder: al data {coco}")


def test_a_pool_that_is_held_out_whole_is_one_problem_without_a_vain_remedy(yolo):
    for n in range(6):
        shutil.copy(yolo / f"train/images/{n}.png", yolo / f"test/images/copy{n}.png")
        shutil.copy(yolo / f"train/labels/{n}.txt", yolo / f"test/labels/copy{n}.txt")
    for bad_rows in ("refuse", "leave_out"):
        said = refusal(load_yolo, yolo, bad_rows=bad_rows)
        assert said.startswith("every image of the train split is held out too") and "leave_out" not in said


def test_a_pool_around_the_held_out_split_is_told_how_to_leave_it_out(yolo):
    (yolo / "data.yaml").write_text(YAML.replace("train/images", "."), encoding="utf-8")
    assert "leave them out of it with dataset.bad_rows=leave_out" in refusal(load_yolo, yolo)
    assert len(load_yolo(yolo, bad_rows="leave_out").train) == 6  # the remedy


@pytest.mark.parametrize(
    ("row", "said"),
    [("0 10 10 5 5", "shares of the image's width and height"), ("2 0.5 0.5 0.5 0.5", "classes are numbered from 0")],
)
def test_a_fault_of_all_rows_says_its_cause(yolo, row, said):
    for n in range(6):
        (yolo / f"train/labels/{n}.txt").write_text(row + "\n")
    assert said in refusal(load_yolo, yolo)


def test_a_split_of_coco_that_is_a_text_is_refused(coco, al):
    said = al("data", coco, "dataset.train=train", code=2).stderr
    assert "dataset.train.images=DIR dataset.train.annotations=FILE" in said


def test_a_file_of_another_kind_is_not_asked_to_be_saved_as_text(coco):
    json_of(coco).write_bytes((coco / "train/train0.png").read_bytes())
    assert "is not text" in refusal(load_coco, coco) and "UTF-8" not in refusal(load_coco, coco)
