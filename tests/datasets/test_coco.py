"""COCO files against pycocotools reading the same json, and each broken row against its message."""

import contextlib
import copy
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from shapes import picture

from al_cli.datasets import load_coco
from al_cli.datasets.notes import Notes
from al_cli.errors import DatasetError

CATEGORIES = [
    {"id": 90, "name": "owl", "supercategory": "animal"},
    {"id": 3, "name": "cat", "supercategory": "animal"},
    {"id": 18, "name": "dog", "supercategory": "animal"},
]
TABLE = {
    "images": [{"id": 7, "file_name": "a.png", "width": 200, "height": 100}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 18, "bbox": [80, 30, 40, 40], "area": 900.5, "iscrowd": 0}],
    "categories": CATEGORIES,
}


def write(file, table):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(table))
    return file


def dataset(root, train=None, test=None):
    """annotations/{train,test}.json with images/{train,test}/a.png."""
    for split, table in (("train", train), ("test", test)):
        write(root / f"annotations/{split}.json", TABLE if table is None else table)
        if not (root / f"images/{split}/a.png").exists():
            picture(root / f"images/{split}/a.png")
    return root


def table(**changes):
    return {**copy.deepcopy(TABLE), **changes}


def annotation(**changes):
    row = {**TABLE["annotations"][0], **changes}
    return table(annotations=[{key: value for key, value in row.items() if value != "ABSENT"}])


def error_of(root, **splits):
    with pytest.raises(DatasetError) as caught:
        load_coco(root, **splits)
    return str(caught.value)


# ---- what is read


def test_the_same_boxes_areas_and_categories_as_pycocotools(tmp_path):
    rng = np.random.default_rng(5)
    root = dataset(tmp_path / "d")
    images, rows = [], []
    for n, image_id in enumerate(rng.permutation(1000)[:40].tolist()):
        width, height = rng.integers(50, 300, 2).tolist()
        picture(root / f"images/train/{n}.png", width, height)
        images.append({"id": image_id, "file_name": f"{n}.png", "width": width, "height": height})
        for _ in range(rng.integers(0, 9)):
            x, y = rng.uniform(0, 0.7, 2) * (width, height)
            w, h = rng.uniform(0.01, 0.3, 2) * (width, height)
            row = {"id": 10_000 - len(rows), "image_id": image_id, "category_id": int(rng.choice([3, 18, 90]))}
            row |= {
                "bbox": [x, y, w, h],
                "area": float(w * h * rng.uniform(0.3, 1)),
                "iscrowd": int(rng.random() < 0.2),
            }
            rows.append(row)
    order = rng.permutation(len(rows))  # a file need not be sorted by image
    dataset(root, train={"images": images, "annotations": [rows[i] for i in order], "categories": CATEGORIES})
    train = load_coco(root).train
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(root / "annotations/train.json"))
    assert sorted(image.source_id for image in train.images) == sorted(theirs.getImgIds())
    assert train.category_ids == tuple(sorted(theirs.getCatIds())) == (3, 18, 90)
    assert train.class_names == tuple(row["name"] for row in theirs.loadCats(train.category_ids))
    assert sum(not len(image.boxes) for image in train.images) >= 1
    for image in train.images:
        expected = theirs.imgToAnns[image.source_id]
        xywh = np.array([row["bbox"] for row in expected]).reshape(-1, 4)
        np.testing.assert_allclose(image.boxes[:, :2], xywh[:, :2])
        np.testing.assert_allclose(image.boxes[:, 2:] - image.boxes[:, :2], xywh[:, 2:])
        assert image.areas.tolist() == [row["area"] for row in expected]
        assert [train.category_ids[c] for c in image.classes] == [row["category_id"] for row in expected]
        assert image.crowd.tolist() == [bool(row["iscrowd"]) for row in expected]
        info = theirs.imgs[image.source_id]
        assert image.path == root / "images/train" / info["file_name"]
        assert (image.width, image.height) == (info["width"], info["height"])


def test_absent_area_is_the_clipped_box_and_absent_crowd_is_none(tmp_path):
    root = dataset(
        tmp_path / "d", annotation(bbox=[-0.5, 10, 100.5, 90.9], area="ABSENT", iscrowd="ABSENT", id="ABSENT")
    )
    image = load_coco(root).train.images[0]
    np.testing.assert_allclose(image.boxes, [[0, 10, 100, 100]])
    np.testing.assert_allclose(image.areas, [9000])
    assert not image.crowd.any()


def test_absent_width_and_height_come_from_the_image(tmp_path):
    root = dataset(tmp_path / "d", table(images=[{"id": 7, "file_name": "a.png"}]))
    image = load_coco(root).train.images[0]
    assert (image.width, image.height) == (200, 100)


def test_sizes_are_of_the_turned_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    images = [{"id": 7, "file_name": "a.png", "width": 100, "height": 200}]
    root = dataset(tmp_path / "d", {**annotation(bbox=[10, 150, 40, 50]), "images": images})
    picture(root / "images/train/a.png", 200, 100, exif=exif)
    np.testing.assert_allclose(load_coco(root).train.images[0].boxes, [[10, 150, 50, 200]])
    assert (load_coco(root).train.images[0].width, load_coco(root).train.images[0].height) == (100, 200)
    dataset(root, TABLE)
    text = error_of(root)
    assert "a.png is 100 x 200 px, listed as 200 x 100, its size before the EXIF orientation" in text
    assert "train.json, image id 7" in text


def test_ids_of_two_files_may_collide_and_a_class_may_be_absent_from_one(tmp_path):
    root = dataset(tmp_path / "d", test=table(categories=[CATEGORIES[2]]))
    splits = load_coco(root)
    assert (splits.train.ids.tolist(), splits.test.ids.tolist()) == ([0], [1])
    assert splits.train.images[0].source_id == splits.test.images[0].source_id == 7
    assert splits.test.class_names == splits.train.class_names == ("cat", "dog", "owl")
    assert splits.test.images[0].classes.tolist() == [1]
    assert (splits.name, load_coco(root, name="n").name) == ("d", "n")


# ---- layouts


def test_roboflow_layout_without_its_project_category(tmp_path):
    """Roboflow's category 0 is the project, a supercategory that nothing is labeled with."""
    root = tmp_path / "d"
    categories = [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "animals"},
        {"id": 2, "name": "dog", "supercategory": "animals"},
    ]
    rows = [{"id": 0, "image_id": 7, "category_id": 2, "bbox": [80, 30, 40, 40], "area": 1600, "iscrowd": 0}]
    for split in ("train", "valid", "test"):
        picture(root / split / "a.png")
        write(root / split / "_annotations.coco.json", table(categories=categories, annotations=rows))
    splits = load_coco(root)
    assert splits.train.class_names == ("cat", "dog")
    assert splits.train.category_ids == (1, 2)
    assert [data.images[0].path.parent.name for data in (splits.train, splits.val, splits.test)] == [
        "train",
        "valid",
        "test",
    ]

    rows[0]["category_id"] = 0  # labeled in one split only: it is a class after all, in all of them
    write(root / "test/_annotations.coco.json", table(categories=categories, annotations=rows))
    assert load_coco(root).train.class_names == ("animals", "cat", "dog")


def test_an_unused_category_that_is_nobodys_supercategory_stays(tmp_path):
    own = [
        *CATEGORIES,
        {"id": 1, "name": "animals", "supercategory": "none"},
        {"id": 2, "name": "elk", "supercategory": "elk"},
    ]
    root = dataset(tmp_path / "d", table(categories=own))
    assert load_coco(root).train.class_names == ("animals", "elk", "cat", "dog", "owl")


@pytest.mark.parametrize("images", ["", "images"])
def test_official_layout(tmp_path, images):
    root = tmp_path / "coco"
    for split in ("train2017", "val2017"):
        picture(root / images / split / "a.png")
        write(root / f"annotations/instances_{split}.json", TABLE)
        write(root / f"annotations/captions_{split}.json", {})
    splits = load_coco(root)
    assert splits.train.images[0].path == root / images / "train2017/a.png"
    assert splits.test is None
    assert splits.val.images[0].path == root / images / "val2017/a.png"
    write(root / "annotations/instances_train2014.json", TABLE)
    picture(root / "train2014/a.png")
    assert (
        "train split could be any of annotations/instances_train2014.json, annotations/instances_train2017"
        in error_of(root)
    )


@pytest.mark.parametrize("images", ["", "images"])
def test_plain_layout(tmp_path, images):
    root = tmp_path / "d"
    for split in ("train", "val", "test"):
        picture(root / images / split / "a.png")
        write(root / f"annotations/{split}.json", TABLE)
    splits = load_coco(root)
    assert [data.images[0].path.parent.name for data in (splits.train, splits.val, splits.test)] == [
        "train",
        "val",
        "test",
    ]


def test_named_splits(tmp_path):
    root = tmp_path / "d"
    for split in ("a", "b"):
        picture(root / "pictures" / split / "a.png")
        write(root / f"{split}.json", TABLE)
    a, b = ({"images": f"pictures/{split}", "annotations": f"{split}.json"} for split in "ab")
    splits = load_coco(root, train=a, val=b)
    assert splits.test is None
    assert splits.val.images[0].path == root / "pictures/b/a.png"
    alone = load_coco(root, train=a)
    assert (alone.val, alone.test) == (None, None)
    assert "no train split" in error_of(root, test=a)
    assert "exactly `images` and `annotations`" in error_of(root, train=a, test={"image": "x", "annotations": "b.json"})
    assert "no such file" in error_of(root, train=a, test={**b, "annotations": "c.json"})
    assert "test.images is not a folder" in error_of(root, train=a, test={**b, "images": "c"})


def test_unknown_layouts_say_what_is_known(tmp_path):
    assert "no such folder" in error_of(tmp_path / "gone")
    assert "is an empty folder" in error_of(tmp_path)
    root = dataset(tmp_path / "d")
    shutil.rmtree(root / "images/test")
    assert "no folder of images for this file, neither images/test nor test" in error_of(root)
    (root / "annotations/test.json").unlink()


# ---- what is broken


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"image_id": 8}, "image_id 8 is not in the list of images"),
        ({"image_id": "7"}, "image_id '7' is not"),
        ({"category_id": 1}, "category_id 1 is not in the list of categories"),
        ({"category_id": None}, "category_id None"),
        ({"bbox": [1, 2, 3]}, r"bbox \[1, 2, 3\] is not \[x, y, width, height\]"),
        ({"bbox": "ABSENT"}, "bbox None"),
        ({"bbox": [1, 2, "3", 4]}, "bbox .* is not"),
        ({"bbox": [1, 2, 30, float("nan")]}, "not finite"),
        ({"bbox": [1, 2, 30, float("inf")]}, "not finite"),
        ({"bbox": [1, 2, 3, -4]}, "3 wide and -4 high"),
        (
            {"bbox": [180, 10, 21.01, 10]},
            r"corners \(180, 10, 201\.01, 20\) reaches outside the image, 0\.\.200 x 0\.\.100",
        ),
        ({"bbox": [-1.01, 10, 20, 10]}, "reaches outside"),
        ({"area": -1}, "area -1 is not"),
        ({"area": float("nan")}, "area nan is not"),
        ({"area": "12"}, "area '12' is not"),
        ({"iscrowd": 2}, "iscrowd 2 is neither"),
    ],
)
def test_a_broken_annotation_names_file_id_and_value(tmp_path, changes, what):
    text = error_of(dataset(tmp_path / "d", annotation(**{"id": 41, **changes})))
    assert re.search(what, text)
    assert "annotations/train.json, annotation id 41" in text


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"images": [*TABLE["images"], {"id": 7, "file_name": "b.png"}]}, "image id 7 is given to a.png and to b.png"),
        (
            {"images": [*TABLE["images"], {"id": 8, "file_name": "a.png"}]},
            "file_name a.png is given to the images 7 and 8",
        ),
        (
            {"images": [*TABLE["images"], {"id": "8", "file_name": "b.png"}]},
            "file_name 'b.png': id '8' is not a whole number: write it without quotes",
        ),
        ({"images": [*TABLE["images"], {"id": 8}]}, "image 8 has the file_name None"),
        ({"images": [*TABLE["images"], {"id": 2**63, "file_name": "b.png"}]}, "9223372036854775808 is beyond 64 bits"),
        ({"images": [*TABLE["images"], {"id": 8, "file_name": "gone.png"}]}, "there is no image .*gone.png"),
        (
            {"images": [{"id": 7, "file_name": "a.png", "width": 201, "height": 100}]},
            "is 200 x 100 px, listed as 201 x 100",
        ),
        ({"images": [], "annotations": []}, "train split has no images"),
        ({"annotations": []}, "train split has 1 images but not one labeled object"),
        ({"annotations": TABLE["annotations"] * 2}, "its id comes twice .*annotation id 1"),
        ({"categories": [*CATEGORIES, {"id": 3, "name": "elk"}]}, "category id 3 is given 2 times"),
        ({"categories": [*CATEGORIES, {"id": 4, "name": "cat"}]}, "two classes are named 'cat'"),
        ({"categories": [*CATEGORIES, {"id": 4}]}, "category 4 has the name None"),
        (
            {"categories": [{**CATEGORIES[0], "name": "eagle"}, *CATEGORIES[1:]]},
            "category 90 is 'owl' here and 'eagle' elsewhere",
        ),
        ({"categories": "none"}, "has no list of categories"),
        ({"images": [1]}, "has no list of images"),
    ],
)
def test_a_broken_table(tmp_path, changes, what):
    assert re.search(what, error_of(dataset(tmp_path / "d", table(**changes))))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"images": []}'])
def test_a_file_that_is_no_instances_file(tmp_path, text):
    root = dataset(tmp_path / "d")
    (root / "annotations/train.json").write_text(text)
    assert str(root / "annotations/train.json") in error_of(root)


def test_all_problems_of_all_splits_come_at_once(tmp_path):
    rows = [{**TABLE["annotations"][0], "id": n, "bbox": [0, 0, -1, 5]} for n in range(30)]
    bad = table(annotations=[TABLE["annotations"][0] | {"image_id": 9}])
    root = dataset(tmp_path / "d", table(annotations=rows), bad)
    text = error_of(root)
    assert text.startswith("31 problems (")
    assert text.count("-1 wide and 5 high") == 10
    dataset(root, annotation(area=-1), bad)
    (root / "images/train/a.png").write_bytes(b"no image")
    text = error_of(root)
    assert all(part in text for part in ("area -1", "images/train/a.png: is not a readable image", "image_id 9"))


# ---- leakage


def test_one_image_in_two_splits(tmp_path):
    root = dataset(tmp_path / "d")
    shutil.copy(root / "images/train/a.png", root / "images/test/a.png")
    text = error_of(root)
    assert f"image of the test split is also in the train split, as {root}/images/train/a.png" in text
    assert str(root / "images/test/a.png") in text
    source = {"images": "images/train", "annotations": "annotations/train.json"}
    assert "every image of the test split is in the train split too" in error_of(root, train=source, test=source)


def test_the_same_name_in_two_folders_is_not_the_same_image(tmp_path):
    splits = load_coco(dataset(tmp_path / "d"))
    assert splits.train.images[0].path.name == splits.test.images[0].path.name


def test_boxes_of_zero_size_are_left_out_and_noted_as_coco_has_some_itself(tmp_path):
    table = copy.deepcopy(TABLE)
    table["annotations"].append(dict(table["annotations"][0], id=2206849, bbox=[9.98, 188.56 % 90, 15.52, 0.0]))
    notes = Notes()
    loaded = load_coco(dataset(tmp_path, train=table), notes=notes)
    assert [image.boxes.tolist() for image in loaded.train.images] == [[[80, 30, 120, 70]]]
    [(kind, count, first)] = notes
    assert (kind, count) == ("boxes of zero width or height, left out", 1) and "2206849" in first
