"""Progress of anything that takes longer than two seconds: a live line with ETA on a terminal, plain log lines elsewhere.

    with phase("train round 2", total=600, unit="it") as step:
        for ...:
            step(loss=0.52)

Whoever works reports here, whoever shows it is decided once: this is to progress what `logging` is to messages.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

log = logging.getLogger("al")
LOG_EVERY_S = 15.0

WIDTH = 140  # of tables in a pipe or a log file, where nobody has a window; COLUMNS overrides it


STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)  # moves, colours, overwrites


def spelled_out(text: str) -> str:
    """Text in which a character that would steer the terminal, or cannot be encoded, is spelled out: ESC as `\\x1b`."""
    return STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


class PlainConsole(Console):
    """Names and messages are printed as they are, in tables and titles too: brackets are no markup, `:car:` is no picture,
    and nothing in them steers the terminal. What is to have a style says so (`style=`, `rich.text.Text`)."""

    def __init__(self, **options: Any):
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(spelled_out(text), **options)


def make_console(stderr: bool = False) -> Console:
    """As wide as the terminal, or as `WIDTH` where there is none, so that no table is cut in a log file."""
    made = PlainConsole(stderr=stderr)
    return made if made.is_terminal or "COLUMNS" in os.environ else PlainConsole(stderr=stderr, width=WIDTH)


console = make_console(stderr=True)  # progress and log lines
out = make_console()  # results: what a pipe should get


def say(text: str, style: str | None = None) -> None:
    """Print a line of results as it is: not wrapped, not coloured by its content, brackets as brackets."""
    out.print(text, style=style, highlight=False, soft_wrap=True)


def count(n: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def listing(names: Iterable[object], most: int = 4) -> str:
    """`a, b and c`; beyond `most` of them `a, b, c and 9 more`."""
    words = [str(name) for name in names]
    if len(words) > most:
        words = [*words[: most - 1], f"{len(words) - most + 1} more"]
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1] if words else "") if part)


def duration(seconds: float) -> str:
    """Seconds as people read them: the two largest units, rounded.

    >>> duration(4.21), duration(200), duration(4000)
    ('4.2 s', '3 min 20 s', '1 h 07 min')
    """
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def _fields(values: dict[str, float]) -> str:
    return "  ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )


@contextmanager
def phase(name: str, total: int, unit: str = "images") -> Iterator[Callable[..., None]]:
    """A named piece of work of `total` steps. Yields `step(n=1, **numbers)`; the numbers are shown next to the bar."""
    if console.is_terminal:
        yield from _live(name, total, unit)
    else:
        yield from _plain(name, total, unit)


def _live(name: str, total: int, unit: str) -> Iterator[Callable[..., None]]:
    columns = (
        TextColumn("{task.description:<22}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn(unit, markup=False),
        TimeElapsedColumn(),
        TextColumn("ETA", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[numbers]}", markup=False),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(name, total=total, numbers="")

        def step(n: int = 1, **numbers: float) -> None:
            if numbers:
                progress.update(task, advance=n, numbers=_fields(numbers))
            else:
                progress.advance(task, n)

        yield step


def _plain(name: str, total: int, unit: str) -> Iterator[Callable[..., None]]:
    start = last = time.monotonic()
    done, numbers = 0, {}  # type: int, dict[str, float]

    def step(n: int = 1, **new: float) -> None:
        nonlocal done, last
        done += n
        numbers.update(new)
        now = time.monotonic()
        if now - last >= LOG_EVERY_S and done < total:
            last = now
            eta = (now - start) / done * (total - done)
            log.info(
                "%s: %d/%d %s, %.0f s, ETA %.0f s  %s", name, done, total, unit, now - start, eta, _fields(numbers)
            )

    yield step
    took = time.monotonic() - start
    if took >= 2:
        log.info("%s: %d %s in %.1f s  %s", name, done, unit, took, _fields(numbers))
