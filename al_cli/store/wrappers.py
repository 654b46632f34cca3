"""A learner and a strategy that look into the store first. They answer as the ones inside do, to the byte.

A training is determined by the images with their labels (as a set: every training shuffles anew), the validation images,
the seed, the weights it starts from, the learner's identity (`learners/identity.py`) and the learner's own code. What
follows from weights is keyed by the weights themselves, the digest of their file, so that a run continued from disk finds
what it needs. A selection is keyed by the code of its own stages too, wherever it lies: a sampler that is added or edited
leaves every training and every other sampler's selections valid.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import os
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from al_cli.learners.identity import file_digest
from al_cli.records.files import load_predictions, npz_bytes, predictions_bytes
from al_cli.samplers.base import function_of
from al_cli.store.code import OURS, code_of_modules
from al_cli.store.disk import Store
from al_cli.strategy import Infer, Stage, Strategy
from al_cli.types import Checkpoint, Choice, Dataset, Learner, Predictions, Selection, Signal, StageLog

log = logging.getLogger("al")
MAX_TABLE_MIB = 256  # a larger table of predictions is quicker to compute again than worth its disk
MEASURED_AGAINST_LABELS = frozenset({Signal.INFLUENCE, Signal.GRADIENT_SIMILARITY})


class StoredLearner(Learner):
    """`inner`, trained and asked only for what the store does not have.

    `identity` is everything beside the arguments of `fit` that determines the weights; `asking` what, with the weights,
    determines the answers of `infer`.
    """

    def __init__(self, inner: Learner, store: Store, *, identity: Mapping[str, Any], asking: Mapping[str, Any]):
        self.inner, self.store, self.identity, self.asking = inner, store, dict(identity), dict(asking)
        self.provides, self.device = inner.provides, inner.device
        self.weights = ""  # digest of the checkpoint that answers
        self._checkpoint: Checkpoint | None = None
        self._file: Path | None = None  # where the store has it
        self._known: dict[str, str | None] = {}

    def about_training(self, train: Dataset, val: Dataset | None, seed: int, init: str | None) -> dict[str, Any]:
        """What determines the weights. `init` is the digest of the weights to continue from."""
        return {**self.identity, "train": digest(train), "val": maybe_digest(val), "seed": seed, "init": init}

    def fit(self, train: Dataset, *, val: Dataset | None, seed: int, init: Checkpoint | None) -> Checkpoint:
        if init is not None and init is not self._checkpoint:
            raise ValueError("a stored learner continues from the checkpoint it last gave")
        about = self.about_training(train, val, seed, self.weights if init is not None else None)

        def write(checkpoint: Checkpoint, folder: Path) -> dict[str, Any]:
            self.inner.save(checkpoint, folder / "checkpoint.pth")
            iterations = checkpoint.history[-1].iteration if checkpoint.history else 0
            return {"weights": file_digest(folder / "checkpoint.pth"), "iterations": iterations, "images": len(train)}

        got = self.store.get(
            "training",
            about,
            read=lambda folder: self.inner.load(folder / "checkpoint.pth"),
            make=lambda: self.inner.fit(train, val=val, seed=seed, init=init),
            write=write,
        )
        assert got.entry is not None
        if got.hit:
            log.info("this training is in the store: %.0f s saved", got.entry.seconds)
        self.weights, self._checkpoint = got.entry.notes["weights"], got.result
        self._file = got.entry.path / "checkpoint.pth"
        return got.result

    def infer(self, images: Dataset, signals: frozenset[Signal] = frozenset()) -> Predictions:
        return self.store.get(
            "inference",
            self.about_inference(images, signals),
            read=lambda folder: load_predictions(folder / "predictions.npz"),
            make=lambda: self.inner.infer(images, signals),
            write=write_table,
        ).result

    def about_inference(self, images: Dataset, signals: frozenset[Signal]) -> dict[str, Any]:
        known = self._known if signals & MEASURED_AGAINST_LABELS else None
        about = {"weights": self.weights, "images": digest(images), "signals": sorted(signals), "known": known}
        return {**self.answering, **about}

    @property
    def answering(self) -> dict[str, Any]:
        """What, with the weights, determines any answer: code, versions, device, kernels and the settings of asking."""
        return {key: self.identity[key] for key in ("code", "versions", "device", "kernels")} | self.asking

    def inform(self, *, labeled: Dataset, initial: Dataset, val: Dataset | None) -> None:
        self._known = {"labeled": digest(labeled), "initial": digest(initial), "val": maybe_digest(val)}
        self.inner.inform(labeled=labeled, initial=initial, val=val)

    def loss(self, images: Dataset) -> NDArray[np.float64]:
        return self.inner.loss(images)

    def save(self, checkpoint: Checkpoint, path: Path) -> None:
        """A hard link to the store's file where that can be: the weights are on disk once."""
        if checkpoint is not self._checkpoint or self._file is None or not self._file.exists():
            self.inner.save(checkpoint, path)
            return
        unfinished = path.with_name(path.name + ".tmp")
        unfinished.unlink(missing_ok=True)
        try:
            os.link(self._file, unfinished)
        except OSError:  # another file system, or one without links
            shutil.copyfile(self._file, unfinished)
        unfinished.replace(path)

    def load(self, path: Path) -> Checkpoint:
        self._checkpoint, self._file = self.inner.load(path), None
        self.weights = file_digest(path)
        return self._checkpoint


@dataclass(frozen=True, init=False)
class StoredStrategy(Strategy):
    """A strategy for one pool and one learner, that selects only what the store does not have.

    `spelled` are its stages as the configuration has them.
    """

    store: Store
    learner: StoredLearner
    pool: str
    spelled: Any
    code: Mapping[str, str]

    def __init__(self, inner: Strategy, store: Store, learner: StoredLearner, pool: Dataset, spelled: Any):
        super().__init__(inner.stages)
        code = code_of_modules(["al_cli.strategy", "al_cli.budget", *modules_of(inner.stages, spelled)])
        vars(self).update(store=store, learner=learner, pool=digest(pool), spelled=spelled, code=code)

    def select(
        self,
        candidate_ids: Collection[int],
        *,
        infer: Infer,
        budget: int,
        ud: float | None,
        rng: np.random.Generator,
        truth: Dataset | None = None,
        labeled: Collection[int] = (),
        held_out: Dataset | None = None,
        infer_held_out: Infer | None = None,
    ) -> Choice:
        about = self.about(candidate_ids, budget=budget, ud=ud, rng=rng, labeled=labeled, held_out=held_out)
        return self.store.get(
            "selection",
            about,
            read=read_choice,
            make=lambda: super(StoredStrategy, self).select(
                candidate_ids,
                infer=infer,
                budget=budget,
                ud=ud,
                rng=rng,
                truth=truth,
                labeled=labeled,
                held_out=held_out,
                infer_held_out=infer_held_out,
            ),
            write=write_choice,
        ).result

    @property
    def looks(self) -> bool:
        """Whether any stage reads predictions: if none does, the weights say nothing of the choice."""
        return any((stage.needs, stage.labeled, stage.held_out) != (None, None, None) for stage in self.stages)

    def about(
        self,
        candidate_ids: Collection[int],
        *,
        budget: int,
        ud: float | None,
        rng: np.random.Generator,
        labeled: Collection[int],
        held_out: Dataset | None,
    ) -> dict[str, Any]:
        """What determines a selection: the weights, the pool and its labeled part, and everything the stages read."""
        measured = self.needs & MEASURED_AGAINST_LABELS
        return {
            **self.learner.answering,
            "weights": self.learner.weights if self.looks else None,
            "stages": self.spelled,
            "code of stages": self.code,
            "pool": self.pool,
            "candidates": ids_digest(candidate_ids),
            "labeled": ids_digest(labeled),
            "budget": budget,
            "ud": ud if self.uses_ud else None,
            "rng": hashlib.sha256(json.dumps(rng.bit_generator.state, sort_keys=True).encode()).hexdigest()[:32],
            "val": maybe_digest(held_out),
            "known": self.learner._known if measured else None,
        }


def modules_of(stages: Iterable[Stage], spelled: Any) -> set[str]:
    """The modules whose code these stages run: where their functions are defined, and where the configuration names them."""
    parts = [part for stage in stages for part in (stage.score, stage.select) if part is not None]
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


def write_table(table: Predictions, folder: Path) -> dict[str, Any] | None:
    content = predictions_bytes(table)
    if len(content) > MAX_TABLE_MIB * 2**20:
        return None
    (folder / "predictions.npz").write_bytes(content)
    return {"images": len(table)}


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


def digest(images: Dataset) -> str:
    """The fingerprint of names, sizes and labels, with each file's length and time of change: other pixels under the same
    names and labels are other data. A copy of the files with new times is taken for other data too, which costs time alone."""
    stamps = hashlib.sha256()
    for image in images.images:
        try:
            found = image.path.stat()
            stamps.update(b"%d %d " % (found.st_size, found.st_mtime_ns))
        except OSError:  # data that are not files
            stamps.update(b"- ")
    return f"{images.fingerprint}-{stamps.hexdigest()[:16]}"


def maybe_digest(images: Dataset | None) -> str | None:
    return None if images is None else digest(images)


def ids_digest(ids: Iterable[int]) -> str:
    """Of a set of ids, in any order."""
    return hashlib.sha256(np.sort(np.fromiter((int(i) for i in ids), dtype=np.int64)).tobytes()).hexdigest()[:32]
