"""Images that lie in archives, written once to al's cache as ordinary image files, and the cache's spare place.

Knows no format: whoever asks writes the folder. A folder in the cache is complete, because it is renamed into its place, and
stays so: it holds a digest of its files' names and sizes, and one of which somebody took or cut a file is made again.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from al_cli.datasets.headers import cache_dir, read_digests
from al_cli.errors import DatasetError

log = logging.getLogger("al")
ABANDONED_S = 24 * 3600  # a folder that was begun so long ago is nobody's
LISTED = ".files"  # in each folder: the digest of its files


def unpacked(kind: str, sources: Sequence[Path], write: Callable[[Path], object]) -> Path:
    """The folder in al's cache with what `write(folder)` makes of these files, made once.

    It is keyed by `kind` and by the bytes of the sources in their order: change `kind` with what is written. DatasetError for
    a source that cannot be read, and where nothing can be kept.
    """
    digests = [str(digest) for digest in read_digests(sources)]
    return kept(f"unpacked/{kind}-{hashlib.sha256(repr(digests).encode()).hexdigest()[:16]}", write)


def kept(name: str, write: Callable[[Path], object]) -> Path:
    """The folder `name` of al's cache, with what `write(folder)` puts into it on first use. Where the cache cannot be written,
    in this user's own part of the system's temporary folder, with a warning.

    Two processes that write at once both succeed.
    """
    try:
        return _made(cache_dir() / name, write)
    except OSError as error:
        try:
            spare = _own_temporary_folder()
            _say_once(f"the cache {cache_dir()} cannot be written ({error.strerror}): images are kept in {spare}")
            return _made(spare / name, write)
        except OSError as again:
            what = f"images cannot be kept in al's cache: {again.strerror}"
            remedy = "set AL_CACHE to a folder that can be written and has room"
            raise DatasetError(what, where=str(cache_dir()), remedy=remedy) from error


def _made(folder: Path, write: Callable[[Path], object]) -> Path:
    if _is_whole(folder):
        return folder
    if (folder / LISTED).exists():
        log.warning("%s is not as al wrote it, and is made again", folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".{glob.escape(folder.name)}-*"):  # by a process that was killed
        with suppress(OSError):  # another process has just finished it
            if time.time() - left.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write(draft)
        (draft / LISTED).write_text(_digest_of_files(draft))
        draft.chmod(0o755)  # mkdtemp makes it private
        if folder.exists() and not _is_whole(folder):
            with suppress(FileNotFoundError):  # another process has just done so
                folder.rename(gone := draft.with_name(f"{draft.name}-gone"))
                shutil.rmtree(gone, ignore_errors=True)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.exists():  # else another process was faster: its images are the same
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether a folder has all files that it was made with, as long as they were."""
    try:
        return (folder / LISTED).read_text(errors="replace") == _digest_of_files(folder)
    except OSError:
        return False


def _digest_of_files(folder: Path) -> str:
    """Of the places and sizes of all files; seventy thousand of them take half a second."""
    found = hashlib.sha256()
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if name != LISTED:
                path = Path(place, name)
                found.update(f"{path.relative_to(folder)}/{path.stat().st_size}\n".encode(errors="replace"))
    return found.hexdigest()


def _own_temporary_folder() -> Path:
    """A folder that nobody else can write to. OSError where somebody else has taken its name."""
    folder = Path(tempfile.gettempdir()) / f"al-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "this folder is not this user's alone", str(folder))
    return folder


@cache
def _say_once(what: str) -> None:
    log.warning(what)
