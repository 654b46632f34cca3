"""The whole algorithm in `run`: select, label, train, evaluate, record, and again.

Knows neither Detectron2 nor Hydra nor any sampler: it speaks to a Learner, a Selector and a RunFolder. A round counts
when its record is on disk; a run that was stopped continues after its last record and ends with the same bytes.

What a round selects and trains on, and which is the last, is decided in `plan.py`: decide nothing of that kind here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from al_cli.loop.plan import Opening, Plan, choose, opening
from al_cli.records import Round, RunFolder
from al_cli.records.mend import take_up
from al_cli.records.past import Past
from al_cli.records.rounds import follows
from al_cli.system import Clock
from al_cli.tasks import Task
from al_cli.types import Checkpoint, Dataset, Learner, LossPoint, Pool, RoundRecord, Selector, Splits


def run(
    splits: Splits,
    learner: Learner,
    strategy: Selector,
    plan: Plan,
    folder: RunFolder,
    task: Task,
    extra_timing: Callable[[], Mapping[str, Any]] = dict,
) -> Iterator[RoundRecord]:
    """Run the rounds that are not on disk as they were written; yield each record right after it was written, and those of
    finished rounds after it. `task` judges the predictions; `extra_timing` gives what a round's timing.json holds besides
    the seconds."""
    start = opening(splits, plan)
    scored = start.scored
    whole = take_up(folder, splits, scored, task)
    end = min((round for round in whole if plan.ends(whole[round])), default=len(plan.sizes))
    whole = {round: record for round, record in whole.items() if round <= end}
    train = partial(train_round, learner, splits.train, plan, start)

    def again(record: RoundRecord, init: Checkpoint | None) -> Checkpoint:
        chosen = () if plan.data == "cumulative" else folder.trained_on(record.round)
        return train(record.round, record.labeled, chosen, init)

    past = Past(learner, folder, again, plan.continues, droppable=0 if plan.keep_checkpoints else len(plan.sizes))
    past.drop(max(whole, default=0))  # a process that was killed right after a record did not

    pool, checkpoint, previous, gone_on = Pool([], splits.train.ids.tolist()), None, None, False
    for round in range(len(plan.sizes)):
        if previous is not None and plan.ends(previous):
            break
        if gone_on and round in whole and previous is not None and not follows(whole[round], previous):
            for later in folder.set_aside_from(round):
                whole.pop(later, None)
        if round in whole and (plan.keep_checkpoints or round == max(whole)) and not past.restore(whole[round]):
            del whole[round]
        if round in whole:
            previous, checkpoint = whole[round], None
            pool = pool.acquire(previous.picked)
            if gone_on:
                yield previous
            continue
        if round and checkpoint is None:
            checkpoint = past.weights(round - 1)
        gone_on, clock = True, Clock()
        with clock("select"):
            choice = choose(strategy, learner, splits.train, plan, start, pool, round, clock)
        new = ~np.isin(choice.selection.ids, pool.labeled)  # all of them, unless labeled ones are candidates too
        picked, scores = choice.selection.ids[new], choice.selection.scores[new]
        pool = pool.acquire(picked.tolist())

        with clock("train"):
            init = checkpoint if plan.continues(round) else None
            checkpoint = train(round, pool.labeled, choice.selection.ids.tolist(), init)
        with clock("evaluate"):
            predictions = learner.infer(scored, task.needs)
            evaluation = task.judge(predictions, scored)

        losses = None
        if plan.measure_loss:
            with clock("loss"):
                losses = learner.loss(scored)

        train_metric = None
        if plan.measure_training:
            with clock("training metric"):
                seen = splits.train.select(plan.trains_on(pool.labeled, choice.selection.ids.tolist(), start.heldout))
                train_metric = task.judge(learner.infer(seen, task.needs), seen).metrics[task.primary.name]

        labeled = splits.train.select(pool.labeled)
        kept = kept_point(checkpoint.history, plan.early_stop)
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
            val_loss=kept.val_loss if kept else None,
            hashes=folder.weights_before(round),
            epochs=checkpoint.epochs,
            train_metric=train_metric,
            **(losses.means if losses else {}),
        )
        with clock("save"):
            folder.begin_round(round)
            learner.save(checkpoint, folder.checkpoint_path(round))
        done = Round(
            record,
            predictions=predictions,
            scored=scored,
            evaluation=evaluation,
            history=checkpoint.history,
            picked=splits.train.select(picked),
            labeled=labeled,
            choice=choice,
            names={image.id: image.name for image in splits.train.images},
            timing={**clock.timing(), **extra_timing()},
            validating=start.heldout,
            losses=losses,
        )
        previous = folder.write_round(done)
        past.drop(round, max(whole, default=round))
        yield previous
    assert previous is not None, "there is a round 0"
    folder.set_aside_from(previous.round + 1)  # it was made again, and reached the value now
    past.drop(previous.round)
    folder.write_tables()


def train_round(
    learner: Learner,
    train: Dataset,
    plan: Plan,
    start: Opening,
    round: int,
    labeled: Sequence[int],
    chosen: Iterable[int],
    init: Checkpoint | None,
) -> Checkpoint:
    """The training of a round, now or once more: by what is labeled and what the round has chosen, nothing else."""
    ids = plan.trains_on(labeled, chosen, start.heldout)
    seed, order = plan.training_seed(round), plan.order(labeled, ids)
    return learner.fit(train.select(ids), val=start.val, seed=seed, init=init, order=order)


def kept_point(history: Sequence[LossPoint], early_stop: str | None) -> LossPoint | None:
    """The measurement of the weights that a training ended with (`Plan.early_stop`); None where nothing was measured."""
    points = [point for point in history if point.val_loss is not None]
    if early_stop == "loss":
        return min(points, key=lambda point: point.val_loss or 0.0, default=None)
    judged = [point for point in points if point.metric is not None] if early_stop else []
    if judged:
        return max(judged, key=lambda point: point.metric or 0.0)
    return points[-1] if points else None
