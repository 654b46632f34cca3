"""What `al run --help` says of every setting: the comments of the files in conf/, where each setting is explained once."""

import re
from pathlib import Path
from typing import NamedTuple

# Which file explains the settings of a group; its other files have other values of the same settings.
EXPLAINED_IN = {"dataset": "coco", "model": "zoo", "training": "ppal"}
HELP_WIDTH = 120


class Setting(NamedTuple):
    """A key as it is typed, its default as it is written, and what it means."""

    key: str
    default: str
    meaning: str


def explained_in(path: Path, prefix: str = "") -> list[Setting]:
    """The settings at the top level of a YAML file with the comments behind them, continued on lines of their own."""
    found: list[Setting] = []
    aligned = False  # whether a comment line that comes now continues the one before
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"(\w+):\s*(.*?)\s*(?:\s#\s*(.*))?", line):
            aligned = match[3] is not None
            found.append(Setting(prefix + match[1], match[2], match[3] or ""))
        elif aligned and (more := re.fullmatch(r"\s+#\s*(.*)", line)):
            last = found[-1]
            found[-1] = last._replace(meaning=f"{last.meaning} {more[1]}")
        else:
            aligned = False
    return found


def settings() -> list[Setting]:
    """Every setting of a run: those of conf/config.yaml, then those of each group."""
    from al_cli.experiment.compose import OF_THE_FILE, shipped

    conf = shipped("conf")
    found = [setting for setting in explained_in(conf / "config.yaml") if setting.key != "defaults"]
    for group, name in EXPLAINED_IN.items():
        found += [s for s in explained_in(conf / group / f"{name}.yaml", f"{group}.") if s.key not in OF_THE_FILE]
    return found


def help_text() -> str:
    """The choices of each group, then every setting with its default and its meaning."""
    from al_cli.experiment.compose import group_choices
    from al_cli.experiment.words import GROUPS

    lines = ["choices, as group=name:"]
    for group in GROUPS:
        lines += columns(f"  {group}", ", ".join(sorted(group_choices(group))), at=13)
    lines += ["", "settings, as key=value (the value here is the default; a model or training may bring its own):"]
    for setting in settings():
        default = "" if setting.default == "???" else setting.default
        lines += columns(f"  {setting.key}={default}", setting.meaning, at=31)
    return "\n".join(lines) + "\n"


def columns(head: str, body: str, at: int) -> list[str]:
    """`head`, and `body` wrapped in a column that starts at this place: on the next line where the head is too long."""
    import textwrap

    rows = [" " * at + row for row in textwrap.wrap(body, HELP_WIDTH - at)]
    return [head + rows[0][len(head) :], *rows[1:]] if rows and len(head) < at else [head, *rows]
