"""Is this installation able to train a detector? What `al doctor` asks. Knows no run and no learner."""

import os
import time

import torch

from al_cli.learners.detectron.model.zoo import build, choose_device, open_config
from al_cli.learners.detectron.signals.tap import tap
from al_cli.learners.spec import ModelSpec


def examine(device: str) -> dict[str, str]:
    """Name and value of each finding: threads, device, one forward pass of Detectron2. Raises whatever is broken."""
    chosen = choose_device(device)
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "cpu; no GPU is used"
    return {
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()} cpus",
        "device": name,
        "detectron2 works": check_detectron2(chosen),
    }


def check_detectron2(device: torch.device) -> str:
    """Build the tiny Faster R-CNN and run it on one image; one line that says what worked. Raises whatever failed."""
    start = time.perf_counter()
    spec = ModelSpec("tiny_faster_rcnn", "tiny_faster_rcnn", weights="none")
    model = build(open_config(spec, 2, device), spec)
    found = tap(model)([{"image": torch.zeros(3, 96, 96, dtype=torch.uint8), "height": 96, "width": 96}])
    if len(found) != 1:
        raise RuntimeError(f"one image in, {len(found)} results out")
    return f"yes: a forward pass of tiny_faster_rcnn took {time.perf_counter() - start:.1f} s"
