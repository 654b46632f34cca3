"""Whether a run on disk is what it says: hashes, records that follow each other, tables and metrics made again.

Reads only, and imports nothing that a run folder names: what a task of the user's own judged is not judged again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isclose, isnan, nan
from pathlib import Path
from typing import Any

import numpy as np

from al_cli import tasks
from al_cli.datasets.held_out import scored_split
from al_cli.errors import AlError, ConfigError, RunError, first_line
from al_cli.records.data import DataRecord, read_data_record
from al_cli.records.find import folders_below
from al_cli.records.folder import RunFolder
from al_cli.records.mend import rebuilt_tables
from al_cli.records.rounds import (
    CHECKPOINT,
    IMAGE_LOSSES,
    PICKED,
    RESELECTED,
    VALIDATES,
    follows,
    round_name,
)
from al_cli.records.study import STUDY_FILE, read_study_file
from al_cli.system import read_regular
from al_cli.tasks import Task
from al_cli.types import LOSSES, RoundRecord, Splits

MAX_LISTED = 20  # lines about rounds that done.json counts and that are not there
CSV_ROUNDS = 1e-4  # tables have four decimals
CHANGED, MISSING = "not as it was written", "missing"


@dataclass
class Verified:
    """What does not match, a line each; what could not be checked, and why; how much was."""

    mismatches: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    runs: int = 0
    rounds: int = 0
    files: int = 0
    evaluated: int = 0


# A run's `dataset` settings -> its data; AlError or OSError where it is not there
Reader = Callable[[dict[str, Any]], Splits]


def verify(path: Path, load: Reader) -> Verified:
    """Check the run at this path, or all runs below it. Empty of runs where there are none."""
    found = Verified()
    for run in run_folders(path):
        Check(RunFolder(run), found).run(load)
    if (path / STUDY_FILE).is_file():
        found.files += 1
        try:
            read_study_file(path)
        except AlError as error:
            found.mismatches.append(f"{path / STUDY_FILE}: {error.what}")
    return found


def run_folders(root: Path) -> list[Path]:
    """Every folder at or below this one that holds anything of a run, sorted."""
    names = ("run.lock", "config.yaml", "environment.json", round_name(0))
    return folders_below(root, lambda path: any((path / name).exists() for name in names))


@dataclass
class Check:
    """The check of one run; what it finds goes into `found`."""

    folder: RunFolder
    found: Verified

    def run(self, load: Reader) -> None:
        self.found.runs += 1
        records = self._records()
        config = self._config()
        self._run_files(records, config)
        task = self._task(config)
        splits = self._data(records, config, load) if records else None
        for number, record in enumerate(records):
            bad = self._round(record, records[number - 1] if number else None)
            if task is not None and splits is not None and config is not None:
                self._again(record, splits, config["evaluate"], task, bad)
        if records:
            self._end(records, config)
            self._weights(records, config)
            self._done(records)

    def say(self, name: str, what: str) -> None:
        """A mismatch of this file or folder of the run."""
        self.found.mismatches.append(f"{self.folder.path / name}: {what}")

    def skip(self, what: str) -> None:
        self.found.unchecked.append(f"{self.folder.path}: {what}")

    def _records(self) -> list[RoundRecord]:
        """The records that can be read."""
        records = []
        numbers = self.folder.recorded_rounds()
        expected = min(self.folder.rounds_marked, len(numbers) + MAX_LISTED)
        for number in range(max(max(numbers, default=-1) + 1, expected)):
            name = f"{round_name(number)}/record.json"
            if number not in numbers:
                self.say(name, MISSING)
                continue
            self.found.files += 1
            try:
                records.append(self.folder.record(number))
            except AlError as error:
                self.say(name, error.what)
        if not numbers:
            self.skip("no round is finished, so there is nothing to check")
        for path in sorted(self.folder.path.glob("round_*.orphan*")):
            self.skip(f"{path.name} was kept aside and is no part of the run")
        return records

    def _config(self) -> dict[str, Any] | None:
        self.found.files += 1
        try:
            return self.folder.config()
        except AlError as error:
            there = (self.folder.path / "config.yaml").is_file()
            self.say("config.yaml", error.what if there else MISSING)
            return None

    def _run_files(self, records: list[RoundRecord], config: dict[str, Any] | None) -> None:
        """What belongs to all rounds, and what no record holds the hash of but must be readable."""
        measured = ["environment.json", *(f"{round_name(record.round)}/timing.json" for record in records)]
        for name in measured if records else []:
            try:
                json.loads(read_regular(self.folder.path / name))
            except FileNotFoundError:
                self.say(name, MISSING)
            except (OSError, ValueError, RecursionError):
                self.say(name, "cannot be read")
            self.found.files += 1
        if config is not None and records and len(records) == records[-1].round + 1 >= self.folder.rounds_marked:
            try:
                tables = self.folder.tables(records)
            except AlError:
                return  # the task cannot be read: said elsewhere
            for name, text in tables.items():
                self._compare(name, text)

    def _compare(self, name: str, text: str | bytes) -> None:
        self.found.files += 1
        if not self.folder.holds(name, text):
            there = (self.folder.path / name).is_file()
            self.say(name, "does not follow from the records and the data" if there else MISSING)

    def _task(self, config: dict[str, Any] | None) -> Task | None:
        """The task of the run, where it is one of al's and is what it says."""
        try:
            written = self.folder.task()
        except AlError as error:
            self.say("task.json", error.what)
            return None
        name = str((config or {}).get("task", written.name))
        if name not in tasks.BUILT_IN:
            self.skip(
                f"predictions were not evaluated again: {name} is no task of al, and its code is not run from here"
            )
            return None
        own = tasks.named(name)
        if not own.covers(written):
            self.say("task.json", f"does not describe the task {name}")
            return None
        return own

    def _data(self, records: list[RoundRecord], config: dict[str, Any] | None, load: Reader) -> Splits | None:
        """The data of the run, where it is there and is what the run began with."""
        if config is None or not isinstance(config.get("dataset"), dict):
            return None
        try:
            splits = load(dict(config["dataset"]))
        except ConfigError:
            raise  # what the user typed
        except (AlError, OSError, KeyError, TypeError) as error:
            what = error.what if isinstance(error, AlError) else first_line(error)
            self.skip(
                f"nothing was evaluated again: the data cannot be read ({what}); give dataset.root=DIR if it has moved"
            )
            return None
        try:
            what = read_data_record(self.folder.path / "data.csv").difference(DataRecord.of(splits))
        except AlError as error:
            if "../data.csv" not in records[0].hashes:  # else it was said already that it is not as it was written
                self.skip(f"nothing was evaluated again: {error.what}")
            return None
        if what:
            self.say("data.csv", f"the data is not what the run began with: {what}")
            return None
        return splits

    def _round(self, record: RoundRecord, previous: RoundRecord | None) -> list[str]:
        """Hashes of a round, and that it follows from the round before it. The files that are not as they were written."""
        name = round_name(record.round)
        self.found.rounds += 1
        self.found.files += len([file for file in record.hashes if not file.endswith(CHECKPOINT)])
        bad = self.folder.damaged(record)
        for file in bad:
            there = (self.folder.path / name / file).is_file()
            line = f"{self.folder.path / Path(file).name if file.startswith('../') else self.folder.path / name / file}"
            line += f": {CHANGED if there else MISSING}"
            if line not in self.found.mismatches:  # files of the whole run are in every record
                self.found.mismatches.append(line)
        if not record.hashes:
            self.skip(f"{name} was written by a version of al that kept no hashes")
        if record.images != len(set(record.labeled)) or len(record.scores) != len(record.picked):
            self.say(f"{name}/record.json", "its numbers of images contradict each other")
        if previous is None:
            if record.round == 0 and record.labeled != record.picked:
                self.say(f"{name}/record.json", "the first round has labeled other images than it picked")
        elif previous.round == record.round - 1 and not follows(record, previous):
            labels = record.labeled == (*previous.labeled, *record.picked)
            what = "its weights" if labels else "its labeled images"
            self.say(f"{name}/record.json", f"{what} do not follow from round {previous.round}")
        self._candidates(record, previous)
        self._losses(record)
        return bad

    def _candidates(self, record: RoundRecord, previous: RoundRecord | None) -> None:
        """That candidates.csv tells the same selection as the record."""
        name = f"{round_name(record.round)}/candidates.csv"
        try:
            rows = self.folder.candidates(record.round)
        except AlError:
            return  # not as it was written: said already
        before = set(previous.labeled) if previous else set()
        stages = {stage.name for stage in record.stages}
        if {row.image_id for row in rows if row.outcome in (PICKED, VALIDATES)} != set(record.picked):
            self.say(name, "its picked images are not those of the record")
        elif any(row.outcome == RESELECTED and row.image_id not in before for row in rows):
            self.say(name, "an image was selected again that was never labeled")
        elif any(row.outcome not in stages for row in rows if row.outcome not in (PICKED, RESELECTED, VALIDATES)):
            self.say(name, "it names a stage that is not in the record")

    def _losses(self, record: RoundRecord) -> None:
        """That the losses of the record are the means of those of the images. Whether these are right only the model tells."""
        said = [getattr(record, name) for name in LOSSES]
        if said == [None] * len(said) and IMAGE_LOSSES not in record.hashes:
            return
        name = round_name(record.round)
        try:
            rows = self.folder.image_losses(record.round)
        except AlError as error:
            if IMAGE_LOSSES not in record.hashes:  # else it was said already
                self.say(f"{name}/{IMAGE_LOSSES}", error.what)
            return
        every = np.array(rows, float).reshape(-1, len(said))
        for column, mean, values in zip(LOSSES, said, every.T, strict=True):
            now = float(values.mean()) if len(values) else nan
            if not (isnan(now) if mean is None else isclose(mean, now, abs_tol=CSV_ROUNDS)):
                self.say(f"{name}/record.json", f"{column} is {mean}, and the mean of {IMAGE_LOSSES} is {now:.4f}")

    def _again(self, record: RoundRecord, splits: Splits, evaluate: str, task: Task, bad: list[str]) -> None:
        """Evaluate the predictions again, and make the tables of the round again. `bad`: files that were said already."""
        name = round_name(record.round)
        if "predictions.npz" in bad:
            return
        try:
            made, metrics = rebuilt_tables(self.folder, record, splits, scored_split(splits, evaluate), task)
        except (AlError, ValueError, KeyError, TypeError, IndexError) as error:
            what = (
                error.what if isinstance(error, RunError) else f"cannot be evaluated on this data: {first_line(error)}"
            )
            self.say(f"{name}/predictions.npz", what)
            return
        self.found.evaluated += 1
        for metric in sorted(metrics.keys() | record.metrics.keys()):
            written, now = record.metrics.get(metric), metrics.get(metric)
            same = written == now if None in (written, now) else isclose(written, now, rel_tol=1e-9, abs_tol=1e-9)  # type: ignore[arg-type]
            if not same:
                self.say(f"{name}/record.json", f"{metric} is {written}, and the predictions give {now}")
        if record.boxes != task.count_labels(splits.train.select(record.labeled)):
            self.say(f"{name}/record.json", f"its number of {task.labels} is not that of its labeled images")
        for file, content in made.items():
            if file not in bad:
                self._compare(f"{name}/{file}", content)

    def _end(self, records: list[RoundRecord], config: dict[str, Any] | None) -> None:
        """That the run ended with the round that reached its `stop`."""
        try:
            stop = self.folder.stop() if config is not None else None
        except AlError:
            return  # the task cannot be read: said already
        if stop and (rounds := stop.rounds(records)) is not None and rounds <= records[-1].round:
            self.say(round_name(rounds), f"the run goes on, and by its configuration {stop.words(records)}")

    def _weights(self, records: list[RoundRecord], config: dict[str, Any] | None) -> None:
        keep = ((config or {}).get("training") or {}).get("keep_checkpoints") == "all"
        for record in records:
            name = f"{round_name(record.round)}/{CHECKPOINT}"
            there = (self.folder.path / name).is_file()
            if there:
                self.found.files += 1
            expected = there or keep or record is records[-1]
            if expected and CHECKPOINT in record.hashes and not self.folder.has_weights(record):
                self.say(name, CHANGED if there else MISSING)

    def _done(self, records: list[RoundRecord]) -> None:
        if not (self.folder.path / "done.json").exists():
            self.skip("the run is not finished: the rounds that it has were checked")
            return
        self.found.files += 1
        try:
            whole = len(self.folder.records()) == self.folder.rounds_marked
        except AlError:
            return  # said already
        if not self.folder.rounds_marked:
            self.say("done.json", "cannot be read")
        elif whole and not self.folder.is_sealed():
            done = self.folder.path / "done.json"
            self.say("config.yaml", f"is not what {done} is about, or that is not as it was written")
        for name in self.folder.lost_plots():
            self.say(f"plots/{name}", CHANGED if (self.folder.path / "plots" / name).is_file() else MISSING)
