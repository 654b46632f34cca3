"""Kinds of real COCO files: other layouts, categories, sizes, spellings; what a filter empties; what is left out aloud."""

import copy
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from shapes import picture

from al_cli.datasets import load_coco
from al_cli.datasets.notes import Notes
from al_cli.errors import DatasetError


def table(split, count=3):
    return {
        "images": [{"id": n, "file_name": f"{split}{n}.png", "width": 200, "height": 100} for n in range(count)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [10, 10, 20, 30], "area": 600, "iscrowd": 0}
            for n in range(count)
        ],
        "categories": [{"id": 1, "name": "cat", "supercategory": "none"}],
    }


def roboflow(root, edit=lambda table, split: None):
    """train/ and valid/ with their json; `edit` changes a split's table first."""
    for split in ("train", "valid"):
        rows = table(split)
        for row in rows["images"]:
            picture(root / split / row["file_name"])
        edit(rows, split)
        (root / split / "_annotations.coco.json").write_text(json.dumps(rows))
    return root


def noted(root, **words):
    notes = Notes()
    splits = load_coco(root, notes=notes, **words)
    return splits, {kind: count for kind, count, _ in notes}


def refusal(root, **words):
    with pytest.raises(DatasetError) as caught:
        load_coco(root, **words)
    return str(caught.value)


# ---- layouts and spellings


@pytest.mark.parametrize("name", ["instances_{}.json", "{}.json"])
@pytest.mark.parametrize("images", ["{}", "images/{}"])
@pytest.mark.parametrize("place", ["", "annotations"])
def test_a_json_beside_or_above_its_folder_is_recognised(tmp_path, name, images, place):
    for split in ("train", "test"):
        for row in table(split)["images"]:
            picture(tmp_path / images.format(split) / row["file_name"])
        file = tmp_path / place / name.format(split)
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(table(split)))
    assert (len(load_coco(tmp_path).train), len(load_coco(tmp_path).test)) == (3, 3)


@pytest.mark.parametrize("spelling", ["sub\\{}", "{split}/sub/{}", "{split}\\sub\\{}", "SUB/{}", "./sub/{}"])
def test_a_file_name_is_found_however_it_is_spelled(tmp_path, spelling):
    def edit(rows, split):
        (tmp_path / split / "sub").mkdir()
        for row in rows["images"]:
            (tmp_path / split / row["file_name"]).rename(tmp_path / split / "sub" / row["file_name"])
            row["file_name"] = spelling.format(row["file_name"], split=split)

    splits, kinds = noted(roboflow(tmp_path, edit))
    assert [image.name for image in splits.train.images] == ["train0.png", "train1.png", "train2.png"]
    assert kinds == {}


def test_images_that_no_json_lists_are_counted(tmp_path):
    root = roboflow(tmp_path)
    picture(root / "train/unlisted.png")
    picture(root / "train/deep/unlisted.png")
    _, kinds = noted(root)
    assert kinds == {"images in the folders that no json lists, left out": 2}


@pytest.mark.parametrize("blind", [[], None])
def test_a_test_split_without_annotations_gives_way_to_val(tmp_path, blind):
    root = roboflow(tmp_path)
    picture(root / "test/x.png")
    rows = {"images": [{"id": 1, "file_name": "x.png"}], "categories": table("x")["categories"]}
    (root / "test/_annotations.coco.json").write_text(
        json.dumps(rows if blind is None else rows | {"annotations": blind})
    )
    splits, kinds = noted(root)
    assert splits.test is None and len(splits.val) == 3
    assert kinds == {"test split without labels, val is used as test": 1}


# ---- categories


@pytest.mark.parametrize(("root_name", "classes"), [("cab", ("cab",)), ("animals", ("cab",))])
def test_a_root_category_goes_by_its_id(tmp_path, root_name, classes):
    def edit(rows, split):
        rows["categories"] = [
            {"id": 0, "name": root_name, "supercategory": "none"},
            {"id": 1, "name": "cab", "supercategory": root_name},
        ]

    assert load_coco(roboflow(tmp_path, edit)).train.class_names == classes


def test_an_unused_category_that_names_itself_is_no_root(tmp_path):
    def edit(rows, split):
        rows["categories"].append({"id": 2, "name": "dog", "supercategory": "dog"})

    assert load_coco(roboflow(tmp_path, edit)).train.class_names == ("cat", "dog")


# ---- sizes


def test_a_wrong_size_is_told_by_its_cause(tmp_path):
    def change(function):
        def edit(rows, split):
            for row in rows["images"]:
                row["width"], row["height"] = function(row["width"], row["height"])

        return edit

    assert "width and height are exchanged" in refusal(roboflow(tmp_path / "a", change(lambda w, h: (h, w))))
    assert "lists a size as text, '200'" in refusal(roboflow(tmp_path / "b", change(lambda w, h: (str(w), h))))
    assert len(load_coco(roboflow(tmp_path / "c", change(lambda w, h: (None, None)))).train) == 3
    root = roboflow(tmp_path / "d")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (200, 100)).save(root / "train/train0.png", exif=exif)
    assert "its size before the EXIF orientation is applied" in refusal(root)


# ---- filters


FILTERS = {
    "crowd": (lambda row: row.update(iscrowd=1), "3 annotations are crowd regions"),
    "flat": (lambda row: row.update(bbox=[10, 10, 20, 0]), "3 are left out"),
}


@pytest.mark.parametrize("split", ["train", "valid"])
@pytest.mark.parametrize("name", FILTERS)
def test_a_split_that_a_filter_empties_is_refused(tmp_path, name, split):
    def edit(rows, here):
        for row in rows["annotations"]:
            if here == split:
                FILTERS[name][0](row)

    text = refusal(roboflow(tmp_path, edit))
    assert "split has 3 images but not one labeled object: " + FILTERS[name][1] in text


@pytest.mark.parametrize("change", [{"bbox": [300, 300, 5, 5]}, {"bbox": "x"}, {"category_id": 9}, {"image_id": 9}])
def test_a_split_that_leaving_out_empties_is_refused(tmp_path, change):
    def edit(rows, split):
        for row in rows["annotations"] if split == "valid" else ():
            row.update(change)

    root = roboflow(tmp_path, edit)
    assert "dataset.bad_rows=leave_out" in refusal(root)
    assert "not one labeled object" in refusal(root, bad_rows="leave_out")


def test_bad_rows_are_left_out_aloud(tmp_path):
    def edit(rows, split):
        if split == "train":
            rows["annotations"].append({"id": 9, "image_id": 0, "category_id": 1, "bbox": [-0.5, 5, 0.5, 4]})
            rows["images"].append({"id": 9, "file_name": "gone.png"})
            rows["annotations"].append({"id": 10, "image_id": 9, "category_id": 1, "bbox": [1, 1, 5, 5]})

    root = roboflow(tmp_path, edit)
    assert "2 problems" in refusal(root)  # an image that is not there is one, with its annotations
    splits, kinds = noted(root, bad_rows="leave_out")
    assert splits.train.box_count == 3
    assert kinds == {
        "images that are not listed soundly or not there, left out": 1,
        "annotations that cannot be read, left out": 1,
    }


def test_annotations_marked_ignore_are_counted(tmp_path):
    def edit(rows, split):
        rows["annotations"][0]["ignore"] = 1

    assert noted(roboflow(tmp_path, edit))[1] == {"annotations marked `ignore`, read as ordinary objects": 2}


# ---- files that are no data


def test_a_pipe_or_a_deep_file_is_one_sentence(tmp_path):
    for n, make in enumerate((os.mkfifo, lambda path: path.write_text("[" * 100_000))):
        root = roboflow(tmp_path / str(n))
        (root / "train/_annotations.coco.json").unlink()
        make(root / "train/_annotations.coco.json")
        assert "cannot be read as JSON" in refusal(root)


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**400),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.one_of(st.none(), st.floats(), st.integers(0, 10**400)), min_size=3, max_size=5),
    st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)
PLACES = [
    (list_name, key)
    for list_name, keys in {
        "images": ("id", "file_name", "width", "height"),
        "annotations": ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "ignore"),
        "categories": ("id", "name", "supercategory"),
    }.items()
    for key in keys
]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return roboflow(tmp_path_factory.mktemp("good"))


@settings(
    max_examples=120, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.sampled_from(PLACES), value=ANYTHING, bad_rows=st.sampled_from(["refuse", "leave_out"]))
def test_any_value_anywhere_is_read_or_refused_in_a_sentence(good, place, value, bad_rows):
    rows = copy.deepcopy(table("train"))
    rows[place[0]][0][place[1]] = value
    (good / "train/_annotations.coco.json").write_text(json.dumps(rows))
    try:
        splits = load_coco(good, bad_rows=bad_rows)
    except DatasetError as error:
        assert error.what and error.remedy and len(str(error)) < 4000
    else:
        assert splits.train.box_count >= 2


def test_splits_can_be_named_by_dotted_keys(al, tmp_path):
    root = roboflow(tmp_path / "d")
    for old, new in (("train", "a"), ("valid", "b")):
        (root / old).rename(root / new)
        (root / new / "_annotations.coco.json").rename(root / f"{new}.txt.json")
    shared = ["dataset=coco", f"dataset.root={root}"]
    words = [f"dataset.{split}.{key}" for split in ("train", "test") for key in ("images", "annotations")]
    named = [f"{key}={value}" for key, value in zip(words, ["a", "a.txt.json", "b", "b.txt.json"], strict=True)]
    assert " ".join(named) in al("data", *shared, code=2).stderr
    assert "no problems found" in al("data", *shared, *named).stdout
    al("run", *shared, *named, "model=fake", "rounds=1", "initial=1", "budget=1", "sampler=random", "plots=false")
    assert "how COCO's splits are given" not in al("data", *shared, named[0], code=2).stderr
