"""TensorBoard: one event file a round in the run's folder `tracking`; `tensorboard --logdir outputs/STUDY` shows them.

A file appears whole when its round is done, and its presence means that the round is logged: nothing can be logged twice,
and a kill leaves no half file. Needs the package tensorboard, but neither torch nor TensorFlow.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from al_cli.records import RunFolder
from al_cli.records.files import write_atomic
from al_cli.tracking import Point, points
from al_cli.types import LossPoint, RoundRecord


class TensorBoard:
    def __init__(self, folder: RunFolder):
        self.folder = folder

    def path(self, round: int) -> Path:
        # TensorBoard reads files with `tfevents` in their name, in the order of their names.
        return self.folder.path / "tracking" / f"events.out.tfevents.round_{round:02d}"

    def has(self, round: int) -> bool:
        """Logged since the round was recorded: a round that was deleted and computed again is logged again."""
        record = self.folder.round_path(round) / "record.json"
        path = self.path(round)
        return path.exists() and path.stat().st_mtime_ns >= record.stat().st_mtime_ns

    def log_round(self, record: RoundRecord, losses: Sequence[LossPoint]) -> None:
        path = self.path(record.round)
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, event_bytes(points(record, losses), time.time()))

    def close(self) -> None:
        pass


def event_bytes(points: Sequence[Point], wall_time_s: float) -> bytes:
    """An event file (TFRecords) with these points; only the version event where there are none."""
    file = io.BytesIO()
    writer = RecordWriter(file)
    writer.write(Event(wall_time=wall_time_s, file_version="brain.Event:2").SerializeToString())
    for tag, step, value in points:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.write(Event(wall_time=wall_time_s, step=step, summary=summary).SerializeToString())
    return file.getvalue()
