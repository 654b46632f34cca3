"""What people called their classes, files and runs is printed as it is: no markup, and nothing that steers the terminal."""

import ast
from pathlib import Path

import pytest
from rich.progress import TextColumn
from rich.table import Table
from shapes import write_yolo

import al_cli
from al_cli.progress import PlainConsole, spelled_out
from al_cli.sweep.outcomes import Outcome, outcomes_table

FILES = sorted(Path(al_cli.__file__).parent.rglob("*.py"))
HOSTILE = (
    "[/bold]",
    "[bold]b",
    "cannot open [/data/img.png]",
    "[enforce fail at inline_container.cc:671] . unexpected pos",
    "[link=http://x]y[/link]",
    ":car:",
    "\\[x]",
    "[",
)


def test_a_table_shows_every_text_as_it_is(tmp_path):
    console = PlainConsole(width=200, record=True)
    table = Table(*HOSTILE[:3], title=HOSTILE[0], caption=HOSTILE[2])
    for text in HOSTILE:
        table.add_row(text, text, text)
    console.print(table)
    console.print(*HOSTILE)
    console.print(outcomes_table([Outcome(tmp_path / text.replace("/", "|"), [], text, "failed") for text in HOSTILE]))
    printed = console.export_text()
    for text in HOSTILE:
        assert printed.count(text) >= 5, text


def test_nothing_steers_the_terminal():
    assert spelled_out("a\tb\nc é 猫 😀") == "a\tb\nc é 猫 😀"
    assert spelled_out("\x1b[2J\r\x07\u202e\x9b\udcff") == "\\x1b[2J\\r\\x07\\u202e\\x9b\\udcff"
    console = PlainConsole(width=80, record=True)
    table = Table(title="\x1b]0;t\x07")
    table.add_row("\x1b[2J")
    console.print(table, "\x1b[31m", "bad name \udcff")
    printed = console.export_text()
    assert "\x1b" not in printed and "\\x1b[2J" in printed and "\\udcff" in printed


def calls(path: Path, *names: str):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in names:
            yield node


def test_every_console_and_column_is_plain():
    """The rule that keeps it so: consoles come from progress.py, columns of a bar read no markup."""
    seen = 0
    for path in FILES:
        for node in calls(path, "Console", "RichHandler", "from_markup", "TextColumn"):
            seen += 1
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            name, where = getattr(node.func, "attr", getattr(node.func, "id", "")), f"{path.name}:{node.lineno}"
            assert name != "from_markup", f"{where} reads markup"
            assert name != "Console", f"{where} makes a console of its own: use al_cli.progress"
            assert name != "TextColumn" or given.get("markup") == "False", f"{where}: add markup=False"
            assert given.get("markup", "False") == "False", f"{where} turns markup on"
    assert seen >= 5  # the search found them


def test_the_library_still_has_that_default():
    """Else the rule above would be about nothing."""
    assert TextColumn("x").markup


@pytest.mark.parametrize("name", ["[/bold]", "[red]", "\x1b[2J"])
def test_classes_of_any_name_are_counted(al, name):
    root = write_yolo(al.cwd / "[bold]data", {"train": 12, "val": 4, "test": 4})
    (root / "data.yaml").write_text(
        (root / "data.yaml").read_text().replace("circle", '"' + name.encode("unicode_escape").decode() + '"')
    )
    printed = al("data", str(root)).stdout
    assert "[bold]data" in printed and "\x1b" not in printed
    said = al("data", str(al.cwd / "[/nowhere]"), code=2).stderr
    assert "[/nowhere]" in said
