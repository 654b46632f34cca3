"""Names in any script, in figures: installed fonts where the house font lacks a letter, a spelling where none has it.

Without this a figure has an empty box for each such letter, so that two classes may look the same.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOUSE = "DejaVu Sans"  # comes with matplotlib
_LETTER = re.compile(r".* (?:LETTER|SYLLABLE|CHARACTER|VOWEL SIGN|DIGIT) (?:SMALL )?([A-Z]+)\b")
_taken: dict[tuple[str, str], None] = {}
_warned: set[str] = set()
log = logging.getLogger("al")


def show_letters(made: Figure) -> None:
    """Give each text of the figure the fonts that have its letters, and spell those that no font has."""
    from matplotlib.text import Text
    from matplotlib.ticker import FixedLocator

    for axis in (axis for axes in made.axes for axis in (axes.xaxis, axes.yaxis)):
        labels = [label.get_text() for label in axis.get_ticklabels()] if _is(axis, FixedLocator) else []
        if not all(map(str.isascii, labels)):
            axis.set_ticklabels([drawable(label) for label in labels])
    for text in made.findobj(Text):
        assert isinstance(text, Text)
        if not text.get_text().isascii():
            text.set_text(drawable(text.get_text()))
            text.set_fontfamily([HOUSE, *families(text.get_text())])


def _is(axis: object, locator: type) -> bool:
    return isinstance(axis.get_major_locator(), locator)  # type: ignore[attr-defined]


def families(text: str) -> list[str]:
    """The fonts that have the letters of the text which the house font lacks."""
    return list(dict.fromkeys(font[0] for char in text if not in_house(char) and (font := font_with(char))))


def drawable(text: str) -> str:
    """The text with each letter that no installed font has spelled by its sound where its Unicode name says it, and as an
    escape (\\u732b) else. Warns once of each script or letter.

    >>> drawable("cat é")
    'cat é'
    """
    lacking = [char for char in text if not in_house(char) and font_with(char) is None]
    new = {char for char in lacking if unicodedata.category(char) != "Mn"} - _warned
    if new:
        _warned.update(new)
        log.warning(
            "no installed font has %s: figures spell it %s; install a font for that script (for example Noto Sans)",
            "".join(sorted(new)[:5]), " ".join(map(spelling, sorted(new)[:5])),
        )  # fmt: skip
    return "".join(spelling(char) if char in lacking else char for char in text)


def spelling(char: str) -> str:
    """A letter in ASCII: its sound (unicodedata.name), nothing for a mark above or below another letter, else an escape."""
    found = _LETTER.fullmatch(unicodedata.name(char, ""))
    if found:
        return found[1].lower()
    if unicodedata.category(char) == "Mn":
        return ""
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def font_for(text: str) -> tuple[Path, str]:
    """(file of one font, text) for what can draw with one font only: the house font, or the first that has all letters, else
    the house font and the text spelled_out in its letters."""
    strange = [char for char in text if not in_house(char)]
    fonts = {font_with(char) for char in strange}
    if len(fonts) == 1 and (font := fonts.pop()) and all(_has(font[1], char) for char in text):
        return Path(font[1]), text
    plain = drawable(text)
    return _house(), "".join(char if in_house(char) else spelling(char) for char in plain)


@cache
def in_house(char: str) -> bool:
    """Whether the house font has the character, or it needs no picture."""
    return char.isascii() or unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") or _has(str(_house()), char)


@cache
def font_with(char: str) -> tuple[str, str] | None:
    """(family, file) of the first upright font, by name, that has the character as an outline; None where no font has."""
    from matplotlib.font_manager import fontManager

    fonts = {(font.name, font.fname) for font in fontManager.ttflist if font.style == "normal" and font.weight == 400}
    in_order = [
        *_taken,
        *(font for font in sorted(fonts) if "Last Resort" not in font[0]),
    ]  # a script's letters are together
    found = next((font for font in in_order if _has(font[1], char)), None)
    if found:
        _taken[found] = None
    return found


@cache
def _has(file: str, char: str) -> bool:
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(file)
    except (RuntimeError, OSError):  # a font of pixels, or a file that is gone
        return False
    return bool(font.scalable and font.get_char_index(ord(char)))


def _house() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
