"""The built-in dataset: surveillance-like scenes of real handwritten digits, written once as an ordinary YOLO dataset.

The digits are scikit-learn's copy of the UCI set (Alpaydin and Kaynak, 1998: 1797 scans of 8x8 pixels, 43 writers).
What active learning is about is built in on purpose: the pool has a long tail of classes (0 is `IMBALANCE` times as
common as 9), bursts of near-duplicate frames, clutter, easy and hard scenes and scenes without any digit. No scan is
used in two splits. The test split has no bursts and all classes equally often, so that each class's AP rests on as many
objects (as in the long-tail benchmarks of Cui et al., 2019). Nothing here knows of learners or samplers, nor
of the YOLO reader.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from al_cli.datasets.unpacked import kept
from al_cli.errors import DatasetError
from al_cli.rng import rng_for

Float = NDArray[np.float32]

IMBALANCE = 15.0  # most common class : rarest class in the pool, falling geometrically with the digit
BURST_FRAMES = 5  # near-duplicate frames of one scene
BURST_SHARE = 0.2  # of the pool's images that come in bursts
EMPTY_SHARE = 0.06  # scenes without a digit
CLOSE_UP_SHARE = 0.2  # scenes filled by one large digit
SCAN_SHARES = {"train": 0.6, "val": 0.1, "test": 0.3}  # of the scans of each class
GLYPH_PX = 48  # scans are enlarged to this once
GREY_STEP = 6  # grey levels are rounded to multiples of this, which halves the PNGs


@dataclass(frozen=True)
class _Thing:
    """A glyph on a scene: `box` is x0, y0, x1, y1 in whole px, `digit` None for clutter, `tone` added grey levels."""

    ink: Float  # [h, w] 0..1
    box: tuple[int, int, int, int]
    digit: int | None
    tone: float


@dataclass(frozen=True)
class _Scene:
    background: Float  # [S, S] grey level
    noise: float  # standard deviation, grey levels
    things: tuple[_Thing, ...]


def digits_root() -> Path:
    """Folder of the default digits dataset in the cache; written on first use. Where the cache cannot be written, in this
    user's own part of the system's temporary folder, with a warning.

    Two processes that write at once both succeed.
    """
    return kept(f"digits-v1-{_parameters_hash()}", write_digits)


def write_digits(
    folder: Path, *, seed: int = 0, train: int = 320, val: int = 80, test: int = 700, image_size: int = 128
) -> Path:
    """Write data.yaml, images/{train,val,test}/*.png and labels/.../*.txt to `folder`, all or nothing; return it.

    `train`, `val` and `test` are numbers of images, `image_size` their side in px. A function of its arguments: same
    arguments, same bytes. A scene without digits has an empty label file. Raises DatasetError if `folder` holds
    something already, or for a size that cannot hold all three of COCO's size ranges.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError("the folder for the digits is not empty", where=str(folder), remedy="name a new folder")
    if image_size < 120:
        raise DatasetError(
            "a large box (above 96x96 px) does not fit", where=f"image_size={image_size}", remedy="use at least 120"
        )
    if min(train, val, test) < 1:
        raise DatasetError(
            "every split needs an image",
            where=f"train={train} val={val} test={test}",
            remedy="give counts of at least 1",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        scans = _scans(seed)
        for split, count in (("train", train), ("val", val), ("test", test)):
            _write_split(temporary, split, count, scans[split], image_size, rng_for(seed, 0, f"digits/{split}"))
        names = "\n".join(f"  {digit}: '{digit}'" for digit in range(10))
        (temporary / "data.yaml").write_text(
            f"# al data digits: seed {seed}\n"
            f"train: images/train\nval: images/val\ntest: images/test\nnc: 10\nnames:\n{names}\n"
        )
        temporary.chmod(0o755)  # mkdtemp makes it private
        try:
            temporary.rename(folder)
        except OSError as error:
            raise DatasetError(
                f"the digits cannot be put in place: {error}", where=str(folder), remedy="name a new folder"
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _parameters_hash() -> str:
    """8 hex digits of this file and of the default arguments: a changed generator never meets an old cache folder."""
    return hashlib.sha256(Path(__file__).read_bytes() + repr(write_digits.__kwdefaults__).encode()).hexdigest()[:8]


def _scans(seed: int) -> dict[str, list[list[Float]]]:
    """Per split and class the scans as [GLYPH_PX, GLYPH_PX] ink 0..1. Every scan is in exactly one split."""
    from sklearn.datasets import load_digits  # a second, which only who writes them pays

    data = load_digits()
    rng = rng_for(seed, 0, "digits/scans")
    split: dict[str, list[list[Float]]] = {name: [] for name in SCAN_SHARES}
    for digit in range(10):
        own = [_enlarge(scan) for scan in data.images[rng.permutation(np.flatnonzero(data.target == digit))]]
        start = 0.0
        for name, share in SCAN_SHARES.items():
            split[name].append(own[round(start * len(own)) : round((start + share) * len(own))])
            start += share
    return split


def _enlarge(scan: NDArray[np.float64]) -> Float:
    """An 8x8 scan (0..16) as smooth ink with a crisp edge."""
    smooth = np.asarray(_resize((scan / 16).astype(np.float32), GLYPH_PX, GLYPH_PX))
    edge = np.clip((smooth - 0.35) / 0.3, 0, 1)
    return (edge * edge * (3 - 2 * edge)).astype(np.float32)


def _resize(grey: Float, width: int, height: int) -> Float:
    return np.asarray(Pillow.fromarray(grey).resize((width, height), Pillow.Resampling.BICUBIC), dtype=np.float32)


def _write_split(
    root: Path, split: str, count: int, scans: list[list[Float]], size: int, rng: np.random.Generator
) -> None:
    """Write `count` images and label files. Bursts, in the pool only, are consecutive frames, as a camera's are."""
    (root / "images" / split).mkdir(parents=True)
    (root / "labels" / split).mkdir(parents=True)
    bursts = int(BURST_SHARE * count / BURST_FRAMES) if split == "train" else 0
    lengths = np.array([BURST_FRAMES] * bursts + [1] * (count - bursts * BURST_FRAMES))
    # One deck of classes for bursts and one for single frames: the shares then hold although a burst counts five times.
    decks = {length: _deck(int((lengths == length).sum()), split != "test", rng) for length in (BURST_FRAMES, 1)}
    number = 0
    for length in rng.permutation(lengths):
        scene = _compose(decks[int(length)].pop(), scans, size, rng)
        for frame in range(length):
            image, labels = _photograph(scene, frame > 0, size, rng)
            Pillow.fromarray(image).save(root / "images" / split / f"{number:05d}.png")
            (root / "labels" / split / f"{number:05d}.txt").write_text("".join(line + "\n" for line in labels))
            number += 1


def _deck(scenes: int, long_tail: bool, rng: np.random.Generator) -> list[list[int]]:
    """The digits of each scene: how many is random, how often each class occurs overall is exact (to rounding)."""
    counts = np.where(rng.random(scenes) < EMPTY_SHARE, 0, rng.integers(2, 11, scenes))
    weights = IMBALANCE ** -(np.arange(10) / 9) if long_tail else np.ones(10)
    total = int(counts.sum())
    edges = np.round(np.cumsum(weights) / weights.sum() * total).astype(int)
    cards = rng.permutation(np.searchsorted(edges, np.arange(total), side="right"))
    return [part.tolist() for part in np.split(cards, np.cumsum(counts)[:-1])] if scenes else []


def _compose(digits: list[int], scans: list[list[Float]], size: int, rng: np.random.Generator) -> _Scene:
    """A scene with these digits and some clutter. Its difficulty (0 easy .. 1 hard) sets contrast, noise, clutter."""
    difficulty = float(rng.random())
    coarse = rng.normal(0, 6 + 8 * difficulty, (4, 4)).astype(np.float32)
    background = rng.uniform(40, 90) + _resize(coarse, size, size)
    noise = 3 + 6 * difficulty
    things: list[_Thing] = []
    close_up = rng.random() < CLOSE_UP_SHARE
    for place, digit in enumerate(digits):
        large = close_up and place == 0
        side = rng.uniform(98, 104) if large else float(np.exp(rng.uniform(np.log(20), np.log(31 if close_up else 80))))
        contrast = rng.uniform(90, 140) - 30 * difficulty
        scan = scans[digit][rng.integers(len(scans[digit]))]
        _place(_pose(scan, rng), side, digit, contrast, things, size, rng, (0.72, 1.0) if large else (0.5, 1.2))
    for _ in range(rng.integers(0, 2 + round(3 * difficulty))):
        side = float(np.exp(rng.uniform(np.log(10), np.log(40))))
        _place(_scribble(rng), side, None, rng.uniform(40, 100), things, size, rng, (0.3, 3.0))
    return _Scene(background, noise, tuple(things))


def _pose(scan: Float, rng: np.random.Generator) -> Float:
    """The scan rotated by up to 12 degrees and cropped to its ink."""
    turned = Pillow.fromarray(scan).rotate(float(rng.uniform(-12, 12)), Pillow.Resampling.BICUBIC, expand=True)
    return _crop(np.asarray(turned, dtype=np.float32))


def _crop(ink: Float) -> Float:
    rows, columns = np.flatnonzero((ink > 0.3).any(1)), np.flatnonzero((ink > 0.3).any(0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _scribble(rng: np.random.Generator) -> Float:
    """Ink that is no digit: a random walk of strokes as wide as the digits' own."""
    ink = np.zeros((GLYPH_PX, GLYPH_PX), np.float32)
    points = rng.uniform(6, GLYPH_PX - 6, (int(rng.integers(2, 4)), 2))
    y, x = np.mgrid[:GLYPH_PX, :GLYPH_PX]
    for a, b in pairwise(points):
        along = np.clip(((x - a[0]) * (b - a)[0] + (y - a[1]) * (b - a)[1]) / ((b - a) ** 2).sum(), 0, 1)
        distance = np.hypot(x - a[0] - along * (b - a)[0], y - a[1] - along * (b - a)[1])
        ink = np.maximum(ink, np.clip((5 - distance) / 2, 0, 1)).astype(np.float32)
    return _crop(ink)


def _place(
    ink: Float,
    side: float,
    digit: int | None,
    tone: float,
    things: list[_Thing],
    size: int,
    rng: np.random.Generator,
    aspects: tuple[float, float],
) -> None:
    """Add the ink with a box of about side^2 px where it touches nothing, smaller if it must; it may find no place."""
    aspect = float(np.clip(ink.shape[1] / ink.shape[0], *aspects))
    while side >= (9 if digit is None else 15):
        width, height = max(4, round(side * aspect**0.5)), max(4, round(side / aspect**0.5))
        if max(width, height) < size - 4:
            for x, y in zip(*rng.integers(2, (size - 1 - width, size - 1 - height), (12, 2)).T.tolist(), strict=True):
                box = (x, y, x + width, y + height)
                if not any(_touch(box, other.box) for other in things):
                    things.append(_Thing(np.clip(_resize(ink, width, height), 0, 1), box, digit, tone))
                    return
        side *= 0.85


def _touch(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _photograph(scene: _Scene, later: bool, size: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[str]]:
    """One frame: fresh noise and, in later frames of a burst, things moved by up to 2 px and other light."""
    canvas = scene.background + (rng.uniform(-4, 4) if later else 0)
    labels = []
    for thing in scene.things:
        x0, y0, x1, y1 = thing.box
        if later:
            dx, dy = rng.integers(-2, 3, 2).tolist() if thing.digit is not None else (0, 0)
            x0, y0, x1, y1 = x0 + dx, y0 + dy, x1 + dx, y1 + dy
        canvas[y0:y1, x0:x1] += thing.tone * thing.ink
        if thing.digit is not None:
            numbers = ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)
            labels.append(f"{thing.digit} " + " ".join(f"{number / size:.6f}" for number in numbers))
    canvas = canvas + rng.normal(0, scene.noise, canvas.shape)
    return (np.clip(np.round(canvas / GREY_STEP) * GREY_STEP, 0, 255)).astype(np.uint8), labels
