"""One training, tried out before a run: what memory a step takes, and whether equal trainings are equal. Knows no model."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from al_cli.system import available_memory, peak_memory_mib
from al_cli.types import Dataset, Learner


def processor(chosen: torch.device) -> Iterator[tuple[str, str]]:
    """Name and value: how many threads compute, and on which device."""
    yield "threads", f"{torch.get_num_threads()} of {os.cpu_count()} cpus"
    yield "device", torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "cpu; no GPU is used"


def measured_step(make: Callable[[], Learner], images: Dataset, chosen: torch.device) -> tuple[int, int | None, int]:
    """Bytes of memory at the peak of one training, as `make` has set it up, and one inference, on the processor that trains;
    bytes of it that are free beforehand (None: nothing says); bytes of a checkpoint."""
    cuda = chosen.type == "cuda"
    free = torch.cuda.mem_get_info(chosen)[0] if cuda else available_memory()
    learner = make()
    checkpoint = learner.fit(images, val=None, seed=0, init=None)
    learner.infer(images)
    peak = torch.cuda.max_memory_reserved(chosen) if cuda else int(peak_memory_mib() * 2**20)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pth"
        learner.save(checkpoint, path)
        return peak, free, path.stat().st_size


def equal_twice(make: Callable[[], Learner], images: Dataset) -> bool:
    """Whether the same training gives the same weights and predictions again, to the byte."""
    return _outcome(make(), images) == _outcome(make(), images)


def _outcome(learner: Learner, images: Dataset) -> tuple[bytes, ...]:
    checkpoint = learner.fit(images, val=None, seed=0, init=None)
    found = learner.infer(images)
    weights = (
        np.asarray(value.cpu() if isinstance(value, torch.Tensor) else value) for value in checkpoint.state.values()
    )
    return (*(array.tobytes() for array in weights), found.boxes.tobytes(), found.scores.tobytes())
