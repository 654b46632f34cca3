"""Which labels there are, for signals that are measured against them."""

from __future__ import annotations

from dataclasses import dataclass

from al_cli.types import Dataset


@dataclass(frozen=True, eq=False)
class KnownLabels:
    """What `Learner.inform` was given last."""

    labeled: Dataset
    initial: Dataset
    val: Dataset | None
    scored: Dataset
