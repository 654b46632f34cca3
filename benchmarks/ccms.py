"""Time of the CCMS matrix at the thesis' size, against PPAL's way of computing it and against the equations' own loop.

    python benchmarks/ccms.py [images]

The default is 4,800 images with 8 boxes of 256 features in 20 classes. "Row by row" is how PPAL's released program works
(`get_img_score_distance_matrix_slow`: one product of an image's boxes with all boxes), written here in NumPy. "Pair by pair"
loops over pairs of boxes in Python, as equations 4 to 6 are written: it shows what a plain transcription costs and is no
published program. Both run on a few rows or pairs and are extrapolated. All are timed in this process, so their ratios mean
more than the seconds.
"""

import sys
import time

import numpy as np

from al_cli.samplers.ccms import ccms_matrix
from al_cli.types import Predictions, Signal

BOXES, FEATURES, CLASSES, PAIRS, ROWS = 8, 256, 20, 2000, 100


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


def row_by_row(table: Predictions, rows: range) -> np.ndarray:
    """Equations 4 to 6 for a few images against all [len(rows), N]: all images have equally many boxes."""
    x = table.columns[Signal.BOX_FEATURES]
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    shape = len(table), BOXES
    classes, scores = table.classes.reshape(shape), table.scores.reshape(shape)
    share = scores / scores.sum(1, keepdims=True)
    found = np.empty((len(rows), len(table)))
    for i in rows:
        cosine = (x[table.rows(i)] @ x.T).reshape(BOXES, *shape)  # [boxes of i, N, boxes]
        match = np.where(classes[i][:, None, None] == classes, 1 + cosine, 0)
        there, back = share[i] @ match.max(2), (share * match.max(0)).sum(1)
        found[i - rows.start] = (there + back) / 2
    return found


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 4800
    table = predictions(n)
    seconds, cpu = [], []
    for _ in range(3):
        start, cpu_start = time.perf_counter(), time.process_time()
        matrix = ccms_matrix(table, "box", 0.3)
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - cpu_start)

    start = time.process_time()
    few = row_by_row(table, range(min(ROWS, n)))
    by_rows = (time.process_time() - start) / len(few) * n
    few[np.arange(len(few)), np.arange(len(few))] = 2
    error = float(abs(few - matrix[: len(few)]).max())

    rng = np.random.default_rng(1)
    features = table.columns[Signal.BOX_FEATURES]
    images = [list(zip(table.scores[r], table.classes[r], features[r], strict=True)) for r in map(table.rows, range(n))]
    pairs = [rng.choice(n, 2, replace=False) for _ in range(PAIRS)]
    start = time.process_time()
    values = [(one_way(images[i], images[j]) + one_way(images[j], images[i])) / 2 for i, j in pairs]
    by_pairs = (time.process_time() - start) / PAIRS * n * (n - 1) / 2
    error = max(error, *(abs(value - matrix[i, j]) for value, (i, j) in zip(values, pairs, strict=True)))

    ours = min(cpu)
    print(f"{n} images x {BOXES} boxes x {FEATURES} features, {CLASSES} classes; seconds of processor time")
    print(f"ccms_matrix             {ours:8.2f}     (best of 3; {min(seconds):.2f} s on the clock)")
    print(f"row by row, as PPAL     {by_rows:8.0f}     {by_rows / ours:5.0f} times (extrapolated from {len(few)} rows)")
    print(
        f"pair by pair            {by_pairs:8.0f}     {by_pairs / ours:5.0f} times (extrapolated from {PAIRS} pairs of images)"
    )
    print(f"largest difference      {error:8.1e}")


if __name__ == "__main__":
    main()
