"""Runs that something happens to: each in a fork of this process, with a hook on every change of a file below outputs/.

Audit hooks cannot be removed, so they are added in the fork only.
"""

import multiprocessing
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from al_cli.sweep import worker

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.utime", "os.link", "os.truncate"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What may differ between equal runs, and what says when and by which command a study was made
UNLIKE = ("timing.json", "environment.json", "run.log", "run.lock", "study.json", ".study.lock")


def results(folder: Path) -> dict[str, bytes]:
    """Every file of runs that must be the same in equal ones; the store is not a part of them."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".store" not in path.parts)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.name not in UNLIKE and not path.name.startswith("environment_")
    }


def on_change(act: Callable[[int, str], None], below: str = "outputs") -> None:
    """Call `act(number, path)` before each change of a file below a folder; what it raises happens in its place."""
    count = 0
    root = str(Path(below).absolute())

    def hook(event: str, args: tuple) -> None:
        nonlocal count
        writing = event == "open" and isinstance(args[2], int) and args[2] & WRITING
        if not (writing or event in CHANGES) or isinstance(args[0], int):
            return
        if str(Path.cwd() / os.fsdecode(args[0])).startswith(root):
            count += 1
            act(count, os.fsdecode(args[0]))

    sys.addaudithook(hook)


def kill_at(number: int, how: int) -> Callable[[], None]:
    """Signal this process before its change of that number."""

    def prepare() -> None:
        on_change(lambda count, path: os.kill(os.getpid(), how) if count == number else None)

    return prepare


def fork(work: Callable[[], object], prepare: Callable[[], None] = lambda: None) -> int:
    """Do the work in a process of its own. How it ended: 0, 1 for an exception, 2 for one that tells the user what to do, 130
    for Ctrl-C, minus the number of a signal. The traceback is in the file `error`."""
    child = os.fork()
    if child == 0:
        code = 0
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            prepare()
            work()
        except KeyboardInterrupt:
            code = 130
        except BaseException as error:
            code = 2 if hasattr(error, "remedy") else 1
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            with open("error", "w") as file:  # noqa: PTH123
                traceback.print_exc(file=file)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def count_changes(work: Callable[[], object]) -> int:
    """How many files the work changes."""
    reader, writer = os.pipe()
    assert fork(work, lambda: on_change(lambda count, path: os.write(writer, b"."))) == 0
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        return len(file.read())


class ForkedWorkers:
    """In the place of the server that a study's runs are forked from: this process, which has imported everything."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("fork")
        self.lines: list = []

    def install(self) -> None:
        worker.multiprocessing = self  # type: ignore[assignment]

    def get_context(self, kind: str) -> "ForkedWorkers":
        return self

    def set_forkserver_preload(self, modules: list[str]) -> None:
        """Nothing: they are imported."""

    def Pipe(self):
        self.lines.append(self.context.Pipe())
        return self.lines[-1]

    def Process(self, target, args, name):
        def work(*args):
            for ours, _ in self.lines:  # a fork holds them too, so closing them would end nothing
                ours.close()
            target(*args)

        return self.context.Process(target=work, args=args, name=name)
