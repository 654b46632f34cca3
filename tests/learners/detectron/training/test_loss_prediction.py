"""The loss module: its loss by hand, the losses it learns from against the model's own, and a detector it leaves alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage
from narrow_models import FCOS_64, FCOS_LAZY
from scipy.stats import spearmanr

from al_cli.datasets.yolo import load_yolo
from al_cli.errors import ConfigError
from al_cli.learners.detectron.learner import DetectronLearner
from al_cli.learners.detectron.model.zoo import build, open_config
from al_cli.learners.detectron.signals.tap import tap
from al_cli.learners.detectron.training.data import (
    CachedMapper,
    ImageCache,
    ordered_batches,
    to_dicts,
    training_batches,
)
from al_cli.learners.detectron.training.difficulty import ClassDifficulty
from al_cli.learners.detectron.training.loss import NORMALIZER, batch_losses, mean_loss, measuring
from al_cli.learners.detectron.training.loss_prediction import (
    LossPrediction,
    image_losses,
    loss_reader,
)
from al_cli.learners.detectron.training.solver import make_optimizer, make_schedule, numbers
from al_cli.learners.detectron.training.train import train
from al_cli.learners.pytorch.average import WeightAverage
from al_cli.learners.pytorch.determinism import seed_everything
from al_cli.learners.pytorch.loss_module import LossModule, ranking_loss
from al_cli.learners.spec import ModelSpec, require_pairs
from al_cli.learners.training_spec import TrainingSpec
from al_cli.types import Checkpoint, Dataset, Signal

CPU = torch.device("cpu")
SPEC = TrainingSpec(iterations=4, batch_size=4, optimizer="adamw", lr=1e-3, schedule="constant", ema=0.9)
MODELS = {
    "rcnn": ModelSpec("rcnn", "tiny_faster_rcnn", "none"),
    "retinanet": ModelSpec("retinanet", "tiny_retinanet", "none"),
    "fcos": ModelSpec("fcos", FCOS_LAZY, "none", FCOS_64),
}


def fresh(name: str) -> torch.nn.Module:
    seed_everything(0)
    return build(open_config(MODELS[name], 3, CPU), MODELS[name])


def mapper(flip: bool = False) -> CachedMapper:
    return CachedMapper(ImageCache(), "BGR", labels=True, flip=flip)


def trained(
    name: str,
    shapes: Dataset,
    *,
    observe: bool,
    iterations: int = 4,
    validate: bool = False,
    beside=(),
    spec: TrainingSpec = SPEC,
    shared: bool = False,
    own=None,
):
    """The model after a few steps as the learner makes them, its loss curve, the hook, and the next random number. `own`
    makes the module's optimizer."""
    config, model = open_config(MODELS[name], 3, CPU), fresh(name)
    optimizer = make_optimizer(config, spec, numbers(config, spec), model)
    hook = LossPrediction(model, seed=5, shared=optimizer if shared else None) if observe else None
    if own is not None:
        hook.own = own(hook.module.parameters())
    records = to_dicts(shapes)
    batches = training_batches(records, mapper(flip=True), batch_size=4, seed=0, by_aspect=True, workers=0)

    def loss() -> float:
        return mean_loss(model, ordered_batches(records[:4], mapper(), batch_size=4))

    history = train(
        model,
        batches,
        optimizer,
        make_schedule(config, spec, optimizer, iterations),
        iterations=iterations,
        average=WeightAverage(model, spec.ema),
        validate=loss if validate else None,
        observers=[*beside, *([hook] if hook else [])],
    )
    return model, history, hook, torch.rand(1).item()


def test_ranking_loss_by_hand():
    """Pairs (0, 4) and (1, 3); the middle one is left over. 0 has the smaller loss but is predicted larger by 2: 2 + 1.
    1 has the larger loss and is predicted larger by 0.25: 1 - 0.25. Mean 1.875."""
    predicted = torch.tensor([3.0, 1.25, 9.0, 1.0, 1.0])
    losses = torch.tensor([1.0, 5.0, 0.0, 4.0, 2.0])
    assert ranking_loss(predicted, losses).item() == 1.875
    assert ranking_loss(torch.tensor([2.0, 0.5]), torch.tensor([4.0, 1.0])).item() == 0  # apart by more than the margin


@pytest.mark.parametrize("name", MODELS)
def test_the_detector_is_the_same_to_the_bit(name, shapes):
    steps = 2 if name == "fcos" else 4
    with_it, curve, hook, number = trained(name, shapes, observe=True, iterations=steps)
    without, plain_curve, _, plain_number = trained(name, shapes, observe=False, iterations=steps)
    state, plain = with_it.state_dict(), without.state_dict()
    assert state.keys() == plain.keys() and all(torch.equal(state[key], plain[key]) for key in plain)
    assert curve == plain_curve and number == plain_number
    assert with_it.__dict__.get(NORMALIZER) == without.__dict__.get(NORMALIZER)
    assert not with_it._forward_hooks and not with_it.backbone._forward_hooks
    start = LossPrediction(without, seed=5).extras
    assert all(np.isfinite(value).all() for value in hook.extras.values())
    assert any(not np.array_equal(hook.extras[key], start[key]) for key in start)  # and it did learn something


def test_in_the_detectors_optimizer_the_module_is_trained_and_the_detector_is_the_same_to_the_bit(shapes):
    """ISAL D.2: one optimizer, one rate, weight 1, no gradient into the detector; and the norm that clips the detector's
    gradients is theirs alone. The module's weights are those of a second optimizer of the same kind next to it."""

    def alike(weights):
        return torch.optim.AdamW(weights, SPEC.lr, weight_decay=0.05, fused=True)

    for clip in (None, 0.5):
        spec = replace(SPEC, weight_decay=0.05, clip_gradients=clip)
        plain = trained("retinanet", shapes, observe=False, spec=spec, iterations=2)[0]
        model, _, hook, _ = trained("retinanet", shapes, observe=True, spec=spec, iterations=2, shared=True)
        assert all(torch.equal(model.state_dict()[key], value) for key, value in plain.state_dict().items())
    by_hand = trained("retinanet", shapes, observe=True, spec=spec, iterations=2, own=alike)[2]
    assert all(np.array_equal(hook.extras[key], value) for key, value in by_hand.extras.items())


def test_a_recipe_that_clips_all_its_optimizer_moves_cannot_share_it():
    full = {"SOLVER.CLIP_GRADIENTS": {"ENABLED": True, "CLIP_TYPE": "full_model", "CLIP_VALUE": 35.0}}
    model = replace(MODELS["retinanet"], loss_prediction="shared", overrides=full)
    spec, needs = replace(SPEC, optimizer=None), frozenset({Signal.PREDICTED_LOSS})
    with pytest.raises(ConfigError, match=r"training.clip_gradients=35"):
        DetectronLearner(model, spec, ("a",), iterations=1, device="cpu", needs=needs)
    DetectronLearner(model, spec, ("a",), iterations=1, device="cpu")


def test_beside_another_observer_both_learn_what_they_learn_alone(shapes):
    """Class difficulty runs the training through a view of the model: neither hook notices the other."""
    for name in ("rcnn", "retinanet"):
        alone, difficulty = trained(name, shapes, observe=True)[2], ClassDifficulty(3)
        model, _, hook, _ = trained(name, shapes, observe=True, beside=[difficulty])
        only = ClassDifficulty(3)
        plain = trained(name, shapes, observe=False, beside=[only])[0]
        assert all(np.array_equal(hook.extras[key], alone.extras[key]) for key in alone.extras)
        assert np.array_equal(difficulty.value, only.value) and (only.value != 1).any()
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))


def test_validation_in_between_is_not_learned_from(shapes):
    plain, validated = (trained("rcnn", shapes, observe=True, validate=v)[2] for v in (False, True))
    assert all(np.array_equal(plain.extras[key], validated.extras[key]) for key in plain.extras)


@pytest.mark.parametrize("name", MODELS)
def test_losses_of_images_are_the_models_own(name, shapes):
    """The heads on ready maps give what the whole model gives for the image on its own: the same number to the bit."""
    model = fresh(name)
    if name != "rcnn":
        setattr(model, NORMALIZER, 17.0)
    images = list(ordered_batches(to_dicts(shapes)[:6], mapper(), batch_size=1))
    for one in images:
        with measuring(model), torch.no_grad():
            maps = model.backbone(model.preprocess_image(one).tensor)
        expected, _ = next(batch_losses(model, [one], as_in_training=True))
        assert image_losses(model, one, maps).tolist() == [pytest.approx(expected, abs=1e-6)]
    batch = [one[0] for one in images]
    with measuring(model), torch.no_grad():
        maps = model.backbone(model.preprocess_image(batch).tensor)
    alone = [value for value, _ in batch_losses(model, images, as_in_training=True)]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert image_losses(model, batch, maps).tolist() == pytest.approx(alone, rel=1e-4)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert name == "rcnn" or getattr(model, NORMALIZER) == 17.0


def test_the_backbone_runs_once_a_step(shapes):
    model, calls = fresh("rcnn"), []
    hook = LossPrediction(model, seed=0)
    hook.before_train()
    model.backbone.bottom_up.register_forward_hook(lambda *_: calls.append(1))
    batch = next(iter(ordered_batches(to_dicts(shapes)[:4], mapper(), batch_size=4)))
    with EventStorage():
        hook.before_step()
        model(batch)
        model(batch)  # a second forward of the same step is not learned from
    hook.after_train()
    assert len(calls) == 2


def test_it_learns_to_order_images_by_loss(shapes):
    """After 40 steps of the tiny detector, predicted and true losses of the images agree in order."""
    model, _, hook, _ = trained("rcnn", shapes, observe=True, iterations=40)
    images = list(ordered_batches(to_dicts(shapes), mapper(), batch_size=1))
    losses = [value for value, _ in batch_losses(model, images, as_in_training=False)]
    assert spearmanr(predicted(model, hook, images)[0], losses).statistic > 0.5


def test_the_module_in_closed_form():
    """Two maps of 1 and 2 channels, written out."""
    module = LossModule([1, 2])
    x = torch.tensor([[0.5, -1.0, 2.0]])
    (a, b), last = module.maps, module.last
    hidden = torch.cat([(a.weight @ x[0, :1] + a.bias).relu(), (b.weight @ x[0, 1:] + b.bias).relu()])
    assert module(x)[0].detach().item() == pytest.approx(
        (last.weight[0] @ hidden + last.bias[0]).detach().item(), abs=1e-6
    )


def predicted(model, hook, images) -> tuple[np.ndarray, np.ndarray]:
    """PREDICTED_LOSS [N] and IMAGE_FEATURES [N, D] through the tap, as the learner reads them."""
    read = tap(model, readers={Signal.PREDICTED_LOSS: loss_reader(model, hook.extras)})
    signals = frozenset({Signal.PREDICTED_LOSS, Signal.IMAGE_FEATURES})
    columns = [one.columns for batch in images for one in read(batch, signals)]
    return tuple(np.stack([c[s].numpy() for c in columns]) for s in (Signal.PREDICTED_LOSS, Signal.IMAGE_FEATURES))


@pytest.mark.parametrize("name", ["rcnn", "retinanet"])
def test_extras_give_the_module_back(name, shapes):
    model, _, hook, _ = trained(name, shapes, observe=True)
    images = list(ordered_batches(to_dicts(shapes)[:6], mapper(), batch_size=2))
    values, features = predicted(model, hook, images)
    assert values.shape == (6,)
    assert values == pytest.approx(hook.module(torch.from_numpy(features)).detach().numpy(), abs=1e-6)
    again = LossPrediction(model, seed=9, start=Checkpoint({}, extras=hook.extras))
    assert all(np.array_equal(again.extras[key], value) for key, value in hook.extras.items())


def test_refusals():
    with pytest.raises(ConfigError, match="batch_size of at least 2"):
        require_pairs(1)
    require_pairs(2)
    with pytest.raises(ValueError, match="1 images make no pair"):
        ranking_loss(torch.zeros(1), torch.zeros(1))
    with pytest.raises(KeyError, match="trained without"):
        loss_reader(fresh("rcnn"), {})


def test_the_learner_predicts_losses_only_where_asked_to(yolo_root, tmp_path):
    splits, spec = load_yolo(yolo_root), replace(SPEC, iterations=6)
    names, signal = splits.train.class_names, Signal.PREDICTED_LOSS
    asked, plain = (
        DetectronLearner(MODELS["rcnn"], spec, names, iterations=6, device="cpu", needs=frozenset(needs))
        for needs in ({signal}, ())
    )
    assert asked.provides - plain.provides == {signal}
    one, other = (learner.fit(splits.train, val=None, seed=1, init=None) for learner in (asked, plain))
    assert all(torch.equal(one.state[key], other.state[key]) for key in other.state)
    values = asked.infer(splits.test, frozenset({signal})).columns[signal]
    assert values.shape == (len(splits.test),) and len(set(values.tolist())) > 1
    with pytest.raises(ValueError, match="does not provide predicted_loss"):
        plain.infer(splits.test, frozenset({signal}))
    asked.save(one, tmp_path / "a.pth")
    fresh_one = DetectronLearner(MODELS["rcnn"], spec, names, iterations=6, device="cpu", needs=frozenset({signal}))
    again = fresh_one.load(tmp_path / "a.pth")
    assert np.array_equal(fresh_one.infer(splits.test, frozenset({signal})).columns[signal], values)
    longer, start = (fresh_one.fit(splits.train, val=None, seed=2, init=c) for c in (again, other))
    assert longer.extras.keys() == start.extras.keys()
    with pytest.raises(ConfigError, match="batch_size of at least 2"):
        single = replace(spec, batch_size=1)
        DetectronLearner(MODELS["rcnn"], single, names, iterations=6, device="cpu", needs=frozenset({signal}))
