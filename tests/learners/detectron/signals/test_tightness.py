"""PROPOSAL_IOU against a search for the proposal that each box was refined from; refused where there are no proposals."""

import numpy as np
import pytest
import torch
from narrow_models import (
    C4,
    FCOS_LAZY,
    FPN,
    RETINANET,
    chooser,
    counting,
    images,
    narrow,
    overlap,
    refined_proposals,
    stock,
)

from al_cli.learners.detectron.signals.tap import tap
from al_cli.learners.spec import ModelSpec
from al_cli.types import Signal

TIGHTNESS = frozenset({Signal.PROPOSAL_IOU})


@pytest.fixture(scope="module", params=[C4, FPN], ids=["c4", "fpn"])
def model(request, models):
    return models[request.param]


def by_hand(model, batch):
    """Per image {(score, class): IoU}: every proposal refined for every class, from the model's own pieces."""
    with torch.no_grad():
        boxes, _, logits, refined = refined_proposals(model, batch)
    tables, start = [], 0
    for one, own in zip(batch, boxes, strict=True):
        height, width = one["image"].shape[-2:]
        table = {}
        for row, proposal in enumerate(own.tensor.tolist(), start):
            for c, score in enumerate(logits[row].softmax(0)[:-1].tolist()):
                x0, y0, x1, y1 = refined[row, c].tolist()
                box = [min(max(x0, 0), width), min(max(y0, 0), height), min(max(x1, 0), width), min(max(y1, 0), height)]
                if box[2] > box[0] and box[3] > box[1]:
                    table[score, c] = overlap(proposal, box)
        tables.append(table)
        start += len(own)
    return tables


def test_each_box_against_its_own_proposal(model):
    batch = images()
    detections = tap(model)(batch, TIGHTNESS)
    for one, theirs, table in zip(detections, stock(model, batch), by_hand(model, batch), strict=True):
        assert len(one.instances) == len(theirs) >= 30
        scores, classes = one.instances.scores.tolist(), one.instances.pred_classes.tolist()
        expected = [
            table[min(table, key=lambda k: (k[1] != c, abs(k[0] - s)))] for s, c in zip(scores, classes, strict=True)
        ]
        column = one.columns[Signal.PROPOSAL_IOU].numpy()
        np.testing.assert_allclose(column, expected, atol=1e-4)
        assert column.std() > 0.05 and column.min() >= 0 and column.max() <= 1


def test_it_comes_with_the_plain_pass(model):
    with counting(model.backbone) as backbone, counting(model.roi_heads.box_predictor) as heads:
        tap(model)(images(), TIGHTNESS)
    assert (len(backbone), len(heads)) == (1, 1)


def test_no_detections_no_rows(model, monkeypatch):
    monkeypatch.setattr(chooser(model), "test_score_thresh", 1.0)
    assert [tuple(d.columns[Signal.PROPOSAL_IOU].shape) for d in tap(model)(images(), TIGHTNESS)] == [(0,)] * 2


@pytest.mark.parametrize("name", [RETINANET, FCOS_LAZY], ids=["retinanet", "fcos"])
def test_dense_detectors_have_no_proposals(name):
    spec = ModelSpec("m", name, "none")
    assert Signal.PROPOSAL_IOU not in spec.provides
    assert "refines no proposals" in spec.remedy_for(TIGHTNESS)
    with pytest.raises(ValueError, match="proposal_iou"):
        tap(narrow(name))(images(), TIGHTNESS)


def test_two_stage_detectors_do():
    for config in (C4, FPN, "tiny_faster_rcnn"):
        assert Signal.PROPOSAL_IOU in ModelSpec("m", config, "none").provides
