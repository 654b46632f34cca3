"""The digest of code: what a module imports counts, wherever it lies; what changes no behaviour does not."""

import subprocess
import sys
from pathlib import Path

import pytest

from al_cli.store.code import code_of, code_of_modules, folders_of, imported_by, source_of


def test_code_counts_and_comments_do_not():
    source = 'def f(x):\n    """Says."""\n    return x + 1  # why\n'
    assert code_of(source) == code_of('def f(x):\n    """Says more."""\n\n    return x + 1\n')
    assert code_of(source) != code_of(source.replace("1", "2"))


def test_a_sampler_depends_on_what_it_imports_and_on_no_other_sampler():
    entropy = imported_by(source_of("al_cli.samplers.score_entropy"), "al_cli.samplers.score_entropy")
    assert {"al_cli.samplers.base", "al_cli.samplers.uncertainty", "al_cli.types"} <= entropy
    assert not any("score_" in name for name in entropy)


def test_a_learner_depends_on_every_file_of_its_folder_that_it_imports():
    assert code_of_modules(["al_cli.learners.fake"]) != code_of_modules(["al_cli.learners.detectron.learner"])
    assert "torch" in code_of_modules(["al_cli.learners.detectron.learner"])
    assert "torch" not in code_of_modules(["al_cli.learners.fake"])


@pytest.mark.parametrize("room", ["model.tiny", "training.loss", "signals.jitter", "influence.source"])
def test_the_code_of_a_learner_has_its_subfolders(monkeypatch, room):
    learner, file = "al_cli.learners.detectron.learner", f"al_cli.learners.detectron.{room}"
    before = code_of_modules([learner])
    monkeypatch.setattr(
        "al_cli.store.code.code_of", lambda source, where="": f"{where} {where == str(source_of(file))}"
    )
    changed = code_of_modules([learner])
    monkeypatch.setattr("al_cli.store.code.code_of", lambda source, where="": f"{where} False")
    assert code_of_modules([learner]) != changed and before.keys() == changed.keys()


def test_messages_are_no_numbers(monkeypatch):
    before = code_of_modules(["al_cli.budget"])
    monkeypatch.setattr("al_cli.store.code.MESSAGES_ONLY", frozenset())
    assert code_of_modules(["al_cli.budget"]) != before


LAYOUTS = {
    "its own file": "mine.py",
    "a helper in another file": "helper.py",
    "a helper in a folder without __init__": "loose/deep.py",
    "a helper that a function imports": "late.py",
    "a module of its package": "package/inner.py",
    "a module of its package that nothing names": "package/unnamed/plugin.py",
}


def write_layout(root: Path) -> None:
    (root / "mine.py").write_text(
        "import json\nimport helper\nfrom loose.deep import f\nimport package\n\n\n"
        "def g():\n    from late import h\n    return h() + f() + helper.a\n"
    )
    (root / "helper.py").write_text("a = 1\n")
    (root / "late.py").write_text("def h():\n    return 1\n")
    for folder in ("loose", "package/unnamed"):
        (root / folder).mkdir(parents=True)
    (root / "loose/deep.py").write_text("def f():\n    return 1\n")
    (root / "package/__init__.py").write_text("from .inner import b\n")
    (root / "package/inner.py").write_text("b = 1\n")
    (root / "package/unnamed/plugin.py").write_text("c = 1\n")


def digest(root: Path) -> str:
    """Of `mine`, by a new process that imports nothing of it."""
    code = "from al_cli.store.code import *; print(code_of_modules(['mine']))"
    return subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    root = tmp_path_factory.mktemp("layout")
    write_layout(root)
    return root, digest(root)


@pytest.mark.parametrize("changed", LAYOUTS.values(), ids=LAYOUTS)
def test_code_outside_al_counts_with_all_that_it_imports(layout, changed):
    root, before = layout
    path = root / changed
    source = path.read_text()
    path.write_text(source.replace("1", "2") + ("x = 2\n" if "1" not in source else ""))
    try:
        assert digest(root) != before
    finally:
        path.write_text(source)
    assert digest(root) == before


def test_what_pip_installed_counts_by_its_version():
    assert "hdbscan" in code_of_modules(["al_cli.samplers.select_cluster_outlier"])
    assert source_of("al_cli.no_such_module") is None and folders_of("al_cli.no_such_module") == []
