"""Taps against Detectron2's own output, and against a search for the proposal or anchor that made each box.

The reference never asks which row was kept: it scores and decodes every proposal or anchor from the model's stock
pieces, places anchors on the feature map by their geometry, and looks for the one with the detection's box and score.
"""

import copy

import numpy as np
import pytest
import torch
from detectron2 import model_zoo
from detectron2.modeling import FCOS, build_model
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.structures import Boxes
from narrow_models import (
    C4,
    CLASSES,
    FCOS_LAZY,
    FPN,
    RETINANET,
    assert_same,
    chooser,
    counting,
    images,
    narrow,
    refined_proposals,
    stock,
)
from torch.nn import functional as F

from al_cli.errors import ModelError
from al_cli.learners.detectron.signals.tap import tap
from al_cli.types import Signal

ALL = frozenset({Signal.PROBS, Signal.BOX_FEATURES, Signal.IMAGE_FEATURES})
FEATURES = {C4: 128, FPN: 32, RETINANET: 16, FCOS_LAZY: 32}
MAPS = {C4: 64, FPN: 5 * 16, RETINANET: 5 * 16, FCOS_LAZY: 5 * 32}


@pytest.fixture(params=list(FEATURES), ids=["c4", "fpn", "retinanet", "fcos"])
def model(request, models):
    return models[request.param]


@pytest.fixture
def name(request):
    return request.node.callspec.params["model"]


def raw_instances(model, batch):
    """The stock model's detections before they are resized to the original image."""
    with torch.no_grad():
        if hasattr(model, "roi_heads"):
            return model.inference(batch, do_postprocess=False)
        images_ = model.preprocess_image(batch)
        maps = model.backbone(images_.tensor)
        maps = [maps[f] for f in model.head_in_features]
        return model.forward_inference(images_, maps, model.head(maps))


# --- the reference: all proposals or anchors of an image: probabilities [R, C], boxes [R, C or 1, 4], vectors [R, D]


def everything_rcnn(model, batch):
    boxes, vectors, logits, refined = refined_proposals(model, batch)
    probs = logits.sigmoid() if model.roi_heads.box_predictor.use_sigmoid_ce else F.softmax(logits, dim=1)
    counts = [len(b) for b in boxes]
    return list(zip(*(p.split(counts) for p in (probs[:, :-1], refined, vectors)), strict=True))


def everything_dense(model, batch):
    images_ = model.preprocess_image(batch)
    maps = model.backbone(images_.tensor)
    maps = [maps[f] for f in model.head_in_features]
    outputs = model.head(maps)
    per_image = []
    for i in range(len(batch)):
        rows = []
        for level, (anchors, cells) in enumerate(
            zip(model.anchor_generator(maps), model.anchor_generator.cell_anchors, strict=True)
        ):
            stride = model.anchor_generator.strides[level]
            x, y = (
                (anchors.get_centers() / stride + 0.25).floor().long().unbind(1)
            )  # centers lie on k or k + 0.5 strides
            wanted = anchors.tensor[:, 2:] - anchors.tensor[:, :2]
            shapes = cells[:, 2:] - cells[:, :2]
            a = (wanted[:, None] - shapes[None]).abs().sum(2).argmin(1)
            grid = (len(cells), -1, *maps[level].shape[-2:])  # the head's channels are (anchor shape, number)
            scores, deltas, *centerness = (output[level][i].view(grid)[a, :, y, x] for output in outputs)
            probs = scores.sigmoid()
            if isinstance(model, FCOS):
                probs = torch.sqrt(probs * centerness[0].sigmoid())
            boxes = model.box2box_transform.apply_deltas(deltas, anchors.tensor)
            rows.append((probs, boxes[:, None], model.head.cls_subnet(maps[level])[i][:, y, x].T))
        per_image.append(tuple(torch.cat(part) for part in zip(*rows, strict=True)))
    return per_image


def assert_rows_are_found(model, batch, detections):
    """Each detection's columns are those of the one proposal or anchor that decodes to its box with its score."""
    with torch.no_grad():
        sources = (everything_rcnn if hasattr(model, "roi_heads") else everything_dense)(model, batch)
    rows_found = []
    for image, one, (probs, boxes, vectors) in zip(batch, detections, sources, strict=True):
        height, width = image["image"].shape[-2:]
        for row in range(len(one.instances)):
            box, c = one.instances.pred_boxes.tensor[row], int(one.instances.pred_classes[row])
            decoded = Boxes(torch.nan_to_num(boxes[:, c if boxes.shape[1] > 1 else 0]))
            if hasattr(model, "roi_heads"):
                decoded.clip((height, width))
            decoded.scale(image["width"] / width, image["height"] / height)
            decoded.clip((image["height"], image["width"]))
            match = (probs[:, c] == one.instances.scores[row]) & (decoded.tensor == box).all(dim=1)
            (found,) = match.nonzero()[:, 0].tolist()
            assert torch.equal(one.columns[Signal.PROBS][row], probs[found])
            assert torch.equal(one.columns[Signal.BOX_FEATURES][row], vectors[found])
            rows_found.append(found)
    return rows_found


# --- the same detections, and the right columns beside them


def test_detections_are_the_stock_models_to_the_bit(model, name):
    batch = images()
    theirs = stock(model, batch)
    assert min(len(t) for t in theirs) >= 30 and len(theirs[0].pred_classes.unique()) > 1
    for signals in (frozenset(), ALL):
        for ours, instances in zip(tap(model)(batch, signals), theirs, strict=True):
            assert_same(ours.instances, instances)
            assert set(ours.columns) == signals


def test_columns_have_their_shapes_and_the_score_is_the_probability(model, name):
    for one in tap(model)(images(), ALL):
        m = len(one.instances)
        probs = one.columns[Signal.PROBS]
        assert probs.shape == (m, CLASSES)
        assert one.columns[Signal.BOX_FEATURES].shape == (m, FEATURES[name])
        assert one.columns[Signal.IMAGE_FEATURES].shape == (MAPS[name],)
        assert torch.equal(probs[torch.arange(m), one.instances.pred_classes], one.instances.scores)
        assert (probs.sum(dim=1) < 1).all() if tap(model).prob_kind == "softmax" else (probs.sum(dim=1) > 1).any()


def test_activations_of_the_one_layer_are_the_mean_and_largest_of_the_box_features(model, monkeypatch):
    both = frozenset({Signal.BOX_FEATURES, Signal.LAYER_ACTIVATIONS})
    for one, alone in zip(tap(model)(images(), both), tap(model)(images(), frozenset(both - ALL)), strict=True):
        features = one.columns[Signal.BOX_FEATURES].double().numpy()
        expected = np.stack([features.mean(1), features.max(1)], 1)[:, None]
        assert np.array_equal(one.columns[Signal.LAYER_ACTIVATIONS].numpy(), expected.astype(np.float32))
        assert alone.columns.keys() == {Signal.LAYER_ACTIVATIONS}
        assert torch.equal(alone.columns[Signal.LAYER_ACTIVATIONS], one.columns[Signal.LAYER_ACTIVATIONS])
        assert len(one.instances) and not alone.instances.has(Signal.BOX_FEATURES)
    monkeypatch.setattr(chooser(model), "test_score_thresh", 1.0)
    assert [d.columns[Signal.LAYER_ACTIVATIONS].shape for d in tap(model)(images(), both)] == [(0, 1, 2)] * 2


def test_every_row_belongs_to_the_proposal_or_anchor_that_made_its_box(model):
    batch = images()
    found = assert_rows_are_found(model, batch, tap(model)(batch, ALL))
    assert len(found) >= 60
    if not hasattr(model, "roi_heads"):  # boxes of more than one level, so that a level taken for another would show
        finest = (96 // 8) * (128 // 8) * model.anchor_generator.num_anchors[0]  # images are padded to 96 x 128
        assert min(found) < finest < max(found)


def test_boxes_dropped_by_postprocessing_take_their_columns_along(model):
    batch = images()
    raw = raw_instances(model, batch)
    detections = tap(model)(batch, ALL)
    assert sum(len(r) for r in raw) > sum(len(d.instances) for d in detections)
    assert_rows_are_found(model, batch, detections)


def test_a_score_on_the_threshold_is_dropped_as_in_stock(model, monkeypatch):
    batch = images()
    edge = stock(model, batch)[0].scores[10].item()
    monkeypatch.setattr(chooser(model), "test_score_thresh", edge)
    detections = tap(model)(batch, ALL)
    assert detections[0].instances.scores.min() > edge
    for ours, theirs in zip(detections, stock(model, batch), strict=True):
        assert_same(ours.instances, theirs)
    assert_rows_are_found(model, batch, detections)
    monkeypatch.setattr(chooser(model), "test_score_thresh", float(np.nextafter(np.float32(edge), np.float32(0))))
    assert edge in tap(model)(batch)[0].instances.scores.tolist()


def test_an_image_without_detections_has_empty_columns(model, name, monkeypatch):
    batch = images()
    best = [float(t.scores.max()) for t in stock(model, batch)]
    monkeypatch.setattr(chooser(model), "test_score_thresh", min(best))
    detections = tap(model)(batch, ALL)
    empty, full = detections[int(np.argmin(best))], detections[int(np.argmax(best))]
    assert len(empty.instances) == 0 and len(full.instances) > 0
    assert empty.columns[Signal.PROBS].shape == (0, CLASSES)
    assert empty.columns[Signal.BOX_FEATURES].shape == (0, FEATURES[name])
    assert empty.columns[Signal.IMAGE_FEATURES].shape == (MAPS[name],)
    assert_rows_are_found(model, batch, detections)
    monkeypatch.setattr(chooser(model), "test_score_thresh", 1.0)
    assert [d.columns[Signal.BOX_FEATURES].shape for d in tap(model)(batch, ALL)] == [(0, FEATURES[name])] * 2


def test_image_features_average_the_images_own_cells(model):
    batch = images()
    with torch.no_grad():
        maps = model.backbone(model.preprocess_image(batch).tensor)
    for i, one in enumerate(tap(model)(batch, frozenset({Signal.IMAGE_FEATURES}))):
        height, width = batch[i]["image"].shape[-2:]
        expected = []
        for level in sorted(maps, key=lambda level: -maps[level].shape[-1]):
            stride = model.backbone.output_shape()[level].stride
            h, w = int(np.ceil(height / stride)), int(np.ceil(width / stride))
            expected.append(maps[level][i].numpy()[:, :h, :w].mean(axis=(1, 2), dtype=np.float64))
        np.testing.assert_allclose(one.columns[Signal.IMAGE_FEATURES], np.concatenate(expected), rtol=1e-4, atol=1e-6)


# --- one pass, and no trace of it


def test_one_pass_through_backbone_and_head(model):
    head = model.roi_heads.box_predictor if hasattr(model, "roi_heads") else model.head
    with counting(model.backbone) as backbone, counting(head) as heads:
        tap(model)(images(), ALL)
    assert (len(backbone), len(heads)) == (1, 1)


def test_the_model_is_left_as_it_was(model):
    model.train()
    model.backbone.eval()  # a mixed state, as with a frozen backbone
    modules = list(model.modules())
    modes = [m.training for m in modules]
    weights = copy.deepcopy(dict(model.state_dict()))
    attributes = [sorted(vars(m)) for m in modules]
    random = torch.get_rng_state()
    try:
        detections = tap(model)(images(), ALL)
        assert [m.training for m in modules] == modes
    finally:
        model.eval()
    assert torch.is_grad_enabled()
    assert [id(m) for m in model.modules()] == [id(m) for m in modules]
    assert [sorted(vars(m)) for m in modules] == attributes
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in modules)
    assert all(torch.equal(weights[k], v) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(c.requires_grad or c.is_inference() for d in detections for c in d.columns.values())


def test_the_model_is_left_as_it_was_when_inference_fails(model):
    model.train()
    try:
        with pytest.raises(KeyError):
            tap(model)([{"height": 10, "width": 10}], ALL)
        assert all(m.training for m in model.modules())
        assert not any(m._forward_hooks for m in model.modules())
    finally:
        model.eval()


def test_a_tap_follows_the_weights_of_its_model(models):
    model = copy.deepcopy(models[FPN])
    read = tap(model)
    before = read(images())[0].instances.scores
    model.load_state_dict({k: v * 0.9 for k, v in model.state_dict().items()})
    after = read(images())[0].instances
    assert_same(after, stock(model, images())[0])
    assert not torch.equal(after.scores[:10], before[:10])


# --- variants


@pytest.mark.parametrize("name", [C4, FPN])
def test_class_agnostic_boxes(name):
    model = narrow(name, **{"MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True})
    batch = images()
    detections = tap(model)(batch, ALL)
    for ours, theirs in zip(detections, stock(model, batch), strict=True):
        assert_same(ours.instances, theirs)
    assert_rows_are_found(model, batch, detections)


def test_sigmoid_classifier_of_rcnn():
    model = narrow(FPN, **{"MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": True})
    detections = tap(model)(images(), ALL)
    assert tap(model).prob_kind == "sigmoid" and tap(narrow(FPN)).prob_kind == "softmax"
    assert_rows_are_found(model, images(), detections)


@pytest.mark.parametrize("name", [C4, FPN])
def test_proposals_that_are_not_finite_do_not_shift_the_rows(name, models):
    """Stock inference drops such proposals before it counts which it kept."""
    model = models[name]

    def spoil(_module, _inputs, outputs):
        outputs[0][::3], outputs[1][1::7] = float("nan"), float("inf")

    handle = model.roi_heads.box_predictor.register_forward_hook(spoil)
    try:
        detections = tap(model)(images(), ALL)
        for ours, theirs in zip(detections, stock(model, images()), strict=True):
            assert len(theirs) > 10
            assert_same(ours.instances, theirs)
        assert_rows_are_found(model, images(), detections)
    finally:
        handle.remove()


@pytest.mark.parametrize("config", ["mask_rcnn_R_50_FPN_3x.yaml", "mask_rcnn_R_50_C4_3x.yaml"])
def test_masks_come_along(config):
    model = narrow(f"COCO-InstanceSegmentation/{config}", **{"MODEL.ROI_MASK_HEAD.CONV_DIM": 8})
    detections = tap(model)(images(), ALL)
    for ours, theirs in zip(detections, stock(model, images()), strict=True):
        assert theirs.has("pred_masks")
        assert_same(ours.instances, theirs)
    assert_rows_are_found(model, images(), detections)


# --- refusals


class FickleProbabilities(FastRCNNOutputLayers):
    """Asked again, it answers otherwise, as would a release that takes its scores from elsewhere."""

    def predict_probs(self, predictions, proposals):
        return [p * torch.rand(()) for p in super().predict_probs(predictions, proposals)]


class OwnInference(FastRCNNOutputLayers):
    def inference(self, predictions, proposals):
        return super().inference(predictions, proposals)


def test_probabilities_that_are_not_the_scores_are_an_error(models):
    model = copy.deepcopy(models[FPN])
    model.roi_heads.box_predictor.__class__ = FickleProbabilities
    with pytest.raises(ModelError, match="scores are not the probability of their class"):
        tap(model)(images(), ALL)


def test_a_predictor_with_its_own_inference_is_refused(models):
    model = copy.deepcopy(models[C4])
    model.roi_heads.box_predictor.__class__ = OwnInference
    with pytest.raises(ModelError, match="Res5ROIHeads"):
        tap(model)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("Misc/cascade_mask_rcnn_R_50_FPN_3x.yaml", "CascadeROIHeads"),
        ("COCO-Detection/rpn_R_50_FPN_1x.yaml", "ProposalNetwork"),
    ],
)
def test_an_architecture_that_cannot_be_tapped_is_refused(config, named):
    settings = model_zoo.get_config(config)
    settings.MODEL.DEVICE = "cpu"
    with pytest.raises(ModelError, match=f"{named}.*supported: GeneralizedRCNN .*RetinaNet, FCOS"):
        tap(build_model(settings))


def test_any_other_module_is_refused():
    with pytest.raises(ModelError, match="Linear"):
        tap(torch.nn.Linear(2, 2))


def test_a_signal_the_tap_does_not_have_is_refused_before_the_pass(models):
    with counting(models[FPN].backbone) as calls, pytest.raises(ValueError, match="dropout"):
        tap(models[FPN])(images(), frozenset({Signal.DROPOUT}))
    assert not calls
