"""What a study would cost before it is started: which trainings are needed, which are the same, which are in the store.

The rounds of every run are walked as the loop walks them, with a store that answers and never computes. As long as it has
everything, the walk knows each image. After the first training that is missing, what follows is known by its history
alone: runs with equal histories (the same images, weights, sampler and UD-split so far) will make the same choice and
train the same weights, and a round that labels the last images of the pool trains on the whole pool whatever came before.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from al_cli import loop
from al_cli.experiment import build, settings
from al_cli.learners.identity import file_digest
from al_cli.progress import duration
from al_cli.records import RunFolder
from al_cli.rng import seed_for
from al_cli.store.disk import Entry, Got, Store, Writer
from al_cli.store.wrappers import StoredStrategy
from al_cli.types import Checkpoint, Dataset, Learner, Pool, Predictions, Signal, Splits

Job = tuple[Path, DictConfig]  # the folder of a run and its configuration


class NotStored(Exception):
    """The store lacks a result; `key` is the one it would have."""

    def __init__(self, key: str):
        self.key = key


class Peek(Store):
    """A store that makes no result but those that need nothing that it lacks."""

    def get(
        self, kind: str, about: Mapping[str, Any], read: Callable[[Path], Any], make: Callable[[], Any], write: Writer
    ) -> Got:
        if entry := self.find(kind, about):
            return Got(read(entry.path), entry, hit=True)
        if kind == "selection":
            try:
                return Got(make(), None, hit=False)
            except NotStored:
                pass
        raise NotStored(self.key(about))


class Untrained(Learner):
    """Stands where a learner would, behind a `Peek`: knows nothing and is never trained."""

    provides = frozenset(Signal)

    def __init__(self, device: str):
        self.device = device

    def fit(self, train: Dataset, *, val: Dataset | None, seed: int, init: Checkpoint | None) -> Checkpoint:
        raise AssertionError("a forecast trains nothing")

    def infer(self, images: Dataset, signals: frozenset[Signal] = frozenset()) -> Predictions:
        raise AssertionError("a forecast infers nothing")

    def inform(self, *, labeled: Dataset, initial: Dataset, val: Dataset | None) -> None: ...

    def loss(self, images: Dataset) -> NDArray[np.float64]:
        raise AssertionError("a forecast measures nothing")

    def save(self, checkpoint: Checkpoint, path: Path) -> None: ...

    def load(self, path: Path) -> Checkpoint:
        return Checkpoint({})


@dataclass(frozen=True)
class Training:
    """One training that a run still needs. Equal keys are one training; `about` are its determinants but for the data."""

    key: str
    stored: bool
    about: Mapping[str, Any]
    evaluated: int  # images that its weights are evaluated on
    selection: str | None  # the key of the choice that leads to it, where that must be computed


@dataclass(frozen=True)
class Forecast:
    """`naive` trainings if every run made its own; `done` are on disk in the runs; `stored` and `shared` cost nothing;
    `needed` really happen. `seconds` on one process, None where no rate was ever measured."""

    naive: int
    done: int
    stored: int
    shared: int
    needed: int
    seconds: float | None

    def sentences(self, jobs: int = 1) -> list[str]:
        """What a user wants to know before starting, with `jobs` processes at once."""
        counted = [f"{self.needed} will be made (fewer if arms come to choose the same images)"]
        counted += [f"{self.shared} are the same as one of these"] if self.shared else []
        counted += [f"{self.stored} are in the store"] if self.stored else []
        counted += [f"{self.done} are done"] if self.done else []
        lines = [f"{self.naive} trainings run one by one: {', '.join(counted)}."]
        if not self.needed:
            return lines
        if self.seconds is None:
            return [
                *lines,
                "How long they take is not known: the store holds no training of this model on this device yet.",
            ]
        at_once = f" with {jobs} processes" if jobs > 1 else ""
        return [*lines, f"About {duration(self.seconds / jobs)}{at_once}, by the rates of what is in the store."]


def forecast(jobs: Sequence[Job]) -> Forecast:
    """What these runs still cost. Reads datasets and the store; writes nothing."""
    splits_of: dict[str, Splits] = {}
    seen: set[str] = set()
    naive = done = stored = shared = 0
    needed: list[Training] = []
    selections: dict[str, str] = {}
    store: Peek | None = None
    for folder, config in jobs:
        experiment = settings.check(config)
        naive += experiment.rounds
        finished = len(RunFolder(folder).records()) if (folder / "config.yaml").is_file() else 0
        done += finished
        if finished == experiment.rounds:
            continue
        name = json.dumps(experiment.config["dataset"], sort_keys=True, default=str)
        if name not in splits_of:
            splits_of[name] = build.load_dataset(experiment.config["dataset"])
        store = Peek(build.store_path(experiment.config))
        for number, training in enumerate(trainings(experiment, splits_of[name], store, folder)):
            own = training if experiment.config["store"] else unshared(training, f"{folder} {number}")
            if own.key in seen:
                shared += 1
            elif own.stored:
                stored += 1
            else:
                needed.append(own)
                if own.selection:
                    selections[own.selection] = experiment.config["sampler"]["name"]
            seen.add(own.key)
    seconds = estimate(needed, len(selections), store) if store else 0.0
    return Forecast(naive, done, stored, shared, len(needed), seconds)


def unshared(training: Training, where: str) -> Training:
    """The training of a run that leaves the store alone: its own."""
    return Training(where, False, training.about, training.evaluated, training.selection and where)


def trainings(experiment: settings.Experiment, splits: Splits, store: Peek, folder: Path) -> Iterator[Training]:
    """The trainings that this run has not on disk, in order."""
    plan = build.plan_rounds(experiment, splits)
    inner = Untrained(resolved_device(experiment))
    learner, strategy = build.through_store(experiment, splits, store, inner)
    train, opening = splits.train, loop.opening(splits, plan)
    pool: Pool | None = Pool([], train.ids.tolist())  # None: which images are labeled is not known any more
    history = ""  # all that is known of the labeled images then
    records = RunFolder(folder).records() if (folder / "config.yaml").is_file() else []
    for record in records:
        assert pool is not None
        pool = pool.acquire(record.picked)
    start, labeled = len(records), sum(len(record.picked) for record in records)
    if start:
        path = folder / f"round_{start - 1:02d}" / "checkpoint.pth"
        learner.weights = file_digest(path) if path.is_file() else f"of {folder}"
    for round in range(start, len(plan.sizes)):
        weights, selection, chosen = learner.weights, None, None
        if round == 0:
            chosen = opening.order[: plan.sizes[0]]
        elif pool is not None:
            try:
                known = train.select(set(pool.labeled) - set(opening.heldout))
                learner.inform(labeled=known, initial=train.select(opening.order[: plan.sizes[0]]), val=opening.val)
                choice = loop.choose(
                    strategy, learner, train, opening.val, pool, opening.heldout, plan, round, loop.Clock()
                )
                chosen = choice.selection.ids.tolist()
            except NotStored as missing:
                selection = history = missing.key
        else:
            selection = history = Store.key(
                {"history": history, "weights": weights, **next_choice(strategy, plan, round)}
            )
        labeled += plan.sizes[round]
        if chosen is not None and pool is not None:
            pool = pool.acquire([i for i in chosen if i not in set(pool.labeled)])
        elif plan.unit == "images" and plan.data == "cumulative" and labeled >= len(train):
            pool, history = Pool(train.ids.tolist(), []), ""  # the order of labeling says nothing from here on
        else:
            pool = None
        seed = seed_for(plan.seeds.training, round + plan.skipped, "training")
        init = weights if plan.carry_weights and round else None
        ids = pool.labeled if pool is not None and plan.data == "cumulative" else chosen
        if ids is not None:
            about = learner.about_training(train.select(set(ids) - set(opening.heldout)), opening.val, seed, init)
        else:
            about = {**learner.identity, "train": history, "val": None, "seed": seed, "init": init}
        entry = store.find("training", about)
        learner.weights = entry.notes["weights"] if entry else f"of {Store.key(about)}"
        yield Training(Store.key(about), entry is not None, about, len(splits.test), selection)


def next_choice(strategy: StoredStrategy, plan: loop.Plan, round: int) -> dict[str, Any]:
    """What, with the images and weights so far, determines the next choice."""
    ud = plan.ud[round] if strategy.uses_ud else None
    own = {"stages": strategy.spelled, "asking": strategy.learner.asking, "pool": strategy.pool, "ud": ud}
    return own | {"sampling": plan.seeds.sampling, "round": round, "size": plan.sizes[round], "data": plan.data}


def resolved_device(experiment: settings.Experiment) -> str:
    if experiment.model.family == "fake":
        return "cpu"
    from al_cli.learners.detectron.model.zoo import choose_device

    return str(choose_device(experiment.config["device"]))


def estimate(needed: Sequence[Training], selections: int, store: Store) -> float | None:
    """Seconds of these trainings with their evaluations, and of so many selections, by what the store has measured."""
    entries = list(store.entries())
    made = [entry for entry in entries if entry.kind == "training"]
    total = 0.0
    for training in needed:
        took = training_seconds(training.about, made)
        if took is None:
            return None
        total += took
    per_image = [e.seconds / e.notes["images"] for e in entries if e.kind == "inference" and e.notes["images"]]
    chosen = [e.seconds for e in entries if e.kind == "selection"]
    total += sum(training.evaluated for training in needed) * (statistics.median(per_image) if per_image else 0.0)
    return total + selections * (statistics.fmean(chosen) if chosen else 0.0)


def training_seconds(about: Mapping[str, Any], made: Sequence[Entry]) -> float | None:
    """The median of trainings by the same recipe; else by the iteration, of the same model. None without either."""
    alike = [e for e in made if (e.about["model"], e.about["device"]) == (about["model"], about["device"])]
    if same := [e.seconds for e in alike if e.about["training"] == about["training"]]:
        return statistics.median(same)
    rates = [e.seconds / e.notes["iterations"] for e in alike if e.notes["iterations"]]
    recipe = about["training"]
    if not rates or recipe["duration"] != "iterations":
        return None
    return statistics.median(rates) * recipe["iterations"]
