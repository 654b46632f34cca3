"""Which runs lie under a folder, and how far each one is: what `al ls` and `al report` start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from al_cli.errors import RunError
from al_cli.records.folder import RunFolder
from al_cli.tasks import Task


@dataclass(frozen=True)
class RunSummary:
    """One run at a glance. `best` is the best value of its task's primary metric, None before the first round is done; `task`
    is None where the run cannot be read; `error` is why it failed, or nothing."""

    path: Path
    state: str  # done | running | failed | stopped
    rounds_done: int
    rounds_total: int
    best: float | None
    task: Task | None
    error: str = ""


def find_runs(root: Path | str) -> list[RunSummary]:
    """Every run at or below this folder, sorted by path; none where the folder does not exist.

    A run is a folder with config.yaml and run.lock. One that cannot be read is listed as failed, with the reason: a
    broken run must not hide the others.
    """
    return [summarize(path) for path in folders_below(Path(root), _is_run)]


def _is_run(path: Path) -> bool:
    return (path / "config.yaml").is_file() and (path / "run.lock").exists()


def folders_below(root: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    """Each folder at or below this one that is `wanted`, once, sorted by path; nothing is looked for inside of one.

    A symbolic link may lead anywhere, to where it lies too. So behind one only the folder and those in it are looked at.
    """
    found: dict[Path, Path] = {}  # where it really lies -> what it is called here

    def look(folder: Path, behind: int) -> None:
        if wanted(folder):
            found.setdefault(folder.resolve(), folder)
        elif behind < 2 and folder.is_dir():
            children = [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]
            for child in sorted(children, key=lambda child: (child.is_symlink(), child)):  # its own name comes first
                if not (behind and child.is_symlink()):
                    look(child, behind + 1 if behind or child.is_symlink() else 0)

    look(root, 0)
    return sorted(found.values())


def summarize(path: Path) -> RunSummary:
    """The summary of one run folder."""
    folder = RunFolder(path)
    try:
        total = folder.total_rounds
        records = folder.records()
        task = folder.task()
    except RunError as error:
        return RunSummary(path, "failed", 0, 0, None, None, str(error))
    values = [value for record in records if (value := record.metrics.get(task.primary.name)) is not None]
    return RunSummary(path, folder.state, len(records), total, max(values, default=None), task, folder.error)
