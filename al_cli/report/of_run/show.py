"""Predictions next to the ground truth for a sample of images: the thesis' inspection program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from al_cli.errors import RunError
from al_cli.records import RunFolder, round_name
from al_cli.report.drawing.sheets import (
    GAP_PX,
    draw_marks,
    framed,
    grid,
    load,
    predicted_marks,
    save_sheet,
    true_marks,
)
from al_cli.report.drawing.style import COLORS
from al_cli.rng import rng_for
from al_cli.system import own_folder
from al_cli.types import Dataset, Image, Predictions

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

PAIR_PX, CLASS_PX = 320, 170
THRESHOLD = 0.3
RIGHT, WRONG = COLORS[0], COLORS[1]  # blue and orange, which colour-blind readers can distinguish


def show_run(
    run_path: Path | str,
    round: int,
    dataset: Dataset,
    *,
    n: int = 12,
    threshold: float | None = None,
    seed: int = 0,
    out: Path | None = None,
    predictions: Predictions | None = None,
) -> Path:
    """Draw `n` random evaluation images with the predictions of a finished round; returns the PNG's path.

    `threshold` is the least score of a box that is drawn (None: 0.3); a class of an image has none. `predictions` replaces the
    round's own (another checkpoint's). The sample depends on the seed and the images alone, so that rounds and runs can be
    compared. Raises RunError for an unfinished round or predictions on other images.
    """
    require_images(n)
    if seed < 0:
        raise RunError(f"the seed is {seed}", where="--seed", remedy="give a whole number of at least 0")
    folder = RunFolder(run_path)
    of_images = folder.task().label == "image"
    if of_images and threshold is not None:
        what = "a threshold says which boxes are drawn, and a label is an image here: every image has one prediction"
        raise RunError(what, where=f"--threshold {threshold:g}", remedy="leave it out")
    threshold = THRESHOLD if threshold is None else threshold
    if not 0 <= threshold <= 1:
        raise RunError(f"a score of {threshold} does not exist", where="--threshold", remedy="give a value from 0 to 1")
    table = folder.predictions(round) if predictions is None else predictions
    if not np.array_equal(table.image_ids, dataset.ids):
        raise RunError(
            f"the predictions are on {len(table)} other images than the dataset's {len(dataset)}",
            where=str(run_path),
            remedy="the dataset has changed since the run: restore it",
        )
    chosen = rng_for(seed, 0, "show").permutation(dataset.ids)[:n]
    table, images = table.select(chosen), dataset.select(chosen)
    name = f"predictions_{round_name(round)}.png" if predictions is None else "predictions_checkpoint.png"
    source = f"round {round}" if predictions is None else "checkpoint"
    path = png_path(run_path, out, name)
    if of_images:
        return save_sheet(classes_sheet(table, images, source), path)
    title = f"{source}: ground truth (left) and predictions with a score of at least {threshold:g} (right)"
    return save_sheet(predictions_sheet(table, images, threshold, title), path)


def require_images(n: int) -> None:
    """RunError for a count of images that no picture can have."""
    if n < 1:
        raise RunError(f"{n} images cannot be drawn", where="--images", remedy="give a count of at least 1")


def png_path(run_path: Path | str, out: Path | None, name: str) -> Path:
    """Where a picture goes: `out`, or this name in the run's plots, whose folder is made. RunError where it is no png."""
    path = Path(out) if out is not None else own_folder(Path(run_path) / "plots") / name
    if path.suffix.lower() != ".png":
        raise RunError("only png can be written", where=str(path), remedy=f"name it {path.with_suffix('.png').name}")
    return path


def classes_sheet(predictions: Predictions, dataset: Dataset, source: str) -> Picture:
    """A cell for each image with its true class and the probability of the predicted one, which is named where it is another;
    the frame says which. In ascending id order."""
    cells, right = [], 0
    for image, predicted, score in zip(dataset.images, predictions.classes, predictions.scores, strict=True):
        true = int(image.classes[0])
        right += int(predicted == true)
        cell = framed(draw_marks(load(image), [], CLASS_PX), RIGHT if predicted == true else WRONG)
        names = dict.fromkeys(dataset.class_names[c] for c in (true, predicted))
        cells.append((cell, f"{' → '.join(names)}  {score:.2f}"))
    title = f"{source}: {right} of {len(cells)} right (blue); orange: true → predicted class. Numbers: its probability"
    return grid(cells, title, columns=min(6, max(4, len(cells))))


def predictions_sheet(predictions: Predictions, dataset: Dataset, threshold: float, title: str) -> Picture:
    """One pair of cells for each image of the dataset, in ascending id order."""
    cells = []
    for image in dataset.images:
        of_it = predictions.select([image.id])
        shown = int((of_it.scores >= threshold).sum())
        caption = f"{image.name}   {len(image.boxes)} true, {shown} predicted"
        cells.append((draw_predictions(image, of_it, dataset.class_names, threshold), caption))
    return grid(cells, title, columns=min(3, len(cells)))


def draw_predictions(image: Image, predictions: Predictions, class_names: Sequence[str], threshold: float) -> Picture:
    """Ground truth on the left, predictions of this one image on the right. An image without either is drawn bare."""
    from PIL import Image as PILImage

    picture = load(image)
    left = draw_marks(picture, true_marks(image, class_names), PAIR_PX)
    right = draw_marks(picture, predicted_marks(predictions, class_names, threshold), PAIR_PX)
    pair = PILImage.new("RGB", (2 * PAIR_PX + GAP_PX // 2, PAIR_PX), "white")
    pair.paste(left, (0, 0))
    pair.paste(right, (PAIR_PX + GAP_PX // 2, 0))
    return pair
