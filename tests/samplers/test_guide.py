"""The guide: costs and detectors by hand, the advice every sampler must have, and the committed page."""

from pathlib import Path

import pytest

from al_cli.cli.samplers import classifiers, detectors
from al_cli.errors import ConfigError
from al_cli.samplers.guide import MORE_PASSES, OTHER_PASSES, comment, descriptions, guide, guide_page
from al_cli.types import ORACLES, Signal

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "conf" / "sampler"


@pytest.fixture(scope="module")
def entries():
    return {entry.name: entry for entry in guide(FOLDER, detectors(), classifiers())}


def test_the_committed_page_is_up_to_date(entries):
    page = ROOT / "docs" / "samplers.md"
    assert page.read_text() == guide_page(list(entries.values())), "samplers have changed: run `make docs` and commit"


def test_every_sampler_says_what_it_is_and_when_to_use_it(entries):
    assert set(entries) == {path.stem for path in FOLDER.glob("*.yaml")} - {"imported", "modal"}
    for entry in entries.values():
        assert entry.advice.endswith("."), f"{entry.name} needs a paragraph `When to use:` in its docstring or yaml"
        assert entry.advice[0] == entry.advice[0].upper()
        assert entry.about.endswith(".") and entry.family and entry.source
        assert not entry.detectors == entry.classifiers == "none"


def test_the_cost_of_every_signal_is_stated():
    assert MORE_PASSES.keys() == set(Signal)
    assert OTHER_PASSES.keys() <= set(Signal)


def test_oracles_stand_apart(entries):
    assert [e.name for e in entries.values() if e.oracle] == [e.name for e in entries.values()][-2:]
    assert {e.name: e.oracle for e in entries.values() if e.oracle} == {
        "loss_descending": {Signal.TRUE_LOSS},
        "true_box_count": {Signal.TRUE_BOXES},
    }
    assert not any(e.needs and e.needs & ORACLES for e in entries.values() if not e.oracle)
    assert all(e.about.startswith("An oracle: ") == bool(e.oracle) for e in entries.values())
    practical, oracles = guide_page(list(entries.values())).split("\n## Oracles\n")
    assert "### loss_descending" not in practical and "### random" not in oracles


def test_needs_and_stages_by_hand(entries):
    assert entries["random"].needs is None
    assert entries["entropy"].needs == {Signal.PROBS}
    assert entries["class_entropy"].needs == entries["ccms_coords"].needs == frozenset()
    assert entries["ccms"].needs == {Signal.BOX_FEATURES}
    assert entries["coreset"].needs == {Signal.IMAGE_FEATURES}
    assert [stage["keep"] for stage in entries["ccms"].stages] == ["ud", "budget"]
    assert [stage.get("share") for stage in entries["half_random"].stages][-2:] == [0.5, None]
    assert "thesis eq. 5-7" in entries["ccms"].source


@pytest.mark.parametrize(
    ("name", "cost"),
    [
        ("random", "none"),
        ("entropy", "pool"),
        ("ccms", "pool + what ud keeps"),
        ("ccms_coords", "pool"),  # boxes are in the table that the first stage asked for
        ("ppal", "pool + 4x budget"),
        ("coreset", "pool + labeled"),
        ("subset_entropy", "20% of pool"),
        ("subset_learning_loss", "10000 of pool"),
        ("active_transfer", "pool + validation"),
        ("discriminative_own", "pool + labeled"),
        ("localization_stability", "7 x pool"),
        ("loss_descending", "2 x pool"),
    ],
)
def test_what_is_passed_over(entries, name, cost):
    assert entries[name].cost == cost


def test_which_detectors_feed_it(entries):
    assert entries["random"].detectors == entries["dcus"].detectors == "all"
    assert entries["localization_tightness"].detectors == "R-CNN"
    assert entries["bald"].detectors == "all, with model.dropout"


SAMPLER = """# One line.
# Doe 1999. {advice}
name: one
stages: [{{select: {{_target_: al_cli.samplers.random, _partial_: true}}}}]
"""


def test_detectors_by_hand(tmp_path):
    text = (
        SAMPLER.format(advice="")
        .replace("random", "top")
        .replace("{select", "{score: {_target_: al_cli.samplers.bald, _partial_: true}, select")
    )
    (tmp_path / "one.yaml").write_text(text)
    none, dropout = frozenset(), frozenset({Signal.DROPOUT})
    for kinds, expected in (
        ({"A": dropout, "B": dropout}, "all"),
        ({"A": dropout, "B": none}, "A"),
        ({"A": none, "A, with p": dropout, "B": none, "B, with p": dropout}, "all, with p"),
        ({"A": none, "A, with p": dropout, "B": none, "B, with p": none}, "A, with p"),
        ({"A": none}, "none"),
    ):
        assert guide(tmp_path, kinds, {})[0].detectors == expected


def test_the_files_own_advice_wins(tmp_path):
    (tmp_path / "one.yaml").write_text(SAMPLER.format(advice="When to use: never,\n# or always."))
    [entry] = guide(tmp_path, {"A": frozenset()}, {})
    assert (entry.about, entry.details, entry.advice) == ("One line.", "Doe 1999.", "Never, or always.")
    (tmp_path / "one.yaml").write_text(SAMPLER.format(advice=""))
    [entry] = guide(tmp_path, {"A": frozenset()}, {})
    assert entry.advice.startswith("Always, as the arm")


def test_comments_and_docstrings_by_hand():
    def f():
        """One.

        When to use: a
        b.

        Two.
        """

    assert descriptions(f) == ("One.\n\nTwo.", "a b.")
    assert comment("# a.\n# b\n#\n# When to use: c\n# d.\nname: x\n# e") == ("a.", "b", "c d.")
    assert comment("name: x") == ("", "", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: other\nstages: [{keep: budget}]", "name: broken"),
        ("name: broken", "a list `stages`"),
        ("name: broken\nstages: [{select: {_target_: top}}]", "no function 'top'"),
        ("name: broken\nstages: [{select: {_partial_: true}}]", "names no function"),
        ("name: broken\nstages: [{select: {_target_: al_cli.samplers.nothing}}]", "'al_cli.samplers.nothing'"),
    ],
)
def test_a_broken_sampler_file(tmp_path, text, message):
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        guide(tmp_path, {}, {})
