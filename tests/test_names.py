"""One public name has one meaning: no class, function or constant of the package is defined in two files."""

import ast
from collections import defaultdict
from pathlib import Path

import al_cli

PACKAGE = Path(al_cli.__file__).parent
# What every verb has (`cli/main.py` asks for it), the logger of a file, what a file of tasks is for, and what every family of
# learners has.
CONTRACT = {"HELP", "EPILOG", "add_arguments", "act", "log", "round_log", "TASK", "build", "ImageReader"}


def defined_in(path: Path) -> set[str]:
    """The names that a file defines at its top level, but for those with an underscore in front."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def test_a_public_name_is_defined_once():
    files = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in defined_in(path) - CONTRACT:
            files[name].append(path.relative_to(PACKAGE).as_posix())
    assert {name: where for name, where in files.items() if len(where) > 1} == {}
    assert len(files) > 500  # the search found the package
