"""Classification of whole images: accuracy, from Predictions and a Dataset, for every learner."""

from __future__ import annotations

import numpy as np

from al_cli.tasks.base import PERCENT, Cost, Evaluation, Metric, Task
from al_cli.types import Dataset, Predictions, Signal


def evaluate_classes(predictions: Predictions, dataset: Dataset) -> Evaluation:
    """Accuracy of these predictions on exactly these images, in percent."""
    if not np.array_equal(predictions.image_ids, dataset.ids) or len(predictions.classes) != len(dataset):
        raise ValueError("predictions must have one row for each of the dataset's images")
    truth = np.array([image.classes[0] for image in dataset.images])
    return Evaluation({"accuracy": 100 * float((predictions.classes == truth).mean())})


TASK = Task(
    "classification",
    metrics=(Metric("accuracy", PERCENT, highest=100.0),),
    costs=(Cost("images"),),
    evaluate=evaluate_classes,
    label="image",
    needs=frozenset({Signal.PROBS}),
)
