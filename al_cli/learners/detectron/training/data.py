"""Our Dataset as Detectron2 reads data: a list of dicts in memory, a mapper, loaders. Nothing is registered or written.

Images without objects stay (Detectron2 drops them by default), crowd regions are not trained on. The stream of training
batches is a function of the seed and the images alone: each pass over them is a new shuffle by Detectron2's sampler,
or in the order that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import torch
from detectron2.data import DatasetFromList, DatasetMapper, MapDataset, build_detection_train_loader
from detectron2.data import detection_utils as utils
from detectron2.data.build import trivial_batch_collator
from detectron2.data.samplers import TrainingSampler
from detectron2.structures import BoxMode, Instances
from PIL import Image as PILImage
from torch import Tensor
from torch.utils.data import DataLoader

from al_cli.errors import DatasetError, first_line
from al_cli.types import Dataset, Image

Batch = list[dict[str, Any]]
Mapper = Callable[[dict[str, Any]], dict[str, Any]]
CACHE_BYTES = 2**30
DEEP_MODES = ("I", "F")  # beginnings of PIL's modes with more than 8 bits: their conversion to RGB clips in silence


def to_dicts(dataset: Dataset, order: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """Detectron2's standard dataset dicts, in ascending id order or that of `order`; boxes xyxy px of the original image."""
    return [_to_dict(image) for image in (dataset.images if order is None else map(dataset.__getitem__, order))]


def _to_dict(image: Image) -> dict[str, Any]:
    annotations = [
        {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": category, "iscrowd": int(crowd)}
        for box, category, crowd in zip(image.boxes.tolist(), image.classes.tolist(), image.crowd.tolist(), strict=True)
    ]
    return {
        "file_name": str(image.path),
        "image_id": image.id,
        "height": image.height,
        "width": image.width,
        "annotations": annotations,
    }


def refuse_deep(path: str) -> None:
    """DatasetError for an image of more than 8 bits a channel, by its header."""
    with PILImage.open(path) as file:
        mode = file.mode
    if mode.startswith(DEEP_MODES):
        raise DatasetError(
            f"the image has more than 8 bits a channel (mode {mode})",
            where=path,
            remedy="convert the images to 8 bits first: what is above 255 would turn white",
        )


def read_pixels(record: dict[str, Any], image_format: str) -> np.ndarray[Any, Any]:
    """Decoded pixels, uint8 [H, W, 3]. DatasetError, with the path, for a file that is gone, damaged, of another size than
    when the dataset was read, or of more than 8 bits a channel."""
    path = record["file_name"]
    try:
        refuse_deep(path)
        pixels: np.ndarray[Any, Any] = utils.read_image(path, image_format)
    except FileNotFoundError as error:
        what = "the image is not there any more"
        raise DatasetError(what, where=path, remedy="put it back, and give the same command again") from error
    except (OSError, ValueError, SyntaxError, PILImage.DecompressionBombError) as error:  # PIL's for a damaged file
        raise DatasetError(
            f"the image cannot be read: {_without_path(error, path)}",
            where=path,
            remedy="put a whole copy in its place, and give the same command again",
        ) from error
    height, width = pixels.shape[:2]
    if (width, height) != (record["width"], record["height"]):
        before = f"{record['width']} x {record['height']}"
        raise DatasetError(
            f"the image is {width} x {height} pixels, and was {before} when the dataset was read",
            where=path,
            remedy="put the earlier file back, or give the same command again if the new one is meant",
        )
    return pixels


def _without_path(error: BaseException, path: str) -> str:
    """What the error says; the path stands beside it already."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
    return said.replace(f" {path!r}", "") or type(error).__name__


class ImageCache:
    """Decoded images by file name, uint8 [3, H, W]; decodes again what would not fit into `limit` bytes."""

    def __init__(self, limit: int = CACHE_BYTES):
        self.left = limit
        self._images: dict[tuple[str, str], Tensor] = {}

    def read(self, record: dict[str, Any], image_format: str) -> Tensor:
        """Shared by all readers: not to be written to."""
        key = (record["file_name"], image_format)
        if key not in self._images:
            pixels = read_pixels(record, image_format)
            image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
            if image.nbytes > self.left:
                return image
            self.left -= image.nbytes
            self._images[key] = image
        return self._images[key]


class CachedMapper:
    """Detectron2's DatasetMapper for images that go in as they are or mirrored: decodes and converts each once."""

    def __init__(self, cache: ImageCache, image_format: str, *, labels: bool, flip: bool):
        self.cache, self.image_format, self.labels, self.flip = cache, image_format, labels, flip
        self._instances: dict[tuple[int, bool], Instances] = {}

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        mirrored = self.flip and np.random.random() < 0.5  # noqa: NPY002 - the generator Detectron2's own flip draws from
        image = self.cache.read(record, self.image_format)
        out = {key: record[key] for key in ("file_name", "image_id", "height", "width")}
        out["image"] = image.flip(-1) if mirrored else image
        if self.labels:
            key = (record["image_id"], mirrored)
            if key not in self._instances:
                self._instances[key] = _to_instances(record, mirrored)
            out["instances"] = self._instances[key]
        return out


def _to_instances(record: dict[str, Any], mirrored: bool) -> Instances:
    size = (record["height"], record["width"])
    transform = T.TransformList([T.HFlipTransform(record["width"])] if mirrored else [])
    objects = [
        utils.transform_instance_annotations(dict(one), transform, size)
        for one in record["annotations"]
        if not one["iscrowd"]
    ]
    return utils.filter_empty_instances(utils.annotations_to_instances(objects, size))


class StockMapper:
    """Detectron2's own mapper, after a look at the file's header. What it cannot read is a DatasetError (`read_pixels`)."""

    def __init__(self, augmentations: list[Any], image_format: str, *, labels: bool):
        self.image_format = image_format
        self.stock = DatasetMapper(is_train=labels, augmentations=augmentations, image_format=image_format)

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        try:
            refuse_deep(record["file_name"])
            mapped: dict[str, Any] = self.stock(record)
            return mapped
        except Exception:
            read_pixels(record, self.image_format)  # says which file it is, if it is the file
            raise


def stock_mapper(augmentations: list[Any], image_format: str, *, labels: bool) -> Mapper:
    """Detectron2's own mapper; with `labels` its output has the objects, as training and losses need."""
    return StockMapper(augmentations, image_format, labels=labels)


def said_plainly(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The same batches. A loader's process adds its traceback to what a mapper raises: only the sentence is kept."""
    try:
        yield from batches
    except DatasetError as error:
        if "Traceback (most recent call last)" not in str(error):
            raise
        last = str(error).strip().splitlines()[-1]
        raise DatasetError(last.partition("DatasetError: ")[2] or last) from error


def training_batches(
    records: list[dict[str, Any]],
    mapper: Mapper,
    *,
    batch_size: int,
    seed: int,
    by_aspect: bool,
    workers: int,
    shuffle: bool = True,
) -> Iterable[Batch]:
    """An endless stream of batches: Detectron2's loader over a list that is already in memory.

    Without `shuffle`, passes over the list as it is: every batch has its next images, whatever their aspect. A batch
    that the list's end leaves incomplete is filled from its beginning, as shuffled ones are from the next shuffle.
    """
    loader = build_detection_train_loader(
        DatasetFromList(records, copy=False, serialize=False),
        mapper=mapper,
        sampler=TrainingSampler(len(records), shuffle=shuffle, seed=seed),
        total_batch_size=batch_size if shuffle else 1,  # two processes would make two batches of alternate images
        aspect_ratio_grouping=by_aspect and shuffle,
        num_workers=workers,
        seed=seed,
    )
    return said_plainly(loader if shuffle else _in_batches(loader, batch_size))


def _in_batches(singles: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Batches of `size` images from batches of one."""
    stream = iter(singles)
    while batch := [image for single in islice(stream, size) for image in single]:
        yield batch


def ordered_batches(
    records: list[dict[str, Any]], mapper: Mapper, *, batch_size: int, workers: int = 0
) -> Iterator[Batch]:
    """Every image once, in order. Neighbours share a batch only if they have one size: none is padded for another."""
    order: list[list[int]] = []
    for _, same in groupby(range(len(records)), key=lambda i: (records[i]["height"], records[i]["width"])):
        run = list(same)
        order += [run[start : start + batch_size] for start in range(0, len(run), batch_size)]
    images = MapDataset(DatasetFromList(records, copy=False, serialize=False), mapper)
    loader = DataLoader(
        images,
        batch_sampler=order,
        collate_fn=trivial_batch_collator,
        num_workers=workers,
        generator=torch.Generator(),  # its own: else each call would draw a number from the training's generator
    )
    return said_plainly(loader)
