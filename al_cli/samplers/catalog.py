"""The sampler files of a configuration folder, read without Hydra."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from al_cli.errors import ConfigError

IMPORTED = "imported"


def sampler_files(conf_dir: Path) -> list[Path]:
    """`conf_dir/*.yaml` by name, but for the one that takes its images from a file and so computes nothing."""
    return sorted(path for path in Path(conf_dir).glob("*.yaml") if path.stem != IMPORTED)


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
