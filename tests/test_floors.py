"""The floors of docs/architecture.md, checked on the sources. The tables there are the only ones: they are read here."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "al_cli"
PAGE = ROOT / "docs" / "architecture.md"
FILES = sorted(PACKAGE.rglob("*.py"))


def rows_under(heading: str, text: str) -> list[list[str]]:
    """The cells of every table row between this heading and the next, the tables' own heads left out."""
    section = text.split(f"\n{heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split("|") for line in section.splitlines() if line.startswith("|")]
    heads = {n - 1 for n, row in enumerate(rows) if set("".join(row)) <= set("-: ")}
    return [[cell.strip() for cell in row] for n, row in enumerate(rows) if n not in heads and n - 1 not in heads]


def names_in(cell: str) -> list[str]:
    """`loop.py` `store/` -> loop, store."""
    return [name.removesuffix("/").removesuffix(".py") for name in re.findall(r"`([^`]+)`", cell)]


TABLES = rows_under("## Floors", PAGE.read_text(encoding="utf-8"))
STOREYS = [row for row in TABLES if row[0].isdigit()]  # floor, rooms, rule
FLOORS = {room: int(floor) for floor, rooms, _ in STOREYS for room in names_in(rooms)}
ONLY_IN = {
    module: set(names_in(rooms))
    for modules, rooms, *_ in TABLES
    if not modules.isdigit()
    for module in names_in(modules)
}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_lower_floors(path):
    here = room(path)
    for name in imports(path):
        top, *rest = name.split(".")
        if top == "al_cli" and rest and here != "__init__":
            there = rest[0]
            assert there in FLOORS, f"{path.name} imports al_cli.{there}, which has no floor in {PAGE.name}"
            assert FLOORS[there] < FLOORS[here] or there == here, (
                f"{path.relative_to(ROOT)} (floor {FLOORS[here]}) imports {name} (floor {FLOORS[there]})"
            )
        for module in (top, ".".join([top, *rest[:1]])):
            rooms = ONLY_IN.get(module, {here}) | {module.removeprefix("al_cli.")}
            assert here in rooms, f"{path.relative_to(ROOT)} imports {module}: only {sorted(rooms)} may"


def test_every_room_stands_on_one_floor():
    rooms = {room(path) for path in FILES} - {"__init__"}
    assert rooms == set(FLOORS), "the table Floors of docs/architecture.md names the rooms of al_cli/, all of them"
    assert sum(len(names_in(rooms)) for _, rooms, _ in STOREYS) == len(FLOORS), "a room stands on two floors"


def test_the_floors_are_counted_from_the_ground_and_each_has_a_rule():
    assert [int(floor) for floor, *_ in STOREYS] == list(range(len(STOREYS)))
    rules = [rule for *_, rule in STOREYS]
    assert all(rules), "a floor without a rule is an accident: join it to the floor below or above"
    assert len(set(rules)) == len(rules), "two floors with one rule are one floor"


def test_no_file_imports_itself_by_way_of_others():
    """Imports for type checkers and those inside functions count too."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
    needs = {name: imports(path) & modules.keys() - {name} for name, path in modules.items()}
    packages = {name for name, path in modules.items() if path.name == "__init__.py"}
    needs = {name: {other for other in others if other not in packages} for name, others in needs.items()}
    left = dict(needs)
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert left == {}, f"in a circle or above one: {sorted(left)}"
    assert sum(map(len, needs.values())) > 200  # the imports were found


def test_what_the_tables_forbid_is_found():
    """The reader of the tables: a floor, a rule and a restricted import, from a page of three rows."""
    page = (
        "\n## Floors\n| floor | rooms | rule |\n|---|---|---|\n| 0 | `types.py` `rng.py` | know nobody |\n\n"
        "| module | only in |\n|---|---|\n| `torch` | `learners/` |\n\n## Next\n| 9 | `no` | no |\n"
    )
    assert rows_under("## Floors", page) == [["0", "`types.py` `rng.py`", "know nobody"], ["`torch`", "`learners/`"]]
    assert names_in("`types.py` `learners/`") == ["types", "learners"]
    assert {"torch", "hydra", "al_cli.learners"} <= set(ONLY_IN)


@pytest.mark.parametrize("words", [["--help"], ["ls", "nowhere"], ["samplers"], ["run", "budget=0"]], ids=" ".join)
def test_light_verbs_do_not_import_torch(words, tmp_path):
    code = f"""
import sys
from al_cli.cli.main import main
try:
    main({words!r})
except SystemExit:
    pass
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
