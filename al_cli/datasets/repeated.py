"""Every pool image several times, each copy turned by a small random angle: Lund's "Hard" data (section 4.2.1).

The report repeats every training image 4 times "with a small random rotation", to imitate a surveillance camera, and leaves
validation and test images alone. It states no angle: up to `MOST_DEGREES` either way is a choice. The first of the copies is
the image itself. The others are written to al's cache, never to a folder of the user's.

A copy is as large as its image; what is turned in from outside is black. A box becomes the axis-aligned hull of its turned
corners, cut at the image's edges, so it grows a little; one of which less than a pixel is left is dropped. A label that is the
class of the whole image stays that.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from al_cli.datasets.copies import place_of, upright, write_missing
from al_cli.types import Image, Splits

MOST_DEGREES = 5.0
SCHEME = "turned 1"  # to be changed with what a copy looks like: copies in the cache are found again by it
MOST_ID = 2**62  # ids of the user's files above it are so far up that copies cannot have the same


def repeat_pool(splits: Splits, times: int, seed: int) -> Splits:
    """The splits with each pool image `times` times; val and test as they are.

    The copies of `photo.jpg` are called `photo.jpg~2`, `photo.jpg~3`, ...; no image file can be called so. Their ids lie above
    all others. A copy's angle is a hash of the image's name, the copy's number and `seed`, so another image more or less
    turns no other one. DatasetError, with the file, for an image that cannot be decoded or a cache that cannot be written.
    """
    parts = [part.images for part in (splits.train, splits.val, splits.test) if part is not None]
    taken = [number for images in parts for image in images for number in (image.id, image.source_id or 0)]
    first = 1 + max(number for number in taken if number < MOST_ID)
    copies: list[Image] = []
    made_from: dict[Path, tuple[Path, float]] = {}
    for number in range(2, times + 1):
        for image in splits.train.images:
            degrees = angle_of(image.name, number, seed)
            copies.append(turned(image, number, degrees, first + len(copies)))
            made_from[copies[-1].path] = image.path, degrees
    write_missing("turned", made_from, turned_picture)
    return replace(splits, train=replace(splits.train, images=(*splits.train.images, *copies)))


def angle_of(name: str, number: int, seed: int) -> float:
    """Degrees, counterclockwise as one looks at the picture, even over -MOST_DEGREES to MOST_DEGREES."""
    digest = hashlib.sha256(f"repeat/{seed}/{number}/{name}".encode()).digest()
    return (int.from_bytes(digest[:6], "big") / 2**48 * 2 - 1) * MOST_DEGREES


def turned(image: Image, number: int, degrees: float, id: int) -> Image:
    """The copy of that number as it will lie in the cache. Its `content` is a digest of what it is made from and how, so it is
    the same on machines whose libraries write other bytes for the same pixels."""
    boxes, left = turned_boxes(image.boxes, degrees, image.width, image.height)
    content = hashlib.sha256(f"{SCHEME}/{image.content or image.path}/{degrees!r}".encode()).hexdigest()[:32]
    return Image(
        id,
        place_of("turned", content),
        image.width,
        image.height,
        boxes[left],
        image.classes[left],
        image.crowd[left],
        name=f"{image.name}~{number}",
        content=content,
    )


def turned_boxes(
    boxes: NDArray[np.float64], degrees: float, width: int, height: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """[K,4] hulls of the boxes turned about the picture's middle, within the picture, and [K] whether a pixel is left."""
    x, y = boxes[:, [0, 2, 2, 0]] - width / 2, boxes[:, [1, 1, 3, 3]] - height / 2  # [K, 4] corners; y points down
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = np.stack([cos * x + sin * y + width / 2, cos * y - sin * x + height / 2], axis=2)  # [K, 4, 2]
    hull = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    hull = np.clip(hull, 0, [width, height, width, height])
    whole = (boxes == [0, 0, width, height]).all(1)
    hull[whole] = boxes[whole]  # of a strip 24 times as long as wide, a hull does not reach the ends
    return hull, (hull[:, 2:] - hull[:, :2] >= 1).all(1)


def turned_picture(path: Path, degrees: float) -> Pillow.Image:
    """The picture in a file as it is seen, turned counterclockwise about its middle; grey or in color."""
    return upright(path).rotate(degrees, Pillow.Resampling.BILINEAR)
