"""What a study would cost before it is started: which trainings are needed, which are the same, which are in the store.

Every run is followed by the loop's own rules (`loop.Plan`, `loop.opening`, `loop.choose`), with a store that answers and
never computes. As long as the store has everything, each image is known. After the first training that is missing, what
follows is known by its history alone: runs with equal histories (the same images, weights, sampler and UD-split so far)
make the same choice and train the same weights. A round that takes the last images of the pool chooses the same whatever
came before. So the count is exact, unless runs with different histories choose the same images by chance: then fewer
trainings are needed. A run that a `stop` may end is followed to it where records or the store know the metric; else its
trainings are the most that it may need.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from al_cli import loop
from al_cli.datasets.held_out import scored_split
from al_cli.errors import RunError
from al_cli.experiment import build
from al_cli.experiment.job import Job
from al_cli.experiment.settings import Experiment
from al_cli.learners.identity import file_digest
from al_cli.progress import duration
from al_cli.records import RunFolder
from al_cli.store.disk import Entry, Got, Store, Writer
from al_cli.store.learner import maybe_digest
from al_cli.store.strategy import StoredStrategy
from al_cli.sweep.check import dataset_key
from al_cli.system import Clock
from al_cli.types import Checkpoint, Dataset, Learner, Losses, Pool, Predictions, Signal, Splits


class NotStored(Exception):
    """The store lacks a result; `key` is the one it would have."""

    def __init__(self, key: str):
        self.key = key


class Peek(Store):
    """A read-only store: it computes a selection only where everything that this needs is stored; else it raises NotStored."""

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
    """A learner that is never trained or asked. It stands behind a `Peek`, which answers for it."""

    provides = frozenset(Signal)

    def __init__(self, device: str):
        self.device = device

    def fit(
        self,
        train: Dataset,
        *,
        val: Dataset | None,
        seed: int,
        init: Checkpoint | None,
        order: Sequence[int] | None = None,
    ) -> Checkpoint:
        raise AssertionError("a forecast trains nothing")

    def start(self, seed: int) -> Checkpoint:
        return Checkpoint({})

    def infer(self, images: Dataset, signals: frozenset[Signal] = frozenset()) -> Predictions:
        raise AssertionError("a forecast infers nothing")

    def inform(self, *, labeled: Dataset, initial: Dataset, val: Dataset | None, scored: Dataset) -> None: ...

    def loss(self, images: Dataset) -> Losses:
        raise AssertionError("a forecast measures nothing")

    def save(self, checkpoint: Checkpoint, path: Path) -> None: ...

    def load(self, path: Path) -> Checkpoint:
        return Checkpoint({})


@dataclass(frozen=True)
class Training:
    """One training that a run still needs. Equal keys are one training; `about` is what determines it besides the data."""

    key: str
    stored: bool
    about: Mapping[str, Any]
    evaluated: int  # images that its weights are evaluated on
    sure: bool  # whether the run gets as far: no `stop` may have ended it before
    selection: str | None  # the key of the choice that leads to it, where that must be computed


@dataclass(frozen=True)
class Forecast:
    """`naive`: trainings if every run made its own. `done` are on disk in the runs; `stored` and `shared` cost nothing;
    `needed` will be made. `seconds` on one process, None where no rate was ever measured. `sure`: no run may end earlier."""

    naive: int
    done: int
    stored: int
    shared: int
    needed: int
    seconds: float | None
    sure: bool = True

    def sentences(self, jobs: int = 1) -> list[str]:
        """What a user wants to know before starting, with `jobs` processes at once."""
        fewer = "" if self.sure else "runs reach their stop, or "
        counted = [f"{self.needed} will be made (fewer if {fewer}arms happen to choose the same images)"]
        counted += [f"{self.shared} {_are(self.shared)} the same as one of these"] if self.shared else []
        counted += [f"{self.stored} {_are(self.stored)} in the store"] if self.stored else []
        counted += [f"{self.done} {_are(self.done)} done"] if self.done else []
        most = "" if self.sure else "At most "
        lines = [f"{most}{self.naive} trainings run one by one: {', '.join(counted)}."]
        if not self.needed:
            return lines
        if self.seconds is None:
            return [
                *lines,
                "How long they take is not known: the store holds no training of this model on this device yet.",
            ]
        at_once = f" with {jobs} processes" if jobs > 1 else ""
        took = duration(self.seconds / jobs)
        return [*lines, f"{most or 'About '}{took}{at_once}, by the rates of what is in the store."]


def forecast(jobs: Sequence[Job], read: dict[str, Splits] | None = None) -> Forecast:
    """What these runs still cost. Reads datasets and the store; writes nothing. `read` gets the datasets, by `dataset_key`."""
    splits_of = {} if read is None else read
    seen: set[str] = set()
    learners: set[tuple[str, str]] = set()
    naive = done = stored = shared = 0
    needed: list[Training] = []
    sure = True
    selections: dict[str, str] = {}
    store: Peek | None = None
    for job in jobs:
        experiment, folder = job.experiment, RunFolder(job.folder)
        records = folder.readable_records()
        finished = len(records)
        naive += finished
        done += finished
        if finished == experiment.rounds or (experiment.stop and experiment.stop.rounds(records)):
            continue
        name = dataset_key(job)
        if name not in splits_of:
            splits_of[name] = build.load_dataset(experiment.config["dataset"])
        if (checked := (name, experiment.learner_key)) not in learners:
            build.check_learner(experiment, splits_of[name].train.class_names)
            learners.add(checked)
        store = Peek(build.store_path(experiment.config))
        for number, training in enumerate(trainings(experiment, splits_of[name], store, folder)):
            naive, sure = naive + 1, sure and training.sure
            own = training if experiment.config["store"] else unshared(training, f"{job.folder} {number}")
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
    return Forecast(naive, done, stored, shared, len(needed), seconds, sure)


def unshared(training: Training, where: str) -> Training:
    """The same training in a run that does not use the store, and so shares it with no other run."""
    return replace(training, key=where, stored=False, selection=training.selection and where)


def trainings(experiment: Experiment, splits: Splits, store: Peek, folder: RunFolder) -> Iterator[Training]:
    """The trainings that this run has not on disk, in order."""
    train, plan = splits.train, build.plan_rounds(experiment, splits)
    learner, strategy = build.through_store(experiment, splits, store, Untrained(resolved_device(experiment)))
    start, records = loop.opening(splits, plan), folder.readable_records()
    on_disk = Pool([], train.ids.tolist())
    for record in records:
        on_disk = on_disk.acquire(record.picked)
    pool: Pool | None = on_disk  # None as soon as nobody can know which images are labeled
    history = ""  # what is known of the choices then
    if records:
        learner.weights = last_weights(folder, len(records) - 1)
    scored, sure = scored_split(splits, plan.evaluate), True
    for round in range(len(records), len(plan.sizes)):
        chosen: list[int] | None = None
        selection = None
        if pool is not None:
            try:
                choice = loop.choose(strategy, learner, train, plan, start, pool, round, Clock())
                chosen = choice.selection.ids.tolist()
                labeled = set(pool.labeled)
                pool = pool.acquire([i for i in chosen if i not in labeled])
            except NotStored as missing:
                pool, selection = None, missing.key
                history = Store.key({"first": missing.key, **of_round(plan, round)})
        elif plan.shuffle and plan.takes_all(round, len(train)):  # else in what order, nobody can know
            pool, history = Pool(train.ids.tolist(), []), Store.key({"history": history, "rest": True})
            chosen = train.ids.tolist() if plan.data == "reselect" else None
        else:
            history = selection = Store.key({"history": history, **next_choice(strategy, plan, round)})
        seed = plan.training_seed(round)
        init = learner.weights if plan.continues(round) else None
        if pool is not None and (chosen is not None or plan.data == "cumulative"):
            ids = plan.trains_on(pool.labeled, chosen or (), start.heldout)
            order = plan.order(pool.labeled, ids)
            about = learner.about_training(train.select(ids), start.val, seed, init, order)
        else:
            about = {**learner.identity, "train": f"{plan.data} after {history}", "val": maybe_digest(start.val)}
            about |= {"seed": seed, "init": init}
        entry = store.find("training", about)
        learner.weights = entry.digests["checkpoint.pth"] if entry else f"of {Store.key(about)}"
        yield Training(Store.key(about), entry is not None, about, len(scored), sure, selection)
        if plan.stop is not None:
            try:
                if plan.stop.reached(
                    experiment.task.judge(learner.infer(scored, experiment.task.needs), scored).metrics
                ):
                    return
            except NotStored:
                sure = False


def last_weights(folder: RunFolder, round: int) -> str:
    """The digest of a round's weights; a name of their own where they are gone, so that nothing is found that needs them."""
    try:
        return file_digest(folder.weights(round))
    except RunError:
        return f"of {folder.path}"


def next_choice(strategy: StoredStrategy, plan: loop.Plan, round: int) -> dict[str, Any]:
    """What, with the choices so far, determines the next one."""
    ud = plan.ud[round] if strategy.inner.uses_ud else None
    asked = {"stages": strategy.spelled, "asking": strategy.learner.asking, "pool": strategy.pool, "ud": ud}
    asked |= {"weights": strategy.learner.weights, "sampling": plan.seeds.sampling, "round": round}
    return asked | of_round(plan, round)


def of_round(plan: loop.Plan, round: int) -> dict[str, Any]:
    """How many images or boxes a round takes, and from which images."""
    return {"wanted": plan.wanted(round), "unit": plan.unit, "data": plan.data}


def resolved_device(experiment: Experiment) -> str:
    if experiment.model.family == "fake":
        return "cpu"
    from al_cli.learners.pytorch.device import choose_device

    return str(choose_device(experiment.config["device"]))


def estimate(needed: Sequence[Training], selections: int, store: Store) -> float | None:
    """Seconds of these trainings with their evaluations, and of this many selections, by what the store has measured."""
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


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
