"""Time of the CCMS matrix at the thesis' size, against the published way of computing it one pair at a time.

    python benchmarks/ccms.py [images]

The default is 4,800 images with 8 boxes of 256 features in 20 classes. The per-pair loop runs on a few pairs and is
extrapolated to all of them. Both are timed in this process, so their ratio means more than either number.
"""

import sys
import time

import numpy as np

from al_cli.samplers.ccms import ccms_matrix
from al_cli.types import Predictions, Signal

BOXES, FEATURES, CLASSES, PAIRS = 8, 256, 20, 2000


def predictions(n: int) -> Predictions:
    """Objects scattered around a dozen prototypes a class, after a ReLU, as box features are."""
    rng = np.random.default_rng(0)
    m = n * BOXES
    classes = rng.integers(CLASSES, size=m)
    prototypes = rng.normal(size=(CLASSES, 12, FEATURES))
    features = prototypes[classes, rng.integers(12, size=m)] + 0.7 * rng.normal(size=(m, FEATURES))
    corner = rng.uniform(0, 500, (m, 2))
    return Predictions(
        image_ids=np.arange(n),
        offsets=np.arange(n + 1) * BOXES,
        boxes=np.hstack([corner, corner + rng.uniform(8, 200, (m, 2))]),
        scores=-np.sort(-rng.uniform(0.3, 1, (n, BOXES)), axis=1).ravel(),
        classes=classes,
        num_classes=CLASSES,
        columns={Signal.BOX_FEATURES: np.maximum(features, 0).astype(np.float32)},
    )


def one_way(a: list, b: list) -> float:
    """Equation 5 for one pair, box by box, with NumPy for the vectors alone."""
    total = 0.0
    for score, label, x in a:
        same = [float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y))) for _, other, y in b if other == label]
        total += score * (max(same) + 1 if same else 0)
    return total / sum(score for score, _, _ in a)


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 4800
    table = predictions(n)
    seconds, cpu = [], []
    for _ in range(3):
        start, cpu_start = time.perf_counter(), time.process_time()
        matrix = ccms_matrix(table, "box", 0.3)
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - cpu_start)

    rng = np.random.default_rng(1)
    features = table.columns[Signal.BOX_FEATURES]
    images = [list(zip(table.scores[r], table.classes[r], features[r], strict=True)) for r in map(table.rows, range(n))]
    pairs = [rng.choice(n, 2, replace=False) for _ in range(PAIRS)]
    start = time.perf_counter()
    values = [(one_way(images[i], images[j]) + one_way(images[j], images[i])) / 2 for i, j in pairs]
    per_pair = (time.perf_counter() - start) / PAIRS
    error = max(abs(value - matrix[i, j]) for value, (i, j) in zip(values, pairs, strict=True))

    whole = per_pair * n * (n - 1) / 2
    print(f"{n} images x {BOXES} boxes x {FEATURES} features, {CLASSES} classes")
    print(f"ccms_matrix             {min(seconds):8.2f} s   (best of 3, {min(cpu):.2f} s of processor time)")
    print(f"pair by pair            {whole:8.0f} s   ({per_pair * 1e6:.0f} us a pair, extrapolated to half the matrix)")
    print(f"ratio                   {whole / min(seconds):8.0f}")
    print(f"largest difference      {error:8.1e}     over {PAIRS} pairs")


if __name__ == "__main__":
    main()
