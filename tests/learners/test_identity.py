"""What changes a learner's numbers changes its identity, and what does not leaves it."""

import subprocess
import sys
from dataclasses import replace

import pytest

from al_cli.learners.classifier.spec import ClassifierSpec
from al_cli.learners.classifier.training_spec import ClassifierTraining
from al_cli.learners.identity import asking_identity, training_identity, versions
from al_cli.learners.spec import ModelSpec
from al_cli.learners.training_spec import TrainingSpec
from al_cli.types import Signal

MODEL = ModelSpec("tiny_faster_rcnn", "tiny_faster_rcnn", weights="none", family="rcnn")
TRAINING = TrainingSpec(iterations=10)


def identity(model=MODEL, training=TRAINING, *, classes=("a", "b"), iterations=10, trainings=5, needs=frozenset()):
    return training_identity(
        model, training, classes, iterations=iterations, trainings=trainings, device="cpu", needs=needs
    )


@pytest.mark.parametrize(
    "other",
    [
        {"model": replace(MODEL, dropout=0.2)},
        {"model": replace(MODEL, overrides={"SOLVER.BASE_LR": 1})},
        {"training": replace(TRAINING, lr=0.1)},
        {"training": replace(TRAINING, flip=False)},
        {"training": replace(TRAINING, shuffle=False)},
        {"training": replace(TRAINING, schedule="steps", milestones=[8])},
        {"training": replace(TRAINING, init="join")},
        {"classes": ("b", "a")},
        {"iterations": 11},
        {"needs": frozenset({Signal.PREDICTED_LOSS})},
    ],
    ids=str,
)
def test_what_changes_the_weights_is_in_it(other):
    assert identity(**other) != identity()


@pytest.mark.parametrize(
    "other",
    [
        {"model": replace(MODEL, name="mine")},
        {"model": replace(MODEL, dropout_passes=20)},
        {"model": replace(MODEL, influence={"damping": 1.0})},
        {"training": replace(TRAINING, keep_checkpoints="all")},
        {"training": replace(TRAINING, data="new", init="continue")},  # `fit` is given both
        {"needs": frozenset({Signal.PROBS})},
        {"trainings": 7},
        {"model": replace(MODEL, loss_prediction="shared")},
    ],
    ids=str,
)
def test_what_does_not_change_them_is_not(other):
    assert identity(**other) == identity()


def test_rounds_that_are_one_training_depend_on_their_number_where_the_rate_does():
    joined = replace(TRAINING, init="join")
    assert identity(training=joined) != identity(training=joined, trainings=7)
    level = replace(joined, schedule="constant")
    assert identity(training=level) == identity(training=level, trainings=7)


def test_how_losses_are_predicted_counts_where_they_are():
    needs = frozenset({Signal.PREDICTED_LOSS})
    assert identity(replace(MODEL, loss_prediction="shared"), needs=needs) != identity(needs=needs)


CLASSIFIER = ClassifierSpec("tiny_cnn", "tiny_cnn")
RECIPE = ClassifierTraining(iterations=10, batch_size=8, optimizer="sgd", lr=0.1, weight_decay=0.0, schedule="constant")


@pytest.mark.parametrize(
    "other",
    [
        {"model": replace(CLASSIFIER, normalize="none")},
        {"model": replace(CLASSIFIER, hidden=[8])},
        {"training": replace(RECIPE, momentum=0.5)},
        {"training": replace(RECIPE, crop_px=4)},
        {"training": replace(RECIPE, lr_finder=True)},
        {"training": replace(RECIPE, weights="best")},
        {"training": replace(RECIPE, steps_per_epoch=9)},
        {"training": replace(RECIPE, schedule="steps", milestones=[0.8])},
    ],
    ids=str,
)
def test_what_changes_the_weights_of_a_classifier_is_in_it(other):
    given = {"model": CLASSIFIER, "training": RECIPE}
    assert identity(**given | other) != identity(**given)
    assert identity(CLASSIFIER, replace(RECIPE, keep_checkpoints="all")) == identity(**given)
    assert asking_identity(replace(CLASSIFIER, normalize="none")) != asking_identity(CLASSIFIER)


def test_settings_of_asking_are_in_the_identity_of_answers():
    assert asking_identity(replace(MODEL, dropout_passes=20)) != asking_identity(MODEL)
    assert asking_identity(replace(MODEL, influence={"damping": 1.0})) != asking_identity(MODEL)


def test_other_starting_weights_of_the_same_name_are_other_weights(tmp_path):
    path = tmp_path / "weights.pth"
    model = replace(MODEL, weights=str(path))
    path.write_bytes(b"one")
    first = identity(model)
    path.write_bytes(b"two")
    assert identity(model) != first


def test_versions_name_what_computes():
    assert {"torch", "numpy", "python"} <= versions().keys()


@pytest.mark.parametrize(
    "variable", ["ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES"]
)
def test_what_picks_the_kernels_is_in_it(monkeypatch, variable):
    monkeypatch.delenv(variable, raising=False)
    before = identity()
    assert before["kernels"]["cpu"] and before["kernels"]["ATen"]
    monkeypatch.setenv(variable, "SSE41")
    assert identity() != before


def test_the_fake_needs_no_torch_to_know_its_kernels():
    code = "import sys; from al_cli.learners.identity import *; from al_cli.learners.spec import ModelSpec;"
    code += " kernels(ModelSpec('fake', None, family='fake'));"
    done = subprocess.run([sys.executable, "-c", code + "sys.exit('torch' in sys.modules)"])
    assert done.returncode == 0
