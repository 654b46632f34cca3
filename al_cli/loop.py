"""The whole algorithm on one screen: train, evaluate, record, select, label, and again.

Knows neither Detectron2 nor Hydra nor any sampler: it speaks to a Learner, a Strategy and a RunFolder. A round counts
when its record is on disk; a run that was stopped continues after its last record and ends with the same bytes.
"""

import resource
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from al_cli import budget
from al_cli.records import RunFolder
from al_cli.rng import Seeds, rng_for, seed_for
from al_cli.strategy import Strategy
from al_cli.tasks import Task
from al_cli.types import (
    Checkpoint,
    Choice,
    Dataset,
    Learner,
    Pool,
    Predictions,
    RoundRecord,
    Selection,
    Signal,
    Splits,
    StageLog,
)


@dataclass(frozen=True)
class Plan:
    """How much each round labels, and what it trains on.

    `sizes` [rounds + 1] images added, the initial set first; with `unit` boxes the images of the initial set and then the
    annotated boxes of each round (`al_cli.budget`); `ud` the UD-split of each round (None for the initial one);
    `data`: train on all labeled images (cumulative), on the new ones (new), or on a set of as many images as cumulative
    has that each round selects from the whole pool, labeled or not (reselect; Lund 4.1.5): only the unlabeled ones among
    them are labeled and paid for; `carry_weights`: start from the last round's weights, else from the starting weights;
    `holdout`: how many of the initial images validate instead of training; `early_stop`: a training ends with the weights
    of its lowest validation loss, not its last; `picks` [rounds + 1] the images of each round where they were chosen
    elsewhere (round 0 may be empty: drawn); `skipped` rounds: a reference, which labels everything in its one round, takes
    the training seed of the round that other runs end with.
    """

    sizes: tuple[int, ...]
    ud: tuple[float | None, ...]
    seeds: Seeds
    seed: int
    unit: Literal["images", "boxes"] = "images"
    data: Literal["cumulative", "new", "reselect"] = "cumulative"
    carry_weights: bool = False
    holdout: int = 0
    early_stop: bool = False
    keep_checkpoints: bool = False
    picks: tuple[tuple[int, ...], ...] | None = None
    skipped: int = 0


def run(
    splits: Splits,
    learner: Learner,
    strategy: Strategy,
    plan: Plan,
    folder: RunFolder,
    task: Task,
    account: Callable[[], Mapping[str, Any]] = dict,
) -> Iterator[RoundRecord]:
    """Run the rounds that are not on disk yet; yield each record right after it was written. `task` judges the predictions;
    `account` gives what else to note next to the seconds of a round."""
    order, heldout, val = opening(splits, plan)
    pool, checkpoint = resume(folder, learner, Pool([], splits.train.ids.tolist()))

    for round in range(len(folder.records()), len(plan.sizes)):
        clock = Clock()
        with clock("select"):
            if round == 0:
                choice = initial_set(splits.train, order[: plan.sizes[0]])
            else:
                known = splits.train.select(set(pool.labeled) - set(heldout))
                learner.inform(labeled=known, initial=splits.train.select(order[: plan.sizes[0]]), val=val)
                choice = choose(strategy, learner, splits.train, val, pool, heldout, plan, round, clock)
        new = ~np.isin(choice.selection.ids, pool.labeled)  # all of them, but where labeled ones are candidates too
        picked, scores = choice.selection.ids[new], choice.selection.scores[new]
        pool = pool.acquire(picked.tolist())

        with clock("train"):
            train_on = set(pool.labeled if plan.data == "cumulative" else choice.selection.ids.tolist()) - set(heldout)
            init = checkpoint if plan.carry_weights else None
            seed = seed_for(plan.seeds.training, round + plan.skipped, "training")
            checkpoint = learner.fit(splits.train.select(train_on), val=val, seed=seed, init=init)
        with clock("evaluate"):
            predictions = learner.infer(splits.test)
            evaluation = task.judge(predictions, splits.test)

        labeled = splits.train.select(pool.labeled)
        losses = [point.val_loss for point in checkpoint.history if point.val_loss is not None]
        record = RoundRecord(
            round=round,
            seed=plan.seed,
            ud=plan.ud[round],
            labeled=pool.labeled,
            picked=tuple(picked.tolist()),
            scores=tuple(None if np.isnan(s) else float(s) for s in scores),
            stages=choice.stages,
            images=len(labeled),
            boxes=task.count_labels(labeled),
            metrics=evaluation.metrics,
            val_loss=(min(losses) if plan.early_stop else losses[-1]) if losses else None,
            hashes={},
        )
        with clock("save"):
            learner.save(checkpoint, folder.checkpoint_path(round))
        record = folder.write_round(
            record,
            predictions=predictions,
            evaluation=evaluation,
            history=checkpoint.history,
            picked=splits.train.select(picked),
            labeled=labeled,
            choice=choice,
            names={image.id: image.path.name for image in splits.train.images},
            timing={**clock.timing(), **account()},
        )
        if round and not plan.keep_checkpoints:
            folder.drop_checkpoint(round - 1)
        yield record


class Opening(NamedTuple):
    """All pool ids in the order that the initial set is taken from, those of it that validate, and the validation images."""

    order: list[int]
    heldout: list[int]
    val: Dataset | None


def opening(splits: Splits, plan: Plan) -> Opening:
    """What is settled before the first round."""
    order = list(plan.picks[0]) if plan.picks and plan.picks[0] else initial_order(splits.train, plan.seeds.initial)
    heldout = order[: plan.holdout]
    return Opening(order, heldout, splits.train.select(heldout) if heldout else splits.val)


def initial_order(train: Dataset, seed: int) -> list[int]:
    """All pool ids in random order; the first ones are the initial set. Depends on the seed and the data alone, so every
    arm of a study starts from the same images, and a larger initial set contains a smaller one."""
    return rng_for(seed, 0, f"initial/{train.fingerprint}").permutation(train.ids).tolist()


def initial_set(train: Dataset, ids: list[int]) -> Choice:
    return settled("initial", train.ids.tolist(), ids)


def settled(by: str, candidates: Iterable[int], ids: Sequence[int]) -> Choice:
    """These ids, chosen by no sampler: drawn, or by someone else."""
    everyone = np.sort(np.fromiter(candidates, dtype=np.int64))
    dropped_by, unscored = np.where(np.isin(everyone, ids), 0, 1), np.full(len(everyone), np.nan)
    selection = Selection(np.array(ids, dtype=np.int64), np.full(len(ids), np.nan))
    return Choice(selection, (StageLog(by, len(everyone), len(ids)),), everyone, unscored, dropped_by)


def choose(
    strategy: Strategy,
    learner: Learner,
    train: Dataset,
    val: Dataset | None,
    pool: Pool,
    heldout: Collection[int],
    plan: Plan,
    round: int,
    clock: "Clock",
) -> Choice:
    """The images that this round adds: as many as its size says, or until they hold as many boxes. Where it selects its
    training set anew: as many as all rounds so far would have added, the validation images left out."""
    candidates = set(train.ids.tolist()) - set(heldout) if plan.data == "reselect" else set(pool.unlabeled)
    if plan.picks is not None:
        return settled("imported", candidates, plan.picks[round])
    labeled, size = train.select(pool.labeled), plan.sizes[round]
    if plan.data == "reselect":
        size = sum(plan.sizes[: round + 1]) - len(heldout)
    ask_learner = budget.Once(partial(infer, learner, train, clock))
    ask_of_val = budget.Once(partial(infer, learner, val, clock)) if val is not None else None

    def ask(images: int) -> Choice:
        return strategy.select(
            candidates,
            infer=ask_learner,
            budget=images,
            ud=plan.ud[round],
            rng=rng_for(plan.seeds.sampling, round, "sampling"),
            truth=labeled,
            labeled=pool.labeled,
            held_out=val,
            infer_held_out=ask_of_val,
        )

    if plan.unit == "images":
        return ask(size)
    boxes = {i: int((~train[i].crowd).sum()) for i in candidates}
    return budget.fill(ask, boxes, size, budget.guess_images(size, labeled.box_count, len(labeled)))


def resume(folder: RunFolder, learner: Learner, pool: Pool) -> tuple[Pool, Checkpoint | None]:
    """The pool and weights as the last recorded round left them; the untouched pool where there is none."""
    folder.clean_unfinished()
    records = folder.records()
    for record in records:
        pool = pool.acquire(record.picked)
    return pool, learner.load(folder.checkpoint_path(records[-1].round)) if records else None


def infer(
    learner: Learner, train: Dataset, clock: "Clock", ids: Iterable[int], signals: frozenset[Signal]
) -> Predictions:
    """What a strategy asks of the learner, timed."""
    with clock("infer"):
        return learner.infer(train.select(ids), signals)


@dataclass
class Clock:
    """Seconds by phase. `infer` (of the pool) is part of `select` and is taken out of it."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start

    def timing(self) -> dict[str, float]:
        """Seconds of each phase and the peak memory of the process so far (MiB)."""
        seconds = dict(self.seconds)
        seconds["select"] = seconds.get("select", 0.0) - seconds.get("infer", 0.0)
        rounded = {f"{phase}_s": round(value, 3) for phase, value in seconds.items()}
        return rounded | {"peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)}
