"""A run on disk, for reading: its settings, its records, and the files of its rounds, verified by the hashes in the records.

`folder.RunFolder` is the same run for a process that works on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, Literal

from al_cli.errors import RunError
from al_cli.records.formats import (
    content_hash,
    csv_text,
    has_hash,
    markdown_text,
)
from al_cli.records.round_tables import RoundTables, once_more
from al_cli.records.rounds import (
    CHECKPOINT,
    before,
    measured,
    parse_record,
    round_columns,
    round_row,
    round_texts,
    shown_columns,
)
from al_cli.records.settings import as_stored, parse_config, what_is
from al_cli.records.stop import Stop, stop_of
from al_cli.system import read_regular, sha256
from al_cli.tasks import Task, described, earliest
from al_cli.types import RoundRecord

# Of the files that `folder` lists. 2: COCO's own image ids, no data.csv; 1: no format number, oracles marked in a stage's name
RUN_FORMAT = 3
DIGESTS_SINCE = 3  # the format in which a record began to hold its own digest


class RunFiles(RoundTables):
    """One run on disk. Nothing is read before it is asked for; what can be checked is checked whenever it is read."""

    def __init__(self, path: Path | str):
        self.path = Path(path)

    def config(self) -> dict[str, Any]:
        """The resolved configuration. RunError where there is none or it cannot be read."""
        path = self.path / "config.yaml"
        if not path.is_file():
            raise RunError("there is no run here", where=str(self.path), remedy="`al ls` lists the runs")
        try:
            return parse_config(read_regular(path))
        except OSError as error:
            raise RunError(f"the configuration cannot be read: {error.strerror}", where=str(path)) from error
        except ValueError as error:
            raise RunError(str(error), where=str(path), remedy="restore it") from error

    def compare(self, config: Mapping[str, Any]) -> Literal["same", "longer", "other"]:
        """What `config` is to the configuration here (`what_is`). RunError where that cannot be read. Whether the data is the
        same is for `RunFolder.check_data` to say."""
        return what_is(as_stored(config), self.config())

    def task(self) -> Task:
        """What the run measures, as it was when the run began; detection where no file says. RunError where it cannot
        be read."""
        path = self.path / "task.json"
        if not path.is_file():
            return earliest()
        try:
            return described(json.loads(read_regular(path)))
        except (OSError, ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
            remedy = "restore it, or give the command of this run again: it writes the task again"
            raise RunError(f"the task cannot be read: {error}", where=str(path), remedy=remedy) from error

    @property
    def total_rounds(self) -> int:
        """Rounds this run will have when done, the initial one included: the most, until it reaches its `stop`. RunError if
        the configuration names none."""
        config = self.config()
        if config.get("reference"):  # all labels at once
            return 1
        rounds = config.get("rounds")
        if not isinstance(rounds, int):
            raise RunError(f"`rounds` is {rounds!r}", where=str(self.path / "config.yaml"), remedy="restore it")
        stop = self.stop()
        return (stop and stop.rounds(self.readable_records())) or rounds + 1

    def stop(self) -> Stop | None:
        """The value that ends this run before its last round, where it has one."""
        return stop_of(self.config(), self.task())

    @property
    def why_ended(self) -> str:
        """`stopped at METRIC 21.93 >= 21.7 after round 6`, where a value ended the run; else nothing."""
        stop = self.stop()
        return stop.words(self.readable_records()) if stop else ""

    def environment(self) -> dict[str, Any]:
        """Versions, device and machine that the run began with; empty where they cannot be read."""
        return read_mapping(self.path / "environment.json")

    @property
    def format(self) -> int:
        """The format of the files of this run: 1 where they do not say. Any format is read; only this version's is written."""
        said = self.environment().get("format")
        number = said if isinstance(said, int) else 1
        return DIGESTS_SINCE if number < DIGESTS_SINCE and self._has_digests() else number

    def _has_digests(self) -> bool:
        """Whether a record holds its own digest."""
        paths = (self.round_path(round) / "record.json" for round in self.recorded_rounds())
        return any(path.is_file() and b'"digest": ' in read_regular(path) for path in paths)

    @property
    def rounds_marked(self) -> int:
        """How many rounds done.json says there are; 0 where it is not there or cannot be read."""
        rounds = read_mapping(self.path / "done.json").get("rounds")
        return rounds if isinstance(rounds, int) else 0

    def is_sealed(self) -> bool:
        """Whether done.json says what it should, the plots left out."""
        content = read_mapping(self.path / "done.json")
        content.pop("plots", None)
        return content == self._seal()

    def _seal(self) -> dict[str, Any]:
        """What done.json says of the run: how many rounds, and the hash of its configuration."""
        path = self.path / "config.yaml"
        return {"rounds": len(self.records())} | ({path.name: sha256(path)} if path.is_file() else {})

    @property
    def has_plots(self) -> bool:
        """Whether done.json says that the pictures of this run were drawn."""
        return isinstance(read_mapping(self.path / "done.json").get("plots"), dict)

    def lost_plots(self) -> list[str]:
        """The pictures that were drawn and are not as they were written."""
        plots = read_mapping(self.path / "done.json").get("plots")
        drawn = plots.items() if isinstance(plots, dict) else ()
        return [name for name, digest in drawn if "/" in name or not has_hash(self.path / "plots" / name, digest)]

    def holds(self, name: str, content: str | bytes) -> bool:
        """Whether a file of the run has this content."""
        return has_hash(self.path / name, content_hash(content))

    def tables(self, records: Sequence[RoundRecord]) -> dict[str, str]:
        """File name -> content of the tables of the whole run."""
        task = self.task()
        also = measured(records)
        return {
            "rounds.csv": csv_text(round_columns(task, also), [round_row(record, task, also) for record in records]),
            "rounds.md": markdown_text(
                shown_columns(task, also), [round_texts(record, task, also) for record in records]
            ),
        }

    @property
    def began(self) -> bool:
        """Whether a round was finished here, and be it one after a gap."""
        return bool(self.recorded_rounds())

    def recorded_rounds(self) -> list[int]:
        """The numbers of all rounds that have a record, readable or not, ascending."""
        paths = (path.parent for path in self.path.glob("round_*/record.json") if not path.parent.is_symlink())
        numbers = (path.name.removeprefix("round_") for path in paths)
        return sorted(int(number) for number in numbers if number.isdigit())

    def record(self, round: int) -> RoundRecord:
        """The record of one round. RunError where it is not there, cannot be read, or is not as it was written."""
        path = self.round_path(round) / "record.json"
        try:
            stat = path.stat()
        except OSError as error:
            raise RunError(f"round {round} is not finished", where=str(self.path), remedy=once_more(round)) from error
        return _read_record(path, round, (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))

    def records(self) -> list[RoundRecord]:
        """The finished rounds, 0 up to the first that is not. RunError names a record that cannot be read."""
        return list(self._in_order())

    def readable_records(self) -> list[RoundRecord]:
        """The same, up to the first that cannot be read: what a run that goes on need not compute again, at least."""
        found: list[RoundRecord] = []
        with suppress(RunError):
            found.extend(self._in_order())
        return found

    def _in_order(self) -> Iterator[RoundRecord]:
        for round in count():
            if not self.is_finished(round):
                return
            yield self.record(round)

    def damaged(self, record: RoundRecord) -> list[str]:
        """The files of a round, and of the run where they belong to all rounds, that are missing or not as they were written.
        Weights are left out: they need not be kept."""
        names = [name for name in sorted(record.hashes) if not name.endswith(CHECKPOINT)]
        folder = self.round_path(record.round)
        return [name for name in names if not has_hash(folder / name, record.hashes[name])]

    def recorded_hash(self, path: Path) -> str | None:
        """The hash that a file of the whole run had when a round was written; None where no record tells."""
        for round in self.recorded_rounds():
            try:
                return self.record(round).hashes.get(f"../{path.name}")
            except RunError:
                continue
        return None

    def is_intact(self, path: Path) -> bool:
        """Whether a file of the whole run is there, as it was when the rounds were written."""
        return path.is_file() if (digest := self.recorded_hash(path)) is None else has_hash(path, digest)

    def timing(self, round: int) -> dict[str, Any]:
        """Seconds and memory of a round; empty where they cannot be read, for they are no part of a record."""
        return read_mapping(self.round_path(round) / "timing.json")

    def weights(self, round: int) -> Path:
        """The checkpoint of a finished round. RunError where it is not kept."""
        path = self.round_path(round) / CHECKPOINT
        if not path.exists():
            remedy = "put the file back, or give the command of this run again: it trains what it needs again"
            raise RunError(f"the weights of round {round} are not there", where=str(path), remedy=remedy)
        return path

    def has_weights(self, record: RoundRecord) -> bool:
        """Whether the weights of this round are here, as they were written."""
        path = self.round_path(record.round) / CHECKPOINT
        return has_hash(path, record.hashes[CHECKPOINT]) if CHECKPOINT in record.hashes else path.is_file()

    def weights_before(self, round: int) -> dict[str, str]:
        """The hash of the weights that lie in the folder of the round before this one, by the name that records give it."""
        path = self.round_path(round - 1) / CHECKPOINT
        return {before(round): sha256(path)} if round and path.exists() else {}


def read_mapping(path: Path) -> dict[str, Any]:
    """The JSON object of a file; empty where there is none."""
    try:
        content = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


@lru_cache(maxsize=2048)  # a report asks for each record several times
def _read_record(path: Path, round: int, state: tuple[int, ...]) -> RoundRecord:
    """The record in a file of that state (device, inode, size, times)."""
    try:
        record = parse_record(read_regular(path).decode())
        if record.round != round:
            raise ValueError(f"it is the record of round {record.round}")
    except (
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        RecursionError,
    ) as error:  # broken JSON: ValueError
        raise RunError(f"the record cannot be read: {error}", where=str(path), remedy=once_more(round)) from error
    return record
