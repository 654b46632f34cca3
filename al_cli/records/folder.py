"""A run and its rounds on disk.

    outputs/<study>/<run>/
      config.yaml environment.json    resolved configuration; versions, device, git revision
      task.json                       names, units and costs of what is measured (al_cli.tasks); detection where it is absent
      data.csv                        every image of pool, val and test with digests of its labels and bytes
      run.lock                        locked while a process works here
      round_00/record.json            written last: its presence means that the round is done
      round_00/timing.json            seconds and memory: apart, so that equal runs have equal records
      round_00/{metrics,per_class,losses,class_counts}.csv predictions.npz
      round_00/selection.csv          the images this round labeled, in order, with their scores
      round_00/candidates.csv         every image it chose from: last score, and the stage that dropped it, or `picked`
      rounds.csv rounds.md            one row a round
      done.json | error.txt           how the last process that worked here ended

Every file is written whole or not at all. Knows nothing of how a round is computed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
import traceback
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import yaml

from al_cli.datasets.held_out import spelled_now
from al_cli.errors import AlError, RunError
from al_cli.records.data import DataRecord, read_data_record
from al_cli.records.formats import csv_text, json_text, load_predictions, markdown_text, read_csv
from al_cli.records.rounds import (
    PICKED,
    RESELECTED,
    Candidate,
    Round,
    parse_candidate,
    parse_record,
    record_text,
    round_columns,
    round_files,
    round_name,
    round_row,
    round_texts,
)
from al_cli.system import lock, write_atomic
from al_cli.tasks import DEFAULT, Task, default, described
from al_cli.types import LossPoint, Predictions, RoundRecord

log = logging.getLogger("al")

# Of the files described above. 2: COCO's own image ids, no data.csv; 1: no format number, oracles marked in a stage's name
RUN_FORMAT = 3
_YAML: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is 8 times faster where it exists


class RunFolder:
    """One run on disk. The constructor only names it, for reading; `create` makes it and keeps it to this process."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
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
        folder.path.mkdir(parents=True, exist_ok=True)
        folder._take_lock()
        try:
            folder._require_format()
            found = folder.compare(config) if (folder.path / "config.yaml").exists() else "new"
            if found == "other":
                folder._refuse(config)
            folder._write_task(task or default())
            if found == "longer":
                folder._longer = config, environment
            else:
                if found == "new":
                    folder._write_config(config)
                folder._write_environment(environment)
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
            self._write_config(config)
            self._write_environment(environment)
            self._longer = None

    def require_data(self, now: DataRecord) -> None:
        """Write what the run's data is, before the first round is done; after it, `check_data`."""
        if self.is_finished(0):
            self.check_data(now)
        else:
            write_atomic(self.path / "data.csv", now.text)

    def check_data(self, now: DataRecord) -> None:
        """RunError where a run with a finished round began with other data: its rounds would have paid for other images than
        later ones, or other runs, train on."""
        path = self.path / "data.csv"
        if self.is_finished(0) and (what := read_data_record(path).difference(now)):
            remedy = "restore the data, or start again with run_name=NAME or study=NAME"
            raise RunError(f"the data has changed since this run began: {what}", where=str(self.path), remedy=remedy)

    def compare(self, config: Mapping[str, Any]) -> Literal["same", "longer", "other"]:
        """What `config` is to the configuration here: the same; `longer` where it only asks for more rounds, with the same
        UD-splits and perhaps further ones; or another. RunError where the one here cannot be read."""
        old, new = self.config(), _as_stored(config)
        if old == new:
            return "same"
        rest = [{k: v for k, v in flatten(c).items() if k not in ("rounds", "ud_split")} for c in (old, new)]
        more = all(isinstance(c.get("rounds"), int) for c in (old, new)) and new["rounds"] > old["rounds"]
        before, now = old.get("ud_split"), new.get("ud_split")
        if isinstance(before, list) and isinstance(now, list):
            begins = now[: len(before)] == before
        else:
            begins = before == now
        return "longer" if rest[0] == rest[1] and more and begins and not new.get("reference") else "other"

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
        """Marked as done, and nobody has removed a round since."""
        path = self.path / "done.json"
        rounds = json.loads(path.read_text(encoding="utf-8"))["rounds"] if path.exists() else 0
        return rounds > 0 and all(self.is_finished(round) for round in range(rounds))

    @property
    def error(self) -> str:
        """The first line of the failure, or nothing."""
        path = self.path / "error.txt"
        return path.read_text(encoding="utf-8").partition("\n")[0] if path.exists() else ""

    def mark_done(self) -> None:
        self.clear_failure()
        write_atomic(self.path / "done.json", json_text({"rounds": len(self.records())}))

    def mark_failed(self, error: BaseException) -> None:
        """Keep why it failed in error.txt; with a traceback unless it is a mistake that the user can correct."""
        if isinstance(error, AlError):
            text = f"{error}\n"
        else:
            first = f"{type(error).__name__}: {error}".partition("\n")[0]
            text = f"{first}\n\n{''.join(traceback.format_exception(error))}"
        write_atomic(self.path / "error.txt", text)

    def clear_failure(self) -> None:
        (self.path / "error.txt").unlink(missing_ok=True)

    # ---- reading

    def config(self) -> dict[str, Any]:
        """The resolved configuration. RunError where there is none or it cannot be read."""
        path = self.path / "config.yaml"
        if not path.is_file():
            raise RunError("there is no run here", where=str(self.path), remedy="`al ls` lists the runs")
        try:
            content = yaml.load(path.read_text(encoding="utf-8"), _YAML)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunError(
                f"the configuration cannot be read: {error}", where=str(path), remedy="restore it"
            ) from error
        if not isinstance(content, dict):
            raise RunError("the configuration is not a mapping", where=str(path), remedy="restore it")
        return _spelled_now(content)

    def task(self) -> Task:
        """What the run measures, as it was when the run began; detection where no file says. RunError where it cannot
        be read."""
        path = self.path / "task.json"
        if not path.is_file():
            return default()
        try:
            return described(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
            remedy = "restore it, or run the same command again after deleting it"
            raise RunError(f"the task cannot be read: {error}", where=str(path), remedy=remedy) from error

    @property
    def total_rounds(self) -> int:
        """Rounds this run will have when done, the initial one included. RunError if the configuration names none."""
        if self.config().get("reference"):  # all labels at once
            return 1
        rounds = self.config().get("rounds")
        if not isinstance(rounds, int):
            raise RunError(f"`rounds` is {rounds!r}", where=str(self.path / "config.yaml"), remedy="restore it")
        return rounds + 1

    def is_finished(self, round: int) -> bool:
        return (self.round_path(round) / "record.json").exists()

    def written_at(self, round: int) -> datetime | None:
        """When the record of a round was written, with a zone; None for an unfinished round."""
        path = self.round_path(round) / "record.json"
        return datetime.fromtimestamp(path.stat().st_mtime).astimezone() if path.exists() else None

    def round_path(self, round: int) -> Path:
        return self.path / round_name(round)

    def checkpoint_path(self, round: int) -> Path:
        """Where the weights of a round go; makes the round's folder."""
        self.round_path(round).mkdir(parents=True, exist_ok=True)
        return self.round_path(round) / "checkpoint.pth"

    def weights(self, round: int) -> Path:
        """The checkpoint of a finished round. RunError where it is not kept."""
        path = self.round_path(round) / "checkpoint.pth"
        if not path.exists():
            remedy = "put the file back, or delete the run's folder: the same command then starts it again"
            raise RunError(f"the weights of round {round} are not there", where=str(path), remedy=remedy)
        return path

    def drop_checkpoint(self, round: int) -> None:
        (self.round_path(round) / "checkpoint.pth").unlink(missing_ok=True)

    def records(self) -> list[RoundRecord]:
        """The finished rounds, 0 up to the first that is not. RunError names a record that cannot be read."""
        found: list[RoundRecord] = []
        while self.is_finished(len(found)):
            found.append(_read_record(self.round_path(len(found)) / "record.json", len(found)))
        return found

    def predictions(self, round: int) -> Predictions:
        """What the round's model finds in the evaluation images. RunError for an unfinished round or a broken file."""
        if not self.is_finished(round):
            done = len(self.records())
            rounds = f"finished: 0 to {done - 1}" if done else "no round is finished yet"
            raise RunError(f"round {round} is not finished", where=str(self.path), remedy=rounds)
        path = self.round_path(round) / "predictions.npz"
        try:
            return load_predictions(path)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise RunError(f"predictions cannot be read: {error}", where=str(path), remedy=_redo(path)) from error

    def losses(self, round: int) -> list[LossPoint]:
        """The loss curve of a finished round; empty where the learner keeps none."""
        rows = read_csv(self.round_path(round) / "losses.csv")
        return [
            LossPoint(
                int(row["iteration"]), float(row["train_loss"]), float(row["val_loss"]) if row["val_loss"] else None
            )
            for row in rows
        ]

    def trained_on(self, round: int) -> tuple[int, ...]:
        """The images that a finished round chose, ascending: those it labeled and, where each round selects its training set
        from the whole pool, those labeled before that it selected again."""
        return tuple(c.image_id for c in self.candidates(round) if c.outcome in (PICKED, RESELECTED))

    def candidates(self, round: int) -> list[Candidate]:
        """Every image that a finished round chose from, by ascending id. RunError where that cannot be read."""
        path = self.round_path(round) / "candidates.csv"
        try:
            return [parse_candidate(row) for row in read_csv(path)]
        except (OSError, ValueError, KeyError) as error:
            raise RunError(f"the candidates cannot be read: {error}", where=str(path), remedy=_redo(path)) from error

    def timing(self, round: int) -> dict[str, Any]:
        """Seconds and memory of a round; empty where they cannot be read, for they are no part of a record."""
        return _read_mapping(self.round_path(round) / "timing.json")

    def environment(self) -> dict[str, Any]:
        """Versions, device and machine that the run began with; empty where they cannot be read."""
        return _read_mapping(self.path / "environment.json")

    def class_counts(self, round: int) -> dict[str, tuple[int, int]]:
        """Class name -> boxes among the round's picked images, and among all labeled so far."""
        rows = read_csv(self.round_path(round) / "class_counts.csv")
        return {row["class"]: (int(row["picked"]), int(row["labeled"])) for row in rows}

    # ---- writing

    def clean_unfinished(self) -> None:
        """Remove what a killed process left: rounds without a record and half-written files. A finished round after one that
        is not is renamed to `round_NN.orphan`: it cannot be continued from, and it may be all that is left of it."""
        done = len(self.records())
        folders = [path for path in sorted(self.path.glob("round_*")) if path.is_dir() and not path.is_symlink()]
        for folder in (self.path, *folders):
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink()
        for path in folders:
            number = path.name.removeprefix("round_")
            if not number.isdigit() or int(number) < done:
                continue
            if (path / "record.json").exists():
                aside = _unused(path.with_name(f"{path.name}.orphan"))
                log.warning("round %d is not finished, so %s is kept as %s", done, path.name, aside.name)
                path.rename(aside)
            else:
                shutil.rmtree(path)

    def write_round(self, done: Round) -> RoundRecord:
        """Write all of a round, its record last. Returns the record as `records` will read it, with the files' hashes.

        Raises ValueError if the round is not the next one.
        """
        record, finished = done.record, self.records()
        if record.round != len(finished):
            raise ValueError(f"round {record.round} cannot be written after {len(finished)} finished rounds")
        folder = self.round_path(record.round)
        folder.mkdir(exist_ok=True)
        hashes = dict(record.hashes)
        for name, content in round_files(done, self.task()).items():
            write_atomic(folder / name, content)
            hashes[name] = hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
        write_atomic(folder / "timing.json", json_text(done.timing))
        text = record_text(replace(record, hashes=hashes))
        stored = parse_record(text)
        self.write_tables([*finished, stored])
        write_atomic(folder / "record.json", text)
        return stored

    def write_tables(self, records: Sequence[RoundRecord] | None = None) -> None:
        """rounds.csv (four decimals) and rounds.md (those of the task): one row a round, from the records."""
        records, task = self.records() if records is None else records, self.task()
        columns = round_columns(task)
        write_atomic(self.path / "rounds.csv", csv_text(columns, [round_row(record, task) for record in records]))
        write_atomic(self.path / "rounds.md", markdown_text(columns, [round_texts(record, task) for record in records]))

    def _take_lock(self) -> None:
        handle = os.open(self.path / "run.lock", os.O_RDWR | os.O_CREAT, 0o644)
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
            handle = os.open(self.path / "run.lock", os.O_RDONLY)
        except OSError:
            return False
        try:
            return not lock(handle, shared=True)
        finally:
            os.close(handle)

    def _write_config(self, config: Mapping[str, Any]) -> None:
        write_atomic(self.path / "config.yaml", _yaml_text(config))

    def _refuse(self, config: Mapping[str, Any]) -> None:
        """RunError that says what differs from the configuration here."""
        old, new = flatten(self.config()), flatten(_as_stored(config))
        absent = "nothing"
        changed = {
            key: f"{key} was {old.get(key, absent)} and is now {new.get(key, absent)}"
            for key in sorted(old.keys() | new.keys())
            if (key in old, old.get(key)) != (key in new, new.get(key))
        }
        what = f"this folder holds a run of another configuration: {'; '.join(changed.values())}"
        if "rounds" in changed and changed.keys() <= {"rounds", "ud_split"}:
            if new.get("reference"):
                what = f"a reference trains once, for as many steps as its number of rounds says: {changed['rounds']}"
            elif new["rounds"] < old["rounds"]:
                what = f"a run can take more rounds, but not fewer: {changed['rounds']}"
        remedy = "give this one another run_name=NAME or study=NAME, or delete the folder"
        raise RunError(what, where=str(self.path), remedy=remedy)

    def _write_task(self, task: Task) -> None:
        """Written once. The configuration names the task too, so what differs here is a Task that was edited since."""
        path = self.path / "task.json"
        if not path.exists():
            write_atomic(path, json_text(task.describe()))
        elif not task.like(self.task()):
            raise RunError(
                f"this folder holds a run that measured {', '.join(self.task().metric_names)}, and task {task.name} measures "
                f"{', '.join(task.metric_names)} now",
                where=str(path),
                remedy="give this one another run_name=NAME or study=NAME, or delete the folder",
            )

    @property
    def format(self) -> int:
        """The format of the files of this run: 1 where they do not say. Any format is read; only this version's is written."""
        return int(self.environment().get("format", 1))

    def _require_format(self) -> None:
        begun = (self.path / "environment.json").exists() or self.is_finished(0)
        if begun and self.format != RUN_FORMAT:
            raise RunError(
                f"this run was written by another version of al (format {self.format}; this version writes {RUN_FORMAT}), "
                "so it can be read but not continued",
                where=str(self.path),
                remedy="give this one another run_name=NAME or study=NAME, or delete the folder",
            )

    def _write_environment(self, environment: Mapping[str, Any]) -> None:
        """The first environment stays; a run that continues in another one says what differs and keeps that one next to it."""
        first, now = self.path / "environment.json", {"format": RUN_FORMAT, **environment}
        if not first.exists():
            write_atomic(first, json_text(now))
            return
        before, after = flatten(self.environment()), flatten(json.loads(json_text(now)))
        changed = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
        if changed:
            name = f"environment_{round_name(len(self.records()))}.json"
            write_atomic(self.path / name, json_text(now))
        if changed := [key for key in changed if key not in ("command", "gpus")]:
            listed = "; ".join(f"{key} was {before.get(key)}, is {after.get(key)}" for key in changed)
            log.warning("%s continues in another environment: %s (%s)", self.path, listed, name)


def _yaml_text(config: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)


def _as_stored(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as config.yaml gives it back."""
    return _spelled_now(yaml.load(_yaml_text(config), _YAML))


def _spelled_now(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a run of any version in today's settings."""
    now = {"task": DEFAULT} | config
    if isinstance(dataset := now.get("dataset"), dict):
        now = {"evaluate": "test"} | now | {"dataset": spelled_now(dataset)}
    return now


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}. Lists are values; an empty mapping is a value too."""
    if not isinstance(config, Mapping) or not config:
        return {prefix: config}
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _read_mapping(path: Path) -> dict[str, Any]:
    """The JSON object of a file; empty where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_record(path: Path, round: int) -> RoundRecord:
    try:
        record = parse_record(path.read_text(encoding="utf-8"))
        if record.round != round:
            raise ValueError(f"it is the record of round {record.round}")
    except (ValueError, TypeError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise RunError(f"the record cannot be read: {error}", where=str(path), remedy=_redo(path)) from error
    return record


def _unused(path: Path) -> Path:
    """This path, or the first numbered one after it that nothing has."""
    number = 1
    found = path
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}{number}")
    return found


def _redo(path: Path) -> str:
    return f"delete {path.parent} and run the same command again: it computes this round and those after it once more"
