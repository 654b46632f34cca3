"""What al asks of the operating system: files that are whole or absent, locks between processes, memory in use.

Knows nothing of what is written or locked.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
    import resource
except ImportError:  # Windows has neither
    raise SystemExit("al runs on Linux and macOS; on Windows use WSL.") from None


def write_atomic(path: Path, content: str | bytes) -> None:
    """The file is the old or the new one, never a part. Text is written as UTF-8, its line ends as they are."""
    with unfinished(path) as draft, draft.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A path next to `path` to write to. It becomes `path` when the block ends, and is removed when the block raises.

    A killed process leaves a hidden file that ends in `.tmp`.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    draft.unlink(missing_ok=True)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


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
