"""The parent of a study's runs: starts them, watches their folders, and says how far the whole is.

It learns of finished rounds as everyone does, from the records on disk. Nothing it does enters a result.
"""

from __future__ import annotations

import json
import logging
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

import yaml
from rich.progress import BarColumn, Progress, TextColumn

from al_cli.errors import RunError
from al_cli.experiment import build, settings
from al_cli.progress import console, duration
from al_cli.records import RunFolder
from al_cli.sweep.outcomes import Outcome, relative
from al_cli.sweep.plan import Job, Study
from al_cli.sweep.worker import Worker, prepare

log = logging.getLogger("al")
round_log = logging.getLogger("al.round")  # a line a round, where no terminal shows the bar
LOOK_EVERY_S = 0.3


def state(job: Job) -> str:
    """What lies on disk: `done`, `running`, `failed`, `stopped`, `new`, or `other` (a run of another configuration)."""
    folder = RunFolder(job.folder)
    if not (job.folder / "config.yaml").is_file():
        return "new"
    try:
        found = folder.state
        same = folder.config() == _as_stored(job)
    except RunError:
        return "failed"
    return found if same or found == "running" else "other"


def _as_stored(job: Job) -> Any:
    """The configuration as config.yaml would give it back."""
    plain = {key: value for key, value in job.experiment.config.items() if key not in settings.WHERE}
    return yaml.safe_load(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def rounds_done(job: Job) -> int:
    """Finished rounds on disk; 0 where nothing can be read."""
    try:
        return len(RunFolder(job.folder).records())
    except RunError:
        return 0


def check_data(study: Study) -> None:
    """Read each dataset once that runs will read: DatasetError before the first run starts instead of in every one."""
    unlike: dict[str, dict[str, Any]] = {}
    for job in study.jobs:
        if state(job) not in ("done", "running"):
            dataset = job.experiment.config["dataset"]
            unlike[json.dumps(dataset, sort_keys=True)] = dataset
    for dataset in unlike.values():
        build.load_dataset(dataset)


def execute(study: Study, at_once: int = 1) -> list[Outcome]:
    """Run what is not done, `at_once` runs at a time; one outcome a run, in the order of the study.

    A done run is passed over, and so is one that another process works on; a failed one is redone. KeyboardInterrupt
    stops all runs cleanly first.
    """
    prepare(study.jobs)
    outcomes: dict[int, Outcome] = {}
    pending = deque(enumerate(study.jobs))
    active: dict[int, Worker] = {}
    with shown(study) as board, _terminate_as_interrupt():
        try:
            while pending or active:
                while pending and len(active) < at_once:
                    number, job = pending.popleft()
                    if (outcome := _passed_over(job)) is not None:
                        outcomes[number] = outcome
                        board.passed_over(job, outcome)
                    else:
                        active[number] = Worker.start(job)
                        board.working([worker.job for worker in active.values()])
                if not active:
                    continue
                wait([worker.process.sentinel for worker in active.values()], LOOK_EVERY_S)
                for worker in active.values():
                    board.look(worker.job)
                for number in [number for number, worker in active.items() if worker.over]:
                    worker = active.pop(number)
                    board.look(worker.job)
                    outcomes[number] = _outcome(worker.job, *worker.result())
                    board.ended(worker.job, outcomes[number])
        except KeyboardInterrupt:
            _stop(list(active.values()))
            raise
    return [outcomes[number] for number in sorted(outcomes)]


def _passed_over(job: Job) -> Outcome | None:
    found = state(job)
    if found == "done":
        return _outcome(job, "done", "")
    return _outcome(job, "elsewhere", "another process is working on it") if found == "running" else None


def _outcome(job: Job, state: str, reason: str) -> Outcome:
    records = []
    if state != "failed":
        records = RunFolder(job.folder).records()
    return Outcome(relative(job.folder), records, reason, state=state)


def _stop(workers: list[Worker]) -> None:
    log.info("stopping %d runs; the same command continues each after its last finished round", len(workers))
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.wait()


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """While runs go on, `kill` ends the sweep as Ctrl-C does."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Board:
    """How far the study is: runs and rounds done, and when the rest will be if it goes on at this rate."""

    def __init__(self, study: Study, progress: Progress | None):
        self.runs, self.runs_done = len(study.jobs), 0
        self.rounds = sum(job.rounds for job in study.jobs)
        self.seen = {job.folder: rounds_done(job) for job in study.jobs}
        self.fresh, self.start = 0, time.monotonic()
        self.progress = progress
        self.task = progress.add_task("", total=self.rounds, text="", now="") if progress else None
        self._show()

    def look(self, job: Job) -> None:
        """Tell of the rounds of this run that were finished since the last look."""
        before = self.seen[job.folder]
        if not (RunFolder(job.folder).round_path(before) / "record.json").exists():
            return
        try:
            records = RunFolder(job.folder).records()
        except RunError:  # the run itself will say so
            return
        self.seen[job.folder] = len(records)
        self.fresh += len(records) - before
        for record in records[before:]:
            metric = job.experiment.task.primary
            reached = metric.text(record.metrics.get(metric.name))
            value = f" {metric.name} {reached}" if reached else ""
            round_log.info(
                "%s seed %d round %d of %d%s  (%s)", job.arm, job.seed, record.round, job.rounds - 1, value, self.text
            )
        self._show()

    def passed_over(self, job: Job, outcome: Outcome) -> None:
        self.runs_done += 1
        why = "it is done already" if outcome.state == "done" else outcome.error
        log.info("%s is skipped: %s", job.folder.name, why)
        self._show()

    def ended(self, job: Job, outcome: Outcome) -> None:
        self.runs_done += 1
        if outcome.state == "failed":
            log.error("%s failed: %s", job.folder.name, outcome.error)
        else:
            why = f", {outcome.error}" if outcome.error else ""
            log.info("%s is %s%s  (%s)", job.folder.name, outcome.state, why, self.text)
        self._show()

    def working(self, jobs: list[Job]) -> None:
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, now=", ".join(job.folder.name for job in jobs))

    @property
    def text(self) -> str:
        done = sum(self.seen.values())
        text = f"runs {self.runs_done}/{self.runs}, rounds {done}/{self.rounds}"
        if self.fresh and done < self.rounds and self.runs_done < self.runs:
            text += f", ETA {duration((time.monotonic() - self.start) / self.fresh * (self.rounds - done))}"
        return text

    def _show(self) -> None:
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, completed=sum(self.seen.values()), text=self.text)


@contextmanager
def shown(study: Study) -> Iterator[Board]:
    """A board with a live bar on a terminal; elsewhere its lines alone."""
    if not console.is_terminal:
        yield Board(study, None)
        return
    columns = (BarColumn(bar_width=30), TextColumn("{task.fields[text]}"), TextColumn("[dim]{task.fields[now]}"))
    with Progress(*columns, console=console, transient=True) as progress:
        yield Board(study, progress)
