"""What the value of one setting may be, whatever the others are. ConfigError names setting and value."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from al_cli.errors import ConfigError, suggest, written


def whole(value: Any, name: str, at_least: int, at_most: int) -> None:
    """ConfigError unless the value is a whole number between the two."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name} is {written(value)}", remedy=f"give a whole number of at least {at_least}")
    if not at_least <= value <= at_most:
        number = (
            value
            if abs(value) < 10**20
            else f"a number of {len(str(value)) if abs(value) < 10**4000 else 'many'} digits"
        )
        raise ConfigError(
            f"{name} is {number}", remedy=f"give a whole number of at least {at_least} and at most {at_most}"
        )


def one_of(value: Any, name: str, choices: Collection[str]) -> None:
    """ConfigError unless the value is one of these texts."""
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {written(value)}, which is no text", remedy=suggest("", choices))
    if value not in choices:
        raise ConfigError(f"{name} is {written(value)}", remedy=suggest(value, choices))


def amount(value: Any, name: str, unit: str, or_zero: bool = False) -> None:
    """A count of at least 1 (0 too with `or_zero`), a share between 0 and 1, or null."""
    if value is None or (or_zero and value == 0 and type(value) is int):
        return
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value <= 0 or (value > 1 and value != int(value)):
        raise ConfigError(
            f"{name} is {written(value)}",
            remedy=f"give a count of {unit} ({'0, ' * or_zero}1, 2, ...), a share of the pool (0.05), or null for equal parts",
        )
