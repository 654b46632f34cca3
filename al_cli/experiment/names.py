"""What studies and runs may be called, and which texts can be a path: asked before anything is written."""

from pathlib import Path
from typing import Any

from al_cli.errors import ConfigError, written

MAX_BYTES = 200  # of a name; most disks end at 255, and al writes next to a folder under longer names
MAX_PART = 255  # bytes of one name in a path
MAX_PATH = 4000  # bytes of a whole path
TAKEN = {"report", "study.json"}  # what al itself writes next to runs


def check_name(value: Any, key: str) -> str:
    """The name of a study or a run, which is one folder. ConfigError says why another text is none."""
    remedy = f"give a name, for example {key}=first_try"
    if not isinstance(value, str):
        raise ConfigError(f"{key} is {written(value)}", remedy=remedy)
    if why := _not_a_name(value):
        shown = value if len(value) <= 60 else f"{value[:60]}..."
        raise ConfigError(f"{key} is {shown!r}, {why}", remedy=remedy)
    return value


def _not_a_name(value: str) -> str:
    """Why this text is no name of a folder of al's; empty where it is one."""
    if not value.strip():
        return "which is empty"
    if "/" in value or "\\" in value:
        return "and a name is one folder, without a slash"
    if value.startswith("."):
        return "and a name does not begin with a dot"
    if not value.isprintable() or value != value.strip():
        return "and a name has no line breaks, control characters or blanks at its ends"
    if len(value.encode("utf-8", "surrogateescape")) > MAX_BYTES:
        return f"which has {len(value.encode('utf-8', 'surrogateescape'))} bytes, and a name has at most {MAX_BYTES}"
    if value.lower() in TAKEN:
        return "and al writes something of that name itself"
    return ""


def check_path(value: Any, key: str) -> str:
    """Text that can be a path, whether or not something lies there. ConfigError for any other value."""
    remedy = f"give a path, for example {key}=my_folder"
    if not isinstance(value, str):
        raise ConfigError(f"{key} is {written(value)}, which is no path", remedy=remedy)
    if not value.strip():
        raise ConfigError(f"{key} is empty", remedy=remedy)
    if "\0" in value:
        raise ConfigError(f"{key} holds a NUL character, which no path can", remedy=remedy)
    try:
        Path(value).expanduser()
    except RuntimeError as error:
        what = f"{key} is {value!r}, and there is no user of that name"
        raise ConfigError(what, remedy="give the whole path of a folder or file that is called so") from error
    sizes = [len(part.encode("utf-8", "surrogateescape")) for part in value.split("/")]
    if max(sizes) > MAX_PART or sum(sizes) + len(sizes) > MAX_PATH:
        what = f"{key} is {value[:60]!r}..., which is too long: a name in it has {max(sizes)} bytes"
        raise ConfigError(what, remedy=f"a name has at most {MAX_PART} bytes, a path at most {MAX_PATH}")
    return value
