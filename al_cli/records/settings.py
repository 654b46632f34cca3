"""The configuration of a run as it is kept: its text, its form in today's settings, and what another one is to it.

Knows no folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import yaml

from al_cli.datasets.checks import shortened
from al_cli.datasets.held_out import spelled_now
from al_cli.records.formats import plain_yaml
from al_cli.tasks import DEFAULT

# Settings that configurations of this format may lack, and what they meant
ADDED = {
    "task": DEFAULT,
    "portable": False,
    "evaluate": "test",
    "measure_loss": False,
    "measure_training": False,
    "stop": {"metric": None, "at": None},
}
ADDED_TO_TRAINING = {"milestones": None, "shuffle": True, "stop_on": "loss"}
ADDED_TO_DETECTORS = {"loss_prediction": "own"}  # the fake learner has no such setting
ADDED_TO_FUNCTIONS: dict[str, dict[str, Any]] = {  # of a sampler's stages, by the end of their names
    "samplers.active_transfer": {"head": "new", "of": "validation"},
    "samplers.class_balanced": {"classes": "predicted"},
    "samplers.class_entropy": {"score_threshold": 0.0},
    "samplers.coreset": {"feature": "image"},
    "samplers.discriminative": {"head": "new"},
    "samplers.ccms_kmedoids": {"clustering": "swap"},
    "samplers.probabilistic": {"pick": "draw"},
}
# How far a run goes: more of it is the same run, continued. A reference trains once and never ends earlier.
FAR = ("rounds", "ud_split", "stop.metric", "stop.at")
# What a dataset is called and where its files lie: a copy elsewhere is the same data.
PLACE_OF_DATA = re.compile(r"dataset\.(root|name|(train|val|test)\.(images|annotations))")

UNSAID = object()
# What every configuration that al writes has, and of what kind it is; a run of another shape was edited, or is broken.
SHAPE: dict[str, type | tuple[type, ...]] = {
    "rounds": int,
    "seed": (int, type(None)),
    "budget_unit": str,
    "device": str,
    "dataset": dict,
    "model": dict,
    "sampler": dict,
    "seeds": dict,
    "training": dict,
    "dataset.format": str,
    "dataset.name": str,
    "dataset.root": str,
    "model.name": str,
    "sampler.name": str,
    "sampler.stages": list,
    "training.data": str,
    "training.init": str,
    "stop": dict,
    "stop.metric": (str, type(None)),
    "stop.at": (int, float, type(None)),
}
NEEDED = (
    *(key for key in SHAPE if key != "dataset.root"),
    "initial", "budget", "ud_split", "reference", "seeds.initial", "seeds.training", "seeds.sampling",
)  # fmt: skip


def config_text(config: Mapping[str, Any]) -> str:
    """The content of config.yaml."""
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)


def parse_config(content: str | bytes) -> dict[str, Any]:
    """The configuration of a run of any version, in today's settings. ValueError says why this is none."""
    try:
        config = plain_yaml(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"the configuration cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ValueError("the configuration is not a mapping")
    for key, kind in SHAPE.items():
        value = at(config, key)
        if value is not UNSAID and (not isinstance(value, kind) or isinstance(value, bool)):
            raise ValueError(f"the configuration has {key}: {shortened(value)}, which al does not write")
    now = ADDED | config
    if isinstance(dataset := now.get("dataset"), dict):
        now["dataset"] = spelled_now(dataset)
    if isinstance(training := now.get("training"), dict) and training:
        now["training"] = ADDED_TO_TRAINING | training
    if isinstance(model := now.get("model"), dict) and "dropout" in model:
        now["model"] = ADDED_TO_DETECTORS | model
    sampler: Any = now.get("sampler")
    if isinstance(sampler, dict) and isinstance(sampler.get("stages"), list):
        now["sampler"] = {**sampler, "stages": _stages_now(sampler["stages"])}
    return now


def _stages_now(stages: list[Any]) -> list[Any]:
    """A sampler's stages with what they may lack: options of their functions, and which images follow a share."""
    now: list[Any] = []
    shared = False
    for said in stages:
        if not isinstance(said, dict):
            return stages
        stage = {"of": "outside", **said} if shared else dict(said)
        for part in ("score", "select"):
            if isinstance(call := stage.get(part), dict):
                name = ".".join(str(call.get("_target_")).split(".")[-2:])
                stage[part] = {**ADDED_TO_FUNCTIONS.get(name, {}), **call}
        shared = "share" in stage
        now.append(stage)
    return now


def at(config: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key; UNSAID where there is none."""
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return UNSAID
        value = value[part]
    return value


def stops_early(config: Mapping[str, Any]) -> bool:
    """Whether the trainings of a configuration last until validation stops them: then their epochs say something."""
    return at(config, "training.duration") == "early_stop"


def as_stored(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as config.yaml gives it back."""
    return parse_config(config_text(config))


def what_is(new: Mapping[str, Any], old: Mapping[str, Any]) -> Literal["same", "longer", "other"]:
    """What a configuration is to that of a run: the same; `longer` where it only asks for more rounds, with the same UD-splits
    and perhaps further ones, or for another `stop` (whether the finished rounds allow that is for their records to say); or
    another. Where the data lies does not count."""
    methods = [{k: v for k, v in flatten(c).items() if not PLACE_OF_DATA.fullmatch(k)} for c in (old, new)]
    if new.get("reference"):
        methods = [{k: v for k, v in c.items() if not k.startswith("stop")} for c in methods]
    if methods[0] == methods[1]:
        return "same"
    rest = [{k: v for k, v in c.items() if k not in FAR} for c in methods]
    more = all(isinstance(c.get("rounds"), int) for c in (old, new)) and new["rounds"] >= old["rounds"]
    before, now = old.get("ud_split"), new.get("ud_split")
    if isinstance(before, list) and isinstance(now, list):
        begins = now[: len(before)] == before
    else:
        begins = before == now
    return "longer" if rest[0] == rest[1] and more and begins and not new.get("reference") else "other"


def why_other(new: Mapping[str, Any], old: Mapping[str, Any]) -> str:
    """What differs between a configuration and that of a run, in a sentence."""
    before, now = flatten(old), flatten(new)
    absent = "nothing"
    changed = {
        key: f"{key} was {before.get(key, absent)} and is now {now.get(key, absent)}"
        for key in sorted(before.keys() | now.keys())
        if (key in before, before.get(key)) != (key in now, now.get(key))
    }
    if "rounds" in changed and changed.keys() <= {*FAR}:
        if new.get("reference"):
            return f"a reference trains once, for as many steps as its number of rounds says: {changed['rounds']}"
        if new["rounds"] < old["rounds"]:
            return f"a run can take more rounds, but not fewer: {changed['rounds']}"
    return f"this folder holds a run of another configuration: {'; '.join(changed.values())}"


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}. Lists are values; an empty mapping is a value too."""
    if not isinstance(config, Mapping) or not config:
        return {prefix: config}
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
