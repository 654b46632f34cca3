"""Nothing is computed twice: results on disk, found by everything that determines them.

    outputs/.store (or AL_STORE)
      format                 the format number of everything here
      training/ab/abcdef…/   entry.json (written first, published with the rest): what determines it, seconds it took, sizes
                             and the files of the result
      locks/                 one file per result that a process is computing or reading
      unfinished/            what a killed process left; `prune` removes it

A result appears whole or not at all: it is written aside and renamed. Whoever wants one holds its lock meanwhile, so two
processes that need the same training make it once: the second waits for the first and reads. Knows nothing of what a
result is: `learner.py` and `strategy.py` do.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from al_cli.errors import AlError, RunError
from al_cli.learners.identity import file_digest
from al_cli.progress import duration
from al_cli.system import lock, open_own, own_folder, read_regular, sync, sync_names, write_atomic

log = logging.getLogger("al")
KINDS = ("training", "inference", "selection")
# Of entries and of what determines them. 2: keys held files' times; 1: no file `format`, keys held the code of all samplers
STORE_FORMAT = 3


@dataclass(frozen=True)
class Entry:
    """One result in the store."""

    path: Path
    kind: str
    seconds: float  # what it took to compute
    size: int  # bytes
    about: Mapping[str, Any]  # what determines it
    notes: Mapping[str, Any]  # what the writer wanted remembered
    digests: Mapping[str, str]  # of each file's bytes

    @property
    def used(self) -> float:
        """When it was last written or read, in seconds since the epoch."""
        return (self.path / "entry.json").stat().st_mtime


@dataclass
class Account:
    """How many results a round took from the store and computed; `saved_s`: the seconds that the hits originally took."""

    hits: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    misses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    saved_s: float = 0.0

    def as_timing(self) -> dict[str, Any]:
        return {"hits": self.hits, "misses": self.misses, "saved_s": round(self.saved_s, 3)}


@dataclass(frozen=True)
class Got:
    """A result and where it is kept; `entry` is None where it was too large to keep, or the store cannot be written."""

    result: Any
    entry: Entry | None
    hit: bool


class Store:
    """The results under `root`. Safe with several processes at once, on one file system that has flock."""

    def __init__(self, root: Path | str):
        self.root = Path(root)
        self.account = Account()
        self._warned = False

    def take_account(self) -> dict[str, Any]:
        """What was hit and missed since the last call."""
        taken, self.account = self.account, Account()
        return {"store": taken.as_timing()}

    @property
    def format(self) -> int:
        """The format of what is kept here: this version's where nothing is or a result of it is, 1 where it does not say."""
        path = self.root / "format"
        said = path.read_bytes().strip() if path.is_file() else b""
        if said == str(STORE_FORMAT).encode() or not self._folders() or next(self.entries(), None) is not None:
            return STORE_FORMAT
        return int(said) if said.isdigit() else 1

    def _folders(self) -> list[Path]:
        """Where results lie, whole or not. None behind a symbolic link: `prune` must not delete there."""
        kinds = [self.root / kind for kind in KINDS if not (self.root / kind).is_symlink()]
        groups = [
            group for kind in kinds for group in sorted(kind.glob("*")) if group.is_dir() and not group.is_symlink()
        ]
        return [path for group in groups for path in sorted(group.iterdir()) if path.is_dir() and not path.is_symlink()]

    def require_format(self) -> None:
        """RunError where another version of al filled this store: none of its results would be found again."""
        if self.format != STORE_FORMAT:
            raise RunError(
                f"another version of al filled this store (format {self.format}; this version uses {STORE_FORMAT})",
                where=str(self.root),
                remedy="empty it with `al store prune --keep 0`, name another with AL_STORE=DIR, or set store=false",
            )

    @staticmethod
    def key(about: Mapping[str, Any]) -> str:
        """32 hex digits of everything that determines a result: plain values, in any order."""
        return hashlib.sha256(json.dumps(about, sort_keys=True, allow_nan=False).encode()).hexdigest()[:32]

    def find(self, kind: str, about: Mapping[str, Any]) -> Entry | None:
        """The result that these values determine, if it is here and whole."""
        return read_entry(self._place(kind, self.key(about)))

    def get(
        self, kind: str, about: Mapping[str, Any], read: Callable[[Path], Any], make: Callable[[], Any], write: Writer
    ) -> Got:
        """The result: read if it is here, else made and written.

        `write(result, folder)` puts the files into an empty folder and returns notes to remember, or None to keep
        nothing. A result that cannot be read is made again, with a warning.
        """
        key = self.key(about)
        with self._locked(kind, key):
            entry = self.find(kind, about)
            if entry is None and (place := self._place(kind, key)).exists():
                log.warning("%s is damaged: it is computed again", place)
            if entry is not None:
                try:
                    require_intact(entry, about)
                    result = read(entry.path)
                except Exception as error:
                    log.warning("%s cannot be read (%s): it is computed again", entry.path, error)
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    with suppress(OSError):  # a store that several share may be read-only
                        os.utime(entry.path / "entry.json")
                    self.account.hits[kind] += 1
                    self.account.saved_s += entry.seconds
                    return Got(result, entry, hit=True)
            start = time.perf_counter()
            result = make()
            self.account.misses[kind] += 1
            took = time.perf_counter() - start
            try:
                entry = self._publish(kind, about, result, write, took)
            except OSError as error:
                self._warn(error)
                entry = None
            return Got(result, entry, hit=False)

    def _warn(self, error: OSError) -> None:
        """Say once that nothing can be kept here. A run needs no store: it goes on."""
        if not self._warned:
            log.warning("the store %s cannot be written (%s): results are not kept there", self.root, error.strerror)
            self._warned = True

    def _publish(self, kind: str, about: Mapping[str, Any], result: Any, write: Writer, seconds: float) -> Entry | None:
        key = self.key(about)
        folder, place = self.root / "unfinished" / f"{key}-{os.getpid()}", self._place(kind, key)
        for own in (self.root / kind, place.parent, folder.parent):
            own_folder(own)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            notes = write(result, folder)
            if notes is None:
                return None
            files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
            digests = {name: file_digest(folder / name) for name in files}
            entry = {"kind": kind, "seconds": round(seconds, 3), "files": files, "notes": notes, "about": about}
            entry["digests"] = digests
            entry["digest"] = self.key(entry)
            (folder / "entry.json").write_text(json.dumps(entry, indent=1), encoding="utf-8")
            for path in folder.iterdir():  # on the disk before the name is
                sync(path)
            if not (self.root / "format").is_file() or self.format != STORE_FORMAT:
                write_atomic(self.root / "format", f"{STORE_FORMAT}\n")
            shutil.rmtree(place, ignore_errors=True)  # a broken one
            folder.rename(place)
            sync_names(place.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return read_entry(place)

    def _place(self, kind: str, key: str) -> Path:
        return self.root / kind / key[:2] / key

    @contextmanager
    def _locked(self, kind: str, key: str) -> Iterator[None]:
        """Alone with this result. Says so when another process has it and this one waits."""
        path = self.root / "locks" / f"{kind}-{key}"
        waiting = False
        while True:
            try:
                own_folder(path.parent)
                handle = open_own(path)
            except OSError as error:  # nobody can write here, so nobody needs to be waited for
                self._warn(error)
                yield
                return
            if not lock(handle):
                if not waiting:
                    log.info("waiting for another process that computes the same %s", kind)
                    waiting = True
                lock(handle, wait=True)
            if path.exists() and os.fstat(handle).st_ino == path.stat().st_ino:
                break
            os.close(handle)  # `prune` removed the file between our open and our lock
        try:
            yield
        finally:
            os.close(handle)

    # ---- looking after it

    def entries(self) -> Iterator[Entry]:
        """Every whole result, in no particular order."""
        for path in self._folders():
            if entry := read_entry(path):
                yield entry

    def summary(self) -> list[tuple[str, ...]]:
        """Rows of text: kind, model, number of results, size, what they took to compute, when one was last used."""
        groups: dict[tuple[str, str], list[Entry]] = {}
        for entry in self.entries():
            model = entry.about.get("model") or entry.about.get("asking") or {}
            groups.setdefault((entry.kind, str(model.get("config") or model.get("family") or "")), []).append(entry)
        rows: list[tuple[str, ...]] = []
        for (kind, model), entries in groups.items():
            took, used = sum(e.seconds for e in entries), max(e.used for e in entries)
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(used))
            size = sizes(sum(e.size for e in entries))
            rows.append((kind, model, str(len(entries)), size, duration(took), when))
        return rows

    def prune(self, keep: int) -> tuple[int, int]:
        """Remove the results that were used longest ago until at most `keep` bytes are left, and what killed processes
        left. Results in use stay. Returns how many results and bytes were removed."""
        # what another version can read goes only if all goes
        count, freed = self._remove_broken() if keep == 0 or self.format == STORE_FORMAT else (0, 0)
        entries = sorted(self.entries(), key=lambda entry: entry.used)
        left = sum(entry.size for entry in entries)
        for entry in entries:
            if left <= keep:
                break
            path = self.root / "locks" / f"{entry.kind}-{entry.path.name}"
            with _try_lock(path) as free:
                if free:
                    shutil.rmtree(entry.path)
                    path.unlink(missing_ok=True)
                    left, count, freed = left - entry.size, count + 1, freed + entry.size
        if next(self.entries(), None) is None:
            (self.root / "format").unlink(missing_ok=True)  # an empty store is anybody's
        for path in self.root.glob("locks/*"):
            kind, _, key = path.name.partition("-")
            with _try_lock(path) as free:
                if free:
                    aside = self.root / "unfinished"
                    for folder in [] if aside.is_symlink() else list(aside.glob(f"{key}-*")):
                        shutil.rmtree(folder, ignore_errors=True)
                    if not self._place(kind, key).exists():
                        path.unlink(missing_ok=True)
        return count, freed

    def _remove_broken(self) -> tuple[int, int]:
        """Remove what no run can use, results that are damaged or of another format. How many, and their bytes."""
        count = freed = 0
        for path in self._folders():
            with _try_lock(self.root / "locks" / f"{path.parent.parent.name}-{path.name}") as free:
                if free and read_entry(path) is None:
                    count, freed = count + 1, freed + sum(file.lstat().st_size for file in path.iterdir())
                    shutil.rmtree(path)
        return count, freed


Writer = Callable[[Any, Path], Mapping[str, Any] | None]


@contextmanager
def _try_lock(path: Path) -> Iterator[bool]:
    """Whether nobody holds this lock; held by us inside the block if so. A symbolic link is nobody's to take."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        yield False
        return
    handle = open_own(path)
    try:
        yield lock(handle)
    finally:
        os.close(handle)


def read_entry(path: Path) -> Entry | None:
    """The entry in this folder; None where there is none, where entry.json is not as it was written, or where a file is
    missing or cut short."""
    try:
        content = json.loads(read_regular(path / "entry.json"))
        if content.pop("digest") != Store.key(content):
            return None
        whole = all((path / name).stat().st_size == size for name, size in content["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # a flipped bit makes anything of it
        return None
    if not whole:
        return None
    return Entry(
        path,
        content["kind"],
        content["seconds"],
        sum(content["files"].values()),
        content["about"],
        content["notes"],
        content["digests"],
    )


def require_intact(entry: Entry, about: Mapping[str, Any]) -> None:
    """ValueError unless this is the result of exactly these values, in the bytes that were written."""
    if Store.key(entry.about) != Store.key(about):
        raise ValueError("it is the result of something else")
    for name, digest in entry.digests.items():
        if file_digest(entry.path / name) != digest:
            raise ValueError(f"{name} is not as it was written")


SIZE_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_size(text: str) -> int:
    """Bytes of "20GB", "500 MB" or "0". AlError for what is no size."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B)?\s*", text, re.IGNORECASE)
    if not found:
        raise AlError(f"{text!r} is no size", where=f"--keep {text}", remedy="write it as 20GB, 500MB or 0")
    return int(float(found[1]) * SIZE_UNITS[(found[2] or "B").upper()])


def sizes(count: int) -> str:
    """Bytes as people read them.

    >>> sizes(1234567)
    '1.2 MB'
    """
    unit = max((u for u in SIZE_UNITS if count >= SIZE_UNITS[u]), key=lambda u: SIZE_UNITS[u], default="B")
    return f"{count} B" if unit == "B" else f"{count / SIZE_UNITS[unit]:.1f} {unit}"
