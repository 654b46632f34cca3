"""What other tools export, and what people have instead of a dataset: one sentence each, whose advice works when followed."""

import json
import os
import re
import shlex
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapes import picture

from al_cli.datasets import load_coco, load_yolo
from al_cli.datasets.exports import explain_path
from al_cli.datasets.guess import guess_format
from al_cli.datasets.tree import split_of
from al_cli.errors import DatasetError

BOX = [10, 10, 30, 40]


def pictures(folder, count=10, suffix="png"):
    return [picture(folder / f"{k}.{suffix}", 100, 100) for k in range(count)]


def coco_file(path, names, first_id=0):
    """One box an image; ids from 0, as Label Studio counts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {
        "images": [
            {"id": first_id + k, "file_name": name, "width": 100, "height": 100} for k, name in enumerate(names)
        ],
        "categories": [{"id": 0, "name": "bird car"}],
        "annotations": [
            {"id": k, "image_id": first_id + k, "category_id": 0, "bbox": BOX, "segmentation": []}
            for k in range(len(names))
        ],
        "info": {"contributor": "Label Studio"},
    }
    path.write_text(json.dumps(table))


def labels(folder, count=10, row="1 0.5 0.5 0.2 0.2\n"):
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        (folder / f"{k}.txt").write_text(row if k else "")


# ---- folders of tools: each writes one export below `root`


def label_studio_yolo(root):
    pictures(root / "images")
    labels(root / "labels")
    (root / "classes.txt").write_text('bird car\ndog: "[big]"\n')
    (root / "notes.json").write_text(json.dumps({"categories": [{"id": 0, "name": "bird car"}], "info": {}}))


def yolo_obb(root):
    label_studio_yolo(root)
    labels(root / "labels", row="0 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3\n")


def yolo_by_split(root):
    for split in ("train", "valid"):
        pictures(root / split / "images")
        labels(root / split / "labels")


def yolo_beside_images(root):
    pictures(root, suffix="jpg")
    labels(root)
    (root / "notes of mine.txt").write_text("some text\n")


def darknet(root):
    """YOLO 1.1: labels next to images, names in obj.names, lists of images."""
    pictures(root / "obj_train_data")
    labels(root / "obj_train_data")
    (root / "obj.names").write_text("cat\ndog\n")
    (root / "obj.data").write_text("classes = 2\n")
    (root / "train.txt").write_text("".join(f"data/obj_train_data/{k}.png\n" for k in range(10)))


def label_studio_coco(root):
    pictures(root / "images")
    coco_file(root / "result.json", [f"images/{k}.png" for k in range(10)])


def cvat_coco(root):
    pictures(root / "images" / "default")
    coco_file(root / "annotations" / "instances_default.json", [f"{k}.png" for k in range(10)])


def coco_of_other_names(root):
    for split in ("training", "testing set"):
        pictures(root / split)
        coco_file(root / f"labels [{split}].json", [f"{k}.png" for k in range(10)])


def coco_in_windows(root):
    pictures(root / "images")
    coco_file(root / "result.json", [f"images\\{k}.png" for k in range(10)])


def nested(root):
    yolo_by_split(root / "export" / "set 1")
    (root / "export" / "set 1" / "data.yaml").write_text("train: train/images\nval: valid/images\nnames: [a, b]\n")


FOLLOWED = {
    label_studio_yolo: "no data.yaml",
    yolo_obb: "no data.yaml",
    yolo_by_split: "no data.yaml",
    yolo_beside_images: "no data.yaml",
    darknet: "no data.yaml",
    label_studio_coco: "file_name already says images/",
    cvat_coco: "the COCO file annotations/instances_default.json",
    coco_of_other_names: "2 COCO files",
    coco_in_windows: "the COCO file result.json",
    nested: "data.yaml in export/set 1",
}
CLASSES = {
    label_studio_yolo: ["bird car", 'dog: "[big]"'],
    yolo_obb: ["bird car", 'dog: "[big]"'],
    yolo_by_split: ["0", "1"],
    yolo_beside_images: ["0", "1"],
    darknet: ["cat", "dog"],
    nested: ["a", "b"],
}


@pytest.mark.parametrize("write", FOLLOWED)
def test_the_advice_works_when_followed(al, write):
    """The file that is printed is written, the command that is printed is typed: all images are read, and as labels say."""
    root = al.cwd / "my set"
    write(root)
    for load in (load_yolo, load_coco):
        with pytest.raises(DatasetError, match=re.escape(FOLLOWED[write])) as said:
            load(root)
    done = follow(al, str(said.value), root)
    assert done["classes"] == CLASSES.get(write, ["bird car"])


def follow(al, said, root):
    sentence, *lines = said.removesuffix("\n").split("\n")
    if lines:
        file = re.search(r"write (.*data\.yaml) with these lines", sentence)[1]
        (root / "data.yaml").write_text("\n".join(lines) + "\n")
        assert file == str(root / "data.yaml")
    command = re.sub(
        r" \((dataset\.test|file_name).*\)$", "", sentence[sentence.index("al data ") :]
    )  # without its remark
    done = json.loads(al(*shlex.split(command)[1:], "--json").stdout)
    images = sum(1 for path in root.rglob("*") if path.suffix in (".png", ".jpg"))
    assert sum(split["images"] for split in done["splits"]) == images
    assert sum(split["boxes"] for split in done["splits"]) == images - sum(
        split["negatives"] for split in done["splits"]
    )
    return done


# ---- what is not read: a sentence that says which tool's it is and which export is


def text(name, content):
    def write(root):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content if isinstance(content, str) else json.dumps(content))

    return write


def with_pictures(write):
    def both(root):
        write(root)
        pictures(root / "images", 2)

    return both


def labels_alone(root):
    labels(root / "labels")
    (root / "images").mkdir()


def coco_without_images(root):
    coco_file(root / "result.json", ["../photos/pool/0.jpg"])


def coco_dragged_in(root):
    pictures(root / "images")
    coco_file(root / "result.json", [f"../label-studio/media/upload/2/{k}.png" for k in range(10)])


def archive(root):
    root.mkdir()
    with zipfile.ZipFile(root / "export.zip", "w") as opened:
        opened.writestr("classes.txt", "a\n")


def empty(root):
    root.mkdir()


SHAPES = {"version": "6.3.1", "shapes": [], "imagePath": "0.png", "imageData": None}
TASK = {"id": 1, "annotations": [{"result": []}], "data": {"image": "/data/0.png"}}
SAID = {
    "labelme": (
        with_pictures(text("images/0.json", SHAPES)),
        "holds labelme or X-AnyLabeling files.*X-AnyLabeling choose Export",
    ),
    "ls json": (
        text("JSON.json", [TASK]),
        "holds Label Studio's JSON export, which is not read yet.*`COCO with images`",
    ),
    "ls min": (text("m.json", [{"image": "0.png", "id": 1, "annotator": 1}]), "Label Studio's JSON export"),
    "cvat": (
        with_pictures(text("annotations.xml", '<?xml version="1.0"?>\n<annotations>')),
        "CVAT's XML.*export `COCO 1.0`",
    ),
    "voc": (
        with_pictures(text("Annotations/0.xml", "<annotation verified='no'><folder/>")),
        "Pascal VOC files.*export COCO",
    ),
    "datumaro": (text("d.json", {"info": {}, "categories": {}, "items": []}), "Datumaro's own json.*convert"),
    "createml": (text("c.json", [{"image": "0.png", "annotations": []}]), "CreateML"),
    "via": (text("v.json", {"_via_settings": {}, "_via_img_metadata": {}}), "VIA project.*Export as COCO"),
    "results": (
        text("r.json", [{"image_id": 1, "category_id": 1, "bbox": BOX, "score": 1}]),
        "predictions.*instances file",
    ),
    "captions": (text("c.json", {"images": [], "annotations": [{"caption": ""}], "categories": []}), "without boxes"),
    "csv": (text("labels.csv", "a,b\n"), "holds a table .labels.csv., which is not read"),
    "parquet": (text("data/train-0.parquet", "PAR1"), "holds a table .train-0.parquet."),
    "video": (text("film.MP4", ""), "holds a video .film.MP4., and al reads images.*write its frames"),
    "zip": (archive, "holds an archive .export.zip..*unpack it"),
    "pictures": (lambda root: pictures(root / "a", 3), "holds 3 images .a/0.png. and no labels that al knows"),
    "labels alone": (labels_alone, "YOLO label files .labels/1.txt, .... without their images"),
    "coco alone": (coco_without_images, "not the images that result.json lists.*export again with images"),
    "dragged in": (coco_dragged_in, "write 0.png as its file_name, and so for all, then: al data"),
    "empty": (empty, "is an empty folder"),
    "else": (text("notes.doc", ""), "no images and no labels that al knows .files: .doc."),
    "junk json": (text("a.json", "{" * 5000), "no images and no labels that al knows"),
}


@pytest.mark.parametrize("kind", SAID)
def test_what_is_not_read_is_called_by_its_name(tmp_path, kind):
    write, said = SAID[kind]
    write(tmp_path / "set")
    for load in (load_coco, load_yolo):
        with pytest.raises(DatasetError, match=f"(?s)^this folder .*{said}"):
            load(tmp_path / "set")


def test_images_dragged_into_label_studio_are_read_once_their_names_are_written(al):
    root = al.cwd / "set"
    coco_dragged_in(root)
    said = al("data", "set", code=2).stderr
    file = root / "result.json"
    file.write_text(file.read_text().replace("../label-studio/media/upload/2/", ""))
    follow(al, said, root)


FILES = {
    "a.zip": ("PK", "this file is an archive.*unzip -q .*a.zip -d .*a; al data .*a"),
    "a.tar.gz": ("", "this file is an archive.*tar -xf"),
    "a.mov": ("", "this file is a video"),
    "a.tsv": ("", "this file is a table"),
    "a.json": ([TASK], "this file holds Label Studio's JSON"),
    "a.xml": ("<annotations>", "this file holds CVAT's XML"),
    "a.txt": ("", "this file is a file and no folder"),
    "gone": (None, "there is no such folder"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_in_place_of_a_folder(tmp_path, name):
    content, said = FILES[name]
    if content is not None:
        text(name, content)(tmp_path)
    for load in (load_coco, load_yolo):
        with pytest.raises(DatasetError, match=said):
            load(tmp_path / name)


def test_a_coco_file_is_answered_with_its_folder(al):
    label_studio_coco(al.cwd / "my set")
    said = al("data", "my set/result.json", code=2).stderr
    assert "this file is one of a dataset, whose folder holds the COCO file result.json" in said
    follow(al, said, al.cwd / "my set")


def test_another_format_is_named(tmp_path):
    nested(tmp_path)
    root = tmp_path / "export" / "set 1"
    assert "is a YOLO dataset (it has a data.yaml) " in str(explain_path(root)) and "dataset=yolo" in str(
        explain_path(root)
    )
    for part in (root / "train", root / "train" / "images"):
        assert f"part of the YOLO dataset {root}" in str(explain_path(part))


def test_a_yaml_of_something_else_does_not_make_a_folder_yolo(tmp_path):
    (tmp_path / "docker-compose.yml").write_text("services:\n  names: x\n")
    assert guess_format(tmp_path) == "coco"
    (tmp_path / "birds.yaml").write_text("path: .\ntrain: a\nval: b\nnames: [x]\n")
    assert guess_format(tmp_path) == guess_format(tmp_path / "birds.yaml") == "yolo"


def test_the_split_is_the_last_word_that_says_one(tmp_path):
    places = {
        "train/images/x": "train",
        "images/val2017/x": "val",
        "test-dev/x": "test",
        "a/instances_valid.json": "val",
    }
    assert {place: split_of(tmp_path / place, tmp_path) for place in places} == places
    assert split_of(tmp_path / "trainer/latest/x.json", tmp_path) == ""
    assert split_of(tmp_path / "train-or-test/x.json", tmp_path) == ""


KEYS = ["images", "annotations", "categories", "file_name", "bbox", "id", "shapes", "version", "data", "items", "name"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["a.png", "x" * 5000, "\0", "\ud800", "../b", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
ROWS = st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4) | VALUES, max_size=3)
TABLES = st.fixed_dictionaries({"images": ROWS, "annotations": ROWS, "categories": ROWS})


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES | TABLES, st.sampled_from(["a.json", "notes.json"]))
def test_whatever_a_json_holds_is_one_sentence(tmp_path, value, name):
    (tmp_path / name).write_text(json.dumps(value))
    (tmp_path / "0.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    (tmp_path / "a.png").write_bytes(b"")
    for path in (tmp_path, tmp_path / name):
        assert str(explain_path(path)).startswith("this f")
    (tmp_path / name).unlink()


@pytest.mark.timeout(20)
def test_pipes_and_devices_are_not_read(tmp_path):
    for name in ("a.json", "a.xml", "a.txt", "classes.txt", "set.yaml"):
        os.mkfifo(tmp_path / name)
    for name in ("b.json", "b.xml", "b.txt"):
        (tmp_path / name).symlink_to("/dev/zero")
    assert "no images and no labels that al knows" in str(explain_path(tmp_path))
    assert guess_format(tmp_path) == "coco"
    assert "is a file and no folder" in str(explain_path(tmp_path / "a.json"))


def test_a_class_of_a_billion_makes_no_list_of_names(tmp_path):
    pictures(tmp_path, 2)
    labels(tmp_path, 2, row=f"{'9' * 400} 0.5 0.5 0.2 0.2\n")
    assert "holds 2 images" in str(explain_path(tmp_path))
