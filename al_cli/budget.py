"""How much each round labels, in images or in annotated boxes.

Annotators are paid by the object, so equal numbers of images are not equal costs (ISAL). Samplers choose images: a number
of images is guessed, the sampler is asked for it, and what it returns is taken in its order until the boxes reach the
budget; where they do not, it is asked again for more. The true counts stand for the annotator who stops.
Knows no sampler and no learner.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from al_cli.errors import ConfigError
from al_cli.types import IMAGE_AXIS, ROW_AXIS, Choice, Dataset, Infer, Predictions, Request, Selection, Signal, StageLog

Choose = Callable[[Request], Choice]
Amount = int | float | None  # a count, a share of the pool (a float of at most 1), or an equal part of it


def _first_of(sizes: Sequence[int]) -> str:
    """A list of a few numbers as it is, and of a longer one its beginning and its end."""
    return str(list(sizes)) if len(sizes) <= 12 else f"[{', '.join(map(str, sizes[:10]))}, ..., {sizes[-1]}]"


def images_per_round(pool: int, initial: Amount, budget: Amount, rounds: int) -> list[int]:
    """[rounds + 1] images of each round, the initial set first; with an `initial` of 0 round 0 has a budget like the others.

    Shares are of the whole pool and add up exactly: the last round takes what is left of them. ConfigError when a round
    would have no image.
    """
    each = _exact(budget, pool, rounds)
    first = _exact(initial, pool, rounds) or each
    totals = [min(pool, math.floor(first + round * each + 0.5)) for round in range(rounds + 1)]
    sizes = np.diff([0, *totals]).tolist()
    if first > pool or min(sizes) < 1:
        empty = sizes.index(0) if 0 in sizes else 0
        if first > pool:
            why = "it has fewer than round 0 asks for"
        elif empty and totals[empty - 1] == pool:
            why = f"it is used up before round {empty}"
        else:
            why = f"round {empty} would label none"
        raise ConfigError(
            f"{rounds + 1} rounds do not fit a pool of {pool} images: {why}",
            where=f"rounds={rounds} initial={initial} budget={budget}",
            remedy="lower rounds, initial or budget so that every round has at least one image",
        )
    return sizes


def boxes_per_round(train: Dataset, order: Sequence[int], initial: Amount, budget: Amount, rounds: int) -> list[int]:
    """[rounds + 1] images of the initial set, the first of `order`, then the boxes of each round; with an `initial` of 0 the
    boxes of every round.

    The initial set stays a number of images, so that it is the same whatever the unit. Shares of the budget are of all
    boxes of the pool; the last round takes what is left of them. ConfigError where the rounds before the last could use
    up the pool: each may pass its budget by all boxes of an image but one.
    """
    first = [] if initial == 0 else images_per_round(len(train), initial, 1, rounds)[:1]
    if not (active := rounds + 1 - len(first)):
        return first
    exact = _exact(budget, train.box_count, rounds)
    sizes = np.diff([math.floor(round * exact + 0.5) for round in range(active + 1)]).tolist()
    initial_boxes = train.select(order[: sum(first)]).box_count
    largest = max(int((~image.crowd).sum()) for image in train.images)
    most = initial_boxes + sum(sizes[:-1]) + (active - 1) * max(0, largest - 1)
    if min(sizes) < 1 or most >= train.box_count:
        raise ConfigError(
            f"an initial set with {initial_boxes} boxes and rounds of {_first_of(sizes)} do not fit a pool of "
            f"{train.box_count} boxes, where an image has up to {largest}",
            where=f"rounds={rounds} initial={initial} budget={budget} budget_unit=boxes",
            remedy="lower rounds, initial or budget so that every round has boxes left to label",
        )
    return [*first, *sizes]


def _exact(amount: Amount, total: int, rounds: int) -> float:
    if amount is None:
        return total / (rounds + 1)
    return total * amount if isinstance(amount, float) and amount <= 1 else int(amount)


def fill(select: Choose, request: Request, boxes: Mapping[int, int], budget: int) -> Choice:
    """The images that reach `budget` boxes: without the last one they hold fewer. All images where they hold no more.

    `boxes` are the annotated objects of each candidate; `request.budget` is how many images to ask for first. Every question
    starts from the request's random state. The log ends with how many images were asked for and how many were taken; the
    others were dropped by that last stage.
    """

    def ask(images: int) -> Choice:
        return select(replace(request, budget=images, rng=copy.deepcopy(request.rng)))

    n, guess = len(boxes), request.budget
    if n == 1 or sum(boxes.values()) <= budget:
        return ask(n)
    images = min(guess, n - 1)  # never all: a sampler asked for everything has nothing to order
    while True:
        choice = ask(images)
        selection = choice.selection
        held = np.cumsum([boxes[i] for i in selection.ids.tolist()])
        if held[-1] >= budget:
            break
        if images == n - 1:  # even those were too few, so the one left over completes them
            last = set(boxes).difference(selection.ids.tolist()).pop()
            selection = Selection(np.append(selection.ids, last), np.append(selection.scores, np.nan))
            held = np.append(held, held[-1] + boxes[last])
            break
        wanted = int(1.05 * images * budget / max(1, held[-1])) + 1
        images = min(n - 1, 2 * images, max(images + 1, wanted))
    taken = int(np.searchsorted(held, budget)) + 1
    stages = (*choice.stages, StageLog(f"until {budget} boxes", len(selection.ids), taken))
    dropped_by = choice.dropped_by.copy()
    dropped_by[np.searchsorted(choice.candidates, selection.ids)] = len(stages)
    dropped_by[np.searchsorted(choice.candidates, selection.ids[:taken])] = 0
    kept = Selection(selection.ids[:taken], selection.scores[:taken])
    return Choice(kept, stages, choice.candidates, choice.scores, dropped_by)


def guess_images(budget: int, labeled_boxes: int, labeled_images: int) -> int:
    """How many images hold `budget` boxes if they are like the labeled ones, rounded up; 1 where none is labeled."""
    return max(1, -(-budget * labeled_images // max(1, labeled_boxes)))


class Once:
    """`infer` that remembers: asking for more images costs the inference of the new ones only. One round long."""

    def __init__(self, infer: Infer):
        self.infer = infer
        self.tables: dict[frozenset[Signal], Predictions] = {}

    def __call__(self, ids: NDArray[np.int64], signals: frozenset[Signal]) -> Predictions:
        table = self.tables.get(signals)
        new = ids if table is None else np.setdiff1d(ids, table.image_ids)
        if table is None or len(new):
            inferred = self.infer(new, signals)
            table = self.tables[signals] = inferred if table is None else joined(table, inferred)
        return table if len(table) == len(ids) else table.select(ids)


def joined(a: Predictions, b: Predictions) -> Predictions:
    """One table of the images of both. They share no image and have the same columns; those over classes come from `a`."""
    ids = np.concatenate([a.image_ids, b.image_ids])
    images = np.argsort(ids)  # where each image of the result comes from
    rank = np.argsort(images)  # where each image goes
    rows = np.argsort(rank[np.concatenate([a.row_image, b.row_image + len(a)])], kind="stable")
    columns = {}
    for signal, column in a.columns.items():
        if signal in ROW_AXIS or signal in IMAGE_AXIS:
            axis, order = (ROW_AXIS[signal], rows) if signal in ROW_AXIS else (IMAGE_AXIS[signal], images)
            column = np.concatenate([column, b.columns[signal]], axis=axis).take(order, axis=axis)
        columns[signal] = column
    counts = np.concatenate([a.counts, b.counts])[images]
    boxes, scores, classes = (
        np.concatenate([getattr(a, name), getattr(b, name)])[rows] for name in ("boxes", "scores", "classes")
    )
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Predictions(ids[images], offsets, boxes, scores, classes, a.num_classes, a.prob_kind, columns)
