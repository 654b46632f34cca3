"""Predictions next to the ground truth for a sample of images: the thesis' inspection program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from al_cli.errors import RunError
from al_cli.records import RunFolder, round_name
from al_cli.report.drawing.sheets import GAP_PX, draw_marks, grid, load, predicted_marks, save_sheet, true_marks
from al_cli.rng import rng_for
from al_cli.system import own_folder
from al_cli.types import Dataset, Image, Predictions

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

PAIR_PX = 320


def show_run(
    run_path: Path | str,
    round: int,
    dataset: Dataset,
    *,
    n: int = 12,
    threshold: float = 0.3,
    seed: int = 0,
    out: Path | None = None,
    predictions: Predictions | None = None,
) -> Path:
    """Draw `n` random evaluation images with the predictions of a finished round; returns the PNG's path.

    `predictions` replaces the round's own (another checkpoint's). The sample depends on the seed and the images alone,
    so that rounds and runs can be compared. Raises RunError for an unfinished round or predictions on other images.
    """
    if n < 1:
        raise RunError(f"{n} images cannot be drawn", where="--images", remedy="give a count of at least 1")
    if seed < 0:
        raise RunError(f"the seed is {seed}", where="--seed", remedy="give a whole number of at least 0")
    if not 0 <= threshold <= 1:
        raise RunError(f"a score of {threshold} does not exist", where="--threshold", remedy="give a value from 0 to 1")
    table = RunFolder(run_path).predictions(round) if predictions is None else predictions
    if not np.array_equal(table.image_ids, dataset.ids):
        raise RunError(
            f"the predictions are on {len(table)} other images than the dataset's {len(dataset)}",
            where=str(run_path),
            remedy="the dataset has changed since the run: restore it",
        )
    chosen = rng_for(seed, 0, "show").permutation(dataset.ids)[:n]
    name = f"predictions_{round_name(round)}.png" if predictions is None else "predictions_checkpoint.png"
    source = f"round {round}" if predictions is None else "checkpoint"
    path = Path(out) if out is not None else own_folder(Path(run_path) / "plots") / name
    if path.suffix.lower() != ".png":
        raise RunError("only png can be written", where=str(path), remedy=f"name it {path.with_suffix('.png').name}")
    title = f"{source}: ground truth (left) and predictions with a score of at least {threshold:g} (right)"
    return save_sheet(predictions_sheet(table.select(chosen), dataset.select(chosen), threshold, title), path)


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
