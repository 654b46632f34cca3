"""Nothing runs that is not the user's. Each attack would leave a canary: a file that must not be there afterwards.

What a person types and the configuration folders that they name may name functions of theirs. A study's file, a run folder, a
dataset, weights and a store may come from anybody.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import EpsImagePlugin

from al_cli.cli.main import main
from al_cli.errors import AlError
from al_cli.experiment.known import known_from
from al_cli.lookup import Known, NotKnown, find
from al_cli.samplers.catalog import read_stage

SCORES = ("score", "selection")
HOME = "al_cli.samplers"
CANARY = "open({canary!r}, 'w').close()\n"
DECLARED = """
from al_cli.samplers.base import score, selection
from al_cli.tasks import Cost, Metric, Task

@score(needs=frozenset(), family="mine", source="me")
def fine(query):
    return query.candidates.counts.astype(float)

def bare(query):
    return None

TASK = Task("t", (Metric("m"),), (Cost("images"),), lambda *_: None)
"""
TOP = {"_target_": "al_cli.samplers.top", "_partial_": True}


@pytest.fixture
def canary(al):
    """The file that an attack leaves: modules in the current folder, which Python finds, write it when they are imported."""
    path = al.cwd / "canary"
    for name in ("planted", "bare"):
        (al.cwd / f"{name}.py").write_text(
            CANARY.format(canary=str(path)) + (DECLARED if name == "planted" else "x = 1\n")
        )
    (al.cwd / "package").mkdir()
    (al.cwd / "package/__init__.py").write_text(CANARY.format(canary=str(path)))
    (al.cwd / "package/deep.py").write_text(DECLARED)
    yield path
    for name in ("planted", "bare", "package", "package.deep"):
        sys.modules.pop(name, None)


@pytest.fixture(autouse=True)
def importable(request, monkeypatch):
    if "al" in request.fixturenames:
        monkeypatch.syspath_prepend(str(request.getfixturevalue("al").cwd))


def stages(target: str, **options: object) -> str:
    """An override that makes a sampler of one score."""
    score = {"_target_": target, "_partial_": True, **options}
    return "sampler.stages=" + json.dumps([{"score": score, "select": TOP, "keep": "budget"}]).replace('"', "")


# ---- whatever is typed: a function that was not made for al is neither called nor imported

UNMARKED = [
    ("os.mknod", {"path": "CANARY"}),
    ("shutil.copy", {"src": "/etc/hostname", "dst": "CANARY"}),
    ("pathlib.Path.touch", {"self": "CANARY"}),
    ("al_cli.system.write_atomic", {"path": "CANARY", "content": "x"}),
    ("al_cli.samplers.base.os.mknod", {"path": "CANARY"}),
    ("al_cli.samplers.sys", {}),
    ("al_cli.cli.__main__.main", {}),
    ("builtins.open", {"file": "CANARY", "mode": "w"}),
    ("antigravity.webbrowser", {}),
    ("this.s", {}),
    ("planted.bare", {}),
    ("planted.TASK.evaluate", {}),
    ("bare.x", {}),
    ("package.x", {}),
    ("package.deep.bare", {}),
]


@pytest.mark.parametrize(("target", "options"), UNMARKED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_name_without_our_mark_makes_no_stage(canary, target, options):
    before = set(sys.modules)
    known = known_from([stages(target)])
    for partial in (True, False):
        score = {"_target_": target, "_partial_": partial, **options}
        with pytest.raises(AlError):
            read_stage({"score": score, "select": TOP, "keep": "budget"}, known)
    assert not canary.exists()
    assert not {"antigravity", "this", "bare", "package", "planted"} & (set(sys.modules) - before)


WHOLE = {"os.mknod", "al_cli.samplers.base.os.mknod", "planted.bare"}  # the others with -m slow


@pytest.mark.parametrize(
    ("target", "options"),
    [pytest.param(*case, marks=() if case[0] in WHOLE else pytest.mark.slow, id=case[0]) for case in UNMARKED],
)
def test_a_typed_name_without_our_mark_is_not_imported(al, fake, canary, target, options):
    before = set(sys.modules)
    options = {key: str(canary) if value == "CANARY" else value for key, value in options.items()}
    for more in ({}, {"_partial_": False}):
        done = al(*fake, stages(target, **(options | more)), code=2)
        assert "stage 1 cannot be built" in done.stderr
    assert not canary.exists()
    assert not {"antigravity", "this", "bare", "package", "planted"} & (set(sys.modules) - before)


@pytest.mark.parametrize(
    "stage",
    [
        {"_target_": "planted.fine"},
        {"score": {"_target_": "al_cli.samplers.entropy", "aggregate": {"_target_": "bare.x"}}, "select": TOP},
        {"score": {"_target_": "al_cli.samplers.entropy", "_args_": [{"_target_": "bare.x"}]}, "select": TOP},
        {"score": {"_target_": "al_cli.samplers.entropy", "_convert_": "all"}, "select": TOP},
        {"select": TOP, "keep": {"_target_": "bare.x"}},
        {"select": TOP, "nonsense": 1},
        7,
    ],
    ids=str,
)
def test_a_stage_holds_functions_and_their_options_and_nothing_else(al, fake, canary, stage):
    al(*fake, f"sampler.stages={json.dumps([stage])}".replace('"', ""), code=2)
    assert not canary.exists()


# ---- what a person names is theirs


def test_what_a_person_types_or_has_in_a_folder_that_they_name_may_be_their_own(al, fake, canary):
    al(*fake, "rounds=1", stages("planted.fine"), "--dry-run")
    assert canary.exists()
    (al.cwd / "ext/sampler").mkdir(parents=True)
    score = {"_target_": "package.deep.fine", "_partial_": True}
    sampler = {"name": "mine", "stages": [{"score": score, "select": TOP, "keep": "budget"}]}
    (al.cwd / "ext/sampler/mine.yaml").write_text(json.dumps(sampler))
    al(*fake, "rounds=1", f"hydra.searchpath=[file://{al.cwd}/ext]", "sampler=mine", "--dry-run")


@pytest.mark.parametrize(
    "source",
    [
        "from al_cli.samplers import base\n@base.score(needs=None, family='', source='')\ndef f(query): ...\n",
        "import al_cli.samplers.base as b\n@b.selection(family='', source='')\nclass f: ...\n",
        "from al_cli.samplers.base import score as mark\ntry:\n    @mark(needs=None, family='', source='')\n"
        "    def f(query): ...\nexcept ImportError: pass\n",
        "from functools import partial\nfrom al_cli.samplers import entropy\nf = partial(entropy, aggregate='max')\n",
        "from al_cli.samplers import entropy as f\n",
        "from planted import fine as f\n",
    ],
)
def test_the_ways_to_write_a_function_for_al(al, canary, source):
    (al.cwd / "written.py").write_text(source)
    assert callable(find("written.f", SCORES, HOME, Known(names=frozenset({"written.f"}))))
    del sys.modules["written"]
    with pytest.raises(NotKnown, match="neither you nor a configuration folder of yours names it"):
        find("written.f", SCORES, HOME)
    assert "written" not in sys.modules


def test_a_function_of_somebody_elses_decorator_is_not_ours(al, canary):
    (al.cwd / "written.py").write_text(
        f"from bare import score\n@score()\ndef f(): ...\n{CANARY.format(canary=str(canary))}"
    )
    with pytest.raises(NotKnown, match="not made with score or selection of al_cli"):
        find("written.f", SCORES, HOME, Known(names=frozenset({"written.f"})))
    assert not canary.exists()


# ---- a study's file may be somebody else's


def sweep(al, fake, base: dict, arm: dict, *words: str, code: int = 2):
    given = dict(word.split("=", 1) for word in fake[1:])
    study = {
        "base": {**given, "plots": False, "rounds": 1, **base},
        "arms": [{"name": "a", "sampler": "entropy", **arm}],
    }
    (al.cwd / "theirs.yaml").write_text(yaml.safe_dump(study))
    return al("sweep", "theirs.yaml", "--dry-run", *words, code=code)


def scored(target: str) -> dict:
    return {"sampler.stages": [{"score": {"_target_": target, "_partial_": True}, "select": TOP, "keep": "budget"}]}


@pytest.mark.parametrize(
    ("base", "arm"),
    [
        ({}, scored("planted.fine")),
        ({}, scored("package.deep.fine")),
        ({}, scored("os.mknod")),
        ({}, {"sampler": "modal", "sampler.strategy": "planted.bare"}),
        ({"task": "planted.TASK"}, {}),
        ({}, {"task": "planted.TASK"}),
        ({"hydra.searchpath": ["pkg://package"]}, {}),
        ({"+hydra.searchpath": ["file:///tmp"]}, {}),
        ({}, {"hydra": {"searchpath": ["pkg://package"]}}),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "more", [({}, {}), pytest.param(({"study": "s"}, {"training": "tiny"}), marks=pytest.mark.slow)]
)
def test_a_studys_file_names_nothing_but_what_is_known(al, fake, canary, base, arm, more):
    sweep(al, fake, base | more[0], arm | more[1])
    assert not canary.exists()


@pytest.mark.parametrize("key", ["hydra.searchpath", "+hydra.searchpath", "hydra"])
def test_neither_does_one_in_hydras_own_form(al, canary, key):
    value = "{searchpath: ['pkg://package']}" if key == "hydra" else "['pkg://package']"
    params = {key: value, "model": "fake", "sampler": "entropy,random"}
    (al.cwd / "theirs.yaml").write_text(yaml.safe_dump({"hydra": {"sweeper": {"params": params}}}))
    al("sweep", "theirs.yaml", "--dry-run", code=2)
    assert not canary.exists()


def test_a_claim_of_a_studys_file_imports_no_task(al, fake, canary):
    study = {"base": {"task": "planted.TASK"}, "arms": [{"name": "a", "sampler": "entropy"}], "claim": {"arm": "a"}}
    (al.cwd / "theirs.yaml").write_text(yaml.safe_dump(study))
    said = al("sweep", "theirs.yaml", "--dry-run", code=2).stderr
    assert "if you trust its code, type the setting with planted.TASK yourself" in said
    assert not canary.exists()
    assert "the claim does not" in al("sweep", "theirs.yaml", "--dry-run", "task=planted.TASK", code=2).stderr
    assert canary.exists()  # as the sentence said


def test_modules_next_to_the_users_conf_may_be_named_by_a_study_and_deeper_ones_may_not(al, fake, canary):
    (al.cwd / "conf").mkdir()
    sweep(al, fake, {}, scored("package.deep.fine"))
    assert not canary.exists()
    sweep(
        al, fake, {}, {"sampler": "modal", "sampler.strategy": "bare.x"}
    )  # it carries no mark, so nobody vouches for it
    assert not canary.exists()
    sweep(al, fake, {}, scored("planted.fine"), code=0)
    assert canary.exists()


# ---- a run folder may be somebody else's


@pytest.fixture(scope="module")
def finished(yolo_root, tmp_path_factory):
    """A finished run that takes half a second."""
    outputs = tmp_path_factory.mktemp("finished")
    words = ["dataset=yolo", f"dataset.root={yolo_root}", "model=fake", "plots=false", "rounds=1", "store=false"]
    assert main(["run", *words, "study=s", "run_name=r", "sampler=random", f"outputs={outputs}"]) == 0
    return outputs


@pytest.fixture
def theirs(al, canary, finished):
    """Puts somebody else's run into the outputs, its configuration changed."""
    run = shutil.copytree(finished, al.cwd / "outputs") / "s/r"

    def plant(**changes: object) -> Path:
        config = yaml.safe_load((run / "config.yaml").read_text())
        for key, value in changes.items():
            group, _, name = key.partition("__")
            config[group] = config[group] | {name: value} if name else value
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        return run

    return plant


def read(al, run: Path, *verbs: str) -> None:
    """What reads a run, whatever it says: it works, or one sentence says why not."""
    weights = str(run / "round_01/checkpoint.pth")
    more = {
        "ls": ["ls"],
        "verify": ["verify", run],
        "show": ["show", run],
        "checkpoint": ["show", run, "--checkpoint", weights],
        "text": ["report", run.parent, "--format", "md"],
        "report": ["report", run.parent],
        "plan": ["replay", run, "--dry-run"],
        "replay": ["replay", run, "plots=false"],
    }
    for verb in verbs:
        try:
            al(*more[verb])
        except AssertionError as error:
            assert str(error).startswith(("exit 2\n", "exit 1\n") if verb == "verify" else "exit 2\n"), error


@pytest.mark.parametrize(
    "changes",
    [
        {"sampler__stages": [{"score": {"_target_": "planted.fine"}, "select": TOP}]},
        {"sampler__stages": [{"select": {"_target_": "os.mknod", "path": "canary"}}]},
        {"sampler__stages": [{"select": {"_target_": "al_cli.samplers.modal", "strategy": {"_target_": "bare.x"}}}]},
        {"task": "planted.TASK"},
        {"task": "package.deep.TASK", "hydra": {"searchpath": ["pkg://package"]}},
        {"dataset___target_": "planted.fine", "model__overrides": {"_target_": "planted.fine"}},
    ],
    ids=str,
)
def test_nothing_that_a_run_folder_names_is_imported(al, canary, theirs, changes):
    read(al, theirs(**changes), "ls", "checkpoint", "plan", "verify", *(["text"] if "task" in changes else []))
    assert not canary.exists()


@pytest.mark.parametrize("key", ["dataset__name", "model__weights"])
def test_a_run_folder_reads_nothing_of_this_machines_environment(al, theirs, monkeypatch, key):
    monkeypatch.setenv("TOKEN_OF_MINE", "12345")
    run = theirs(**{key: "${oc.env:TOKEN_OF_MINE}"})
    weights = run / "round_01/checkpoint.pth"
    for words in (("replay", run), ("replay", run, "--dry-run"), ("show", run, "--checkpoint", weights)):
        said = al(*words, code=2).stderr
        assert "holds ${...}, which is not read from a run" in said and "12345" not in said
    assert not (al.cwd / "outputs/s_replay").exists()


@pytest.mark.slow
def test_a_page_and_a_replay_import_nothing_either(al, canary, theirs):
    run = theirs(sampler__stages=[{"select": {"_target_": "planted.fine"}}], tracking="planted.fine")
    read(al, run, "show", "text", "report", "replay")
    assert not canary.exists() and (al.cwd / "outputs/s_replay").is_dir()


# ---- a dataset may be somebody else's

EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 32 32
%%EndComments
(CANARY) (w) file closefile
showpage
"""


def test_no_image_of_a_dataset_starts_a_program(al, yolo_root, monkeypatch):
    """Pillow would give an EPS file to Ghostscript, whatever the file is called; here any Ghostscript leaves the canary."""
    root = shutil.copytree(yolo_root, al.cwd / "data")
    image = next((root / "images/train").iterdir())
    image.write_bytes(EPS.replace(b"CANARY", str(al.cwd / "canary").encode()))
    program = al.cwd / "bin/gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {al.cwd}/canary\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # else what Pillow found before is what it starts
    assert image.name in al("data", root, "--deep", code=2).stderr
    assert not (al.cwd / "canary").exists()


@pytest.mark.parametrize(
    "text", ["names: !!python/object/apply:os.mknod [CANARY]", "names: [a]\ndownload: touch CANARY"]
)
def test_no_tag_and_no_command_of_a_data_yaml_runs(al, yolo_root, text):
    root = shutil.copytree(yolo_root, al.cwd / "data")
    yaml_file = root / "data.yaml"
    yaml_file.write_text(f"train: images/train\nval: images/val\n{text}\n".replace("CANARY", str(al.cwd / "canary")))
    done = al("data", root, code=2)
    assert done.stderr.startswith("al: ") and not (al.cwd / "canary").exists()


@pytest.mark.parametrize("name", ["config.yaml", "theirs.yaml"])
def test_no_tag_in_yaml_of_a_run_or_a_study_runs(al, theirs, canary, name):
    tag = f"sampler: !!python/object/apply:os.mknod [{canary}]\n"
    if name == "theirs.yaml":
        (al.cwd / name).write_text(f"base: {{}}\narms: [{{name: a, {tag.strip()}}}]\n")
        al("sweep", name, "--dry-run", code=2)
    else:
        run = theirs()
        (run / name).write_text((run / name).read_text() + tag)
        read(al, run, "ls", "checkpoint", "plan", "verify")
    assert not canary.exists()


def test_no_pickle_in_an_npz_of_a_run_is_loaded(al, theirs, canary):
    class Planted:
        def __reduce__(self):
            return Path.touch, (canary,)

    run = theirs()
    table = run / "round_01/predictions.npz"
    with np.load(table) as content:
        arrays = dict(content)
    np.savez(table, **arrays | {"scores": np.array([Planted()], dtype=object)})
    read(al, run, "show", "verify", "plan")
    assert not canary.exists()
