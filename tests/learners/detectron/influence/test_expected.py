"""Pseudo labels and the gradient to expect of them (ISAL, eq. 3), against derivatives of separately labeled losses."""

import pytest
import torch
from detectron2.modeling import FCOS
from detectron2.structures import Boxes, Instances
from influence_models import CLASSES, batch_of, build, direction_for, enliven, stock_gradient

from al_cli.datasets.yolo import load_yolo
from al_cli.errors import ConfigError
from al_cli.learners.detectron.influence.last_layers import last_layers
from al_cli.learners.detectron.influence.pseudo_labels import PseudoLabels
from al_cli.learners.detectron.learner import DetectronLearner
from al_cli.learners.detectron.signals.tap import tap
from al_cli.learners.spec import ModelSpec
from al_cli.learners.training_spec import TrainingSpec
from al_cli.types import Dataset, Signal

MODELS = ["tiny_faster_rcnn", "tiny_retinanet", "fcos"]
THRESHOLD = 0.45


@pytest.fixture(scope="module")
def six(yolo_root) -> Dataset:
    data = load_yolo(yolo_root).train
    return data.select(data.ids[:6])


@pytest.fixture(scope="module")
def models(six, one_thread):
    return {name: enliven(build(name), batch_of(six)) for name in MODELS}


@pytest.fixture(params=MODELS)
def model(request, models):
    return models[request.param]


def along_smooth_layers(layers):
    """A direction in which the loss has no kink: the box layers stay where they are."""
    smooth = [
        torch.full((p.numel(),), float(name not in ("deltas", "bbox_pred")))
        for name, layer in layers.layers.items()
        for p in layer.parameters()
    ]
    return direction_for(layers.theta()) * torch.cat(smooth)


def labeled_by_hand(model, one, threshold):
    """The image labeled with each detection's own class, then with its likeliest other one; and the mean chance of those."""
    [found] = tap(model)([{"image": one["image"], "image_id": 0}], frozenset({Signal.PROBS}))
    boxes, probs, own = found.instances.pred_boxes.tensor, found.columns[Signal.PROBS], found.instances.pred_classes
    root = 2 if isinstance(model, FCOS) else 1
    rows = [row for row in range(len(boxes)) if float(probs[row, own[row]]) ** root >= threshold]
    passes = []
    for k in (0, 1):
        classes, chances = [], []
        for row in rows:
            others = sorted((c for c in range(CLASSES) if c != own[row]), key=lambda c: -float(probs[row, c]))
            classes.append([int(own[row]), *others][k])
            chances.append(float(probs[row, classes[-1]]) ** root)
        size = tuple(one["image"].shape[-2:])
        labels = Instances(size, gt_boxes=Boxes(boxes[rows]), gt_classes=torch.tensor(classes, dtype=torch.int64))
        passes.append(({"image": one["image"], "instances": labels}, sum(chances) / len(rows) if rows else 1.0 - k))
    return passes, len(rows)


def test_two_classes_are_two_labeled_losses_each_weighted_by_its_chance(model, six):
    layers, batch = last_layers(model), batch_of(six.select(six.ids[:2]), labels=False)
    direction = along_smooth_layers(layers)
    counts = []
    for one in batch:
        ours = layers.expected(*layers.maps([one]), PseudoLabels(THRESHOLD, classes=2))
        passes, count = labeled_by_hand(model, one, THRESHOLD)
        gradients = [stock_gradient(model.train(), labeled)[0] for labeled, _ in passes]
        expected = sum(weight * float(g @ direction) for (_, weight), g in zip(passes, gradients, strict=True))
        size = float(sum(g.norm() for g in gradients) * direction.norm())
        assert float(ours.derivatives(layers.theta(), direction)) == pytest.approx(expected, abs=2e-4 * size)
        assert [float(weights) for _, weights in ours.passes] == pytest.approx([w for _, w in passes], rel=1e-5)
        once = layers.expected(*layers.maps([one]), PseudoLabels(THRESHOLD))
        assert [weights for _, weights in once.passes] == [None]
        plain = float(once.derivatives(layers.theta(), direction))
        assert plain == pytest.approx(float(gradients[0] @ direction), abs=2e-4 * size)
        counts.append(count)
    assert max(counts) > 2
    together = layers.expected(*layers.maps(batch), PseudoLabels(1.0, classes=2))
    assert [weights.tolist() for _, weights in together.passes] == [[1.0, 1.0], [0.0, 0.0]]  # no labels: one background


def test_the_threshold_is_in_the_units_of_the_paper(model, six):
    """FCOS' class score x centerness, here as its head puts them out: Detectron2's score is its root."""
    one = batch_of(six, labels=False)[0]
    layers = last_layers(model.eval())
    with torch.no_grad():
        [found] = model([one])
    found = found["instances"]
    published = found.scores
    if isinstance(model, FCOS):
        with torch.no_grad():
            logits, _, centerness = model.head([layers.maps([one])[0][name] for name in model.head_in_features])
        every = torch.cat([(x.sigmoid() * y.sigmoid()).flatten() for x, y in zip(logits, centerness, strict=True)])
        published = every[(every - found.scores[:, None] ** 2).abs().argmin(1)]
        assert (published < found.scores - 0.05).all()
    threshold = float(published.sort(descending=True).values[2:4].mean())  # between two detections
    [(labels, _)] = PseudoLabels(threshold).labelings([found], layers.published)
    assert torch.equal(labels[0].gt_boxes.tensor, found.pred_boxes.tensor[published >= threshold])
    assert len(labels[0]) == 3 < len(found)


def test_an_images_influence_does_not_depend_on_its_batch(six):
    """An untrained Faster R-CNN whose every faint box is a label: the step of a derivative that was set by the largest move of
    the batch turned the sign of one image here."""
    model, batch = build("tiny_faster_rcnn"), batch_of(six, labels=False)
    layers = last_layers(model.train())
    direction = direction_for(layers.theta())
    pseudo = PseudoLabels(0.005)
    together = layers.expected(*layers.maps(batch), pseudo).derivatives(layers.theta(), direction)
    alone = [layers.expected(*layers.maps([one]), pseudo).derivatives(layers.theta(), direction) for one in batch]
    assert together.tolist() == pytest.approx([float(value) for value in alone], abs=1e-4 * float(together.abs().max()))


def test_more_classes_than_the_data_has_are_refused():
    training = TrainingSpec(iterations=1, batch_size=2)
    for classes, names in ((3, "abc"), (4, "abcd")):
        spec = ModelSpec("m", "tiny_retinanet", "none", influence={"classes": classes})
        DetectronLearner(spec, training, tuple(names), iterations=1, device="cpu")
    with pytest.raises(ConfigError, match=r"model\.influence\.classes=4.*at most 3, the classes of the data"):
        DetectronLearner(spec, training, ("a", "b", "c"), iterations=1, device="cpu")
