"""The built-in images with a class each: scikit-learn's 1,797 handwritten digits, written once as a folder a class.

They are a copy of the test part of the UCI set (Alpaydin and Kaynak, 1998), 8x8 pixels of 0 to 16, here 0 to 255. They come
without splits: of each class a share is drawn for test, by a fixed seed, 1,300 images and 497 in all. `digits.py` makes scenes
with several digits of the same scans.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from al_cli.datasets.unpacked import kept
from al_cli.rng import rng_for

TEST_SHARE = 0.2766  # of each class: the next multiple that leaves 1,300 images in the pool
NAME = "digits-images-1"  # to be changed with what is written


def digits_images_root() -> Path:
    """The folder with train/ and test/ in al's cache; written on first use."""
    return kept(NAME, write_digits_images)


def write_digits_images(folder: Path) -> None:
    """Write {train,test}/DIGIT/NUMBER.png, 8-bit grey; NUMBER is the scan's place in scikit-learn's copy, from 0."""
    from sklearn.datasets import load_digits  # a second, which only who writes them pays

    data, rng = load_digits(), rng_for(0, 0, "digits_images")
    pixels = np.round(data.images * (255 / 16)).astype(np.uint8)
    for digit in range(10):
        scans = rng.permutation(np.flatnonzero(data.target == digit)).tolist()
        held_out = round(TEST_SHARE * len(scans))
        for split, numbers in (("test", scans[:held_out]), ("train", scans[held_out:])):
            place = folder / split / str(digit)
            place.mkdir(parents=True)
            for number in numbers:
                Pillow.fromarray(pixels[number]).save(place / f"{number:04d}.png")
