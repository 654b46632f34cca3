"""The one-way flow of docs/architecture.md, checked on the sources: a file imports only lower floors."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "al_cli"
FLOORS = {
    "types": 0, "rng": 0, "errors": 0, "progress": 0,
    "datasets": 1, "samplers": 1, "learners": 1, "tasks": 1,
    "strategy": 2, "budget": 2, "records": 2,
    "loop": 3, "store": 3, "report": 3, "tracking": 3,
    "experiment": 4,
    "sweep": 5,
    "cli": 6,
}  # fmt: skip
HEAVY = {
    "torch": {"learners", "samplers"},
    "torchvision": {"learners"},
    "detectron2": {"learners"},
    "fvcore": {"learners"},
}
CONFIG = {"hydra": {"experiment", "sweep", "cli"}, "omegaconf": {"experiment", "sweep", "cli"}}
FILES = sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_lower_floors(path):
    here = part(path)
    for name in imports(path):
        top, *rest = name.split(".")
        if top == "al_cli" and rest and here != "__init__":
            there = rest[0]
            assert there in FLOORS, f"{path.name} imports al_cli.{there}, which has no floor"
            lower = FLOORS[there] < FLOORS[here]
            assert lower or there == here, (
                f"{path.relative_to(ROOT)} (floor {FLOORS[here]}) imports {name} (floor {FLOORS[there]})"
            )
        for table in (HEAVY, CONFIG):
            assert here in table.get(top, {here}), (
                f"{path.relative_to(ROOT)} imports {top}: only {sorted(table[top])} may"
            )


def test_every_part_has_a_floor():
    assert {part(path) for path in FILES} - {"__init__"} == set(FLOORS)


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
