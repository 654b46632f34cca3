"""A learner that looks into the store first. It answers as the one inside does, to the byte.

A training is determined by the images with their labels (as a set: a training shuffles them, or is given their order),
the validation images, the seed, the weights it starts from, the learner's identity (`learners/identity.py`) and the
learner's own code. What follows from weights is keyed by the weights themselves, the digest of their file, so that a run
continued from disk finds what it needs.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from al_cli.learners.identity import file_digest
from al_cli.records.formats import load_predictions, npz_bytes, predictions_bytes
from al_cli.store.disk import Store
from al_cli.system import unfinished
from al_cli.types import MEASURED_AGAINST_LABELS, Checkpoint, Dataset, Learner, Losses, Predictions, Signal

log = logging.getLogger("al")
MAX_TABLE_MIB = 256  # a larger table of predictions is quicker to compute again than worth its disk


class StoredLearner(Learner):
    """`inner`, trained and asked only for what the store does not have.

    `identity` is everything besides the arguments of `fit` that determines the weights; `asking` what, with the weights,
    determines the answers of `infer`.
    """

    def __init__(self, inner: Learner, store: Store, *, identity: Mapping[str, Any], asking: Mapping[str, Any]):
        self.inner, self.store, self.identity, self.asking = inner, store, dict(identity), dict(asking)
        self.provides, self.device = inner.provides, inner.device
        self.weights = ""  # digest of the checkpoint that answers
        self._checkpoint: Checkpoint | None = None
        self._file: Path | None = None  # where the store has it
        self.known: dict[str, str | None] = {}  # digests of the labels that some signals are measured against

    def about_training(
        self, train: Dataset, val: Dataset | None, seed: int, init: str | None, order: Sequence[int] | None
    ) -> dict[str, Any]:
        """What determines the weights. `init` is the digest of the weights to continue from, with all that such a training
        keeps; `order` of the images where they are not shuffled."""
        about = {**self.identity, "train": digest(train), "val": maybe_digest(val), "seed": seed, "init": init}
        return about if order is None else {**about, "order": hashlib.sha256(repr(list(order)).encode()).hexdigest()}

    def fit(
        self,
        train: Dataset,
        *,
        val: Dataset | None,
        seed: int,
        init: Checkpoint | None,
        order: Sequence[int] | None = None,
    ) -> Checkpoint:
        if init is not None and init is not self._checkpoint:
            raise ValueError("a stored learner continues from the checkpoint it last gave")
        about = self.about_training(train, val, seed, self.weights if init is not None else None, order)

        def write(checkpoint: Checkpoint, folder: Path) -> dict[str, Any]:
            self.inner.save(checkpoint, folder / "checkpoint.pth")
            iterations = checkpoint.history[-1].iteration if checkpoint.history else 0
            return {"iterations": iterations, "images": len(train)}

        got = self.store.get(
            "training",
            about,
            read=lambda folder: self.inner.load(folder / "checkpoint.pth"),
            make=lambda: self.inner.fit(train, val=val, seed=seed, init=init, order=order),
            write=write,
        )
        self._checkpoint = got.result
        if got.entry is None:  # a store that cannot be written
            self.weights, self._file = self._digest_of(got.result), None
            return got.result
        if got.hit:
            log.info("this training is in the store: %.0f s saved", got.entry.seconds)
        self.weights, self._file = got.entry.digests["checkpoint.pth"], got.entry.path / "checkpoint.pth"
        return got.result

    def start(self, seed: int) -> Checkpoint:
        """They are kept nowhere: what determines them stands for the digest of their file."""
        self._checkpoint, self._file = self.inner.start(seed), None
        self.weights = f"start of {self.store.key({**self.identity, 'start': seed})}"
        return self._checkpoint

    def _digest_of(self, checkpoint: Checkpoint) -> str:
        """The digest that the checkpoint's file has."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "checkpoint.pth"
            self.inner.save(checkpoint, path)
            return file_digest(path)

    def infer(self, images: Dataset, signals: frozenset[Signal] = frozenset()) -> Predictions:
        return self.store.get(
            "inference",
            self.about_inference(images, signals),
            read=lambda folder: load_predictions((folder / "predictions.npz").read_bytes()),
            make=lambda: self.inner.infer(images, signals),
            write=write_table,
        ).result

    def about_inference(self, images: Dataset, signals: frozenset[Signal]) -> dict[str, Any]:
        known = self.known if signals & MEASURED_AGAINST_LABELS else None
        about = {"weights": self.weights, "images": digest(images), "signals": sorted(signals), "known": known}
        return {**self.answering, **about}

    @property
    def answering(self) -> dict[str, Any]:
        """What, with the weights, determines any answer: code, versions, device, kernels and the settings of asking."""
        return {key: self.identity[key] for key in ("code", "versions", "device", "kernels")} | self.asking

    def inform(self, *, labeled: Dataset, initial: Dataset, val: Dataset | None, scored: Dataset) -> None:
        given = {"labeled": labeled, "initial": initial, "val": val, "scored": scored}
        self.known = {name: maybe_digest(images) for name, images in given.items()}
        self.inner.inform(labeled=labeled, initial=initial, val=val, scored=scored)

    def loss(self, images: Dataset) -> Losses:
        return self.store.get(
            "inference",
            {**self.answering, "weights": self.weights, "images": digest(images), "asked": "loss"},
            read=read_losses,
            make=lambda: self.inner.loss(images),
            write=write_losses,
        ).result

    def save(self, checkpoint: Checkpoint, path: Path) -> None:
        """A copy of the store's file. No hard link: whoever trains on in place, in the run's folder, would edit the store."""
        if checkpoint is not self._checkpoint or self._file is None or not self._file.exists():
            self.inner.save(checkpoint, path)
            return
        with unfinished(path) as draft:
            shutil.copyfile(self._file, draft)

    def load(self, path: Path) -> Checkpoint:
        self._checkpoint, self._file = self.inner.load(path), None
        self.weights = file_digest(path)
        return self._checkpoint


def write_losses(losses: Losses, folder: Path) -> dict[str, Any]:
    (folder / "losses.npz").write_bytes(npz_bytes(vars(losses)))
    return {"images": len(losses.total)}


def read_losses(folder: Path) -> Losses:
    with (folder / "losses.npz").open("rb") as file, np.load(file, allow_pickle=False) as data:
        return Losses(**{name: data[name] for name in data.files})


def write_table(table: Predictions, folder: Path) -> dict[str, Any] | None:
    content = predictions_bytes(table)
    if len(content) > MAX_TABLE_MIB * 2**20:
        return None
    (folder / "predictions.npz").write_bytes(content)
    return {"images": len(table)}


def digest(images: Dataset) -> str:
    """The fingerprint of names, sizes, labels and content, with al's numbers of the images, which results are kept under. A
    copy with new times or under another path is the same data."""
    return f"{images.fingerprint}-{hashlib.sha256(images.ids.tobytes()).hexdigest()[:8]}"


def maybe_digest(images: Dataset | None) -> str | None:
    return None if images is None else digest(images)
