"""Small images that all differ, and folders of them, for tests of images with one class each."""

from pathlib import Path

import numpy as np
from PIL import Image

DRAWN = np.random.default_rng(0)


def unlike_others(path: Path, size: tuple[int, int] = (6, 4), like: Path | None = None) -> Path:
    """A small image unlike every other one, or the same bytes as `like`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if like is not None:
        path.write_bytes(like.read_bytes())
    else:
        Image.fromarray(DRAWN.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
    return path


def class_folders(root: Path, **splits: dict[str, int]) -> Path:
    """root/SPLIT/CLASS/N.png with so many images of each class; for a split `_`, root/CLASS."""
    for split, classes in splits.items():
        for name, count in classes.items():
            (root / split.strip("_") / name).mkdir(parents=True)
            for n in range(count):
                unlike_others(root / split.strip("_") / name / f"{n}.png")
    return root
