"""docs/documents.yaml is what the shipped sweeps compose to, and docs/documents.md and README say its counts.

Composed once for each arm that a row is about. A row about all arms looks at one of those that differ in their sampler alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from documents import FILE, Experiment, Setting, count_words, read, same
from documents_page import page

from al_cli.errors import NotGiven, suggest
from al_cli.experiment.effective import effective, expected_pool
from al_cli.experiment.job import Job
from al_cli.experiment.words import key_of
from al_cli.sweep.file import Arm, Sweep, read_sweep, shipped_names
from al_cli.sweep.plan import Asked, asked_of, jobs_of_arm

TABLE = read()
RUN = [one for one in TABLE.experiments if one.sweep]
READINGS = {
    one.id: [(setting.what, reading.words) for setting in one.settings for reading in setting.readings if reading.words]
    for one in RUN
}
OF_ARMS = (
    "sampler",
    "schedule",
    "ud_split",
    "seeds",
    "model.influence",
    "model.loss_prediction",
)  # change nothing else
OPTIONS = ("sampler.", "model.influence.", "model.loss_prediction", "dataset.val", "dataset.test", "seeds.", "store")
ASKED = "effective.seeds", "effective.arms"  # of the study, not of a run
INFLUENCE = "effective.influence."
# What a classifier's settings are where no row is about them
PLAIN: dict[str, Any] = {
    "budget_unit": "images",
    "evaluate": "test",
    "task": "classification",
    "ud_split": None,
    **{f"seeds.{name}": None for name in ("initial", "training", "sampling")},
    "stop.metric": None,
    "stop.at": None,
    "measure_loss": False,
    "measure_training": False,
    **dict.fromkeys(("reference", "training.lr_finder", "training.amp", "model.freeze"), False),
    **{f"training.{name}": None for name in ("iterations", "steps_per_epoch", "patience", "ema", "clip_gradients")},
    "training.iterations_per": "round",
    "training.milestones": None,
    "training.momentum": 0.9,  # of sgd, and adamw has none
    "training.stop_on": "loss",
    "training.shuffle": True,
    "model.hidden": [],
    "model.dropout": None,
    "model.image_size": None,
    "model.outputs": "new",
    "model.dropout_passes": 10,
    "model.loss_prediction": "shared",
    "model.loss_prediction_share": 0.6,
    **{f"dataset.{name}": None for name in ("val", "test", "group", "repeat", "noise")},
    "dataset.split_seed": 0,
    "dataset.bad_rows": "refuse",
    "dataset.images": 10000,
}
NO_NUMBER = {"dataset.name", "dataset.root", "dataset.v2", "dataset.r", "dataset.a", "model.name", "model.family"}
NO_NUMBER |= {"training.keep_checkpoints"}
SETTINGS = (
    "dataset",
    "model",
    "training",
    "seeds",
    "stop",
    "initial",
    "budget",
    "budget_unit",
    "ud_split",
    "reference",
)
SETTINGS += ("evaluate", "task", "measure_loss", "measure_training")
SAME_AS = {"effective.milestones_epochs": "training.milestones", "effective.labeled_at_end": "rounds"}
_sweeps: dict[str, Sweep] = {}
_jobs: dict[frozenset[str], Job] = {}
_effective: dict[str, dict[str, Any]] = {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What stands for data and weights: planning reads neither."""
    return tmp_path_factory.mktemp("data")


def asked(one: Experiment, folder: Path, *more: str) -> Asked:
    """The arms of this experiment's sweep with its words, and with what a user must give."""
    if one.sweep not in _sweeps:
        _sweeps[one.sweep] = read_sweep(one.sweep)
    return asked_of(_sweeps[one.sweep], [*one.words, *more, f"dataset.root={folder}"])


def job_of(arm: Arm, asked: Asked, folder: Path) -> Job:
    """The first run of this arm; anything that has no default is a path here."""
    words = frozenset(arm.overrides)
    if words not in _jobs:
        try:
            [_jobs[words]] = jobs_of_arm(arm, asked.seeds[:1], asked.known)
        except NotGiven as error:
            given = f"{error.what.partition(' ')[0]}={folder}"
            assert given not in words, error
            _jobs[words] = job_of(Arm(arm.name, (*arm.overrides, given)), asked, folder)
    return _jobs[words]


def looked_at(setting: Setting, arms: Iterable[Arm]) -> list[Arm]:
    """The arms that this row is about: its own, or all; of those that cannot differ in it the first."""

    def matters(key: str) -> bool:
        part = next((part for part in OF_ARMS if key.startswith(part)), "")
        return not part or setting.key.startswith(part)

    if setting.arms:
        return [arm for arm in arms if arm.name in setting.arms]
    kinds: dict[frozenset[str], Arm] = {}
    for arm in arms:
        kinds.setdefault(frozenset(word for word in arm.overrides if matters(key_of(word))), arm)
    return list(kinds.values())


def value_in(job: Job, key: str, one: Experiment) -> Any:
    """The composed or effective value of a dotted key. LookupError says what there is instead."""
    found: Any
    if key.startswith(INFLUENCE):  # with what the model's kind makes of settings that are left out
        found = asdict(job.experiment.model.influences)
        key = key.removeprefix(INFLUENCE)
    elif key.startswith("effective."):
        config = job.config
        about = [
            config[name] for name in ("model", "training", "initial", "budget", "budget_unit", "rounds", "reference")
        ]
        pool = expected_pool(config["dataset"], one.pool or 10**6)
        name = repr((about, config["dataset"].get("val"), pool))
        if name not in _effective:
            _effective[name] = effective(job.experiment, pool)
        found = _effective[name]
        key = key.removeprefix("effective.")
    else:
        found = job.config
    for part in key.split("."):
        if isinstance(found, Mapping):
            if part not in found:
                raise LookupError(f"there is no {part}: {suggest(part, map(str, found))}")
            found = found[part]
        elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        else:
            raise LookupError(f"there is no {part} in {found!r}")
    return found


def wrong_in(setting: Setting, one: Experiment, words: Asked, folder: Path) -> list[str]:
    """What is not as this row says it."""
    if setting.key in ASKED:
        value = list(words.seeds) if setting.key == ASKED[0] else [arm.name for arm in words.arms]
        wanted = len(value) if isinstance(setting.here, int) else value
        return (
            [] if same(setting.here, wanted) else [f"{setting.what}: {setting.key} is {wanted!r}, not {setting.here!r}"]
        )
    names = [arm.name for arm in words.runs]
    if missing := [name for name in setting.arms if name not in names]:
        return [f"{setting.what}: {one.sweep} has no arm {missing[0]}: {suggest(missing[0], names)}"]
    wrong: dict[str, list[str]] = {}  # of which arms each sentence is true
    for arm in looked_at(setting, words.runs):
        try:
            value = value_in(job_of(arm, words, folder), setting.key, one)
        except LookupError as error:
            wrong.setdefault(f"{setting.key}: {error.args[0]}", []).append(arm.name)
            continue
        if not same(setting.here, value):
            wrong.setdefault(f"{setting.key} is {value!r}, not {setting.here!r}", []).append(arm.name)
    return [f"{setting.what} (arm {', '.join(names)}): {sentence}" for sentence, names in wrong.items()]


def flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting below these, with its dotted key."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


@pytest.mark.parametrize("one", RUN, ids=lambda one: one.id)
def test_what_is_here_is_what_the_sweep_composes_to(one, folder):
    words = asked(one, folder)
    wrong = [line for setting in one.settings if setting.key for line in wrong_in(setting, one, words, folder)]
    assert not wrong, "\n".join([f"{one.id}, {one.sweep}:", *wrong])


@pytest.mark.parametrize(
    ("one", "more"),
    [(one, more) for one in RUN for more in one.also],
    ids=lambda value: value[-1] if isinstance(value, tuple) else value.id,
)
def test_on_its_other_data_sets_an_experiment_differs_in_the_data_alone(one, more, folder):
    words, keys = asked(one, folder, *more), [key_of(word) for word in more]
    assert {key.partition(".")[0] for key in keys} == {"dataset", "study"}
    rows = [setting for setting in one.settings if setting.key and not setting.key.startswith("dataset.")]
    wrong = [line for setting in rows for line in wrong_in(setting, one, words, folder)]
    assert not wrong, "\n".join([f"{one.id}, {one.sweep} {' '.join(more)}:", *wrong])


@pytest.mark.parametrize("sweep", sorted({one.sweep for one in RUN}))
def test_an_option_that_an_arm_sets_has_a_row(sweep, folder):
    """Nothing would notice another value of one that has none. What others come out as is in effective.*"""
    own = [one for one in RUN if one.sweep == sweep]
    rows = {(setting.key, arm) for one in own for setting in one.settings for arm in setting.arms or ("",)}
    runs = asked(own[0], folder).runs
    set_there = {(key_of(word).lstrip("+"), arm.name) for arm in runs for word in arm.overrides}
    looked_for = {(key, arm) for key, arm in set_there if key.startswith(OPTIONS)}
    assert not [(key, arm) for key, arm in looked_for if not {(key, arm), (key, "")} & rows]


@pytest.mark.parametrize("one", [one for one in RUN if one.task == "classification"], ids=lambda one: one.id)
def test_what_no_row_is_about_is_off(one, folder):
    """So whatever a sweep or a recipe sets has a row: a row of an experiment of the same sweep will do."""
    words = asked(one, folder)
    rows = [setting for other in RUN if other.sweep == one.sweep for setting in other.settings if setting.key]
    wrong: dict[str, list[str]] = {}
    for arm in words.runs:
        about = {setting.key for setting in rows if not setting.arms or arm.name in setting.arms}
        about |= {SAME_AS.get(key, key.replace("effective.", "training.")) for key in about}
        config = job_of(arm, words, folder).config
        does_nothing = set(NO_NUMBER)
        if config["training"]["duration"] != "early_stop":
            does_nothing.add("training.patience")
        untrained = config["initial"] == 0 and config["rounds"] == 0  # the picks are there before the only training
        for key, value in flat({part: config[part] for part in SETTINGS if not (untrained and part == "training")}):
            if key in does_nothing or any(key == other or key.startswith(f"{other}.") for other in about):
                continue
            if key not in PLAIN or not same(PLAIN[key], value):
                wrong.setdefault(f"{key} is {value!r}, and no row is about it", []).append(arm.name)
    assert not wrong, "\n".join(f"{sentence} (arm {', '.join(arms)})" for sentence, arms in wrong.items())


@pytest.mark.parametrize("one", [one for one in RUN if READINGS[one.id]], ids=lambda one: one.id)
def test_other_readings_can_be_had_and_are_others(one, folder):
    """Those of an experiment are composed together, for the arm that most of them change; the others for theirs."""
    default = asked(one, folder)
    before = {frozenset(arm.overrides) for arm in default.arms}
    changed: dict[tuple[str, ...], set[str]] = {}
    for what, words in READINGS[one.id]:
        other = asked(one, folder, *words)
        names = {arm.name for arm in other.arms if frozenset(arm.overrides) not in before}
        assert names or other.seeds != default.seeds, f"{what}: {' '.join(words)} changes nothing"
        if names:
            changed[words] = names
    every = asked(one, folder, *(word for words in changed for word in words))
    left = list(changed.values())
    while left:
        arm = max(every.arms, key=lambda arm: sum(arm.name in names for names in left))
        job_of(arm, every, folder)
        left = [names for names in left if arm.name not in names]


def test_every_shipped_sweep_is_in_the_table_once_as_a_document_s_or_as_ours():
    documents = {one.sweep for one in RUN}
    assert documents | set(TABLE.ours) == set(shipped_names())
    assert not documents & set(TABLE.ours)


def test_the_page_is_made_from_the_table_and_begins_with_the_counts():
    text = FILE.with_suffix(".md").read_text(encoding="utf-8")
    assert text == page(TABLE), "make docs"
    counts = count_words(TABLE)
    assert text.splitlines()[0] == f"# {counts}"
    numbers = [int(number) for number in re.findall(r"\d+", counts)]
    assert numbers[0] == sum(numbers[1:4]) and numbers[4] == sum(numbers[5:8])


def test_the_readme_says_the_counts():
    readme = " ".join((FILE.parent.parent / "README.md").read_text(encoding="utf-8").split())
    assert count_words(TABLE) in readme


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"key": "effective.lr", "here": 3}, "rate (arm random): effective.lr is 0.01, not 3"),
        ({"key": "training.epochs", "here": None}, "rate (arm random): training.epochs is 12, not None"),
        (
            {"key": "training.epoch", "here": 12},
            "rate (arm random): training.epoch: there is no epoch: did you mean epochs?",
        ),
        (
            {"key": "sampler.stages.7.keep", "arms": ("coreset",), "here": 1},
            "rate (arm coreset): sampler.stages.7.keep: there is no 7 in",
        ),
        (
            {"key": "sampler.name", "arms": ("random", "corset"), "here": 1},
            "rate: isal_voc has no arm corset: did you mean coreset?",
        ),
        ({"key": "effective.seeds", "here": [0]}, "rate: effective.seeds is [0, 1, 2], not [0]"),
        ({"key": "effective.seeds", "here": 2}, "rate: effective.seeds is 3, not 2"),
        (
            {"key": "effective.arms", "here": ["random"]},
            "rate: effective.arms is ['random', 'influence', 'coreset'], not ['random']",
        ),
        (
            {"key": "sampler.name", "arms": ("influence", "coreset"), "here": "influence"},
            "rate (arm coreset): sampler.name is 'coreset', not 'influence'",
        ),
        ({"key": "effective.labeled_at_end", "here": 1}, "rate (arm random): effective.labeled_at_end is 600, not 1"),
    ],
    ids=lambda value: value["key"] if isinstance(value, dict) else None,
)
def test_what_is_wrong_is_found(wrong, sentence, folder):
    """On three arms of a shipped sweep, for a pool of 600 images."""
    words = ("arms=[random,coreset,influence]", "training.duration=epochs", "training.epochs=12", "training.lr=0.01")
    words += ("initial=300", "budget=100", "rounds=3", "seeds=[0,1,2]")
    one = Experiment("X", "isal", "", "", "detection", "isal_voc", words, 600)
    [found] = wrong_in(Setting("rate", "", "explicit", 1, **wrong), one, asked(one, folder), folder)
    assert found.startswith(sentence)
