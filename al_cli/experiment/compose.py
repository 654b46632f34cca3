"""From words such as `sampler=ccms seed=0,1` to configurations. Checks no value; `settings.py` does.

Hydra composes; this file finds `conf/`, and turns what Hydra says of a bad override into one sentence.
"""

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Sweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from al_cli import masked
from al_cli.datasets.held_out import retired
from al_cli.errors import ConfigError, NotGiven, first_line, suggest
from al_cli.experiment.words import GROUPS, check_words, in_a_line, key_of, readable
from al_cli.lookup import folders_of
from al_cli.progress import listing
from al_cli.records.settings import flatten

CONFIG_NAME = "config"
SEARCHPATH = "hydra.searchpath"  # folders with configuration of the user's own
OF_THE_FILE = ("dataset.format", "model.name", "sampler.name")  # what a file of a group says of itself
MAX_RUNS = 1000  # of one command; each is composed and checked before the first one starts
SEVERAL = "add -m to run them all, or brackets to make it one list"


def shipped(folder: str) -> Path:
    """`conf` or `sweeps`: inside an installed package, else at the top of the checkout."""
    package = Path(str(resources.files("al_cli")))
    inside = package / f"_{folder}"
    return inside if inside.is_dir() else package.parent / folder


def folder_name(root: str) -> str:
    """The name of a dataset's folder; of `data.yaml` or a csv itself, the folder it lies in."""
    try:
        path = Path(root).expanduser().resolve()
    except (RuntimeError, OSError, ValueError):  # no such user, too long, ...: whoever checks the path says so
        return "dataset"
    return path.parent.name if path.suffix in {".yaml", ".yml", ".csv"} else path.name


def split_runs(words: Sequence[str], many: bool, several: str = SEVERAL) -> list[list[str]]:
    """The overrides of each run: with `many`, `seed=0,1` becomes two runs.

    ConfigError for a word that is no override, a key that is given twice, more than MAX_RUNS runs, and, without `many`, for
    a word with several values; `several` says what to do about that.
    """
    check_words(words)
    refuse_hydra(words)
    choices: list[list[str]] = []
    for word in words:
        choices.append([one for text in readable(word, many) for one in alternatives(text, many, several)])
        if math.prod(map(len, choices)) > MAX_RUNS:
            names = [key_of(said) for said, values in zip(words, choices, strict=False) if len(values) > 1]
            remedy = f"one command makes at most {MAX_RUNS:,}: name fewer values of {', '.join(names)}"
            raise ConfigError("the words name too many runs", where=word[:60], remedy=remedy)
    return [list(run) for run in itertools.product(*choices)]


def values_of(words: Sequence[str]) -> dict[str, Any]:
    """Key -> plain value of overrides that `split_runs` gave."""
    parser = OverridesParser.create()
    return {key_of(word): parser.parse_override(word).value() for word in words}


def alternatives(word: str, many: bool, several: str) -> list[str]:
    """The overrides that one word stands for: itself, or with `many` one for each value that it names."""
    try:
        override = OverridesParser.create().parse_override(word)
        if not override.is_sweep_override():
            if _holds_sweep(override.value()):
                remedy = "write the whole list for each run, as in ud_split=[1,0.5],[0.5,0.5]"
                raise ConfigError(f"{in_a_line(word)} names several values inside of one", remedy=remedy)
            return [word]
        if not many:
            raise ConfigError(f"{in_a_line(word)} names several values", remedy=several)
        if not override.is_discrete_sweep():
            raise ConfigError(f"{in_a_line(word)} names no list of values", remedy="write the values, as in seed=0,1,2")
        values: Any = override.value()
        if isinstance(values, Glob):
            found = values.filter(sorted(group_choices(key_of(word))))
        else:
            found = list(itertools.islice(override.sweep_string_iterator(), MAX_RUNS + 1))
    except ConfigError:
        raise
    except Exception as error:  # Hydra's parser and its functions raise what they like
        why = re.sub(r"^\w+ while evaluating '.*?': |,? expecting .*", "", first_line(error)).replace(
            "'<EOF>'", "its end"
        )
        remedy = "write overrides as key=value, and quote brackets: 'ud_split=[1,0.5]'"
        raise ConfigError(f"{in_a_line(word)} cannot be read: {why}", remedy=remedy) from error
    if not found:
        raise ConfigError(f"{in_a_line(word)} names no value at all", remedy="write the values, as in seed=0,1,2")
    return [f"{word.partition('=')[0]}={value}" for value in found]


def _holds_sweep(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, Sweep) or any(map(_holds_sweep, inner))


def refuse_hydra(words: Iterable[str]) -> None:
    """ConfigError for a setting of Hydra that would do nothing here: al places and starts its runs itself."""
    for word in words:
        key = key_of(word)
        if key == SEARCHPATH and (
            lost := [place for place in places(word) if not any(map(Path.is_dir, folders(place)))]
        ):
            remedy = "name the folder that holds yours, such as sampler/: hydra.searchpath=[file://FOLDER]"
            raise ConfigError(f"there is no configuration folder {lost[0]}", where=in_a_line(word), remedy=remedy)
        if not re.match(r"hydra([./]|$)", key) or key == SEARCHPATH:
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


def places(word: str) -> list[str]:
    """What a word such as `hydra.searchpath=[file://a,pkg://b]` names; nothing where it cannot be read."""
    try:
        value = OverridesParser.create().parse_override(word).value()
    except HydraException:  # whoever composes says what is wrong with it
        return []
    return [str(item) for item in value] if isinstance(value, list) else []


def folders(place: str) -> list[Path]:
    """The folders of such a place: of a package, all that it lies in."""
    scheme, found, rest = place.rpartition("://")
    if scheme == "pkg":
        return folders_of(rest.replace("/", "."))
    return [Path(rest if found else place).absolute()]


def compose_all(runs: Sequence[Sequence[str]]) -> list[DictConfig]:
    """The configuration of each run from its overrides. Raises ConfigError for the first that is wrong."""
    refuse_hydra(itertools.chain(*runs))
    masked.note_words(itertools.chain(*runs))
    OmegaConf.register_new_resolver("oc.env", lambda *words: masked.note_environment(oc.env(*words)), replace=True)
    OmegaConf.register_new_resolver("al_folder_name", lambda root: folder_name(str(root)), replace=True)
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(shipped("conf").resolve()), version_base="1.3", job_name="run"):
        return [compose_one(list(words)) for words in runs]


def compose_one(words: list[str]) -> DictConfig:
    """The configuration of one run: every setting there, none that al does not know, and each group a mapping."""
    words = [word for word in words if word != "schedule=null"]  # the default's own spelling, which Hydra refuses
    for word in words:
        key, _, value = word.partition("=")
        if key_of(word) == "dataset.holdout":
            raise retired(value)
        if key in GROUPS and (value.lower() in {"", "null"} or value[:1] in {"[", "{"} or ".." in value):
            raise ConfigError(f"{word} names no {key}", remedy=suggest("", group_choices(key)))
        if key.lstrip("+") in GROUPS and key not in GROUPS:
            raise ConfigError(f"{key} is a choice that every run makes", where=word, remedy=f"write {word.lstrip('+')}")
    try:
        config = compose(CONFIG_NAME, words)
    except Exception as error:  # nothing of ours runs in it, and for odd words Hydra raises what it likes
        raise explain(error, words) from error
    for word in words:
        key = key_of(word)
        if key in OF_THE_FILE:
            others = compose(CONFIG_NAME, [other for other in words if other != word])
            _require_of_the_file(word, selected(config, key), selected(others, key))
    added = [word for word in words if word.startswith("+") and key_of(word).split(".")[0] not in ("model", "training")]
    if added:  # settings.py knows what model and training have
        without = compose(CONFIG_NAME, [word for word in words if word not in added])
        for word in added:
            _require_known(word, without)
    return config


def selected(config: DictConfig, key: str) -> Any:
    """The value of a setting, None where it is not there. ConfigError where it stands for one that is not there."""
    try:
        return OmegaConf.select(config, key)
    except OmegaConfBaseException as error:
        raise unresolved(error) from error


def resolved(config: DictConfig) -> dict[str, Any]:
    """The configuration as plain values. NotGiven for a setting that has none, ConfigError for `${...}` that has none."""
    for key, value in flatten(OmegaConf.to_container(config)).items():
        if value == "???":
            raise NotGiven(f"{key} is not given", remedy=f"add {key}=...")
    try:
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise unresolved(error) from error


def unresolved(error: Exception) -> ConfigError:
    """What OmegaConf says of `${...}`, as one sentence."""
    found = re.search(r"full_key: (\S+)", str(error))
    where = f"{found[1]}=..." if found else ""
    return ConfigError(first_line(error), where=where, remedy="`al run --cfg job` prints every setting")


def _require_of_the_file(word: str, value: Any, own: Any) -> None:
    """ConfigError where a word sets what only the file of a group can say of itself."""
    if value != own:
        group = key_of(word).split(".")[0]
        what = f"{key_of(word)} is {value!r}, and the settings of {group} are those of {own}"
        remedy = f"leave it out, or choose with {group}=...; {suggest(str(value), group_choices(group))}"
        raise ConfigError(what, where=word, remedy=remedy)


def _require_known(word: str, without: DictConfig) -> None:
    """ConfigError for a word with a plus that adds a setting that nothing reads; `without` is the rest."""
    key, _, inner = key_of(word).partition(".")
    parent = OmegaConf.select(without, key) if inner else without
    if not isinstance(parent, DictConfig):
        parent, inner = without, ""
    known = list(map(str, parent))
    if (inner.split(".")[0] or key) not in known or (not inner and "." in key_of(word)):
        raise ConfigError(f"there is no setting called {key_of(word)}", where=word, remedy=suggest(key_of(word), known))


def explain(error: Exception, overrides: Sequence[str]) -> ConfigError:
    """Hydra's complaint as one sentence with the valid choices."""
    text = f"{error}\n{error.__cause__ or ''}"
    if match := re.search(r"Could not find '(\w+)/([^']+)'", text):
        group, choice = match.groups()
        remedy = suggest(choice, group_choices(group))
        return ConfigError(f"there is no {group} called {choice}", where=f"{group}={choice}", remedy=remedy)
    if match := re.search(r"Could not override '([^']+)'", text):
        key = match.group(1)
        exact = [o for o in overrides if key_of(o) == key]
        where = in_a_line(next((o for o in (*exact, *overrides) if o.lstrip("+~").startswith(key)), key))
        if having := choices_with(key):
            chosen = next((o for o in overrides if o.startswith(f"{key.split('.')[0]}=")), "")
            remedy = f"choose one that has it: {listing(having)}"
            what = f"{chosen or 'the ' + key.split('.')[0] + ' that is chosen'} has no setting {key}"
            return ConfigError(what, where=where, remedy=remedy)
        known = known_keys(key, overrides)
        inner = re.search(r"is not in struct\s+full_key: (\S+)", text)
        if key in known and inner and inner[1] != key:  # stop={value: 3}
            key = inner[1]
            return ConfigError(
                f"there is no setting called {key}", where=where, remedy=suggest(key, known_keys(key, ()))
            )
        if key in known and (outer := next((o for o in overrides if key.startswith(f"{key_of(o)}.")), None)):
            what = f"{in_a_line(outer)} takes the place of all settings of {key_of(outer)}, so {key} cannot be set"
            return ConfigError(what, where=where, remedy=f"leave {key_of(outer)}=... out")
        return ConfigError(f"there is no setting called {key}", where=where, remedy=suggest(key, known))
    if match := re.search(r"already at '([^']+)'", text):
        key = match.group(1)
        return ConfigError(f"{key} is there already", where=f"+{key}", remedy=f"write it without the plus: {key}=...")
    if match := re.search(r"Missing mandatory value: ([\w.]+)", text):
        key = match.group(1)
        return NotGiven(f"{key} is not given", remedy=f"add {key}=...")
    if match := re.match(r"Error merging override (.*)", text):
        why = f": {first_line(error.__cause__)}" if error.__cause__ else ""
        return ConfigError(f"{match[1]} cannot be set{why}", remedy="`al run --cfg job` prints every setting")
    return ConfigError(first_line(error) or type(error).__name__, remedy="`al run --cfg job` prints every setting")


def group_choices(group: str) -> list[str]:
    return [path.stem for path in (shipped("conf") / group).glob("*.yaml")]


def choices_with(key: str) -> list[str]:
    """`dataset=yolo` for `dataset.root`: the choices of its group that have this setting, where others have not."""
    group, _, inner = key.partition(".")
    if group not in GROUPS or not inner or "." in inner:
        return []
    files = {name: OmegaConf.load(shipped("conf") / group / f"{name}.yaml") for name in sorted(group_choices(group))}
    # a file that also chooses of other groups has its settings under the name of its own
    own = {name: file.get(group, file) for name, file in files.items() if isinstance(file, DictConfig)}
    having = [f"{group}={name}" for name, file in own.items() if inner in list(file)]
    return having if len(having) < len(files) else []


def known_keys(near: str, words: Sequence[str]) -> list[str]:
    """The settings that were perhaps meant: those of its parent where that exists, else the top level and the groups."""
    chosen = [word for word in words if word.partition("=")[0] in GROUPS]  # which settings there are is theirs to say
    config = OmegaConf.to_container(compose(CONFIG_NAME, chosen), resolve=False)
    parent: object = config
    prefix = near.split(".")[:-1]
    for part in prefix:
        if isinstance(parent, list):  # of stages
            parent = dict(enumerate(parent)).get(int(part)) if part.isdigit() else None
        else:
            parent = parent.get(part) if isinstance(parent, dict) else None
    groups = [path.name for path in shipped("conf").iterdir() if path.is_dir()]
    if isinstance(parent, dict) and prefix:
        return [".".join([*prefix, str(key)]) for key in parent]
    assert isinstance(config, dict)
    return sorted({str(key) for key in config} | set(groups))
