"""Object detection: COCO's twelve numbers and VOC 2007's, in percent, from Predictions and a Dataset, for every learner.

Source: Lin et al. 2014 and the COCO detection challenge's evaluator (IoU 0.50:0.05:0.95, 101 recall points, at most 100
detections an image, crowd regions ignored). faster-coco-eval computes it in C++: the numbers of pycocotools up to
rounding (1e-14; pycocotools adds an epsilon to its denominators). This file does not know files, learners or rounds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from al_cli.tasks.base import PERCENT, Breakdown, Cost, Evaluation, Metric, Task
from al_cli.types import Dataset, Predictions

# The evaluator's summary (`stats`), in COCO's own order.
_SUMMARY = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def evaluate(predictions: Predictions, dataset: Dataset) -> Evaluation:
    """COCO's AP of these predictions on exactly these images.

    An image without objects contributes its false positives; one without detections its misses. A class or a size range
    that never occurs in the ground truth is None (COCO's -1) and enters no mean. Everything is in percent: `metrics`
    has COCO's AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl (the last three at 100 detections), and AP07
    (`_voc_2007`); `per_class` has class, images (with at least one object of it), boxes (without crowd regions), AP, AP50.

    Raises ValueError when the predictions do not cover exactly the dataset's images or have other classes.
    """
    # Imported here, not above: it costs 0.1 s that `al --help` should not pay.
    from faster_coco_eval import COCO, COCOeval_faster

    _check(predictions, dataset)
    numbered = _renumbered(dataset)
    truth = COCO(coco_ground_truth(numbered), print_function=_silent)
    found_boxes = coco_results(replace(predictions, image_ids=numbered.ids), numbered)
    detected = COCO({**truth.dataset, "annotations": found_boxes}, print_function=_silent)  # loadRes goes box by box
    run = COCOeval_faster(truth, detected, "bbox", print_function=_silent)
    run.run()
    # [T,R,K,A,M]: IoU thresholds, recall points, classes by ascending category id, areas (0 is all), detection limits
    precision = run.eval["precision"].reshape(*run.eval["counts"])[:, :, :, 0, -1]
    found = {name: _percent(float(value)) for name, value in zip(_SUMMARY, run.stats, strict=True)}
    found["AP07"] = _voc_2007(precision)
    metrics = {metric.name: found[metric.name] for metric in TASK.metrics}

    boxes = np.zeros((len(dataset), len(dataset.class_names)), dtype=np.int64)  # [N,C] objects without crowd regions
    for counts, image in zip(boxes, dataset.images, strict=True):
        counts += np.bincount(image.classes[~image.crowd], minlength=len(counts))
    rows = [
        {
            "class": name,
            "images": int((boxes[:, label] > 0).sum()),
            "boxes": int(boxes[:, label].sum()),
            "AP": _mean_percent(precision[:, :, label]),
            "AP50": _mean_percent(precision[0, :, label]),
        }
        for label, name in enumerate(dataset.class_names)
    ]
    return Evaluation(metrics, tuple(rows))


def _renumbered(dataset: Dataset) -> Dataset:
    """The same images and classes with ids 1..N and 1..C. Evaluators keep ids as doubles: above 2^53 they would crash or mix
    images up, and the order of category ids would decide the order in which averages are summed."""
    images = tuple(replace(image, id=number) for number, image in enumerate(dataset.images, 1))
    return Dataset(dataset.class_names, images, tuple(range(1, len(dataset.class_names) + 1)))


def coco_ground_truth(dataset: Dataset) -> dict[str, Any]:
    """The dataset as the content of a COCO instances file, with the category ids of its source.

    Annotation ids start at 1: COCO's evaluators take an id of 0 for "not matched" and would silently score it 0.
    """
    annotations: list[dict[str, Any]] = []
    for image in dataset.images:
        columns = (_xywh(image.boxes), image.classes.tolist(), image.crowd.tolist(), image.areas.tolist())
        annotations += [
            {
                "id": number,
                "image_id": image.id,
                "category_id": dataset.category_ids[label],
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd),
            }
            for number, (box, label, crowd, area) in enumerate(zip(*columns, strict=True), len(annotations) + 1)
        ]
    return {
        "images": [
            {"id": image.id, "file_name": image.name, "width": image.width, "height": image.height}
            for image in dataset.images
        ],
        "categories": [
            {"id": category, "name": name}
            for category, name in zip(dataset.category_ids, dataset.class_names, strict=True)
        ],
        "annotations": annotations,
    }


def coco_results(predictions: Predictions, dataset: Dataset) -> list[dict[str, Any]]:
    """The predictions as the content of a COCO results file: one entry per box, the source's category ids, and what reading
    such a file adds to it (id, area of the box, iscrowd)."""
    columns = (
        predictions.image_ids[predictions.row_image].tolist(),
        np.asarray(dataset.category_ids)[predictions.classes].tolist(),
        _xywh(predictions.boxes),
        predictions.scores.tolist(),
    )
    return [
        {
            "image_id": image_id,
            "category_id": category,
            "bbox": box,
            "score": score,
            "id": number,
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        for number, (image_id, category, box, score) in enumerate(zip(*columns, strict=True), 1)
    ]


def _check(predictions: Predictions, dataset: Dataset) -> None:
    if len(dataset) == 0:
        raise ValueError("there are no images to evaluate on")
    if not np.array_equal(predictions.image_ids, dataset.ids):
        missing = np.setdiff1d(dataset.ids, predictions.image_ids)
        extra = np.setdiff1d(predictions.image_ids, dataset.ids)
        raise ValueError(
            f"predictions must cover exactly the dataset's {len(dataset)} images: "
            f"{len(missing)} missing {missing[:8].tolist()}, {len(extra)} too many {extra[:8].tolist()}"
        )
    if predictions.num_classes != len(dataset.class_names):
        raise ValueError(f"predictions of {predictions.num_classes} classes for {len(dataset.class_names)} class names")


def _xywh(boxes: np.ndarray) -> list[list[float]]:
    """[K,4] corners -> x, y, width, height of each, in float64."""
    corner, far = np.split(boxes.astype(np.float64), 2, axis=1)
    return np.hstack([corner, far - corner]).tolist()


def _percent(share: float) -> float | None:
    return None if share == -1 else 100 * share


def _mean_percent(precision: np.ndarray) -> float | None:
    valid = precision[precision > -1]
    return 100 * float(valid.mean()) if valid.size else None


def _voc_2007(precision: np.ndarray) -> float | None:
    """PASCAL VOC 2007's mean AP at IoU 0.5 (Everingham et al. 2010, section 4.2) from COCO's precision [T,R,K], in percent.

    A class's AP is the mean, over the recalls 0, 0.1, ..., 1, of the highest precision at that recall or above: every tenth
    of COCO's 101 recall points. None where no class occurs.

    Detections are matched as COCO does, which VOC's program does not: a detection there belongs to the object that it
    overlaps most and is false where that one is taken, here it may still get the next best. VOC's difficult objects are
    crowd regions here: ignored, but measured as a share of the detection and for any number of them. VOC adds a pixel to
    widths and heights, and has no limit of 100 detections an image and class. The point 0.7 is the double above 7/10, so
    a recall of exactly 7/10 does not reach it.
    """
    return _mean_percent(precision[0, ::10])


def _silent(*_: Any, **__: Any) -> None:
    """The evaluator reports its progress through this; nobody needs it."""


def _metric(name: str, title: str = "") -> Metric:
    return Metric(name, PERCENT, decimals=2, highest=100.0, title=title)


_FIRST = ("AP", "AP50", "AP75", "APs", "APm", "APl")

TASK = Task(
    "detection",
    metrics=(
        _metric("AP"),
        _metric("AP50", "AP₅₀"),
        _metric("AP75", "AP₇₅"),
        _metric("APs"),
        _metric("APm"),
        _metric("APl"),
        _metric("AP07", "AP₀₇"),
        _metric("AR1"),
        _metric("AR10"),
        _metric("AR100"),
        _metric("ARs"),
        _metric("ARm"),
        _metric("ARl"),
    ),
    costs=(Cost("images"), Cost("boxes", "boxes", count=lambda dataset: dataset.box_count, per=10_000)),
    evaluate=evaluate,
    curves=("AP", "AP50", "AP75"),
    line=("AP", "AP50", "APs", "APm", "APl"),
    table=_FIRST,
    breakdown=Breakdown(
        "size",
        what="object size",
        groups="small, medium and large objects, in COCO's ranges",
        labels={"APs": "small (< 32² px)", "APm": "medium (32²–96² px)", "APl": "large (> 96² px)"},
    ),
)

# What runs measured that say no task: they began before there was a choice.
EARLIEST = replace(
    TASK,
    metrics=TASK.metrics[: len(_FIRST)],
    costs=tuple(replace(cost, per=0) for cost in TASK.costs),
    table=(),
)
