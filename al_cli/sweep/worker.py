"""A run in a process of its own: whatever happens to it, a crash, a kill, no memory left, it happens to this run alone.

Processes are forked from a server that has imported the learners' packages already but run nothing of them (Python's
`forkserver`), so a run starts in a moment and CUDA is first touched in the run's own process.
"""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from al_cli.errors import AlError, RunError
from al_cli.experiment import run
from al_cli.experiment.job import Job
from al_cli.learners.portable import caps
from al_cli.records import RunFolder
from al_cli.sweep.gpus import VARIABLE
from al_cli.sweep.outcomes import why

LIGHT = (
    "al_cli.experiment.run",
    "al_cli.sweep.worker",
    "al_cli.tasks.classification",
    "al_cli.tasks.detection",
    "al_cli.datasets.digits",
    "al_cli.report.of_run.plots",
    "faster_coco_eval",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
)
SAID = "al_run_"  # and the number of the process that started the run: how the file of a run's words is called
STOP_S = 60  # what a run has to stop by itself when the sweep is stopped
TAIL = 2000  # characters of a crashed process' last words


def prepare(jobs: Sequence[Job]) -> None:
    """Say what the server that runs are forked from imports first. Before the first `start`."""
    _remove_leftovers()
    learners = sorted({job.experiment.kind.module for job in jobs})
    multiprocessing.get_context("forkserver").set_forkserver_preload([*LIGHT, *learners])


def _remove_leftovers() -> None:
    """Remove this user's files of that kind whose process was killed and so could not."""
    for path in Path(tempfile.gettempdir()).glob(f"{SAID}*_*"):
        number = path.name.removeprefix(SAID).partition("_")[0]
        with suppress(OSError):
            if number.isdigit() and path.lstat().st_uid == os.getuid():
                try:
                    os.kill(int(number), 0)  # asks whether it lives
                except ProcessLookupError:
                    path.unlink()


@dataclass
class Worker:
    """A run's process, from the outside. Closing `line` asks it to stop. `gpu` is the only one that it sees."""

    job: Job
    process: BaseProcess
    line: Connection
    said: Path  # standard output and error of the process
    gpu: str | None

    @classmethod
    def start(cls, job: Job, gpu: str | None = None) -> Worker:
        handle, said = tempfile.mkstemp(prefix=f"{SAID}{os.getpid()}_")
        os.close(handle)
        capped = caps(job.config)
        # What the server has loaded cannot be capped: such a run gets a fresh process.
        context: Any = multiprocessing.get_context("spawn" if capped else "forkserver")
        ours, theirs = context.Pipe()
        # The server keeps the folder and environment it was started with: they travel with the run.
        environ = os.environ | ({VARIABLE: gpu} if gpu is not None else {}) | capped
        words = (pickle.dumps(job), str(Path.cwd()), dict(environ), said, theirs)
        process = context.Process(target=_work, args=words, name=job.name)
        with variables(capped):
            process.start()
        theirs.close()
        return cls(job, process, ours, Path(said), gpu)

    @property
    def over(self) -> bool:
        return not self.process.is_alive()

    def result(self) -> tuple[str, str]:
        """How it ended: `done`, `failed` with the reason, `elsewhere` (another process has the run) or `stopped`.

        A process that ended without a word has crashed; the reason is kept in the run's error.txt.
        """
        self.process.join()
        try:
            ended: tuple[str, str] = self.line.recv()
        except (EOFError, OSError):
            ended = "failed", self._crash()
        self.line.close()
        self.said.unlink(missing_ok=True)
        return ended

    def _crash(self) -> str:
        code = self.process.exitcode or 0
        how = f"was ended by signal {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if -code == signal.SIGKILL:
            how += ", as the system does when memory runs out"
        error = RunError(
            f"the process of this run {how}", remedy="the same command continues it after its last finished round"
        )
        folder = RunFolder(self.job.folder)
        run.keep_reason(self.job, error)  # where it ended before it had a folder
        if (folder.path / "config.yaml").is_file() and folder.state != "running":
            folder.mark_failed(error)
            words = self.said.read_text(encoding="utf-8", errors="replace")[-TAIL:].strip()
            if words:
                with (folder.path / "error.txt").open("a", encoding="utf-8") as file:
                    file.write(f"\nIts last words:\n{words}\n")
        return str(error)

    def stop(self) -> None:
        """Ask the run to end; it keeps all finished rounds."""
        self.line.close()

    def wait(self) -> None:
        """Until it has ended, by force when it takes longer than `STOP_S`."""
        self.process.join(STOP_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.said.unlink(missing_ok=True)


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Processes that are started inside the block have these environment variables."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


def take_place(where: str, environ: Mapping[str, str]) -> None:
    """Work in the folder and environment of who asked: the server of processes keeps those that it was started with."""
    os.chdir(where)
    os.environ.clear()
    os.environ.update(environ)


def _work(job: bytes, where: str, environ: dict[str, str], said: str, line: Connection) -> None:
    """The whole life of a run's process."""
    take_place(where, environ)
    handle = os.open(said, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):  # what libraries print must not run over the sweep's own display
        os.dup2(handle, stream)
    faulthandler.enable(sys.stderr)
    signal.signal(signal.SIGINT, _interrupt_once)
    signal.signal(signal.SIGTERM, _interrupt_once)
    logging.getLogger().handlers = [logging.NullHandler()]  # the run's own log file is added when it starts
    logging.getLogger("al").setLevel(logging.INFO)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
    try:
        threading.Thread(target=_stop_with, args=(line,), daemon=True).start()
        line.send(_execute(pickle.loads(job)))
    except KeyboardInterrupt:
        with suppress(OSError):  # the sweep may be gone
            line.send(("failed", "the run was interrupted; the same command continues it"))


def _execute(job: Job) -> tuple[str, str]:
    try:
        run.run_job(job)
    except AlError as error:
        if RunFolder(job.folder).state == "running":
            return "elsewhere", "another process is working on it"
        run.keep_reason(job, error)
        return "failed", str(error)
    except Exception as error:
        run.keep_reason(job, error)
        return "failed", why(error, job.folder)
    return "done", ""


def _interrupt_once(number: int, frame: Any) -> None:
    """The first request to stop counts; a second one must not disturb the clean end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _stop_with(line: Connection) -> None:
    """Stop when the sweep closes the line, or ends in whatever way: no run goes on that nobody watches."""
    try:
        line.poll(None)
        line.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGINT)
