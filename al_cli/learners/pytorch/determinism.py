"""Equal calls, equal bytes: seeds, and torch's deterministic kernels where it has them.

On a CPU every operation of the models here is deterministic, once TorchScript is kept from recompiling: Detectron2's
focal loss is a script that changes kernels (and last digits) after its first calls in a process, so a run resumed in a
new process would differ from one that was never interrupted. On a GPU a few operations are not deterministic (torch
names them as they run); those names are logged, so that a run says what its seeds do not cover.
"""

from __future__ import annotations

import logging
import os
import random
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

log = logging.getLogger("al")

# cuBLAS reads this once, when the first CUDA context is made, and is deterministic only with it.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def seed_everything(seed: int) -> None:
    """Python, NumPy and torch on every device: Detectron2 draws augmentations and regions from them."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - Detectron2's augmentations draw from the global generator
    torch.manual_seed(seed)


@contextmanager
def deterministic(threads: int | None = None) -> Iterator[None]:
    """Deterministic kernels inside, the former settings after; then one log line names the operations that had none.

    `threads`: how many torch uses inside; sums depend on it in their last digits. None: as many as it does outside.
    """
    outside = torch.get_num_threads()
    torch_settings: Any = torch.utils.deterministic
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch_settings.fill_uninitialized_memory
    with warnings.catch_warnings(record=True) as caught:
        torch.set_num_threads(threads or outside)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch_settings.fill_uninitialized_memory = False  # a debugging aid that costs time
        try:
            with torch.jit.optimized_execution(False):
                yield
        finally:
            torch.set_num_threads(outside)
            torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
            torch_settings.fill_uninitialized_memory = fill
    exceptions: set[str] = set()
    for warning in caught:
        if match := re.search(r"(\S+) does not have a deterministic implementation", str(warning.message)):
            exceptions.add(match.group(1))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if exceptions:
        log.info("not deterministic on this device: %s", ", ".join(sorted(exceptions)))
