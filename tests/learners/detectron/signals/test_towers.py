"""CENTER_FEATURES and TOWER_FEATURES against the maps that hooks on the stock model see, read cell by cell."""

import math

import numpy as np
import pytest
import torch
from narrow_models import FCOS_LAZY, FPN, RETINANET, assert_same, counting, images, stock

from al_cli.learners.detectron.signals.tap import tap
from al_cli.learners.detectron.signals.views import outputs_of
from al_cli.learners.spec import ModelSpec
from al_cli.types import Signal

BOTH = frozenset({Signal.CENTER_FEATURES, Signal.TOWER_FEATURES})


@pytest.fixture(params=[RETINANET, FCOS_LAZY], ids=["retinanet", "fcos"])
def model(request, models):
    return models[request.param]


def maps_of(model, batch):
    """Of the class tower and of the box tower: [level], each [B, D, H, W]; and the strides."""
    with outputs_of(model.head.cls_subnet) as classes, outputs_of(model.head.bbox_subnet) as boxes:
        stock(model, batch)
    strides = [model.backbone.output_shape()[name].stride for name in model.head_in_features]
    return [x.double().numpy() for x in classes], [x.double().numpy() for x in boxes], strides


def own_cells(maps, image, one, strides):
    """[level], each [D, h, w] as far as the image reaches; the rest is its batch's padding."""
    height, width = one["image"].shape[-2:]
    return [
        x[image, :, : math.ceil(height / stride), : math.ceil(width / stride)]
        for x, stride in zip(maps, strides, strict=True)
    ]


def bilinear(cells, x, y):
    """[D] at a place in cells, whose middles are at whole numbers; outside of them the nearest."""
    x, y = min(max(x, 0.0), cells.shape[2] - 1), min(max(y, 0.0), cells.shape[1] - 1)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, cells.shape[2] - 1), min(top + 1, cells.shape[1] - 1)
    a, b = x - left, y - top
    upper = (1 - a) * cells[:, top, left] + a * cells[:, top, right]
    return (1 - b) * upper + b * ((1 - a) * cells[:, bottom, left] + a * cells[:, bottom, right])


def test_a_box_has_what_its_level_shows_at_its_center(model):
    batch = images()
    classes, _, strides = maps_of(model, batch)
    detections = tap(model)(batch, BOTH | {Signal.BOX_FEATURES})
    levels, beyond = set(), 0
    for i, (one, detected) in enumerate(zip(batch, detections, strict=True)):
        maps = own_cells(classes, i, one, strides)
        height, width = one["image"].shape[-2:]
        scale = np.array([width / one["width"], height / one["height"]])
        boxes = detected.instances.pred_boxes.tensor.double().numpy().reshape(-1, 2, 2) * scale
        for box, cell, feature in zip(
            boxes,
            detected.columns[Signal.BOX_FEATURES].double().numpy(),
            detected.columns[Signal.CENTER_FEATURES].numpy(),
            strict=True,
        ):
            [level] = [
                n for n, m in enumerate(classes) if (m[i] == cell[:, None, None]).all(0).any()
            ]  # that it came from
            x, y = box.mean(0) / strides[level] - 0.5
            np.testing.assert_allclose(feature, bilinear(maps[level], x, y), rtol=1e-3, atol=1e-4)
            beyond += not (0 <= x <= maps[level].shape[2] - 1 and 0 <= y <= maps[level].shape[1] - 1)
            levels.add(level)
    assert len(levels) > 1 and beyond > 3


def test_an_image_has_the_mean_of_its_cells_of_both_towers(model):
    """Of each level, then of the levels; class tower first."""
    batch = images()
    *towers, strides = maps_of(model, batch)
    for i, detected in enumerate(tap(model)(batch, BOTH)):
        levels = [own_cells(maps, i, batch[i], strides) for maps in towers]
        expected = np.concatenate([np.mean([m.mean(axis=(1, 2)) for m in of_tower], axis=0) for of_tower in levels])
        np.testing.assert_allclose(detected.columns[Signal.TOWER_FEATURES], expected, rtol=1e-4, atol=1e-6)


def test_they_cost_no_pass_and_change_no_box(model, monkeypatch):
    batch = images()
    theirs = stock(model, batch)
    with counting(model.backbone) as passes, counting(model.head) as heads:
        detections = tap(model)(batch, BOTH)
    assert (len(passes), len(heads)) == (1, 1)
    for ours, instances in zip(detections, theirs, strict=True):
        assert_same(ours.instances, instances)
    monkeypatch.setattr(model, "test_score_thresh", 1.0)
    [one, _] = tap(model)(batch, BOTH)
    width = detections[0].columns[Signal.CENTER_FEATURES].shape[1]
    assert one.columns[Signal.CENTER_FEATURES].shape == (0, width)
    assert torch.equal(one.columns[Signal.TOWER_FEATURES], detections[0].columns[Signal.TOWER_FEATURES])


def test_a_faster_rcnn_has_no_towers(models):
    """And what to do is said of each of the two."""
    assert not BOTH & tap(models[FPN]).provides
    rcnn, dense = (ModelSpec("m", f"tiny_{name}", "none") for name in ("faster_rcnn", "retinanet"))
    assert dense.provides - rcnn.provides == BOTH
    for signal in BOTH:
        assert "take a dense detector, for example model=retinanet" in rcnn.remedy_for({signal})
