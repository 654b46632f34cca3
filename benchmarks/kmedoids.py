"""Loss and time of the medoids at the thesis' size, against the `kmedoids` package where it is installed.

    OMP_NUM_THREADS=1 python benchmarks/kmedoids.py [images]

The package (FasterPAM in Rust, GPL-3) is no dependency of this project; install it in an environment of your own to
compare. The matrix is eq. 7 on CCMS of synthetic boxes. Ratios below 1 mean ours is better.
"""

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

here = str(Path(__file__).parent)
sys.path = [p for p in sys.path if p != here]  # this file is called kmedoids too
try:
    package = importlib.import_module("kmedoids")
except ImportError:
    package = None
sys.path.append(here)

from ccms import predictions  # noqa: E402

from al_cli.samplers.ccms import ccms_matrix  # noqa: E402
from al_cli.samplers.kmedoids import k_center_greedy, kmedoids, loss  # noqa: E402


def alternating(distance: np.ndarray, medoids: np.ndarray) -> np.ndarray:
    """The clustering of PPAL and the thesis: assign, move each medoid to the best place in its cluster, repeat."""
    while True:
        label = distance[medoids].argmin(0)
        members = [np.flatnonzero(label == slot) for slot in range(len(medoids))]
        moved = np.array([m[distance[np.ix_(m, m)].sum(1).argmin()] for m in members])
        if loss(distance, moved) >= loss(distance, medoids):
            return medoids
        medoids = moved


def timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    best, result = float("inf"), None
    for _ in range(3):
        start = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - start)
    return np.asarray(result, np.int64), best


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 4800
    distance = 1 / (ccms_matrix(predictions(n), "box", 0.3) + np.float32(0.2))
    np.fill_diagonal(distance, 0)
    if package is None:
        print("the package kmedoids is not installed: its columns are left out")
    print(f"{n} images; loss of ours / loss of the other, and seconds of ours / seconds of the other")
    for k in (n // 4, n // 10, n // 48):
        start = k_center_greedy(distance, k, 0)
        rivals: dict[str, Callable[[], np.ndarray]] = {"start alone": lambda k=k: k_center_greedy(distance, k, 0)}
        rivals["alternating"] = lambda start=start: alternating(distance, start)
        if package is not None:
            same = start.astype(np.uint64)
            rivals["package, same start"] = lambda same=same: package.fasterpam(distance, same, n_cpu=1).medoids
            rivals["package, random start"] = lambda k=k: (
                package.fasterpam(distance, k, random_state=0, n_cpu=1).medoids
            )
        ours, seconds = timed(lambda k=k: kmedoids(distance, k))
        print(f"k = {k}: ours {loss(distance, ours):.3f} in {seconds:.2f} s")
        for name, work in rivals.items():
            other, other_seconds = timed(work)
            ratio = loss(distance, ours) / loss(distance, other)
            print(f"  {name:<22} loss {ratio:.5f}   time {seconds / other_seconds:6.2f}")


if __name__ == "__main__":
    main()
