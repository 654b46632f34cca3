"""dataset=droughtwatch: TFRecords as the benchmark has them become pictures in al's cache."""

import numpy as np
import pytest
from PIL import Image as PILImage
from record_files import example, write_records

from al_cli.datasets.droughtwatch import load_droughtwatch
from al_cli.datasets.headers import read_sizes
from al_cli.datasets.notes import Notes
from al_cli.errors import DatasetError
from al_cli.report.drawing import sheets

BANDS = [f"B{n}" for n in range(1, 12)]


def pixels(seed, side=65):
    return np.random.default_rng(seed).integers(0, 256, (11, side, side), dtype=np.uint8)


def record(seed, /, *labels, beyond=b"", **other):
    bands = {band: [pixels(seed)[n].tobytes() + beyond] for n, band in enumerate(BANDS)}
    return example({**bands, "label": labels, **other})


@pytest.fixture
def root(tmp_path):
    """Train: labels 0, 3 | 1; val: label 2. One has bands of more than 65 x 65 bytes."""
    write_records(tmp_path / "train" / "part-r-00000", record(0, 0), record(1, 3, beyond=b"behind the picture"))
    write_records(tmp_path / "train" / "part-r-00001", record(2, 1))
    (tmp_path / "train" / "part-r-00002_.gstmp").write_bytes(b"unfinished")
    write_records(tmp_path / "val" / "part-r-00000", record(3, 2))
    return tmp_path


def test_all_bands_are_the_pages_of_a_tiff(root):
    splits = load_droughtwatch(root)
    train, val = splits.train, splits.val
    assert val is not None and splits.test is None and train.class_names == ("0 cows", "1 cow", "2 cows", "3+ cows")
    assert [(image.name, image.classes.tolist()) for image in (*train.images, *val.images)] == [
        ("part-r-00000-00000.tif", [0]),
        ("part-r-00000-00001.tif", [3]),
        ("part-r-00001-00000.tif", [1]),
        ("part-r-00000-00000.tif", [2]),
    ]
    for seed, image in enumerate((*train.images, *val.images)):
        assert image.boxes.tolist() == [[0, 0, 65, 65]] and read_sizes([image.path]) == [(65, 65)]
        with PILImage.open(image.path) as file:
            pages = []
            for page in range(file.n_frames):
                file.seek(page)
                pages.append(np.asarray(file))
        assert (np.stack(pages) == pixels(seed)).all()
        assert (np.asarray(sheets.load(image))[..., 0] == pixels(seed)[0]).all(), "a sheet shows the first band"


def test_rgb_is_bands_4_3_2_and_binary_is_none_against_some(root):
    splits = load_droughtwatch(root, bands="rgb", binary=True)
    assert splits.train.class_names == ("0 cows", "1+ cows") and splits.val is not None
    assert [image.classes.tolist() for image in splits.train.images] == [[0], [1], [1]]
    shown = np.asarray(PILImage.open(splits.train.images[1].path))
    assert (shown == np.moveaxis(pixels(1)[[3, 2, 1]], 0, -1)).all()


def test_pictures_are_written_once(root, monkeypatch):
    first = load_droughtwatch(root, bands="rgb")
    monkeypatch.setattr("al_cli.datasets.droughtwatch.write_pictures", None)
    again = load_droughtwatch(root, bands="rgb", binary=True)
    assert [image.path for image in again.train.images] == [image.path for image in first.train.images]


def test_a_place_in_both_splits_is_read_as_published_and_noted(root):
    write_records(root / "val" / "part-r-00001", record(0, 1))
    notes = Notes()
    splits = load_droughtwatch(root, notes=notes)
    assert splits.val is not None and (len(splits.train), len(splits.val)) == (3, 2)
    assert [(kind, count) for kind, count, _ in notes] == [
        ("images of the val split that are in the train split too, as published", 1)
    ]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (record(5, 4), "the record's label is 4, not one of 0 to 3"),
        (record(5), "the record's label is none"),
        (record(5, 0, B7=[b"x" * 4224]), "band B7 has 4224 bytes, fewer than 65 x 65"),
        (record(5, 0, B11=[7]), "the record has no band B11"),
        (b"\x0b", "the record is no Example"),
    ],
)
def test_a_broken_record_is_named_by_file_and_byte(root, broken, message):
    good = record(4, 0)
    path = write_records(root / "train" / "part-r-00001", good, broken)
    with pytest.raises(DatasetError, match=message) as error:
        load_droughtwatch(root)
    assert error.value.where == f"{path}, byte {len(good) + 16}"


def test_a_folder_without_record_files_says_what_to_give(tmp_path):
    write_records(tmp_path / "train" / "part-r-00000", record(0, 0))
    with pytest.raises(DatasetError, match="no record files of the val split") as error:
        load_droughtwatch(tmp_path)
    assert error.value.where == str(tmp_path / "val") and "part-r-00000" in error.value.remedy
