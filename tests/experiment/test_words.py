"""Names and paths stay the text that was typed, a key is given once, and every form of Hydra's grammar works or is refused."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from al_cli.errors import AlError, ConfigError
from al_cli.experiment import compose
from al_cli.experiment.job import jobs_of
from al_cli.experiment.moved import Moved
from al_cli.experiment.names import check_name, check_path, name_with
from al_cli.experiment.words import TEXT
from al_cli.pasted import as_text, command

KEYS = ["study", "run_name", "outputs", "dataset.root", "dataset.name", "sampler.file", "model.weights"]
AS_TYPED = [
    "2024_05_01",
    "1.10",
    "1e5",
    "007",
    "true",
    "nan",
    "a b",
    "a=b",
    "my set (v1)",
    "it's",
    "a'b'c",
    "ü",
    "-1",
    "0x1f",
]


def read(word, many=False):
    """The values that Hydra reads in the word, one a run."""
    runs = compose.split_runs([word], many)
    return [OverridesParser.create().parse_override(said).value() for [said] in runs]


@pytest.mark.parametrize("text", AS_TYPED)
def test_text_is_what_stands_behind_the_first_equals_sign(text):
    assert [read(f"{key}={text}") for key in KEYS] == [[text]] * len(KEYS)
    assert read(f"++outputs={text}", many=True) == [text]
    assert read(f"dataset.train={{images: {text}, annotations: a/{text}}}") == [
        {"images": text, "annotations": f"a/{text}"}
    ]


AS_HYDRA = {
    "study='1.10'": ["1.10"],
    'study="a,b"': ["a,b"],
    r"study=a\,b": ["a,b"],
    "run_name=null": [None],
    "study='null'": ["null"],
    "dataset.train=null": [None],
    "study=${dataset.name}": ["${dataset.name}"],
    "study=1.10,1.1, 007": ["1.10", "1.1", "007"],
    "study=choice(1.10,'a,b')": ["1.10", "a,b"],
    "dataset.root=[old],b": ["[old]", "b"],
    "dataset.train={images: 007, annotations: 'a,b'},null": [{"images": "007", "annotations": "a,b"}, None],
}


@pytest.mark.parametrize("word", AS_HYDRA)
def test_what_hydra_documents_for_text_means_the_same_here(word):
    assert read(word, many=True) == AS_HYDRA[word]


def test_a_comma_is_a_letter_of_a_path_without_m():
    assert read("dataset.root=a,b") == ["a,b"]
    assert read("dataset.root=a,b", many=True) == ["a", "b"]


def test_the_folders_are_called_as_typed():
    [job] = jobs_of(["model=fake", "study=2024_05_01", "run_name=1.10", "outputs=007"])
    assert str(job.folder) == "007/2024_05_01/1.10"
    assert [job.folder.parent.name for job in jobs_of(["model=fake", "study=1.10,1.1"], many=True)] == ["1.10", "1.1"]


TWICE = {
    "seed=1 seed=2": "seed",
    "seed=1 ++seed=1": "seed",
    "seed=0,1 seed=2": "seed",
    "sampler=ccms +sampler=ccms": "sampler",
    "study=a study=b": "study",
    "model.overrides.A=1 ++model.overrides.A=2": "model.overrides.A",
    "seeds={training:1,training:2}": "training",
    "ud_split=[{a:1,a:2}]": "a",
    "seeds={training:1} seeds.training=2": "seeds",
}


@pytest.mark.parametrize("line", TWICE)
def test_a_key_is_given_once(al, line):
    for verb in (["run", "-m"], ["sweep", "ppal_voc"], ["run", "--cfg", "job"]):
        said = al(*verb, *line.split(), code=2).stderr
        assert said.count("\n") == 1
        if verb[0] == "run" or "seed" not in TWICE[line]:  # a sweep refuses any seed=
            assert f"{TWICE[line]} is given twice" in said or f"both set {TWICE[line]}" in said


def test_a_group_and_a_setting_in_it_are_two_keys():
    [job] = jobs_of(["model=fake", "training=thesis", "training.iterations=9", "seeds.initial=1", "seeds.training=2"])
    assert job.config["training"]["iterations"] == 9 and job.config["seeds"]["training"] == 2


NO_NAMES = [
    "",
    " ",
    ".",
    "..",
    "../x",
    "/x",
    "a/b",
    "a\\b",
    ".store",
    "report",
    "Report",
    "study.json",
    "x" * 300,
    "é" * 101,
]
NO_NAMES += ["a\nb", "a\tb", " a", "a ", None, 3, ["a"], {"a": 1}]


@pytest.mark.parametrize("name", NO_NAMES, ids=lambda name: repr(name)[:20])
def test_a_name_is_one_folder_in_the_folder_of_outputs(name):
    with pytest.raises(ConfigError, match=r"give a name, for example study=first_try") as caught:
        check_name(name, "study")
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("name", ["a", "2024_05_01", "my set (v1)", "a=b", "[a]", "ü" * 100, "ccms_s0", "it's"])
def test_other_text_is_a_name(name):
    assert check_name(name, "study") == name


@pytest.mark.parametrize(
    "path", ["", "a\0b", "x" * 300, "a/" * 3000, "~no_such_user/x", None, 3, ["a"]], ids=lambda path: repr(path)[:20]
)
def test_what_can_be_no_path_is_refused(path):
    with pytest.raises(ConfigError):
        check_path(path, "outputs")


LEAVING = ["outputs=", "study=null", "study=..", "run_name=../x", "run_name="]


@pytest.mark.parametrize("word", [*LEAVING, f"outputs={'x' * 300}"])
def test_nothing_leaves_the_folder_of_outputs(word):
    with pytest.raises(ConfigError, match=r"give a|at most"):
        jobs_of(["model=fake", word])


def test_a_bad_name_is_one_sentence_and_nothing_is_written(al):
    for word in ("study=[a]", "run_name=/x", "hydra.run.dir=x", "hydra.job.chdir=true", "hydra={}"):
        assert al("run", "model=fake", word, code=2).stderr.count("\n") == 1
    assert not list(al.cwd.iterdir())


def test_a_home_of_nobody_is_named():
    with pytest.raises(ConfigError, match=r"dataset\.root is '~no_such_user/x', and there is no user"):
        jobs_of(["model=fake", "dataset=yolo", "dataset.root=~no_such_user/x"])


def test_outputs_that_are_a_file_are_refused(al):
    (al.cwd / "notes").write_text("mine")
    assert "outputs is a file" in al("run", "model=fake", "outputs=notes", code=2).stderr


FOLDERS = [
    "a=b",
    "my set (v1)",
    "it's",
    "a,b",
    "[a]",
    "{a: b}",
    "'a'",
    "007",
    "null",
    "${x}",
    "a\\,b",
    "tag(x)",
    " a ",
    "-x",
    "$HOME",
    "é",
]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_printed_word_gives_the_folder_when_it_is_pasted(folder):
    [word] = shlex.split(command(f"dataset.root={as_text(folder)}"))
    for many in (False, True):
        [value] = read(word, many)
        assert value.replace("\\${", "${") == folder


def test_a_verb_that_reads_a_run_reads_where_data_has_moved_in_the_same_way():
    data = {"format": "yolo", "root": "old"}
    for word, root in {
        "dataset.root=2024_05_01": "2024_05_01",
        "dataset.root='a b'": "a b",
        "dataset.root=a,b": "a,b",
    }.items():
        assert Moved([word], "show").now(data) == {**data, "root": root}
    with pytest.raises(ConfigError, match=r"dataset\.root is given twice"):
        Moved(["dataset.root=a", "dataset.root=b"], "show")


GRAMMAR = {  # word -> how many runs with -m, or a part of the sentence that refuses it; without -m several are refused
    "seed=0,1": 2,
    "seed=choice(0,1,2)": 3,
    "seed=range(3)": 3,
    "seed=range(start=1,stop=7,step=3)": 2,
    "budget=range(0.1,0.3,0.1)": 2,
    "seed=shuffle(0,1)": 2,
    "seed=shuffle(range(0,3))": 3,
    "seed=sort(2,1,reverse=true)": 2,
    "seed=tag(a,b,choice(1,2))": 2,
    "sampler=glob(mc_*)": 4,
    "sampler=glob([mc_*,bald],exclude=mc_ratio)": 4,
    "ud_split=[1,0.5],[0.5,1]": 2,
    "ud_split=sort([0.5,1])": 1,
    "seed=int(3.9)": 1,
    "seed=int('3')": 1,
    "seed=int(1,2)": 2,
    "initial=float(3)": 1,
    "sampler=str(ccms)": 1,
    "store=bool(1)": 1,
    "sampler='ccms'": 1,
    "++seed=1,2": 2,
    "seeds={training: 1}": 1,
    "hydra.searchpath=[]": 1,
    "seed=interval(0,1)": "no list of values",
    "seed=json_str(1)": "cannot be read",
    "seed=foo(1)": "Unknown function",
    "seed=int(x)": "cannot be read",
    "seed=range(0,1,0)": "cannot be read",
    "seed=range(0.1,1.0,0.0)": "cannot be read",
    "seed=range(0)": "no value at all",
    "seed=choice()": "empty choice",
    "seed=range(100000000)": "too many runs",
    "seed=range(0,1e12,0.5)": "too many runs",
    "ud_split=[choice(1,2)]": "several values inside",
    "seeds={training: range(2)}": "several values inside",
    "sampler@x=ccms": "write sampler=",
    "~seed": "would remove",
    "~seed=0": "would remove",
    "hydra/launcher=joblib": "--jobs N",
    "seed=1,": "cannot be read: mismatched input its end$|cannot be read: mismatched input its end:",
    "seed='1": "cannot be read",
    "seed=[1": "cannot be read",
    "seed=" + "[" * 3000: "too many brackets",
    "seed=" + "1" * 20000: "has 20,005 characters",
    "=1": "no override",
    "seed": "no override",
    "": "no override",
    "a b=1": "no name of a setting",
    "+++seed=1": "no name of a setting",
    "study=range(3)": "function of Hydra",
    "study=\udcff": "no UTF-8",
    "seed=\n1": r"'seed=.n1' holds a line break",
}


@pytest.mark.parametrize("word", GRAMMAR, ids=lambda word: ascii(word)[:40])
def test_hydras_grammar_works_or_is_refused_in_a_sentence(word):
    expected = GRAMMAR[word]
    if isinstance(expected, int):
        assert len(compose.split_runs([word], many=True)) == expected
    if expected != 1:
        with pytest.raises(AlError, match=".+" if isinstance(expected, int) else expected) as caught:
            compose.split_runs([word], many=isinstance(expected, str))
        assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


COMPOSED = {  # what only the configuration as a whole shows
    "schedule=null": "",
    "+sampler=entropy": "write sampler=entropy",
    "+schedule=constant_50": "write schedule=constant_50",
    "sampler=[ccms,entropy]": "names no sampler",
    "sampler=null": "names no sampler",
    "sampler=5": "no sampler called 5",
    "model={name: fake}": "names no model",
    "+seed=1": "without the plus",
    "+foo=1": "no setting called foo",
    "+model.foo=1": "has no setting foo",
    "+seeds.foo=1": "no setting called seeds.foo",
    "+rounds.foo=1": "no setting called rounds.foo",
    "dataset.format=yolo": "those of digits",
    "sampler.name=imported": "those of ccms",
    "rounds=${eval:1}": "eval",
    "study=${nope}": "nope",
    "task=null": "task is null",
}


@pytest.mark.parametrize("word", COMPOSED)
def test_a_word_that_composes_to_nonsense_is_refused_in_a_sentence(word):
    if COMPOSED[word]:
        with pytest.raises(ConfigError, match=COMPOSED[word]):
            jobs_of([word])
    else:
        assert jobs_of([word])


def test_a_setting_of_another_model_is_not_offered():
    with pytest.raises(ConfigError) as caught:
        jobs_of(["model=fake", "model.dropout=0.2"])
    assert "did you mean" not in str(caught.value)


def test_every_setting_that_is_text_is_known_as_text():
    for key in (*KEYS, "dataset.train.images", "dataset.val.annotations", "model.config"):
        assert TEXT.fullmatch(key)
    assert not TEXT.fullmatch("dataset.val")  # may be a share


def refused(*words):
    with pytest.raises(AlError) as caught:
        jobs_of(["model=fake", *words])
    return str(caught.value)


def test_a_setting_of_another_choice_names_the_choice():
    assert "choose one that has it: dataset=yolo" in refused("dataset.missing_labels=negative")
    assert "dataset=cifar100 and " in refused("dataset.root=/data")
    assert "dataset=coco has no setting dataset.missing_labels" in refused(
        "dataset=coco", "dataset.root=x", "dataset.missing_labels=negative"
    )
    assert "there is no setting called dataset.val.nix" in refused("dataset.val.nix=1")


def test_a_mapping_for_the_model_is_read_as_its_keys_are():
    whole, single = (
        jobs_of(["model=fake", word])[0].config["model"]["overrides"]
        for word in ("model.overrides={iterations: 3}", "model.overrides.iterations=3")
    )
    assert whole == single == {"iterations": 3}
    assert "model.weights is null" in refused("model.weights=null")


@pytest.mark.parametrize("choice", ["../random", "/etc/passwd", "ccms/x", "a/../ccms"])
def test_a_choice_is_a_name_and_no_way(choice):
    said = refused(f"sampler={choice}")
    assert said.startswith((f"there is no sampler called {choice} ", f"sampler={choice} names no sampler"))


@pytest.mark.parametrize("place", ["file:///nix/da", "nix/da", "pkg://os", "pkg://al_cli.nix", "http://x"])
def test_a_configuration_folder_is_there(place):
    assert f"there is no configuration folder {place}" in refused(f"hydra.searchpath=[{place}]")


def test_a_long_name_is_cut_alike_for_all_seeds_of_an_arm():
    words = [
        f"training.{key}=1" for key in ("epochs", "iterations", "batch_size", "lr", "weight_decay", "patience", "ema")
    ]
    names = {name_with("m" * 60, words, seed).removesuffix(f"_s{seed}") for seed in (1, 9, 10, 12345)}
    [name] = names
    assert len(name) < 120 and name_with("m" * 60, words[1:], 1).removesuffix("_s1") not in names
