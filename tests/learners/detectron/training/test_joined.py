"""`training.init=join`: rounds that are parts of one training, against one training that was never interrupted."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from al_cli.datasets.yolo import load_yolo
from al_cli.learners.detectron import learner as learner_module
from al_cli.learners.detectron.learner import DetectronLearner
from al_cli.learners.detectron.training.joined import Joined
from al_cli.learners.pytorch.joined import rounds_behind
from al_cli.learners.spec import ModelSpec
from al_cli.learners.training_spec import TrainingSpec
from al_cli.types import Checkpoint, Dataset, LossPoint, Signal

DENSE = ModelSpec("tiny_retinanet", "tiny_retinanet", "none")  # draws no proposals, so its steps draw nothing
PLAIN = TrainingSpec(duration="epochs", epochs=1, init="join", batch_size=4, shuffle=False, flip=False)
RECIPES = {
    "sgd, the model's own": replace(PLAIN, lr=1e-3),
    "adamw, cycle, average": replace(PLAIN, lr=1e-3, optimizer="adamw", schedule="one_cycle", ema=0.9),
    "steps, shared": replace(PLAIN, lr=1e-3, schedule="steps", milestones=[1], clip_gradients=1.0),
}


@pytest.fixture(scope="module")
def eight(yolo_root) -> Dataset:
    train = load_yolo(yolo_root).train
    return train.select(train.ids[:8])


def learner(spec: TrainingSpec, images: Dataset, trainings: int, **more) -> DetectronLearner:
    length = spec.per_round(trainings)
    return DetectronLearner(
        DENSE, spec, images.class_names, iterations=length, trainings=trainings, device="cpu", **more
    )


def fit(one: DetectronLearner, images: Dataset, init: Checkpoint | None = None) -> Checkpoint:
    return one.fit(images, val=None, seed=0, init=init, order=images.ids[::-1].tolist())


@pytest.mark.parametrize("spec", RECIPES.values(), ids=RECIPES)
def test_two_rounds_on_the_same_images_are_one_training_of_double_length(eight, tmp_path, spec):
    """To the last bit, and through files, as where the run was killed between them. Two steps a round."""
    eight, spec = eight.select(eight.ids[:4]), replace(spec, batch_size=2)
    needs = frozenset({Signal.PREDICTED_LOSS})
    one = learner(spec, eight, 2, needs=needs)
    one.save(fit(one, eight), tmp_path / "first.pth")
    second = learner(spec, eight, 2, needs=needs)
    start = second.load(tmp_path / "first.pth")
    before = {key: value.copy() for key, value in start.extras.items()}
    joined = fit(second, eight, start)
    whole = fit(learner(replace(spec, epochs=2), eight, 1, needs=needs), eight)
    assert all(torch.equal(joined.state[key], value) for key, value in whole.state.items())
    assert (rounds_behind(None), rounds_behind(start), rounds_behind(joined)) == (0, 1, 2)
    assert whole.extras.keys() == joined.extras.keys()
    differ = {key for key, value in whole.extras.items() if not np.array_equal(joined.extras[key], value)}
    assert differ == {"joined.rounds"}
    assert all(np.array_equal(start.extras[key], value) for key, value in before.items()), "it is read only"
    continued = fit(
        learner(replace(spec, init="continue", milestones=None, schedule="constant"), eight, 1), eight, start
    )
    assert not any(key.startswith("joined.") for key in continued.extras)


class Line(nn.Module):
    """One weight with the loss g w: its gradient is what the batch says."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))


class Trainer:
    grad_scaler = None


def hooked(model, optimizer, start, scaler=None):
    hook = Joined(model, {"optimizer": optimizer}, None, start)
    hook.trainer = Trainer()
    hook.trainer.grad_scaler = scaler
    hook.before_train()
    return hook


def test_momentum_is_that_of_sgd_by_hand():
    """v <- m v + g + wd w, w <- w - lr v (Sutskever et al., 2013, as torch has it) over two rounds of three steps."""
    gradients, lr, m, decay = [0.5, -1.0, 2.0, 0.25, 1.0, -0.5], 0.1, 0.9, 0.01
    w, v = 2.0, 0.0
    for g in gradients:
        v = m * v + g + decay * w
        w -= lr * v
    extras, model = None, Line()
    for part in (gradients[:3], gradients[3:]):
        optimizer = torch.optim.SGD(model.parameters(), lr, momentum=m, weight_decay=decay)
        hook = hooked(model, optimizer, None if extras is None else Checkpoint({}, extras=extras))
        for g in part:
            optimizer.zero_grad()
            (g * model.weight).backward()
            optimizer.step()
        hook.after_train()
        extras = hook.extras
    assert model.weight.item() == pytest.approx(w, rel=1e-12)
    assert extras["joined.optimizer.0.momentum_buffer"] == pytest.approx(v, rel=1e-12)


def test_the_loss_scale_of_mixed_precision_and_the_normaliser_go_on():
    model, scaler = Line(), torch.amp.GradScaler("cpu", init_scale=4096.0, growth_interval=3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    first = hooked(model, optimizer, None, scaler)
    for _ in range(4):
        scaler.scale(model.weight * 1.0).backward()
        scaler.step(optimizer)
        scaler.update()
    model.loss_normalizer = 37.5
    first.after_train()
    again, other = torch.amp.GradScaler("cpu", init_scale=16.0, growth_interval=3), Line()
    other_optimizer = torch.optim.SGD(other.parameters(), 0.1)
    hooked(other, other_optimizer, Checkpoint({}, extras=first.extras), again)
    assert again.state_dict() == scaler.state_dict()
    assert (again.get_scale(), again.state_dict()["_growth_tracker"]) == (8192.0, 1)
    assert other.loss_normalizer == 37.5


def test_a_round_trains_with_the_rates_of_its_part(eight, monkeypatch):
    """Three rounds of 4, 6 and 8 images: each has its third of the run's cycle, whose shape is that of one training."""
    spec, seen = replace(PLAIN, epochs=6, lr=1.0, optimizer="sgd", schedule="one_cycle"), []

    def no_training(model, batches, optimizer, schedule, *, iterations, observers, **options):
        places = [schedule._multiplier(schedule.last_epoch / schedule._max_iter)]
        for _ in range(iterations):
            optimizer.step()
            schedule.step()
        seen.append((iterations, places[0], optimizer.param_groups[0]["lr"]))
        observers[-1].trainer = Trainer()
        observers[-1].after_train()
        return (LossPoint(iterations, 0.0, None),)

    monkeypatch.setattr(learner_module, "train_model", no_training)
    one, checkpoint = learner(spec, eight, 3), None
    for images in (4, 6, 8):
        checkpoint = fit(one, eight.select(eight.ids[:images]), checkpoint)
    assert [steps for steps, _, _ in seen] == [6, 12, 12]
    for (_, _, end), (_, begin, _) in pairwise(seen):
        assert begin == pytest.approx(end), "the next round begins where the last one ended"
    assert seen[0][1] == pytest.approx(0.04) and seen[-1][2] == pytest.approx(0.01)
