"""docs/documents.md from docs/documents.yaml.

python docs/documents_page.py     prints the page; make docs writes it
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from documents import FILE, UNSAID, Experiment, Reading, Setting, Table, TableError, count_words, counted_in_words, read

ABOUT = """\
What each document says of each experiment, where it says it, and what `al sweep` does here.

* **faithful**: every setting that the document states explicitly is the same here. **deviating**: at least one is not, and the
  last column says why. **not runnable**: a part is missing without which it would be another experiment.
* **explicit**: the text says it. **implied**: it follows from the text or its numbers. **ambiguous**: the text has several
  readings; the first is the default, and what to type for the others stands there or in the row of an arm. **not stated**: the
  value here is a choice, and the last column says why.
* Names in `code` are settings of `al run`; `null` is the setting's own default. A document's data is yours to give:
  `dataset.root=FOLDER`. With `--dry-run` behind it a command shows what it would train.

`make docs` makes this page from [documents.yaml](documents.yaml), and a test compares that file with every composed sweep.
"""


def page(table: Table) -> str:
    """The page, in Markdown."""
    return "\n".join([f"# {count_words(table)}", "", ABOUT, *_overview(table), *_sections(table)]).rstrip() + "\n"


def _overview(table: Table) -> Iterator[str]:
    for task, heading in (("detection", "Object detection"), ("classification", "Image classification")):
        own = [one for one in table.experiments if one.task == task]
        if not own:
            continue
        yield f"## {heading}"
        yield ""
        yield from _rows(
            ("experiment", "document", "what", "place", "here", "how to run it, or why not"),
            ((*_named(table, one), one.status, _typed(one) if one.sweep else one.why) for one in own),
        )
        yield ""
    if table.ours:
        yield "## Sweeps that repeat no experiment of a document"
        yield ""
        yield from _rows(("sweep", "what"), ((f"`{name}`", what) for name, what in table.ours.items()))
        yield ""


def _typed(one: Experiment) -> str:
    return "<br>".join(f"`{command}`" for command in one.commands)


def _named(table: Table, one: Experiment) -> tuple[str, ...]:
    return f"[{one.id}](#{one.id.lower()})", _short(table, one.document), one.title, one.place


def _short(table: Table, document: str) -> str:
    return f"{document} (not counted)" if table.documents[document].get("outside") else document


def _sections(table: Table) -> Iterator[str]:
    for name, document in table.documents.items():
        own = [one for one in table.experiments if one.document == name]
        if not own:
            continue
        yield f"## {name}: {document['title']}"
        yield ""
        uncounted = " It is not one of the source documents and is not counted." if document.get("outside") else ""
        yield f"{document['authors']}, {document['year']}. {counted_in_words(own)}.{uncounted}"
        yield ""
        for one in own:
            yield from _section(one)


def _section(one: Experiment) -> Iterator[str]:
    yield f'<a id="{one.id.lower()}"></a>'
    yield ""
    yield f"### {one.id}. {one.title}"
    yield ""
    stated = f"{one.place[:1].upper()}{one.place[1:]}. {one.task.capitalize()}. {one.status.capitalize()}"
    if one.sweep:
        named = ", ".join(setting.what for setting in one.deviations)
        yield f"{stated}{f' in: {named}' if named else ''}."
        yield ""
        yield from (f"    {command}" for command in one.commands)
    else:
        yield f"{stated}: {one.why}."
    yield ""
    columns: list[tuple[str, Callable[[Setting], str]]] = [
        ("setting", lambda s: f"{s.what} ({_arms(s)})" if s.arms else s.what),
        ("place", lambda s: s.place),
        ("how sure", lambda s: s.sure),
        ("document", lambda s: _document(s, one)),
    ]
    if one.sweep:
        columns += [("here", _here), ("why", lambda s: s.why)]
    yield from _rows(
        [name for name, _ in columns], ([cell(setting) for _, cell in columns] for setting in one.settings)
    )
    yield ""


def _arms(setting: Setting) -> str:
    return f"arm{'s' * (len(setting.arms) > 1)} {', '.join(f'`{arm}`' for arm in setting.arms)}"


def _document(setting: Setting, one: Experiment) -> str:
    if not setting.readings:
        return _value(setting.says) if setting.says is not UNSAID else ""
    ordered = sorted(setting.readings, key=lambda reading: not reading.default)
    return "<br>".join(f"{'or' if number else 'either'} {_reading(reading)}" for number, reading in enumerate(ordered))


def _reading(reading: Reading) -> str:
    typed = f": `{shlex.join(reading.words)}`" if reading.words else ""
    return f"{_value(reading.says)}{typed}{f' ({reading.why})' if reading.why else ''}"


def _here(setting: Setting) -> str:
    if setting.here is UNSAID:
        return ""
    named = setting.key and not setting.key.startswith("effective.")
    return f"{_value(setting.here)} (`{setting.key}`)" if named else _value(setting.here)


def _value(value: Any) -> str:
    """As it is typed: null, true, 0.0001, [1, 0.5]."""
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


if __name__ == "__main__":
    try:
        sys.stdout.write(page(read()))
    except TableError as error:
        sys.exit(f"{FILE}:\n{error}")
