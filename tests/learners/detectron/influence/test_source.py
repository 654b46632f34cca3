"""Influence on real detectors, against the stock model's own training loss and one backward pass an image.

The reference never uses what the code recorded: it calls the model as Detectron2's trainer does, on one image, and
differentiates what comes out with respect to the model's own parameters.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from influence_models import (
    MODELS,
    THRESHOLD,
    batch_of,
    build,
    direction_for,
    enliven,
    mapper,
    stock_gradient,
    stock_pseudo_labels,
)
from torch import nn

from al_cli.datasets.yolo import load_yolo
from al_cli.errors import ConfigError, ModelError
from al_cli.learners.detectron.influence import head_loss as head_loss_module
from al_cli.learners.detectron.influence.head_loss import REACH
from al_cli.learners.detectron.influence.last_layers import last_layers
from al_cli.learners.detectron.influence.pseudo_labels import PseudoLabels
from al_cli.learners.detectron.influence.source import InfluenceSource, LabeledLosses
from al_cli.learners.detectron.signals.views import outputs_of
from al_cli.learners.detectron.training.loss import NORMALIZER, batch_losses
from al_cli.learners.pytorch.lissa import (
    gradient,
    hessian_product,
    inverse_hessian_product,
    largest_curvature,
)
from al_cli.learners.spec import InfluenceSpec
from al_cli.types import Dataset, Signal

LAYERS = {
    "tiny_faster_rcnn": {"objectness_logits", "anchor_deltas", "cls_score", "bbox_pred"},
    "c4": {"objectness_logits", "anchor_deltas", "cls_score", "bbox_pred"},
    "tiny_retinanet": {"cls_score", "bbox_pred"},
    "fcos": {"cls_score", "bbox_pred", "ctrness"},
}


@pytest.fixture(scope="module")
def data(yolo_root) -> Dataset:
    return load_yolo(yolo_root).train


@pytest.fixture(scope="module")
def models(data, one_thread):
    return {name: enliven(build(name), batch_of(data.select(data.ids[:6]))) for name in MODELS}


@pytest.fixture(params=MODELS)
def model(request, models):
    """As training leaves it: training mode, and for a dense detector a running normaliser."""
    one = models[request.param].train()
    if not hasattr(one, "roi_heads"):
        setattr(one, NORMALIZER, 7.0)
    return one


@pytest.fixture
def name(request):
    return request.node.callspec.params["model"]


@pytest.fixture
def six(data):
    """Six images; the fifth has no objects."""
    dataset = data.select(data.ids[:6])
    assert [len(image.classes) == 0 for image in dataset.images] == [False] * 4 + [True, False]
    return dataset


def by_detections(layers, batch, threshold=THRESHOLD):
    """The loss of images labeled by their own detections, one class each."""
    ((loss, weights),) = layers.expected(*layers.maps(batch), PseudoLabels(threshold)).passes
    assert weights is None
    return loss


def forward_mode(loss, theta, direction):
    """The derivative by dual numbers: no backward pass at all."""
    with torch.no_grad(), forward_ad.dual_level():
        return forward_ad.unpack_dual(loss(forward_ad.make_dual(theta, direction))).tangent


def symmetric(loss, theta, direction):
    """By dual numbers, with every output REACH ahead and REACH behind its place in the direction of its move."""
    with torch.no_grad():
        outputs, moves = (loss.layers.outputs(weights, loss.inputs) for weights in (theta, direction))
    slopes = []
    for step in (REACH, -REACH):
        with torch.no_grad(), EventStorage(), forward_ad.dual_level():
            moved = {
                name: [forward_ad.make_dual(x + step * m.sign(), m) for x, m in zip(levels, moves[name], strict=True)]
                for name, levels in outputs.items()
            }
            value = sum(loss.layers.losses(moved, *loss.fixed).values())
            slopes.append(forward_ad.unpack_dual(value).tangent)
    return sum(slopes) / 2


def alone(loss, i):
    """The recorded loss of the batch's image i alone, with inputs and boxes that differ by a relative 1e-6: the last digits
    that another kernel or another batch gives. What the image was matched with stays as it is."""
    generator = torch.Generator().manual_seed(i)

    def rounded(x):
        return x * (1 + 1e-6 * torch.randn(x.shape, generator=generator))

    anchors, labels, boxes, *proposals = loss.fixed
    inputs = {name: [x[i : i + 1] for x in levels] for name, levels in loss.inputs.items()}
    own = []
    if proposals:  # R-CNN: the box layers have a row a proposal, not an image
        counts = [len(one) for one in proposals[0]]
        inputs |= {name: [loss.inputs[name][0].split(counts)[i]] for name in ("cls_score", "bbox_pred")}
        one = proposals[0][i][:]
        one.proposal_boxes = Boxes(rounded(one.proposal_boxes.tensor))
        own = [[one]]
    return replace(
        loss,
        inputs={name: [rounded(x) for x in levels] for name, levels in inputs.items()},
        fixed=(anchors, labels[i : i + 1], [rounded(boxes[i])], *own),
    )


# --- tests


def test_the_last_layers_are_those_of_the_paper(model, name):
    """And theta holds every weight and bias of them."""
    layers, modules = last_layers(model), dict(model.named_modules())
    assert {full.split(".")[-1] for full, m in modules.items() if m in set(layers.layers.values())} == LAYERS[name]
    assert len(layers.theta()) == sum(p.numel() for layer in layers.layers.values() for p in layer.parameters())


def test_the_recorded_loss_is_the_models_own(model, six):
    batch, layers = batch_of(six), last_layers(model)
    theta = layers.theta()
    ours = [float(layers.record([one])(theta)) for one in batch]
    stock = [value for value, _ in batch_losses(model, [[one] for one in batch], as_in_training=False)]
    assert ours == pytest.approx(stock, rel=1e-4)
    assert len(set(ours)) == 6


def test_a_batch_gives_each_image_its_own_derivative(model, six):
    """By its labels, so that no last digit changes what is matched: against one stock backward pass each, and dual numbers."""
    batch, layers = batch_of(six), last_layers(model)
    theta = layers.theta()
    direction = direction_for(theta)
    together = layers.record(batch).derivatives(theta, direction)
    assert together.shape == (6,) and not together.requires_grad
    for value, one in zip(together, batch, strict=True):
        expected = stock_gradient(model, one)[0]
        near = {"abs": 1e-4 * float(expected.norm() * direction.norm())}
        assert float(value) == pytest.approx(float(expected @ direction), **near)
        assert float(value) == pytest.approx(float(forward_mode(layers.record([one]), theta, direction)), **near)


def test_pseudo_labels_do_not_leave_it_to_a_rounding(model, six):
    """Some outputs have themselves for a target: a kink, where neither the last digits nor the rest of the batch may decide.

    The matching is recorded once, so that only roundings differ. An output may by chance lie about REACH from its target,
    where a rounding does decide: the derivatives with a shorter and a longer step differ by what it would change.
    """
    labeled = [stock_pseudo_labels(model, one) for one in batch_of(six, labels=False)]
    layers = last_layers(model)
    theta = layers.theta()
    direction = direction_for(theta)
    loss = layers.record(labeled)
    together = loss.derivatives(theta, direction)
    with pytest.MonkeyPatch.context() as patch:
        bounds = []
        for length in (0.8, 1.2):
            patch.setattr(head_loss_module, "REACH", length * REACH)
            bounds.append(loss.derivatives(theta, direction))
    for i, value in enumerate(together):
        by_chance = float((bounds[0][i] - bounds[1][i]).abs())
        expected = float(alone(loss, i).derivatives(theta, direction))
        assert float(value) == pytest.approx(expected, abs=by_chance + 1e-4 * float(together.abs().max()))


def test_derivatives_equal_one_backward_pass_an_image_through_the_stock_model(model, six):
    """On pseudo labels. Hessian products equal finite differences of the gradient where the loss is smooth: not along the
    box layers, whose L1 and GIoU losses have kinks."""
    layers = last_layers(model)
    theta, batch = layers.theta(), batch_of(six, labels=False)
    direction = direction_for(theta)
    labeled = [stock_pseudo_labels(model, one) for one in batch]
    counts = [len(one["instances"]) for one in labeled]
    assert max(counts) > 2
    for image, one in zip(batch, labeled, strict=True):
        loss = by_detections(layers, [image])
        expected, value = stock_gradient(model, one)
        scale = float(expected.norm() * direction.norm())
        assert float(loss(theta)) == pytest.approx(value, rel=1e-4)
        assert float(forward_mode(loss, theta, direction)) == pytest.approx(
            float(expected @ direction), abs=1e-4 * scale
        )
        assert float(loss.derivatives(theta, direction)) == pytest.approx(
            float(symmetric(loss, theta, direction)), abs=1e-3 * scale
        )
        assert float((gradient(loss, theta) - expected).norm()) < 1e-3 * float(expected.norm())
    smooth = [
        torch.full((p.numel(),), float("cls" in part or "objectness" in part or "ctrness" in part))
        for part, layer in layers.layers.items()
        for p in layer.parameters()
    ]
    along = direction * torch.cat(smooth)
    product = hessian_product(loss, theta, along)
    finite = (gradient(loss, theta + 0.01 * along) - gradient(loss, theta - 0.01 * along)) / 0.02
    assert float((product - finite).norm()) < 0.01 * float(product.norm())


def test_without_detections_it_is_the_loss_of_the_background(model, six):
    layers = last_layers(model)
    [one] = batch_of(six.select(six.ids[:1]), labels=False)
    loss = by_detections(layers, [one], threshold=1.0)
    size = tuple(one["image"].shape[-2:])
    empty = Instances(size, gt_boxes=Boxes(torch.zeros(0, 4)), gt_classes=torch.zeros(0, dtype=torch.int64))
    expected, value = stock_gradient(model, {"image": one["image"], "instances": empty})
    assert float(loss(layers.theta())) == pytest.approx(value, rel=1e-4)
    direction = direction_for(expected)
    slope = float(loss.derivatives(layers.theta(), direction))
    assert slope == pytest.approx(float(expected @ direction), abs=1e-4 * float(expected.norm()))
    assert slope != 0
    assert float(loss.derivatives(layers.theta(), 0 * direction)) == 0


def source(model, data, **spec):
    spec = InfluenceSpec(**{"threshold": THRESHOLD, "samples": 8, "repeats": 2, **spec})
    labeled, reference = data.select(data.ids[10:22]), data.select(data.ids[30:36])
    return InfluenceSource(model, mapper_of, labeled=labeled, reference=reference, spec=spec)


def signal_of(one, signal, images):
    """[N] One image at a time: in a batch the last digits differ, and with random weights some of 100 scores lie at the
    threshold."""
    read = one.reader(signal)
    return np.array([float(read(*one.layers.maps([image]))) for image in batch_of(images, labels=False)])


def mapper_of(*, labels):
    return mapper(labels)


def test_the_signals_by_their_definition(model, data, six):
    """g is the mean of stock gradients over the reference set; I and S are the slopes of each image's pseudo-labelled loss
    along s and g, here by dual numbers."""
    one = source(model, data)
    influence, similarity = (signal_of(one, s, six) for s in (Signal.INFLUENCE, Signal.GRADIENT_SIMILARITY))
    assert np.isfinite(influence).all() and len(set(influence)) == 6

    reference = [stock_gradient(model, image)[0] for image in batch_of(one.reference)]
    g = torch.stack(reference).mean(0)
    assert float((g - one.gradient).norm()) < 1e-3 * float(g.norm())
    for i, image in enumerate(batch_of(six, labels=False)):
        loss = one.layers.record([stock_pseudo_labels(model, image)])
        size = float(gradient(loss, one.theta).norm())
        for value, along in ((-influence[i], one.direction), (similarity[i], g)):
            expected = float(symmetric(loss, one.theta, along))
            assert value == pytest.approx(expected, abs=1e-3 * size * float(along.norm()))


@pytest.mark.slow
def test_the_direction_is_a_damped_inverse(model, data):
    """Of (H + damping scale I), H the mean Hessian of few images, seen often: s has to give g back."""
    one = source(model, data)
    losses = LabeledLosses(one.layers, mapper(True), one.labeled)
    scale, damping = 2 * largest_curvature([losses[0], losses[1]], one.theta), 0.2
    orders = np.tile([0, 1], (1, 200))
    s = inverse_hessian_product(losses, one.theta, one.gradient, orders=orders, damping=damping, scale=scale)
    back = sum(hessian_product(losses[i], one.theta, s) for i in (0, 1)) / 2 + damping * scale * s
    assert float((back - one.gradient).norm()) < 0.15 * float(one.gradient.norm())


def test_twice_the_same_and_the_model_stays_as_it_was(model, data, six):
    """Bit for bit; weights, modes, normaliser, hooks and the generator untouched."""
    few = {"samples": 3, "repeats": 1}
    state = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    generator, normaliser = torch.get_rng_state(), model.__dict__.get(NORMALIZER)
    first = signal_of(source(model, data, **few), Signal.INFLUENCE, six)
    assert torch.equal(torch.get_rng_state(), generator)
    assert modes == [module.training for module in model.modules()]
    assert model.__dict__.get(NORMALIZER) == normaliser
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())

    torch.manual_seed(99)
    assert np.array_equal(signal_of(source(model, data, **few), Signal.INFLUENCE, six), first)
    assert not np.array_equal(signal_of(source(model, data, threshold=1.0, **few), Signal.INFLUENCE, six), first)


def test_a_reader_makes_no_pass_of_its_own(models, data, six):
    """It answers for a whole batch from the maps of one pass through the backbone."""
    one, batch = source(models["tiny_retinanet"], data), batch_of(six, labels=False)
    for signal in (Signal.INFLUENCE, Signal.GRADIENT_SIMILARITY):
        read = one.reader(signal)
        with outputs_of(one.layers.model.backbone) as passes:
            assert read(*one.layers.maps(batch)).shape == (6,)
        assert len(passes) == 1


def test_labeled_losses_are_the_same_whether_kept_or_not(models, data):
    layers, few = last_layers(models["tiny_faster_rcnn"]), data.select(data.ids[:3])
    kept, fresh = LabeledLosses(layers, mapper(True), few), LabeledLosses(layers, mapper(True), few, limit=0)
    assert len(kept) == 3 and kept[1] is kept[1] and fresh[1] is not fresh[1]
    theta = layers.theta()
    assert torch.equal(kept[2](theta), fresh[2](theta))
    tight = LabeledLosses(layers, mapper(True), few, limit=kept[0].nbytes + 1)
    assert tight[0] is tight[0] and tight[1] is not tight[1]


def test_how_many_images_estimate_the_hessian(models, data):
    """ISAL: at most 500 for R-CNN; never more than there are."""
    steps = []
    one = source(models["tiny_faster_rcnn"], data, samples=None, repeats=1)
    one.layers.losses, stock = (lambda *args: steps.append(1) or stock(*args)), one.layers.losses
    _ = one.gradient
    steps.clear()
    _ = one.direction
    probed = 10 * 10  # power iterations that find the scale
    assert len(steps) == probed + len(one.labeled)


def test_it_refuses_what_it_cannot_do(models, data):
    with pytest.raises(ModelError, match="supported: GeneralizedRCNN"):
        last_layers(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="0 reference"):
        InfluenceSource(models["fcos"], mapper_of, labeled=data, reference=data.select([]), spec=InfluenceSpec())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": "vall"}, "did you mean val"),
        ({"threshold": 1.5}, r"influence\.threshold=1\.5.*\[0, 1\]"),
        ({"samples": 0}, r"influence\.samples=0"),
        ({"classes": 0}, r"influence\.classes=0"),
        ({"classes": None}, r"influence\.classes=null"),
        ({"repeats": None}, r"influence\.repeats=null"),
        ({"repeats": True}, r"influence\.repeats=true"),
        ({"damping": 1.0}, r"influence\.damping=1\.0"),
        ({"scale": 0.0}, r"influence\.scale=0\.0"),
        ({"scale": float("nan")}, r"influence\.scale=nan"),
    ],
)
def test_settings_that_cannot_work(options, message):
    with pytest.raises(ConfigError, match=message):
        InfluenceSpec(**options).check()


def test_defaults_are_valid():
    assert InfluenceSpec().check() == InfluenceSpec("val", 1, 0.5, None, 4, 0.01, None)
    assert InfluenceSpec.of({"threshold": 0.3}) == InfluenceSpec(threshold=0.3)
    with pytest.raises(ConfigError, match=r"model\.influence\.treshold.*did you mean threshold"):
        InfluenceSpec.of({"treshold": 0.3})
