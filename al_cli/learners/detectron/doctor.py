"""Is this installation able to train a detector? What `al doctor` asks of Detectron2. Knows no run."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PILImage

from al_cli.learners.detectron.learner import DetectronLearner
from al_cli.learners.detectron.model.zoo import build, open_config
from al_cli.learners.detectron.signals.tap import tap
from al_cli.learners.pytorch.device import choose_device
from al_cli.learners.pytorch.trial import equal_twice, measured_step, processor
from al_cli.learners.spec import ModelSpec
from al_cli.learners.training_spec import TrainingSpec
from al_cli.types import Dataset, Image, Signal


def examine(device: str) -> Iterator[tuple[str, str]]:
    """Name and value of each finding: threads, device, one forward pass of Detectron2. Raises whatever is broken."""
    chosen = choose_device(device)
    yield from processor(chosen)
    yield "detectron2 works", check_detectron2(chosen)


def check_detectron2(device: torch.device) -> str:
    """Build the tiny Faster R-CNN and run it on one image; one line that says what worked. Raises whatever failed."""
    start = time.perf_counter()
    spec = ModelSpec("tiny_faster_rcnn", "tiny_faster_rcnn", weights="none")
    model = build(open_config(spec, 2, device), spec)
    found = tap(model)([{"image": torch.zeros(3, 96, 96, dtype=torch.uint8), "height": 96, "width": 96}])
    if len(found) != 1:
        raise RuntimeError(f"one image in, {len(found)} results out")
    return f"yes: a forward pass of tiny_faster_rcnn took {time.perf_counter() - start:.1f} s"


def trains_the_same_twice(device: str, steps: int = 4) -> tuple[bool, bool]:
    """Whether the same short training of the tiny Faster R-CNN gives the same weights and predictions, to the byte; and
    whether that was on a CPU."""
    with tempfile.TemporaryDirectory() as folder:
        images = _noise(Path(folder))
        spec = ModelSpec("tiny_faster_rcnn", "tiny_faster_rcnn", weights="none")
        recipe = TrainingSpec(iterations=steps, iterations_per="round", batch_size=4, val_every=None)
        make = partial(DetectronLearner, spec, recipe, images.class_names, iterations=steps, device=device)
        return equal_twice(make, images), choose_device(device).type == "cpu"


def _noise(folder: Path, count: int = 8, size: int = 96) -> Dataset:
    """Images of noise with one bright square each."""
    rng, images = np.random.default_rng(0), []
    for number in range(count):
        x, y = rng.integers(8, size - 40, 2)
        pixels = rng.integers(0, 90, (size, size, 3), dtype=np.uint8)
        pixels[y : y + 24, x : x + 24] = 220
        path = folder / f"{number}.png"
        PILImage.fromarray(pixels).save(path)
        images.append(Image(number, path, size, size, np.array([[x, y, x + 24, y + 24]]), np.array([0])))
    return Dataset(("square", "other"), tuple(images))


def measure_step(
    model: ModelSpec, training: TrainingSpec, images: Dataset, *, device: str, needs: frozenset[Signal]
) -> tuple[int, int | None, int]:
    """`measured_step` of this detector. Starts without weights: reading them changes no size."""
    recipe = replace(training, duration="iterations", iterations=1, iterations_per="round", val_every=None)
    spec = replace(model, weights="none")
    make = partial(DetectronLearner, spec, recipe, images.class_names, iterations=1, device=device, needs=needs)
    return measured_step(make, images, choose_device(device))
