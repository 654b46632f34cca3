"""Pool images that stand several times in the pool, each time turned a little."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from shapes import picture, tree_bytes, write_yolo

from al_cli.datasets.repeated import MOST_DEGREES, angle_of, repeat_pool, turned_boxes, turned_picture
from al_cli.errors import DatasetError
from al_cli.experiment.build import load_dataset, plan_rounds
from al_cli.experiment.imported import read_picks
from al_cli.experiment.job import jobs_of
from al_cli.types import Dataset, Image, Splits

OF_3_4_5 = math.degrees(math.atan2(3, 4))  # sine 0.6, cosine 0.8


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("AL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def loaded(root: Path, **settings) -> Splits:
    usual = {
        "format": "yolo",
        "root": str(root),
        "name": "x",
        "val": None,
        "test": None,
        "split_seed": 0,
        "group": None,
    }
    return load_dataset(usual | settings)


def test_boxes_turn_as_worked_out_by_hand():
    """About (50, 50), with y pointing down: (dx, dy) becomes (0.8 dx + 0.6 dy, 0.8 dy - 0.6 dx).

    In the middle: +-10 become +-(8 + 6). On the right: dx 40..50 and dy -5..5 give 29..43 and -34..-20: it rises. Below that,
    dx 40..50 and dy 20..30 give 44..58, cut at 50, and -14..0. In the lower right corner: dx from 63 on, outside.
    """
    boxes = np.array([[40, 40, 60, 60], [90, 45, 100, 55], [90, 70, 100, 80], [95, 95, 100, 100]], float)
    turned, left = turned_boxes(boxes, OF_3_4_5, 100, 100)
    assert turned[:3] == pytest.approx(np.array([[36, 36, 64, 64], [79, 16, 93, 30], [94, 36, 100, 50]]))
    assert left.tolist() == [True, True, True, False]
    assert turned_boxes(boxes, 0, 100, 100)[0].tolist() == boxes.tolist()
    none, nobody = turned_boxes(np.zeros((0, 4)), 3, 100, 100)
    assert none.shape == (0, 4) and nobody.shape == (0,)


@pytest.mark.parametrize("degrees", [-5, -1.3, 4.2])
@pytest.mark.parametrize("orientation", [1, 6])
def test_pixels_turn_as_boxes_do(tmp_path, degrees, orientation):
    """A bright rectangle off the middle of a picture of 120 x 80, as it is seen, lies in its turned box and fills it."""
    box = np.array([[70, 8, 110, 30]], float)
    seen = np.zeros((80, 120), np.uint8)
    seen[8:30, 70:110] = 255
    stored = PILImage.fromarray(seen)
    exif = PILImage.Exif()
    exif[0x0112] = orientation
    if orientation == 6:  # whoever looks at it turns it clockwise
        stored = stored.transpose(PILImage.Transpose.ROTATE_90)
    stored.save(tmp_path / "one.png", exif=exif)
    shown = np.asarray(turned_picture(tmp_path / "one.png", degrees))
    assert shown.shape == (80, 120)
    rows, columns = np.flatnonzero((shown > 127).any(1)), np.flatnonzero((shown > 127).any(0))
    found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert turned_boxes(box, degrees, 120, 80)[0][0] == pytest.approx(found, abs=1.1)


def test_each_pool_image_is_there_as_often_and_nothing_else_is(tmp_path, cache):
    root = write_yolo(tmp_path / "data", {"train": 10, "val": 4, "test": 5})
    before = tree_bytes(tmp_path / "data")
    once, often = loaded(root), loaded(root, repeat=4)
    names = [image.name for image in once.train.images]
    assert [image.name for image in often.train.images] == names + [f"{n}~{k}" for k in (2, 3, 4) for n in names]
    for kept in ("val", "test"):
        same = [(image.id, image.name, image.content, image.path) for image in getattr(often, kept).images]
        assert same == [(image.id, image.name, image.content, image.path) for image in getattr(once, kept).images]
    everyone = [image for part in (often.train, often.val, often.test) for image in part.images]
    assert len({image.id for image in everyone}) == len({image.content for image in everyone}) == 40 + 9
    for n, image in enumerate(once.train.images):
        assert often.train.images[n].labels_digest == image.labels_digest and often.train.images[n].path == image.path
        for copy in often.train.images[n + 10 :: 10]:
            shown = np.asarray(PILImage.open(copy.path))
            assert copy.path.is_relative_to(cache) and shown.shape == (image.height, image.width, 3)
            assert copy.classes.tolist() == image.classes.tolist()
            wanted = turned_boxes(image.boxes, angle_of(image.name, int(copy.name[-1]), 0), 96, 96)[0]
            assert copy.boxes.tolist() == wanted.tolist()
            assert not len(wanted) or copy.boxes.tolist() != image.boxes.tolist()
    assert tree_bytes(tmp_path / "data") == before, "the user's folder is as it was"


def test_copies_are_made_once_and_again_with_the_same_bytes(tmp_path, cache):
    root = write_yolo(tmp_path / "data", {"train": 6, "test": 2})
    first = loaded(root, repeat=3).train
    paths = [image.path for image in first.images[6:]]
    stamps, content = [path.stat().st_mtime_ns for path in paths], [path.read_bytes() for path in paths]
    assert loaded(root, repeat=3).train.fingerprint == first.fingerprint
    assert [path.stat().st_mtime_ns for path in paths] == stamps
    paths[3].unlink()
    paths[4].write_bytes(content[4][:-20])
    paths[5].write_bytes(b"")
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    assert loaded(tmp_path / "elsewhere", repeat=3).train.fingerprint == first.fingerprint
    assert [path.read_bytes() for path in paths] == content
    assert len(list(cache.rglob("*.png"))) == 12 and not list(cache.rglob("*.tmp"))
    more = loaded(tmp_path / "elsewhere", repeat=4).train
    assert [image.content for image in more.images[:18]] == [image.content for image in first.images]


def test_the_angle_goes_by_name_copy_and_seed():
    angles = np.array([angle_of(f"{n}.png", number, seed) for n in range(500) for number in (2, 3) for seed in (0, 1)])
    assert len(set(angles)) == 2000
    assert np.abs(angles).max() <= MOST_DEGREES
    assert np.sort(angles) == pytest.approx(np.linspace(-5, 5, 2000), abs=0.35), "even over the range"
    assert angle_of("a.png", 2, 0) == angle_of("a.png", 2, 0)


def test_held_out_shares_leave_the_pool_before_it_is_repeated(tmp_path):
    root = write_yolo(tmp_path / "data", {"train": 40})
    splits = loaded(root, val="20%", test="20%", repeat=2)
    of = {part: {i.name.partition("~")[0] for i in getattr(splits, part).images} for part in ("train", "val", "test")}
    assert not of["train"] & of["val"] and not of["train"] & of["test"] and len(set().union(*of.values())) == 40
    assert len(splits.train) == 2 * len(of["train"]) and len(splits.val) == len(of["val"])


def test_ids_of_copies_lie_above_those_of_the_users_file(tmp_path):
    """Else an image_id of a picks file, the user's own number, would name a copy."""
    one = picture(tmp_path / "one.png")
    pool = [Image(n, one, 200, 100, np.zeros((0, 4)), [], name=f"{n}.png", source_id=[7, 300][n]) for n in range(2)]
    test = Dataset(("a",), (Image(2, one, 200, 100, np.zeros((0, 4)), [], name="t.png", source_id=2**62 + 5),))
    often = repeat_pool(Splits("x", Dataset(("a",), tuple(pool)), None, test), 3, 0)
    assert often.train.ids.tolist() == [0, 1, 301, 302, 303, 304]
    assert all(image.source_id is None for image in often.train.images[2:])


def test_a_picks_file_may_name_copies(tmp_path):
    train = loaded(write_yolo(tmp_path / "data", {"train": 4, "test": 2}), repeat=3).train
    file = tmp_path / "picks.csv"
    file.write_text("round,image\n0,0000.png\n0,0003.png~3\n1,0003.png\n1,0000.png~2\n")
    names = [[train[i].name for i in ids] for ids in read_picks(file).picks(train, ())]
    assert names == [["0000.png", "0003.png~3"], ["0003.png", "0000.png~2"]]


def test_an_image_that_cannot_be_decoded_is_named(tmp_path):
    root = write_yolo(tmp_path / "data", {"train": 3, "test": 2})
    broken = root / "images/train/0001.png"
    broken.write_bytes(broken.read_bytes()[:-300])
    with pytest.raises(DatasetError, match=r"0001\.png.*replace or remove"):
        loaded(root, repeat=2)


def test_a_cache_that_cannot_be_written_is_named(tmp_path, cache):
    root = write_yolo(tmp_path / "data", {"train": 3, "test": 2})
    loaded(root)
    (cache / "turned").touch()
    with pytest.raises(DatasetError, match=r"turned copy cannot be kept.*set AL_CACHE"):
        loaded(root, repeat=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dataset.repeat=1"], "dataset.repeat is 1"),
        (["dataset.repeat=2.5"], "dataset.repeat is 2.5"),
        (["dataset.repeat=true"], "dataset.repeat is true"),
        (["dataset.repeat=1000"], "at most 100"),
        (["dataset.repeat=4", "dataset.val='20% of initial'"], "their turned copies are trained on"),
        (["dataset.split_seed=3"], "would do nothing"),
    ],
)
def test_what_cannot_be_meant_is_refused(al, fake, words, message):
    assert message in al(*fake, *words, "--dry-run", code=2).stderr


def test_rounds_count_copies_as_images(fake):
    [job] = jobs_of([*fake[1:], "dataset.repeat=2", "dataset.split_seed=3", "initial=60", "budget=20", "rounds=1"])
    assert plan_rounds(job.experiment, load_dataset(job.config["dataset"])).sizes == (60, 20)
