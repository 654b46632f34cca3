"""One tree of errors that the user can correct: what is wrong, where, and what to do.

The command line prints them as one message without a traceback and exits with code 2. Anything else that is raised is a
bug of ours and keeps its traceback in the run's log.
"""

import difflib
from collections.abc import Iterable


class AlError(Exception):
    """What went wrong, where (file, line, key), and what the user can do about it.

    >>> print(AlError("budget is 0", where="budget=0", remedy="give a count of at least 1"))
    budget is 0 (budget=0): give a count of at least 1
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = ""):
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(what + (f" ({where})" if where else "") + (f": {remedy}" if remedy else ""))


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


def suggest(word: str, choices: Iterable[str]) -> str:
    """`did you mean 'x'? ` (or nothing) followed by every valid choice: the remedy of an unknown name."""
    names = sorted(choices)
    near = difflib.get_close_matches(word, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}valid: {', '.join(names)}"


def first_line(error: BaseException) -> str:
    """The first line of what an exception says, without its full stop; empty where it has none."""
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")
