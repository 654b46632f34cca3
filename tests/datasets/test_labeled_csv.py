"""dataset=csv: headers, splits, spellings and suffixes as people write them; an error names the row."""

import pytest
from labeled_images import unlike_others

from al_cli.datasets.guess import guess_format
from al_cli.datasets.labeled_csv import load_csv
from al_cli.datasets.notes import Notes
from al_cli.errors import DatasetError


def table(root, *lines, name="train.csv"):
    (root / name).write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    return root


def images(root, *names):
    for name in names:
        unlike_others(root / name)
    return root


def test_a_csv_with_splits_and_numbers_as_labels(tmp_path):
    images(tmp_path, "a.png", "b.png", "sub/c.png", "d.png")
    table(tmp_path, "Image_ID,split,Label", "a,train,10", "b.png,Training,9", "", "sub/c.png,valid,9", '"d",test,10')
    splits = load_csv(tmp_path)
    assert splits.train.class_names == ("9", "10") and splits.name == tmp_path.name
    assert [(i.name, i.classes.tolist()) for i in splits.train.images] == [("a.png", [1]), ("b.png", [0])]
    assert splits.val is not None and splits.test is not None
    assert [i.name for i in (*splits.val.images, *splits.test.images)] == ["sub/c.png", "d.png"]


def test_semicolons_a_folder_of_images_and_names_for_labels(tmp_path):
    images(tmp_path, "train_images/a.jpg.png", "train_images/B.png")
    table(tmp_path, "file;category", "a.jpg.png;1", "b.png;0")
    images(tmp_path, "2023/c.png", "2023/d.png")
    assert len(load_csv(table(tmp_path, "file,label", "c,x", "d,y", name="y.csv") / "y.csv", images=2023).train) == 2
    splits = load_csv(tmp_path / "train.csv", images="train_images", class_names={"1": "rust", "0": "well", "2": "dry"})
    assert splits.train.class_names == ("rust", "well", "dry") and splits.test is None
    assert [(i.name, i.classes.tolist()) for i in splits.train.images] == [("B.png", [1]), ("a.jpg.png", [0])]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["file,label", "a.png,x", "gone.png,x"], r"there is no image.*train.csv:3"),
        (["file,label", "c.png,x"], r"set dataset.images=sub.*train.csv:2"),
        (["file,label", "a.png,x", "b.png"], r"too few.*train.csv:3"),
        (["file,label", 'a.png,"two', 'lines"', "b.png,x"], r"label 'two.*lines' is too long, or not.*train.csv:3"),
        (["file,label", "a.png,"], r"label is empty.*train.csv:2"),
        (["file,label", "a.png,x", "a.png,y"], r"a.png is y here and x in line 2.*train.csv:3"),
        (["file,label", "a.png,x", "a.png,x"], r"named again, first in line 2.*train.csv:3"),
        (["file,label,split", "a.png,x,later"], r"'later' is none of train, val and test.*train.csv:2"),
        (["file,label,split", "a.png,x,test"], r"no train split"),
        (["name,label", "a.png,x"], r"has no column file \(the first line is name,label\)"),
        (["file,kind", "a.png,x"], r"has no column label"),
        (["file,label"], r"has no rows"),
        ([""], r"the first line is empty"),
    ],
)
def test_an_error_names_the_row(tmp_path, lines, says):
    images(tmp_path, "a.png", "b.png", "sub/c.png")
    with pytest.raises(DatasetError, match=says):
        load_csv(table(tmp_path, *lines))


def test_bad_rows_can_be_left_out_aloud(tmp_path):
    images(tmp_path, "a.png", "b.png")
    notes = Notes()
    table(tmp_path, "file,label", "a.png,x", "gone.png,x", "b.png,y", "a.png,y")
    assert len(load_csv(tmp_path, bad_rows="leave_out", notes=notes).train) == 2
    [(kind, count, first)] = notes
    assert (kind, count) == ("rows that name no labeled image, left out", 2)
    assert first.startswith(f"{tmp_path}/train.csv:3: there is no image"), "a long path is cut at the end"


def test_which_csv_is_asked_for_and_what_is_none(tmp_path):
    with pytest.raises(DatasetError, match="holds no csv"):
        load_csv(tmp_path)
    table(table(tmp_path, "file,label"), "file,label", name="test.csv")
    with pytest.raises(DatasetError, match=r"2 csv files \(test.csv, train.csv\)"):
        load_csv(tmp_path)
    (tmp_path / "x.csv").write_bytes(b"\x89PNG\0\0\xff")
    with pytest.raises(DatasetError, match="is not text"):
        load_csv(tmp_path / "x.csv")
    with pytest.raises(DatasetError, match=r"no folder pictures"):
        load_csv(tmp_path / "train.csv", images="pictures")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_is_known_by_its_columns_whatever_separates_them(tmp_path, separator):
    images(tmp_path, "a.png", "b.png")
    table(tmp_path, *(line.replace(",", separator) for line in ("file,label", "a.png,x", "b.png,y")))
    assert guess_format(tmp_path) == "csv"
    (tmp_path / "train.csv").write_text((tmp_path / "train.csv").read_text("utf-8-sig"), encoding="utf-16")
    assert guess_format(tmp_path) == "csv"
