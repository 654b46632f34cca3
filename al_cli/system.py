"""What al asks of the operating system: files that are whole or absent, locks between processes, memory and time.

Knows nothing of what is written or locked.
"""

import errno
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from stat import S_ISREG

try:
    import fcntl
    import resource
except ImportError:  # Windows has neither
    raise SystemExit("al runs on Linux and macOS; on Windows use WSL.") from None


def encoded(text: str) -> bytes:
    """UTF-8. What cannot be written so, a file name that is no UTF-8, is written as Python and JSON spell it: `\\udce9`."""
    return text.encode("utf-8", "backslashreplace")


def open_regular(path: Path) -> BufferedReader:
    """A file, for reading. OSError where it is not a regular file, for a pipe or a device may never end."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # to open a pipe may wait for ever, too
    if not S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return os.fdopen(handle, "rb")


def read_regular(path: Path) -> bytes:
    """A file's bytes. OSError as `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def sha256(path: Path) -> str:
    """64 hex digits of a file's bytes. OSError as `open_regular`."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def own_folder(path: Path) -> Path:
    """A folder of al's own, made where it is not there. OSError where a symbolic link lies in its place."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, "a symbolic link lies where al keeps a folder of its own", str(path))
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_atomic(path: Path, content: str | bytes) -> None:
    """The file is the old or the new one, never a part. Text is written as UTF-8, its line ends as they are."""
    with unfinished(path) as draft:
        draft.write_bytes(encoded(content) if isinstance(content, str) else content)


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A new file next to `path` to write to. It becomes `path` when the block ends, and is removed when the block raises.

    Nothing is written through a symbolic link, and the content is on the disk before the name is. A killed process leaves a
    hidden file that ends in `.tmp`. An OSError names `path`.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # with O_EXCL, no link is followed
        try:
            yield draft
            sync(draft)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(draft)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def sync(path: Path) -> None:
    """Wait until this file is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_names(folder: Path) -> None:
    """Wait until the names in this folder are on the disk, where the file system can say so."""
    with suppress(OSError):
        sync(folder)


def open_own(path: Path, flags: int = os.O_RDWR) -> int:
    """Open a file of al's own, made where it is not there; OSError where a symbolic link lies in its place."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, "a symbolic link lies where al keeps a file of its own", str(path))
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


def lock(handle: int, *, shared: bool = False, wait: bool = False) -> bool:
    """Lock an open file for this process until it is closed. False where another process has it and we do not `wait`."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(handle, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def peak_memory_mib() -> float:
    """The most memory that this process had in use so far."""
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


@dataclass
class Clock:
    """Seconds by phase. `infer` (of the pool) is part of `select` and is taken out of it."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start

    def timing(self) -> dict[str, float]:
        """Seconds of each phase and the peak memory of the process so far (MiB)."""
        seconds = dict(self.seconds)
        seconds["select"] = seconds.get("select", 0.0) - seconds.get("infer", 0.0)
        rounded = {f"{phase}_s": round(value, 3) for phase, value in seconds.items()}
        return rounded | {"peak_memory_mib": round(peak_memory_mib(), 1)}


def available_memory() -> int | None:
    """Bytes that processes may still take, within this container's limit where it has one; None where nothing says."""
    found = []
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) * 1024)
    limit, used = (_lines(Path("/sys/fs/cgroup") / name) for name in ("memory.max", "memory.current"))
    if limit and used and limit[0].isdigit():
        found.append(max(0, int(limit[0]) - int(used[0])))
    return min(found, default=None)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
