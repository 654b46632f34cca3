"""Which code a result depends on: a digest of a module and of everything it imports, wherever those files lie.

Imports are followed through the sources, so a helper in another file or folder counts as well as the module itself. What
pip installed counts by its version, the standard library by Python's. Nothing is imported to find out.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

from al_cli.errors import AlError
from al_cli.lookup import OURS, folders_of, source_of

MESSAGES_ONLY = frozenset({f"{OURS}.errors", f"{OURS}.progress"})  # of our modules: messages only
INSTALLED = frozenset({"site-packages", "dist-packages"})  # folders whose files a version stands for


def code_of_modules(names: Iterable[str]) -> dict[str, str]:
    """What determines the behaviour of these modules: `code`, 16 hex digits of their sources and of all sources that they
    import, comments and docstrings left out; and the version of every installed package among those imports.

    A module outside al brings its whole top-level package, because it may load the rest in ways that no source shows.
    """
    sources: dict[str, Path] = {}
    versions: dict[str, str] = {}
    waiting = sorted(set(names))
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        if name in sources or name in MESSAGES_ONLY or top in sys.stdlib_module_names:
            continue
        path = source_of(name)
        if path is None or INSTALLED & set(path.parts):
            versions |= _versions_of(top)
        else:
            sources[name] = path
            waiting += sorted(imported_by(path, name) - sources.keys())
            if top != OURS:
                waiting += [other for other in _package_of(top) if other not in sources]
    digest = hashlib.sha256()
    for name, path in sorted(sources.items()):
        digest.update(f"{name} {code_of(path.read_text(encoding='utf-8'), str(path))}".encode())
    return {"code": digest.hexdigest()[:16], **dict(sorted(versions.items()))}


def imported_by(path: Path, name: str) -> frozenset[str]:
    """The modules that this source names in its imports, inside functions too."""
    return _imported(path.read_text(encoding="utf-8"), path, name)


@cache  # a run asks twice, a forecast for every run; what the same source imports stays where it is meanwhile
def _imported(source: str, path: Path, name: str) -> frozenset[str]:
    found: set[str] = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(_tree(source, str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if not isinstance(node, ast.ImportFrom):
            continue
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *([base] if base else [])])
        modules = {f"{base}.{alias.name}" for alias in node.names}
        inside = {module for module in modules if source_of(module) is not None}
        found |= inside
        # `from package import module` needs nothing of the package's own file but what is no module
        if len(inside) < len(modules):
            found.add(base)
    return frozenset(found)


@cache
def code_of(source: str, where: str = "") -> str:
    """The syntax tree without docstrings: equal for sources that compute the same in the same words."""
    tree = _tree(source, where)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _tree(source: str, where: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise AlError(
            "this source cannot be read", where=f"{where}: {error}", remedy="correct or reinstall it"
        ) from error


def _package_of(top: str) -> list[str]:
    """Every module of a top-level package that lies in folders of its own."""
    names = []
    for folder in folders_of(top):
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            names.append(".".join([top, *(parts[:-1] if parts[-1] == "__init__" else parts)]))
    return names


@cache
def _versions_of(top: str) -> dict[str, str]:
    """Distribution -> version of what pip installed under this top-level name; nothing for what it did not."""
    return {name: metadata.version(name) for name in _distributions().get(top, ())}


@cache
def _distributions() -> dict[str, list[str]]:
    return {top: list(names) for top, names in metadata.packages_distributions().items()}
