"""Is this installation able to train a detector? What `al doctor` asks."""

import os

import torch

from al_cli.learners.detectron.learner import check_detectron2
from al_cli.learners.detectron.model.zoo import choose_device


def examine(device: str) -> dict[str, str]:
    """Name and value of each finding: threads, device, one forward pass of Detectron2. Raises whatever is broken."""
    chosen = choose_device(device)
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "cpu; no GPU is used"
    return {
        "threads": f"{torch.get_num_threads()} of {os.cpu_count()} cpus",
        "device": name,
        "detectron2 works": check_detectron2(chosen),
    }
