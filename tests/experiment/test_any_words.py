"""Whatever is typed or written gives a result or one sentence: words, sweep files and files of picks, made up at random."""

import copy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from shapes import random_dataset

from al_cli.errors import AlError, ConfigError
from al_cli.experiment import compose, imported
from al_cli.experiment.job import make_job
from al_cli.sweep.file import parse_sweep
from al_cli.sweep.yaml_text import parse_yaml

few = settings(max_examples=40, deadline=None, derandomize=True)
PIECES = (
    "seed study sampler dataset.train ud_split = = = , 1 0.5 null ' \" \\ [ ] { } : ~ + ++ @ / . ${ $ choice( range("
)
PIECES = [*PIECES.split(), "glob(*", "int(", ")", "a", "é", " ", "\n", "\0", "1e5"]
TEXT = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
WORD = TEXT | st.tuples(st.sampled_from(["seed", "study", "sampler", "ud_split", "dataset.train", "arms"]), TEXT).map(
    "=".join
)


@few
@given(st.lists(WORD, max_size=3), st.booleans())
def test_any_words_are_read_or_refused(words, many):
    try:
        runs = compose.split_runs(words, many)
    except ConfigError as error:
        assert 0 < len(str(error)) < 1000 and "\n" not in str(error)
    else:
        assert 1 <= len(runs) <= compose.MAX_RUNS and all(len(run) == len(words) for run in runs)


VALUES = [None, True, -1, 1.5, float("nan"), "text", "", [1], {"a": 1}, 10**30, "${seed}", "${nope}", "???", "3"]
KEYS = "rounds initial budget budget_unit ud_split reference seed seeds seeds.training device task study outputs store"
KEYS += " training.duration"
KEYS += " evaluate tracking sampler.stages model.overrides model.family model.weights training.lr training.epochs"


@pytest.fixture(scope="module")
def composed():
    [config] = compose.compose_all([["model=fake"]])
    return config


def job_with(composed, key, value):
    config = copy.deepcopy(composed)
    OmegaConf.update(config, key, value, merge=False)
    return make_job(config, "r")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.sampled_from(KEYS.split()), st.sampled_from(VALUES))
def test_any_value_of_any_setting_is_taken_or_refused(composed, key, value):
    try:
        job = job_with(composed, key, value)
    except AlError as error:
        assert 0 < len(str(error)) < 1000
    else:
        assert job.rounds >= 1


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("seed", None, "seed is null"),
        ("seed", 2**64, "give a whole number of at least 0 and at most 9223372036854775807"),
        ("seed", "3", "seed is '3'"),
        ("seed", "???", "seed is not given"),
        ("rounds", 99999999999, "at most 10000"),
        ("rounds", "${nope}", r"rounds=\.\.\."),
        ("sampler.stages", None, "no list of stages"),
        ("sampler.stages", [1], "no list of stages"),
        ("tracking", ["wandb"], "which is no text: valid"),
        ("tracking", "wandbb", r"did you mean wandb\?"),
        ("device", 1, "which is no text: valid"),
        ("budget_unit", None, "budget_unit is null, which is no text"),
        ("model.overrides", 1, "no mapping"),
        ("store", "true", "store is 'true'"),
    ],
)
def test_a_wrong_type_is_called_one(composed, key, value, said):
    with pytest.raises(AlError, match=said):
        job_with(composed, key, value)


MARKS = [
    "base",
    "arms",
    "seeds",
    "hydra",
    "name",
    "study",
    ":",
    ": ",
    "- ",
    "\n",
    "\n  ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "&a ",
    "*a",
]
MARKS += ["*a", "!!int ", "1.10", "2024_05_01", "null", "~", "'", '"', "sweeper: {params: {seed: '", "?", "|\n"]
YAML = st.lists(st.sampled_from(MARKS), max_size=16).map("".join)
LEAF = (
    st.none()
    | st.booleans()
    | st.integers(-5, 10**20)
    | st.floats()
    | st.sampled_from(["a", "1,2", "range(9)", "", "é"])
)
NAMED = st.sampled_from(["name", "sampler", "seed", "a", 1])
TREE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMED, inner, max_size=3), max_leaves=5
)


@few
@given(YAML)
def test_any_text_is_a_sweep_or_refused(text):
    try:
        parse_sweep("mine", parse_yaml(text))
    except ConfigError as error:
        assert str(error)


@few
@given(
    st.dictionaries(st.sampled_from(["base", "arms", "seeds", "random", "reference", "claim", "source"]), TREE), TREE
)
def test_any_values_are_a_sweep_or_refused(content, params):
    for sweep in (content, {"hydra": {"sweeper": {"params": params}}}):
        try:
            assert parse_sweep("mine", sweep).arms
        except ConfigError as error:
            assert str(error)


POOL = random_dataset(3)
CELL = st.sampled_from(["0", "1", "-1", "²", "a.jpg", ".", "/", "", '"', "99999", "9" * 30, "\n", "\0", "a,b"])


@few
@given(
    st.lists(st.lists(CELL, max_size=4).map(",".join), max_size=4),
    st.sampled_from(["round,image", "round,image_id", "image", ""]),
)
def test_any_picks_are_read_or_refused(lines, header):
    try:
        found = imported.parse_picks("\n".join([header, *lines]), Path("picks.csv"))
        found.check_rounds(1)
        found.picks(POOL, drawn=[0])
    except ConfigError as error:
        assert 0 < len(str(error)) < 1000
