"""The composition root: check a configuration, build the parts it names, run the loop.

`check` needs no torch and reads no image, so a mistake ends in the first second. `execute` is one run.
"""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from al_cli import budget, loop
from al_cli.environment import environment
from al_cli.errors import AlError, ConfigError, DatasetError, suggest
from al_cli.learners.influence_spec import InfluenceSpec
from al_cli.learners.spec import ModelSpec, TrainingSpec, provides, remedy_for
from al_cli.progress import console
from al_cli.records import RunFolder
from al_cli.rng import Seeds
from al_cli.strategy import Stage, Strategy
from al_cli.types import Learner, RoundRecord, Signal, Splits

log = logging.getLogger("al")
round_log = logging.getLogger("al.round")  # a line a round, where no terminal shows the table
traceback_log = logging.getLogger("al.traceback")  # for the run's log file; the terminal gets one line
DEFAULT_UD = 0.5  # the thesis' constant half-and-half split, where nobody says otherwise
PLOT_EVERY_S = 30  # plots of a long run can be looked at while it goes on
WHERE = ("outputs", "study", "run_name")  # where a run lies says nothing of what it computes
DEVICES = ("auto", "cpu", "cuda")
UNITS = ("images", "boxes")


@dataclass(frozen=True)
class Experiment:
    """A checked configuration: everything that can be known without reading data or importing torch."""

    config: dict[str, Any]
    strategy: Strategy
    model: ModelSpec
    training: TrainingSpec
    ud: tuple[float | None, ...]
    seeds: Seeds


def check(config: DictConfig) -> Experiment:
    """Build everything cheap and refuse what cannot work. Raises ConfigError with the values and the way out."""
    config = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    try:
        plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except Exception as error:  # OmegaConf raises several kinds; each names the key in its first line
        raise ConfigError(str(error).splitlines()[0], remedy="give the missing value as key=value") from error
    whole(plain["rounds"], "rounds", at_least=1)
    if plain["budget_unit"] not in UNITS:
        raise ConfigError(f"budget_unit is {plain['budget_unit']!r}", remedy=suggest(str(plain["budget_unit"]), UNITS))
    for name, unit in (("initial", "images"), ("budget", plain["budget_unit"])):
        amount(plain[name], name, unit)
    if plain["device"] not in DEVICES:
        raise ConfigError(f"device is {plain['device']!r}", remedy=suggest(str(plain["device"]), DEVICES))
    for name in ("seed", *(f"seeds.{kind}" for kind in plain["seeds"])):
        value = plain["seeds"][name.split(".")[1]] if "." in name else plain["seed"]
        if value is not None:
            whole(value, name, at_least=0)
    model = ModelSpec(**plain["model"])
    model.check()
    training = TrainingSpec(**plain["training"])
    training.check()
    training.per_round(plain["rounds"] + 1)
    strategy = build_strategy(config, plain["sampler"]["name"])
    if lacking := strategy.needs - provides(model):
        raise ConfigError(
            f"sampler {plain['sampler']['name']} needs {', '.join(sorted(lacking))}, which {model.name} does not provide",
            remedy=remedy_for(model, lacking),
        )
    check_dataset_config(plain["dataset"])
    ud = check_ud(plain["ud_split"], plain["rounds"], strategy, plain["sampler"]["name"])
    default = plain["seed"]
    seeds = Seeds(**{kind: default if value is None else value for kind, value in plain["seeds"].items()})
    return Experiment(plain, strategy, model, training, (None, *ud), seeds)


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


def build_strategy(config: DictConfig, name: str) -> Strategy:
    stages = []
    for number, stage in enumerate(config.sampler.stages, 1):
        try:
            stages.append(Stage(**instantiate(stage)))
        except Exception as error:  # a wrong _target_, an unknown field: Hydra and Python raise what they like
            why = str(error).splitlines()[0]
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


def load_dataset(dataset: dict[str, Any]) -> Splits:
    """Read the dataset that the configuration names. Raises DatasetError with file, line and value."""
    from al_cli.datasets import digits, load_coco, load_yolo

    if dataset["format"] == "coco":
        root = Path(dataset["root"]).expanduser()
        return load_coco(root, name=dataset["name"], **{split: dataset[split] for split in ("train", "val", "test")})
    root = digits.digits_root() if dataset["format"] == "digits" else Path(dataset["root"]).expanduser()
    return load_yolo(root, name=dataset["name"])


def plan_rounds(experiment: Experiment, splits: Splits) -> loop.Plan:
    """What each round labels and trains on. ConfigError when the pool is too small for it."""
    config, train = experiment.config, splits.train
    amounts = {key: config[key] for key in ("initial", "budget", "rounds")}
    if config["budget_unit"] == "images":
        sizes = budget.images_per_round(len(train), **amounts)
    else:
        sizes = budget.boxes_per_round(train, loop.initial_order(train, experiment.seeds.initial), **amounts)
    first = sizes[0]
    training = experiment.training
    if training.early_stopping and splits.val is None and not config["dataset"]["holdout"]:
        raise ConfigError(
            "early stopping needs a validation set, and this dataset's only held-out split is what rounds are evaluated on",
            remedy="add dataset.holdout=0.2, or take a training without early stopping",
        )
    no_val = splits.val is None and not config["dataset"]["holdout"]
    measured_on_val = InfluenceSpec.of(experiment.model.influence).reference == "val"
    if no_val and measured_on_val and experiment.strategy.needs & {Signal.INFLUENCE, Signal.GRADIENT_SIMILARITY}:
        raise ConfigError(
            f"sampler {config['sampler']['name']} measures influence on validation images, and this dataset has none",
            remedy="add dataset.holdout=0.2, or set model.influence.reference=labeled",
        )
    if experiment.strategy.uses_held_out and no_val:
        raise ConfigError(
            f"sampler {config['sampler']['name']} learns from validation images, and this dataset's only held-out split is "
            "what rounds are evaluated on",
            remedy="add dataset.holdout=0.2, or take another sampler",
        )
    if config["dataset"]["holdout"] and first < 2:
        raise ConfigError(
            "dataset.holdout would leave nothing to train on", remedy="raise initial to at least 2 images"
        )
    return loop.Plan(
        sizes=tuple(sizes),
        unit=config["budget_unit"],
        ud=experiment.ud,
        seeds=experiment.seeds,
        seed=config["seed"],
        cumulative=training.data == "cumulative",
        carry_weights=training.init == "continue",
        holdout=config["dataset"]["holdout"],
        best_weights=training.best_weights,
        keep_checkpoints=training.keep_checkpoints == "all",
    )


def build_learner(experiment: Experiment, class_names: tuple[str, ...]) -> Learner:
    iterations = experiment.training.per_round(experiment.config["rounds"] + 1)
    if experiment.model.family == "fake":
        from al_cli.learners.fake import FakeLearner

        return FakeLearner(class_names, **experiment.model.overrides)
    from al_cli.learners.detectron import DetectronLearner

    device = experiment.config["device"]
    needs = experiment.strategy.needs
    return DetectronLearner(
        experiment.model, experiment.training, class_names, iterations=iterations, device=device, needs=needs
    )


def execute(config: DictConfig, path: Path) -> list[RoundRecord]:
    """One run, from its configuration to its finished folder; continues where an earlier one stopped."""
    experiment = check(config)
    what = {key: value for key, value in experiment.config.items() if key not in WHERE}
    with RunFolder.create(path, what, environment(experiment.config["device"])) as folder, log_to(path / "run.log"):
        try:
            return run_in(folder, experiment)
        except KeyboardInterrupt:
            done = len(folder.records())
            log.info("stopped with %d of %d rounds done; the same command continues", done, folder.total_rounds)
            raise
        except Exception as error:
            folder.mark_failed(error)
            if not isinstance(error, AlError):
                traceback_log.exception("the run failed")
            raise


def run_in(folder: RunFolder, experiment: Experiment) -> list[RoundRecord]:
    from al_cli.report import plots
    from al_cli.report.tables import rounds_table

    records = folder.records()
    total = experiment.config["rounds"] + 1
    if len(records) == total and folder.state == "done":
        log.info("%s is done already; delete the folder to run it anew", folder.path.name)
        if console.is_terminal:
            console.print(rounds_table(records))
        return records
    splits = load_dataset(experiment.config["dataset"])
    plan = plan_rounds(experiment, splits)
    folder.clear_failure()
    pool, evaluated, classes = len(splits.train), len(splits.test), len(splits.train.class_names)
    log.info("%s: %d images in the pool, %d to evaluate on, %d classes", splits.name, pool, evaluated, classes)
    sampler, sizes = experiment.config["sampler"]["name"], list(map(str, plan.sizes))
    amounts = (
        ", ".join(sizes) + " images"
        if plan.unit == "images"
        else f"{sizes[0]} images, then {', '.join(sizes[1:])} boxes"
    )
    log.info("%s picks, %s trains: %d rounds that label %s", sampler, experiment.model.name, total, amounts)
    if experiment.strategy.oracle:
        log.warning("%s is an oracle: it reads the labels of the pool, so it is a bound and no method", sampler)
    if records:
        log.info("continuing after round %d", records[-1].round)
    start = time.monotonic()
    learner = build_learner(experiment, splits.train.class_names)
    plotted = time.monotonic()
    for record in loop.run(splits, learner, experiment.strategy, plan, folder):
        records.append(record)
        round_log.info("round %d of %d: %s", record.round, total - 1, summary(record))
        if console.is_terminal:
            console.print(rounds_table(records))
        if time.monotonic() - plotted > PLOT_EVERY_S:
            plots.plot_run(folder.path, splits)
            plotted = time.monotonic()
    plots.plot_run(folder.path, splits)
    folder.mark_done()
    log.info("finished in %.0f s", time.monotonic() - start)
    return records


def summary(record: RoundRecord) -> str:
    names = [name for name in ("AP", "AP50", "APs", "APm", "APl") if record.metrics.get(name) is not None]
    values = "  ".join(f"{name} {record.metrics[name]:.1f}" for name in names)
    return f"{record.images} images, {record.boxes} boxes labeled: {values}"


class log_to:
    """Everything the program says also goes to this file, with tracebacks, for as long as the block lasts."""

    def __init__(self, path: Path):
        self.handler = logging.FileHandler(path, delay=True)
        self.handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def __enter__(self) -> None:
        logging.getLogger().addHandler(self.handler)

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self.handler)
        self.handler.close()
