"""A sweep file's names and paths are the text that is written; twice, too much and endless are refused at once."""

import time

import pytest

from al_cli.errors import ConfigError
from al_cli.sweep.file import parse_sweep, read_sweep
from al_cli.sweep.plan import plan_study
from al_cli.sweep.yaml_text import MAX_FILE, parse_yaml, read_yaml

AS_WRITTEN = ["2024_05_01", "1.10", "1e5", "007", "true", "0x1f", "2024-05-01", "1:30", ".inf", "no"]


@pytest.mark.parametrize("text", AS_WRITTEN)
def test_names_and_paths_stay_text(text):
    content = parse_yaml(f"""
base: {{study: {text}, outputs: {text}, dataset.root: {text}, dataset.train: {{images: {text}, annotations: '{text}'}}}}
arms: [{{name: {text}, sampler: {text}, sampler.file: {text}}}]
hydra: {{sweeper: {{params: {{++study: {text}}}}}}}
""")
    train = {"images": text, "annotations": text}
    assert content["base"] == {"study": text, "outputs": text, "dataset.root": text, "dataset.train": train}
    assert content["arms"] == [{"name": text, "sampler": text, "sampler.file": text}]
    assert content["hydra"]["sweeper"]["params"] == {"++study": text}


def test_other_values_are_what_yaml_says_and_null_stays_null():
    text = "{rounds: 2, training.lr: 1e-4, seed: &seed 3, store: true, study: *seed, run_name: null, when: 2024-05-01}"
    values = {"rounds": 2, "training.lr": 1e-4, "seed": 3, "store": True, "study": "3", "run_name": None}
    assert parse_yaml(text) == values | {"when": "2024-05-01"}
    assert parse_yaml("") is None


def test_a_study_and_its_arms_are_called_as_written():
    sweep = parse_sweep("mine", parse_yaml("""
base: {model: fake, study: 1.10}
arms: [{name: 1.10, sampler: entropy}, {name: 2024_05_01, sampler: margin}]
random: false
"""))  # fmt: skip
    assert [str(job.folder) for job in plan_study(sweep, ["arms=[1.10,2024_05_01]"]).jobs] == [
        "outputs/1.10/1.10_s0",
        "outputs/1.10/2024_05_01_s0",
    ]
    crossed = parse_sweep("mine", parse_yaml("{hydra: {sweeper: {params: {model: fake, study: 1.10}}}}"))
    assert plan_study(crossed, []).folder.name == "1.10"


TENFOLD = [f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]" for a, b in ["ab", "bc", "cd", "de", "ef", "fg", "gh"]]
BOMB = "\n".join(["a: &a [x,x,x,x,x,x,x,x,x,x]", *TENFOLD])
MANY = ",".join(map(str, range(2000)))
SOME = ",".join(map(str, range(600)))
REFUSED = {
    "seeds: [1]\nseeds: [2]": "seeds is given twice, first in line 1 (line 2)",
    "base: {rounds: 1,\n ++rounds: 2}": "rounds is given twice, first in line 1 (line 2)",
    "arms: [{name: a, name: b}]": "name is given twice",
    "hydra: {sweeper: {params: {seed: 1, +seed: 2}}}": "seed is given twice",
    BOMB: "1,000,000 characters",
    "a: &a [*a]": "part of",
    "[" * 1000: "nested too deep",
    "{a: " * 1000: "nested too deep",
    "a: " + "9" * 5000: "not YAML",
    "a: !!int x": "not YAML",
    "a: !!python/object:os.system x": "not YAML",
    "? {a: 1}\n: 2": "not YAML",
    "a: 'b": "not YAML",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:30])
def test_what_is_twice_endless_or_no_yaml_is_refused_at_once(text):
    start = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text)
    assert REFUSED[text] in str(caught.value) and time.monotonic() - start < 3


def test_a_file_that_is_none_or_too_large_is_refused(tmp_path):
    (tmp_path / "large.yaml").write_text("#" * (MAX_FILE + 1))
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    (tmp_path / "folder.yaml").mkdir()
    for name, said in {"large": "has 50,001 bytes", "endless": "no file", "folder": "no file"}.items():
        with pytest.raises(ConfigError, match=f"{said}.*{name}.yaml"):
            read_sweep(str(tmp_path / f"{name}.yaml"))
    with pytest.raises(ConfigError, match="No such file"):
        read_yaml(tmp_path / "nowhere.yaml")


ODD = {
    "hydra: {sweeper: null}": "something else",
    "hydra: {sweeper: {params: {}}}": "something else",
    "hydra: {sweeper: {params: {seed: range(1000000)}}}": "too many runs",
    "hydra: {sweeper: {params: {seed: 'range(0,100)', budget: 'range(1,100)'}}}": "too many runs",
    "hydra: {sweeper: {params: {seed: 'foo(1)'}}}": "Unknown function",
    "hydra: {sweeper: {params: {seed: 'x,y'}}}": "whole numbers",
    "hydra: {sweeper: {params: {++run_name: a}}}": "sets run_name",
    "hydra: {sweeper: {params: {1: 2}}}": "no name of a setting",
    "hydra: {sweeper: {params: {hydra/launcher: joblib}}}": "which a sweep cannot",
    "hydra: {sweeper: {params: {+hydra.searchpath: '[file://x]'}}}": "which a sweep cannot",
    "{base: {hydra.run.dir: x}, arms: [{name: a}]}": "which a sweep cannot",
    "{base: {1: 2}, arms: [{name: a}]}": "has the key 1",
    "{base: {~seed: 2}, arms: [{name: a}]}": "would remove",
    "{base: {sampler@x: a}, arms: [{name: a}]}": "write sampler=",
    "{arms: [{name: a, +seed: 3}]}": "sets seed",
    "{seeds: [0, 99999999999999999999], arms: [{name: a}]}": "a seed is at most",
    f"{{seeds: [{MANY}], arms: [{{name: a}}]}}": "2,000 values",
    f"{{arms: [{{name: {'x' * 200}}}]}}": "150 at most",
}  # fmt: skip


@pytest.mark.parametrize("text", ODD, ids=lambda text: text[:50])
def test_odd_settings_are_refused_in_a_sentence(text):
    with pytest.raises(ConfigError) as caught:
        parse_sweep("mine", parse_yaml(text))
    assert ODD[text] in str(caught.value)


UNUSABLE = {
    "arms: [{name: a, sampler: null}]": "names no sampler",
    "arms: [{name: a, study: ..}]": "sets study",
    "{base: {study: ..}, arms: [{name: a}]}": "study is '..'",
    "{base: {study: [a]}, arms: [{name: a}]}": "study is ['a']",
    "{base: {outputs: ''}, arms: [{name: a}]}": "outputs is empty",
    "{base: {schedule: null}, arms: [{name: a, sampler: ccms}]}": "",
    f"{{seeds: [{SOME}], arms: [{{name: a, sampler: ccms}}]}}": "1,200 runs",
}  # fmt: skip


@pytest.mark.parametrize("text", UNUSABLE, ids=lambda text: text[:50])
def test_what_no_run_can_have_is_refused_in_a_sentence(text):
    def planned():
        return plan_study(parse_sweep("mine", parse_yaml(text)), ["model=fake", "rounds=2"])

    if UNUSABLE[text]:
        with pytest.raises(ConfigError) as caught:
            planned()
        assert UNUSABLE[text] in str(caught.value)
    else:
        assert planned().jobs
