"""Means of arms that lack seeds, as if they had them: a seed is a block, and a lucky one lifts all arms."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def seed_means(of_arms: Mapping[str, Sequence[tuple[Hashable, float]]]) -> dict[str, float | None]:
    """Arm -> mean of its values; where it lacks seeds that another arm has, the mean as if it had them (`block_means`)."""
    seeds = list(dict.fromkeys(seed for values in of_arms.values() for seed, _ in values))
    own = {arm: {seed for seed, _ in values} for arm, values in of_arms.items()}
    means = {arm: statistics.fmean(v for _, v in values) if values else None for arm, values in of_arms.items()}
    if any(there and len(there) < len(seeds) for there in own.values()):
        table = [
            [statistics.fmean(v for s, v in values if s == seed) if seed in own[arm] else math.nan for seed in seeds]
            for arm, values in of_arms.items()
        ]
        filled = dict(zip(of_arms, block_means(table).tolist(), strict=True))
        means |= {arm: filled[arm] for arm, there in own.items() if 0 < len(there) < len(seeds)}
    return means


def block_means(table: ArrayLike) -> NDArray[np.float64]:
    """[A] mean of each row of [A, S] over all columns that any row has, where NaN is missing (Searle et al. 1980).

    The least-squares fit of row + column fills in what is missing. A row without gaps has its plain mean, and so have all
    where the rows fall into groups without a common column, for nothing can be filled in then. NaN for an empty row.
    """
    values = np.asarray(table, float)
    known = np.isfinite(values)
    values, known = values[:, known.any(0)], known[:, known.any(0)]
    there = known.any(1)
    sums = np.where(known, values, 0.0).sum(1)
    means = np.where(there, sums / np.maximum(known.sum(1), 1), np.nan)
    gaps = there & ~known.all(1)
    if not gaps.any():
        return means
    rows, columns = np.nonzero(known)
    count = len(values)
    design = np.zeros((len(rows), count + values.shape[1]))
    design[np.arange(len(rows)), rows] = 1.0
    design[np.arange(len(rows)), count + columns] = 1.0
    effects, _, rank, _ = np.linalg.lstsq(design, values[known], rcond=None)
    if rank == there.sum() + values.shape[1] - 1:  # else there is more than one fit
        means[gaps] = effects[:count][gaps] + effects[count:].mean()
    return means
