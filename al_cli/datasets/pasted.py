"""Words that can be pasted: settings in Hydra's grammar, commands in the shell's."""

import re
import shlex

_PLAIN = re.compile(r"(?!(?:null|true|false|nan|inf)$)[A-Za-z_/.][A-Za-z0-9_/.@%+-]*", re.ASCII | re.IGNORECASE)


def as_text(text: str) -> str:
    """A text as Hydra reads it back: in quotes where it would be read as a number, a list or not at all.

    >>> print(as_text("/data/set"), as_text("my set (v1)"), as_text("2024_05_01"), as_text("it's"))
    /data/set 'my set (v1)' '2024_05_01' 'it\\'s'
    """
    if _PLAIN.fullmatch(text) and not re.fullmatch(r"\.\d.*", text):
        return text
    text = text.replace("${", "\\${")
    # A backslash counts as one unless it stands before a quote, the closing one included.
    return "'" + re.sub(r"(\\*)('|\Z)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"


def command(*words: str) -> str:
    """A line for the shell.

    >>> command("al", "data", "my set")
    "al data 'my set'"
    """
    return shlex.join(words)
