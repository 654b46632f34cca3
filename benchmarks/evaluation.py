"""COCO evaluation, ours against pycocotools: the same detections and objects, taken in turn in one process.

    python benchmarks/evaluation.py [images]

The default is 2,000 images of 7 objects with 100 detections each, in 20 classes. Both begin with the tables in memory and end
with COCO's twelve numbers; pycocotools gets its dicts, which are built for it outside the clock. Ratios are of processor time.
"""

import contextlib
import io
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from al_cli.tasks.detection import TASK, coco_ground_truth, coco_results
from al_cli.types import Dataset, Image, Predictions

OBJECTS, DETECTIONS, CLASSES, REPEATS = 7, 100, 20, 3
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0, 400, (count, 2))
    return np.hstack([corner, corner + np.exp(rng.uniform(2.5, 5.3, (count, 2)))])


def made_up(n: int) -> tuple[Predictions, Dataset]:
    """A third of the detections lie near an object and have its class, the others anywhere."""
    rng = np.random.default_rng(0)
    images, found, labels, scores = [], [], [], []
    for number in range(1, n + 1):
        truth, classes = boxes(rng, OBJECTS), rng.integers(CLASSES, size=OBJECTS)
        images.append(Image(number, Path(f"{number}.png"), 640, 640, truth, classes, rng.random(OBJECTS) < 0.03))
        own, hit = rng.integers(OBJECTS, size=DETECTIONS), rng.random(DETECTIONS) < 1 / 3
        near = truth[own] + rng.normal(0, 6, (DETECTIONS, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        found.append(np.where(hit[:, None], near, boxes(rng, DETECTIONS)))
        labels.append(np.where(hit, classes[own], rng.integers(CLASSES, size=DETECTIONS)))
        scores.append(-np.sort(-rng.uniform(0.01, 1, DETECTIONS)))
    offsets = np.arange(n + 1) * DETECTIONS
    table = [np.concatenate(column) for column in (found, scores, labels)]
    dataset = Dataset([f"class {c}" for c in range(CLASSES)], images)
    return Predictions(dataset.ids, offsets, *table, CLASSES), dataset


def pycocotools_stats(truth: dict, results: list[dict]) -> np.ndarray:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    predictions, dataset = made_up(n)
    rows = []
    for _ in range(REPEATS):
        start = time.process_time()
        metrics = TASK.evaluate(predictions, dataset).metrics
        ours = time.process_time() - start
        truth, results = coco_ground_truth(dataset), coco_results(predictions, dataset)
        start = time.process_time()
        stats = pycocotools_stats(truth, results)
        rows.append((ours, time.process_time() - start))
    ours, theirs = (statistics.median(column) for column in zip(*rows, strict=True))
    ratios = sorted(b / a for a, b in rows)
    error = max(abs(metrics[name] - 100 * value) for name, value in zip(NAMES, stats, strict=True))
    print(f"{n} images x {DETECTIONS} detections, {CLASSES} classes, median of {REPEATS}")
    print(f"al           {ours:8.2f} s")
    print(
        f"pycocotools  {theirs:8.2f} s   {statistics.median(ratios):.1f} times (from {ratios[0]:.1f} to {ratios[-1]:.1f})"
    )
    print(f"largest difference of the twelve numbers, in points: {error:.1e}")


if __name__ == "__main__":
    main()
