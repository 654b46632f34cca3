"""What one setting of a model or a training may be, whatever the others are. ConfigError names the key and the choices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from al_cli.errors import ConfigError, suggest, written


def require_one_of(key: str, value: Any, choices: tuple[Any, ...]) -> None:
    if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in choices):
        names = ["null" if choice is None else str(choice).lower() for choice in choices]
        raise ConfigError(
            f"{key} cannot be {written(value)}", where=f"{key}={written(value)}", remedy=suggest(str(value), names)
        )


def require_count(key: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(
            f"{key} must be a count", where=f"{key}={written(value)}", remedy="give an integer of at least 1"
        )


def require_number(key: str, value: Any, valid: Callable[[float], bool], what: str, or_null: bool = True) -> None:
    """None passes with `or_null`: it leaves the choice to the model."""
    if value is None and or_null:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not valid(value):
        raise ConfigError(
            f"{key} must be a number {what}",
            where=f"{key}={written(value)}",
            remedy=f"give a number {what}{', or null' if or_null else ''}",
        )
