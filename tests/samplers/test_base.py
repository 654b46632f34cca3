"""Declarations, needs, and options that are checked before they are used."""

import sys
from functools import partial
from typing import Annotated, Literal

import pytest
from hydra._internal.utils import _locate

from al_cli import samplers
from al_cli.errors import ConfigError
from al_cli.samplers import ccms_kmedoids, class_entropy, coreset, dcus, entropy, probabilistic, random, top
from al_cli.samplers.base import Between, bind, declaration_of, labeled_of, needs_of, score, selection
from al_cli.samplers.catalog import read_stages
from al_cli.types import Signal


def test_needs():
    assert needs_of(random) is None
    assert needs_of(top) is None
    assert needs_of(class_entropy) == frozenset()
    assert needs_of(partial(entropy, aggregate="max")) == {Signal.PROBS}
    assert needs_of(ccms_kmedoids) == {Signal.BOX_FEATURES}
    assert needs_of(partial(ccms_kmedoids, feature="coords")) == frozenset()
    assert needs_of(partial(ccms_kmedoids, feature="center")) == {Signal.CENTER_FEATURES}
    assert needs_of(coreset) == labeled_of(coreset) == {Signal.IMAGE_FEATURES}
    towers = partial(coreset, feature="towers")
    assert needs_of(towers) == labeled_of(towers) == {Signal.TOWER_FEATURES}
    assert labeled_of(top) is None


def test_who_needs_scores():
    assert [declaration_of(f).scored for f in (random, top, probabilistic, ccms_kmedoids)] == [False, True, True, False]


def test_bind_fills_defaults_in():
    expected = {
        "score_threshold": 0.05,
        "feature": "box",
        "distance": "reciprocal",
        "max_boxes": None,
        "clustering": "swap",
    }
    assert bind(partial(ccms_kmedoids, score_threshold=0.05)) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_treshold": 0.3}, "did you mean '?score_threshold"),
        ({"score_threshold": 1.5}, r"score_threshold=1.5.*a number in \[0, 1\]"),
        ({"score_threshold": True}, "a number"),
        ({"score_threshold": "0.3"}, "a number"),
        ({"score_threshold": float("nan")}, "a number"),
        ({"feature": "boxes"}, "box or coords"),
        ({"max_boxes": 0}, "a whole number of at least 1 or null"),
        ({"max_boxes": 2.5}, "a whole number"),
        ({"query": 1}, "no option 'query'"),
    ],
)
def test_bad_options_say_what_is_allowed(options, message):
    with pytest.raises(ConfigError, match=message):
        bind(partial(ccms_kmedoids, **options))


def test_an_infinite_number_is_refused():
    with pytest.raises(ConfigError, match=r"max_aspect=inf.*a number of at least 1 or null"):
        bind(partial(dcus, max_aspect=float("inf")))


def test_an_option_for_a_function_without_options():
    with pytest.raises(ConfigError, match="it has no options"):
        bind(partial(top, k=3))


def test_positional_and_missing_options():
    @selection(source="", family="")
    def needy(query, scores=None, *, k: int, how: Annotated[float, Between(0)] | Literal["auto"] = "auto"):
        raise AssertionError("must not be called")

    with pytest.raises(ConfigError, match="needs a value for 'k'"):
        bind(needy)
    with pytest.raises(ConfigError, match="by name only"):
        bind(partial(needy, 3))
    with pytest.raises(ConfigError, match="a number of at least 0 or auto"):
        bind(partial(needy, k=1, how=-1))
    assert bind(partial(needy, k=1, how=2.5)) == {"k": 1, "how": 2.5}


def test_what_is_not_declared_is_refused():
    with pytest.raises(ConfigError, match="len is neither a score nor a selection"):
        declaration_of(len)


def test_every_declared_function_is_exported():
    names = {name for name, thing in vars(samplers).items() if hasattr(thing, "declaration")}
    assert names >= {"entropy", "class_entropy", "random", "top", "probabilistic", "ccms_kmedoids"}
    assert all(declaration_of(getattr(samplers, name)).source for name in names)


SAMPLER = """
from al_cli.samplers.base import score

@score(needs=frozenset(), source="here", family="control")
def {}(query):
    return -query.candidates.counts.astype(float)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of sampler files beside the package's own; what they leave in the package is taken out again."""
    before, modules = set(vars(samplers)), set(sys.modules)
    monkeypatch.setattr(samplers, "__path__", [*samplers.__path__, str(tmp_path)])
    yield tmp_path
    for name in set(vars(samplers)) - before:
        delattr(samplers, name)
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_a_new_file_is_found_even_when_it_has_its_functions_name(folder):
    (folder / "fewest_boxes.py").write_text(SAMPLER.format("fewest_boxes"))
    (folder / "other_file.py").write_text(SAMPLER.format("most_boxes"))
    samplers._export()
    samplers._export()  # a second look changes nothing
    for name in ("fewest_boxes", "most_boxes"):
        text = f"name: {name}\nstages: [{{score: {{_target_: al_cli.samplers.{name}}}}}]"
        (folder / f"{name}.yaml").write_text(text)
        function = read_stages(folder / f"{name}.yaml")[0]["score"].func
        assert declaration_of(function).source == "here"
        assert _locate(f"al_cli.samplers.{name}") is function  # Hydra finds the same


def test_a_name_that_is_taken_is_refused(folder):
    (folder / "another_top.py").write_text(SAMPLER.format("top"))
    with pytest.raises(ImportError, match="the name 'top' is taken"):
        samplers._export()


def test_needs_may_depend_on_options():
    @score(needs=lambda options: frozenset({Signal(options["signal"])}), source="", family="")
    def any_column(query, *, signal: str = "influence"):
        raise AssertionError("must not be called")

    assert needs_of(any_column) == {Signal.INFLUENCE}
    assert needs_of(partial(any_column, signal="probs")) == {Signal.PROBS}
