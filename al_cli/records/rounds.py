"""What the files of one round say: a record and the data it is about, as rows and text. Knows no folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np

from al_cli.records.files import csv_text, json_text, predictions_bytes
from al_cli.tasks import Evaluation, Task
from al_cli.types import Choice, Dataset, LossPoint, Predictions, RoundRecord, StageLog

CANDIDATE_COLUMNS = ("image_id", "image", "score", "stage", "outcome")
PICKED, RESELECTED = "picked", "reselected"  # outcomes; else the name of the stage that dropped the image


def round_files(
    record: RoundRecord,
    predictions: Predictions,
    evaluation: Evaluation,
    history: Sequence[LossPoint],
    picked: Dataset,
    labeled: Dataset,
    choice: Choice,
    names: Mapping[int, str],
    task: Task,
) -> dict[str, str | bytes]:
    """File name -> content of everything in a round's folder that is the same in equal runs, but for the record."""
    losses = ((point.iteration, point.train_loss, point.val_loss) for point in history)
    return {
        "metrics.csv": csv_text(("round", *task.cost_names, *record.metrics, "val_loss"), [_metrics_row(record, task)]),
        "per_class.csv": _mappings_csv(evaluation.per_class),
        "predictions.npz": predictions_bytes(predictions),
        "losses.csv": csv_text(("iteration", "train_loss", "val_loss"), losses),
        "selection.csv": csv_text(("order", "image_id", "image", "score", "boxes"), _selection_rows(record, picked)),
        "candidates.csv": csv_text(CANDIDATE_COLUMNS, _candidate_rows(record, choice, names)),
        "class_counts.csv": csv_text(("class", "picked", "labeled"), _class_rows(picked, labeled)),
    }


def record_text(record: RoundRecord) -> str:
    """The record as JSON: sorted keys, null for a number that is not finite."""
    return json_text(asdict(replace(record, metrics=dict(record.metrics), hashes=dict(record.hashes))))


def parse_record(text: str) -> RoundRecord:
    """The inverse of `record_text`. ValueError or TypeError when the text is not a record."""
    data = json.loads(text)
    expected = {field.name for field in fields(RoundRecord)}
    if not isinstance(data, dict) or set(data) != expected:
        raise ValueError(f"it must have exactly the keys {', '.join(sorted(expected))}")
    lists = {key: tuple(data[key]) for key in ("labeled", "picked", "scores")}
    return RoundRecord(**(data | lists | {"stages": tuple(StageLog(**stage) for stage in data["stages"])}))


def round_columns(task: Task) -> list[str]:
    """What a row about one round has, in tables of a run and of a study: costs, metrics and what belongs to both."""
    return ["round", *task.cost_names, *task.metric_names, "val_loss", "ud"]


def round_row(record: RoundRecord, task: Task) -> list[Any]:
    """The cells of `round_columns`."""
    costs, metrics = [cost.of(record) for cost in task.costs], [record.metrics.get(name) for name in task.metric_names]
    return [record.round, *costs, *metrics, record.val_loss, record.ud]


def round_texts(record: RoundRecord, task: Task) -> list[Any]:
    """The same cells for people: each metric with the decimals of its own."""
    row, first = round_row(record, task), 1 + len(task.costs)
    for position, metric in enumerate(task.metrics, first):
        row[position] = metric.text(row[position])
    return row


def _metrics_row(record: RoundRecord, task: Task) -> list[Any]:
    return [record.round, *(cost.of(record) for cost in task.costs), *record.metrics.values(), record.val_loss]


def _mappings_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(rows[0]) if rows else []
    return csv_text(columns, ([row[column] for column in columns] for row in rows))


def _selection_rows(record: RoundRecord, picked: Dataset) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for order, (image_id, score) in enumerate(zip(record.picked, record.scores, strict=True), 1):
        image = picked[image_id]
        rows.append([order, image_id, image.path.name, score, int((~image.crowd).sum())])
    return rows


def _candidate_rows(record: RoundRecord, choice: Choice, names: Mapping[int, str]) -> Iterator[Sequence[Any]]:
    """One row a candidate: its last score, and the stage that dropped it or that it was picked."""
    picked = np.isin(choice.candidates, record.picked)
    outcomes = ["", *(stage.name for stage in record.stages)]
    columns = (choice.candidates.tolist(), choice.scores.tolist(), choice.dropped_by.tolist(), picked.tolist())
    for image_id, score, stage, new in zip(*columns, strict=True):
        outcome = outcomes[stage] if stage else PICKED if new else RESELECTED
        yield image_id, names[image_id], score, stage or None, outcome


def _class_rows(picked: Dataset, labeled: Dataset) -> list[list[Any]]:
    def count(dataset: Dataset) -> list[int]:
        classes = [image.classes[~image.crowd] for image in dataset.images] or [np.zeros(0, np.int64)]
        return np.bincount(np.concatenate(classes), minlength=len(dataset.class_names)).tolist()

    return [list(row) for row in zip(labeled.class_names, count(picked), count(labeled), strict=True)]
