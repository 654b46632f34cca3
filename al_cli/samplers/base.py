"""What a sampler function declares, and the check of its options before anything is trained.

A score is `f(query, *, options) -> [N] float64`, higher first; a selection `f(query, scores, *, options) -> Selection`.
Options are keywords with a default and a type; configuration fills them with `functools.partial`. A declaration stands
next to the function, so that callers ask a function for its needs and never look at its type:

    @score(needs=frozenset({Signal.PROBS}), source="Settles 2009", family="uncertainty")
    def entropy(query: Query, *, aggregate: Literal["mean", "max"] = "mean") -> NDArray[np.float64]: ...
"""

from __future__ import annotations

import functools
import inspect
import math
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar

from al_cli.errors import ConfigError, suggest
from al_cli.types import Signal

Needs = (
    frozenset[Signal] | None
)  # None: no predictions at all, so no inference; an empty set: boxes, scores and classes
NeedsRule = Needs | Callable[[Mapping[str, Any]], Needs]  # or a function of the options, defaults filled in
Boxes = bool | None  # True: images must have boxes; False: each must have one class; None: either
BoxesRule = Boxes | Callable[[Mapping[str, Any]], Boxes]
Function = TypeVar("Function", bound=Callable[..., Any])
Answer = TypeVar("Answer", Needs, Boxes)


@dataclass(frozen=True)
class Declaration:
    """What a score or selection is and needs.

    `needs` are signals of the candidates, `labeled` of the labeled images, `held_out` of the validation images (None: it
    does not look at those); `scored`: a selection that cannot do without scores. `boxes`: which labels it has a meaning for.
    """

    kind: Literal["score", "selection"]
    needs: NeedsRule
    scored: bool
    source: str
    family: str
    labeled: NeedsRule = None
    held_out: NeedsRule = None
    boxes: BoxesRule = None


@dataclass(frozen=True)
class Between:
    """The closed range of a numeric option: ``threshold: Annotated[float, Between(0, 1)] = 0.3``."""

    low: float
    high: float = float("inf")

    def __str__(self) -> str:
        return f"in [{self.low:g}, {self.high:g}]" if self.high < float("inf") else f"of at least {self.low:g}"


def score(
    *,
    needs: NeedsRule,
    source: str,
    family: str,
    labeled: NeedsRule = None,
    held_out: NeedsRule = None,
    boxes: BoxesRule = None,
) -> Callable[[Function], Function]:
    """Declare a score: what it needs, the source with its equation, and the family `al samplers` lists it under.

    With `labeled` it is also given `query.labeled`, a table of the labeled images with these signals, and `query.truth`;
    with `held_out` the same of the validation images, `query.held_out` and `query.held_out_truth`. With `boxes` it is refused
    where images have one class each (True) or boxes (False).
    """
    return _declare(Declaration("score", needs, False, source, family, labeled, held_out, boxes))


def selection(
    *,
    source: str,
    family: str,
    needs: NeedsRule = None,
    scored: bool = False,
    labeled: NeedsRule = None,
    boxes: BoxesRule = None,
) -> Callable[[Function], Function]:
    """Declare a selection. By default it reads neither predictions nor scores, nor the labeled images."""
    return _declare(Declaration("selection", needs, scored, source, family, labeled, boxes=boxes))


def _declare(declaration: Declaration) -> Callable[[Function], Function]:
    def attach(function: Function) -> Function:
        function.declaration = declaration  # type: ignore[attr-defined]
        return function

    return attach


def function_of(part: Callable[..., Any]) -> Callable[..., Any]:
    """The plain function inside a partial (or the function itself)."""
    return part.func if isinstance(part, functools.partial) else part


def name_of(part: Callable[..., Any]) -> str:
    return getattr(function_of(part), "__name__", repr(part))


def declaration_of(part: Callable[..., Any]) -> Declaration:
    """The declaration of a function or partial. ConfigError where there is none."""
    declaration = getattr(function_of(part), "declaration", None)
    if not isinstance(declaration, Declaration):
        raise ConfigError(
            f"{name_of(part)} is neither a score nor a selection",
            where="sampler stage",
            remedy="name a function of al_cli.samplers, or declare it with @score or @selection",
        )
    return declaration


def needs_of(part: Callable[..., Any]) -> Needs:
    """The signals that this function reads with these options; None where it needs no predictions at all.

    ConfigError for options that `bind` refuses.
    """
    return _with_options(part, declaration_of(part).needs)


def labeled_of(part: Callable[..., Any]) -> Needs:
    """The signals of the labeled images that this function reads with these options; None where it does not look at those."""
    return _with_options(part, declaration_of(part).labeled)


def held_out_of(part: Callable[..., Any]) -> Needs:
    """The signals of the validation images that this function reads with these options; None where it looks at none."""
    return _with_options(part, declaration_of(part).held_out)


def boxes_of(part: Callable[..., Any]) -> Boxes:
    """Whether this function, with these options, needs boxes (True), one class an image (False), or takes either (None)."""
    return _with_options(part, declaration_of(part).boxes)


def _with_options(part: Callable[..., Any], rule: Answer | Callable[[Mapping[str, Any]], Answer]) -> Answer:
    options = bind(part)
    return rule(options) if callable(rule) else rule


def together(needs: Iterable[Needs]) -> Needs:
    """All signals of all; None where each is None."""
    known = [n for n in needs if n is not None]
    return frozenset().union(*known) if known else None


def bind(part: Callable[..., Any]) -> dict[str, Any]:
    """Every option of a function or partial with its value, defaults filled in.

    ConfigError for an option that does not exist, that has no value, or whose value its annotation does not allow.
    """
    function = function_of(part)
    given: dict[str, Any] = dict(part.keywords) if isinstance(part, functools.partial) else {}
    if isinstance(part, functools.partial) and part.args:
        raise ConfigError(f"{name_of(part)} takes options by name only, got {part.args}", where="sampler stage")
    parameters = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    hints = typing.get_type_hints(function, include_extras=True)
    options = {p.name: given.get(p.name, p.default) for p in parameters}
    for key in given:
        if key not in options:
            remedy = suggest(key, options) if options else "it has no options"
            raise ConfigError(f"{name_of(part)} has no option {key!r}", where=f"{key}={given[key]!r}", remedy=remedy)
    for key, value in options.items():
        if value is inspect.Parameter.empty:
            raise ConfigError(f"{name_of(part)} needs a value for {key!r}", where="sampler stage", remedy=f"set {key}")
        hint = hints.get(key, Any)
        if not _allows(hint, value):
            raise ConfigError(
                f"{name_of(part)} cannot take {key}={value!r}", where="sampler stage", remedy=f"give {_wording(hint)}"
            )
    return options


def _allows(hint: Any, value: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        limits = [limit for limit in inner[1:] if isinstance(limit, Between)]
        return _allows(inner[0], value) and all(limit.low <= value <= limit.high for limit in limits)
    if origin is Literal:
        return value in inner
    if origin is Callable:
        return callable(value)
    if origin in (typing.Union, UnionType):
        return any(_allows(choice, value) for choice in inner)
    if hint in (int, float):  # True is an int to Python, but no number to a reader of the configuration
        number = isinstance(value, int if hint is int else (int, float)) and not isinstance(value, bool)
        return number and (isinstance(value, int) or math.isfinite(value))  # no key and no record could hold another
    return isinstance(value, hint) if isinstance(hint, type) else True


def _wording(hint: Any) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return " ".join([_wording(inner[0]), *map(str, inner[1:])])
    if origin is Literal:
        return " or ".join("true" if choice is True else str(choice) for choice in inner)
    if origin in (typing.Union, UnionType):
        return " or ".join(_wording(choice) for choice in inner)
    if origin is Callable:
        return "a function"
    names = {int: "a whole number", float: "a number", NoneType: "null", bool: "true or false"}
    return names[hint] if hint in names else getattr(hint, "__name__", str(hint))
