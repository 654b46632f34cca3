"""What there is to choose from: the sampler files of a configuration folder beside what their functions declare."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from al_cli.errors import ConfigError
from al_cli.samplers.base import Needs, declaration_of, name_of, needs_of, together
from al_cli.types import ORACLES, Signal


@dataclass(frozen=True)
class SamplerRow:
    """One line of `al samplers`. `needs` is None where a sampler costs no inference, `labeled` where it does not look at
    the labeled images; `oracle` are those of its needs that take the labels of the pool: it is no practical method."""

    name: str
    about: str
    family: str
    stages: str
    source: str
    needs: Needs
    labeled: Needs
    oracle: frozenset[Signal]


def catalog(conf_dir: Path) -> list[SamplerRow]:
    """A row for each `conf_dir/*.yaml`, by name. ConfigError names a file that is not a sampler."""
    return [_row(path) for path in sorted(Path(conf_dir).glob("*.yaml"))]


def read_stages(path: Path) -> list[dict[str, Any]]:
    """The stages of a sampler file with their functions as partials: what Hydra would instantiate, without Hydra."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.get("name") != path.stem or not content.get("stages"):
        raise ConfigError("not a sampler", where=str(path), remedy=f"it needs `name: {path.stem}` and a list `stages`")
    return [{k: _partial(v) if isinstance(v, Mapping) else v for k, v in s.items()} for s in content["stages"]]


def _partial(node: Mapping[str, Any]) -> Callable[..., Any]:
    options = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    try:
        module, _, name = node["_target_"].rpartition(".")
        return functools.partial(getattr(importlib.import_module(module), name), **options)
    except (KeyError, ValueError, ImportError, AttributeError) as error:
        raise ConfigError(
            f"no function {node.get('_target_')!r}", where="sampler stage", remedy="name it as al_cli.samplers.NAME"
        ) from error


def _row(path: Path) -> SamplerRow:
    stages = read_stages(path)
    parts = [stage[role] for stage in stages for role in ("score", "select") if stage.get(role)]
    needs = together(needs_of(part) for part in parts)
    return SamplerRow(
        name=path.stem,
        about=path.read_text(encoding="utf-8").splitlines()[0].lstrip("# "),
        family=_joined(declaration_of(part).family for part in parts),
        stages=", then ".join(_stage(stage) for stage in stages),
        source=_joined(declaration_of(part).source for part in parts),
        needs=needs,
        labeled=together(declaration_of(part).labeled for part in parts),
        oracle=(needs or frozenset()) & ORACLES,
    )


def _stage(stage: Mapping[str, Any]) -> str:
    names = [name_of(stage[role]) for role in ("score", "select") if stage.get(role)]
    share = f", share {stage['share']}" if stage.get("share") else ""
    return f"{' -> '.join(names)} (keep {stage.get('keep', 'budget')}{share})"


def _joined(words: Any) -> str:
    return "; ".join(dict.fromkeys(words))
