"""The built-in digits: what the issue promises of them, measured on the files that a user would get."""

import dataclasses
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from al_cli.datasets import digits, load_yolo, unpacked
from al_cli.datasets.digits import digits_root, write_digits
from al_cli.datasets.headers import cache_dir
from al_cli.errors import DatasetError
from al_cli.rng import rng_for

SIZE = 128


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits") / "default")


def labels(folder: Path, split: str) -> list[np.ndarray]:
    """Per image [K,5]: class and xyxy in px, read without our own reader."""
    out = []
    for file in sorted((folder / "labels" / split).glob("*.txt")):
        rows = np.array([line.split() for line in file.read_text().splitlines()], dtype=float).reshape(-1, 5)
        center, wh = rows[:, 1:3] * SIZE, rows[:, 3:5] * SIZE
        out.append(np.hstack([rows[:, :1], center - wh / 2, center + wh / 2]))
    return out


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_the_pool_has_a_long_tail_and_the_test_set_has_not(folder: Path) -> None:
    pool = np.bincount(np.vstack(labels(folder, "train"))[:, 0].astype(int), minlength=10)
    assert 12 <= pool.max() / pool.min() <= 18
    assert pool.argmax() == 0 and pool.argmin() == 9
    test = np.bincount(np.vstack(labels(folder, "test"))[:, 0].astype(int), minlength=10)
    assert test.max() / test.min() < 1.1


def test_who_finds_the_digits_written_does_not_import_scikit_learn() -> None:
    imports = "import sys; from al_cli.datasets import digits, digits_images; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", imports], check=False).returncode == 0


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_size_range_and_negatives_occur(folder: Path, split: str) -> None:
    rows = labels(folder, split)
    boxes = np.vstack(rows)[:, 1:]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    small, medium, large = (area < 32**2).sum(), ((area >= 32**2) & (area < 96**2)).sum(), (area >= 96**2).sum()
    least = {"train": 50, "val": 10, "test": 100}[split]
    assert min(small, medium, large) >= least, (small, medium, large)
    assert sum(len(r) == 0 for r in rows) >= 2
    assert boxes.min() >= -0.001 and boxes.max() <= SIZE + 0.001  # labels have six decimals


def test_every_image_has_a_label_file_and_is_small(folder: Path) -> None:
    for split, count in (("train", 320), ("val", 80), ("test", 700)):
        images = sorted((folder / "images" / split).iterdir())
        names = [file.stem for file in sorted((folder / "labels" / split).iterdir())]
        assert [file.stem for file in images] == names and len(names) == count
        with Image.open(images[0]) as image:
            assert image.size == (SIZE, SIZE)
        assert np.mean([file.stat().st_size for file in images]) < 10_000


def test_the_yolo_reader_takes_it_like_anybodys_data(folder: Path) -> None:
    splits = load_yolo(folder)
    assert splits.train.class_names == tuple("0123456789")
    for split, dataset in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        assert dataset is not None
        for image, rows in zip(dataset.images, labels(folder, split), strict=True):
            assert np.allclose(np.hstack([image.classes[:, None], image.boxes]), rows, atol=1e-3)


def test_bursts_are_near_duplicates_and_only_in_the_pool(folder: Path) -> None:
    """Consecutive frames with the same digits within 4 px (each frame moves by up to 2 from the first)."""

    def pairs(split: str) -> list[int]:
        rows = labels(folder, split)
        near = lambda a, b: len(a) and a.shape == b.shape and (a[:, 0] == b[:, 0]).all() and abs(a - b).max() <= 4.01  # noqa: E731
        return [i for i in range(len(rows) - 1) if near(rows[i], rows[i + 1])]

    found = pairs("train")
    bursts = int(digits.BURST_SHARE * 320 / digits.BURST_FRAMES)
    # Bursts of an empty scene have no boxes to compare, so a few of the 4 pairs of each burst are missing.
    assert 0.8 * bursts * 4 <= len(found) <= bursts * 4
    pixels = [np.asarray(Image.open(f), float) for f in sorted((folder / "images/train").iterdir())]
    inside = np.mean([abs(pixels[i] - pixels[i + 1]).mean() for i in found])
    outside = np.mean([abs(pixels[i] - pixels[(i + 100) % 320]).mean() for i in found])
    assert inside < 0.4 * outside
    assert any((pixels[i] != pixels[i + 1]).any() for i in found)
    assert pairs("val") == [] and pairs("test") == []


def test_no_scan_is_in_two_splits() -> None:
    scans = digits._scans(seed=0)
    held = Counter(scan.tobytes() for split in scans.values() for own in split for scan in own)
    assert len(held) == 1797 and set(held.values()) == {1}
    images = load_digits().images
    assert sum(len(own) for own in scans["train"]) == pytest.approx(0.6 * len(images), abs=10)


def test_boxes_fit_the_ink_tightly() -> None:
    """Drawn without background and noise, each box holds ink up to its four sides and there is none outside boxes."""
    rng = rng_for(3, 0, "test")
    scans = digits._scans(seed=0)["val"]
    drawn = 0
    for _ in range(40):
        scene = digits._compose([1, 5, 7, 8], scans, SIZE, rng)
        only = tuple(dataclasses.replace(thing, tone=240.0) for thing in scene.things if thing.digit is not None)
        bare = digits._Scene(np.zeros((SIZE, SIZE), np.float32), 0.0, only)
        image, rows = digits._photograph(bare, False, SIZE, rng)
        rest = image.copy()
        for row in rows:
            _, cx, cy, w, h = (float(word) for word in row.split())
            x0, x1, y0, y1 = (round(v * SIZE) for v in (cx - w / 2, cx + w / 2, cy - h / 2, cy + h / 2))
            patch = image[y0:y1, x0:x1]
            assert min(patch[0].max(), patch[-1].max(), patch[:, 0].max(), patch[:, -1].max()) > 30
            rest[y0:y1, x0:x1] = 0
            drawn += 1
        assert rest.max() == 0
    assert drawn > 140  # of 160: nearly all digits find a place


def test_same_arguments_same_bytes_and_other_seed_other_scenes(tmp_path: Path) -> None:
    small = {"train": 12, "val": 2, "test": 4}
    a, b, c = (write_digits(tmp_path / n, seed=s, **small) for n, s in (("a", 0), ("b", 0), ("c", 1)))
    assert content(a) == content(b)
    assert content(a)["images/train/00000.png"] != content(c)["images/train/00000.png"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, calls = Image.Image.save, []

    def full_disk(*args, **options):  # type: ignore[no-untyped-def]
        calls.append(1)
        if len(calls) == 5:
            raise OSError("no space left on device")
        return save(*args, **options)

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_digits(tmp_path / "d", train=8, val=2, test=2)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_and_impossible_sizes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(DatasetError, match="not empty"):
        write_digits(tmp_path)
    with pytest.raises(DatasetError, match="120"):
        write_digits(tmp_path / "d", image_size=64)
    with pytest.raises(DatasetError, match="val=0"):
        write_digits(tmp_path / "d", val=0)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_the_cache_is_written_once_and_by_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AL_CACHE", str(tmp_path / "cache"))
    default_name = digits._parameters_hash()
    for split, count in (("train", 8), ("val", 2), ("test", 2)):
        monkeypatch.setitem(write_digits.__kwdefaults__, split, count)
    with ThreadPoolExecutor(4) as threads:
        roots = {future.result() for future in [threads.submit(digits_root) for _ in range(4)]}
    (root,) = roots
    assert root.parent == tmp_path / "cache"  # AL_CACHE is the folder itself, for digits as for headers
    assert root.parent == cache_dir()
    assert default_name not in root.name  # other parameters, other folder
    assert [file.name for file in root.parent.iterdir()] == [root.name]
    mine = (root / "data.yaml").read_text().upper()  # as long as before
    (root / "data.yaml").write_text(mine)
    assert digits_root() == root and (root / "data.yaml").read_text() == mine


def test_a_cache_that_cannot_be_written_is_gone_around(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("AL_CACHE", str(tmp_path / "file/cache"))
    monkeypatch.setattr(unpacked.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    monkeypatch.setitem(digits.write_digits.__kwdefaults__, "train", 3)
    monkeypatch.setitem(digits.write_digits.__kwdefaults__, "val", 1)
    monkeypatch.setitem(digits.write_digits.__kwdefaults__, "test", 1)
    root = digits.digits_root()
    assert (root / "data.yaml").exists() and root.parent.parent == tmp_path / "tmp"
    assert digits.digits_root() == root
    assert caplog.text.count("cannot be written") == 1
    root.parent.chmod(0o777)
    with pytest.raises(DatasetError, match="this user's alone"):
        digits.digits_root()
