"""A configuration, checked: everything that can be known without torch and without an image, in the first second."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from omegaconf import DictConfig

from al_cli import masked, tasks, tracking
from al_cli.errors import ConfigError, first_line, suggest, written
from al_cli.experiment import imported
from al_cli.experiment.compose import resolved
from al_cli.experiment.dataset_settings import check_dataset_config, check_labels
from al_cli.experiment.names import WHERE, check_path
from al_cli.experiment.sampling import (
    check_first,
    check_meaning,
    check_reselect,
    check_stages,
    check_ud,
    chooses_first,
    imports,
    read_imported,
    strategy_of,
)
from al_cli.experiment.values import amount, one_of, whole
from al_cli.learners.kinds import AnyModel, LearnerKind, check_together, kind_of
from al_cli.learners.portable import check_portable
from al_cli.learners.training_spec import TrainingSpec
from al_cli.lookup import NOBODY, Known
from al_cli.progress import listing
from al_cli.records.stop import Stop, stop_of
from al_cli.rng import Seeds
from al_cli.strategy import Strategy
from al_cli.tasks.base import PERCENT
from al_cli.types import INFLUENCES, Signal

DEVICES = ("auto", "cpu", "cuda")
UNITS = ("images", "boxes")
MAX_SEED = 2**63 - 1  # the largest that every library takes
EVALUATE = ("test", "val")
# Settings of a model that only the signals behind them read, and a sampler that asks for one.
OF_SIGNALS = {
    "model.loss_prediction": (frozenset({Signal.PREDICTED_LOSS}), "learning_loss"),
    "model.loss_prediction_share": (frozenset({Signal.PREDICTED_LOSS}), "learning_loss"),
    "model.influence": (INFLUENCES, "influence"),
    "model.dropout_passes": (frozenset({Signal.DROPOUT}), "bald"),
}


@dataclass(frozen=True)
class Experiment:
    """A checked configuration: everything that can be known without reading data or importing torch."""

    config: dict[str, Any]
    strategy: Strategy
    model: AnyModel
    training: TrainingSpec
    ud: tuple[float | None, ...]
    seeds: Seeds
    task: tasks.Task
    file: imported.Imported | None = None  # selections made elsewhere
    known: Known = NOBODY  # whose functions it may name
    secrets: frozenset[str] = frozenset()  # what no file and no message may show

    def __getstate__(self) -> dict[str, Any]:
        """Without strategy and task: their functions may be made on the spot, and the configuration says how."""
        return {key: value for key, value in vars(self).items() if key not in ("strategy", "task")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        config, known = state["config"], state["known"]
        masked.note(state["secrets"])
        vars(self).update(state, strategy=strategy_of(config, known), task=tasks.named(config["task"], known))

    @property
    def recorded(self) -> dict[str, Any]:
        """The configuration as the run's folder keeps it: without secrets, and what says only where the run goes."""
        return {key: value for key, value in self.shown.items() if key not in WHERE}

    @property
    def shown(self) -> dict[str, Any]:
        """The configuration without its secrets."""
        shown: dict[str, Any] = masked.hide_values(self.config, self.secrets)
        return shown

    @property
    def kind(self) -> LearnerKind:
        return kind_of(self.model.family)

    @property
    def reference(self) -> bool:
        """Whether it labels the whole pool at once and trains once."""
        return bool(self.config["reference"])

    @property
    def chooses_first(self) -> bool:
        """Whether nothing is labeled before the first selection, so that the starting weights make it."""
        return chooses_first(self.config)

    @property
    def learner_key(self) -> str:
        """Equal where the same can be said of the learners before any training."""
        return repr((self.model, self.training, self.config["device"], self.strategy.needs, self.chooses_first))

    @property
    def rounds(self) -> int:
        """Trainings, the initial one included."""
        return 1 if self.reference else self.config["rounds"] + 1

    @property
    def stop(self) -> Stop | None:
        """The value that ends the run before its last round, where it has one."""
        return stop_of(self.config, self.task)

    @property
    def last_in_words(self) -> str:
        """The number of the last round: `4`, or `at most 4` where the run may end earlier."""
        return f"{'at most ' if self.stop and self.rounds > 1 else ''}{self.rounds - 1}"

    @property
    def iterations(self) -> int:
        """The length of one training, in steps or epochs. A reference trains as long as an arm's last round; where rounds
        continue from each other's weights, as many steps as all of them together, which an arm's last weights have taken;
        where they are one training, as many epochs too."""
        each = self.training.per_round(self.config["rounds"] + 1)
        continued = self.training.goes_on and (self.training.init == "join" or not self.training.counts_epochs)
        return each * (self.config["rounds"] + 1) if self.reference and continued else each


def check(
    config: DictConfig,
    typed: Collection[str] = (),
    picks: imported.Imported | None = None,
    known: Known = NOBODY,
) -> Experiment:
    """Build everything cheap and refuse what cannot work. Raises ConfigError with the values and the way out.

    `typed` are the keys that the user typed: a setting that would do nothing is refused where a person gave it. `picks`
    are the selections of a replay, which stand in no file yet. `known`: whose functions the configuration may name.
    """
    masked.take_environment()  # of what was resolved before
    plain = resolved(config)
    secrets = masked.take_environment() | masked.secrets_in(plain)
    masked.note(secrets)
    whole(plain["rounds"], "rounds", at_least=0, at_most=imported.MAX_ROUNDS)
    one_of(plain["budget_unit"], "budget_unit", UNITS)
    amount(plain["initial"], "initial", "images", or_zero=True)
    amount(plain["budget"], "budget", plain["budget_unit"])
    one_of(plain["device"], "device", DEVICES)
    if not isinstance(task_name := plain.get("task", tasks.DEFAULT), str):
        one_of(task_name, "task", tasks.BUILT_IN)
    task = tasks.named(task_name, known)
    check_stop(plain["stop"], task)
    seeds = seeds_of(plain["seed"], plain["seeds"])
    kind = kind_of(plain["model"].get("family"))
    model = model_of(kind, plain["model"])
    check_labels(plain, task, kind)
    training = specified(kind.training, plain["training"], "training")
    training.check()
    training.per_round(plain["rounds"] + 1)
    check_length(training, typed)
    if training.stops_by is not None:
        one_of(training.stops_by, "training.stop_on", ("loss", *task.metric_names))
    for name in ("reference", "store", "plots", "portable", "measure_loss", "measure_training"):
        if not isinstance(plain[name], bool):
            raise ConfigError(f"{name} is {written(plain[name])}", remedy="give true or false")
    check_portable(plain)
    check_stages(plain["sampler"]["stages"])
    strategy = strategy_of(plain, known)
    check_meaning(strategy, plain["sampler"]["name"], task.label)
    check_reselect(training, strategy, plain)
    check_first(strategy, plain)
    if "seeds.initial" in typed and chooses_first(plain):
        raise ConfigError(
            "seeds.initial would do nothing: there is no initial set to draw",
            where=f"initial=0 seeds.initial={plain['seeds']['initial']}",
            remedy="leave it out, or give initial a count of at least 1",
        )
    if lacking := strategy.needs - model.provides:
        raise ConfigError(
            f"sampler {plain['sampler']['name']} needs {', '.join(sorted(lacking))}, which {model.name} does not provide",
            remedy=model.remedy_for(lacking),
        )
    check_together(model, training, strategy.needs, plain["device"])
    one_of(plain["evaluate"], "evaluate", EVALUATE)
    check_dataset_config(plain["dataset"], plain["evaluate"])
    if (tracker := plain.get("tracking")) is not None:
        one_of(tracker, "tracking", tracking.TRACKER_PACKAGES)
        tracking.check_tracker(tracker)
    first = chooses_first(plain)
    ud: list[float | None] = [None] * plain["rounds"]
    if not plain["reference"]:  # its sampler is not asked, so whatever stands there for the other runs of a study may
        ud = check_ud(plain["ud_split"], plain["rounds"], first, strategy, plain["sampler"]["name"])
    rows = read_imported(plain, picks) if imports(plain) else None
    ud = ud if first else [None, *ud]  # no sampler is asked for an initial set
    return Experiment(plain, strategy, model, training, tuple(ud), seeds, task, rows, known, secrets)


def require_readers(experiments: Collection[Experiment], typed: Collection[str]) -> None:
    """ConfigError for a typed setting of a signal that the samplers of none of these runs ask for."""
    needs = {signal for experiment in experiments for signal in experiment.strategy.needs}
    for key in typed:
        for setting, (signals, sampler) in OF_SIGNALS.items():
            if f"{key}.".startswith(f"{setting}.") and not signals & needs:
                names = listing(dict.fromkeys(experiment.config["sampler"]["name"] for experiment in experiments))
                what = f"{key} would do nothing: no stage of {names} asks for {' or '.join(sorted(signals))}"
                raise ConfigError(what, remedy=f"leave it out, or take sampler={sampler}")


def check_stop(stop: Any, task: tasks.Task) -> None:
    """ConfigError unless `stop` names a value that a metric of the task can reach, or nothing."""
    if not isinstance(stop, dict) or set(stop) != {"metric", "at"}:
        raise ConfigError(
            f"stop is {written(stop)}", remedy="give stop.at=VALUE (null: no stop), or stop.metric=NAME too"
        )
    name, at = stop["metric"], stop["at"]
    if name is not None:
        one_of(name, "stop.metric", task.metric_names)
    metric = task.primary if name is None else task.metric(name)
    if at is None:
        if name is not None:
            what = f"stop.metric={name} does not say at which value the run ends"
            raise ConfigError(what, remedy="add stop.at=VALUE, or leave stop.metric out")
        return
    percent = metric.unit == PERCENT
    if isinstance(at, bool) or not isinstance(at, int | float) or not math.isfinite(at):
        raise ConfigError(f"stop.at is {written(at)}", remedy="give a number, or null")
    highest = math.inf if metric.highest is None else metric.highest
    if (at <= 0 < highest) or at > highest or (percent and at < 1):
        most = "" if metric.highest is None or highest <= 0 else f" up to {highest:g}"
        least = "in percent, from 1" if percent else "above 0" if highest > 0 else "below 0"
        raise ConfigError(
            f"stop.at is {at:g}, which {metric.name} cannot stop at", remedy=f"give a value {least}{most}"
        )


def seeds_of(seed: Any, own: Any) -> Seeds:
    """The seed of each stream: its own, else the one of all. ConfigError for what is no seed."""
    if not isinstance(own, dict):
        what = f"seeds is {written(own)}, and no mapping of initial, training and sampling"
        raise ConfigError(what, remedy="set one alone: seeds.training=7")
    whole(seed, "seed", at_least=0, at_most=MAX_SEED)
    for kind, value in own.items():
        if value is not None:
            whole(value, f"seeds.{kind}", at_least=0, at_most=MAX_SEED)
    return Seeds(**{kind: seed if value is None else value for kind, value in own.items()})


def model_of(kind: LearnerKind, settings: Mapping[str, Any]) -> AnyModel:
    """The model's settings, each of its kind. ConfigError for one that is not."""
    for name in ("overrides", "influence"):
        if not isinstance(settings.get(name, {}), dict):
            what = f"model.{name} is {written(settings[name])}, which is no mapping"
            raise ConfigError(what, remedy=f"set its keys: model.{name}.KEY=...")
    for name in ("weights", "config", "family"):
        text = settings.get(name, "zoo")
        if not isinstance(text, str) and (text is not None or name == "weights"):
            remedy = "`al run --help` says what it may be"
            raise ConfigError(f"model.{name} is {written(text)}, which is no text", remedy=remedy)
        if name == "weights" and text is not None and "://" not in text:
            check_path(text, "model.weights")
    found: AnyModel = specified(kind.model, settings, "model")
    return found.check()


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
    for name in ("patience", "stop_on"):
        if f"training.{name}" in typed and not (
            training.watches if name == "stop_on" else training.duration == "early_stop"
        ):
            raise ConfigError(
                f"training.{name}={getattr(training, name)} would do nothing: this training has a length of its own",
                where=f"training.duration={training.duration}",
                remedy="add training.duration=early_stop, or leave it out",
            )


def specified(kind: type[Any], values: Mapping[str, Any], group: str) -> Any:
    """The settings of a group as its dataclass. ConfigError for a key that it does not have."""
    known = [field.name for field in fields(kind)]
    for key in values:
        if key not in known:
            raise ConfigError(
                f"{group} has no setting {key}", where=f"{group}.{key}={values[key]}", remedy=suggest(str(key), known)
            )
    try:
        return kind(**values)
    except TypeError as error:  # a key that has no default is missing
        raise ConfigError(f"{group} is incomplete: {first_line(error)}", remedy="name one that is whole") from error
