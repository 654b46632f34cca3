"""The parts of a run, built from a checked configuration: dataset, plan of the rounds, learner, store."""

import hashlib
import inspect
import itertools
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from al_cli import budget, loop
from al_cli.datasets.divided import divided
from al_cli.datasets.held_out import HeldOut, scored_split
from al_cli.datasets.notes import Notes
from al_cli.errors import ConfigError, RunError
from al_cli.experiment.dataset_settings import OF_IMAGES
from al_cli.experiment.settings import Experiment
from al_cli.experiment.without_val import refuse_without_val
from al_cli.learners.identity import asking_identity, training_identity
from al_cli.samplers.base import function_of
from al_cli.store.code import code_of_modules
from al_cli.store.disk import Store
from al_cli.store.learner import StoredLearner
from al_cli.store.strategy import StoredStrategy
from al_cli.types import Judge, Learner, OwnSplits, RoundRecord, Splits

log = logging.getLogger("al")


def load_dataset(dataset: dict[str, Any], notes: Notes | None = None) -> Splits:
    """The dataset that the configuration names, with what it holds out. What is odd but read goes into `notes`, or is logged
    as warnings where nobody asks for them. Raises DatasetError with file, line and value."""
    noted = Notes() if notes is None else notes
    own = read_dataset(dataset, noted)
    if notes is None:
        for kind, count, first in noted:
            log.warning("%d %s (the first: %s)", count, kind, first)
    splits = divided(own, HeldOut.of(dataset))
    if (times := dataset.get("repeat")) is None:
        return splits
    from al_cli.datasets.repeated import repeat_pool

    return repeat_pool(splits, times, dataset["split_seed"])


def read_dataset(dataset: dict[str, Any], notes: Notes) -> OwnSplits:
    """The dataset as it lies on disk, with the splits of its own."""
    from al_cli.datasets import load_coco, load_yolo

    root, name = dataset_root(dataset), dataset["name"]
    if dataset["format"] in OF_IMAGES:
        return read_images(root, dataset, notes)
    if dataset["format"] == "digits":
        return load_yolo(root, name=name, notes=notes)
    if dataset["format"] == "coco":
        named = {split: dataset[split] for split in ("train", "val", "test") if isinstance(dataset.get(split), Mapping)}
        return load_coco(root, name=name, bad_rows=dataset.get("bad_rows", "refuse"), notes=notes, **named)
    how = {key: dataset[key] for key in ("missing_labels", "bad_rows") if key in dataset}
    return load_yolo(root, name=name, notes=notes, **how)


def read_images(root: Path, dataset: Mapping[str, Any], notes: Notes) -> OwnSplits:
    """A dataset whose images have one class each, as it lies on disk."""
    from al_cli.datasets.image_formats import READERS

    reader = READERS[dataset["format"]]
    own = {key: dataset[key] for key in reader.settings}
    return reader.load(root, dataset["name"], bad_rows=dataset.get("bad_rows", "refuse"), notes=notes, **own)


def dataset_root(dataset: Mapping[str, Any]) -> Path:
    """The folder (or file) that a dataset is read from; the built-in ones are written first."""
    if dataset["format"] == "digits":
        from al_cli.datasets import digits

        return digits.digits_root()
    if dataset["format"] == "digits_images":
        from al_cli.datasets.digits_images import digits_images_root

        return digits_images_root()
    return Path(dataset["root"]).expanduser()


def plan_rounds(experiment: Experiment, splits: Splits) -> loop.Plan:
    """What each round labels and trains on. ConfigError when the pool is too small for it, DatasetError where the model cannot
    take an image."""
    config, train = experiment.config, splits.train
    held = splits.val.images if splits.val is not None else ()
    experiment.model.require_sizes(itertools.chain(train.images, held, splits.test.images))
    amounts = {key: config[key] for key in ("initial", "budget", "rounds")}
    if experiment.file is not None and amounts["budget"] is None:
        amounts["budget"] = 1  # the file decides
    if config["budget_unit"] == "images":
        sizes = budget.images_per_round(len(train), **amounts)
    else:
        sizes = budget.boxes_per_round(train, loop.initial_order(train, experiment.seeds.initial), **amounts)
    training = experiment.training
    picks = None
    if experiment.file is not None:
        picks, sizes = plan_imported(experiment, splits, sizes)
    scored_split(splits, config["evaluate"])  # there is such a split
    validates = HeldOut.of(config["dataset"]).initial
    if splits.val is None and not validates:
        refuse_without_val(experiment)
    if validates and sizes[0] < 2:
        raise ConfigError(
            "dataset.val would leave nothing to train on",
            where=f"dataset.val={config['dataset']['val']}",
            remedy="raise initial to at least 2 images",
        )
    plan = loop.Plan(
        sizes=(len(train),) if experiment.reference else tuple(sizes),
        unit="images" if experiment.reference else config["budget_unit"],
        ud=experiment.ud,
        seeds=experiment.seeds,
        seed=config["seed"],
        data=training.data,  # type: ignore[arg-type]
        shuffle=training.shuffle,
        carry_weights=training.goes_on,
        holdout=math.ceil(validates * sizes[0]),
        early_stop=training.stop_on if training.keeps_best else None,
        measure_loss=config["measure_loss"],
        measure_training=config["measure_training"],
        keep_checkpoints=training.keep_checkpoints == "all",
        picks=picks,
        skipped=config["rounds"] if experiment.reference else 0,
        evaluate=config["evaluate"],
        stop=experiment.stop,
        chooses_first=experiment.chooses_first,
    )
    if validates:
        check_validating(experiment, splits, plan)
    return plan


def check_validating(experiment: Experiment, splits: Splits, plan: loop.Plan) -> None:
    """ConfigError where the initial images that validate are too few, or would be trained on."""
    validating, where = loop.opening(splits, plan).heldout, f"dataset.val={experiment.config['dataset']['val']}"
    if len(validating) < plan.holdout:
        raise ConfigError(
            f"only {len(validating)} of the {plan.sizes[0]} initial images have no equal copy in the pool, and {plan.holdout} "
            "are to validate",
            where=where,
            remedy="raise initial, or hold out a share of the pool, which keeps equal images together: dataset.val=20%",
        )
    if plan.picks is None or plan.data != "reselect":
        return
    if both := set(validating) & set(itertools.chain(*plan.picks[1:])):
        raise ConfigError(
            f"image {splits.train[min(both)].name} validates, so it cannot be trained on",
            where=f"{experiment.file.path if experiment.file else ''}, {where}",
            remedy="leave it out of the file, or set dataset.val=null",
        )


def check_longer(
    experiment: Experiment, splits: Splits, plan: loop.Plan, earlier: Mapping[str, Any], records: Sequence[RoundRecord]
) -> None:
    """RunError unless the finished rounds of an earlier run are the first of this longer plan. `earlier` is the configuration
    of that run, which differs in `rounds`, later entries of `ud_split` and `stop` alone."""
    rounds, done = f"rounds was {earlier['rounds']} and is now {experiment.config['rounds']}", len(records)
    remedy = "give this one another run_name=NAME or study=NAME"
    if plan.stop is not None and (first := plan.stop.rounds(records)) is not None and first < done:
        what = f"this run has {done} rounds, and would have {plan.stop.words(records)}"
        where = f"stop.metric={plan.stop.metric.name} stop.at={plan.stop.at:g}"
        raise RunError(what, where=where, remedy=f"{remedy}, or a higher stop.at")
    if experiment.config["rounds"] == earlier["rounds"]:
        return
    if experiment.file is not None:
        raise RunError("a run of imported selections cannot take more rounds", where=rounds, remedy=remedy)
    config = {**experiment.config, **{key: earlier[key] for key in ("rounds", "ud_split")}}
    if done and experiment.training.spans_run:
        raise RunError(
            "its rounds are one training, whose learning rate lies over all of them",
            where=rounds,
            remedy=f"{remedy}, or set training.schedule=constant for both",
        )
    shorter = replace(experiment, config=config, ud=experiment.ud[: earlier["rounds"] + 1])
    if done and shorter.iterations != experiment.iterations:
        was, now = shorter.iterations, experiment.iterations
        unit = "epochs" if experiment.training.counts_epochs else "iterations"
        what = f"each training would take {now} {unit} and not {was} as in the finished rounds"
        raise RunError(what, where=rounds, remedy=f"{remedy}, or set training.iterations_per=round for both")
    before = plan_rounds(shorter, splits).sizes[:done]
    if before != plan.sizes[:done]:
        what = (
            f"the finished rounds have labeled {list(before)} {plan.unit} and would now label {list(plan.sizes[:done])}"
        )
        raise RunError(
            what, where=rounds, remedy=f"{remedy}; with initial and budget as counts, a run can take more rounds"
        )


def plan_imported(
    experiment: Experiment, splits: Splits, sizes: Sequence[int]
) -> tuple[tuple[tuple[int, ...], ...], list[int]]:
    """The images of each round as the file has them, and how many each adds. `sizes` are those of the configuration:
    the file decides, but where the user gave `initial` or `budget`, ConfigError if it says otherwise."""
    config, rows, train = experiment.config, experiment.file, splits.train
    assert rows is not None
    again = experiment.training.data == "reselect"
    drawn = loop.initial_order(train, experiment.seeds.initial)[: sizes[0]]
    held = {"test": splits.test} | ({} if splits.val is None else {"val": splits.val})
    picks = rows.picks(train, drawn, again=again, held_out=held)
    for round, (ids, size) in enumerate(zip(picks, sizes, strict=True)):
        key = "budget" if round else "initial"
        if config[key] is not None and not (again and round):  # a round's own training set is larger than the budget
            rows.require_size(round, ids, size, key)
    return picks, [len(ids) for ids in picks]


def build_learner(experiment: Experiment, class_names: tuple[str, ...]) -> Learner:
    return experiment.kind.learner(
        experiment.model,
        experiment.training,
        class_names,
        label=experiment.task.label,
        iterations=experiment.iterations,
        trainings=experiment.rounds,
        device=experiment.config["device"],
        needs=experiment.strategy.needs,
        judge=judge_of(experiment),
    )


def judge_of(experiment: Experiment) -> Judge | None:
    """The metric by which trainings stop, as a function of predictions; None where they do not stop by one."""
    metric, task = experiment.training.stops_by, experiment.task
    return None if metric is None else lambda predictions, dataset: task.judge(predictions, dataset).metrics[metric]


def judging_code(experiment: Experiment) -> dict[str, Any]:
    """The code of the task, as a part of what determines the weights where trainings stop by one of its metrics."""
    if experiment.training.stops_by is None:
        return {}
    named, _, _ = str(experiment.config["task"]).rpartition(".")
    judging = inspect.unwrap(function_of(experiment.task.evaluate)).__module__
    return {"judge": code_of_modules({judging, *([named] if named else [])})}


def check_learner(experiment: Experiment, class_names: tuple[str, ...]) -> None:
    """ConfigError or ModelError where the learner of this experiment cannot be built. Trains and downloads nothing."""
    experiment.kind.check(
        experiment.model,
        experiment.training,
        class_names,
        label=experiment.task.label,
        device=experiment.config["device"],
        needs=experiment.strategy.needs,
        chooses_first=experiment.chooses_first,
    )


def store_path(config: Mapping[str, Any]) -> Path:
    """AL_STORE, else `.store` next to the studies."""
    return Path(os.environ.get("AL_STORE") or Path(config["outputs"]) / ".store").expanduser()


def through_store(
    experiment: Experiment, splits: Splits, store: Store, learner: Learner
) -> tuple[StoredLearner, StoredStrategy]:
    """The learner and the strategy of this experiment, looking into the store first. RunError for another version's store."""
    store.require_format()
    identity = {"code": code_of_modules([experiment.kind.module])} | training_identity(
        experiment.model,
        experiment.training,
        splits.train.class_names,
        iterations=experiment.iterations,
        trainings=experiment.rounds,
        device=learner.device,
        needs=experiment.strategy.needs,
    )
    identity |= judging_code(experiment)
    stored = StoredLearner(learner, store, identity=identity, asking=asking_identity(experiment.model))
    stages, shown = experiment.config["sampler"]["stages"], experiment.shown["sampler"]["stages"]
    if shown != stages:  # an entry says no secret, and is another one for another value
        stages = {"stages": shown, "digest": hashlib.sha256(repr(stages).encode()).hexdigest()[:32]}
    return stored, StoredStrategy(experiment.strategy, store, stored, splits.train, stages)
