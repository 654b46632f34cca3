"""A small random dataset, in memory and on disk as YOLO, for tests that need data but not real data."""

import itertools
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from al_cli.types import Dataset, Image, Predictions, Signal

CLASSES = ("circle", "square", "star")


def with_words(words: list[str], *changed: str) -> list[str]:
    """The words of a command, with these in place of those of the same key: a key is given once."""
    keys = {word.partition("=")[0] for word in changed}
    return [*(word for word in words if "=" not in word or word.partition("=")[0] not in keys), *changed]


def random_dataset(n: int, first_id: int = 0, seed: int = 0, size: int = 96) -> Dataset:
    """`n` images of 0 to 4 boxes in three classes of falling frequency. Every fifth image has none."""
    rng = np.random.default_rng([seed, first_id])
    images = []
    for i in range(first_id, first_id + n):
        k = 0 if i % 5 == 4 else int(rng.integers(1, 5))
        xy = rng.integers(0, size // 2, size=(k, 2))
        wh = rng.integers(6, size // 2, size=(k, 2))
        classes = rng.choice(3, size=k, p=[0.6, 0.3, 0.1])
        images.append(Image(i, Path(f"{i:04d}.png"), size, size, np.concatenate([xy, xy + wh], 1), classes))
    return Dataset(CLASSES, tuple(images))


def write_yolo(root: Path, sizes: dict[str, int], seed: int = 0) -> Path:
    """A YOLO folder of random images with a filled rectangle per box."""
    first = 0
    for split, n in sizes.items():
        dataset = random_dataset(n, first, seed)
        first += n
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for image in dataset.images:
            pixels = np.random.default_rng([seed, 7, image.id]).integers(
                0, 60, (image.height, image.width, 3), dtype=np.uint8
            )
            rows = []
            for (x0, y0, x1, y1), c in zip(image.boxes, image.classes, strict=True):
                pixels[int(y0) : int(y1), int(x0) : int(x1), c] = 220
                numbers = (
                    (x0 + x1) / 2 / image.width,
                    (y0 + y1) / 2 / image.height,
                    (x1 - x0) / image.width,
                    (y1 - y0) / image.height,
                )
                rows.append(f"{c} " + " ".join(f"{v:.6f}" for v in numbers))
            PILImage.fromarray(pixels).save(root / "images" / split / image.path.name)
            (root / "labels" / split / f"{image.path.stem}.txt").write_text("\n".join(rows))
    lines = [f"{split}: images/{split}" for split in sizes] + [f"nc: {len(CLASSES)}", f"names: {list(CLASSES)}"]
    (root / "data.yaml").write_text("\n".join(lines) + "\n")
    return root


def write_classes(root: Path, sizes: dict[str, int], names: tuple[str, ...] = CLASSES) -> Path:
    """A folder a class in each split: as many images as `sizes` says, of these classes in turn, each with its own noise."""
    for split, n in sizes.items():
        for i in range(n):
            path = root / split / names[i % len(names)] / f"{i:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng([len(split), i]).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            PILImage.fromarray(noise).save(path)
    return root


_seed = itertools.count()


def picture(path: Path, width: int = 200, height: int = 100, **options) -> Path:
    """An image unlike any other, so that no two are the same by content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(next(_seed)).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    PILImage.fromarray(noise).resize((width, height), PILImage.Resampling.NEAREST).save(path, **options)
    return path


def tree_bytes(
    folder: Path, skip: tuple[str, ...] = ("timing.json", "environment.json", "run.log", "run.lock")
) -> dict[str, bytes]:
    """Every file of a run that must be the same in equal runs."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files if p.name not in skip}


def whole_images(labels, names, first_id: int = 0) -> Dataset:
    """An image for each of these classes, which is its only label; no files."""
    whole = np.array([[0.0, 0.0, 8.0, 8.0]])
    images = (Image(i, Path(f"{i:04d}.png"), 8, 8, whole, [label]) for i, label in enumerate(labels, first_id))
    return Dataset(tuple(names), tuple(images))


def predicted_classes(probs, classes=None, first_id: int = 0, signals: bool = True) -> Predictions:
    """A prediction for each image, with these probabilities [N, C]: of the most probable class, or of `classes`."""
    n, c = np.shape(probs)
    chosen = np.argmax(probs, axis=1) if classes is None else np.asarray(classes)
    boxes = np.tile([0.0, 0.0, 8.0, 8.0], (n, 1))
    columns = {Signal.PROBS: np.asarray(probs, np.float32)} if signals else {}
    score = np.asarray(probs)[np.arange(n), chosen]
    ids = np.arange(first_id, first_id + n)
    return Predictions(ids, np.arange(n + 1), boxes, score, chosen, c, "exclusive", columns)
