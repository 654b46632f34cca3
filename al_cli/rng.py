"""Every random draw of a run comes from here, so that a run is a function of its seeds.

A stream is named by what it is for. Streams of different purposes or rounds are independent (NumPy's SeedSequence), so a
sampler that draws one number more does not change the weights that the next round starts from.
"""

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Seeds:
    """The three seeds of a run. `initial` picks the first images, `training` orders batches and starts weights,
    `sampling` feeds the selections. All are the run's seed unless set alone."""

    initial: int
    training: int
    sampling: int


def rng_for(seed: int, round: int, purpose: str) -> np.random.Generator:
    """The generator for one purpose in one round: same arguments, same draws, on any machine.

    `purpose` is any text, for example ``"sampling"`` or ``"detect/07.jpg"``; it is hashed into the
    entropy, so two purposes never share a stream. Raises ValueError for a negative seed or round.
    """
    if seed < 0 or round < 0:
        raise ValueError(f"seed and round must not be negative, got seed={seed}, round={round}")
    words = np.frombuffer(hashlib.sha256(purpose.encode()).digest(), dtype=np.uint32)
    return np.random.default_rng(np.random.SeedSequence([seed, round, *words.tolist()]))


def seed_for(seed: int, round: int, purpose: str) -> int:
    """A 31-bit integer seed drawn from `rng_for`, for libraries that want a number (torch, Detectron2)."""
    return int(rng_for(seed, round, purpose).integers(2**31 - 1))
