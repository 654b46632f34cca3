"""Curves made of plain numbers, and the thesis' own (appendix A)."""

import numpy as np

from al_cli.report.statistics import analyse as statistics
from al_cli.report.statistics.comparison import Measure
from al_cli.report.statistics.curves import RunCurve
from al_cli.tasks.detection import TASK

# Thesis, appendix A: AP of rounds 0 to 4 with seed 10 and with seed 11.
THESIS = {
    "1-0.75-0.5": ([14.62, 18.05, 18.46, 21.02, 26.86], [11.29, 12.18, 13.88, 19.41, 25.76]),
    "0.9-0.7-0.5": ([14.60, 17.35, 21.96, 21.95, 26.46], [11.26, 11.89, 13.66, 18.66, 24.66]),
    "0-0-0": ([14.48, 15.88, 16.42, 22.61, 27.08], [11.48, 11.32, 12.39, 18.25, 27.29]),
    "0.95-0.95-0.95": ([14.71, 18.45, 19.32, 22.14, 26.98], [11.27, 12.29, 14.30, 18.83, 25.14]),
    "random": ([14.57, 16.21, 14.18, 25.07, 12.56], [11.57, 13.19, 11.70, 21.47, 12.05]),
}


def curve(arm, seed, ap, images=None, boxes=None, **more) -> RunCurve:
    images = tuple(images or (100 * (k + 1) for k in range(len(ap))))
    metrics = {name: tuple(ap) for name in TASK.metric_names} | {"val_loss": (None,) * len(ap)}
    ends = {"start": f"start {seed}", "end": f"end {arm} {seed}"}
    costs = {"images": images, "boxes": tuple(boxes or (5 * n for n in images))}
    return RunCurve(f"{arm}_s{seed}", arm, seed, costs, metrics, **(ends | more))


def analyse(curves, reference=(), **more):
    """`al_cli.report.statistics.analyse.analyse` of detection."""
    return statistics.analyse(curves, TASK, reference, **more)


def measure(kind, metric="AP", cost=None, **more) -> Measure:
    return Measure(kind, TASK.metric(metric), cost, **more)


def thesis_curves() -> list[RunCurve]:
    return [curve(arm, seed, ap) for arm, both in THESIS.items() for seed, ap in zip((10, 11), both, strict=True)]


def noisy_curves(arms, seeds, rounds=4, spread=1.0) -> list[RunCurve]:
    """`arms`: name -> how far above 30 its curves lie. Boxes differ between arms and seeds but for the first round."""
    curves = []
    for number, (arm, gain) in enumerate(arms.items()):
        for seed in seeds:
            rng = np.random.default_rng([seed, number])
            ap = 30 + 4 * np.arange(rounds) + gain + rng.normal(0, spread, rounds)
            boxes = np.cumsum([500, *rng.integers(400, 600, rounds - 1)])
            curves.append(curve(arm, seed, ap.tolist(), boxes=boxes.tolist()))
    return curves
