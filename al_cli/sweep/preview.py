"""What a command would do: its runs as a table, then what they would cost. Nothing is written or trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from al_cli.experiment.effective import training_in_words
from al_cli.experiment.job import Job
from al_cli.progress import listing, out, say
from al_cli.sweep.check import dataset_key
from al_cli.sweep.execute import rounds_done, state
from al_cli.sweep.forecast import forecast
from al_cli.types import Splits

OF_A_TRAINING = ("dataset", "model", "training", "initial", "budget", "budget_unit", "rounds", "reference")


def show(jobs: Sequence[Job], at_once: int = 1, source: str = "") -> None:
    """Print the runs and the forecast of their trainings, with `at_once` runs at a time."""
    for study in dict.fromkeys(job.folder.parent for job in jobs):
        say(f"{study}{f': {source}' if source else ''}")
    states = {job.folder: state(job) for job in jobs}
    out.print(runs_table(jobs, states))
    able = [job for job in jobs if states[job.folder] != "other"]
    if refused := len(jobs) - len(able):
        runs = "1 run" if refused == 1 else f"{refused} runs"
        say(f"{runs} would be refused: the folder holds another run. study=NAME or run_name=NAME gives a new one.")
    read: dict[str, Splits] = {}
    sentences = forecast(able, read).sentences(at_once) if able else []
    for sentence in (*trainings_in_words(able, read), *sentences):
        say(sentence)


def trainings_in_words(jobs: Sequence[Job], read: Mapping[str, Splits]) -> list[str]:
    """A line for each recipe: how the trainings of these runs go, and of which arms where they differ. `read`: the data of
    those that still train something."""
    arms: dict[str, dict[str, None]] = {}
    said: dict[str, str] = {}
    for job in jobs:
        if (splits := read.get(dataset_key(job))) is None:
            continue
        about = repr([job.config[key] for key in OF_A_TRAINING])
        if about not in said:
            said[about] = training_in_words(job.experiment, len(splits.train))
        if words := said[about]:
            arms.setdefault(words, {})[job.arm] = None
    if len(arms) == 1:
        return [f"Each training: {next(iter(arms))}."]
    return [f"Each training of {listing(names)}: {words}." for words, names in arms.items()]


def runs_table(jobs: Sequence[Job], states: Mapping[Path, str]) -> Table:
    """A row a run: arm, seed, sampler, rounds, and what lies on disk already: the state of each folder."""
    table = Table()
    for column in ("arm", "seed", "sampler", "rounds", "on disk"):
        table.add_column(column, justify="right" if column in ("seed", "rounds") else "left", overflow="fold")
    for job in jobs:
        sampler = "all labels" if job.experiment.reference else str(job.config["sampler"]["name"])
        done, found = rounds_done(job), states[job.folder]
        on_disk = {"new": "", "other": "a run of another configuration or version"}.get(found, found)
        if found in ("running", "failed", "stopped"):
            on_disk += f" after {done} of {'at most ' if job.experiment.stop else ''}{job.rounds} trainings"
        table.add_row(job.arm, str(job.seed), sampler, job.experiment.last_in_words, on_disk)
    return table
