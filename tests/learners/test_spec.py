"""Model and training specs: what is refused, with what words, and that nothing here costs an import of torch."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from al_cli.errors import ConfigError
from al_cli.learners.classifier.training_spec import ClassifierTraining
from al_cli.learners.spec import ModelSpec
from al_cli.learners.training_spec import TrainingSpec
from al_cli.types import Signal

CONF = Path(__file__).parents[2] / "conf"
DETECTRON_MODELS = [
    "faster_rcnn_R50_C4_3x",
    "faster_rcnn_R50_FPN_3x",
    "faster_rcnn_R101_FPN_3x",
    "retinanet_R50_FPN_3x",
    "fcos_R50_FPN_1x",
    "tiny_faster_rcnn",
    "tiny_retinanet",
]


def read(path: str) -> dict:
    """The fields of a config file, which lie below its group's name where its package is global."""
    fields = yaml.safe_load((CONF / path).read_text())
    return fields.get(path.split("/")[0], fields)


@pytest.mark.parametrize("name", DETECTRON_MODELS)
def test_shipped_models_are_valid_and_named_like_their_file(name):
    spec = ModelSpec(**read(f"model/{name}.yaml")).check()
    assert spec.name == name
    assert spec.architecture == ModelSpec(name, spec.config).architecture, "the name alone gives another family"
    assert Signal.PROBS in spec.provides


def test_zoo_needs_a_config():
    with pytest.raises(ConfigError, match="names no Detectron2 config"):
        ModelSpec(**read("model/zoo.yaml")).check()
    with pytest.raises(ConfigError, match=r"model.config=COCO-Detection/"):
        ModelSpec(**{**read("model/zoo.yaml"), "config": None}).check()
    good = ModelSpec(**{**read("model/zoo.yaml"), "config": "COCO-Detection/retinanet_R_101_FPN_3x.yaml"}).check()
    assert good.architecture == "retinanet"


@pytest.mark.parametrize("file", sorted((CONF / "training").glob("*.yaml")), ids=lambda file: file.stem)
def test_shipped_trainings_are_valid(file):
    settings = read(f"training/{file.name}")
    kind = ClassifierTraining if "momentum" in settings else TrainingSpec
    assert kind(**settings).check().per_round(5) >= 1


def test_regimes_are_those_of_the_documents():
    ppal, thesis, lund = (TrainingSpec(**read(f"training/{name}.yaml")).check() for name in ("ppal", "thesis", "lund"))
    assert (ppal.data, ppal.init, ppal.duration, ppal.epochs) == ("cumulative", "reset", "iterations", 26)
    assert (thesis.data, thesis.init, thesis.lr) == ("new", "continue", 1e-4)
    assert thesis.per_round(5) == 3000
    split = TrainingSpec(**{**read("training/thesis.yaml"), "iterations_per": "run"})
    assert split.per_round(5) == 600, "the other reading: over one initial and four active rounds"
    assert (lund.data, lund.init, lund.duration, lund.patience) == ("cumulative", "reset", "early_stop", 3)
    assert lund.counts_epochs and (lund.val_every, lund.per_round(5)) == (1, 100)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"data": "al"}, "valid: cumulative, new, reselect"),
        ({"init": "resume"}, "valid: continue, join, reset"),
        ({"iterations_per": "rounds"}, "did you mean round?"),
        ({"optimizer": "adam"}, "did you mean adamw?"),
        ({"schedule": "cosine"}, "valid: constant, null, one_cycle, steps"),
        ({"keep_checkpoints": "none"}, "valid: all, last"),
        ({"iterations": 0}, "at least 1"),
        ({"iterations": 10.5}, "must be a count"),
        ({"iterations": True}, "must be a count"),
        ({"batch_size": 0}, "training.batch_size"),
        ({"val_every": -1}, "training.val_every"),
        ({"lr": 0}, "above 0"),
        ({"lr": "1e-4"}, "must be a number"),
        ({"lr": float("nan")}, "must be a number"),
        ({"weight_decay": -1e-4}, "0 or more"),
        ({"ema": 1.0}, "below 1"),
        ({"clip_gradients": 0}, "above 0"),
        ({"flip": "yes"}, "training.flip='yes'"),
        ({"flip": 1}, "training.flip=1"),
        ({"optimizer": "sgd"}, "needs a learning rate"),
        ({"duration": "epoch"}, "did you mean epochs?"),
        ({"duration": "epochs"}, "training.epochs=26"),
        ({"duration": "early_stop", "epochs": 9, "val_every": 1}, "training.patience=3"),
        ({"stop_on": "AP"}, "training.stop_on=AP would do nothing"),
        ({"stop_on": None}, "training.stop_on is null"),
        ({"duration": "early_stop", "epochs": 9, "patience": 2}, "training.val_every=1"),
        ({"duration": "early_stop", "epochs": 9, "patience": 2, "val_every": 250}, "measured once, after all 9 epochs"),
        ({"iterations": None}, "training.iterations=3000"),
        ({"patience": 0}, "training.patience"),
        ({"data": "reselect", "init": "continue"}, "training.init=reset"),
        ({"data": "reselect", "init": "join"}, "training.init=reset"),
        (
            {"init": "join", "duration": "early_stop", "epochs": 9, "patience": 2, "val_every": 1},
            "no round of it can stop",
        ),
        ({"schedule": "steps"}, "training.milestones=[8,11]"),
        ({"milestones": [8, 11]}, "add training.schedule=steps"),
        ({"milestones": [8, 11], "schedule": "constant"}, "add training.schedule=steps"),
        ({"milestones": [8, 8], "schedule": "steps"}, "counts that ascend"),
        ({"milestones": [8, 3], "schedule": "steps"}, "counts that ascend"),
        ({"milestones": [0, 3], "schedule": "steps"}, "counts that ascend"),
        ({"milestones": [0.5], "schedule": "steps"}, "counts that ascend"),
        ({"milestones": [], "schedule": "steps"}, "counts that ascend"),
        ({"milestones": 8, "schedule": "steps"}, "counts that ascend"),
        ({"shuffle": "no"}, "training.shuffle"),
    ],
)
def test_training_refuses(change, words):
    with pytest.raises(ConfigError) as error:
        TrainingSpec(**{"iterations": 10, **change}).check()
    assert words in str(error.value)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"config": "yolov8"}, "tiny_faster_rcnn, tiny_retinanet"),
        ({"weights": ""}, "valid: zoo, none"),
        ({"weights": "zoo"}, "nobody publishes"),
        ({"family": "yolo"}, "fcos, rcnn, retinanet"),
        ({"overrides": ["SOLVER.BASE_LR", 1]}, "model.overrides.SOLVER.BASE_LR=1e-4"),
    ],
)
def test_model_refuses(change, words):
    with pytest.raises(ConfigError) as error:
        ModelSpec(**{"name": "m", "config": "tiny_retinanet", "weights": "none", **change}).check()
    assert words in str(error.value)


def test_iterations_of_a_round():
    assert TrainingSpec(iterations=100).per_round(5) == 100
    assert TrainingSpec(iterations=103, iterations_per="run").per_round(5) == 20
    with pytest.raises(ConfigError, match="3 iterations cannot be split over 5 rounds"):
        TrainingSpec(iterations=3, iterations_per="run").per_round(5)


def test_importing_the_spec_leaves_torch_alone():
    code = "import sys, al_cli.learners.spec; sys.exit('torch' in sys.modules or 'detectron2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_milestones_lie_before_the_end_of_what_they_are_counted_over():
    steps = {"duration": "epochs", "epochs": 12, "schedule": "steps"}
    assert TrainingSpec(**steps, milestones=[8, 11]).check().per_round(5) == 12
    with pytest.raises(ConfigError, match="of 12 epochs is over at its milestone 12"):
        TrainingSpec(**steps, milestones=[8, 12]).check().per_round(5)
    joined = TrainingSpec(**steps, milestones=[40, 59], init="join").check()
    assert joined.per_round(5) == 12, "counted over the run"
    with pytest.raises(ConfigError, match="of 48 epochs is over at its milestone 59"):
        joined.per_round(4)
    with pytest.raises(ConfigError, match="of 20 iterations is over at its milestone 20"):
        TrainingSpec(100, iterations_per="run", schedule="steps", milestones=[20]).check().per_round(5)
