"""One typed word, such as `study=2024_05_01` or `seed=0,1`, as the override that Hydra reads the way it was meant.

Hydra makes a number of 2024_05_01 and 1.1 of 1.10. So a setting that is text, a name or a path, is quoted for Hydra here:
what stands behind the first `=` is the value. What Hydra documents still means what it says: quotes around the whole value,
`null`, `${...}`, a backslash before a special character, and with `-m` a comma or `choice(...)` between values.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from al_cli.errors import ConfigError
from al_cli.pasted import as_text, command, text_literal

GROUPS = ("dataset", "model", "sampler", "schedule", "training")  # chosen by the name of a file
# Keys below settings that are null, or hold only what differs from the defaults.
OPEN = re.compile(r"model\.(overrides|influence)(\.|=\{)|dataset\.(train|val|test)\.(images|annotations)=")
TEXT = re.compile(  # settings whose value is the text that was typed
    r"study|run_name|outputs|sampler\.file|model\.(weights|config)"
    r"|dataset\.(root|name|group|(train|val|test)\.(images|annotations))"
)
NAMES = ("study", "run_name")
SPLIT = re.compile(r"dataset\.(train|val|test)")  # may be a mapping of text: {images: FOLDER, annotations: FILE}
KEY = re.compile(r"[A-Za-z_$][\w$-]*([./][\w$-]+)*", re.ASCII)
FUNCTION = re.compile(
    r"(choice|range|interval|glob|sort|shuffle|tag|int|float|str|bool|json_str|extend_list)\s*\((.*)\)", re.DOTALL
)
QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
ESCAPED = re.compile(r"\\([\\()\[\]{}:=, \t])")  # what Hydra lets a backslash stand before
MAX_BRACKETS = 200
MAX_WORD = 10_000  # characters: Hydra reads about this many in a second


def key_of(word: str) -> str:
    """The key of an override: `training.lr` of `++training.lr=1`."""
    return word.lstrip("+~").partition("=")[0]


def open_keys(words: Iterable[str]) -> list[str]:
    """`model.overrides.SOLVER.BASE_LR=1` as `++model...`: the configuration does not have these keys until they are said."""
    return [f"++{word}" if OPEN.match(word) else word for word in words]


def in_a_line(word: str) -> str:
    """The word as a sentence can hold it: no more than its beginning, and no line break."""
    shown = f"{word[:60]}..." if len(word) > 60 else word
    return shown if shown.isprintable() else repr(shown)


def check_words(words: Sequence[str]) -> None:
    """ConfigError for a word that is no override that al takes, and for a setting that is given twice."""
    for word in words:
        _check_word(word)
    first: dict[str, str] = {}
    for word in words:
        key = key_of(word)
        if key in first:
            what = f"{key} is given twice, as {in_a_line(first[key])} and as {in_a_line(word)}"
            raise ConfigError(
                what, remedy=f"leave one out; several values are written {key}=[...] or, with -m, {key}=A,B"
            )
        first[key] = word
        if repeated := repeated_key(word.partition("=")[2]):
            raise ConfigError(f"{repeated} is given twice", where=in_a_line(word), remedy="leave one out")
    for key in first:
        parents = [".".join(key.split(".")[:n]) for n in range(1, key.count(".") + 1)]
        for parent in parents:
            if parent in first and first[parent].partition("=")[2].lstrip().startswith("{"):
                what = f"{in_a_line(first[parent])} and {in_a_line(first[key])} both set {parent}"
                raise ConfigError(what, remedy="write all of it in the braces, or each key in a word of its own")


def _check_word(word: str) -> None:
    key, equals, _ = word.lstrip("+").partition("=")
    shown = in_a_line(word)
    if len(word) > MAX_WORD:
        what = f"{shown} has {len(word):,} characters"
        raise ConfigError(what, remedy=f"an override has at most {MAX_WORD:,}")
    if len(re.findall(r"[\[{(]", word)) > MAX_BRACKETS:
        raise ConfigError(f"{shown} has too many brackets", remedy=f"a value has at most {MAX_BRACKETS}")
    if not word.isprintable() and any("\ud800" <= char <= "\udfff" or char == "\0" for char in word):
        raise ConfigError(f"{shown!r} is no UTF-8 text", remedy="rename the file or folder")
    if not TEXT.fullmatch(key_of(word)) and any(ord(char) < 32 and char != "\t" for char in word):
        raise ConfigError(f"{shown} holds a line break or another control character", remedy="leave it out")
    if word.startswith("~"):
        remedy = f"give it another value: {word[1:].partition('=')[0]}=..."
        raise ConfigError(f"{shown} would remove a setting, and a run needs them all", remedy=remedy)
    if not equals or not key:
        remedy = "write overrides as key=value, and quote brackets: 'ud_split=[1,0.5]'"
        raise ConfigError(f"{shown} is no override", remedy=remedy)
    if "@" in key:
        remedy = f"write {key.partition('@')[0]}=..."
        raise ConfigError(f"{shown} would put settings where al does not look for them", remedy=remedy)
    if len(word) - len(word.lstrip("+")) > 2 or not KEY.fullmatch(key):
        raise ConfigError(f"{shown}: {key!r} is no name of a setting", remedy="`al run --cfg job` prints every setting")


def readable(word: str, many: bool = False) -> list[str]:
    """The word in Hydra's grammar: itself, or the text that it sets in quotes. With `many` a word for each of its texts."""
    key, _, raw = word.partition("=")
    name = key_of(word)
    if TEXT.fullmatch(name):
        return [f"{key}={_quoted(name, text)}" for text in _texts(name, raw, many)]
    if SPLIT.fullmatch(name) and raw.startswith("{"):
        return [f"{key}={_texts_in_braces(name, text)}" for text in (parts(raw) if many else [raw])]
    if name == "arms":  # of a sweep: a list of names
        listed = parts(raw[1:-1]) if raw[:1] == "[" and raw[-1:] == "]" else [raw]
        return [f"{key}=[{','.join(_quoted(name, text) for text in listed if text)}]"]
    if key in GROUPS and not FUNCTION.fullmatch(raw):
        return [f"{key}={_choice(text)}" for text in (parts(raw) if many else [raw])]
    return [word]


def _choice(raw: str) -> str:
    """The name of a group's file, such as 007, as text; anything else as it is."""
    return literal(raw) if re.fullmatch(r"[\w.+-]+", raw) and raw.lower() != "null" else raw


def _texts(key: str, raw: str, many: bool) -> list[str]:
    """The values between commas where there may be several."""
    call = FUNCTION.fullmatch(raw)
    if call and call[1] == "choice" and many:
        return parts(call[2])
    if call and call[1] == "choice":
        remedy = f"add -m to run them all; text that looks like this has quotes of its own: {command(f'{key}={as_text(raw)}')}"
        raise ConfigError(f"{in_a_line(f'{key}={raw}')} names several values", remedy=remedy)
    return parts(raw) if many else [raw]


def _quoted(key: str, raw: str) -> str:
    """A value as text for Hydra."""
    if raw.lower() == "null" or QUOTED.fullmatch(raw):
        return raw
    kind = (
        "a function of Hydra" if FUNCTION.fullmatch(raw) else "a list" if key in NAMES and raw[:1] in {"[", "{"} else ""
    )
    if kind:
        remedy = f"text that looks like one has quotes of its own: {command(f'{key}={as_text(raw)}')}"
        raise ConfigError(
            f"{in_a_line(raw)} is {kind}, and {key} is text", where=in_a_line(f"{key}={raw}"), remedy=remedy
        )
    return literal(ESCAPED.sub(r"\1", raw))


def _texts_in_braces(key: str, raw: str) -> str:
    """`{images: 2017, annotations: a b.json}` with both values as text."""
    if not raw.endswith("}"):
        return raw  # Hydra says what is wrong
    pairs = [item.partition(":") for item in parts(raw[1:-1])]
    read = [f"{name.strip()}{colon}{_quoted(key, value.strip()) if colon else ''}" for name, colon, value in pairs]
    return "{" + ",".join(read) + "}"


def parts(text: str) -> list[str]:
    """The pieces between the commas that stand outside quotes and brackets, without the blanks around them.

    >>> parts("1.10, 'a,b',[c,d],e\\\\,f")
    ['1.10', "'a,b'", '[c,d]', 'e\\\\,f']
    """
    found, start, at, depth, before = [], 0, 0, 0, "\0"
    while at < len(text):
        char = text[at]
        if before in "\0,:([{" and (quoted := QUOTED.match(text, at)):  # a quote within a word is a letter of it
            at, before = quoted.end(), "'"
            continue
        if char == "\\":
            at += 1
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth = max(0, depth - 1)
        elif char == "," and depth == 0:
            found.append(text[start:at].strip())
            start = at + 1
        before = before if char.isspace() else char
        at += 1
    return [*found, text[start:].strip()]


def repeated_key(value: str) -> str:
    """The first key that a mapping in braces has twice, at any depth; empty where there is none."""
    value = value.strip()
    if not (value.startswith("{") and value.endswith("}")):
        return next((key for item in parts(value[1:-1]) if (key := repeated_key(item))), "") if value[:1] == "[" else ""
    seen: set[str] = set()
    for item in parts(value[1:-1]):
        name, _, inner = item.partition(":")
        key = name.strip().strip("'\"")
        if key in seen:
            return key
        seen.add(key)
        if deeper := repeated_key(inner):
            return deeper
    return ""


def literal(value: Any, where: str = "") -> str:
    """A plain value in Hydra's grammar: what its parser reads back as the same value.

    >>> literal([1, 0.5, None, "a b", {"images": "pool"}])
    "[1,0.5,null,'a b',{images: pool}]"
    """
    if value is None:
        return "null"
    if isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else repr(value)
    if isinstance(value, str):
        return text_literal(value)
    if isinstance(value, list):
        return "[" + ",".join(literal(item, where) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{literal(key, where)}: {literal(item, where)}" for key, item in value.items()) + "}"
    raise ConfigError(f"{value!r} is no setting", where=where, remedy="give a number, text, list, mapping or null")
