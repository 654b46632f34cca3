"""The files of one round: a record and the data it is about, as rows and text. Knows no folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from al_cli.records.formats import content_hash, csv_text, json_text, predictions_bytes
from al_cli.tasks import Evaluation, Task
from al_cli.types import (
    LOSSES,
    MEASURED,
    Choice,
    Dataset,
    LabelKind,
    Losses,
    LossPoint,
    Predictions,
    RoundRecord,
    StageLog,
)

CANDIDATE_COLUMNS = ("image_id", "image", "score", "stage", "outcome")
IMAGE_LOSSES = "image_losses.csv"
OWN_TABLES = frozenset({"metrics", "per_class", "selection", "class_counts", "losses", "candidates", "image_losses"})
# Outcomes; else the name of the stage that dropped the image. VALIDATES: picked, and never trained on.
PICKED, RESELECTED, VALIDATES = "picked", "reselected", "validates"
CHECKPOINT = "checkpoint.pth"
_DIGEST = re.compile(r'(?<=\n "digest": ")[0-9a-f]*(?=")')
_HASHED = re.compile(
    r"(\.\./(round_\d+/)?)?\w[\w.-]*", re.ASCII
)  # a file of the round, of the run, or of another round
OLD_ORACLE = " (oracle)"  # how a stage's name ended in files of format 1, which had no key `oracle`


@dataclass(frozen=True, eq=False)
class Round:
    """A finished round with everything that is written of it. ValueError where the images are not the record's.

    `scored` are the images of `predictions`, `picked` and `labeled` those of `record.picked` and `record.labeled`; boxes in
    tables leave crowd regions out. `names` are file names by id, of the candidates at least. `validating` are the labeled
    images that are never trained on. `losses` are those of the scored images, where they were measured.
    `timing` is all that may differ between equal runs.
    """

    record: RoundRecord
    predictions: Predictions
    scored: Dataset
    evaluation: Evaluation
    history: Sequence[LossPoint]
    picked: Dataset
    labeled: Dataset
    choice: Choice
    names: Mapping[int, str]
    timing: Mapping[str, Any]
    validating: Sequence[int] = ()
    losses: Losses | None = None

    def __post_init__(self) -> None:
        for name in ("picked", "labeled"):
            ids = set(getattr(self, name).ids.tolist())
            if ids != set(getattr(self.record, name)):
                raise ValueError(f"the {name} images of round {self.record.round} are not those that its record names")


@dataclass(frozen=True)
class Candidate:
    """An image that a round chose from: the last score it got (None: no stage scored it), and the stage that dropped it,
    by number and name. An image that was chosen has no number, and `outcome` is PICKED, RESELECTED or VALIDATES."""

    image_id: int
    image: str
    score: float | None
    stage: int | None
    outcome: str


def round_name(round: int) -> str:
    """What a round is called in folder and file names."""
    return f"round_{round:02d}"


def round_files(done: Round, task: Task) -> dict[str, str | bytes]:
    """File name -> content of everything in a round's folder that is the same in equal runs, but for the record."""
    watched = any(point.metric is not None for point in done.history)  # by early stopping
    columns = ("iteration", "train_loss", "val_loss", *(["metric"] if watched else []))
    known = _known_losses(done.losses, task) if done.losses else ()
    losses = (tuple(getattr(point, name) for name in columns) for point in done.history)
    return {
        **derived_tables(done.record, done.evaluation, done.picked, done.labeled, task),
        "predictions.npz": predictions_bytes(done.predictions, done.scored),
        "losses.csv": csv_text(columns, losses),
        "candidates.csv": csv_text(CANDIDATE_COLUMNS, _candidate_rows(done)),
        **(
            {IMAGE_LOSSES: csv_text(("image_id", "image", *known), _loss_rows(done.scored, done.losses, known))}
            if done.losses
            else {}
        ),
    }


def derived_tables(
    record: RoundRecord, evaluation: Evaluation, picked: Dataset, labeled: Dataset, task: Task
) -> dict[str, str | bytes]:
    """File name -> content of the tables that follow from a record, its evaluated predictions and the data."""
    columns = ("round", *task.cost_names, *evaluation.metrics, "val_loss")
    if taken := sorted(OWN_TABLES & evaluation.tables.keys()):
        raise ValueError(f"task {task.name} has a table called {taken[0]}, which every round has of its own")
    label = "class" if task.label == "image" else "boxes"
    return {
        "metrics.csv": csv_text(columns, [_metrics_row(replace(record, metrics=evaluation.metrics), task)]),
        "per_class.csv": _mappings_csv(evaluation.per_class),
        **{f"{name}.csv": _mappings_csv(rows) for name, rows in evaluation.tables.items()},
        "selection.csv": csv_text(
            ("order", "image_id", "image", "score", label), _selection_rows(record, picked, task)
        ),
        "class_counts.csv": csv_text(("class", "picked", "labeled"), _class_rows(picked, labeled)),
    }


def before(round: int) -> str:
    """The name, in a record's hashes, of the weights that this round selected with: those of the round before it."""
    return f"../{round_name(round - 1)}/{CHECKPOINT}"


def follows(record: RoundRecord, previous: RoundRecord) -> bool:
    """Whether this round went on from the labels and the weights of the previous one."""
    weights = record.hashes.get(before(record.round)) == previous.hashes.get(CHECKPOINT)
    return weights and record.labeled == (*previous.labeled, *record.picked)


def record_text(record: RoundRecord, label: LabelKind = "objects") -> str:
    """The record as JSON: sorted keys, null for a number that is not finite. A stage has the key `oracle` where it is one.

    Where a `label` is an image the key `label` says so, and there is neither a number of boxes, which is that of images, nor a
    loss that was not measured.

    `digest` is the SHA-256 of this text with nothing in the digest's place.
    """
    content = asdict(replace(record, metrics=dict(record.metrics), hashes=dict(record.hashes)))
    stages = [
        {key: value for key, value in stage.items() if (key, value) != ("oracle", False)} for stage in content["stages"]
    ]
    if label == "image":
        left_out = {"boxes", *(name for name in LOSSES if content[name] is None)}
        content = {key: value for key, value in content.items() if key not in left_out} | {"label": label}
    text = json_text(content | {"stages": stages, "digest": ""})
    return _DIGEST.sub(_digest_of(text), text, count=1)


def _digest_of(text: str) -> str:
    return content_hash(_DIGEST.sub("", text, count=1))


def parse_record(text: str) -> RoundRecord:
    """The inverse of `record_text`. ValueError or TypeError when the text is not a record, or not as it was written (which a
    record of format 1 or 2, without a digest, does not tell)."""
    data = json.loads(text)
    if isinstance(data, dict) and "digest" in data and data.pop("digest") != _digest_of(text):
        raise ValueError("it is not as it was written")
    if isinstance(data, dict) and data.pop("label", None) == "image":
        data["boxes"] = data.get("images")
    expected = {field.name for field in fields(RoundRecord)}
    if not isinstance(data, dict) or not expected - set(MEASURED) <= set(data) <= expected:
        raise ValueError(f"it must have exactly the keys {', '.join(sorted(expected))}")
    if strange := [name for name in data["hashes"] if not _HASHED.fullmatch(name)]:
        raise ValueError(f"it names {strange[0]!r}, which is no file of a run")
    lists = {key: tuple(data[key]) for key in ("labeled", "picked", "scores")}
    return RoundRecord(**(data | lists | {"stages": tuple(map(_parse_stage, data["stages"]))}))


def _parse_stage(stage: Mapping[str, Any]) -> StageLog:
    if stage["name"].endswith(OLD_ORACLE):
        stage = {**stage, "name": stage["name"].removesuffix(OLD_ORACLE), "oracle": True}
    return StageLog(**stage)


def parse_candidate(row: Mapping[str, str]) -> Candidate:
    """A row of candidates.csv. KeyError or ValueError where it is none."""
    score, stage = (row[name] or None for name in ("score", "stage"))
    return Candidate(
        int(row["image_id"]),
        row["image"],
        None if score is None else float(score),
        None if stage is None else int(stage),
        row["outcome"],
    )


def measured(records: Iterable[RoundRecord]) -> tuple[str, ...]:
    """The numbers that not every run has, of which at least one of these rounds has a value: columns of their table."""
    every = tuple(records)
    return tuple(name for name in MEASURED if any(getattr(record, name) is not None for record in every))


def round_columns(task: Task, also: Sequence[str]) -> list[str]:
    """What a row about one round has, in tables of a run and of a study: costs, metrics, what belongs to both, and what of
    these rounds was `measured`."""
    return ["round", *task.cost_names, *task.metric_names, *task.rates, "val_loss", "ud", *also]


def round_row(record: RoundRecord, task: Task, also: Sequence[str]) -> list[Any]:
    """The cells of `round_columns`."""
    costs, metrics = [cost.of(record) for cost in task.costs], [record.metrics.get(name) for name in task.metric_names]
    rates = [cost.rate(record.metrics.get(task.primary.name), cost.of(record)) for cost in task.rates.values()]
    extra = [getattr(record, name) for name in also]
    return [record.round, *costs, *metrics, *rates, record.val_loss, record.ud, *extra]


def shown_columns(task: Task, also: Sequence[str]) -> list[str]:
    """The columns that people see of such a row: the metrics of narrow tables only."""
    return [name for name in round_columns(task, also) if name not in _left_out(task)]


def round_texts(record: RoundRecord, task: Task, also: Sequence[str]) -> list[Any]:
    """The cells of `shown_columns`: each metric with the decimals of its own, and whole epochs without any."""
    cells = dict(zip(round_columns(task, also), round_row(record, task, also), strict=True))
    texts = {metric.name: metric.text(cells[metric.name]) for metric in task.tabled}
    if cells.get("epochs") is not None:
        texts["epochs"] = f"{round(cells['epochs'], 2):g}"
    return [texts.get(name, cells[name]) for name in shown_columns(task, also)]


def _left_out(task: Task) -> set[str]:
    return {*task.metric_names, *task.rates} - {metric.name for metric in task.tabled}


def _metrics_row(record: RoundRecord, task: Task) -> list[Any]:
    return [record.round, *(cost.of(record) for cost in task.costs), *record.metrics.values(), record.val_loss]


def _mappings_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(rows[0]) if rows else []
    return csv_text(columns, ([row[column] for column in columns] for row in rows))


def _selection_rows(record: RoundRecord, picked: Dataset, task: Task) -> list[list[Any]]:
    """A row for each picked image; the last cell is its class where that is the label, else how many boxes it has."""
    rows: list[list[Any]] = []
    for order, (image_id, score) in enumerate(zip(record.picked, record.scores, strict=True), 1):
        image = picked[image_id]
        is_class = task.label == "image"
        label = picked.class_names[image.classes[0]] if is_class else int((~image.crowd).sum())
        rows.append([order, image_id, image.name, score, label])
    return rows


def _candidate_rows(done: Round) -> Iterator[Sequence[Any]]:
    """A row for each candidate: its last score, and the stage that dropped it, or that it was picked."""
    choice, chosen = done.choice, dict.fromkeys(done.record.picked, PICKED) | dict.fromkeys(done.validating, VALIDATES)
    outcomes = ["", *(stage.name for stage in done.record.stages)]
    columns = (choice.candidates.tolist(), choice.scores.tolist(), choice.dropped_by.tolist())
    for image_id, score, stage in zip(*columns, strict=True):
        outcome = outcomes[stage] if stage else chosen.get(image_id, RESELECTED)
        yield image_id, done.names[image_id], score, stage or None, outcome


def _known_losses(losses: Losses, task: Task) -> tuple[str, ...]:
    """Which losses are columns: all; where a label is an image, those that the learner can say."""
    return LOSSES if task.label == "objects" else tuple(name for name in LOSSES if losses.means[name] is not None)


def _loss_rows(scored: Dataset, losses: Losses, known: Sequence[str]) -> Iterator[Sequence[Any]]:
    parts = dict(zip(LOSSES, (losses.total, losses.classes, losses.boxes), strict=True))
    for image, *values in zip(scored.images, *(parts[name].tolist() for name in known), strict=True):
        yield image.id, image.name, *values


def _class_rows(picked: Dataset, labeled: Dataset) -> list[list[Any]]:
    def count(dataset: Dataset) -> list[int]:
        classes = [image.classes[~image.crowd] for image in dataset.images] or [np.zeros(0, np.int64)]
        return np.bincount(np.concatenate(classes), minlength=len(dataset.class_names)).tolist()

    return [list(row) for row in zip(labeled.class_names, count(picked), count(labeled), strict=True)]
