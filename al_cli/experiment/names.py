"""What runs are called, what studies and runs may be called, and which texts can be a path."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from al_cli import masked
from al_cli.datasets.held_out import SHARE_AS_TYPED
from al_cli.errors import ConfigError, written
from al_cli.experiment.words import key_of
from al_cli.tasks import DEFAULT

# Where a run goes, which study it belongs to and what else it writes change nothing of what it computes.
WHERE = ("outputs", "study", "run_name", "store", "tracking", "plots")
# The study is named after the dataset; sampler, seed and reference have their own places in a name.
NOT_IN_NAME = {*WHERE, "sampler", "seed", "reference", "device", "dataset", "hydra.searchpath"}
PLACES = ("dataset.root", "dataset.name", "dataset.train", "dataset.val", "dataset.test")  # where data lies
VALUE_ONLY = {
    "model",
    "training",
    "schedule",
    "sampler.file",
    "sampler.strategy",
}  # settings whose value speaks for itself
MAX_NAME = 120  # characters of a name that is made here
MAX_BYTES = 200  # of a name; most disks end at 255, and al writes next to a folder under longer names
MAX_PART = 255  # bytes of one name in a path
MAX_PATH = 4000  # bytes of a whole path
TAKEN = {"report", "study.json"}  # what al itself writes next to runs


def run_name(config: Mapping[str, Any], words: Iterable[str]) -> str:
    """The name of a run's folder: its sampler, what else was said that matters, in alphabetical order, and its seed.

    The same words give the same name in every command; `run_name` in the configuration wins.

    >>> config = {"sampler": {"name": "ccms"}, "seed": 10, "run_name": None, "reference": False, "initial": 8, "budget": None}
    >>> run_name(config, ["seed=10", "ud_split=[1,0.75]", "sampler=ccms", "training.iterations=9"])
    'ccms_ud1-0.75_iterations9_s10'
    """
    if config["run_name"] is not None:
        return str(config["run_name"])
    method = "reference" if config["reference"] else config["sampler"]["name"]  # a reference asks no sampler
    # A run that goes further is the same run: to another stop, and where rounds have a size of their own, to more rounds.
    grows = all(is_count(config[key]) for key in ("initial", "budget"))
    further = {"stop", *(["rounds"] if grows else [])}
    return name_with(method, [word for word in words if key_of(word).split(".")[0] not in further], config["seed"])


def is_count(amount: Any) -> bool:
    """Whether an amount is a number of images or boxes, and no share or equal part of the pool."""
    return isinstance(amount, int) or (isinstance(amount, float) and amount > 1)


def name_with(method: str, words: Iterable[str], seed: int) -> str:
    """`method`, the settings among these words that belong into a name, and the seed, joined by underscores."""
    said = [word for word in words if key_of(word) not in NOT_IN_NAME and not _is_place(word)]
    said = [word for word in said if not masked.is_secret(key_of(word))]
    said = [word for word in said if word not in (f"task={DEFAULT}", "schedule=null")]
    parts = [label(word) for word in sorted(said, key=lambda word: (not word.startswith("ud_split"), key_of(word)))]
    name = "_".join([method, *filter(None, parts)])
    if len(name) > MAX_NAME - 6:  # of any seed: the runs of an arm are cut alike
        name = f"{name[: MAX_NAME - 20]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return f"{name}_s{seed}"


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
    key, _, value = masked.without_login(word).lstrip("+~").partition("=")
    if ("/" in value and not value.startswith(("[", "{"))) or key == "sampler.file":
        value = Path(value.strip("'\"")).stem
    value = value.lower() if value in ("True", "False") else value  # as Hydra writes the values of a list: true,false
    value = re.sub(r"[^A-Za-z0-9.+]+", "-", value).strip("-")
    words = key.split(".")
    name = {**dict.fromkeys(VALUE_ONLY, ""), "ud_split": "ud"}.get(key, words[-1] if words[0] != "seeds" else key)
    return re.sub(r"[^A-Za-z0-9.+]+", "-", name) + value


def check_name(value: Any, key: str) -> str:
    """The name of a study or a run, which is one folder. ConfigError says why another text is none."""
    remedy = f"give a name, for example {key}=first_try"
    if not isinstance(value, str):
        raise ConfigError(f"{key} is {written(value)}", remedy=remedy)
    if why := _not_a_name(value):
        shown = value if len(value) <= 60 else f"{value[:60]}..."
        raise ConfigError(f"{key} is {shown!r}, {why}", remedy=remedy)
    return value


def _not_a_name(value: str) -> str:
    """Why this text is no name of a folder of al's; empty where it is one."""
    if not value.strip():
        return "which is empty"
    if "/" in value or "\\" in value:
        return "and a name is one folder, without a slash"
    if value.startswith("."):
        return "and a name does not begin with a dot"
    if not value.isprintable() or value != value.strip():
        return "and a name has no line breaks, control characters or blanks at its ends"
    if len(value.encode("utf-8", "surrogateescape")) > MAX_BYTES:
        return f"which has {len(value.encode('utf-8', 'surrogateescape'))} bytes, and a name has at most {MAX_BYTES}"
    if value.lower() in TAKEN:
        return "and al writes something of that name itself"
    return ""


def check_path(value: Any, key: str) -> str:
    """Text that can be a path, whether or not something lies there. ConfigError for any other value."""
    remedy = f"give a path, for example {key}=my_folder"
    if not isinstance(value, str):
        raise ConfigError(f"{key} is {written(value)}, which is no path", remedy=remedy)
    if not value.strip():
        raise ConfigError(f"{key} is empty", remedy=remedy)
    if "\0" in value:
        raise ConfigError(f"{key} holds a NUL character, which no path can", remedy=remedy)
    try:
        Path(value).expanduser()
    except RuntimeError as error:
        what = f"{key} is {value!r}, and there is no user of that name"
        raise ConfigError(what, remedy="give the whole path of a folder or file that is called so") from error
    sizes = [len(part.encode("utf-8", "surrogateescape")) for part in value.split("/")]
    if max(sizes) > MAX_PART or sum(sizes) + len(sizes) > MAX_PATH:
        what = f"{key} is {value[:60]!r}..., which is too long: a name in it has {max(sizes)} bytes"
        raise ConfigError(what, remedy=f"a name has at most {MAX_PART} bytes, a path at most {MAX_PATH}")
    return value
