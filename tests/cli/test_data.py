"""al data as a user meets it: everything odd is counted once, as text and as JSON, and what it prints can be pasted."""

import csv
import json
import os
import re
import shlex
import shutil

import pytest
from labeled_images import class_folders, unlike_others
from PIL import Image
from shapes import picture, write_yolo

from al_cli.cli.data import words_of
from al_cli.datasets import digits
from al_cli.experiment.compose import compose_all
from al_cli.pasted import command

EXIF_ORIENTATION = 0x0112


def rows(*boxes, size=100):
    """Label rows of (class, x0, y0, x1, y1) in pixels of a square image."""
    return "".join(
        f"{c} {(x0 + x1) / 2 / size} {(y0 + y1) / 2 / size} {(x1 - x0) / size} {(y1 - y0) / size}\n"
        for c, x0, y0, x1, y1 in boxes
    )


def image(root, split, name, *boxes, like=None, **options):
    """An image of 100 x 100 px and its labels."""
    path = root / split / "images" / name
    picture(path, 100, 100, **options)
    if like is not None:
        path.write_bytes((root / like[0] / "images" / like[1]).read_bytes())
    label = root / split / "labels" / f"{path.stem}.txt"
    label.parent.mkdir(parents=True, exist_ok=True)
    label.write_text(rows(*boxes))
    return path


CAT, DOG, OWL = 0, 1, 2
BOX = (10, 10, 40, 50)


@pytest.fixture
def planted(tmp_path):
    """A YOLO set in which each oddity was put once."""
    root = tmp_path / "set"
    for k in range(10):
        image(root, "train", f"plain{k}.png", (CAT, *BOX), (DOG, 50, 50, 90, 90))
    for k in range(3):
        image(root, "test", f"plain{k}.png", (CAT, *BOX))
    image(root, "train", "negative.png")
    image(root, "train", "nolabel.png", (CAT, *BOX))
    (root / "train/labels/nolabel.txt").unlink()
    image(root, "train", "same.png", (CAT, *BOX), like=("train", "plain0.png"))
    image(root, "train", "repeat.png", (CAT, *BOX), (DOG, *BOX), (CAT, *BOX))
    image(root, "train", "thin.png", (CAT, 10, 10, 10.5, 50))
    image(root, "test", "grey.png", (OWL, *BOX))
    with Image.open(root / "test/images/grey.png") as colored:
        colored.convert("L").save(root / "test/images/grey.png")
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    image(root, "test", "turned.jpg", (CAT, *BOX), exif=exif)
    image(root, "test", "many.png", *((CAT, x, y, x + 5, y + 5) for x in range(0, 95, 9) for y in range(0, 95, 9)))
    (root / "train/labels/orphan.txt").write_text(rows((CAT, *BOX)))
    (root / "train/images/film.gif").write_bytes(b"GIF89a")
    with Image.open(root / "train/images/plain1.png") as original:
        original.save(root / "test/images/copy.jpg", quality=50)
        original.resize((60, 60)).save(root / "train/images/small.png")
    for label in ("test/labels/copy.txt", "train/labels/small.txt"):
        (root / label).write_text(rows((CAT, *BOX)))
    (root / "test/labels").mkdir(exist_ok=True)
    Image.new("RGB", (100, 100), (90, 90, 90)).save(root / "test/images/flat.png")
    (root / "test/labels/flat.txt").write_text(rows((CAT, *BOX)))
    (root / "data.yaml").write_text("train: train/images\nval: test/images\nnames: [cat, dog, owl, '[/bold]']\n")
    return root


EVERYTHING = {
    ("train", "images with the bytes of an earlier one"): (1, "train/images/same.png as train/images/plain0.png"),
    ("train", "exact repeats of boxes"): (1, "train/images/repeat.png, cat from (10, 10) to (40, 50)"),
    ("train", "boxes that have another class too"): (1, "train/images/repeat.png, dog from (10, 10) to (40, 50)"),
    ("train", "boxes thinner than a pixel"): (1, "train/images/thin.png, cat from (10, 10) to (10.5, 50)"),
    ("train", "classes without an object"): (2, "owl"),
    ("test", "images that EXIF turns"): (1, "test/images/turned.jpg"),
    ("test", "greyscale images"): (1, "test/images/grey.png"),
    ("test", "images with more than 100 objects"): (1, "test/images/many.png"),
    ("test", "images with more than 100 objects of one class"): (1, "test/images/many.png"),
    ("test", "classes without an object"): (2, "dog"),
    (None, "label files of no image"): (1, "train/labels/orphan.txt"),
    (None, "train images without a label file, read as images without objects"): (1, "train/images/nolabel.png"),
    (None, "pictures of a type that is not read (.gif), left out"): (1, "train/images/film.gif"),
}
DEEP = {
    ("train", "images that look like an earlier one"): (1, "train/images/small.png as train/images/plain1.png"),
    ("test", "images that look like one of train"): (1, "test/images/copy.jpg as train/images/plain1.png"),
    ("test", "images too uniform to be compared"): (1, "test/images/flat.png"),
}


def test_everything_odd_is_counted_once_with_its_place(al, planted):
    said = json.loads(al("data", planted, "--json", "--problems", "odd.csv").stdout)
    assert {(o["split"], o["kind"]): (o["count"], o["examples"][0]) for o in said["odd"]} == EVERYTHING
    listed = read_csv(al.cwd / "odd.csv")  # a sound set has no problems, and every odd place is listed
    assert ("train/images/thin.png, cat from (10, 10) to (10.5, 50)", "boxes thinner than a pixel") in listed
    assert len(listed) == sum(count for count, _ in EVERYTHING.values())
    [train, test] = said["splits"]
    assert train == {
        "split": "train",
        "images": 16,
        "no label file": 1,
        "negatives": 2,
        "boxes": 26,
        "small": 2,
        "medium": 24,
        "large": 0,
        "by class": {"cat": 15, "dog": 11, "owl": 0, "[/bold]": 0},
    }
    assert (test["images"], test["no label file"], test["boxes"]) == (8, 0, 128)
    assert said["classes"] == ["cat", "dog", "owl", "[/bold]"] and said["deep"] is False
    [cap] = [o["so"] for o in said["odd"] if o["kind"] == "images with more than 100 objects"]
    assert "at most 83.6% of the boxes" in cap  # 107 of 128


def read_csv(path):
    with path.open(newline="") as file:
        head, *rest = csv.reader(file)
    assert head == ["where", "what"]
    return [tuple(row) for row in rest]


def test_deep_finds_what_looks_alike_and_text_says_what_json_says(al, planted):
    said = json.loads(al("data", planted, "--deep", "--json").stdout)
    assert {(o["split"], o["kind"]): (o["count"], o["examples"][0]) for o in said["odd"]} == EVERYTHING | DEEP
    assert said["deep"] is True
    text = al("data", "--deep", planted).stdout
    assert "not looked for" not in text and "test is not unseen" in text
    for odd in said["odd"]:
        head = f"  {odd['split']}: {odd['kind']}" if odd["split"] else f"  {odd['kind']}"
        [line] = [line for line in text.splitlines() if line.startswith(f"{head}: ")]
        assert line.startswith(f"{head}: {odd['count']}, ") and odd["examples"][0] in line and (odd["so"] or "") in line
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert [row[:-2] for row in cells] == [
        [str(value) for key, value in split.items() if key != "by class"] for split in said["splits"]
    ]
    assert shlex.join(["al", "run", *said["words"]]) in text


def test_brackets_of_names_are_text(al, planted):
    text = al("data", planted).stdout
    assert "near-duplicates and broken images: not looked for; --deep does" in text
    assert "owl, [/bold]: they cannot be learned" in text
    for old, new in (("train", "[red]"), ("test", "[i]")):
        (planted / old).rename(planted / new)
    names = "names: ['[bold]', '[/bold]', \"[/]\", owl]"
    (planted / "data.yaml").write_text(f"train: '[red]/images'\nval: '[i]/images'\n{names}\n")
    text = al("data", planted).stdout
    assert "[bold] (15)" in text and "[/bold] (0)" in text and "[red]/images/thin.png, [bold] from" in text


def test_file_names_that_are_no_text_are_printed(al, planted):
    odd = os.fsencode(planted / "train/images") + b"/\xff\n[red].png"
    (planted / "train/images/thin.png").rename(os.fsdecode(odd))
    (planted / "train/labels/thin.txt").rename(os.fsdecode(odd.replace(b"images", b"labels")[:-3] + b"txt"))
    assert "train/images/\\xff\\n[red].png, cat from" in al("data", planted, "--problems", "odd.csv").stdout


def test_one_problem_keeps_its_sentence_with_a_file(al):
    (al.cwd / "set").mkdir()
    done = al("data", "set", "--problems", "found.csv", code=2)
    assert "is an empty folder" in done.stderr and "(1 problem, written to found.csv)" in done.stderr
    assert read_csv(al.cwd / "found.csv") == [(str(al.cwd / "set"), "this folder is an empty folder")]


def test_crowds_are_counted(al):
    root = write_coco(al.cwd / "set", crowd=True)
    [odd] = [o for o in json.loads(al("data", root, "--json").stdout)["odd"] if o["kind"] == "crowd regions"]
    assert (odd["split"], odd["count"]) == ("train", 1) and odd["examples"][0].startswith("train/train0.png, cat from")


def write_coco(root, layout="{split}/_annotations.coco.json", crowd=False, names=("train", "valid")):
    """Two splits of three images with two boxes, each with its json."""
    for number, split in enumerate(names):
        files = [f"{split}{k}.png" for k in range(3)]
        for name in files:
            picture(root / split / name, 100, 100)
        boxes = [[10, 10, 30, 40], [50, 50, 40, 40]]
        table = {
            "images": [{"id": k, "file_name": name} for k, name in enumerate(files)],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            "annotations": [
                {
                    "id": 10 * k + c,
                    "image_id": k,
                    "category_id": c + 1,
                    "bbox": box,
                    "iscrowd": int(crowd and not (k or c or number)),
                }
                for k in range(3)
                for c, box in enumerate(boxes)
            ],
        }
        file = root / layout.format(split=split)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(table))
    return root


# ---- words


NAMES = ["a=b", "my set (v1)", "it's [a],{b}", "1.10", "2024_05_01", "null", "été $HOME", "back\\'slash\\", "-x"]


def test_a_folder_of_any_name_is_what_the_words_say(al):
    """In the words of al run, typed by a shell: the folder that was given."""
    typed = []
    for name in NAMES:
        (al.cwd / name).mkdir()
        typed.append([f"./{name}" if name.startswith("-") else name])
    words = [shlex.split(command(*words_of(one, "yolo"))) for one in typed]
    assert [[config.dataset.root] for config in compose_all(words)] == typed


def test_the_printed_line_runs(al, yolo_root):
    shutil.copytree(yolo_root, al.cwd / "my set (v1)=[2]")
    line = al("data", "my set (v1)=[2]").stdout.splitlines()[-1].removeprefix("use it with: ")
    fast = ["model=fake", "rounds=1", "initial=4", "budget=4", "sampler=random", "plots=false", "study=s"]
    al(*shlex.split(line)[1:], *fast)
    assert (al.cwd / "outputs/s").is_dir()


def test_splits_can_be_named_as_for_a_run(al):
    root = write_coco(al.cwd / "set", layout="labels of {split}.json", names=("one", "two"))
    words = [
        f"dataset.{s}={{images: {n}, annotations: labels of {n}.json}}" for s, n in (("train", "one"), ("test", "two"))
    ]
    first = al("data", root, *words)
    assert al("data", *words, root).stdout == first.stdout
    printed = shlex.split(first.stdout.splitlines()[-1].removeprefix("use it with: "))
    assert printed == ["al", "run", "dataset=coco", f"dataset.root={root}", *words]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "one folder"),
        (["a", "b"], "one folder"),
        (["set", "model=fake"], "model=fake is none"),
        (["set", "dataset.rot=3"], "no setting called dataset.rot"),
        (["set", "--format", "coco", "dataset=yolo"], "contradict"),
        (["dataset=yolo"], "dataset.root is not given"),
        (["dataset.root=set"], "has no setting dataset.root"),
        (["set", "--depp"], "--depp"),
        (["gone"], "no such folder"),
    ],
)
def test_wrong_words_are_one_sentence(al, yolo_root, words, said):
    (al.cwd / "set").symlink_to(yolo_root)
    done = al("data", *words, code=2)
    assert said in done.stderr and done.stderr.startswith("al: ") and done.stderr.count("\n") == 1 and not done.stdout


def test_the_builtin_set_is_written_and_can_be_checked(al, monkeypatch):
    monkeypatch.setattr(digits, "write_digits", lambda folder: write_yolo(folder, {"train": 4, "test": 2}))
    line = al("data", "digits", "my digits").stdout
    words = shlex.split(line.partition("use it with: ")[2])[2:]
    assert json.loads(al("data", *words, "--json").stdout)["splits"][0]["images"] == 4
    assert "is no empty folder" in al("data", "digits", "my digits", code=2).stderr


# ---- problems


@pytest.fixture
def broken(tmp_path):
    root = write_yolo(tmp_path / "broken", {"train": 14, "test": 4})
    for k in range(13):
        (root / f"labels/train/{k:04}.txt").write_text(f"9 0.5 0.5 0.1 0.1\n0 0.5 0.5 {k + 2} 0.1\n")
    return root


def test_all_problems_are_in_the_file_and_in_json(al, broken):
    done = al("data", broken, "--problems", "found.csv", "--json", code=2)
    assert re.match(
        r"al: 26 problems, all in found\.csv \(.*data\.yaml\): correct or remove these and 16 more", done.stderr
    )
    said, first = json.loads(done.stdout), "class 9 is not one of 0..2"
    assert len(said["problems"]) == 26 and said["problems"][0]["what"] == first and said["error"].startswith("26 ")
    assert read_csv(al.cwd / "found.csv") == [(problem["where"], problem["what"]) for problem in said["problems"]]
    assert done.stderr.count("\n  ") == 10  # ten of them are shown
    assert "cannot be written" in al("data", broken, "--problems", "no/folder/found.csv", code=2).stderr


def test_deep_names_every_image_that_cannot_be_decoded(al, planted):
    plain = sorted((planted / "train/images").glob("plain*.png"))
    images = [*plain, planted / "train/images/same.png"]  # plain0's copy
    for path in images:
        path.write_bytes(path.read_bytes()[:-200])
    al("data", planted)  # headers are sound
    done = al("data", planted, "--deep", "--json", code=2)
    assert done.stderr.startswith(f"al: {len(images)} images cannot be decoded")
    assert all(f"\n  {path}: is not a readable image" in done.stderr for path in images)
    assert [problem["where"] for problem in json.loads(done.stdout)["problems"]] == [str(path) for path in images]
    for path in images[1:]:
        path.unlink()
    done = al("data", planted, "--deep", code=2)
    assert done.stderr.count("\n") == 1 and str(images[0]) in done.stderr


def test_images_with_a_class_each_are_spoken_of_as_such(al, tmp_path):
    root = class_folders(tmp_path / "pets", _={"cat": 12, "[bold]dog": 12, "none": 0})
    done = al("data", root, "dataset.test=25%", "--deep")
    assert "pets (folder), 3 classes: no problems found" in done.stdout
    assert "[bold]dog (" in done.stdout and "classes without an image: 1, none" in done.stdout
    for word in ("box", "negative", "label file", "object"):
        assert word not in done.stdout
    words = shlex.split(done.stdout.rpartition("use it with: al run ")[2])
    assert words == ["dataset=folder", f"dataset.root={root}", "dataset.test=25%"]
    [config] = compose_all([words])
    assert (config["task"], config["model"]["name"], config["sampler"]["name"]) == (
        "classification",
        "tiny_cnn",
        "entropy",
    )
    refused = al("data", root, code=2)
    assert "add dataset.test=20%" in refused.stderr


def test_the_built_in_images_and_a_csv_are_checked_by_the_same_words(al, tmp_path):
    said = json.loads(al("data", "dataset=digits_images", "--json").stdout)
    assert [split["images"] for split in said["splits"]] == [1300, 497] and said["odd"] == []
    for name in "abcd":
        unlike_others(tmp_path / "few" / f"{name}.png")
    lines = ["file,label,split", "a.png,x,train", "b,y,train", "c.png,y,test", "d.png,x,test"]
    (tmp_path / "few" / "list.csv").write_text("\n".join(lines))
    for place in (tmp_path / "few", tmp_path / "few" / "list.csv"):
        said = json.loads(al("data", place, "--json").stdout)
        assert (said["name"], said["format"], said["classes"]) == ("few", "csv", ["x", "y"])


def test_a_set_whose_rounds_are_scored_on_val_is_checked_as_al_run_reads_it(al, tmp_path):
    root = class_folders(tmp_path / "set", _={"a": 8, "b": 8})
    said = al("data", str(root), "dataset.val=4 images", "dataset.test=none", "evaluate=val").stdout
    assert "evaluate=val" in said.partition("use it with: al run ")[2] and "val" in said
