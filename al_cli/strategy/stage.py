"""One stage: it scores the candidates (or not), selects, and keeps some for the next.

Checks what its functions declare (`al_cli.samplers.base`) when it is built, and what they return when it runs.
"""

from __future__ import annotations

import dataclasses
import math
import re
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from al_cli.errors import ConfigError
from al_cli.samplers.base import (
    Boxes,
    Needs,
    boxes_of,
    declaration_of,
    held_out_of,
    labeled_of,
    name_of,
    needs_of,
    together,
)
from al_cli.types import ORACLES, Query, Score, Select, Selection, StageLog

Of = Literal["outside", "inside", "all"]


def keep_count(keep: str, total: int, target: int, ud: float | None = None) -> int:
    """How many of `total` candidates a stage keeps so that `target` can be picked from them.

    `budget`: the target. `ud`: thesis eq. 9, (total - target) * (1 - ud) + target: all of them at 0, the target at 1.
    `4x`: that multiple of the target. `20%`: that share of the candidates. `100 images`: so many. Never below the
    target, and never above `total`: where the pool is smaller than the budget, all of it.

    Exact: `ud` counts as the decimal it is written as. Eq. 9 rounds to the nearest, halves up; multiple and share up.
    ConfigError for anything else, for a `ud` outside [0, 1], and for `ud` kept without a value.
    """
    kind = _keep_kind(keep)
    if target < 1 or total < 0:
        raise ValueError(f"cannot keep {target} of {total}")
    if total <= target or kind == "budget":
        return min(total, target)
    if kind == "ud":
        if ud is None or not 0 <= ud <= 1:
            raise ConfigError(
                f"this sampler needs a ud_split in [0, 1], got {ud}", where="ud_split", remedy="set ud_split=0.5"
            )
        return math.floor((total - target) * (1 - as_written(ud)) + target + Fraction(1, 2))
    if kind == "images":
        return min(total, max(target, int(keep.split()[0])))
    number = Fraction(keep[:-1])
    wanted = math.ceil(number * target) if kind == "x" else math.ceil(number * total / 100)
    return min(total, max(target, wanted))


def _keep_kind(keep: str) -> str:
    """`budget`, `ud`, `images`, `x` or `%`. ConfigError for what is none of them."""
    if keep in ("budget", "ud"):
        return str(keep)
    if re.fullmatch(r"[1-9]\d{0,11} images", str(keep)):
        return "images"
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([x%])", str(keep))
    if found and ((found[2] == "x" and float(found[1]) >= 1) or (found[2] == "%" and 0 < float(found[1]) <= 100)):
        return found[2]
    raise ConfigError(
        f"a stage cannot keep {keep!r}",
        where=f"keep={keep}",
        remedy="give budget, ud, a multiple of the budget such as 4x, a share of the candidates such as 20%, or a "
        "count such as '100 images'",
    )


@dataclasses.dataclass(frozen=True)
class Stage:
    """`select` keeps some of the candidates, by `score` where it has one. Checked when built: ConfigError.

    With a `share`, this stage picks for good: that part of the budget. The stages after it pick the rest of the budget,
    from other images. Which, `of` says at the first of them (see `Strategy`); without it they are those `outside`.
    """

    select: Select
    score: Score | None = None
    keep: str = "budget"
    share: float | None = None
    of: Of | None = None

    def __post_init__(self) -> None:
        _keep_kind(self.keep)
        object.__setattr__(self, "keep", str(self.keep))  # a count is a number in a file
        number = isinstance(self.share, int | float) and not isinstance(self.share, bool)
        if self.share is not None and not (number and 0 < self.share < 1 and self.keep == "budget"):
            remedy = "give 0 < share < 1 with `keep: budget`, for example share: 0.5"
            raise ConfigError(f"a stage cannot keep {self.keep} with share={self.share!r}", remedy=remedy)
        if self.of is not None and self.of not in get_args(Of):
            raise ConfigError(f"a stage cannot choose of={self.of!r}", remedy="give outside, inside or all")
        for role, part in (("selection", self.select), ("score", self.score)):
            if part is not None and declaration_of(part).kind != role:
                remedy = "scores go under `score`, selections under `select`"
                raise ConfigError(f"{name_of(part)} is not a {role}", where="sampler stage", remedy=remedy)
        if declaration_of(self.select).scored and self.score is None:
            remedy = "add `score: {_target_: al_cli.samplers.class_entropy, _partial_: true}` to the stage"
            raise ConfigError(f"{name_of(self.select)} needs scores", where="sampler stage", remedy=remedy)
        _ = self.needs  # binds every option

    @property
    def name(self) -> str:
        """The functions in order, as records have it."""
        return " -> ".join(name_of(part) for part in (self.score, self.select) if part is not None)

    def log(self, candidates: int, kept: int, skipped: str = "") -> StageLog:
        """What records keep of this stage in one round."""
        return StageLog(self.name, candidates, kept, skipped, oracle=bool((self.needs or frozenset()) & ORACLES))

    @property
    def needs(self) -> Needs:
        """The signals of score and selection together; None where neither looks at predictions."""
        return together(needs_of(part) for part in (self.score, self.select) if part is not None)

    @property
    def labeled(self) -> Needs:
        """Signals of the labeled images that score and selection read; None where neither looks at those."""
        return together(labeled_of(part) for part in (self.score, self.select) if part is not None)

    @property
    def held_out(self) -> Needs:
        """Signals of the validation images that the score reads; None where it does not look at those."""
        return None if self.score is None else held_out_of(self.score)

    @property
    def boxes(self) -> dict[str, Boxes]:
        """Of each function that has a meaning for some labels only, whether images must have boxes or one class each."""
        found = {name_of(part): boxes_of(part) for part in (self.score, self.select) if part is not None}
        return {name: boxes for name, boxes in found.items() if boxes is not None}

    def run(self, query: Query) -> tuple[Selection, NDArray[np.float64] | None]:
        """The checked selection of `query.budget` candidates, and the scores [N] of all where there are any."""
        scores = None
        if self.score is not None:
            scores = np.asarray(self.score(query), dtype=np.float64)
            name, n = name_of(self.score), len(query.candidates)
            ensure(scores.shape == (n,), f"{name} returned shape {scores.shape} for {n} images")
            bad = query.candidates.image_ids[~np.isfinite(scores)]
            ensure(not len(bad), f"{name} returned scores that are not finite for images {bad[:8].tolist()}")
        name = name_of(self.select)
        selection = self.select(query, scores)
        ids = selection.ids
        ensure(len(ids) == query.budget, f"{name} returned {len(ids)} images instead of {query.budget}")
        ensure(len(np.unique(ids)) == len(ids), f"{name} returned an image twice")
        strange = np.setdiff1d(ids, query.candidates.image_ids)
        ensure(not len(strange), f"{name} returned images that are no candidates: {strange[:8].tolist()}")
        return selection, scores


def as_written(number: float) -> Fraction:
    """The decimal that a number is written as: 0.1 is a tenth."""
    return Fraction(str(number))


def ensure(condition: bool, message: str) -> None:
    """RuntimeError where a function broke its contract: a bug of its author, not of the user."""
    if not condition:
        raise RuntimeError(message)
