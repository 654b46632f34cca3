"""The hardest and the easiest images of each method, next to each other (Lund, figures 7.2 and 7.3).

Hardest: the first images that the method picked. Easiest: those that its first stage dropped with the lowest scores. Both of
the first active round of the lowest seed, where all arms choose from the same images with the same detector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from al_cli.errors import AlError, RunError
from al_cli.records import RunFolder
from al_cli.report.drawing.sheets import draw_marks, load, rows_sheet, true_marks
from al_cli.report.study import Run, StudyFolder
from al_cli.types import Splits

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Load = Callable[[dict[str, Any]], Splits]  # the dataset part of a configuration -> the dataset
Ranked = list[tuple[int, str, float]]  # image id, name, score

PER_ROW, CELL_PX, ROUND = 6, 150, 1
CAPTIONS = {
    "hardest": f"The hardest: the first images that each method picked in round {ROUND}.",
    "easiest": f"The easiest: the images that each method's first stage scored lowest in round {ROUND}.",
}
MAX_ROWS = 8


def sheets(study: StudyFolder, arms: Sequence[str], dataset: Load) -> tuple[dict[str, Picture], str]:
    """The sheets "hardest" and "easiest", and a sentence: what they show, or why there are none.

    Arms without scores (random) have no hardest image and are left out.
    """
    runs = [run for arm in arms for run in study.of_arm(arm)[:1] if len(run.records) > ROUND]
    ranked = [(run, *rank(run)) for run in runs]
    ranked = [entry for entry in ranked if entry[1]][:MAX_ROWS]
    if not ranked:
        return {}, "No arm has scored images in round 1 yet, so there are no hardest and easiest images to show."
    splits: dict[str, Splits] = {}
    made: dict[str, list[tuple[str, list[tuple[Picture, str]]]]] = {"hardest": [], "easiest": []}
    try:
        for run, hardest, easiest in ranked:
            config = run.config["dataset"]
            if repr(config) not in splits:
                splits[repr(config)] = dataset(config)
            of_run = splits[repr(config)]
            for name, images in (("hardest", hardest), ("easiest", easiest)):
                if images:
                    made[name].append((f"{run.arm}, seed {run.seed}", _cells(images, of_run, run)))
    except AlError as error:
        return {}, f"The hardest and easiest images cannot be shown: {error}."
    sentence = (
        f"The first images that each method picked in round {ROUND}, and those it scored lowest; boxes are the true "
        "labels, scores are the method's own and are not comparable between methods."
    )
    return {name: rows_sheet(rows) for name, rows in made.items() if rows}, sentence


def rank(run: Run) -> tuple[Ranked, Ranked]:
    """The hardest and the easiest images of a run's first active round, at most `PER_ROW` each; none without scores."""
    try:
        candidates = RunFolder(run.path).candidates(ROUND)
    except RunError:  # a round that an earlier version wrote names no candidates
        return [], []
    ranked = {c.image_id: (c.image_id, c.image, c.score) for c in candidates if c.score is not None}
    hardest = [ranked[i] for i in run.records[ROUND].picked if i in ranked]
    stages = {c.image_id: c.stage for c in candidates if c.stage is not None and c.image_id in ranked}
    first = min(stages.values(), default=0)
    easiest = [ranked[i] for i, stage in stages.items() if stage == first]
    return hardest[:PER_ROW], sorted(easiest, key=lambda row: (row[2], row[0]))[:PER_ROW]


def _cells(images: Ranked, splits: Splits, run: Run) -> list[tuple[Picture, str]]:
    cells = []
    for image_id, name, score in images:
        try:
            image = splits.train[image_id]
        except KeyError:
            image = None
        if image is None or image.name != name:
            raise AlError("the dataset is not the one it was", where=f"{run.name}: image {image_id} was {name}")
        cells.append((draw_marks(load(image), true_marks(image, splits.train.class_names), CELL_PX), f"{score:.3g}"))
    return cells
