"""A run and its rounds on disk.

    outputs/<study>/<run>/
      config.yaml environment.json    resolved configuration; versions, device, git revision
      task.json                       names, units and costs of what is measured (al_cli.tasks); detection where it is absent
      data.csv                        every image of pool, val and test with digests of its labels and bytes
      run.lock                        locked while a process works here
      round_00/record.json            written last: its presence means that the round is done
      round_00/timing.json            seconds and memory: apart, so that equal runs have equal records
      round_00/{metrics,per_class,losses,class_counts}.csv predictions.npz
      round_00/image_losses.csv       loss of each image that the round was scored on, where it was measured (`measure_loss`)
      round_00/selection.csv          the images this round labeled, in order, with their scores
      round_00/confusion.csv          images of each true and predicted class, where a label is a class of the image
      round_00/candidates.csv         every image it chose from: last score, and the stage that dropped it, or `picked`
      rounds.csv rounds.md            one row a round
      done.json | error.txt           how the last process that worked here ended

Every file is written whole or not at all. Knows nothing of how a round is computed. `reading` is the same run for reading.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from al_cli.errors import AlError, RunError
from al_cli.masked import hide
from al_cli.records.agree import keep_environment, keep_task, refuse, require_format, take_config, write_config
from al_cli.records.data import DataRecord, read_data_record
from al_cli.records.formats import content_hash, has_hash, json_text
from al_cli.records.reading import RunFiles
from al_cli.records.rounds import CHECKPOINT, Round, parse_record, record_text, round_files
from al_cli.system import lock, open_own, open_regular, read_regular, sha256, sync_names, write_atomic
from al_cli.tasks import Task, default
from al_cli.types import RoundRecord

log = logging.getLogger("al")

RUN_FILES = ("data.csv", "task.json")  # what belongs to all rounds and never changes: each record has their hashes
OTHER_DATA = "restore the data, or start again with run_name=NAME or study=NAME"


class RunFolder(RunFiles):
    """One run on disk. The constructor only names it, for reading; `create` makes it and keeps it to this process."""

    def __init__(self, path: Path | str):
        super().__init__(path)
        self._lock: int | None = None
        self._longer: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None  # what `lengthen` will write

    @classmethod
    def create(
        cls, path: Path | str, config: Mapping[str, Any], environment: Mapping[str, Any], task: Task | None = None
    ) -> RunFolder:
        """Make the folder, or take up an earlier run of the same configuration. Locked until `close`.

        `task` None is detection. A run that is asked for more rounds of the same (`compare`) stays as it is until `lengthen`.
        Raises RunError when another process works there, or when the folder holds a run of another configuration, task or
        version's format.
        """
        folder = cls(path)
        if folder.path.is_symlink():
            remedy = "remove the link, or give this run another name with run_name=NAME"
            raise RunError("a symbolic link lies where the run's folder should be", where=str(path), remedy=remedy)
        folder.path.mkdir(parents=True, exist_ok=True)
        folder._take_lock()
        try:
            require_format(folder)
            found = take_config(folder, config)
            if found == "other":
                refuse(folder, config)
            keep_task(folder, task or default())
            if found == "longer":
                folder._longer = config, environment
            else:
                if found == "new":
                    write_config(folder, config)
                keep_environment(folder, environment)
        except BaseException:
            folder.close()
            raise
        return folder

    @property
    def longer(self) -> bool:
        """Whether `create` was asked for more rounds than this run has, and `lengthen` has not been called yet."""
        return self._longer is not None

    def lengthen(self) -> None:
        """Give an earlier run the rounds that `create` was asked for. The caller has made sure that its finished rounds are
        the first of the longer run. A process that is killed midway leaves the earlier run, not marked as done."""
        if self._longer is not None:
            (self.path / "done.json").unlink(missing_ok=True)
            config, environment = self._longer
            write_config(self, config)
            keep_environment(self, environment)
            self._longer = None

    def require_data(self, now: DataRecord) -> None:
        """Write what the run's data is, before the first round is done; after it, `check_data`."""
        self.check_data(now)
        path = self.path / "data.csv"
        if not self.began or not self.is_intact(path):
            write_atomic(path, now.text)

    def check_data(self, now: DataRecord, remedy: str = OTHER_DATA) -> None:
        """RunError where a run with a finished round began with other data: its rounds would have paid for other images than
        later ones, or other runs, train on."""
        path = self.path / "data.csv"
        if not self.began:
            return
        if not self.is_intact(path):
            if content_hash(now.text) == self.recorded_hash(path):
                return
            what = "the record of the data is not as it was written, and the data here is not what the run began with"
            restore = "restore it, or give this run another name with run_name=NAME"
            raise RunError(what, where=str(path), remedy=restore)
        if what := read_data_record(path).difference(now):
            raise RunError(f"the data is not what this run began with: {what}", where=str(self.path), remedy=remedy)

    def close(self) -> None:
        """Let other processes work here."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- who works here, and how it ended

    @property
    def state(self) -> str:
        """`running` (another process holds the lock), `failed` (error.txt), `done`, or `stopped` in between."""
        if self._lock is None and self._is_locked():
            return "running"
        if (self.path / "error.txt").exists():
            return "failed"
        return "done" if self._is_done() else "stopped"

    def _is_done(self) -> bool:
        """Marked as done, and nobody has removed a round since or broken its record."""
        try:
            return 0 < self.rounds_marked <= len(self.records())
        except RunError:
            return False

    @property
    def error(self) -> str:
        """The first line of the failure, or nothing."""
        path = self.path / "error.txt"
        if not path.exists():
            return ""
        try:
            return read_regular(path).decode("utf-8", "replace").partition("\n")[0]
        except OSError as error:
            return f"error.txt cannot be read: {error.strerror}"

    def mark_done(self, plots: Sequence[Path] | None = None) -> None:
        """Write done.json; with the hashes of the plots once they are drawn."""
        self.clear_failure()
        drawn = {} if plots is None else {"plots": {path.name: sha256(path) for path in plots}}
        text = json_text(self._seal() | drawn)
        if not self.holds("done.json", text):
            write_atomic(self.path / "done.json", text)

    def mark_failed(self, error: BaseException) -> None:
        """Keep why it failed in error.txt; with a traceback unless it is a mistake that the user can correct."""
        if isinstance(error, AlError):
            text = f"{error}\n"
        else:
            first = f"{type(error).__name__}: {error}".partition("\n")[0]
            text = f"{first}\n\n{''.join(traceback.format_exception(error))}"
        write_atomic(self.path / "error.txt", hide(text))

    def clear_failure(self) -> None:
        (self.path / "error.txt").unlink(missing_ok=True)

    # ---- its rounds

    def checkpoint_path(self, round: int) -> Path:
        """Where the weights of a round go; makes the round's folder."""
        self.round_path(round).mkdir(parents=True, exist_ok=True)
        return self.round_path(round) / CHECKPOINT

    def drop_checkpoint(self, round: int) -> None:
        (self.round_path(round) / CHECKPOINT).unlink(missing_ok=True)

    def clean_unfinished(self) -> None:
        """Remove what a killed process left: rounds without a record and half-written files."""
        for path in sorted(self.path.glob("round_*")):
            if path.is_symlink() and path.name.removeprefix("round_").isdigit():
                log.warning("%s is a symbolic link, which al does not follow: the link is removed", path)
                path.unlink()
        folders = [path for path in self.path.glob("round_*") if path.is_dir() and not path.is_symlink()]
        for folder in (self.path, *folders):
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink()
        for path in folders:
            if path.name.removeprefix("round_").isdigit() and not (path / "record.json").exists():
                shutil.rmtree(path)

    def begin_round(self, round: int) -> Path:
        """An empty folder for a round. A finished one that is there is kept as `round_NN.orphan`."""
        path = self.round_path(round)
        if (path / "record.json").exists():
            self.set_aside(round)
        elif path.is_dir():
            shutil.rmtree(path)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def set_aside(self, round: int) -> None:
        """Keep a finished round that is no part of the run any more: it may be all that is left of it."""
        path = self.round_path(round)
        aside = _unused(path.with_name(f"{path.name}.orphan"))
        path.rename(aside)
        log.warning("what was %s is kept as %s", path.name, aside.name)

    def set_aside_from(self, round: int) -> list[int]:
        """`set_aside` this round and all after it; the numbers of those that were there."""
        later = [number for number in self.recorded_rounds() if number >= round]
        for number in later:
            self.set_aside(number)
        return later

    def write_round(self, done: Round) -> RoundRecord:
        """Write all of a round, its record last. Returns the record as `records` will read it, with the files' hashes.

        Raises ValueError if the rounds before it are not finished, or it is.
        """
        record, round = done.record, done.record.round
        finished = [self.record(earlier) for earlier in range(round) if self.is_finished(earlier)]
        if round != len(finished) or self.is_finished(round):
            count = len(self.recorded_rounds())
            raise ValueError(f"round {round} cannot be written after {count} finished rounds")
        folder = self.round_path(round)
        folder.mkdir(exist_ok=True)
        hashes = dict(record.hashes)
        for name, content in round_files(done, self.task()).items():
            write_atomic(folder / name, content)
            hashes[name] = content_hash(content)
        for path in (folder / CHECKPOINT, *(self.path / name for name in RUN_FILES)):
            if path.exists():
                hashes[path.name if path.parent == folder else f"../{path.name}"] = sha256(path)
        write_atomic(folder / "timing.json", json_text(done.timing))
        text = record_text(replace(record, hashes=hashes), self.task().label)
        stored = parse_record(text)
        self.write_tables([*finished, stored])
        write_atomic(folder / "record.json", text)
        sync_names(folder)
        self._drop_copies(round)
        return stored

    def _drop_copies(self, round: int) -> None:
        """Remove what was set aside of a round where the round, computed again, is the same to the byte."""
        now = self.round_path(round)
        for aside in sorted(self.path.glob(f"{now.name}.orphan*")):
            if aside.is_symlink() or not aside.is_dir():
                continue
            files = [path for path in aside.iterdir() if path.name != "timing.json"]
            unlike = {path.name for path in files if not has_hash(now / path.name, sha256(path))}
            # with the same record all files were once the same; without a readable record, all others must be
            if "record.json" not in unlike or unlike == {"record.json"}:
                log.info("%s held nothing else: it is removed", aside.name)
                shutil.rmtree(aside)

    def write_tables(self, records: Sequence[RoundRecord] | None = None) -> None:
        """rounds.csv (four decimals) and rounds.md (those of the task): one row a round, from the records."""
        for name, text in self.tables(self.records() if records is None else records).items():
            if not self.holds(name, text):
                write_atomic(self.path / name, text)

    def _take_lock(self) -> None:
        handle = open_own(self.path / "run.lock")
        for attempt in range(5):  # `al ls` holds it for an instant when it looks
            if lock(handle):
                self._lock = handle
                return
            if attempt < 4:
                time.sleep(0.1)
        os.close(handle)
        raise RunError(
            "another process is working on this run",
            where=str(self.path),
            remedy="wait for it, end it, or give this run another name with run_name=NAME",
        )

    def _is_locked(self) -> bool:
        try:
            with open_regular(self.path / "run.lock") as file:
                return not lock(file.fileno(), shared=True)
        except OSError:
            return False


def _unused(path: Path) -> Path:
    """This path, or the first numbered one after it that nothing has."""
    number = 1
    found = path
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}{number}")
    return found
