"""A sweep as it is written in YAML: arms, seeds and what they share, read and checked without composing anything.

The format is described in sweeps/README.md. Everything in a file is a Hydra override in the end: `base` and the arms are
mappings from a key of `al run` to a YAML value, and `literal` writes such a value in Hydra's own grammar.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from al_cli.errors import ConfigError, RunError, suggest, written
from al_cli.experiment import compose
from al_cli.experiment.names import check_path, label
from al_cli.experiment.settings import MAX_SEED
from al_cli.experiment.words import check_words, key_of, literal
from al_cli.lookup import NOBODY, Known
from al_cli.records.claim import CLAIM_KEYS as KEYS_OF_CLAIM
from al_cli.records.claim import parse_claim
from al_cli.sweep.yaml_text import read_yaml
from al_cli.tasks import DEFAULT, Task, named

SWEEP_KEYS = ("source", "base", "seeds", "arms", "random", "reference", "claim", "hydra")
# What the sweep itself sets for every run: an arm cannot.
NOT_IN_ARMS = ("seed", "study", "run_name", "outputs", "reference")
NOT_IN_BASE = ("seed", "run_name", "reference")
NOT_CROSSED = ("run_name", "reference")
RANDOM = "random"
REFERENCE = "reference"  # runs on all labels are called reference_s<seed>, so no arm may be
MAX_ARM = 150  # characters, so that a seed fits behind them
ARM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class Arm:
    """One line of the comparison: a name and the overrides that make it, besides those that all arms share."""

    name: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Sweep:
    """A checked sweep file. `arms` has the random arm unless `random: false`; names are unique and so are the arms."""

    name: str
    source: str
    base: tuple[str, ...]
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    reference: bool = False
    claim: Mapping[str, Any] | None = None
    typed: str = ""  # what it was asked for with: the name, or the path of its file


def shipped_names() -> list[str]:
    return sorted(path.stem for path in compose.shipped("sweeps").glob("*.yaml"))


def read_sweep(name: str, known: Known = NOBODY) -> Sweep:
    """The sweep of that name in `sweeps/`, or of the file at that path. ConfigError says what is wrong in it, and where.

    `known`: whose task it may name; a file may come from somebody else.
    """
    path = Path(check_path(name, "the sweep")).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        path = compose.shipped("sweeps") / f"{name}.yaml"
        if not path.is_file():
            remedy = f"{suggest(name, shipped_names())}; or give a file: al sweep my_sweep.yaml"
            raise ConfigError(f"there is no sweep called {name}", remedy=remedy)
    try:
        return replace(parse_sweep(path.stem, read_yaml(path), known), typed=name)
    except ConfigError as error:
        where = f"{path}: {error.where}" if error.where else str(path)
        raise ConfigError(error.what, where=where, remedy=error.remedy) from error


def parse_sweep(name: str, content: Any, known: Known = NOBODY) -> Sweep:
    """The sweep in a parsed YAML file."""
    if not isinstance(content, dict):
        raise ConfigError("a sweep is a mapping", remedy=f"its keys are {', '.join(SWEEP_KEYS)}")
    for key in content:
        if key not in SWEEP_KEYS:
            raise ConfigError(f"a sweep has no key {key}", remedy=suggest(str(key), SWEEP_KEYS))
    for key in ("random", "reference"):
        if not isinstance(content.get(key, False), bool):
            raise ConfigError(f"{key} is {content[key]!r}", remedy="give true or false")
    base = _overrides(content.get("base") or {}, "base", NOT_IN_BASE)
    if "hydra" in content:
        if both := [key for key in ("arms", "seeds") if key in content]:
            raise ConfigError(f"hydra.sweeper.params and {both[0]} both say what to run", remedy="keep one of them")
        shared, seeds, arms = _crossed(content["hydra"], name)
        base = merge(base, shared)
    else:
        arms, seeds = _arms(content.get("arms")), _seeds(content.get("seeds"))
    samplers = {words_to_dict(merge(base, arm.overrides)).get("sampler") for arm in arms}
    if content.get("random", True) and RANDOM not in samplers:
        arms = (Arm(RANDOM, ("sampler=random",)), *arms)
    _check_names(arms)
    check_distinct(Arm(arm.name, merge(base, arm.overrides)) for arm in arms)
    task = _task(words_to_dict(base), known) if "claim" in content else None
    claim = _claim(content.get("claim"), [arm.name for arm in arms], task)
    source = str(content.get("source") or "").strip()
    return Sweep(name, source, base, seeds, arms, content.get("reference", False), claim)


def _refuse_hydra(key: str, where: str) -> None:
    """ConfigError for a setting of Hydra: a search path says whose code may run."""
    if re.match(r"[+~]*hydra(\W|$)", key):
        remedy = f"type it: al sweep FILE {key}=..." if "searchpath" in key else "leave it out"
        raise ConfigError(f"{where} sets {key}, which a sweep cannot", where=where, remedy=remedy)


def _overrides(content: Any, where: str, refused: Iterable[str]) -> tuple[str, ...]:
    if not isinstance(content, dict):
        raise ConfigError(f"{where} is {content!r}", remedy="write its settings as key: value")
    words = []
    for key, value in content.items():
        if not isinstance(key, str) or "=" in key:
            raise ConfigError(f"{where} has the key {key!r}", where=where, remedy="keys are those of al run, as text")
        _refuse_hydra(key, where)
        words.append(f"{key}={literal(value, f'{where}.{key}')}")
    check_words(words)
    _refuse_keys(words, where, refused)
    return tuple(words)


def _refuse_keys(words: Iterable[str], where: str, refused: Iterable[str]) -> None:
    for key in map(key_of, words):
        if key in refused:
            remedy = "the sweep's own keys are seeds: [...] and reference: true; the study is called as the file"
            raise ConfigError(f"{where} sets {key}, which the sweep sets for each run", where=where, remedy=remedy)


def check_keys_of_arm(arm: str, words: Sequence[str]) -> None:
    """ConfigError for overrides that no arm can have."""
    for key in map(key_of, words):
        _refuse_hydra(key, f"arm {arm}")
    _refuse_keys(words, f"arm {arm}", NOT_IN_ARMS)


def _seeds(content: Any) -> tuple[int, ...]:
    return check_seeds([0] if content is None else content, "seeds")


def check_seeds(content: Any, where: str) -> tuple[int, ...]:
    """Distinct whole numbers from 0 up, at least one."""
    seeds = content if isinstance(content, list) else [content]
    if not seeds or any(isinstance(seed, bool) or not isinstance(seed, int) or seed < 0 for seed in seeds):
        raise ConfigError(f"{where} is {written(content)}", remedy=f"give whole numbers from 0 up: {where}=[0,1,2]")
    if len(seeds) > compose.MAX_RUNS:
        remedy = f"one command makes at most {compose.MAX_RUNS:,} runs: a study can be run in parts, with seeds=[...]"
        raise ConfigError(f"{where} has {len(seeds):,} values", remedy=remedy)
    if max(seeds) > MAX_SEED:
        raise ConfigError(f"{where} has the value {max(seeds)}", remedy=f"a seed is at most {MAX_SEED}")
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"{where} is {content!r}, which names one twice", remedy="leave out the repeated one")
    return tuple(seeds)


def _arms(content: Any) -> tuple[Arm, ...]:
    if not isinstance(content, list) or not content:
        example = "arms: [{name: half, sampler: ccms, ud_split: 0.5}]"
        raise ConfigError("the sweep names no arms", where="arms", remedy=f"list them, for example {example}")
    arms = []
    for number, arm in enumerate(content, 1):
        if not isinstance(arm, dict) or not isinstance(arm.get("name"), str):
            remedy = "write it as {name: ARM_NAME, sampler: ..., any other setting: ...}"
            raise ConfigError(f"arm {number} has no name: {arm!r}", where="arms", remedy=remedy)
        settings = {key: value for key, value in arm.items() if key != "name"}
        arms.append(Arm(arm["name"], _overrides(settings, f"arm {arm['name']}", NOT_IN_ARMS)))
    return tuple(arms)


def _crossed(content: Any, name: str) -> tuple[tuple[str, ...], tuple[int, ...], tuple[Arm, ...]]:
    """Hydra's own form, `hydra: {sweeper: {params: {key: "a,b"}}}`: base, seeds, and an arm for every combination.

    An arm is called by its swept values, the sampler's first: `ccms_ud0.5`. With nothing swept but the seed there is one
    arm, called as the file.
    """
    sweeper = content["sweeper"] if isinstance(content, dict) and list(content) == ["sweeper"] else None
    params = sweeper["params"] if isinstance(sweeper, dict) and list(sweeper) == ["params"] else None
    if not isinstance(params, dict) or not params:
        remedy = "hydra has one key here: hydra: {sweeper: {params: {sampler: 'ccms,entropy', seed: '0,1'}}}"
        raise ConfigError("hydra holds something else than sweeper.params", where="hydra", remedy=remedy)
    words = [f"{key}={value if isinstance(value, str) else literal(value, key)}" for key, value in params.items()]
    for key in map(key_of, words):
        _refuse_hydra(key, "hydra.sweeper.params")
        if key in NOT_CROSSED:
            raise ConfigError(f"hydra.sweeper.params sets {key}, which the sweep sets for each run", where="hydra")
    jobs = [tuple(job) for job in compose.split_runs(words, many=True)]
    keys = [key_of(word) for word in words]
    swept = [key for key in keys if len({words_to_dict(job)[key] for job in jobs}) > 1 and key != "seed"]
    seeds = list(dict.fromkeys(words_to_dict(job).get("seed", "0") for job in jobs))
    shared = tuple(word for word in jobs[0] if key_of(word) not in (*swept, "seed"))
    combinations = dict.fromkeys(tuple(word for word in job if key_of(word) in swept) for job in jobs)
    arms = tuple(Arm(_name(words) or name, words) for words in combinations)
    try:
        numbers: list[Any] = [int(seed) for seed in seeds]
    except ValueError:
        numbers = list(seeds)
    return shared, check_seeds(numbers, "seed"), arms


def _name(words: tuple[str, ...]) -> str:
    first = sorted(words, key=lambda word: key_of(word) != "sampler")
    return "_".join(words_to_dict([w])["sampler"] if key_of(w) == "sampler" else label(w) for w in first)


def _check_names(arms: tuple[Arm, ...]) -> None:
    seen: set[str] = set()
    for arm in arms:
        if not ARM_NAME.fullmatch(arm.name) or len(arm.name) > MAX_ARM:
            remedy = f"an arm's name is part of folder names: letters, digits, and . _ + - after the first, {MAX_ARM} at most"
            raise ConfigError(f"an arm is called {arm.name[:60]!r}", where="arms", remedy=remedy)
        if arm.name.lower() == REFERENCE:
            remedy = "give the arm another name, or set reference: true for runs on all labels"
            raise ConfigError("no arm can be called reference", where="arms", remedy=remedy)
        if arm.name.lower() in seen:  # two folders that differ in case alone are one on some disks
            raise ConfigError(f"two arms are called {arm.name}", where="arms", remedy="give each its own name")
        seen.add(arm.name.lower())


def check_distinct(arms: Iterable[Arm], typed: Sequence[str] = ()) -> None:
    """ConfigError where two of these arms, which have all that their runs share, are the same. `typed`: what the command line
    says of the runs."""
    seen: dict[frozenset[str], str] = {}
    for arm in arms:
        words = frozenset(arm.overrides)
        if words in seen:
            raise ConfigError(
                f"arms {seen[words]} and {arm.name} are the same{' with what the command line sets' if typed else ''}",
                where=" ".join(typed) or "arms",
                remedy="leave out the override that makes both arms the same" if typed else "leave one out",
            )
        seen[words] = arm.name


def _task(base: Mapping[str, str], known: Known) -> Task:
    """The task that these settings name, or else their dataset's."""
    path = compose.shipped("conf") / "dataset" / f"{base.get('dataset')}.yaml"
    of_dataset = read_yaml(path).get("task", DEFAULT) if path.is_file() else DEFAULT
    return named(base.get("task", of_dataset), known)


def check_claim(content: Mapping[str, Any], task: Task) -> None:
    """ConfigError where runs of this task cannot answer the claim."""
    try:
        parse_claim(content, task)
    except RunError as error:
        raise ConfigError(error.what, where=error.where, remedy=error.remedy) from error


def _claim(content: Any, arms: list[str], task: Task | None) -> dict[str, Any] | None:
    if content is None or task is None:
        return None
    example = "claim: {arm: ccms, against: random, metric: AUC, cost: boxes, alpha: 0.05}"
    if not isinstance(content, dict):
        raise ConfigError(f"claim is {content!r}", where="claim", remedy=f"write it as {example}")
    check_claim(content, task)
    if missing := [key for key in KEYS_OF_CLAIM if key not in content]:
        remedy = f"a claim is exact, or it can be bent later: {example}"
        raise ConfigError(f"the claim does not say its {', '.join(missing)}", where="claim", remedy=remedy)
    for key in ("arm", "against"):
        if content[key] not in arms:
            remedy = suggest(str(content[key]), arms)
            raise ConfigError(f"the claim is of an arm {content[key]!r}", where=f"claim.{key}", remedy=remedy)
    return dict(content)


def words_to_dict(words: Iterable[str]) -> dict[str, str]:
    return {key_of(word): word.partition("=")[2] for word in words}


def merge(*groups: Iterable[str]) -> tuple[str, ...]:
    """One override a key: the last one wins."""
    return tuple({key_of(word): word for group in groups for word in group}.values())
