"""What the pages promise: README's lines, its tree, its commands and its example of a sampler."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hydra.utils import instantiate

from al_cli.types import Predictions, Query

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("[!.]*/*.md"), *ROOT.glob("docs/results/*.md")})  # no cache of a tool


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_lines_of_the_readme_fit_a_terminal():
    long = [f"line {n}: {len(line)}" for n, line in enumerate(README.splitlines(), 1) if len(line) >= 120]
    assert not long, f"README lines are below 120 characters: {long}"


def test_code_in_a_sentence_of_the_readme_can_be_copied():
    prose = re.sub(r"^```.*?^```", "", README, flags=re.DOTALL | re.MULTILINE)
    assert [line for line in prose.splitlines() if line.count("`") % 2] == [], "code that goes on in the next line"


def test_the_tree_names_every_room_and_nothing_else():
    section = README.split("\n## The repository\n")[1].split("\n## ")[0]
    names = [(len(line) - len(line.lstrip()), line.split()[0]) for line in section.splitlines() if line[:4] == "    "]
    inside = {name for indent, name in names if indent == 6}
    rooms = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "al_cli").iterdir()
        if path.name[0] not in "_." and (path.is_dir() or path.suffix == ".py")
    }
    assert inside == rooms, "the tree in README names every room of al_cli/"
    assert all((ROOT / name).exists() for indent, name in names if indent == 4)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_sampler_of_the_readme_works_outside_the_checkout(al, monkeypatch):
    """With README's words: Hydra finds the yaml, and three images with 2, 0 and 1 boxes score -2, 0 and -1."""
    [function], [config] = blocks("python", README), blocks("yaml", README)
    config = config.replace("al_cli.samplers.fewest_boxes", "my_sampler.fewest_boxes")
    (al.cwd / "my_sampler.py").write_text(function)
    (al.cwd / "ext/sampler").mkdir(parents=True)
    (al.cwd / "ext/sampler/mine.yaml").write_text(config)
    words = ["run", f"hydra.searchpath=[file://{al.cwd}/ext]", "sampler=mine", "model=fake"]
    [stage] = yaml.safe_load(al(*words, "--cfg", "job").stdout)["sampler"]["stages"]
    monkeypatch.syspath_prepend(str(al.cwd))
    boxes = np.tile([0.0, 0, 1, 1], (3, 1))
    table = Predictions(np.arange(3), np.array([0, 2, 2, 3]), boxes, np.array([0.9, 0.5, 0.9]), np.zeros(3, int), 1)
    try:
        scores = instantiate(stage["score"])(Query(table, budget=1, rng=np.random.default_rng(0)))
    finally:
        sys.modules.pop("my_sampler", None)
    assert scores.tolist() == [-2, 0, -1]
