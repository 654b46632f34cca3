"""A task of a user's own, in a module that is not part of al: are the objects' classes right, and their places?"""

import numpy as np

from al_cli.tasks import Cost, Evaluation, Metric, Task


def evaluate(predictions, dataset):
    """`accuracy`: images whose most certain prediction is of a class that is there. `closeness`: 1 / (1 + px from a true
    object's centre to the nearest predicted one), the mean over objects."""
    right, close = [], []
    for image in dataset.images:
        of_image = predictions.select([image.id])
        if len(image.boxes) and len(of_image.boxes):
            right.append(int(of_image.classes[0]) in image.classes.tolist())
            true, predicted = ((boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (image.boxes, of_image.boxes))
            close += (1 / (1 + np.linalg.norm(true[:, None] - predicted, axis=-1).min(1))).tolist()
    rows = [{"class": name} for name in dataset.class_names]
    return Evaluation({"accuracy": float(np.mean(right)), "closeness": float(np.mean(close))}, rows)


TASK = Task(
    "presence",
    metrics=(Metric("closeness", decimals=3, highest=1.0), Metric("accuracy", decimals=3, highest=1.0)),
    costs=(Cost("images"),),
    evaluate=evaluate,
)
NO_TASK = 3
