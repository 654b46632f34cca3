"""What a command would do: its runs as a table, then what they would cost. Nothing is written or trained."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from al_cli.experiment.job import Job
from al_cli.progress import out, say
from al_cli.sweep.execute import rounds_done, state
from al_cli.sweep.forecast import forecast


def show(jobs: Sequence[Job], at_once: int = 1, source: str = "") -> None:
    """Print the runs and the forecast of their trainings, with `at_once` runs at a time."""
    for study in dict.fromkeys(job.folder.parent for job in jobs):
        say(f"{study}{f': {source}' if source else ''}")
    out.print(runs_table(jobs))
    for sentence in forecast(jobs).sentences(at_once):
        say(sentence)


def runs_table(jobs: Sequence[Job]) -> Table:
    """A row a run: arm, seed, sampler, rounds, and what lies on disk already."""
    table = Table()
    for column in ("arm", "seed", "sampler", "rounds", "on disk"):
        table.add_column(column, justify="right" if column in ("seed", "rounds") else "left", overflow="fold")
    for job in jobs:
        sampler = "all labels" if job.experiment.reference else str(job.config["sampler"]["name"])
        done, found = rounds_done(job), state(job)
        on_disk = {"new": "", "other": "a run of another configuration"}.get(found, found)
        if found in ("running", "failed", "stopped"):
            on_disk += f" after {done} of {job.rounds} trainings"
        table.add_row(job.arm, str(job.seed), sampler, str(job.rounds - 1), on_disk)
    return table
