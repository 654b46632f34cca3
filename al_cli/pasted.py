"""Words that can be pasted: settings in Hydra's grammar, commands in the shell's."""

import re
import shlex
from os import PathLike
from pathlib import Path

_PLAIN = re.compile(r"(?!(?:null|true|false|nan|inf)$)[A-Za-z_/.][A-Za-z0-9_/.@%+-]*", re.ASCII | re.IGNORECASE)


def as_text(text: str) -> str:
    """A text as Hydra reads it back: in quotes where it would be read as a number, a list or not at all.

    >>> print(as_text("/data/set"), as_text("my set (v1)"), as_text("2024_05_01"), as_text("it's"))
    /data/set 'my set (v1)' '2024_05_01' 'it\\'s'
    """
    return text_literal(text.replace("${", "\\${"))


def text_literal(text: str) -> str:
    """The same for a text whose `${...}` is to be resolved, as in a sweep file."""
    if _PLAIN.fullmatch(text) and not re.fullmatch(r"\.\d.*", text):
        return text
    # A backslash counts as one unless it stands before a quote, the closing one included.
    return "'" + re.sub(r"(\\*)('|\Z)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"


def path_word(path: str | PathLike[str]) -> str:
    """A path as a word that no program takes for an option or a home folder.

    >>> path_word("outputs/s"), path_word("-x")
    ('outputs/s', './-x')
    """
    text = str(path)
    if text.startswith("~"):  # Python takes ./~x for a home folder too
        return str(Path(text).absolute())
    return f"./{text}" if text.startswith("-") else text


def command(*words: str) -> str:
    """A line for the shell.

    >>> command("al", "data", "my set")
    "al data 'my set'"
    """
    return shlex.join(words)
