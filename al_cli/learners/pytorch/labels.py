"""Which labels there are, for signals that are measured against them."""

from __future__ import annotations

from dataclasses import dataclass

from al_cli.errors import ConfigError
from al_cli.types import Dataset


@dataclass(frozen=True, eq=False)
class KnownLabels:
    """What `Learner.inform` was given last."""

    labeled: Dataset
    initial: Dataset
    val: Dataset | None
    scored: Dataset

    def reference(self, name: str) -> Dataset:
        """The images of `model.influence.reference`. ConfigError where they are validation images and there are none."""
        known = {"val": self.val, "initial": self.initial, "labeled": self.labeled, "test": self.scored}
        reference = known[name]
        if reference is None:
            raise ConfigError(
                "influence is measured on the validation images, and there are none",
                where="model.influence.reference=val",
                remedy="add dataset.val=20%, or set model.influence.reference=labeled",
            )
        return reference
