"""How one detector reads images: mappers, batches, processes, threads. Knows neither weights nor signals."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from al_cli.learners.detectron.model.zoo import DetectronConfig
from al_cli.learners.detectron.training.data import (
    Batch,
    CachedMapper,
    ImageCache,
    Mapper,
    ordered_batches,
    stock_mapper,
    to_dicts,
)
from al_cli.types import Dataset

INFERENCE_BATCH = 16


class ImageReader:
    """Models that take images as they are (the tiny ones) keep them decoded in memory and infer in batches of 16; models
    that resize infer one image at a time, as Detectron2's own DefaultPredictor does.

    `threads`: one for models that take images as they are: on small images more threads gain 5%, cost tenfold when another
    process wants the cores, and make the last digits depend on how many there are. None: as many as torch has.
    `workers`: processes that decode images. None on a CPU, where they would take the cores that train.
    """

    def __init__(self, config: DetectronConfig, device: torch.device, *, flip: bool):
        self.config, self.flip, self.cache = config, flip, ImageCache()
        self.threads: int | None = None if config.resizes else 1
        self.workers = config.workers if config.resizes and device.type == "cuda" else 0

    def mapper(self, *, labels: bool, augment: bool = False) -> Mapper:
        flip = augment and self.flip
        if self.config.resizes:
            steps = self.config.augmentations(train=augment, flip=flip)
            return stock_mapper(steps, self.config.image_format, labels=labels)
        return CachedMapper(self.cache, self.config.image_format, labels=labels, flip=flip)

    def batches(self, images: Dataset, *, labels: bool, batch_size: int | None = None) -> Iterator[Batch]:
        """Every image once, in order, not augmented; in batches for inference where no size is given."""
        size = batch_size or (1 if self.config.resizes else INFERENCE_BATCH)
        return ordered_batches(to_dicts(images), self.mapper(labels=labels), batch_size=size, workers=self.workers)
