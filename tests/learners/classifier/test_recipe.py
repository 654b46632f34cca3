"""What a recipe comes out as, against what a training really does: its steps, and the rate of each."""

import re
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml

from al_cli.errors import ConfigError
from al_cli.experiment import compose, settings, without_val
from al_cli.experiment.effective import effective, training_in_words
from al_cli.learners.classifier.recipe import ClassifierRecipe
from al_cli.learners.classifier.training_spec import ClassifierTraining

CONF = Path(__file__).parents[3] / "conf" / "training"
RECIPES = ("isal_classification", "lund_classification", "fsdl", "tiny_cnn")


def experiment(*words):
    [config] = compose.compose_all([["dataset=digits_images", *words]])
    return settings.check(config)


@pytest.mark.parametrize(
    "spec",
    [
        {"iterations": 9, "schedule": "one_cycle"},
        {"duration": "epochs", "epochs": 5, "schedule": "steps", "milestones": [3, 4]},
        {"duration": "epochs", "epochs": 5, "schedule": "steps", "milestones": [0.8], "batch_size": 5},
        {"duration": "epochs", "epochs": 3, "steps_per_epoch": 4},
    ],
    ids=lambda spec: " ".join(map(str, spec.values())),
)
def test_steps_and_falls_are_those_of_a_training(learner, bars, monkeypatch, spec):
    """The rate that torch's optimizer has at each step, recorded."""
    rates = []
    step = torch.optim.SGD.step

    def spy(self, *given):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *given)

    one = learner(**spec)
    monkeypatch.setattr(torch.optim.SGD, "step", spy)
    checkpoint = one.fit(bars, val=None, seed=0, init=None)
    [course] = ClassifierRecipe(one.spec, one.training).courses([len(bars)], one.iterations)
    assert course.iterations == len(rates) == checkpoint.history[-1].iteration
    assert course.epochs == pytest.approx(checkpoint.epochs)
    assert course.highest == pytest.approx(max(rates)) and course.peak == rates.index(max(rates))
    falls = [number for number, (a, b) in enumerate(pairwise(rates), 1) if b < 0.999 * a]
    assert [number for number, _ in course.falls] == ([] if spec.get("schedule") == "one_cycle" else falls)


def test_isal_as_section_4_1_has_it():
    """1000 to 10 000 images of CIFAR10: 8 to 79 steps an epoch."""
    run = experiment("training=isal_classification", "initial=1000", "budget=1000", "rounds=9")
    found = effective(run, 50000)
    assert (found["batch_size"], found["lr"], found["momentum"], found["weight_decay"]) == (128, 0.1, 0.9, 5e-4)
    assert (found["optimizer"], found["flip"], found["crop_px"], found["image_size_train"]) == ("sgd", True, 4, None)
    assert found["iterations"][0] == 200 * 8 and found["iterations"][-1] == 200 * 79 and found["epochs"] == 200
    assert found["milestones_epochs"] == [160] and found["gamma"] == 0.1 and found["labeled_at_end"] == 10000
    assert training_in_words(run, 50000) == (
        "200 epochs, 128 images a step, rate 0.1, which falls tenfold after 160 epochs; images as they are"
    )


def test_lund_and_fsdl_in_words():
    lund = experiment("training=lund_classification", "dataset.val=20%", "model.image_size=32")
    assert training_in_words(lund, 1000) == (
        "at most 1000 epochs, 20 images a step, rate 1e-06 throughout, the best epoch's weights; images of 32 x 32 px"
    )
    fsdl = experiment("training=fsdl", "training.lr_finder=true", "dataset.val=20%")
    assert "a rate that each round finds" in training_in_words(fsdl, 1000) and effective(fsdl, 1000)["lr"] is None


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_name_every_setting_and_pass_the_checks(name):
    values = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert values.keys() == {field.name for field in fields(ClassifierTraining)}
    ClassifierTraining(**values).check()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["training.milestones=[0.8]"], "would do nothing without"),
        (["training.schedule=steps", "training.milestones=[0.8,5]"], "shares between 0 and 1"),
        (["training.schedule=steps", "training.milestones=[0.8,0.8]"], "shares between 0 and 1"),
        (["training.steps_per_epoch=9"], "counts steps"),
        (["training.weights=best"], "needs validation losses"),
        (
            ["training.weights=best", "training.val_every=1", "training.init=join"],
            "goes on from a round's last weights",
        ),
        (["training.stop_on=accuracy"], "would do nothing"),
        (["training.momentum=0.5"], "that of sgd"),
        (["training.weight_decay=null"], "no weight_decay of its own"),
        (["training.crop_px=0"], "must be a count"),
    ],
    ids=str,
)
def test_what_would_do_nothing_is_refused(words, says):
    with pytest.raises(ConfigError, match=says):
        experiment(*words)


BEST = "training.weights=best is the best by the validation loss.*add dataset.val=20%, or set training.weights=last"
EARLY = "early stopping goes by accuracy.*set training.duration=epochs training.weights=last"
LUND = "training=lund_classification"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["training=fsdl"], BEST),
        ([LUND, "training.stop_on=accuracy"], EARLY),
        ([LUND, "training.duration=epochs", "training.weights=last", "training.patience=null"], None),
    ],
)
def test_who_needs_validation_images(words, says):
    run = experiment(*words)
    if says is None:
        without_val.refuse_without_val(run)
    else:
        with pytest.raises(ConfigError) as caught:
            without_val.refuse_without_val(run)
        assert re.search(says, str(caught.value))


def test_shares_are_of_classifiers_alone():
    with pytest.raises(ConfigError, match="must be counts that ascend"):
        [config] = compose.compose_all([["training.schedule=steps", "training.milestones=[0.8]"]])
        settings.check(config)
    run = experiment("training.weights=best", "training.val_every=50", "training.stop_on=accuracy", "dataset.val=20%")
    assert run.training.keeps_best and run.training.stops_by == "accuracy"
