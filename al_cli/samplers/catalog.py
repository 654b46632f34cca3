"""Samplers as configuration has them: files of stages, and the functions that their `_target_` names, looked up before
anything is imported (`al_cli/lookup.py`)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from al_cli.errors import ConfigError
from al_cli.lookup import NOBODY, Known, NotKnown, find, find_given
from al_cli.samplers.base import declaration_of
from al_cli.samplers.select_modal import modal

IMPORTED = "imported"
NOT_OURS = (IMPORTED, "modal")  # files that compute nothing of our own: what they pick is decided elsewhere
HOME = "al_cli.samplers"
MARKS = ("score", "selection")


def sampler_files(conf_dir: Path) -> list[Path]:
    """`conf_dir/*.yaml` by name, but for those that only say who else picks: a file, or a strategy of modAL."""
    return sorted(path for path in Path(conf_dir).glob("*.yaml") if path.stem not in NOT_OURS)


def read_stages(path: Path) -> list[dict[str, Any]]:
    """The stages of a sampler file with their functions as partials: what Hydra would instantiate, without Hydra."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.get("name") != path.stem or not content.get("stages"):
        raise ConfigError("not a sampler", where=str(path), remedy=f"it needs `name: {path.stem}` and a list `stages`")
    return [read_stage(stage) for stage in content["stages"]]


def read_stage(stage: Any, known: Known = NOBODY) -> dict[str, Any]:
    """A stage as configuration has it, its functions as partials. ConfigError for one that is not to be run, or is none."""
    if not isinstance(stage, Mapping) or "_target_" in stage:
        remedy = "write it as {score: ..., select: ..., keep: ...}"
        raise ConfigError(f"a stage is {stage!r}", where="sampler stage", remedy=remedy)
    return {str(key): _part(value, known) if isinstance(value, Mapping) else value for key, value in stage.items()}


def _part(node: Mapping[str, Any], known: Known, theirs: bool = False) -> Callable[..., Any]:
    """The function that `_target_` names, with the other keys as its options. Those may be functions in turn.

    `theirs`: a strategy of modAL, which is neither a score nor a selection."""
    if not isinstance(name := node.get("_target_"), str):
        raise ConfigError(f"{dict(node)} names no function", where="sampler stage", remedy="give it a `_target_`")
    strange = [key for key in node if str(key).startswith("_") and key not in ("_target_", "_partial_")]
    if strange or node.get("_partial_", True) is not True:
        remedy = "write {_target_: package.module.NAME, _partial_: true} and its options"
        raise ConfigError(f"{name} is given {[*strange, '_partial_'][0]}", where="sampler stage", remedy=remedy)
    try:
        function = find_given(name, known) if theirs else find(name, MARKS, HOME, known)
    except NotKnown as error:
        remedy = error.remedy or f"name it as {'package.module.NAME' if theirs else 'al_cli.samplers.NAME'}"
        raise ConfigError(f"no function {name!r}: {error.what}", where="sampler stage", remedy=remedy) from error
    if not theirs:
        declaration_of(function)
    options = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    inner = {key: v for key, v in options.items() if isinstance(v, Mapping) and "_target_" in v}
    nested = {key: _part(v, known, function is modal and key == "strategy") for key, v in inner.items()}
    return functools.partial(function, **options | nested)
