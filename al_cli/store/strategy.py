"""A strategy that looks into the store first. It answers as the one inside does, to the byte.

A selection is determined by the weights, the images, everything its stages read, and the code of its own stages, wherever
that lies: a sampler that is added or edited leaves every training and every other sampler's selections valid.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from al_cli.lookup import OURS
from al_cli.records.formats import npz_bytes
from al_cli.samplers.base import function_of
from al_cli.store.code import code_of_modules
from al_cli.store.disk import Store
from al_cli.store.learner import StoredLearner, digest, maybe_digest
from al_cli.strategy import Stage, Strategy
from al_cli.types import MEASURED_AGAINST_LABELS, Choice, Dataset, Request, Selection, StageLog


class StoredStrategy:
    """`inner` for one pool and one learner, asked only for selections that the store does not have.

    `spelled` are its stages as the configuration has them.
    """

    def __init__(self, inner: Strategy, store: Store, learner: StoredLearner, pool: Dataset, spelled: Any):
        self.inner, self.store, self.learner, self.spelled = inner, store, learner, spelled
        self.pool = digest(pool)
        self.code = code_of_modules(["al_cli.strategy", "al_cli.budget", *modules_of(inner.stages, spelled)])

    def select(self, request: Request) -> Choice:
        return self.store.get(
            "selection",
            self.about(request),
            read=read_choice,
            make=lambda: self.inner.select(request),
            write=write_choice,
        ).result

    @property
    def looks(self) -> bool:
        """Whether any stage reads predictions: if none does, the choice does not depend on the weights."""
        return any((stage.needs, stage.labeled, stage.held_out) != (None, None, None) for stage in self.inner.stages)

    def about(self, request: Request) -> dict[str, Any]:
        """What determines a selection: the weights, the pool and its labeled part, and everything the stages read."""
        measured = self.inner.needs & MEASURED_AGAINST_LABELS
        random = json.dumps(request.rng.bit_generator.state, sort_keys=True)
        return {
            **self.learner.answering,
            "weights": self.learner.weights if self.looks else None,
            "stages": self.spelled,
            "code of stages": self.code,
            "pool": self.pool,
            "candidates": ids_digest(request.candidates),
            "labeled": ids_digest(request.labeled),
            "budget": request.budget,
            "ud": request.ud if self.inner.uses_ud else None,
            "rng": hashlib.sha256(random.encode()).hexdigest()[:32],
            "val": maybe_digest(request.held_out),
            "known": self.learner.known if measured else None,
        }


def modules_of(stages: Iterable[Stage], spelled: Any) -> set[str]:
    """The modules whose code these stages run: where their functions are defined, and where the configuration names them."""
    parts = [part for stage in stages for part in (stage.score, stage.select) if part is not None]
    options = [value for part in parts if isinstance(part, functools.partial) for value in part.keywords.values()]
    parts += [value for value in options if callable(value)]  # functions that others are given
    found = {inspect.unwrap(function_of(part)).__module__ for part in parts}
    for target in targets_in(spelled):
        words = target.split(".")
        named = [".".join(words[:n]) for n in range(len(words) - 1, 0, -1)]
        loaded = next((name for name in named if name in sys.modules), None)
        if loaded is not None and loaded.partition(".")[0] != OURS:  # of ours, the functions' own modules are enough
            found.add(loaded)
    return found


def targets_in(spelled: Any) -> Iterator[str]:
    """Every `_target_` in a configuration."""
    if isinstance(spelled, Mapping):
        if "_target_" in spelled:
            yield str(spelled["_target_"])
        spelled = list(spelled.values())
    if isinstance(spelled, list | tuple):
        for item in spelled:
            yield from targets_in(item)


def write_choice(choice: Choice, folder: Path) -> dict[str, Any]:
    arrays = {name: getattr(choice, name) for name in ("candidates", "scores", "dropped_by")}
    arrays |= {"picked": choice.selection.ids, "picked_scores": choice.selection.scores}
    (folder / "choice.npz").write_bytes(npz_bytes(arrays))
    return {"images": len(choice.selection.ids), "stages": [vars(stage) for stage in choice.stages]}


def read_choice(folder: Path) -> Choice:
    stages = json.loads((folder / "entry.json").read_text(encoding="utf-8"))["notes"]["stages"]
    with (folder / "choice.npz").open("rb") as file, np.load(file, allow_pickle=False) as data:
        picked = Selection(data["picked"], data["picked_scores"])
        logs = tuple(StageLog(**stage) for stage in stages)
        return Choice(picked, logs, data["candidates"], data["scores"], data["dropped_by"])


def ids_digest(ids: Iterable[int]) -> str:
    """Of a set of ids, in any order."""
    return hashlib.sha256(np.sort(np.fromiter((int(i) for i in ids), dtype=np.int64)).tobytes()).hexdigest()[:32]
