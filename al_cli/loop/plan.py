"""What a run decides without training: how long it is, where it starts, and which images a round selects and trains on.

`rounds.py` asks this file and trains; `sweep/forecast.py` asks the same and does not.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from al_cli import budget
from al_cli.datasets.held_out import scored_split
from al_cli.records.stop import Stop
from al_cli.rng import Seeds, rng_for, seed_for
from al_cli.system import Clock
from al_cli.types import (
    Choice,
    Dataset,
    Image,
    Learner,
    Pool,
    Predictions,
    Request,
    RoundRecord,
    Selection,
    Selector,
    Signal,
    Splits,
    StageLog,
)


@dataclass(frozen=True)
class Plan:
    """How much each round labels, what it trains on, and which round is the last.

    `sizes`    [rounds + 1] images added, the initial set first; with `unit` boxes the images of the initial set and then the
               annotated boxes of each round (`al_cli.budget`)
    `ud`       [rounds + 1] the UD-split of each round, None for the initial set
    `chooses_first`  there is no initial set: the starting weights choose the images of round 0, which is a round like the
               others then (Lund, algorithm 1)
    `stop`     the run ends after the round that reaches it, and `sizes` are the most that it may have
    `picks`    [rounds + 1] the images of each round where they were chosen elsewhere; an empty round 0 is drawn
    `data`     train on all labeled images (cumulative), on the new ones (new), or on a set of as many images as cumulative has
               that each round selects from the whole pool, labeled or not (reselect; Lund 4.1.5): only the unlabeled ones
               among them are labeled and paid for
    `shuffle`  them in each epoch, else each takes them in the order in which they were labeled
    `carry_weights`  start from the last round's weights, else from the starting weights
    `early_stop`  what trainings watch that end with their best weights, `loss` or a metric; None: they end with their last
    `holdout`  how many of the initial images validate instead of training
    `evaluate` the split that rounds are scored on, val while a recipe is tuned: then nothing reads test
    `measure_loss`  of the images of that split, too
    `measure_training`  the task's primary metric also on the images of each round's training
    `skipped`  how many rounds a reference leaves out: it labels everything in its one round and takes the training seed of the
               other runs' last round
    """

    sizes: tuple[int, ...]
    ud: tuple[float | None, ...]
    seeds: Seeds
    seed: int
    unit: Literal["images", "boxes"] = "images"
    data: Literal["cumulative", "new", "reselect"] = "cumulative"
    shuffle: bool = True
    carry_weights: bool = False
    holdout: int = 0
    early_stop: str | None = None
    measure_loss: bool = False
    measure_training: bool = False
    keep_checkpoints: bool = False
    picks: tuple[tuple[int, ...], ...] | None = None
    skipped: int = 0
    evaluate: Literal["test", "val"] = "test"
    stop: Stop | None = None
    chooses_first: bool = False

    def ends(self, record: RoundRecord) -> bool:
        """Whether this finished round is the run's last."""
        return record.round == len(self.sizes) - 1 or (self.stop is not None and self.stop.reached(record.metrics))

    def wanted(self, round: int) -> int:
        """Images, or with `unit` boxes the boxes, that a round asks its sampler for. Where it selects its training
        set again: as many images as all rounds so far would have added, the validation images left out."""
        return sum(self.sizes[: round + 1]) - self.holdout if self.data == "reselect" else self.sizes[round]

    def takes_all(self, round: int, pool: int) -> bool:
        """Whether this round must take every image of the pool that it may choose, whatever was chosen before."""
        return self.unit == "images" and self.picks is None and sum(self.sizes[: round + 1]) >= pool

    def trains_on(self, labeled: Iterable[int], chosen: Iterable[int], heldout: Iterable[int]) -> set[int]:
        """The images of a round's training: all `labeled` ones, or those that the round has `chosen`."""
        return set(labeled if self.data == "cumulative" else chosen) - set(heldout)

    def order(self, labeled: Iterable[int], train_on: Collection[int]) -> list[int] | None:
        """The images of a round's training in the order in which they were labeled; None where they are shuffled."""
        return None if self.shuffle else [i for i in labeled if i in train_on]

    def training_seed(self, round: int) -> int:
        return seed_for(self.seeds.training, round + self.skipped, "training")

    def continues(self, round: int) -> bool:
        """Whether the training of this round starts from the last round's weights."""
        return self.carry_weights and round > 0


class Opening(NamedTuple):
    """What is settled before the first round. `order`: all pool ids in the order that the initial set is taken from;
    `heldout`: those of the initial set that validate; `val`: the validation images, None where there are none; `scored`: those
    that rounds are scored on."""

    order: list[int]
    heldout: list[int]
    val: Dataset | None
    scored: Dataset


def opening(splits: Splits, plan: Plan) -> Opening:
    order = list(plan.picks[0]) if plan.picks and plan.picks[0] else initial_order(splits.train, plan.seeds.initial)
    # An image that has an equal copy in the pool would be validated on here and trained on there.
    copies = Counter(image.content for image in splits.train.images if image.content)
    heldout = [i for i in order[: plan.sizes[0]] if copies[splits.train[i].content] < 2][: plan.holdout]
    val, scored = splits.train.select(heldout) if heldout else splits.val, scored_split(splits, plan.evaluate)
    return Opening(order, heldout, val, scored)


def initial_order(train: Dataset, seed: int) -> list[int]:
    """All pool ids in random order; the first ones are the initial set.

    Each image's place comes from a hash of the seed and its name. So every arm of a study starts from the same images, a
    larger initial set contains a smaller one, and a corrected label, another format or an image more or less moves no other
    image."""

    def place(image: Image) -> bytes:
        return hashlib.sha256(f"initial/{seed}/{image.name}".encode()).digest()

    return [image.id for image in sorted(train.images, key=place)]


def settled(by: str, candidates: Iterable[int], ids: Sequence[int]) -> Choice:
    """These ids as a choice that no sampler made: `by` says who did."""
    everyone = np.sort(np.fromiter(candidates, dtype=np.int64))
    dropped_by, unscored = np.where(np.isin(everyone, ids), 0, 1), np.full(len(everyone), np.nan)
    selection = Selection(np.array(ids, dtype=np.int64), np.full(len(ids), np.nan))
    return Choice(selection, (StageLog(by, len(everyone), len(ids)),), everyone, unscored, dropped_by)


def choose(
    strategy: Selector,
    learner: Learner,
    train: Dataset,
    plan: Plan,
    start: Opening,
    pool: Pool,
    round: int,
    clock: Clock,
) -> Choice:
    """The images of this round: the initial set, those that were chosen elsewhere, or what the strategy selects with the
    learner's present weights, in round 0 the starting ones: as many images as the round asks for, or until they hold as many
    boxes."""
    if round == 0 and not plan.chooses_first:
        return settled("initial", train.ids.tolist(), start.order[: plan.sizes[0]])
    if round == 0:
        learner.start(plan.training_seed(0))
    known, initial = set(pool.labeled) - set(start.heldout), pool.labeled[: plan.sizes[0]]
    learner.inform(labeled=train.select(known), initial=train.select(initial), val=start.val, scored=start.scored)
    candidates = set(train.ids.tolist()) - set(start.heldout) if plan.data == "reselect" else set(pool.unlabeled)
    if plan.picks is not None:
        return settled("imported", candidates, plan.picks[round])
    labeled, wanted = train.select(pool.labeled), plan.wanted(round)
    request = Request(
        candidates,
        infer=budget.Once(partial(infer, learner, train, clock)),
        budget=wanted if plan.unit == "images" else budget.guess_images(wanted, labeled.box_count, len(labeled)),
        rng=rng_for(plan.seeds.sampling, round, "sampling"),
        ud=plan.ud[round],
        truth=labeled,
        labeled=pool.labeled,
        held_out=start.val,
        infer_held_out=None if start.val is None else budget.Once(partial(infer, learner, start.val, clock)),
    )
    if plan.unit == "images":
        return strategy.select(request)
    boxes = {i: int((~train[i].crowd).sum()) for i in candidates}
    return budget.fill(strategy.select, request, boxes, wanted)


def infer(
    learner: Learner, train: Dataset, clock: Clock, ids: Iterable[int], signals: frozenset[Signal]
) -> Predictions:
    """What a strategy asks of the learner, timed."""
    with clock("infer"):
        return learner.infer(train.select(ids), signals)
