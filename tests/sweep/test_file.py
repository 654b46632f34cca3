"""What a sweep file says: Hydra's own parser reads every value back, and every mistake has one sentence."""

import math

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from al_cli.errors import ConfigError
from al_cli.experiment.words import literal
from al_cli.sweep.file import Arm, merge, parse_sweep, read_sweep

TEXT = st.text(st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12)
NUMBERS = st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6)
KEYS = st.from_regex(r"[a-z]{1,5}", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def unquoted(value):
    """What Hydra's parser makes of a literal, as plain Python: quoted strings are a type of its own."""
    if isinstance(value, list):
        return [unquoted(item) for item in value]
    if isinstance(value, dict):
        return {str(getattr(key, "text", key)): unquoted(item) for key, item in value.items()}
    return getattr(value, "text", value)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(VALUES)
def test_hydra_reads_every_value_back(value):
    override = OverridesParser.create().parse_override(f"a.b={literal(value)}")
    assert unquoted(override._value) == value and not override.is_sweep_override()


@pytest.mark.parametrize(
    "text", ["null", "True", "nan", "inf", "1", "1e-4", "", "a,b", "a b", "it's", "\\", "\\'", "${x}", "[1]"]
)
def test_text_stays_text(text):
    value = OverridesParser.create().parse_override(f"a={literal(text)}").value()
    assert value == text and isinstance(value, str)


ARMS = """
base: {model: fake, training.lr: 1e-4}
seeds: [10, 11]
arms:
  - {name: half, sampler: ccms, ud_split: [0.5, 0.5]}
  - {name: other, sampler: entropy}
"""


def from_text(text: str):
    return parse_sweep("mine", yaml.safe_load(text))


def test_arms_and_the_random_one(tmp_path):
    (tmp_path / "mine.yaml").write_text(ARMS)
    sweep = read_sweep(str(tmp_path / "mine.yaml"))
    assert from_text(ARMS + f"claim: {CLAIM.replace('AUC', 'AUC of AP50')}").claim["metric"] == "AUC of AP50"
    assert sweep.name == "mine" and sweep.seeds == (10, 11) and not sweep.reference and sweep.claim is None
    assert sweep.base == ("model=fake", "training.lr=0.0001")  # a number, though YAML 1.1 calls 1e-4 text
    assert sweep.arms == (
        Arm("random", ("sampler=random",)),
        Arm("half", ("sampler=ccms", "ud_split=[0.5,0.5]")),
        Arm("other", ("sampler=entropy",)),
    )


def test_random_is_switched_off_or_there_already():
    assert [arm.name for arm in from_text(ARMS + "random: false").arms] == ["half", "other"]
    named = from_text("arms: [{name: baseline, sampler: random}, {name: e, sampler: entropy}]")
    assert [arm.name for arm in named.arms] == ["baseline", "e"]


def test_hydras_own_form_crosses_everything():
    sweep = from_text("""
        base: {model: fake, rounds: 3}
        hydra: {sweeper: {params: {ud_split: "0.5,[1,0,0]", sampler: "ccms,ccms_coords", seed: "4,2", rounds: 2, budget: 5}}}
    """)
    assert sweep.seeds == (4, 2)
    assert sweep.base == ("model=fake", "rounds=2", "budget=5")
    names = ["random", "ccms_ud0.5", "ccms_coords_ud0.5", "ccms_ud1-0-0", "ccms_coords_ud1-0-0"]
    assert sorted(arm.name for arm in sweep.arms) == sorted(names)
    [one] = [arm for arm in sweep.arms if arm.name == "ccms_ud1-0-0"]
    assert sorted(one.overrides) == ["sampler=ccms", "ud_split=[1,0,0]"]


def test_hydras_form_without_arms_is_one_arm():
    sweep = from_text("{hydra: {sweeper: {params: {seed: '0,1', sampler: entropy}}}, random: false}")
    assert sweep.arms == (Arm("mine", ()),) and sweep.base == ("sampler=entropy",)


CLAIM = "{arm: half, against: random, metric: AUC, cost: boxes, alpha: 0.05}"
MISTAKES = {
    "armz: []": ["no key armz", "did you mean arms?"],
    "seeds: [0]": ["names no arms", "arms: [{name:"],
    "arms: [{sampler: ccms}]": ["arm 1 has no name"],
    "arms: [{name: a, sampler: ccms}, {name: A, sampler: entropy}]": ["two arms are called A"],
    "arms: [{name: random, sampler: ccms}]": ["two arms are called random"],
    "arms: [{name: a, sampler: ccms}, {name: b, sampler: ccms}]": ["arms a and b are the same", "leave one out"],
    "arms: [{name: reference, sampler: ccms}]": ["called reference", "reference: true"],
    "arms: [{name: a/b, sampler: ccms}]": ["'a/b'", "folder names"],
    "arms: [{name: a, seed: 3}]": ["sets seed", "seeds: [...]"],
    "arms: [{name: a, photo: !!binary aGk=}]": ["is no setting", "arm a.photo"],
    "{base: [model=fake], arms: [{name: a}]}": ["base is ['model=fake']", "key: value"],
    ARMS + "seeds: [1, 1]": ["seeds is given twice", "first in line 3", "line 7"],
    ARMS.replace("[10, 11]", "[1, 1]"): ["names one twice"],
    ARMS.replace("[10, 11]", "[-1]"): ["whole numbers"],
    ARMS + "random: maybe": ["random is 'maybe'", "true or false"],
    ARMS + "hydra: {sweeper: {params: {seed: 1}}}": ["both say what to run"],
    "hydra: {launcher: x}": ["something else than sweeper.params"],
    ARMS + f"claim: {CLAIM.replace('half', 'halv')}": ["arm 'halv'", "did you mean half?"],
    ARMS + f"claim: {CLAIM.replace('random', 'half')}": ["with itself"],
    ARMS + f"claim: {CLAIM.replace('boxes', 'money')}": ["'money'", "images"],
    ARMS + f"claim: {CLAIM.replace('0.05', '5')}": ["alpha is 5"],
    ARMS + f"claim: {CLAIM.replace('AUC', 'AUX')}": ["'AUX'", "did you mean AUC?"],
    ARMS + f"claim: {CLAIM.replace('AUC', 'AUC of AP_50')}": ["'AP_50'", "did you mean AP50?"],
    ARMS + f"claim: {CLAIM.replace('metric', 'metrik')}": ["no key metrik", "did you mean metric?"],
    ARMS + "claim: {arm: half, against: random}": ["does not say its metric, cost, alpha"],
    "[1, 2": ["not YAML", "line"],
    "- 1": ["a sweep is a mapping"],
}  # fmt: skip


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_says_where_and_what_to_do(text, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_sweep(str(path))
    for words in [*MISTAKES[text], "bad.yaml"]:
        assert words in str(caught.value)


def test_unknown_sweep_names_the_near_one():
    with pytest.raises(ConfigError, match=r"did you mean thesis_digits\?"):
        read_sweep("thesis_digit")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_sweep("nowhere.yaml")


def test_the_last_override_of_a_key_wins():
    assert merge(["a=1", "++b.c=2"], ["b.c=3"], ["a=4"]) == ("a=4", "b.c=3")


def test_numbers_keep_their_value():
    assert math.isclose(float(literal(1e-7)), 1e-7) and literal(3) == "3" and literal(True) == "true"
