"""study.json: what a study is, next to its runs. A sweep writes it before it starts; `al report` reads it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from al_cli.errors import RunError
from al_cli.records.formats import json_text
from al_cli.records.seal import Seal, parse_seal
from al_cli.system import lock, open_own, read_regular, write_atomic

STUDY_FILE = "study.json"


@dataclass(frozen=True)
class StudyFile:
    """`arms`: name -> overrides of its runs, in order. `claim` is as written (`records.claim` parses it); earlier versions
    left it without a `seal`. `changed`: sealed arms that a later command ran with other settings. Times are ISO 8601 with a
    zone. All is empty where no sweep wrote the study."""

    name: str = ""
    source: str = ""
    arms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    reference: bool = False
    claim: Mapping[str, Any] | None = None
    claim_written_at: str | None = None
    seal: Seal | None = None
    changed: tuple[str, ...] = ()
    written_at: str = ""
    command: str = ""


def read_study_file(folder: Path) -> StudyFile:
    """What study.json of this folder says; an empty one where there is none. RunError where it cannot be read."""
    path = folder / STUDY_FILE
    if not path.is_file():
        return StudyFile()
    try:
        content = json.loads(read_regular(path))
        return StudyFile(
            name=content.get("name") or "",
            source=content.get("source") or "",
            arms={arm["name"]: tuple(arm.get("overrides") or ()) for arm in content.get("arms", ())},
            seeds=tuple(content.get("seeds", ())),
            reference=bool(content.get("reference")),
            claim=content.get("claim"),
            claim_written_at=content.get("claim_written_at"),
            seal=parse_seal(content.get("seal")),
            changed=tuple(content.get("changed") or ()),
            written_at=content.get("written_at") or "",
            command=content.get("command") or "",
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        remedy = "delete it: the sweep's command writes it again"
        raise RunError(f"{STUDY_FILE} cannot be read: {error}", where=str(path), remedy=remedy) from error


def update_study_file(folder: Path, change: Callable[[StudyFile], StudyFile]) -> StudyFile:
    """Write what `change` makes of the present content, and return it. Alone: another process that updates it waits."""
    folder.mkdir(parents=True, exist_ok=True)
    with os.fdopen(open_own(folder / ".study.lock"), "wb") as file:
        lock(file.fileno(), wait=True)
        content = change(read_study_file(folder))
        arms = [{"name": name, "overrides": list(overrides)} for name, overrides in content.arms.items()]
        write_atomic(folder / STUDY_FILE, json_text(asdict(content) | {"arms": arms}))
    return content


def arm_of(run: str) -> str:
    """The name of a run without its seed: `ccms_s10` is a run of `ccms`."""
    return re.sub(r"_s\d+$", "", run)
