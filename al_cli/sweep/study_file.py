"""study.json: what a study is, beside its runs, for `al report`. Written when a sweep starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from al_cli.errors import RunError
from al_cli.records.files import json_text
from al_cli.sweep.file import REFERENCE
from al_cli.sweep.plan import Study
from al_cli.system import lock, write_atomic

NAME = "study.json"


def now() -> str:
    """This second in the local time zone, as ISO 8601 with its offset from UTC."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def write(study: Study, clock: Callable[[], str] = now) -> dict[str, Any]:
    """Write what the study is, and return it.

    A claim keeps the time it was first written at for as long as it says the same. Arms, seeds and reference of earlier
    commands stay listed where runs of theirs lie here, so that a study can be run in parts (`arms=[a]`, `seeds=[3]`).
    Safe with several sweeps of the study at once.
    """
    study.folder.mkdir(parents=True, exist_ok=True)
    with (study.folder / ".study.lock").open("w") as file:
        lock(file.fileno(), wait=True)
        content = _merged(study, read(study.folder) or {}, clock())
        write_atomic(study.folder / NAME, json_text(content))
    return content


def read(folder: Path) -> dict[str, Any] | None:
    """What study.json of this folder says; None where there is none. RunError where it cannot be read."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is no mapping")
    except ValueError as error:
        remedy = "delete it; a sweep writes it anew"
        raise RunError(f"{NAME} cannot be read: {error}", where=str(path), remedy=remedy) from error
    return content


def _merged(study: Study, before: dict[str, Any], time: str) -> dict[str, Any]:
    asked = {arm.name: {"name": arm.name, "overrides": list(arm.overrides)} for arm in study.arms}
    earlier = {arm["name"]: arm for arm in before.get("arms", []) if list(study.folder.glob(f"{arm['name']}_s*"))}
    order = [arm.name for arm in study.sweep.arms]
    arms = sorted(
        (earlier | asked).values(), key=lambda arm: order.index(arm["name"]) if arm["name"] in order else len(order)
    )
    seeds = list(study.seeds)
    seeds += [s for s in before.get("seeds", []) if s not in seeds and list(study.folder.glob(f"*_s{s}"))]
    claim = dict(study.sweep.claim) if study.sweep.claim else None
    same = claim is not None and before.get("claim") == claim
    return {
        "name": study.name,
        "source": study.sweep.source,
        "arms": arms,
        "seeds": sorted(seeds),
        "reference": study.reference or bool(list(study.folder.glob(f"{REFERENCE}_s*"))),
        "claim": claim,
        "claim_written_at": before.get("claim_written_at") if same else (time if claim else None),
        "written_at": time,
        "command": study.command,
    }
