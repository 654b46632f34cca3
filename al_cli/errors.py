"""One tree of errors that the user can correct: what is wrong, where, and what to do.

The command line prints them as one message without a traceback and exits with code 2. Anything else that is raised is a
bug of ours and keeps its traceback in the run's log.
"""

import difflib
import errno
import os
from collections.abc import Iterable, Mapping


class AlError(Exception):
    """What went wrong, where (file, line, key), and what the user can do about it.

    >>> print(AlError("budget is 0", where="budget=0", remedy="give a count of at least 1"))
    budget is 0 (budget=0): give a count of at least 1
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = ""):
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(what + (f" ({where})" if where else "") + (f": {remedy}" if remedy else ""))

    def of(self, who: str) -> "AlError":
        """The same mistake, said of one of several: `who` begins the sentence."""
        return type(self)(f"{who}: {self.what}", where=self.where, remedy=self.remedy)


class ConfigError(AlError):
    """An override or configuration file asks for something that does not exist or cannot work."""


class NotGiven(ConfigError):
    """A setting that has no default is missing."""


class DatasetError(AlError):
    """A dataset on disk breaks its format's rules; `where` names file, line and value.

    `problems` are all of them where there are several: what, where, remedy.
    """

    problems: tuple[tuple[str, str, str], ...] = ()


class ModelError(AlError):
    """A model cannot be built or its weights cannot be had."""


class RunError(AlError):
    """A run or study folder is not what was asked for: missing, of another configuration, unreadable."""


OF_SYSTEM = (OSError, MemoryError, RecursionError)  # what the system or an input refuses, and no bug of ours
_REMEDIES = {
    errno.EACCES: "name a place that you may read and write (outputs=DIR, --out FILE), or change its permissions",
    errno.EPERM: "name a place that you may read and write (outputs=DIR, --out FILE), or change its permissions",
    errno.EROFS: "name a place that can be written: outputs=DIR, --out FILE, or AL_STORE and AL_CACHE",
    errno.ENOSPC: "free some space, and the same command continues",
    errno.EDQUOT: "free some of your quota, and the same command continues",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), and the same command continues",
    errno.ENAMETOOLONG: "give a shorter name: run_name=NAME, study=NAME, outputs=DIR",
    errno.ENOTDIR: "a part of this path is a file: name a folder",
    errno.EISDIR: "this is a folder: name a file",
    errno.ENOENT: "check the path, and put back what was moved",
    errno.EEXIST: "this is there already, and no folder perhaps: name another place",
    errno.EINVAL: "put a file in its place, or name another one",
    errno.ELOOP: "correct or remove this link",
    errno.EMFILE: "allow more open files: ulimit -n 4096",
    errno.ENOMEM: "give it more memory, or less to do at once: --jobs 1, a smaller batch or model",
}


def of_system(error: BaseException) -> AlError:
    """One sentence for an error of `OF_SYSTEM`: what the system says, the path, and what to do."""
    if isinstance(error, MemoryError):
        return AlError("the memory does not suffice", remedy=_REMEDIES[errno.ENOMEM])
    if isinstance(error, RecursionError):
        return AlError("something that was read is nested too deeply", remedy="simplify the file or the words")
    assert isinstance(error, OSError)
    paths = [
        os.fsdecode(path) for path in (error.filename, error.filename2) if isinstance(path, str | bytes | os.PathLike)
    ]
    said = error.strerror if error.errno and error.strerror else first_line(error) or type(error).__name__
    remedy = _REMEDIES.get(error.errno or 0, "" if paths else "check the files that it names")
    return AlError(said[:1].lower() + said[1:], where=" -> ".join(paths), remedy=remedy or "check this path")


class RestartNeeded(RunError):
    """The command must begin again with these environment variables, which libraries read when they are loaded. Raised before
    anything was computed or written; the command line does it by itself."""

    def __init__(self, what: str, variables: Mapping[str, str]):
        self.variables = dict(variables)
        setting = " ".join(f"{name}={value!r}" for name, value in self.variables.items())
        super().__init__(what, remedy=f"give {setting} before the command")


def suggest(word: str, choices: Iterable[str]) -> str:
    """`did you mean 'x'? ` (or nothing) followed by every valid choice: the remedy of an unknown name."""
    names = sorted(choices)
    near = [name for name in names if name.casefold() == word.casefold()] or difflib.get_close_matches(word, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}valid: {', '.join(names)}"


def first_line(error: BaseException) -> str:
    """The first line of what an exception says, without its full stop; empty where it has none."""
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")


def written(value: object) -> str:
    """A value as a person would type it: text in quotes, so that '3' is not taken for a number, and null for None."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
