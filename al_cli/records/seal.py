"""What a claim is held to: its arms, seeds and rounds, and what was known when it was written, with a hash over all of it.

A sweep seals a claim before its first run starts. Everything is said inside: files' times are lost with every copy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Seal:
    """`claim` is as written. `arms`: name -> overrides of its runs that say what they
    compute. `rounds`: name -> trainings of a run, the initial one
    included. `records`: finished rounds that the study had by then. `stored` of the `trainings` that the sealed runs need were
    in the store by then (None: the runs do not use it). `sealed`: sha256 of all the rest."""

    claim: Mapping[str, Any]
    arms: Mapping[str, tuple[str, ...]]
    seeds: tuple[int, ...]
    rounds: Mapping[str, int]
    written_at: str
    records: int
    trainings: int
    stored: int | None
    sealed: str = ""

    def closed(self) -> Seal:
        """The same with its hash."""
        return replace(self, sealed=self._digest())

    @property
    def intact(self) -> bool:
        """Whether everything is as it was when the hash was made."""
        return self.sealed == self._digest()

    def plans_as(self, other: Seal | None) -> bool:
        """Whether both hold the same claim to the same runs, whenever they were written."""
        return other is not None and self._plan() == other._plan()

    def _plan(self) -> tuple[object, ...]:
        return self.claim, self.arms, self.seeds, self.rounds

    def _digest(self) -> str:
        content = {key: value for key, value in asdict(self).items() if key != "sealed"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def parse_seal(content: Mapping[str, Any] | None) -> Seal | None:
    """The seal in study.json; None where there is none. KeyError, TypeError or AttributeError where it is of another shape."""
    if content is None:
        return None
    arms = {str(name): tuple(overrides) for name, overrides in content["arms"].items()}
    rounds = {str(name): int(count) for name, count in content["rounds"].items()}
    stored = content["stored"]
    return Seal(
        claim=dict(content["claim"]),
        arms=arms,
        seeds=tuple(content["seeds"]),
        rounds=rounds,
        written_at=str(content["written_at"]),
        records=int(content["records"]),
        trainings=int(content["trainings"]),
        stored=None if stored is None else int(stored),
        sealed=str(content["sealed"]),
    )
