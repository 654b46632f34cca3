"""Whether a run on disk is the one that is asked for: its format, configuration, task and environment. What is lost of them is
written again; another run is refused with the reason.

Knows no rounds and takes no lock: `folder.RunFolder.create` does.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Literal, NoReturn

from al_cli.errors import RunError
from al_cli.records.formats import content_hash, has_hash, json_text
from al_cli.records.reading import RUN_FORMAT, RunFiles, read_mapping
from al_cli.records.rounds import round_name
from al_cli.records.settings import as_stored, config_text, flatten, why_other
from al_cli.system import write_atomic
from al_cli.tasks import Task

log = logging.getLogger("al")


def take_config(run: RunFiles, config: Mapping[str, Any]) -> Literal["new", "same", "longer", "other"]:
    """What `config` is to the configuration here; `new` where there is none yet. One that was lost is written again where
    done.json says that it was this one; else RunError where rounds were finished with it."""
    path, text = run.path / "config.yaml", config_text(config)
    digest = content_hash(text)
    if read_mapping(run.path / "done.json").get(path.name) == digest and not has_hash(path, digest):
        log.warning("%s was not as it was written: it is written again", path)
        write_atomic(path, text)
    if path.exists():
        return run.compare(config)
    if run.began:
        what = "the configuration of this run is not there, so nobody can tell what its finished rounds are of"
        raise RunError(what, where=str(path), remedy="restore it, or start again with run_name=NAME or study=NAME")
    return "new"


def write_config(run: RunFiles, config: Mapping[str, Any]) -> None:
    """Make this the configuration of the run."""
    write_atomic(run.path / "config.yaml", config_text(config))


def refuse(run: RunFiles, config: Mapping[str, Any]) -> NoReturn:
    """RunError that says what differs from the configuration here."""
    remedy = "give this one another run_name=NAME or study=NAME, or delete the folder"
    raise RunError(why_other(as_stored(config), run.config()), where=str(run.path), remedy=remedy)


def keep_task(run: RunFiles, task: Task) -> None:
    """Write task.json once. The configuration names the task too, so what differs here is a Task that was edited since.

    A run that began with fewer metrics goes on with these in its tables; the records of its later rounds have all.
    """
    path, text = run.path / "task.json", json_text(task.describe())
    if run.is_intact(path):
        if not task.covers(before := run.task()):
            raise RunError(
                f"this folder holds a run that measured {', '.join(before.metric_names)}, and task {task.name} measures "
                f"{', '.join(task.metric_names)} now",
                where=str(path),
                remedy="give this one another run_name=NAME or study=NAME, or delete the folder",
            )
        return
    if run.recorded_hash(path) not in (None, content_hash(text)):
        what = f"the task of this run is not as it was written, and task {task.name} is not what it began with"
        raise RunError(what, where=str(path), remedy="restore it, or give this one another run_name=NAME")
    if run.began:
        log.warning("%s was not as it was written: it is written again", path)
    write_atomic(path, text)


def require_format(run: RunFiles) -> None:
    """RunError where another version of al wrote the run."""
    begun = (run.path / "environment.json").exists() or run.began
    if begun and run.format != RUN_FORMAT:
        raise RunError(
            f"this run was written by another version of al (format {run.format}; this version writes {RUN_FORMAT}), "
            "so it can be read but not continued",
            where=str(run.path),
            remedy="give this one another run_name=NAME or study=NAME, or delete the folder",
        )


def keep_environment(run: RunFiles, environment: Mapping[str, Any]) -> None:
    """The first environment stays; a run that continues in another one says what differs and keeps that one next to it."""
    first, now = run.path / "environment.json", {"format": RUN_FORMAT, **environment}
    if not run.environment():
        if run.began:
            log.warning("%s could not be read: it now says where this process runs, not where the run began", first)
        write_atomic(first, json_text(now))
        return
    before, after = flatten(run.environment()), flatten(json.loads(json_text(now)))
    changed = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
    if changed:
        name = f"environment_{round_name(len(run.readable_records()))}.json"
        write_atomic(run.path / name, json_text(now))
    if changed := [key for key in changed if key not in ("command", "gpus")]:
        listed = "; ".join(f"{key} was {before.get(key)}, is {after.get(key)}" for key in changed)
        log.warning("%s continues in another environment: %s (%s)", run.path, listed, name)
