"""From words such as `sampler=ccms seed=0,1` to configurations and names of runs. Checks no value; `settings.py` does.

Hydra composes; this file finds `conf/`, names runs, and turns what Hydra says of a bad override into one sentence.
"""

import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from al_cli.datasets.held_out import SHARE_AS_TYPED, retired
from al_cli.errors import ConfigError, NotGiven, first_line, suggest
from al_cli.tasks import DEFAULT

CONFIG_NAME = "config"
# Where a run goes, which study it belongs to and what else it writes change nothing of what it computes.
WHERE = ("outputs", "study", "run_name", "store", "tracking", "plots")
# The study is named after the dataset; sampler, seed and reference have their own places in a name.
NOT_IN_NAME = {*WHERE, "sampler", "seed", "reference", "device", "dataset", "hydra.searchpath"}
PLACES = ("dataset.root", "dataset.name", "dataset.train", "dataset.val", "dataset.test")  # where data lies
VALUE_ONLY = {"model", "training", "schedule", "sampler.file"}  # settings whose value speaks for itself
MAX_NAME = 120


def shipped(folder: str) -> Path:
    """`conf` or `sweeps`: inside an installed package, else at the top of the checkout."""
    package = Path(str(resources.files("al_cli")))
    inside = package / f"_{folder}"
    return inside if inside.is_dir() else package.parent / folder


def run_name(config: Mapping[str, Any], words: Iterable[str]) -> str:
    """The name of a run's folder: its sampler, what else was said that matters, in alphabetical order, and its seed.

    The same words give the same name in every command; `run_name` in the configuration wins.

    >>> config = {"sampler": {"name": "ccms"}, "seed": 10, "run_name": None, "reference": False, "initial": 8, "budget": None}
    >>> run_name(config, ["seed=10", "ud_split=[1,0.75]", "sampler=ccms", "training.iterations=9"])
    'ccms_ud1-0.75_iterations9_s10'
    """
    if config["run_name"]:
        return str(config["run_name"])
    method = "reference" if config["reference"] else config["sampler"]["name"]  # a reference asks no sampler
    # Where rounds have a size of their own, more of them are the same run, continued.
    grows = all(is_count(config[key]) for key in ("initial", "budget"))
    return name_with(method, [word for word in words if not (grows and key_of(word) == "rounds")], config["seed"])


def is_count(amount: Any) -> bool:
    """Whether an amount is a number of images or boxes, and no share or equal part of the pool."""
    return isinstance(amount, int) or (isinstance(amount, float) and amount > 1)


def name_with(method: str, words: Iterable[str], seed: int) -> str:
    """`method`, the settings among these words that belong into a name, and the seed, joined by underscores."""
    last = {key_of(word): word for word in words}  # of a setting that is said twice, the last word counts
    said = [word for key, word in last.items() if key not in NOT_IN_NAME and not _is_place(word)]
    said = [word for word in said if word != f"task={DEFAULT}"]
    parts = [label(word) for word in sorted(said, key=lambda word: (not word.startswith("ud_split"), key_of(word)))]
    name = "_".join([method, *filter(None, parts), f"s{seed}"])
    if len(name) > MAX_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{name[: MAX_NAME - 20]}-{digest}_s{seed}"
    return name


def _is_place(word: str) -> bool:
    """Whether it only says where data lies. A share that is held out is a method and no place."""
    key, value = key_of(word), word.partition("=")[2].strip("'\"")
    return any(f"{key}.".startswith(f"{place}.") for place in PLACES) and not SHARE_AS_TYPED.fullmatch(value)


def label(word: str) -> str:
    """An override as a part of a name: its key's last word and its value; of a path, the file's name alone.

    >>> label("ud_split=[1,0.75]"), label("training.iterations=9"), label("model=fake")
    ('ud1-0.75', 'iterations9', 'fake')
    >>> label("sampler.file=/data/tables/picks.csv"), label("model.weights=~/w/old.pth")
    ('picks', 'weightsold')
    """
    key, _, value = word.lstrip("+~").partition("=")
    if ("/" in value and not value.startswith(("[", "{"))) or key == "sampler.file":
        value = Path(value.strip("'\"")).stem
    value = re.sub(r"[^A-Za-z0-9.+]+", "-", value).strip("-")
    words = key.split(".")
    name = {**dict.fromkeys(VALUE_ONLY, ""), "ud_split": "ud"}.get(key, words[-1] if words[0] != "seeds" else key)
    return re.sub(r"[^A-Za-z0-9.+]+", "-", name) + value


def folder_name(root: str) -> str:
    """The name of a dataset's folder; of `data.yaml` itself, the folder it lies in."""
    path = Path(root).expanduser().resolve()
    return path.parent.name if path.suffix in {".yaml", ".yml"} else path.name


OPEN = ("model.overrides.", "model.influence.")  # mappings that hold only what differs from the defaults


def open_keys(words: Iterable[str]) -> list[str]:
    """`model.overrides.SOLVER.BASE_LR=1` as `++model...`: these keys are Detectron2's to know."""
    return [f"++{word}" if word.startswith(OPEN) else word for word in words]


def split_runs(words: Sequence[str], many: bool) -> list[list[str]]:
    """The overrides of each run: with `many`, `seed=0,1` becomes two runs. ConfigError for a word that is no override."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(words))
    except HydraException as error:
        remedy = "write overrides as key=value, and quote brackets: 'ud_split=[1,0.5]'"
        raise ConfigError(first_line(error), remedy=remedy) from error
    choices = []
    for word, override in zip(words, parsed, strict=True):
        if not override.is_sweep_override():
            choices.append([word])
            continue
        if not many:
            remedy = "add -m to run them all, or brackets to make it one list"
            raise ConfigError(f"{word} names several values", remedy=remedy)
        if not override.is_discrete_sweep():
            raise ConfigError(f"{word} names no list of values", remedy="write the values, as in seed=0,1,2")
        key = override.get_key_element()
        choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
    return [list(run) for run in itertools.product(*choices)]


def refuse_hydra(words: Iterable[str]) -> None:
    """ConfigError for a setting of Hydra that would do nothing here: al places and starts its runs itself."""
    for word in words:
        key = key_of(word)
        if not re.match(r"hydra[./]", key) or key == "hydra.searchpath":
            continue
        starts = "launcher" in key or "sweeper" in key
        raise ConfigError(
            f"{word} would do nothing: al starts each run of a study in a process of its own"
            if starts
            else f"{word} would do nothing: of Hydra's own settings al reads hydra.searchpath alone",
            remedy="--jobs N says how many run at once"
            if starts
            else "outputs=, study= and run_name= say where a run goes",
        )


def key_of(word: str) -> str:
    """The key of an override: `training.lr` of `++training.lr=1`."""
    return word.lstrip("+~").partition("=")[0]


def compose_all(runs: Sequence[Sequence[str]]) -> list[DictConfig]:
    """The configuration of each run from its overrides. Raises ConfigError for the first that is wrong."""
    refuse_hydra(itertools.chain(*runs))
    OmegaConf.register_new_resolver("al_folder_name", lambda root: folder_name(str(root)), replace=True)
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(shipped("conf").resolve()), version_base="1.3", job_name="run"):
        return [compose_one(list(words)) for words in runs]


def compose_one(words: list[str]) -> DictConfig:
    try:
        return compose(CONFIG_NAME, words)
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error, words) from error


def explain(error: Exception, overrides: Sequence[str]) -> ConfigError:
    """Hydra's complaint as one sentence with the valid choices."""
    text = f"{error}\n{error.__cause__ or ''}"
    if match := re.search(r"Could not find '([\w/]+)/([\w.-]+)'", text):
        group, choice = match.groups()
        remedy = suggest(choice, group_choices(group))
        return ConfigError(f"there is no {group} called {choice}", where=f"{group}={choice}", remedy=remedy)
    if match := re.search(r"Could not override '([^']+)'", text):
        key = match.group(1)
        if key == "dataset.holdout":
            return retired(next((word.partition("=")[2] for word in overrides if key_of(word) == key), ""))
        where = next((o for o in overrides if o.lstrip("+~").startswith(key)), key)
        return ConfigError(f"there is no setting called {key}", where=where, remedy=suggest(key, known_keys(key)))
    if match := re.search(r"Missing mandatory value: ([\w.]+)", text):
        key = match.group(1)
        return NotGiven(f"{key} is not given", remedy=f"add {key}=...")
    return ConfigError(first_line(error), remedy="`al run --cfg job` prints every setting")


def group_choices(group: str) -> list[str]:
    return [path.stem for path in (shipped("conf") / group).glob("*.yaml")]


def known_keys(near: str) -> list[str]:
    """The settings that were perhaps meant: those of its parent where that exists, else the top level and the groups."""
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
