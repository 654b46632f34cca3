"""The executor of every command: one job in this process, several in a process each, watched by their folders.

It learns of finished rounds as everyone does, from the records on disk. Nothing it does enters a result.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn

from al_cli.errors import OF_SYSTEM, AlError, RunError
from al_cli.experiment import run
from al_cli.experiment.job import Job
from al_cli.learners.portable import require_caps
from al_cli.progress import console, duration
from al_cli.records import RunFolder
from al_cli.records.reading import RUN_FORMAT
from al_cli.sweep.check import check_jobs
from al_cli.sweep.gpus import VARIABLE, chosen, least_used
from al_cli.sweep.outcomes import Outcome, relative, why
from al_cli.sweep.worker import Worker, prepare

log = logging.getLogger("al")
round_log = logging.getLogger("al.round")  # a line a round, where no terminal shows the bar
LOOK_EVERY_S = 0.3


def state(job: Job) -> str:
    """What lies on disk: `done`, `running`, `failed`, `stopped`, `new`, or `other` (of another configuration or format)."""
    folder = RunFolder(job.folder)
    if not (job.folder / "config.yaml").is_file():
        return "new"
    try:
        found, config = folder.state, folder.compare(job.experiment.recorded)
    except RunError:
        return "failed"
    if found == "running":
        return found
    if config == "other" and run.only_failed(job.folder):
        return "failed"
    if config == "other" or folder.format != RUN_FORMAT:
        return "other"
    return "stopped" if config == "longer" and found == "done" else found


def rounds_done(job: Job) -> int:
    """Finished rounds on disk; 0 where nothing can be read."""
    return len(RunFolder(job.folder).readable_records())


def execute(
    jobs: Sequence[Job], at_once: int = 1, gpus: str | None = None, begin: Callable[[], object] | None = None
) -> list[Outcome]:
    """Run what is not done; one outcome a job, in their order. One job runs in this process, several in a process each.

    `at_once` of several run at a time, each of them on the least used of `gpus` (as `--gpus` names them; None: all that
    are visible). `begin` is called before the first run starts, once all that can be known without training is checked.
    A done run is passed over, and so is one that another process works on; a failed one is redone. KeyboardInterrupt
    stops all runs cleanly first, and so does SIGTERM. AlError only where one job was asked for: its mistake ends the
    command.
    """
    if len(jobs) == 1:
        require_caps(jobs[0].config)  # before anything is written; runs in processes of their own are started with them
    with terminate_as_interrupt():
        if begin is not None or len(jobs) > 1:
            check_jobs(jobs, [state(job) for job in jobs])
        if begin is not None:
            begin()
        return [_in_this_process(jobs[0], gpus)] if len(jobs) == 1 else _in_processes(jobs, at_once, chosen(gpus))


def _in_this_process(job: Job, gpus: str | None) -> Outcome:
    if gpus is not None:
        os.environ[VARIABLE] = ",".join(chosen(gpus))  # before torch looks
    shown = relative(job.folder)
    try:
        return Outcome(shown, run.run_job(job))
    except (AlError, *OF_SYSTEM):
        raise
    except Exception as error:
        run.keep_reason(job, error)
        outcome = Outcome(shown, [], why(error, shown), state="failed")
        log.error("%s failed: %s", shown, outcome.error)
        return outcome


def _in_processes(jobs: Sequence[Job], at_once: int, gpus: Sequence[str]) -> list[Outcome]:
    prepare(jobs)
    outcomes: dict[int, Outcome] = {}
    pending = deque(enumerate(jobs))
    active: dict[int, Worker] = {}
    with shown(jobs) as board:
        try:
            while pending or active:
                while pending and len(active) < at_once:
                    number, job = pending.popleft()
                    if (outcome := _passed_over(job)) is not None:
                        outcomes[number] = outcome
                        board.passed_over(job, outcome)
                    else:
                        gpu = least_used(gpus, [worker.gpu for worker in active.values()])
                        active[number] = Worker.start(job, gpu)
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
    if found == "done" and not run.lost_of(RunFolder(job.folder), job.experiment, read_weights=False):
        return _outcome(job, "done", "")  # else it makes again what is lost
    return _outcome(job, "elsewhere", "another process is working on it") if found == "running" else None


def _outcome(job: Job, state: str, reason: str) -> Outcome:
    records = []
    if state != "failed":
        records = RunFolder(job.folder).readable_records()
    return Outcome(relative(job.folder), records, reason, state=state)


def _stop(workers: list[Worker]) -> None:
    log.info("stopping %d runs; the same command continues each after its last finished round", len(workers))
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.wait()


class Terminated(KeyboardInterrupt):
    """SIGTERM was received: the same clean end as after Ctrl-C, with the exit code that shells give it."""

    exit_code = 143


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """While runs go on, `kill` ends the command as Ctrl-C does."""

    def interrupt(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not disturb the clean end
        raise Terminated

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Board:
    """How far the study is: runs and rounds done, and when the rest will be if it goes on at this rate."""

    def __init__(self, jobs: Sequence[Job], progress: Progress | None):
        self.runs, self.runs_done = len(jobs), 0
        self.rounds = sum(job.rounds for job in jobs)
        self.seen = {job.folder: rounds_done(job) for job in jobs}
        self.fresh, self.start = 0, time.monotonic()
        self.progress = progress
        self.task = progress.add_task("", total=self.rounds, text="", now="") if progress else None
        self._show()

    def look(self, job: Job) -> None:
        """Tell of the rounds of this run that were finished since the last look."""
        before = self.seen[job.folder]
        if not RunFolder(job.folder).is_finished(before):
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
                "%s seed %d round %d of %s%s  (%s)",
                job.arm,
                job.seed,
                record.round,
                job.experiment.last_in_words,
                value,
                self.text,
            )
        self._show()

    def _over(self, job: Job, outcome: Outcome) -> None:
        """A run that reached its `stop` has fewer rounds than it might have had."""
        self.runs_done += 1
        if outcome.state == "done":
            self.rounds -= job.rounds - self.seen[job.folder]

    def passed_over(self, job: Job, outcome: Outcome) -> None:
        self._over(job, outcome)
        why = "it is done already" if outcome.state == "done" else outcome.error
        log.info("%s is skipped: %s", job.name, why)
        self._show()

    def ended(self, job: Job, outcome: Outcome) -> None:
        self._over(job, outcome)
        if outcome.state == "failed":
            log.error("%s failed: %s", job.name, outcome.error)
        else:
            why = f", {outcome.error}" if outcome.error else ""
            log.info("%s is %s%s  (%s)", job.name, outcome.state, why, self.text)
        self._show()

    def working(self, jobs: list[Job]) -> None:
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, now=", ".join(job.name for job in jobs))

    @property
    def text(self) -> str:
        done = sum(self.seen.values())
        text = f"runs {self.runs_done}/{self.runs}, rounds {done}/{self.rounds}"
        if self.fresh and done < self.rounds and self.runs_done < self.runs:
            text += f", ETA {duration((time.monotonic() - self.start) / self.fresh * (self.rounds - done))}"
        return text

    def _show(self) -> None:
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, total=self.rounds, completed=sum(self.seen.values()), text=self.text)


@contextmanager
def shown(jobs: Sequence[Job]) -> Iterator[Board]:
    """A board with a live bar on a terminal; elsewhere its lines alone."""
    if not console.is_terminal:
        yield Board(jobs, None)
        return
    said = TextColumn("{task.fields[text]}", markup=False)
    columns = (BarColumn(bar_width=30), said, TextColumn("{task.fields[now]}", style="dim", markup=False))
    with Progress(*columns, console=console, transient=True) as progress:
        yield Board(jobs, progress)
