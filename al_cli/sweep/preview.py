"""What a sweep would do: its runs as a table, then what they would cost. Nothing is written or trained."""

from __future__ import annotations

from rich.table import Table

from al_cli.progress import out as console
from al_cli.sweep.execute import rounds_done, state
from al_cli.sweep.file import REFERENCE
from al_cli.sweep.forecast import forecast
from al_cli.sweep.plan import Job, Study


def show(study: Study, at_once: int = 1) -> None:
    """Print the runs of a study and the forecast of its trainings, with `at_once` runs at a time."""
    source = study.sweep.source
    console.print(f"{study.folder}{f': {source}' if source else ''}", highlight=False, soft_wrap=True, markup=False)
    console.print(runs_table(study.jobs))
    for sentence in forecast(study.jobs).sentences(at_once):
        console.print(sentence, highlight=False, soft_wrap=True)


def runs_table(jobs: tuple[Job, ...]) -> Table:
    """A row a run: arm, seed, sampler, rounds, and what lies on disk already."""
    table = Table()
    for column in ("arm", "seed", "sampler", "rounds", "on disk"):
        table.add_column(column, justify="right" if column in ("seed", "rounds") else "left", overflow="fold")
    for job in jobs:
        sampler = "all labels" if job.arm == REFERENCE else str(job.config.sampler.name)
        done, found = rounds_done(job), state(job)
        told = {"new": "", "other": "a run of another configuration"}.get(found, found)
        if found in ("running", "failed", "stopped"):
            told += f" after {done} of {job.rounds} trainings"
        table.add_row(job.arm, str(job.seed), sampler, str(job.rounds - 1), told)
    return table
