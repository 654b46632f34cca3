"""docs/documents.yaml as a table: every experiment of the source documents, and every setting, there and here.

`read` checks its form and names everything that is wrong at once. That what it calls `here` is what the sweeps compose to is
for tests/test_documents.py to know; documents_page.py makes a page of it.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("documents.yaml")
SURE = ("explicit", "implied", "ambiguous", "not stated")
TASKS = ("detection", "classification")
STATUSES = ("faithful", "deviating", "not runnable")
EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


class _Unsaid:
    def __repr__(self) -> str:
        return "nothing"

    def __bool__(self) -> bool:
        return False


UNSAID: Any = _Unsaid()  # where the file has no value: null is one


class TableError(Exception):
    """What is wrong in documents.yaml, a line each."""

    def __init__(self, problems: Sequence[str]):
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class Reading:
    """One of the things that an ambiguous text can mean; `words` are what asks for it, where it is not the default."""

    says: Any
    default: bool = False
    words: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Setting:
    """One setting of an experiment: where the document has it, what it says, and what is here, or UNSAID."""

    what: str
    place: str
    sure: str
    says: Any = UNSAID
    key: str = ""
    arms: tuple[str, ...] = ()  # empty: all
    here: Any = UNSAID
    why: str = ""
    readings: tuple[Reading, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether the document says something else than what is here."""
        return self.says is not UNSAID and self.here is not UNSAID and not same(self.says, self.here)


@dataclass(frozen=True)
class Experiment:
    """One experiment of a document. `sweep` is empty where it cannot be run; `why` is the reason then. `also`: the words that
    run it on each of its other data sets."""

    id: str
    document: str
    title: str
    place: str
    task: str
    sweep: str
    words: tuple[str, ...] = ()
    pool: int | None = None
    why: str = ""
    settings: tuple[Setting, ...] = ()
    also: tuple[tuple[str, ...], ...] = ()

    @property
    def deviations(self) -> list[Setting]:
        return [setting for setting in self.settings if setting.sure == "explicit" and setting.differs]

    @property
    def status(self) -> str:
        """One of STATUSES: faithful is a word about explicit settings alone."""
        return "not runnable" if not self.sweep else "deviating" if self.deviations else "faithful"

    @property
    def commands(self) -> list[str]:
        """What to type: one command, or one for each data set."""
        asked = (self.words, *(self.words + words for words in self.also))
        return [f"al sweep {self.sweep} dataset.root=FOLDER {shlex.join(words)}".rstrip() for words in asked]


@dataclass(frozen=True)
class Table:
    """All of documents.yaml. `documents`: title, authors, year, and whether it is `outside` of those that are counted.
    `ours`: what each shipped sweep is that repeats no experiment."""

    documents: Mapping[str, Mapping[str, Any]]
    experiments: tuple[Experiment, ...]
    ours: Mapping[str, str]

    @property
    def counted(self) -> list[Experiment]:
        return [one for one in self.experiments if not self.documents[one.document].get("outside", False)]


def same(a: Any, b: Any) -> bool:
    """Whether two values of the file are the same: numbers to nine digits, lists item by item."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if any(isinstance(value, bool) for value in (a, b)):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return abs(a - b) <= 1e-9 * max(abs(a), abs(b))
    return bool(a == b)


# ---- reading


_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, ten times faster


class _Loader(_SafeLoader):  # type: ignore[misc]
    """A loader that refuses a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := [key for key, count in Counter(keys).items() if count > 1]:
            raise TableError([f"line {node.start_mark.line + 1}: {twice[0]} is there twice"])
        return dict(super().construct_mapping(node, deep))


def read(path: Path = FILE) -> Table:
    """The checked table. TableError names all that is wrong in it."""
    return parse(path.read_text(encoding="utf-8"))


def parse(text: str) -> Table:
    content = yaml.load(text, _Loader)
    check = _Check()
    if not isinstance(content, dict):
        raise TableError(["the file is no mapping with documents and experiments"])
    check.keys(content, "the file", needed=("documents", "experiments"), allowed=("ours",))
    documents = check.mapping(content.get("documents"), "documents")
    for name, document in documents.items():
        check.keys(document, f"document {name}", needed=("title", "authors", "year"), allowed=("outside",))
    ours = {}
    for number, one in enumerate(check.listed(content.get("ours", []), "ours"), 1):
        if check.keys(one, f"ours, entry {number}", needed=("sweep", "what")):
            check.that(one["sweep"] not in ours, f"ours: {one['sweep']} is there twice")
            ours[one["sweep"]] = str(one["what"])
    experiments = [
        experiment
        for number, one in enumerate(check.listed(content.get("experiments"), "experiments"), 1)
        if (experiment := check.experiment(one, number, documents))
    ]
    for name, count in Counter(one.id for one in experiments).items():
        check.that(count == 1, f"{name}: {count} experiments have this id")
    if check.problems:
        raise TableError(check.problems)
    return Table(documents, tuple(experiments), ours)


class _Check:
    """Builds what is right and notes what is wrong."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def that(self, right: bool, problem: str) -> bool:
        if not right:
            self.problems.append(problem)
        return right

    def mapping(self, value: Any, where: str) -> dict[str, Any]:
        return value if self.that(isinstance(value, dict), f"{where}: {value!r} is no mapping") else {}

    def listed(self, value: Any, where: str) -> list[Any]:
        return value if self.that(isinstance(value, list), f"{where}: {value!r} is no list") else []

    def keys(self, value: Any, where: str, *, needed: Sequence[str], allowed: Sequence[str] = ()) -> bool:
        """Whether the mapping has all `needed` keys with a value, and no others than these and `allowed` ones."""
        fine = True
        for key in self.mapping(value, where):
            known = (*needed, *allowed)
            fine &= self.that(key in known, f"{where}: there is no key {key}; valid: {', '.join(known)}")
        for key in needed:
            fine &= self.that(
                value.get(key) not in (None, "") if isinstance(value, dict) else False, f"{where}: {key} is missing"
            )
        return fine

    def experiment(self, value: Any, number: int, documents: Mapping[str, Any]) -> Experiment | None:
        where = str(value.get("id", f"experiment {number}")) if isinstance(value, dict) else f"experiment {number}"
        allowed = ("sweep", "words", "also", "pool", "why", "settings")
        if not self.keys(value, where, needed=("id", "document", "title", "place", "task"), allowed=allowed):
            return None
        self.that(value["document"] in documents, f"{where}: there is no document {value['document']}")
        self.that(value["task"] in TASKS, f"{where}: task is {value['task']}; valid: {', '.join(TASKS)}")
        self.that("sweep" in value, f"{where}: sweep is missing; write sweep: null where it cannot be run")
        runs = value.get("sweep") is not None
        pool, why = value.get("pool"), str(value.get("why") or "")
        self.that(runs or bool(why), f"{where}: it cannot be run, so it needs a why")
        self.that(pool is None or (type(pool) is int and pool > 0), f"{where}: pool is {pool!r}, and no count")
        words = self.words(value.get("words") or [], where)
        others = self.listed(value.get("also") or [], f"{where}, also")
        also = tuple(self.words(one, f"{where}, also") for one in others)
        self.that(runs or not (words or also), f"{where}: words without a sweep do nothing")
        settings = [
            setting
            for place, one in enumerate(self.listed(value.get("settings", []), f"{where}, settings"), 1)
            if (setting := self.setting(one, f"{where}, setting {place}", runs))
        ]
        texts = {key: str(value[key]) for key in ("id", "document", "title", "place", "task")}
        sweep = value.get("sweep") or ""
        return Experiment(**texts, sweep=sweep, words=words, pool=pool, why=why, settings=tuple(settings), also=also)

    def words(self, value: Any, where: str) -> tuple[str, ...]:
        words = self.listed(value, f"{where}, words")
        for word in words:
            self.that(isinstance(word, str) and "=" in word, f"{where}: {word!r} is no word such as training.lr=0.01")
        return tuple(map(str, words))

    def setting(self, value: Any, where: str, runs: bool) -> Setting | None:
        if isinstance(value, dict) and value.get("what"):
            where = f"{where.rpartition(', setting ')[0]}, {value['what']}"
        allowed = ("says", "key", "arm", "here", "why", "readings")
        if not self.keys(value, where, needed=("what", "place", "sure"), allowed=allowed):
            return None
        sure, readings = value["sure"], self.readings(value, where)
        self.that(sure in SURE, f"{where}: sure is {sure!r}; valid: {', '.join(SURE)}")
        stated = sure in ("explicit", "implied")
        self.that("says" in value or not stated, f"{where}: it is {sure}, so it needs what the document says")
        self.that("says" not in value or stated, f"{where}: it is {sure}, so says does not belong there")
        for name in ("says", "here"):
            text = value.get(name)
            number = isinstance(text, str) and EXPONENT.fullmatch(text) is not None
            self.that(
                not number, f"{where}: {name} is the text {text!r}; write the number with a dot and a sign: 1.0e-4"
            )
        self.that(runs or not {"key", "arm", "here"} & set(value), f"{where}: nothing is here of what cannot be run")
        self.that(not runs or "here" in value, f"{where}: here is missing")
        self.that("arm" not in value or "key" in value, f"{where}: an arm without a key is compared with nothing")
        texts = {name: str(value.get(name) or "") for name in ("key", "why")}
        arms = value.get("arm") or []
        named = tuple(map(str, arms if isinstance(arms, list) else [arms]))
        given = {name: value[name] for name in ("says", "here") if name in value}
        setting = Setting(
            str(value["what"]), str(value["place"]), sure, arms=named, readings=readings, **texts, **given
        )
        self.that(
            not setting.differs or bool(setting.why), f"{where}: says {setting.says!r} and here {setting.here!r}: why?"
        )
        unstated = runs and sure == "not stated"
        self.that(not unstated or bool(setting.why), f"{where}: the document does not say it: why {setting.here!r}?")
        return setting

    def readings(self, value: Mapping[str, Any], where: str) -> tuple[Reading, ...]:
        if value["sure"] != "ambiguous":
            self.that("readings" not in value, f"{where}: it is {value['sure']}, so it has no readings")
            return ()
        found = []
        for one in self.listed(value.get("readings", []), f"{where}, readings"):
            if self.keys(one, f"{where}, a reading", needed=("says",), allowed=("default", "words", "why")):
                words = self.words(one.get("words") or [], where)
                found.append(Reading(one["says"], one.get("default") is True, words, str(one.get("why") or "")))
        self.that(len(found) >= 2, f"{where}: it is ambiguous, so it needs two readings or more")
        defaults = [reading for reading in found if reading.default]
        self.that(len(defaults) == 1, f"{where}: {len(defaults)} readings are the default, and one is")
        self.that(not any(reading.words for reading in defaults), f"{where}: the default reading needs no words")
        return tuple(found)


# ---- counting


def counts(experiments: Iterable[Experiment]) -> dict[str, int]:
    """How many have each of STATUSES."""
    found = Counter(one.status for one in experiments)
    return {status: found[status] for status in STATUSES}


def count_words(table: Table) -> str:
    """`49 experiments: 14 faithful, 2 deviating, 33 not runnable; of detection alone 17 experiments: ...`."""
    detection = [one for one in table.counted if one.task == "detection"]
    return f"{counted_in_words(table.counted)}; of detection alone {counted_in_words(detection)}"


def counted_in_words(experiments: Sequence[Experiment]) -> str:
    found = ", ".join(f"{count} {status}" for status, count in counts(experiments).items())
    return f"{len(experiments)} experiment{'s' * (len(experiments) != 1)}: {found}"
