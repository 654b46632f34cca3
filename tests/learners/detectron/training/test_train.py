"""The training loop against Detectron2's own trainer, schedules against hand-worked numbers, the average against its
closed form."""

import logging
import math
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from detectron2.engine import SimpleTrainer, hooks
from detectron2.solver import LRMultiplier
from detectron2.utils.events import EventStorage
from fvcore.common.param_scheduler import LinearParamScheduler
from torch import nn

from al_cli.errors import ConfigError, RunError
from al_cli.learners.detectron.model.zoo import build, open_config
from al_cli.learners.detectron.training.data import (
    CachedMapper,
    ImageCache,
    ordered_batches,
    to_dicts,
    training_batches,
)
from al_cli.learners.detectron.training.loss import batch_losses, mean_loss
from al_cli.learners.detectron.training.solver import make_optimizer, make_schedule, numbers
from al_cli.learners.detectron.training.train import AmpTrainer, train
from al_cli.learners.pytorch.average import WeightAverage
from al_cli.learners.pytorch.determinism import deterministic, seed_everything
from al_cli.learners.spec import ModelSpec
from al_cli.learners.training_spec import TrainingSpec
from al_cli.loop import kept_point
from al_cli.types import Dataset

CPU = torch.device("cpu")
TINY = ModelSpec("tiny", "tiny_faster_rcnn", "none")
FPN = ModelSpec("fpn", "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml", "none")
FCOS = ModelSpec("fcos", "COCO-Detection/fcos_R_50_FPN_1x.py", "none")


@pytest.fixture
def repeatable():
    with deterministic():
        yield


def ready(shapes: Dataset, spec: TrainingSpec, iterations: int, model: ModelSpec = TINY):
    """Model, batches, optimizer and schedule as the learner makes them, everything from seed 0."""
    config = open_config(model, 3, CPU)
    seed_everything(0)
    network = build(config, model)
    mapper = CachedMapper(ImageCache(), "BGR", labels=True, flip=spec.flip)
    batches = training_batches(to_dicts(shapes), mapper, batch_size=4, seed=0, by_aspect=True, workers=0)
    optimizer = make_optimizer(config, spec, numbers(config, spec), network)
    return network, batches, optimizer, make_schedule(config, spec, optimizer, iterations)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize(
    "spec",
    [
        TrainingSpec(iterations=6, batch_size=4, optimizer="adamw", lr=1e-3, schedule="one_cycle", flip=True),
        TrainingSpec(iterations=6, batch_size=4),
    ],
    ids=["adamw", "the model's own"],
)
def test_same_weights_as_detectrons_own_trainer(shapes, spec):
    """Everything of ours switched off, the loop is Detectron2's SimpleTrainer to the bit."""
    model, batches, optimizer, schedule = ready(shapes, spec, 6)
    history = train(model, batches, optimizer, schedule, iterations=6)

    stock, batches, optimizer, schedule = ready(shapes, spec, 6)
    trainer = SimpleTrainer(stock, batches, optimizer)
    trainer.register_hooks([hooks.LRScheduler(optimizer, schedule)])
    trainer.train(0, 6)
    assert same(weights(model), weights(stock))
    losses = [value for value, _ in trainer.storage.history("total_loss").values()]
    assert [point.iteration for point in history] == [6]
    assert history[0].train_loss == pytest.approx(np.mean(losses), rel=1e-6)


@pytest.mark.usefixtures("repeatable")
def test_validation_does_not_change_what_is_learned(shapes):
    """Dense model: its running loss normaliser must survive a validation, too."""
    spec = TrainingSpec(iterations=6, batch_size=4, optimizer="sgd", lr=1e-3)
    retina = ModelSpec("tiny", "tiny_retinanet", "none")
    model, batches, optimizer, schedule = ready(shapes, spec, 6, retina)
    plain = train(model, batches, optimizer, schedule, iterations=6)

    watched, batches, optimizer, schedule = ready(shapes, spec, 6, retina)
    records = to_dicts(shapes)[:8]
    mapper = CachedMapper(ImageCache(), "BGR", labels=True, flip=False)

    def validate() -> float:
        loss = mean_loss(watched, ordered_batches(records, mapper, batch_size=4))
        assert loss == mean_loss(watched, ordered_batches(records, mapper, batch_size=4)), "not repeatable"
        return loss

    history = train(watched, batches, optimizer, schedule, iterations=6, validate=validate, val_every=2)
    assert same(weights(model), weights(watched))
    assert [point.iteration for point in history] == [2, 4, 6]
    assert np.mean([point.train_loss for point in history]) == pytest.approx(plain[0].train_loss, rel=1e-6)


def test_the_average_is_the_closed_form(shapes):
    """d(n) = min(decay, (1 + n) / (10 + n)), over parameters and BatchNorm's statistics alike."""
    layer = nn.BatchNorm1d(2)
    seen = [torch.tensor([1.0, -1.0]), torch.tensor([3.0, 5.0]), torch.tensor([-2.0, 0.5])]
    average = WeightAverage(layer, decay=0.25)
    expected = {"weight": layer.weight.detach().double(), "running_mean": layer.running_mean.double()}
    for step, value in enumerate(seen, start=1):
        with torch.no_grad():
            layer.weight.copy_(value)
            layer.running_mean.copy_(2 * value)
            layer.num_batches_tracked += 1
        average.update()
        decay = min(0.25, (1 + step) / (10 + step))
        expected["weight"] = decay * expected["weight"] + (1 - decay) * value.double()
        expected["running_mean"] = decay * expected["running_mean"] + (1 - decay) * 2 * value.double()
    with average.applied():
        assert torch.allclose(layer.weight.double(), expected["weight"], atol=1e-6)
        assert torch.allclose(layer.running_mean.double(), expected["running_mean"], atol=1e-6)
        assert layer.num_batches_tracked == 3
    assert torch.equal(layer.weight, seen[-1]), "the trained weights come back"
    average.apply()
    assert torch.allclose(layer.weight.double(), expected["weight"], atol=1e-6)


def test_training_with_an_average_ends_with_it(shapes):
    spec = TrainingSpec(iterations=5, batch_size=4, optimizer="sgd", lr=1e-2, schedule="constant")
    model, batches, optimizer, schedule = ready(shapes, spec, 5)
    train(model, batches, optimizer, schedule, iterations=5, average=WeightAverage(model, 0.9))
    stock, batches, optimizer, schedule = ready(shapes, spec, 5)
    mean = {key: value.double() for key, value in stock.state_dict().items() if value.is_floating_point()}
    trainer = SimpleTrainer(stock, batches, optimizer)
    for step in range(1, 6):
        _one_step(trainer, step - 1)
        decay = min(0.9, (1 + step) / (10 + step))
        mean = {key: decay * old + (1 - decay) * stock.state_dict()[key].double() for key, old in mean.items()}
    for key, value in mean.items():
        assert torch.allclose(model.state_dict()[key].double(), value, atol=1e-5), key


def _one_step(trainer: SimpleTrainer, iteration: int) -> None:
    trainer.iter = iteration
    with EventStorage(iteration) as trainer.storage:
        trainer.run_step()


# ---- learning rate


def rates(spec: TrainingSpec, iterations: int, model: ModelSpec = FPN) -> list[float]:
    """The learning rate at each iteration."""
    config = open_config(model, 3, CPU)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], numbers(config, spec).lr)
    schedule = make_schedule(config, spec, optimizer, iterations)
    seen = []
    for _ in range(iterations):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_constant_and_one_cycle():
    assert rates(TrainingSpec(iterations=50, lr=0.3, schedule="constant"), 50) == [0.3] * 50
    cycle = rates(TrainingSpec(iterations=200, lr=2.0, schedule="one_cycle"), 200)
    assert cycle[0] == pytest.approx(2.0 * 0.04)
    assert cycle[15] == pytest.approx(2.0 * (0.04 + 0.96 * 0.5)), "half-way up at half of 15%"
    assert max(cycle) == cycle[30] == pytest.approx(2.0)
    middle = 30 + (200 - 30) // 2
    assert cycle[middle] == pytest.approx(2.0 * (0.01 + 0.99 * 0.5), rel=1e-3), "half-way down the cosine"
    assert cycle[-1] == pytest.approx(2.0 * 0.01, rel=0.02)


@pytest.mark.parametrize(
    "model, drops", [(FPN, (210 / 270, 250 / 270)), (FCOS, (60 / 90, 80 / 90))], ids=["yacs", "lazy"]
)
def test_the_models_own_schedule_is_scaled_to_the_round(model, drops):
    """The zoo's 3x drops at 210 and 250 of 270 thousand iterations, 1x at 60 and 80 of 90; warm-up takes a tenth."""
    spec = TrainingSpec(iterations=900, lr=1.0)
    seen = rates(spec, 900, model)
    first, second = (round(900 * share) for share in drops)
    assert seen[0] == pytest.approx(0.001, rel=0.1) and seen[44] == pytest.approx(0.5, abs=0.02)
    assert set(seen[91 : first - 1]) == {1.0}
    assert seen[first + 1 : second - 1] == pytest.approx([0.1] * (second - first - 2))
    assert seen[second + 1 :] == pytest.approx([0.01] * (900 - second - 1))


def test_a_very_short_round_has_a_schedule():
    assert all(0 < rate <= 1 for count in (1, 2, 7) for rate in rates(TrainingSpec(iterations=count, lr=1.0), count))


def test_own_learning_rate_follows_the_batch_size():
    config = open_config(FPN, 3, CPU)
    assert numbers(config, TrainingSpec(iterations=1)).lr == 0.02  # for 16 images
    assert numbers(config, TrainingSpec(iterations=1, batch_size=4)).lr == pytest.approx(0.005)
    given = numbers(config, TrainingSpec(iterations=1, batch_size=4, lr=0.3, weight_decay=0.2))
    assert (given.batch_size, given.lr, given.weight_decay) == (4, 0.3, 0.2)


def test_overrides_are_the_last_word():
    overridden = ModelSpec("m", FPN.config, "none", {"SOLVER": {"BASE_LR": 1e-4, "IMS_PER_BATCH": 2}})
    chosen = numbers(open_config(overridden, 3, CPU), TrainingSpec(iterations=1, lr=0.5, batch_size=8))
    assert (chosen.lr, chosen.batch_size) == (1e-4, 2)
    steps = ModelSpec("m", FPN.config, "none", {"SOLVER.STEPS": [5], "SOLVER.WARMUP_ITERS": 0})
    assert rates(TrainingSpec(iterations=10, lr=1.0), 10, steps) == pytest.approx([1.0] * 5 + [0.1] * 5)
    with pytest.raises(ConfigError, match=r"training.schedule=constant replaces .*SOLVER.STEPS"):
        rates(TrainingSpec(iterations=10, lr=1.0, schedule="constant"), 10, steps)


def test_optimizer_decays_no_normalisation_and_clips_all_gradients_together(shapes):
    spec = TrainingSpec(iterations=3, optimizer="adamw", lr=1e-3, weight_decay=0.1, clip_gradients=1e-3)
    model, _, optimizer, _ = ready(shapes, spec, 3)
    norms = [p for module in model.modules() if isinstance(module, nn.BatchNorm2d) for p in module.parameters()]
    for group in optimizer.param_groups:
        for weight in group["params"]:
            assert group["weight_decay"] == (0 if any(weight is p for p in norms) else 0.1)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    total = math.sqrt(sum(float(weight.grad.square().sum()) for weight in model.parameters()))
    assert total == pytest.approx(1e-3, rel=1e-3)


# ---- validation decides


class Nothing(nn.Module):
    """A model whose weight counts the steps: gradient -1, so SGD with rate 1 adds 1 each step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, batch):
        return {"loss": -self.weight * batch[0]}


def count(iterations: int, losses: list[float], batch: float = 1.0, **options):
    model, measured = Nothing(), iter(losses)
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    history = train(
        model,
        [[batch]] * iterations,
        optimizer,
        LRMultiplier(optimizer, LinearParamScheduler(1.0, 1.0), iterations),
        iterations=iterations,
        validate=(lambda: next(measured)) if losses else None,
        **options,
    )
    return float(model.weight.detach()), history


def test_early_stopping_waits_for_patience_and_restores_the_best():
    losses = [5, 4, 4.5, 3, 3, 3.1, 2, 1]  # every 2 steps; lowest at step 8, then twice not lower
    weight, history = count(20, losses, val_every=2, patience=2)
    assert weight == 8
    assert [(point.iteration, point.val_loss) for point in history] == list(zip(range(2, 14, 2), losses, strict=False))
    assert count(12, losses, val_every=2)[0] == 12, "without patience the last weights stay"
    assert count(10, losses, val_every=2, patience=3)[0] == 8, "patience never runs out: the best all the same"


def test_early_stopping_by_a_metric_keeps_the_weights_where_it_was_highest():
    """The loss, measured next to it, would have kept step 2. No value is not better, and neither is an equal one."""
    metrics = [
        0.1,
        None,
        0.4,
        float("nan"),
        0.4,
        0.3,
        0.9,
    ]  # every 2 steps; highest at step 6, then three times not higher
    judged, losses = iter(metrics), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    weight, history = count(20, losses, val_every=2, patience=3, judge=lambda: next(judged))
    assert weight == 6
    assert [(point.iteration, point.val_loss) for point in history] == list(zip(range(2, 14, 2), losses, strict=False))
    assert [point.metric for point in history] == [0.1, None, 0.4, None, 0.4, 0.3]
    assert kept_point(history, "AP") == history[2] and kept_point(history, "loss") == history[0]
    assert kept_point(history, None) == history[-1] and kept_point([], "loss") is None


def test_watching_minus_the_loss_is_watching_the_loss():
    losses = [5, 4, 4.5, 3, 3, 3.1, 2, 1]
    measured = iter(losses)
    weight, history = count(20, losses, val_every=2, patience=2, judge=lambda: -next(measured))
    expected, by_loss = count(20, losses, val_every=2, patience=2)
    assert weight == expected and [replace(point, metric=None) for point in history] == list(by_loss)


def test_a_metric_that_never_has_a_value_stops_with_the_last_weights_and_a_warning(caplog):
    weight, history = count(20, [1.0] * 20, val_every=2, patience=3, judge=lambda: None)
    assert weight == 6 == history[-1].iteration and "had no value on the validation images" in caplog.text
    assert kept_point(history, "APs") == history[-1]


def test_without_early_stopping_every_step_is_taken():
    weight, history = count(45, [])
    assert weight == 45
    assert [point.iteration for point in history] == [20, 40, 45]
    assert all(point.val_loss is None for point in history)
    assert history[0].train_loss == pytest.approx(-np.mean(range(20)))
    assert history[2].train_loss == pytest.approx(-np.mean(range(40, 45)))


def test_the_last_step_is_validated_too():
    _, history = count(5, [3.0, 2.0], val_every=3)
    assert [(point.iteration, point.val_loss) for point in history] == [(3, 3.0), (5, 2.0)]


def test_a_loss_that_is_not_finite_ends_training_with_place_and_remedy(caplog):
    with pytest.raises(RunError, match=r"iteration 1, learning rate 1.*training.lr=0.1"):
        count(5, [], batch=float("inf"))
    with pytest.raises(RunError, match=r"validation loss is nan \(iteration 1\)"):
        count(5, [float("nan")], val_every=1)
    assert "Traceback" not in caplog.text


def test_the_mixed_precision_path(shapes, monkeypatch):
    """Detectron2's AMPTrainer and its gradient scaling run here on a CPU: it only asks whether there is a GPU. The
    update is that of plain SGD, scaled up and down by powers of two, and clipping sees unscaled gradients."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    spec = TrainingSpec(iterations=3, batch_size=4, optimizer="sgd", lr=1e-3, clip_gradients=5.0)
    model, batches, optimizer, schedule = ready(shapes, spec, 3)
    trainer = AmpTrainer(model, batches, optimizer, grad_scaler=torch.amp.GradScaler("cpu", init_scale=256.0))
    trainer.register_hooks([hooks.LRScheduler(optimizer, schedule)])
    trainer.train(0, 3)
    assert trainer.grad_scaler.get_scale() == 256.0 and math.isfinite(trainer.loss)
    plain, batches, optimizer, schedule = ready(shapes, spec, 3)
    train(plain, batches, optimizer, schedule, iterations=3)
    for key, value in plain.state_dict().items():
        assert torch.allclose(model.state_dict()[key].float(), value.float(), atol=1e-5), key


# ---- losses without learning


@pytest.mark.parametrize("name", ["tiny_faster_rcnn", "tiny_retinanet"])
def test_measuring_a_loss_leaves_no_trace(shapes, name):
    spec = ModelSpec("tiny", name, "none")
    seed_everything(0)
    model = build(open_config(spec, 3, CPU), spec)
    model.train()
    model.backbone.eval()  # a part that the caller froze
    modes = [module.training for module in model.modules()]
    before, state = weights(model), torch.get_rng_state()
    mapper = CachedMapper(ImageCache(), "BGR", labels=True, flip=False)
    records = to_dicts(shapes)[:6]
    alone = [
        loss for loss, _ in batch_losses(model, ordered_batches(records, mapper, batch_size=1), as_in_training=False)
    ]
    assert same(before, weights(model)) and torch.equal(state, torch.get_rng_state())
    assert [module.training for module in model.modules()] == modes
    assert "loss_normalizer" not in model.__dict__
    assert all(math.isfinite(loss) for loss in alone) and len(set(alone)) == 6
    backwards = ordered_batches(records[::-1], mapper, batch_size=1)
    assert [loss for loss, _ in batch_losses(model, backwards, as_in_training=False)] == alone[::-1]


def test_dense_detectors_divide_by_the_normaliser_they_should(shapes):
    """Detectron2: loss = sum / (0.9 * normaliser + 0.1 * positives), the normaliser 100 at first. From the loss under
    50 and under 100 follows the number of positives, which must come out whole."""
    spec = ModelSpec("tiny", "tiny_retinanet", "none")
    seed_everything(0)
    model = build(open_config(spec, 3, CPU), spec)
    mapper = CachedMapper(ImageCache(), "BGR", labels=True, flip=False)
    batch = [mapper(record) for record in to_dicts(shapes)[:4]]
    model.loss_normalizer = 50.0
    ((measured, images),) = batch_losses(model, [batch], as_in_training=True)
    assert images == 4 and model.loss_normalizer == 50.0
    ((again, _),) = batch_losses(model, [batch], as_in_training=False)
    ratio = measured / again
    positives = (90 - ratio * 45) / (0.1 * (ratio - 1))
    assert positives == pytest.approx(round(positives), abs=0.05) and positives > 0


def test_mean_loss_weighs_batches_by_their_images():
    class Fixed(nn.Module):
        device = CPU

        def forward(self, batch):
            return {"a": torch.tensor(float(sum(batch))), "b": torch.tensor(1.0)}

    assert mean_loss(Fixed(), [[1, 2], [6]]) == pytest.approx(((3 + 1) * 2 + (6 + 1) * 1) / 3)


COLD = """
import torch
from detectron2.modeling.meta_arch.retinanet import sigmoid_focal_loss_jit
from al_cli.learners.pytorch.determinism import deterministic
torch.manual_seed(0)
logits = torch.randn(200, 7, requires_grad=True)
target = (torch.rand(200, 7) < 0.2).float()
seen = set()
with deterministic():
    for _ in range(6):
        logits.grad = None
        sigmoid_focal_loss_jit(logits * 3, target, alpha=0.25, gamma=2.0, reduction="sum").backward()
        seen.add(logits.grad.numpy().tobytes())
print(len(seen))
"""


def test_a_scripted_loss_is_the_same_at_every_call_of_a_process():
    """A resumed run starts with scripts that never ran, an uninterrupted one does not: first calls must not differ."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", COLD], capture_output=True, text=True)
    assert done.stdout.strip() == "1", f"{done.stdout} different gradients of one loss\n{done.stderr}"


def test_deterministic_mode_ends_even_after_an_error():
    torch.use_deterministic_algorithms(False)  # `repeatable`, which every test here has, turned it on
    outside = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), deterministic(threads=outside + 1):
        assert torch.are_deterministic_algorithms_enabled() and torch.get_num_threads() == outside + 1
        raise ZeroDivisionError
    assert not torch.are_deterministic_algorithms_enabled() and torch.get_num_threads() == outside


def test_operations_without_a_deterministic_kernel_are_named_and_other_warnings_pass(caplog):
    message = "roi_align_backward_kernel does not have a deterministic implementation, but you set ..."
    with caplog.at_level(logging.INFO), pytest.warns(UserWarning, match="disk is full"), deterministic():
        warnings.warn(message, UserWarning, stacklevel=1)
        warnings.warn("the disk is full", UserWarning, stacklevel=1)
    assert "not deterministic on this device: roi_align_backward_kernel" in caplog.text
