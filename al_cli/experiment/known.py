"""Whose functions a command may name: what a person typed, and the configuration folders that they named.

A run folder, a dataset, a checkpoint, a file of picks, a store and a study's file may come from anybody, so none of them adds
to this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from al_cli.errors import RunError
from al_cli.experiment.compose import SEARCHPATH, folders, places
from al_cli.lookup import Known
from al_cli.records import RunFolder
from al_cli.records.settings import NEEDED, UNSAID, at, flatten

OWN_FORMATS = ("digits", "digits_images")  # formats without a folder of the user's
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")


def known_from(words: Iterable[str]) -> Known:
    """What the words of a command line name: dotted names, and folders with `hydra.searchpath=[file://FOLDER]`.

    A folder `conf` in the current one is a configuration folder too. So modules next to it may be named by anybody, as may
    those in the folders of the search path.
    """
    names: set[str] = set()
    conf: list[Path] = []
    for word in words:
        key, _, value = word.lstrip("+~").partition("=")
        if key == SEARCHPATH:
            conf += [folder for place in places(word) for folder in folders(place)]
        elif key.split(".")[0] in ("sampler", "task"):
            names |= set(DOTTED.findall(value))
    here = Path.cwd()
    modules = list(conf)
    if (here / "conf").is_dir():
        conf.append(here / "conf")
        modules.append(here)
    return Known(frozenset(names), tuple(conf), tuple(modules))


def recorded_config(run: Path) -> dict[str, Any]:
    """The configuration of a run that may be somebody else's, to compose from. RunError for a missing or broken one.

    What al records is resolved, so `${...}` was put there: it could read this machine's environment into a file or a URL.
    """
    config = RunFolder(run).config()
    if texts := [key for key, value in flatten(config).items() if "${" in f"{key}{value}"]:
        remedy = "restore config.yaml as al wrote it"
        raise RunError(
            f"{texts[0]} of this run holds ${{...}}, which is not read from a run", where=str(run), remedy=remedy
        )
    needed = NEEDED if at(config, "dataset.format") in OWN_FORMATS else (*NEEDED, "dataset.root")
    if missing := [key for key in needed if at(config, key) is UNSAID]:
        raise RunError(f"config.yaml does not say {missing[0]}", where=str(run), remedy="restore it as al wrote it")
    return config
