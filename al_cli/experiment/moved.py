"""Where the data of a run lies now: `dataset.root=DIR` behind a verb that reads a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from al_cli.errors import ConfigError
from al_cli.experiment import compose
from al_cli.experiment.build import load_dataset
from al_cli.types import Splits

MOVABLE = ("root", "train", "val", "test")


class Moved:
    """The words of one command that say where data lies. ConfigError for words that say something else."""

    def __init__(self, words: Sequence[str], verb: str):
        [said] = compose.split_runs(words, many=False)
        self.verb, self.places = verb, dict[str, tuple[Any, str]]()  # setting -> value, word
        self._read: dict[str, Splits] = {}
        for word, (key, value) in zip(words, compose.values_of(said).items(), strict=True):
            group, _, name = key.partition(".")
            if group != "dataset" or name not in MOVABLE or not value:
                raise _unusable(word, verb)
            self.places[name] = value, word

    def now(self, dataset: Mapping[str, Any]) -> dict[str, Any]:
        """The `dataset` of a run's configuration at its new place. ConfigError where it has no such place."""
        for name, (_, word) in self.places.items():
            if name not in dataset:
                raise _unusable(word, self.verb, where=f"dataset.format={dataset.get('format')}")
        return {**dataset, **{name: value for name, (value, _) in self.places.items()}}

    def load(self, dataset: Mapping[str, Any]) -> Splits:
        """The dataset from where it lies now; each is read once."""
        now = self.now(dataset)
        if (key := repr(now)) not in self._read:
            self._read[key] = load_dataset(now)
        return self._read[key]


def _unusable(word: str, verb: str, where: str = "") -> ConfigError:
    remedy = "say where the data lies now: dataset.root=DIR"
    return ConfigError(f"al {verb} cannot use {word}", where=where, remedy=remedy)
