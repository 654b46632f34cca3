"""How a classifier reads images: decoded once, in batches, augmented for training. Knows neither weights nor labels.

Images are upright. Grey ones have one channel, TIFFs with a grey page a band have as many as pages, all others are RGB.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageOps, ImageSequence
from torch import Tensor

from al_cli.errors import DatasetError, first_line
from al_cli.learners.classifier.spec import ClassifierSpec
from al_cli.types import Dataset, Image

log = logging.getLogger("al")
_Pixels = NDArray[np.uint8]
DECODED_BYTES = 2**31  # of decoded images that are kept
_HEADERS = 256  # files that say whether a set of images is grey
_GREY = ("1", "L", "LA", "La")  # and those with I in front, which have 16 or 32 bits


class ImageReader:
    """Batches [B, K, H, W], float32 in 0..1, on `device`.

    `bands` is K: what the first dataset has, or what the owner of trained weights sets. DatasetError names a file that is
    gone, broken or of another size than when the dataset was read, whose pages are not K, or that has another size than
    the first image where `model.image_size` is null.
    """

    def __init__(self, spec: ClassifierSpec, device: torch.device, limit: int = DECODED_BYTES):
        self.side, self.device, self.left = spec.image_size, device, limit
        self.bands: int | None = None
        self._size: tuple[int, int] | None = None
        self._decoded: dict[tuple[str, int], _Pixels] = {}
        self._warned = False

    def channels(self, dataset: Dataset) -> int:
        """1 where all images are grey, as many as pages for TIFFs with a page a band, else 3. Reads headers of at most 256
        files, spread over the dataset, up to the first that is not grey."""
        counts = map(_channels_of, dataset.images[:: len(dataset) // _HEADERS + 1])
        return next((count for count in counts if count > 1), 1)

    def batches(self, dataset: Dataset, batch_size: int) -> Iterator[Tensor]:
        """Every image once, in the dataset's order, not augmented."""
        if self.bands is None:
            self.bands = self.channels(dataset)
        for start in range(0, len(dataset), batch_size):
            yield self.batch(dataset.images[start : start + batch_size], None, flip=False, crop_px=None)

    def batch(
        self,
        images: Sequence[Image],
        rng: np.random.Generator | None,
        flip: bool,
        crop_px: int | None,
        fill: Tensor | None = None,
    ) -> Tensor:
        """These images in this order. With `rng`, half of them are mirrored (`flip`), and each is a crop of its own size from
        the image with `crop_px` more px at each side, in the color `fill` [K, 1, 1] (None: black).
        """
        pixels = np.stack([self._read(image) for image in images])
        if rng is not None and crop_px:
            pixels = _cropped(pixels, rng, crop_px, fill)
        if rng is not None and flip:
            mirrored = rng.random(len(pixels)) < 0.5
            pixels[mirrored] = pixels[mirrored, :, :, ::-1]
        return torch.from_numpy(pixels).to(self.device).float().div_(255)

    def _read(self, image: Image) -> _Pixels:
        """[K, H, W], shared: not to be written to."""
        if self.bands is None:
            self.bands = _channels_of(image)
        key = str(image.path), self.bands
        if key not in self._decoded:
            pixels = self._decode(image, self.bands)
            if pixels.nbytes > self.left:
                return pixels
            self.left -= pixels.nbytes
            self._decoded[key] = pixels
        return self._decoded[key]

    def _decode(self, image: Image, bands: int) -> _Pixels:
        self._require_size(image)
        pages = _pages(image)
        if len(pages) == 1 and bands in (1, 3):
            if pages[0].mode == "RGB" and bands == 1 and not self._warned:
                self._warned = True
                log.warning("%s has colors and is read as grey, as the images before it are", image.path)
            pages = [pages[0].convert("L" if bands == 1 else "RGB")]
        if self.side is not None:
            # Pillow's filter widens with the factor, so that shrunk images have no aliases
            pages = [page.resize((self.side, self.side), PILImage.Resampling.BILINEAR) for page in pages]
        layers = [np.atleast_3d(np.asarray(page, np.uint8)).transpose(2, 0, 1) for page in pages]
        pixels: _Pixels = np.ascontiguousarray(np.concatenate(layers))
        if len(pixels) != bands:
            raise DatasetError(
                f"the image has {len(pixels)} channels, and the first has {bands}",
                where=str(image.path),
                remedy="give all images the same number of bands",
            )
        return pixels

    def _require_size(self, image: Image) -> None:
        if self.side is not None:
            return
        size = (image.width, image.height)
        self._size = self._size or size
        if size != self._size:
            before = f"{self._size[0]} x {self._size[1]}"
            raise DatasetError(
                f"the image is {image.width} x {image.height} px, and the first is {before}",
                where=str(image.path),
                remedy="resize all images to one size, for example model.image_size=64",
            )


def statistics(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over all pixels of all images, float64 [K, 1, 1]; a channel of one value
    has deviation 1. ValueError without a batch."""
    pixels, total, squares = 0, torch.zeros(0), torch.zeros(0)
    for batch in batches:
        exact = batch.double()
        sums, powers = exact.sum((0, 2, 3)), exact.square().sum((0, 2, 3))
        total, squares = (total + sums, squares + powers) if pixels else (sums, powers)
        pixels += exact.numel() // exact.shape[1]
    if not pixels:
        raise ValueError("no images to measure")
    mean = total / pixels
    deviation = (squares / pixels - mean.square()).clamp(min=0).sqrt()
    deviation = torch.where(deviation < 1e-6, torch.ones_like(deviation), deviation)
    return mean.view(-1, 1, 1), deviation.view(-1, 1, 1)


def _cropped(pixels: _Pixels, rng: np.random.Generator, crop_px: int, fill: Tensor | None) -> _Pixels:
    """One crop of each image after padding, at a place of its own."""
    count, bands, height, width = pixels.shape
    padded = np.zeros((count, bands, height + 2 * crop_px, width + 2 * crop_px), np.uint8)
    if fill is not None:
        padded[:] = (fill.cpu() * 255).round().clamp(0, 255).byte().numpy()
    padded[:, :, crop_px:-crop_px, crop_px:-crop_px] = pixels
    top, left = rng.integers(0, 2 * crop_px + 1, size=(2, count))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
    crops: _Pixels = windows[np.arange(count), :, top, left]
    return crops


def _channels_of(image: Image) -> int:
    """As the file's header says."""

    def count(file: Any) -> int:
        if not _grey(file.mode):
            return 3
        return getattr(file, "n_frames", 1) if file.format == "TIFF" else 1

    return int(_opened(image, count))


def _pages(image: Image) -> list[PILImage.Image]:
    """The image upright: one page, L or RGB; or the grey pages of a TIFF."""

    def decode(file: Any) -> list[PILImage.Image]:
        several = file.format == "TIFF" and _grey(file.mode) and getattr(file, "n_frames", 1) > 1
        frames = ImageSequence.Iterator(file) if several else [file]
        return [_in_bytes(ImageOps.exif_transpose(frame)) for frame in frames]

    pages: list[PILImage.Image] = _opened(image, decode)
    for page in pages:
        if page.size != (image.width, image.height):
            before = f"{image.width} x {image.height}"
            raise DatasetError(
                f"the image is {page.width} x {page.height} px, and was {before} when the dataset was read",
                where=str(image.path),
                remedy="put the earlier file back, or give the same command again if the new one is meant",
            )
    return pages


def _opened(image: Image, use: Any) -> Any:
    """What `use` makes of the open file. DatasetError, with the path, for one that is gone or damaged."""
    try:
        with PILImage.open(image.path) as file:
            return use(file)
    except FileNotFoundError as error:
        what = "the image is not there any more"
        remedy = "put it back, and give the same command again"
        raise DatasetError(what, where=str(image.path), remedy=remedy) from error
    except (OSError, ValueError, SyntaxError, EOFError, PILImage.DecompressionBombError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        raise DatasetError(
            f"the image cannot be read: {said.replace(f' {str(image.path)!r}', '') or type(error).__name__}",
            where=str(image.path),
            remedy="put a whole copy in its place, and give the same command again",
        ) from error


def _grey(mode: str) -> bool:
    return mode in _GREY or mode.startswith("I")


def _in_bytes(picture: PILImage.Image) -> PILImage.Image:
    """Eight bits a channel, L or RGB. 16-bit grey is scaled, where Pillow's own conversion would clip it to white."""
    if picture.mode.startswith("I"):
        values = np.asarray(picture, dtype=np.float64)
        return PILImage.fromarray((values / 257 if values.max() > 255 else values).clip(0, 255).astype(np.uint8))
    if picture.mode == "F":
        raise ValueError("its values are floating-point numbers, which have no white")
    return picture.convert("L" if _grey(picture.mode) else "RGB")
