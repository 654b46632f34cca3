"""`training.schedule=steps` and the place of a round in a longer training: the rate at each step, against counting by hand."""

import pytest
import torch
from torch import nn

from al_cli.datasets.yolo import load_yolo
from al_cli.errors import ConfigError
from al_cli.learners.detectron import learner as learner_module
from al_cli.learners.detectron.learner import DetectronLearner
from al_cli.learners.detectron.model.zoo import open_config
from al_cli.learners.detectron.training.solver import make_optimizer, make_schedule, numbers
from al_cli.learners.pytorch.schedule import Stretch
from al_cli.learners.spec import ModelSpec
from al_cli.learners.training_spec import TrainingSpec
from al_cli.types import LossPoint

CPU = torch.device("cpu")
FPN = ModelSpec("fpn", "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml", "none")
FCOS = ModelSpec("fcos", "COCO-Detection/fcos_R_50_FPN_1x.py", "none")
TINY = ModelSpec("tiny", "tiny_retinanet", "none")
ISAL = TrainingSpec(duration="epochs", epochs=12, schedule="steps", milestones=[8, 11], batch_size=4, lr=0.01)


def stepped(optimizer, schedule, iterations: int) -> list[set[float]]:
    """The rates of all weights at each step."""
    seen = []
    for _ in range(iterations):
        seen.append({group["lr"] for group in optimizer.param_groups})
        optimizer.step()
        schedule.step()
    return seen


def rates(model: ModelSpec, spec: TrainingSpec, iterations: int, **place) -> list[float]:
    """The rate at each step, the same for all weights, as the optimizer of this recipe has it."""
    config = open_config(model, 3, CPU)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    optimizer = make_optimizer(config, spec, numbers(config, spec), network)
    seen = stepped(optimizer, make_schedule(config, spec, optimizer, iterations, **place), iterations)
    assert all(len(of_step) == 1 for of_step in seen)
    return [rate for of_step in seen for rate in of_step]


@pytest.mark.parametrize("images", [3, 9])
@pytest.mark.parametrize("optimizer", [None, "sgd", "adamw"])
def test_the_rate_falls_at_the_milestones_of_every_round(yolo_root, monkeypatch, images, optimizer):
    """12 epochs with [8, 11], as `fit` trains them: the drops are exactly 8 and 11 times ceil(images / 4) steps after the
    start, whatever the size of the round."""
    train = load_yolo(yolo_root).train
    spec = ISAL if optimizer is None else TrainingSpec(**{**vars(ISAL), "optimizer": optimizer})
    one = DetectronLearner(TINY, spec, train.class_names, iterations=spec.per_round(3), device="cpu")
    taken = []

    def no_training(model, batches, optimizer, schedule, *, iterations, **options):
        taken.extend(stepped(optimizer, schedule, iterations))
        return (LossPoint(iterations, 0.0, None),)

    monkeypatch.setattr(learner_module, "train_model", no_training)
    one.fit(train.select(train.ids[:images]), val=None, seed=0, init=None)
    unit = {3: 1, 9: 3}[images]
    warm = int(12 * unit * 0.1) + 1
    assert all(max(rate) < 0.01 for rate in taken[: warm - 1])
    expected = [0.01] * (8 * unit - warm) + [0.001] * 3 * unit + [0.0001] * unit
    assert [max(rate) for rate in taken[warm:]] == pytest.approx(expected)
    assert len(taken) == 12 * unit


@pytest.mark.parametrize("model", [FPN, FCOS], ids=["yacs", "lazy"])
@pytest.mark.parametrize("optimizer", [None, "sgd"])
def test_zoo_models_fall_there_too_and_warm_up_as_their_own_recipe_does(model, optimizer):
    """Both recipes warm up over 1000 steps from a thousandth (FCOS and Faster R-CNN: model zoo); a tenth where shorter."""
    spec = TrainingSpec(**{**vars(ISAL), "optimizer": optimizer})
    short = rates(model, spec, 36, unit=3)
    assert short[4:] == pytest.approx([0.01] * 20 + [0.001] * 9 + [0.0001] * 3)
    assert short[0] == pytest.approx(1e-5) and short[:4] == sorted(set(short[:4]))
    config = open_config(model, 3, CPU)
    multiplier = make_schedule(
        config, spec, torch.optim.SGD([nn.Parameter(torch.zeros(1))]), 15000, unit=1250
    ).lr_lambdas
    at = [multiplier[0](step) for step in (0, 500, 999, 1000, 9999, 10000, 13749, 13750, 14999)]
    assert at == pytest.approx([0.001, 0.5005, 0.999001, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_warm_up_that_the_user_gives_stays_and_what_steps_replace_is_refused():
    none = ModelSpec("m", FPN.config, "none", {"SOLVER.WARMUP_ITERS": 0})
    assert rates(none, ISAL, 12) == pytest.approx([0.01] * 8 + [0.001] * 3 + [0.0001])
    half = ModelSpec("m", FCOS.config, "none", {"lr_multiplier": {"warmup_length": 0.5, "warmup_factor": 0.5}})
    assert rates(half, ISAL, 12)[:7] == pytest.approx([0.01 * (0.5 + 0.5 * step / 6) for step in range(6)] + [0.01])
    steps = ModelSpec("m", FPN.config, "none", {"SOLVER.STEPS": [5]})
    lazy = ModelSpec("m", FCOS.config, "none", {"lr_multiplier.scheduler.milestones": [5, 6, 12]})
    for replaced, key in ((steps, "SOLVER.STEPS"), (lazy, "lr_multiplier.scheduler.milestones")):
        with pytest.raises(ConfigError, match=f"training.schedule=steps replaces .*{key}"):
            rates(replaced, ISAL, 12)


@pytest.mark.parametrize("model", [FPN, FCOS], ids=["yacs", "lazy"])
@pytest.mark.parametrize("schedule", [None, "one_cycle", "steps", "constant"])
def test_parts_of_a_training_have_the_rates_of_the_whole(model, schedule):
    milestones = [25, 31] if schedule == "steps" else None
    spec = TrainingSpec(9, schedule=schedule, milestones=milestones, lr=0.3, init="join")
    whole = rates(model, spec, 36)
    parts = [rate for number in range(4) for rate in rates(model, spec, 9, part=Stretch(number, 4))]
    assert parts == whole
    if schedule == "steps":
        assert whole[4:] == pytest.approx([0.3] * 21 + [0.03] * 6 + [0.003] * 5)


def test_rounds_of_different_sizes_take_their_share_of_the_run():
    """100 epochs, the rate to fall after 45: half-way through the third of five rounds, however many steps each has."""
    spec = TrainingSpec(duration="epochs", epochs=20, schedule="steps", milestones=[45], lr=1.0, init="join")
    for round, unit, before in ((1, 2, 40), (2, 3, 15), (3, 4, 0)):
        seen = rates(FPN, spec, 20 * unit, unit=unit, part=Stretch(round, 5))
        assert seen == pytest.approx([1.0] * before + [0.1] * (20 * unit - before))
