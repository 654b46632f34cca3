"""A configuration, checked: everything that can be known without torch and without an image, in the first second."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from al_cli import tasks, tracking
from al_cli.errors import ConfigError, DatasetError, first_line, suggest
from al_cli.experiment import imported
from al_cli.learners.spec import ModelSpec, TrainingSpec, provides, remedy_for
from al_cli.rng import Seeds
from al_cli.samplers.catalog import IMPORTED
from al_cli.samplers.select_random import random
from al_cli.strategy import Stage, Strategy

DEFAULT_UD = 0.5  # the thesis' constant half-and-half split, where nobody says otherwise
WHERE = ("outputs", "study", "run_name", "store", "tracking")  # where a run lies does not change what it computes
DEVICES = ("auto", "cpu", "cuda")
UNITS = ("images", "boxes")
UNASKED = Strategy([Stage(random)])  # of runs whose images are settled: references and imported selections


@dataclass(frozen=True)
class Experiment:
    """A checked configuration: everything that can be known without reading data or importing torch."""

    config: dict[str, Any]
    strategy: Strategy
    model: ModelSpec
    training: TrainingSpec
    ud: tuple[float | None, ...]
    seeds: Seeds
    task: tasks.Task
    file: imported.Imported | None = None  # selections made elsewhere

    @property
    def reference(self) -> bool:
        """Whether it labels the whole pool at once and trains once."""
        return bool(self.config["reference"])

    @property
    def rounds(self) -> int:
        """Trainings, the initial one included."""
        return 1 if self.reference else self.config["rounds"] + 1

    @property
    def iterations(self) -> int:
        """The length of one training, in steps or epochs. A reference trains as long as an arm's last round; where rounds
        continue from each other's weights, as many steps as all of them together, which an arm's last weights have taken."""
        each = self.training.per_round(self.config["rounds"] + 1)
        continued = self.training.init == "continue" and not self.training.counts_epochs
        return each * (self.config["rounds"] + 1) if self.reference and continued else each


def check(config: DictConfig) -> Experiment:
    """Build everything cheap and refuse what cannot work. Raises ConfigError with the values and the way out."""
    typed = {word.lstrip("+~").partition("=")[0] for word in OmegaConf.select(config, "hydra.overrides.task") or ()}
    config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    try:
        plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except Exception as error:  # OmegaConf raises several kinds; each names the key in its first line
        key = getattr(error, "full_key", None) or "key"
        raise ConfigError(first_line(error), remedy=f"give the missing value as {key}=value") from error
    whole(plain["rounds"], "rounds", at_least=1)
    if plain["budget_unit"] not in UNITS:
        raise ConfigError(f"budget_unit is {plain['budget_unit']!r}", remedy=suggest(str(plain["budget_unit"]), UNITS))
    for name, unit in (("initial", "images"), ("budget", plain["budget_unit"])):
        amount(plain[name], name, unit)
    if plain["device"] not in DEVICES:
        raise ConfigError(f"device is {plain['device']!r}", remedy=suggest(str(plain["device"]), DEVICES))
    task = tasks.named(plain.get("task", tasks.DEFAULT))
    for name in ("seed", *(f"seeds.{kind}" for kind in plain["seeds"])):
        value = plain["seeds"][name.split(".")[1]] if "." in name else plain["seed"]
        if value is not None:
            whole(value, name, at_least=0)
    model = ModelSpec(**plain["model"])
    model.check()
    training = TrainingSpec(**plain["training"])
    training.check()
    training.per_round(plain["rounds"] + 1)
    check_length(training, typed)
    for name in ("reference", "store"):
        if not isinstance(plain[name], bool):
            raise ConfigError(f"{name} is {plain[name]!r}", remedy="give true or false")
    from_file = plain["sampler"]["name"] == IMPORTED and not plain["reference"]
    strategy = UNASKED if from_file or plain["reference"] else build_strategy(config, plain["sampler"]["name"])
    check_reselect(training, strategy, plain)
    if lacking := strategy.needs - provides(model):
        raise ConfigError(
            f"sampler {plain['sampler']['name']} needs {', '.join(sorted(lacking))}, which {model.name} does not provide",
            remedy=remedy_for(model, lacking),
        )
    check_dataset_config(plain["dataset"])
    tracking.check(plain.get("tracking"))
    ud: list[float | None] = [None] * plain["rounds"]
    if not plain["reference"]:  # its sampler is not asked, so whatever stands there for the other runs of a study may
        ud = check_ud(plain["ud_split"], plain["rounds"], strategy, plain["sampler"]["name"])
    default = plain["seed"]
    seeds = Seeds(**{kind: default if value is None else value for kind, value in plain["seeds"].items()})
    rows = read_imported(plain) if from_file else None
    return Experiment(plain, strategy, model, training, (None, *ud), seeds, task, rows)


def whole(value: Any, name: str, at_least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ConfigError(f"{name} is {value!r}", remedy=f"give a whole number of at least {at_least}")


def amount(value: Any, name: str, unit: str) -> None:
    """A count of at least 1, a share between 0 and 1, or null."""
    if value is None:
        return
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value <= 0 or (value > 1 and value != int(value)):
        raise ConfigError(
            f"{name} is {value!r}",
            remedy=f"give a count of {unit} (1, 2, ...), a share of the pool (0.05), or null for equal parts",
        )


def check_length(training: TrainingSpec, typed: Collection[str]) -> None:
    """ConfigError for a length that the user gave in the unit that this training does not count."""
    unused, duration = ("iterations", "iterations") if training.counts_epochs else ("epochs", "epochs")
    if f"training.{unused}" in typed and "training.duration" not in typed:
        raise ConfigError(
            f"training.{unused}={getattr(training, unused)} would do nothing: this training counts "
            f"{'epochs' if training.counts_epochs else 'iterations'}",
            where=f"training.duration={training.duration}",
            remedy=f"add training.duration={duration}",
        )


def check_reselect(training: TrainingSpec, strategy: Strategy, plain: Mapping[str, Any]) -> None:
    """ConfigError where selecting the whole training set in each round has no meaning."""
    if training.data != "reselect":
        return
    if plain["budget_unit"] == "boxes":
        raise ConfigError(
            "training.data=reselect works with budgets in images only: a budget in boxes would count boxes that are already "
            "labeled",
            where="training.data=reselect budget_unit=boxes",
            remedy="set budget_unit=images",
        )
    if any(stage.labeled is not None for stage in strategy.stages):
        raise ConfigError(
            f"sampler {plain['sampler']['name']} compares candidates with the labeled images, which are candidates "
            "themselves where each round selects its whole training set",
            where="training.data=reselect",
            remedy="take another sampler, or training.data=cumulative",
        )


def read_imported(plain: Mapping[str, Any]) -> imported.Imported:
    """The rows of `sampler.file`. ConfigError where they do not fit the rounds."""
    if plain["budget_unit"] == "boxes":
        remedy = "leave budget_unit out: the file decides"
        raise ConfigError("imported selections have their own sizes", where="budget_unit=boxes", remedy=remedy)
    rows = imported.read(Path(str(plain["sampler"]["file"])).expanduser())
    rows.check_rounds(plain["rounds"])
    return rows


def build_strategy(config: DictConfig, name: str) -> Strategy:
    stages = []
    for number, stage in enumerate(config.sampler.stages, 1):
        try:
            stages.append(Stage(**instantiate(stage)))
        except Exception as error:  # a wrong _target_, an unknown field: Hydra and Python raise what they like
            why = first_line(error)
            raise ConfigError(f"stage {number} cannot be built: {why}", where=f"sampler={name}") from error
    return Strategy(stages)


def check_ud(value: Any, rounds: int, strategy: Strategy, name: str) -> list[float | None]:
    """One UD-split per active round. ConfigError for a wrong length, a value outside [0, 1], or a sampler without a split."""
    if not strategy.uses_ud:
        if value is not None:
            raise ConfigError(
                f"sampler {name} has no ud stage, so ud_split={short(value)} would do nothing",
                remedy="leave ud_split out, or take sampler=ccms",
            )
        return [None] * rounds
    if value is None:
        value = DEFAULT_UD
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value] * rounds
    if len(values) != rounds:
        raise ConfigError(
            f"ud_split has {len(values)} values for {rounds} active rounds",
            where=f"ud_split={short(value)}",
            remedy=f"give {rounds} values, or one for all rounds, or set rounds={len(values)}",
        )
    for v in values:
        if isinstance(v, bool) or not isinstance(v, int | float) or not 0 <= v <= 1:
            raise ConfigError(
                f"ud_split has the value {v!r}",
                where=f"ud_split={short(value)}",
                remedy="each value lies between 0 (diversity) and 1 (uncertainty)",
            )
    return [float(v) for v in values]


def short(value: Any) -> str:
    return str(value).replace(" ", "")


def check_dataset_config(dataset: dict[str, Any]) -> None:
    holdout = dataset["holdout"]
    if isinstance(holdout, bool) or not isinstance(holdout, int | float) or not 0 <= holdout < 1:
        raise ConfigError(
            f"dataset.holdout is {holdout!r}", remedy="give a share of the initial images, 0 <= share < 1"
        )
    if "root" in dataset and not Path(str(dataset["root"])).expanduser().exists():
        raise DatasetError(
            "there is no such folder",
            where=f"dataset.root={dataset['root']}",
            remedy="give the folder that holds the dataset",
        )
