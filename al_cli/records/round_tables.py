"""The tables of a finished round, read back from their files and verified by the hashes in its record."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from al_cli.errors import RunError
from al_cli.records.formats import content_hash, csv_rows, load_predictions
from al_cli.records.rounds import IMAGE_LOSSES, PICKED, RESELECTED, Candidate, parse_candidate, round_name
from al_cli.system import read_regular
from al_cli.types import LOSSES, LossPoint, Predictions, RoundRecord

MATRIX_CLASSES = 5000  # of a confusion matrix in memory: 200 MB
Row = TypeVar("Row")


def once_more(round: int) -> str:
    """The remedy for a file of a round that is gone or damaged."""
    return f"give the command of this run again: it computes round {round} once more and keeps the others"


class RoundTables(ABC):
    """The tables of a run's rounds, below `path`. Who inherits reads the records."""

    path: Path

    @abstractmethod
    def record(self, round: int) -> RoundRecord: ...

    @abstractmethod
    def records(self) -> list[RoundRecord]: ...

    def round_path(self, round: int) -> Path:
        return self.path / round_name(round)

    def is_finished(self, round: int) -> bool:
        return (self.round_path(round) / "record.json").exists()

    def _content(self, round: int, name: str) -> bytes:
        """A file of a finished round. RunError where it is not there, or not as it was written."""
        path, digest = self.round_path(round) / name, self.record(round).hashes.get(name)
        try:
            content = read_regular(path)
        except OSError as error:
            raise RunError(
                f"{name} cannot be read: {error.strerror}", where=str(path), remedy=once_more(round)
            ) from error
        if digest is not None and content_hash(content) != digest:
            raise RunError(f"{name} is not as it was written", where=str(path), remedy=once_more(round))
        return content

    def predictions(self, round: int) -> Predictions:
        """What the round's model finds in the evaluation images. RunError for an unfinished round or a broken file."""
        if not self.is_finished(round):
            done = len(self.records())
            rounds = f"finished: 0 to {done - 1}" if done else "no round is finished yet"
            raise RunError(f"round {round} is not finished", where=str(self.path), remedy=rounds)
        content = self._content(round, "predictions.npz")
        try:
            return load_predictions(content)
        except ValueError as error:
            path = self.round_path(round) / "predictions.npz"
            raise RunError(f"predictions cannot be read: {error}", where=str(path), remedy=once_more(round)) from error

    def losses(self, round: int) -> list[LossPoint]:
        """The loss curve of a finished round; empty where the learner keeps none."""
        return self._rows(
            round,
            "losses.csv",
            lambda row: LossPoint(
                int(row["iteration"]),
                float(row["train_loss"]),
                *(float(row[name]) if row.get(name) else None for name in ("val_loss", "metric")),
            ),
        )

    def image_losses(self, round: int) -> list[tuple[float, ...]]:
        """Loss, class part and box part of each image that a finished round was scored on, NaN for a part that the learner
        cannot say. RunError where none was measured."""
        first, *parts = LOSSES  # a learner that cannot say a part may leave its column out
        return self._rows(
            round,
            IMAGE_LOSSES,
            lambda row: tuple(float(cell or "nan") for cell in (row[first], *(row.get(name) for name in parts))),
        )

    def trained_on(self, round: int) -> tuple[int, ...]:
        """The images that a finished round chose, ascending: those it labeled and, where each round selects its training set
        from the whole pool, those labeled before that it selected again."""
        return tuple(c.image_id for c in self.candidates(round) if c.outcome in (PICKED, RESELECTED))

    def candidates(self, round: int) -> list[Candidate]:
        """Every image that a finished round chose from, by ascending id. RunError where that cannot be read."""
        return self._rows(round, "candidates.csv", parse_candidate)

    def _rows(self, round: int, name: str, parse: Callable[[dict[str, str]], Row]) -> list[Row]:
        """The rows of a table of a finished round. RunError where it cannot be read."""
        content = self._content(round, name)
        try:
            rows = csv_rows(content)
            if any(
                None in row or None in row.values() for row in rows
            ):  # how Python says that a row is too long or short
                raise ValueError("a row has another number of cells than there are columns")
            return [parse(row) for row in rows]
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            path = self.round_path(round) / name
            raise RunError(f"{name} cannot be read: {error}", where=str(path), remedy=once_more(round)) from error

    def class_counts(self, round: int) -> dict[str, tuple[int, int]]:
        """Class name -> labels of it among the round's picked images, and among all labeled so far."""
        read = self._rows(
            round, "class_counts.csv", lambda row: (row["class"], (int(row["picked"]), int(row["labeled"])))
        )
        return dict(read)

    def per_class(self, round: int) -> list[dict[str, str]]:
        """A row for each class as the task evaluated it, by column name."""
        return csv_rows(self._content(round, "per_class.csv"))

    def confusion(self, round: int) -> tuple[list[str], NDArray[np.int64]]:
        """Class names, and the images [true class, predicted class]; empty for a task without such a table, and for more than
        MATRIX_CLASSES."""
        names: list[str] = []
        if "confusion.csv" in self.record(round).hashes:
            names = [row["class"] for row in self.per_class(round)]
        if not 0 < len(names) <= MATRIX_CLASSES:
            return [], np.zeros((0, 0), np.int64)
        counts, place = np.zeros((len(names), len(names)), np.int64), {name: c for c, name in enumerate(names)}

        def cell(row: dict[str, str]) -> tuple[int, int, int]:
            if not row["images"].isascii() or not row["images"].isdecimal() or len(row["images"]) > 12:
                raise ValueError(f"images is {row['images'][:20]!r}")
            return place[row["true"]], place[row["predicted"]], int(row["images"])

        for true, predicted, images in self._rows(round, "confusion.csv", cell):
            counts[true, predicted] = images
        return names, counts
