"""What a dotted name means, looked up in sources before anything is imported: importing a module runs it.

A name is found in three steps, and only the last one runs code:

1. its module is one that may be named: al's own, one that a person named, or a file of a folder that they named (`Known`);
2. its source carries our mark: a function declared with `@score`, a `Task`;
3. it is imported.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import yaml

OURS = "al_cli"
EXTRAS = {"modAL": "modal"}  # packages that an extra of ours installs
STEPS = 8  # of `from a import name`, each of which passes a name on


class NotKnown(LookupError):
    """A dotted name that is not to be imported, or means nothing; nothing of it was run unless `what` says so."""

    def __init__(self, what: str, remedy: str = ""):
        self.what, self.remedy = what, remedy
        super().__init__(f"{what}: {remedy}")


@dataclass(frozen=True)
class Known:
    """Whose modules may be named besides al's own.

    `names`: dotted names that a person typed. `conf`: their configuration folders, whose YAML files may name any module.
    `folders`: modules that lie in them may be named by anybody, a study's file of somebody else's for example.
    """

    names: frozenset[str] = frozenset()
    conf: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()

    def gave(self, name: str) -> bool:
        """Whether a person gave this very name: they typed it, or a file of their configuration folders has it."""
        return name in self.names or name in self.texts

    def allows(self, name: str, source: Path) -> bool:
        """Whether `name`, whose module is this file, may be imported."""
        module = name.rpartition(".")[0]
        in_folder = "." not in module and source.parent in {folder.resolve() for folder in self.folders}
        return in_folder or self.gave(name)

    @cached_property
    def texts(self) -> frozenset[str]:
        """What the YAML files of `conf` say; read once, for a study asks for each stage of each run."""
        return frozenset[str]().union(*map(texts_of, self.conf))


NOBODY = Known()  # al's own modules alone


def find(name: str, marks: Collection[str], home: str, known: Known = NOBODY) -> Any:
    """What `name` means: of al's package `home` or one of its modules, or of a module that `known` allows.

    Its source must carry one of the `marks`, which are names that it imports from al. NotKnown, with the reason, otherwise;
    and where the import fails.
    """
    module, _, attribute = name.rpartition(".")
    if module != home:
        source = source_of(module) if module else None
        if source is None:
            remedy = "write package.module.NAME, and put the folder of the package on PYTHONPATH"
            raise NotKnown(f"there is no module {module or name} with a source to look at", remedy)
        at_home = f"{module}.".startswith(f"{home}.")
        if _is_ours(module) and not at_home:
            raise NotKnown(f"{module} is no module of {home}")
        if not (at_home or known.allows(name, source)):
            raise _not_given(module, name)
        if not carries(module, attribute, frozenset(marks)):
            called = " or ".join(sorted(marks))
            raise NotKnown(f"{attribute} in {module} is not there, or not made with {called} of {OURS}")
    return _imported(module, attribute)


def find_given(name: str, known: Known) -> Any:
    """The function that `name` means, for which nobody but a person can vouch: it carries no mark of al's. NotKnown where they
    did not give this very name, where the import fails, and for what is no function."""
    module, _, attribute = name.rpartition(".")
    if not module:
        raise NotKnown(f"{name} is no dotted name", "write package.module.NAME")
    if not known.gave(name):
        raise _not_given(module, name)
    found = _imported(module, attribute)
    if not callable(found):
        raise NotKnown(f"{attribute} in {module} is no function")
    return found


def _not_given(module: str, name: str) -> NotKnown:
    return NotKnown(
        f"the module {module} is not imported, because neither you nor a configuration folder of yours names it",
        f"if you trust its code, type the setting with {name} yourself, or write it into a YAML file of a folder that "
        "you name with hydra.searchpath=[file://FOLDER]",
    )


def _imported(module: str, attribute: str) -> Any:
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:  # whatever the user's module does when it is imported
        said = (str(error).strip().splitlines() or [""])[0]
        remedy = "correct it, or put the folder of its package on PYTHONPATH"
        if isinstance(error, ModuleNotFoundError) and (extra := EXTRAS.get(str(error.name).partition(".")[0])):
            remedy = f'pip install "al-cli[{extra}]"'
        raise NotKnown(f"the module {module} cannot be imported: {type(error).__name__}: {said}", remedy) from error
    if found is None:
        raise NotKnown(f"{attribute} in {module} is not there")
    return found


def carries(module: str, attribute: str, marks: frozenset[str], steps: int = STEPS) -> bool:
    """Whether the source of `module` makes `attribute` for al: a function or class that is decorated with one of the `marks`,
    a value in a file that imports from al, or what it imports from al or from a file that makes it so."""
    source = source_of(module)
    if source is None or not steps:
        return False
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return False
    statements = list(_top_statements(tree))
    imports = [node for node in statements if isinstance(node, ast.ImportFrom)]
    ours = {node: _is_ours(_origin(node, module, source)) for node in imports}
    whole = [alias for node in statements if isinstance(node, ast.Import) for alias in node.names]
    from_us = {alias.asname or alias.name for node in imports if ours[node] for alias in node.names}
    from_us |= {alias.asname or OURS for alias in whole if _is_ours(alias.name)}
    called = {a.asname or a.name for node in imports if ours[node] for a in node.names if a.name in marks}
    for node in reversed(statements):  # the last binding of a name is the one that counts
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == attribute:
            return any(_is_mark(decorator, called, from_us, marks) for decorator in node.decorator_list)
        if isinstance(node, ast.Assign | ast.AnnAssign) and attribute in _assigned(node):
            return bool(from_us)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == attribute:
                    return ours[node] or carries(_origin(node, module, source), alias.name, marks, steps - 1)
    return False


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == OURS


def _is_mark(node: ast.expr, called: set[str], from_us: set[str], marks: frozenset[str]) -> bool:
    """`score(...)` or `base.score(...)`, where al is what the name comes from."""
    node = node.func if isinstance(node, ast.Call) else node
    if isinstance(node, ast.Name):
        return node.id in called
    if not isinstance(node, ast.Attribute) or node.attr not in marks:
        return False
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id in from_us


def _top_statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Those that run on import, inside `if` and `try` too."""
    waiting = list(reversed(tree.body))
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If | ast.Try):
            blocks = [node.body, node.orelse]
            if isinstance(node, ast.Try):
                blocks += [*(handler.body for handler in node.handlers), node.finalbody]
            waiting += [statement for block in reversed(blocks) for statement in reversed(block)]


def _assigned(node: ast.Assign | ast.AnnAssign) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _origin(node: ast.ImportFrom, module: str, source: Path) -> str:
    """The module that `from ... import` names, relative ones spelled out."""
    if not node.level:
        return node.module or ""
    package = module.split(".") if source.name == "__init__.py" else module.split(".")[:-1]
    above = package[: len(package) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def texts_of(folder: Path) -> frozenset[str]:
    """Every text value in the YAML files of a configuration folder and of its groups."""
    files = [path for pattern in ("*.y*ml", "*/*.y*ml") for path in folder.glob(pattern) if path.is_file()]
    found: set[str] = set()
    for path in files:
        try:
            waiting = [yaml.load(path.read_text(encoding="utf-8"), yaml.SafeLoader)]
        except (OSError, ValueError, RecursionError, yaml.YAMLError):
            continue
        seen: set[int] = set()  # an alias may stand for what it is in
        while waiting:
            value = waiting.pop()
            if id(value) in seen:
                continue
            seen.add(id(value))
            if isinstance(value, str):
                found.add(value)
            elif isinstance(value, dict | list):
                waiting += value.values() if isinstance(value, dict) else value
    return frozenset(found)


def source_of(name: str) -> Path | None:
    """The file of a module: of one that is loaded already, else where Python would find it. None where it is no file."""
    loaded = sys.modules.get(name)
    parent, _, leaf = name.rpartition(".")
    if loaded is not None:
        found = [Path(file)] if (file := getattr(loaded, "__file__", None)) else []
    elif parent:
        places = folders_of(parent)
        found = [path for place in places for path in (place / leaf / "__init__.py", place / f"{leaf}.py")]
    else:
        spec = _top_level(name)
        found = [Path(spec.origin)] if spec is not None and spec.has_location and spec.origin else []
    return next((path.resolve() for path in found if path.suffix == ".py" and path.is_file()), None)


def folders_of(name: str) -> list[Path]:
    """The folders that a package's modules lie in; none where it is no package."""
    loaded = sys.modules.get(name)
    parent, _, leaf = name.rpartition(".")
    if loaded is not None:
        return [Path(place) for place in getattr(loaded, "__path__", ())]
    if parent:
        return [place / leaf for place in folders_of(parent) if (place / leaf).is_dir()]
    spec = _top_level(name)
    return [Path(place) for place in (spec.submodule_search_locations or ())] if spec is not None else []


def _top_level(name: str) -> ModuleSpec | None:
    """Where Python would find this top-level module. Of such a name, looking imports nothing."""
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
