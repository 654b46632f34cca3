"""JITTER against a loop over images, levels and pairs of boxes."""

import copy

import numpy as np
import pytest
import torch
from narrow_models import C4, FCOS_LAZY, FPN, RETINANET, assert_same, chooser, counting, images, overlap, stock

from al_cli.learners.detectron.signals import jitter
from al_cli.learners.detectron.signals.jitter import NOISE_STD
from al_cli.learners.detectron.signals.tap import tap
from al_cli.rng import seed_for
from al_cli.types import Signal

NAMES = {C4: "c4", FPN: "fpn", RETINANET: "retinanet", FCOS_LAZY: "fcos"}
JITTER = frozenset({Signal.JITTER})


@pytest.fixture(scope="module", params=list(NAMES), ids=list(NAMES.values()))
def model(request, models):
    return models[request.param]


def by_hand(model, batch):
    """Detections of the stock model on the clean and on six noisy copies of the batch, pair by pair."""
    clean = [instances.pred_boxes.tensor.tolist() for instances in stock(model, batch)]
    expected = [np.zeros((len(boxes), 6)) for boxes in clean]
    for level, std in enumerate(NOISE_STD):
        noisy = []
        for one in batch:
            generator = torch.Generator().manual_seed(seed_for(std, 0, f"jitter/{one['image_id']}"))
            pixels = one["image"].float() + std * torch.randn(one["image"].shape, generator=generator)
            noisy.append({**one, "image": pixels.clamp(0, 255)})
        for i, found in enumerate(stock(model, noisy)):
            boxes = found.pred_boxes.tensor.tolist()
            for row, box in enumerate(clean[i]):
                expected[i][row, level] = max((overlap(box, other) for other in boxes), default=0)
    return expected


def test_each_box_and_its_best_match_under_each_noise(model):
    detections = tap(model)(images(), JITTER)
    for one, theirs, expected in zip(detections, stock(model, images()), by_hand(model, images()), strict=True):
        assert_same(one.instances, theirs)
        column = one.columns[Signal.JITTER].numpy()
        assert column.shape == (len(theirs), 6) and len(theirs) >= 30
        np.testing.assert_allclose(column, expected, atol=1e-5)
        assert column.std() > 0.05


def test_seven_passes_and_no_trace(model):
    batch = images()
    before = [one["image"].clone() for one in batch]
    modes, state = [m.training for m in model.modules()], torch.get_rng_state()
    with counting(model.backbone) as calls:
        detections = tap(model)(batch, JITTER | {Signal.PROBS})
    assert len(calls) == 1 + 6
    assert all(torch.equal(one["image"], old) for one, old in zip(batch, before, strict=True))
    assert [m.training for m in model.modules()] == modes and torch.equal(torch.get_rng_state(), state)
    assert not detections[0].columns[Signal.JITTER].requires_grad


def test_without_noise_nothing_moves(model, monkeypatch):
    monkeypatch.setattr(jitter, "NOISE_STD", (0, 0))
    for one in tap(model)(images(), JITTER):
        torch.testing.assert_close(one.columns[Signal.JITTER], torch.ones(len(one.instances), 2))


def test_no_detections_no_rows(model, monkeypatch):
    monkeypatch.setattr(chooser(model), "test_score_thresh", 1.0)
    assert [tuple(d.columns[Signal.JITTER].shape) for d in tap(model)(images(), JITTER)] == [(0, 6)] * 2


def test_where_the_noisy_image_shows_nothing_the_overlap_is_zero(model, monkeypatch):
    references = [instances.pred_boxes for instances in stock(model, images())]
    monkeypatch.setattr(chooser(model), "test_score_thresh", 1.0)
    with torch.no_grad():
        columns = jitter.jitter(model, images(), references)
    assert [column.shape for column in columns] == [(len(boxes), 6) for boxes in references]
    assert all((column == 0).all() for column in columns)


def test_the_noise_belongs_to_the_image_alone(model):
    batch = images()
    other = {**batch[0], "image_id": 77}
    mine = tap(model)([batch[0], batch[0]], JITTER)[0].columns[Signal.JITTER]
    theirs, elsewhere = (one.columns[Signal.JITTER] for one in tap(model)([other, batch[0]], JITTER))
    torch.testing.assert_close(elsewhere, mine, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(theirs, mine, atol=1e-3)


def test_the_noise_is_as_strong_as_it_says(model):
    grey = {"image": torch.full((3, 200, 200), 128, dtype=torch.uint8), "image_id": 1, "height": 200, "width": 200}
    noisy = [jitter._noisy(copy.copy(grey), std, model)["image"] - 128 for std in NOISE_STD]
    for std, noise in zip(NOISE_STD, noisy, strict=True):
        assert abs(float(noise.mean())) < 0.5 and abs(float(noise.std()) / std - 1) < 0.02
    assert abs(float(torch.corrcoef(torch.stack([noise.flatten() for noise in noisy]))[0, 1])) < 0.02
