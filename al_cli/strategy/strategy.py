"""Stages at work, one after the other: which of them run, on which images, and with which predictions.

Knows no sampler and no learner: stages declare what they need (`stage.py`), and predictions come through one callable.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from al_cli.errors import ConfigError
from al_cli.strategy.stage import Of, Stage, as_written, ensure, keep_count
from al_cli.types import (
    ORACLES,
    Choice,
    Dataset,
    Infer,
    Predictions,
    Query,
    Request,
    Selection,
    Signal,
    StageLog,
)


@dataclasses.dataclass(frozen=True)
class Strategy:
    """Stages in order; the last one keeps the budget. ConfigError where it does not.

    A stage with a `share` ends a part of the list, and each part picks its share of the budget: half by entropy out of a
    random 20%, half at random, is `random 20%`, `entropy -> top, share 0.5`, `random`. The first stage of a part keeps some
    images: the subset that the part looks at. The next part chooses from images that are not picked yet, and its first stage
    says of which:

        outside     the candidates of the part before, without the subset that it looked at (where nothing is said)
        inside      the rest of that subset
        all         all images that are not picked yet

    Where these are fewer than what is left of the budget, it chooses from all that are not picked yet.
    """

    stages: tuple[Stage, ...]

    def __init__(self, stages: Sequence[Stage]):
        object.__setattr__(self, "stages", tuple(stages))
        if not self.stages or self.stages[-1].keep != "budget" or self.stages[-1].share is not None:
            remedy = "set `keep: budget` there, without a share"
            raise ConfigError("the last stage of a sampler must keep the budget", where="sampler.stages", remedy=remedy)
        self._check_of()
        shares = [stage.share for stage in self.stages if stage.share is not None]
        if sum(map(as_written, shares)) >= 1:
            remedy = "leave some of the budget to the last stage"
            raise ConfigError(f"shares of {shares} are the whole budget", where="sampler.stages", remedy=remedy)

    def _check_of(self) -> None:
        """ConfigError where a stage says of which images, and that says nothing."""
        before: tuple[Stage, ...] = ()
        for part in self._parts():
            first, *others = part
            if any(stage.of is not None for stage in others) or (first.of is not None and not before):
                remedy = "set it at the first stage after one with a share, or leave it out"
                raise ConfigError("`of` does nothing at this stage", where="sampler.stages", remedy=remedy)
            if first.of == "inside" and len(before) == 1:
                what = f"{before[0].name} picks all that it looks at, so nothing is left inside"
                raise ConfigError(what, where="of=inside", remedy="put a stage such as random, keep 20%, before it")
            before = part

    @property
    def needs(self) -> frozenset[Signal]:
        """All signals of all stages, those of labeled and validation images included: what the learner must provide."""
        each = ((stage.needs, stage.labeled, stage.held_out) for stage in self.stages)
        return frozenset().union(*(signals or () for signals in itertools.chain.from_iterable(each)))

    @property
    def uses_held_out(self) -> bool:
        return any(stage.held_out is not None for stage in self.stages)

    @property
    def oracle(self) -> frozenset[Signal]:
        """The signals of the candidates that nobody could know before labeling: empty for a practical method."""
        return frozenset().union(*(stage.needs or () for stage in self.stages)) & ORACLES

    @property
    def uses_ud(self) -> bool:
        return any(stage.keep == "ud" for stage in self.stages)

    def select(self, request: Request) -> Choice:
        """`budget` of the candidates, best first, with the scores of the last stage that scored them (NaN without), and
        the score and stage of all others.

        A stage that would drop nothing is skipped, and the log says so: with ud = 1 the later stages, with ud = 0 the
        `ud` stage. Candidates that all fit in the budget are returned in ascending order and nothing is computed. Where
        shares divide the budget, the picks of the parts alternate so that the first ones are divided alike.
        `infer` is called at most once a stage, for what the stages before have left, and not where a stage needs no
        predictions or the table at hand already has what it needs. A stage that declares signals of labeled images gets
        them for all of `labeled` in one more call; one that declares some of validation images gets them for all of
        `held_out`, through `infer_held_out`.

        Raises RuntimeError, naming the function, where one returns what it must not.
        """
        everything = np.sort(np.fromiter((int(i) for i in request.candidates), dtype=np.int64))
        ensure(bool((np.diff(everything) > 0).all()), "candidate ids must be distinct")
        budget = left = request.budget
        # The candidates of the part before, those of them that it looked at, and all that are not picked.
        before = looked_at = unpicked = everything
        picks: list[Selection] = []
        logs: list[StageLog] = []
        trail = _Trail(everything)
        for part in self._parts():
            ids = _candidates(part[0].of or "outside", before, looked_at, unpicked) if picks else everything
            if len(ids) < left:
                ids = unpicked
            share = part[-1].share
            target = left
            if share is not None and len(everything) > budget:
                target = min(left, math.floor(as_written(share) * budget + Fraction(1, 2)))
            if target == 0:
                why = f"nothing to pick: {left} of the budget of {budget} is left, share={share or 'the rest'}"
                logs += [stage.log(len(ids), 0, skipped=why) for stage in part]
                continue
            before = ids
            picked, looked_at = _narrow(part, ids, target, request, logs, trail)
            picks.append(picked)
            trail.pick(picked.ids)
            left -= len(picked.ids)
            unpicked = np.setdiff1d(unpicked, picked.ids)
        return Choice(_alternate(picks), tuple(logs), everything, trail.scores, trail.dropped_by)

    def _parts(self) -> list[tuple[Stage, ...]]:
        """The stages, cut after each share."""
        ends = [number for number, stage in enumerate(self.stages, 1) if stage.share is not None]
        return [self.stages[a:b] for a, b in itertools.pairwise([0, *ends, len(self.stages)])]


class _Trail:
    """For every candidate [N]: the last score it got, and the number of the last stage that dropped it (0: none did)."""

    def __init__(self, candidates: NDArray[np.int64]):
        self.candidates = candidates
        self.scores = np.full(len(candidates), np.nan)
        self.dropped_by = np.zeros(len(candidates), np.int64)

    def note(
        self, ids: NDArray[np.int64], scores: NDArray[np.float64] | None, kept: NDArray[np.bool_], stage: int
    ) -> None:
        """Stage number `stage` looked at these ascending ids, scored them or not, and kept some."""
        at = np.searchsorted(self.candidates, ids)
        if scores is not None:
            self.scores[at] = scores
        self.dropped_by[at] = np.where(kept, 0, stage)

    def pick(self, ids: NDArray[np.int64]) -> None:
        """These are chosen now, even where an earlier part dropped them."""
        self.dropped_by[np.searchsorted(self.candidates, ids)] = 0


def _candidates(
    of: Of, before: NDArray[np.int64], looked_at: NDArray[np.int64], unpicked: NDArray[np.int64]
) -> NDArray[np.int64]:
    """What the next part chooses from, ascending: `before` are the candidates of the part before, `looked_at` its subset."""
    if of == "all":
        return unpicked
    return np.setdiff1d(before, looked_at) if of == "outside" else np.intersect1d(looked_at, unpicked)


def _narrow(
    stages: Sequence[Stage],
    ids: NDArray[np.int64],
    budget: int,
    request: Request,
    logs: list[StageLog],
    trail: _Trail,
) -> tuple[Selection, NDArray[np.int64]]:
    """`budget` of these ascending ids, narrowed stage by stage, and what the first stage kept.

    Each stage adds to `logs` what it did, and to `trail` which images it scored and dropped.
    """
    best_first = looked_at = ids
    score_of = np.full(len(ids), np.nan)  # along `ids`
    table: Predictions | None = None
    for number, stage in enumerate(stages):
        keep = keep_count(stage.keep, len(ids), budget, request.ud)
        if keep == len(ids):
            at = f" at ud={request.ud:g}" if stage.keep == "ud" and request.ud is not None else ""
            why = f"nothing to drop: keep={stage.keep}{at} is all {keep} candidates"
            logs.append(stage.log(keep, keep, skipped=why))
            continue
        table = _table(stage, ids, table, request.infer)
        candidates = _blank(ids) if stage.needs is None else _only(table, stage.needs)
        labeled = _labeled(stage, request.labeled, request.infer)
        query = Query(candidates, keep, request.rng, truth=request.truth, labeled=labeled, ud=request.ud)
        if stage.held_out is not None:
            table_of_held_out = _held_out(stage, request.held_out, request.infer_held_out)
            query = dataclasses.replace(query, held_out=table_of_held_out, held_out_truth=request.held_out)
        selection, scores = stage.run(query)
        logs.append(stage.log(len(ids), keep))
        best_first = selection.ids
        chosen = np.isin(ids, best_first)
        trail.note(ids, scores, chosen, stage=len(logs))
        score_of = (score_of if scores is None else scores)[chosen]
        ids = ids[chosen]
        if number == 0:
            looked_at = ids
    return Selection(best_first, score_of[np.searchsorted(ids, best_first)]), looked_at


def _alternate(picks: Sequence[Selection]) -> Selection:
    """One selection of all, each in its own order and spread evenly, so that the start has the parts of the whole."""
    place = np.concatenate([(np.arange(len(pick.ids)) + 0.5) / max(1, len(pick.ids)) for pick in picks])
    order = np.argsort(place, kind="stable")
    ids, scores = (np.concatenate([getattr(pick, name) for pick in picks])[order] for name in ("ids", "scores"))
    return Selection(ids, scores)


def _table(stage: Stage, ids: NDArray[np.int64], table: Predictions | None, infer: Infer) -> Predictions | None:
    """Predictions of exactly these ids with what the stage needs: cut from the table at hand, or inferred."""
    if table is not None:
        table = table.select(ids)
    if stage.needs is None or (table is not None and stage.needs <= table.columns.keys()):
        return table
    return _inferred(infer, ids, stage.needs)


def _labeled(stage: Stage, labeled: Collection[int], infer: Infer) -> Predictions | None:
    """Predictions of all labeled images with the columns the stage declared for them; None where it declared none."""
    if stage.labeled is None:
        return None
    ensure(len(labeled) > 0, f"{stage.name} compares with the labeled images, and there are none")
    ids = np.sort(np.fromiter((int(i) for i in labeled), dtype=np.int64))
    return _only(_inferred(infer, ids, stage.labeled), stage.labeled)


def _held_out(stage: Stage, images: Dataset | None, infer: Infer | None) -> Predictions:
    """Predictions of all validation images with the columns the stage declared for them."""
    if images is None or infer is None or stage.held_out is None:
        raise RuntimeError(f"{stage.name} learns from the validation images, and there are none")
    return _only(_inferred(infer, images.ids, stage.held_out), stage.held_out)


def _inferred(infer: Infer, ids: NDArray[np.int64], signals: frozenset[Signal]) -> Predictions:
    table = infer(ids, signals)
    ensure(
        np.array_equal(table.image_ids, ids), f"infer returned {len(table)} images instead of the {len(ids)} asked for"
    )
    missing = sorted(signals - table.columns.keys())
    ensure(not missing, f"infer returned no {', '.join(missing)}")
    return table


def _only(table: Predictions | None, needs: frozenset[Signal]) -> Predictions:
    """The table with the declared columns alone, so that an undeclared need shows at once."""
    assert table is not None
    return dataclasses.replace(table, columns={signal: table.columns[signal] for signal in needs})


def _blank(ids: NDArray[np.int64]) -> Predictions:
    """A table without a box: for a stage that looks at no predictions."""
    boxes, none = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    return Predictions(ids, np.zeros(len(ids) + 1, np.int64), boxes, none, np.zeros(0, np.int64), num_classes=1)
