"""What no file and no message shows: values from the environment, those of keys called token or password, logins in URLs.

A value is noted where it is first seen, and hidden in every text that is printed or kept afterwards.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

HIDDEN = "***"
SHORT = 4  # fewer characters stand in other words too, so these are hidden only where they are the whole value
NO_SECRETS = frozenset({"", "null", "none", "true", "false", HIDDEN})
# Words of ours, which may come from the environment and are compared with lists: hidden, a run could not be read.
OUR_WORDS = frozenset(
    {"dataset.format", "budget_unit", "device", "task", "model.name", "model.family", "model.config", "sampler.name"}
)
_CALLED = re.compile(
    r"(?i:token|secret|passw(or)?d|passphrase|credential)|(?:^|[^A-Za-z])(?i:api)?(?i:key)s?(?![A-Za-z])|[a-z]Keys?(?![a-z])"
)
_PAIR = re.compile(r"""([\w.-]+)(\s*[:=]\s*)('[^']*'|"[^"]*"|[^\s,&{}\[\]]+)""")
_LOGIN = re.compile(r"(?<=://)[^/\s'\"]*@")
_PASSWORD = re.compile(r"://[^/\s'\":@]*:([^/\s'\"]+)@")  # of a login; a library's message may have cut the URL
_noted: set[str] = set()
_from_environment: set[str] = set()


def is_secret(key: str) -> bool:
    """Whether any part of a dotted key is called token, key, secret or password, or ends in it: `api_key`, `AuthToken`."""
    return _CALLED.search(key) is not None


def note(values: Iterable[Any]) -> None:
    """Hide these texts and numbers from now on."""
    _noted.update(text for value in values if (text := str(value).strip("'\"")).lower() not in NO_SECRETS)


def note_environment(value: Any) -> Any:
    """Hide what an environment variable gave; returns it."""
    note([value])
    _from_environment.add(str(value))
    return value


def take_environment() -> frozenset[str]:
    """What came from the environment since this was last asked."""
    found = frozenset(_from_environment)
    _from_environment.clear()
    return found


def begin(words: Iterable[str]) -> None:
    """A new command: nothing is noted but what its words say."""
    _noted.clear()
    _from_environment.clear()
    note_words(words)


def note_words(words: Iterable[str]) -> None:
    """Hide the values of words such as `tracking.api_key=...` and `a={token: ...}`."""
    for word in words:
        note(_PASSWORD.findall(word))
        note(found[3] for found in _pairs(word) if is_secret(found[1]))
        key, equals, value = word.partition("=")
        if equals and is_secret(key):
            note([value])


def _pairs(word: str) -> Iterable[re.Match[str]]:
    key, equals, value = word.partition("=")
    return _PAIR.finditer(value if equals else key)


def hide(text: str) -> str:
    """A text without what was noted, and without the user and password of a URL."""
    return _without(text, _noted)


def _without(text: str, secrets: Collection[str]) -> str:
    for value in sorted(secrets, key=len, reverse=True):  # one may be a part of another
        if len(value) >= SHORT:
            text = text.replace(value, HIDDEN)
    return without_login(text)


def without_login(text: str) -> str:
    """URLs without user and password: https://***@host/R-50.pkl."""
    return _LOGIN.sub(f"{HIDDEN}@", text)


class MaskedFormatter(logging.Formatter):
    """Log lines and tracebacks without what was noted."""

    def format(self, record: logging.LogRecord) -> str:
        return hide(super().format(record))


def hide_words(words: Iterable[str]) -> list[str]:
    """The words of a command, hidden values as `key=***`."""
    shown = []
    for word in words:
        key, equals, value = word.partition("=")
        inner = _PAIR.sub(lambda f: f"{f[1]}{f[2]}{HIDDEN}" if is_secret(f[1]) else f[0], value)
        shown.append(hide(f"{key}={HIDDEN if is_secret(key) else inner}" if equals else word))
    return shown


def secrets_in(config: Any, key: str = "") -> set[str]:
    """The values of all secret keys in a configuration, and the passwords in its URLs."""
    if isinstance(config, Mapping):
        return {text for k, value in config.items() for text in secrets_in(value, f"{key}.{k}" if key else str(k))}
    if isinstance(config, list | tuple):
        return {text for value in config for text in secrets_in(value, key)}
    whole = {str(config)} if is_secret(key) and str(config).lower() not in NO_SECRETS else set()
    return whole | set(_PASSWORD.findall(str(config)))


def hide_values(config: Any, secrets: Collection[str], key: str = "") -> Any:
    """A configuration without these secrets, and without the user and password of a URL. Equal ones are hidden alike."""
    if isinstance(config, Mapping):
        return {k: hide_values(value, secrets, f"{key}.{k}" if key else str(k)) for k, value in config.items()}
    if isinstance(config, list | tuple):
        return [hide_values(value, secrets, key) for value in config]
    if is_secret(key):
        return config if str(config).lower() in NO_SECRETS else HIDDEN
    if not isinstance(config, str) or key in OUR_WORDS:
        return config
    return HIDDEN if config in secrets else _without(config, secrets)
