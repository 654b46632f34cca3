"""How influence is measured, as plain data that is checked before torch is imported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from al_cli.errors import ConfigError, suggest

REFERENCES = ("val", "initial", "labeled")


@dataclass(frozen=True)
class InfluenceSpec:
    """Influence selection's own settings (Liu et al., ISAL, 2021; sections 4.2-4.4, appendices B and E.2).

    `reference`  whose loss is to fall: the validation images (ISAL), the initial labeled ones (v2) or all labeled (v3)
    `threshold`  score from which a detection is a pseudo label; the paper names none, 0.5 is its released program's
    `samples`    at most so many labeled images estimate the Hessian, one a step; None: 500 for R-CNN, 5000 for dense
    `repeats`    estimates that are averaged
    `damping`    share of an estimate that each step forgets; 0.01 is the released program's
    `scale`      divisor of the Hessian, no smaller than its largest curvature; None: found by power iteration
    """

    reference: str = "val"
    threshold: float = 0.5
    samples: int | None = None
    repeats: int = 4
    damping: float = 0.01
    scale: float | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> InfluenceSpec:
        """The checked spec of these settings, the rest as it is here. ConfigError names an unknown setting."""
        for key in settings:
            if key not in cls.__dataclass_fields__:
                remedy = suggest(key, cls.__dataclass_fields__)
                raise ConfigError(f"influence has no setting {key}", where=f"model.influence.{key}", remedy=remedy)
        return cls(**settings).check()

    def check(self) -> InfluenceSpec:
        """This spec, or ConfigError for the first value that cannot work."""
        if self.reference not in REFERENCES:
            raise ConfigError(
                f"influence has no reference {self.reference!r}",
                where="model.influence.reference",
                remedy=suggest(str(self.reference), REFERENCES),
            )
        for key in ("samples", "repeats"):
            value = getattr(self, key)
            if value is not None or key == "repeats":
                _require(isinstance(value, int) and value >= 1, key, value, "a count of at least 1")
        _require(_number(self.threshold) and 0 <= self.threshold <= 1, "threshold", self.threshold, "a score in [0, 1]")
        _require(_number(self.damping) and 0 <= self.damping < 1, "damping", self.damping, "a number in [0, 1)")
        if self.scale is not None:
            _require(_number(self.scale) and self.scale > 0, "scale", self.scale, "a number above 0, or null")
        return self


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _require(fits: bool, key: str, value: Any, what: str) -> None:
    if not fits or isinstance(value, bool):
        raise ConfigError(
            f"influence.{key} cannot be {value}", where=f"model.influence.{key}={value}", remedy=f"give {what}"
        )
