"""The hardest and the easiest images of each method in each round, next to each other (Lund, figures 7.2 and 7.3).

Hardest: the first images that the method picked. Easiest: those that its first stage dropped with the lowest scores. Both of
the lowest seed. In the first active round all arms choose from the same images with the same weights; later each has its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from al_cli.errors import AlError, RunError
from al_cli.records import RunFolder, round_name
from al_cli.report.drawing.sheets import rows_sheet, true_cell
from al_cli.report.page import Photo
from al_cli.report.study import Run, StudyFolder
from al_cli.types import Splits

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Load = Callable[[dict[str, Any]], Splits]  # the dataset part of a configuration -> the dataset
Ranked = list[tuple[int, str, float]]  # image id, name, score

PER_ROW, CELL_PX = 6, 150
CAPTIONS = {
    "hardest": "The hardest: the first images that each method picked in round {}.",
    "easiest": "The easiest: the images that each method's first stage scored lowest in round {}.",
}
MAX_ROWS = 8


@dataclass(frozen=True)
class Sheets:
    """`shown` are the sheets of one round, the last that all these arms have and that left images out, `others` those of the
    other rounds; `sentence` says what is shown, or why there is nothing."""

    sentence: str
    shown: Sequence[Photo] = ()
    others: Sequence[Photo] = ()


def sheets(study: StudyFolder, arms: Sequence[str], dataset: Load) -> Sheets:
    """The sheets of every round in which an arm has scored images.

    Arms without scores (random) have no hardest image and are left out.
    """
    runs = [run for arm in arms for run in study.of_arm(arm)[:1]]
    rounds: dict[int, list[tuple[Run, Ranked, Ranked]]] = {}
    for number in range(study.first_choice, max((len(run.records) for run in runs), default=0)):
        ranked = [(run, *rank(run, number)) for run in runs if len(run.records) > number]
        if ranked := [entry for entry in ranked if entry[1]][:MAX_ROWS]:
            rounds[number] = ranked
    if not rounds:
        return Sheets(
            "No arm has scored the images of a round yet, so there are no hardest and easiest images to show."
        )
    scoring = {run.name for ranked in rounds.values() for run, *_ in ranked}
    common = min(len(run.records) for run in runs if run.name in scoring) - 1
    left_out = [
        number for number, ranked in rounds.items() if number <= common and any(easiest for *_, easiest in ranked)
    ]
    last = max(left_out, default=min(rounds))
    shown: list[Photo] = []
    others: list[Photo] = []
    try:
        cells = Cells(dataset)
        for number, ranked in rounds.items():
            for name, rows in zip(CAPTIONS, cells.rows(ranked), strict=True):
                if rows:
                    photo = Photo(f"{name}_{round_name(number)}", CAPTIONS[name].format(number), rows_sheet(rows))
                    (shown if number == last else others).append(photo)
    except AlError as error:
        return Sheets(f"The hardest and easiest images cannot be shown: {error}.")
    labels = "captions are the true classes" if study.task.label == "image" else "boxes are the true labels"
    return Sheets(
        f"The first images that each method picked in round {last}, and those it scored lowest; {labels}, "
        "scores are the method's own and are not comparable between methods.",
        shown,
        others,
    )


def rank(run: Run, round: int) -> tuple[Ranked, Ranked]:
    """The hardest and the easiest images of a round of a run, at most `PER_ROW` each; none without scores."""
    try:
        candidates = RunFolder(run.path).candidates(round)
    except RunError:  # a round that an earlier version wrote names no candidates
        return [], []
    ranked = {c.image_id: (c.image_id, c.image, c.score) for c in candidates if c.score is not None}
    hardest = [ranked[i] for i in run.records[round].picked if i in ranked]
    stages = {c.image_id: c.stage for c in candidates if c.stage is not None and c.image_id in ranked}
    first = min(stages.values(), default=0)
    easiest = [ranked[i] for i, stage in stages.items() if stage == first]
    return hardest[:PER_ROW], sorted(easiest, key=lambda row: (row[2], row[0]))[:PER_ROW]


class Cells:
    """The cells of sheets. Each dataset is read once, and each image once for all sheets."""

    def __init__(self, dataset: Load):
        self.dataset = dataset
        self.splits: dict[str, Splits] = {}
        self.drawn: dict[tuple[str, int], tuple[Picture, str]] = {}

    def rows(self, ranked: Sequence[tuple[Run, Ranked, Ranked]]) -> list[list[tuple[str, list[tuple[Picture, str]]]]]:
        """The rows of a round's two sheets: a run's title and its cells. A run without such an image has no row."""
        made: list[list[tuple[str, list[tuple[Picture, str]]]]] = [[], []]
        for run, *both in ranked:
            for rows, images in zip(made, both, strict=True):
                if images:
                    rows.append((f"{run.arm}, seed {run.seed}", [self.cell(run, *image) for image in images]))
        return made

    def cell(self, run: Run, image_id: int, name: str, score: float) -> tuple[Picture, str]:
        """An image with its true labels, and its score. AlError where the dataset has another image of this id."""
        config = run.config["dataset"]
        of_run = repr(config)
        if of_run not in self.splits:
            self.splits[of_run] = self.dataset(config)
        train = self.splits[of_run].train
        try:
            image = train[image_id]
        except KeyError:
            image = None
        if image is None or image.name != name:
            raise AlError("the dataset is not the one it was", where=f"{run.name}: image {image_id} was {name}")
        label = RunFolder(run.path).task().label
        if (of_run, image_id) not in self.drawn:
            self.drawn[of_run, image_id] = true_cell(image, train.class_names, label, CELL_PX)
        cell, caption = self.drawn[of_run, image_id]
        return cell, f"{caption}   score {score:.3g}" if label == "image" else f"score {score:.3g}"
