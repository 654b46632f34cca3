"""From the words after `al run` to checked configurations, before anything slow starts.

Hydra composes; this file finds `conf/`, names runs, and turns what Hydra says of a bad override into one sentence.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from al_cli.errors import ConfigError, first_line, suggest
from al_cli.tasks import DEFAULT

CONFIG_NAME = "config"
# Where a run goes or which study it belongs to does not change what it computes, so it is not part of its name.
NOT_IN_NAME = {
    "sampler",
    "seed",
    "study",
    "run_name",
    "outputs",
    "device",
    "dataset",
    "dataset.root",
    "dataset.name",
    "store",
    "tracking",
    "reference",
}
VALUE_ONLY = {"model", "training", "schedule", "dataset"}  # config groups whose choice speaks for itself
MAX_NAME = 120


def shipped(folder: str) -> Path:
    """`conf` or `sweeps`: inside an installed package, else at the top of the checkout."""
    package = Path(str(resources.files("al_cli")))
    inside = package / f"_{folder}"
    return inside if inside.is_dir() else package.parent / folder


def run_name(sampler: str, seed: int, explicit: str | None, overrides: Iterable[str], reference: bool = False) -> str:
    """A stable folder name: the sampler, the other overrides that matter in alphabetical order, the seed.

    >>> run_name("ccms", 10, None, ["seed=10", "ud_split=[1,0.75]", "sampler=ccms", "training.iterations=9"])
    'ccms_ud1-0.75_iterations9_s10'
    """
    if explicit:
        return str(explicit)
    parts = []
    for override in sorted(overrides, key=lambda o: (not o.startswith("ud_split"), o.lstrip("+~"))):
        if override.lstrip("+~").partition("=")[0] not in NOT_IN_NAME and override != f"task={DEFAULT}":
            parts.append(label(override))
    name = "_".join(["reference" if reference else sampler, *parts, f"s{seed}"])  # a reference asks no sampler
    if len(name) > MAX_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{name[: MAX_NAME - 20]}-{digest}_s{seed}"
    return name


def label(override: str) -> str:
    """An override as a part of a name: its key's last word and its value.

    >>> label("ud_split=[1,0.75]"), label("training.iterations=9"), label("model=fake")
    ('ud1-0.75', 'iterations9', 'fake')
    """
    key, _, value = override.lstrip("+~").partition("=")
    value = re.sub(r"[^A-Za-z0-9.+]+", "-", value).strip("-")
    words = key.split(".")
    name = {**dict.fromkeys(VALUE_ONLY, ""), "ud_split": "ud"}.get(key, words[-1] if words[0] != "seeds" else key)
    return re.sub(r"[^A-Za-z0-9.+]+", "-", name) + value


def register_resolvers() -> None:
    OmegaConf.register_new_resolver("al_run_name", run_name, replace=True)
    OmegaConf.register_new_resolver("al_folder_name", lambda root: folder_name(str(root)), replace=True)


def folder_name(root: str) -> str:
    """The name of a dataset's folder; of `data.yaml` itself, the folder it lies in."""
    path = Path(root).expanduser().resolve()
    return path.parent.name if path.suffix in {".yaml", ".yml"} else path.name


OPEN = ("model.overrides.", "model.influence.")  # mappings that hold only what differs from the defaults


def open_keys(words: Iterable[str]) -> list[str]:
    """`model.overrides.SOLVER.BASE_LR=1` as `++model...`: these keys are Detectron2's to know."""
    return [f"++{word}" if word.startswith(OPEN) else word for word in words]


def job_overrides(overrides: Sequence[str], multirun: bool) -> list[list[str]]:
    """One list of overrides per run: a sweep `seed=0,1` becomes two. ConfigError for a word that is no override."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        remedy = "write overrides as key=value, and quote brackets: 'ud_split=[1,0.5]'"
        raise ConfigError(first_line(error), remedy=remedy) from error
    if multirun:
        return [list(job) for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]
    swept = [override.input_line for override in parsed if override.is_sweep_override()]
    if swept:
        remedy = "add -m to run them all, or brackets to make it one list"
        raise ConfigError(f"{swept[0]} names several values", remedy=remedy)
    return [list(overrides)]


def compose_all(overrides: Sequence[str], multirun: bool) -> list[DictConfig]:
    """The configuration of every run that these overrides ask for. Raises ConfigError for the first that is wrong."""
    register_resolvers()
    jobs = job_overrides(overrides, multirun)
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(shipped("conf").resolve()), version_base="1.3", job_name="run"):
        return [compose_one(job) for job in jobs]


def compose_one(overrides: list[str]) -> DictConfig:
    try:
        config = compose(CONFIG_NAME, overrides, return_hydra_config=True)
        config.hydra.job.num = 0
        config.hydra.job.id = "0"
        config.hydra.run.dir = config.hydra.run.dir  # resolves the name now, so that its errors show now
        return config
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error, overrides) from error


def explain(error: Exception, overrides: Sequence[str]) -> ConfigError:
    """Hydra's complaint as one sentence with the valid choices."""
    text = f"{error}\n{error.__cause__ or ''}"
    if match := re.search(r"Could not find '([\w/]+)/([\w.-]+)'", text):
        group, choice = match.groups()
        remedy = suggest(choice, group_choices(group))
        return ConfigError(f"there is no {group} called {choice}", where=f"{group}={choice}", remedy=remedy)
    if match := re.search(r"Could not override '([^']+)'", text):
        key = match.group(1)
        where = next((o for o in overrides if o.lstrip("+~").startswith(key)), key)
        return ConfigError(f"there is no setting called {key}", where=where, remedy=suggest(key, known_keys(key)))
    if match := re.search(r"Missing mandatory value: ([\w.]+)", text):
        key = match.group(1)
        return ConfigError(f"{key} is not given", remedy=f"add {key}=...")
    return ConfigError(first_line(error), remedy="`al run --cfg job` prints every setting")


def group_choices(group: str) -> list[str]:
    return [path.stem for path in (shipped("conf") / group).glob("*.yaml")]


def known_keys(near: str) -> list[str]:
    """Every setting beside the unknown one: those of its parent where that exists, else the top level and the groups."""
    config = OmegaConf.to_container(compose(CONFIG_NAME, []), resolve=False)
    parent: object = config
    prefix = near.split(".")[:-1]
    for part in prefix:
        parent = parent.get(part) if isinstance(parent, dict) else None
    groups = [path.name for path in shipped("conf").iterdir() if path.is_dir()]
    if isinstance(parent, dict) and prefix:
        return [".".join([*prefix, str(key)]) for key in parent]
    assert isinstance(config, dict)
    return sorted({str(key) for key in config} | set(groups))
