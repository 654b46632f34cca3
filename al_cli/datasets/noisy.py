"""Every image with noise: Lund's "Noisy" data, "Corrupt" in its figures (section 4.2.1).

The report says that "noise has been introduced to the images" and shows one (figure 4.14); it states neither kind nor
strength. Here it is Gaussian, of every pixel and channel alone; its standard deviation is a setting. A noisy copy is written
to al's cache once, as large as its image.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from al_cli.datasets.copies import place_of, upright, write_missing
from al_cli.types import Dataset, Image, OwnSplits

NOISE_SCHEME = "noisy 1"  # to be changed with what a copy looks like: copies in the cache are found again by it


def with_noise(own: OwnSplits, deviation: float, seed: int) -> OwnSplits:
    """The splits with noise of that standard deviation, in grey levels of 0 to 255, in every image.

    The noise is drawn from a hash of the image's bytes, the deviation and `seed`: another image more or less changes no other,
    and images of equal bytes stay so, which keeps them together in held-out shares. DatasetError as `write_missing`.
    """
    made_from: dict[Path, tuple[Path, tuple[float, str]]] = {}

    def copy(image: Image) -> Image:
        content = noise_digest(image, deviation, seed)
        path = place_of("noisy", content)
        made_from[path] = image.path, (deviation, content)
        return replace(image, path=path, content=content)

    def copies(part: Dataset | None) -> Dataset | None:
        return None if part is None else replace(part, images=tuple(map(copy, part.images)))

    noisy = OwnSplits(own.name, copies(own.train), copies(own.val), copies(own.test))  # type: ignore[arg-type]
    write_missing("noisy", made_from, lambda path, how: noisy_picture(path, *how))
    return noisy


def noise_digest(image: Image, deviation: float, seed: int) -> str:
    """32 hex digits of what a copy is made from and how: the same on machines whose libraries write other bytes."""
    text = f"{NOISE_SCHEME}/{seed}/{image.content or image.path}/{float(deviation)!r}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def noisy_picture(path: Path, deviation: float, digest: str) -> Pillow.Image:
    """The picture in a file as it is seen, with noise that the digest determines; values end at 0 and 255."""
    pixels = np.asarray(upright(path), np.float64)
    noise = np.random.default_rng(int(digest, 16)).normal(0, deviation, pixels.shape)
    return Pillow.fromarray(np.clip(np.round(pixels + noise), 0, 255).astype(np.uint8))
