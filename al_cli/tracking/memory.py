"""What a run remembers of a tracker between processes: its name there, and which rounds it has sent."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from al_cli.errors import RunError
from al_cli.records.formats import json_text
from al_cli.system import read_regular, write_atomic


class Memory:
    """`{"id": ..., "rounds": [...]}` in one file. The id is made once, so that a continued run is found again."""

    def __init__(self, path: Path):
        self.path = path
        self.id, self.rounds = uuid.uuid4().hex, set[int]()
        if not path.exists():
            self._write()
            return
        try:
            content = json.loads(read_regular(path))
            self.id, self.rounds = str(content["id"]), {int(round) for round in content["rounds"]}
        except (ValueError, TypeError, KeyError) as error:
            remedy = "delete it; the rounds are then logged again, as another run"
            raise RunError(f"the tracker's file cannot be read: {error!r}", where=str(path), remedy=remedy) from error

    def add(self, round: int) -> None:
        self.rounds.add(round)
        self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(exist_ok=True)
        write_atomic(self.path, json_text({"id": self.id, "rounds": sorted(self.rounds)}))
