"""The hardest and the easiest images of each method, next to each other (Lund, figures 7.2 and 7.3).

Hardest: the first images that the method picked. Easiest: those that its first stage dropped with the lowest scores. Both of
the first active round of the lowest seed, where all arms choose from the same images with the same detector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from al_cli.errors import AlError
from al_cli.records.files import read_csv
from al_cli.records.rounds import PICKED, RESELECTED
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
    folder = run.path / f"round_{ROUND:02d}"
    try:
        picked, candidates = read_csv(folder / "selection.csv"), read_csv(folder / "candidates.csv")
    except OSError:  # a round that an earlier version wrote names no candidates
        picked, candidates = [], []
    scores = {row["image_id"]: row for row in candidates if row["score"]}  # a last stage may have none of its own
    hardest = [scores[row["image_id"]] for row in picked if row["image_id"] in scores]
    dropped = [row for row in candidates if row["score"] and row["outcome"] not in (PICKED, RESELECTED)]
    first = min((int(row["stage"]) for row in dropped), default=0)
    easiest = sorted(
        (row for row in dropped if int(row["stage"]) == first),
        key=lambda row: (float(row["score"]), int(row["image_id"])),
    )
    return _parse(hardest[:PER_ROW]), _parse(easiest[:PER_ROW])


def _parse(rows: Sequence[dict[str, str]]) -> Ranked:
    return [(int(row["image_id"]), row["image"], float(row["score"])) for row in rows]


def _cells(images: Ranked, splits: Splits, run: Run) -> list[tuple[Picture, str]]:
    cells = []
    for image_id, name, score in images:
        try:
            image = splits.train[image_id]
        except KeyError:
            image = None
        if image is None or image.path.name != name:
            raise AlError("the dataset is not the one it was", where=f"{run.name}: image {image_id} was {name}")
        cells.append((draw_marks(load(image), true_marks(image, splits.train.class_names), CELL_PX), f"{score:.3g}"))
    return cells
