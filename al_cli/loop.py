"""The whole algorithm on one screen: train, evaluate, record, select, label, and again.

Knows neither Detectron2 nor Hydra nor any sampler: it speaks to a Learner, a Strategy and a RunFolder. A round counts
when its record is on disk; a run that was stopped continues after its last record and ends with the same bytes.
"""

import resource
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np

from al_cli import budget, metrics
from al_cli.records import RunFolder
from al_cli.rng import Seeds, rng_for, seed_for
from al_cli.strategy import Strategy
from al_cli.types import (
    Checkpoint,
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
    `cumulative`: train on all labeled images, else on the new ones; `carry_weights`: start from the last round's weights,
    else from the starting weights; `holdout`: share of the initial images that validates instead of training;
    `best_weights`: a training ends with the weights of its lowest validation loss, not its last.
    """

    sizes: tuple[int, ...]
    ud: tuple[float | None, ...]
    seeds: Seeds
    seed: int
    unit: Literal["images", "boxes"] = "images"
    cumulative: bool = True
    carry_weights: bool = False
    holdout: float = 0.0
    best_weights: bool = False
    keep_checkpoints: bool = False


def run(splits: Splits, learner: Learner, strategy: Strategy, plan: Plan, folder: RunFolder) -> Iterator[RoundRecord]:
    """Run the rounds that are not on disk yet; yield each record right after it was written."""
    order = initial_order(splits.train, plan.seeds.initial)
    heldout = order[: int(np.ceil(plan.holdout * plan.sizes[0]))]
    val = splits.train.select(heldout) if heldout else splits.val
    pool, checkpoint = resume(folder, learner, Pool([], splits.train.ids.tolist()))

    for round in range(len(folder.records()), len(plan.sizes)):
        clock = Clock()
        with clock("select"):
            if round == 0:
                selection, stages = initial_set(order, plan.sizes[0])
            else:
                trained_on = splits.train.select(set(pool.labeled) - set(heldout))
                learner.inform(labeled=trained_on, initial=splits.train.select(order[: plan.sizes[0]]), val=val)
                selection, stages = choose(strategy, learner, splits.train, val, pool, plan, round, clock)
        pool = pool.acquire(selection.ids.tolist())

        with clock("train"):
            chosen = set(pool.labeled if plan.cumulative else selection.ids.tolist()) - set(heldout)
            init = checkpoint if plan.carry_weights else None
            seed = seed_for(plan.seeds.training, round, "training")
            checkpoint = learner.fit(splits.train.select(chosen), val=val, seed=seed, init=init)
        with clock("evaluate"):
            predictions = learner.infer(splits.test)
            evaluation = metrics.evaluate(predictions, splits.test)

        labeled, picked = splits.train.select(pool.labeled), splits.train.select(selection.ids)
        losses = [point.val_loss for point in checkpoint.history if point.val_loss is not None]
        record = RoundRecord(
            round=round,
            seed=plan.seed,
            ud=plan.ud[round],
            labeled=pool.labeled,
            picked=tuple(selection.ids.tolist()),
            scores=tuple(None if np.isnan(s) else float(s) for s in selection.scores),
            stages=stages,
            images=len(labeled),
            boxes=labeled.box_count,
            metrics=evaluation.metrics,
            val_loss=(min(losses) if plan.best_weights else losses[-1]) if losses else None,
            hashes={},
        )
        with clock("save"):
            learner.save(checkpoint, folder.checkpoint_path(round))
        record = folder.write_round(
            record,
            predictions=predictions,
            evaluation=evaluation,
            history=checkpoint.history,
            picked=picked,
            labeled=labeled,
            timing=clock.timing(),
        )
        if round and not plan.keep_checkpoints:
            folder.drop_checkpoint(round - 1)
        yield record


def initial_order(train: Dataset, seed: int) -> list[int]:
    """All pool ids in random order; the first ones are the initial set. Depends on the seed and the data alone, so every
    arm of a study starts from the same images, and a larger initial set contains a smaller one."""
    return rng_for(seed, 0, f"initial/{train.fingerprint}").permutation(train.ids).tolist()


def initial_set(order: list[int], size: int) -> tuple[Selection, tuple[StageLog, ...]]:
    return Selection(np.array(order[:size]), np.full(size, np.nan)), (StageLog("initial", len(order), size),)


def choose(
    strategy: Strategy,
    learner: Learner,
    train: Dataset,
    val: Dataset | None,
    pool: Pool,
    plan: Plan,
    round: int,
    clock: "Clock",
) -> tuple[Selection, tuple[StageLog, ...]]:
    """The images that this round adds: as many as its size says, or until they hold as many boxes."""
    labeled, size = train.select(pool.labeled), plan.sizes[round]
    ask_learner = budget.Once(partial(infer, learner, train, clock))
    ask_of_val = budget.Once(partial(infer, learner, val, clock)) if val is not None else None

    def ask(images: int) -> tuple[Selection, tuple[StageLog, ...]]:
        return strategy.select(
            pool.unlabeled,
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
    boxes = {i: int((~train[i].crowd).sum()) for i in pool.unlabeled}
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
