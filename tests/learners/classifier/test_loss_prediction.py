"""Learning loss on a classifier: what it adds to the loss, what moves with it, and until when."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from toy_classifiers import convolutional, pictures

from al_cli.errors import ConfigError
from al_cli.learners.classifier.loss_prediction import LearningLoss, block_outputs, predicted_losses
from al_cli.learners.classifier.spec import SHARE, ClassifierSpec
from al_cli.learners.pytorch.loss_module import (
    PREFIX,
    drawn_loss_module,
    loss_module_extras,
    ranking_loss,
    restored_loss_module,
)
from al_cli.types import Signal

TINY = ClassifierSpec("tiny_cnn", "tiny_cnn")
NEEDS = frozenset({Signal.PREDICTED_LOSS})

LOSSES = torch.tensor([0.1, 2.0, 1.0, 0.5], dtype=torch.float64)


def batch(count=4):
    return torch.stack(list(pictures(count, 0).values()))


def outputs_and_logits(network, x):
    with block_outputs(network) as blocks:
        return blocks, network(x)


def test_it_reads_the_average_of_every_block_in_their_order():
    network = convolutional()
    one = LearningLoss(network, seed=1, own=False)
    assert one.module.channels == [4, 6]
    blocks, _ = outputs_and_logits(network, batch())
    assert [b.shape for b in blocks] == [(4, 4, 3, 3), (4, 6, 3, 3)]
    features = torch.cat([b.detach().mean((2, 3)) for b in blocks], 1).float()
    expected = ranking_loss(one.module(features), LOSSES)
    assert one.loss(blocks, LOSSES, 0.0).item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.allclose(predicted_losses(one.module, blocks), one.module(features))


@pytest.mark.parametrize(("progress", "reaches"), [(0.0, True), (0.599, True), (0.6, False)])
def test_its_gradient_reaches_the_network_for_the_first_120_of_200_epochs(progress, reaches):
    assert SHARE == 120 / 200
    network = convolutional()
    one = LearningLoss(network, seed=1, own=False)
    blocks, _ = outputs_and_logits(network, batch())
    one.loss(blocks, LOSSES, progress).backward()
    moved = [p.grad is not None and bool((p.grad != 0).any()) for p in network.trunk.parameters()]
    assert any(moved) == reaches
    assert all(p.grad is None for p in network.head.parameters())
    assert all(p.grad is not None for p in one.parameters()) and len(one.parameters()) == 6


def test_with_an_adam_of_its_own_the_network_learns_nothing_of_it():
    network = convolutional()
    one = LearningLoss(network, seed=1, own=True)
    before = {k: v.copy() for k, v in one.extras.items()}
    blocks, logits = outputs_and_logits(network, batch())
    added = one.loss(blocks, LOSSES, 0.0)
    assert float(added) == 0 and not added.requires_grad and one.parameters() == []
    (logits.sum() + added).backward()  # the graph of the network is still there
    assert any((before[k] != v).any() for k, v in one.extras.items())
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in network.parameters())


def test_one_image_makes_no_pair():
    network = convolutional()
    blocks, _ = outputs_and_logits(network, batch(1))
    assert LearningLoss(network, seed=1, own=False).loss(blocks, LOSSES[:1], 0.0).item() == 0


def test_it_learns_to_order_images():
    network = convolutional()
    one = LearningLoss(network, seed=1, own=True)
    x = batch(16)
    with torch.no_grad():
        blocks, _ = outputs_and_logits(network, x)
    losses = blocks[0].mean((2, 3)) @ torch.tensor([1.0, -1.0, 0.5, 0.0], dtype=torch.float64) + 2
    rng = np.random.default_rng(0)
    for _ in range(200):
        rows = rng.permutation(16)
        one.loss([b[rows] for b in blocks], losses[rows], 0.0)
    restored = restored_loss_module(one.extras)
    assert spearmanr(predicted_losses(restored, blocks), losses).statistic > 0.9


def test_a_training_goes_on_with_the_module_of_its_start():
    network = convolutional()
    first = LearningLoss(network, seed=1, own=False)
    again = LearningLoss(network, seed=2, own=False, start=first.extras)
    other = LearningLoss(network, seed=2, own=False, start={"seed": np.array(1)})
    for key, value in first.extras.items():
        assert np.array_equal(again.extras[key], value)
    assert any(not np.array_equal(other.extras[key], value) for key, value in first.extras.items())


def test_it_is_drawn_from_its_seed_and_draws_nothing_else():
    network = convolutional()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two = (LearningLoss(network, seed=1, own=False).extras for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert all(np.array_equal(one[key], two[key]) for key in one)


def test_in_a_training_its_own_adam_leaves_the_network_to_the_bit_and_the_shared_optimizer_does_not(
    learner, bars, tmp_path
):
    plain = learner().fit(bars, val=None, seed=1, init=None)
    assert Signal.PREDICTED_LOSS not in learner().provides
    own, shared = (learner(needs=NEEDS, model=replace(TINY, loss_prediction=how)) for how in ("own", "shared"))
    apart, together = (one.fit(bars, val=None, seed=1, init=None) for one in (own, shared))
    assert all(torch.equal(plain.state[key], tensor) for key, tensor in apart.state.items())
    assert any(not torch.equal(plain.state[key], tensor) for key, tensor in together.state.items())
    for one, checkpoint in ((own, apart), (shared, together)):
        drawn = drawn_loss_module(restored_loss_module(checkpoint.extras).channels, 1)
        assert any((checkpoint.extras[key] != start).any() for key, start in loss_module_extras(drawn).items())
        one.save(checkpoint, tmp_path / "one.pth")
        loaded = learner(needs=NEEDS)
        loaded.load(tmp_path / "one.pth")
        found = [some.infer(bars, NEEDS).columns[Signal.PREDICTED_LOSS] for some in (one, loaded)]
        assert np.array_equal(*found) and len(set(found[0].tolist())) > 10


def test_the_share_of_a_training_is_a_setting(learner, bars):
    never, plain = (
        learner(needs=needs, model=replace(TINY, loss_prediction_share=0.0)) for needs in (NEEDS, frozenset())
    )
    always = learner(needs=NEEDS, model=replace(TINY, loss_prediction_share=1.0))
    found = [one.fit(bars, val=None, seed=1, init=None).state for one in (never, plain, always)]
    assert all(torch.equal(found[0][key], tensor) for key, tensor in found[1].items())
    assert any(not torch.equal(found[2][key], tensor) for key, tensor in found[1].items())
    with pytest.raises(ConfigError, match="would do nothing"):
        replace(TINY, loss_prediction="own", loss_prediction_share=1.0).check()


def test_the_module_of_the_best_epoch_is_kept_with_its_weights(learner, bars):
    model = replace(TINY, loss_prediction_share=1.0)  # else the gradient would end earlier in the shorter one
    watched = {"needs": NEEDS, "model": model, "duration": "epochs", "val_every": 1}
    first = learner(epochs=1, **watched).fit(bars, val=bars, seed=1, init=None)
    judged = iter([3.0, 2.0, 1.0])
    watched |= {"weights": "best", "stop_on": "accuracy", "judge": lambda *_: next(judged)}
    best = learner(epochs=3, **watched).fit(bars, val=bars, seed=1, init=None)
    assert [point.metric for point in best.history] == [3.0, 2.0, 1.0]
    assert all(torch.equal(best.state[key], tensor) for key, tensor in first.state.items())
    for key, value in loss_module_extras(restored_loss_module(first.extras)).items():
        assert np.array_equal(best.extras[key], value)


@pytest.mark.parametrize("how", ["own", "shared"])
def test_a_joined_training_goes_on_with_the_module_and_its_momentum(learner, bars, tmp_path, how):
    """Two rounds after each other give what two rounds in two processes give."""
    settings = {"init": "join", "iterations": 4, "optimizer": "adamw", "lr": 1e-3, "trainings": 2}

    def make():
        return learner(needs=NEEDS, model=replace(TINY, loss_prediction=how), **settings)

    one = make()
    first = one.fit(bars, val=None, seed=1, init=None)
    assert any("loss_optimizer" in key for key in first.extras) == (how == "own")
    one.save(first, tmp_path / "first.pth")
    second = one.fit(bars, val=None, seed=2, init=first)
    other = make()
    again = other.fit(bars, val=None, seed=2, init=other.load(tmp_path / "first.pth"))
    for key, value in loss_module_extras(restored_loss_module(second.extras)).items():
        assert np.array_equal(again.extras[key], value)
    fresh = make().fit(bars, val=None, seed=2, init=None)
    assert any((fresh.extras[key] != second.extras[key]).any() for key in fresh.extras if key.startswith(PREFIX))
