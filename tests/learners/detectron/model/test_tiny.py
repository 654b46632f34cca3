"""The tiny models are stock Detectron2 models: they build from a config, survive a round trip, train, see all sizes."""

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model
from detectron2.modeling.meta_arch import GeneralizedRCNN, RetinaNet
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import nn

from al_cli.learners.detectron.model.tiny import tiny_faster_rcnn_cfg, tiny_retinanet_cfg

MODELS = [(tiny_faster_rcnn_cfg, GeneralizedRCNN), (tiny_retinanet_cfg, RetinaNet)]
BOTH = pytest.mark.parametrize(("make", "architecture"), MODELS, ids=["faster_rcnn", "retinanet"])


@pytest.fixture(autouse=True)
def one_thread():  # type: ignore[no-untyped-def]
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the second thread gains 5% alone and loses a factor of ten beside another process
    with torch.jit.optimized_execution(
        False
    ):  # else RetinaNet's scripted focal loss rounds otherwise after the first call
        yield
    torch.set_num_threads(before)


def build(cfg: CfgNode, seed: int = 0) -> nn.Module:
    cfg.MODEL.DEVICE = "cpu"
    torch.manual_seed(seed)
    return build_model(cfg)


def batch(height: int = 128, width: int = 128) -> list[dict]:
    """Four images of one bright rectangle each on a dark ground, class = its shape, and one image without objects."""
    images = []
    rng = np.random.default_rng(0)
    for number in range(5):
        image = torch.full((3, height, width), 60, dtype=torch.uint8)
        truth = Instances((height, width))
        box = torch.zeros(0, 4)
        if number < 4:
            w, h = ((24, 40), (60, 30))[number % 2]
            x, y = rng.integers(4, (width - w - 4, height - h - 4)).tolist()
            image[:, y : y + h, x : x + w] = 200
            box = torch.tensor([[x, y, x + w, y + h]], dtype=torch.float32)
        truth.gt_boxes, truth.gt_classes = Boxes(box), torch.full((len(box),), number % 2, dtype=torch.int64)
        images.append({"image": image, "instances": truth, "height": height, "width": width})
    return images


@BOTH
def test_stock_architecture_small_and_from_a_plain_config(make, architecture) -> None:  # type: ignore[no-untyped-def]
    cfg = make(7)
    again = get_cfg()  # knows stock keys only: a key of our own would fail here
    again.merge_from_other_cfg(CfgNode.load_cfg(cfg.dump()))
    model, copy = build(cfg), build(again)
    assert type(model) is architecture
    assert sum(p.numel() for p in model.parameters()) < 1_000_000
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), copy.state_dict().values(), strict=True))
    head = model.roi_heads.num_classes if architecture is GeneralizedRCNN else model.num_classes
    assert head == 7


@BOTH
@pytest.mark.parametrize("size", [(128, 128), (97, 150)])
def test_answers_for_any_image_size(make, architecture, size) -> None:  # type: ignore[no-untyped-def]
    model = build(make(3)).eval()
    with torch.no_grad():
        answers = model(batch(*size))
    assert len(answers) == 5
    for answer in answers:
        found = answer["instances"]
        assert found.image_size == size
        assert torch.isfinite(found.pred_boxes.tensor).all()
        assert len(found) == 0 or 0 <= int(found.pred_classes.min()) <= int(found.pred_classes.max()) < 3


def train(model: nn.Module, steps: int) -> list[float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    with EventStorage(0):
        for _ in range(steps):
            loss = sum(model.train()(batch()).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses


@BOTH
def test_equal_seeds_give_equal_losses(make, architecture) -> None:  # type: ignore[no-untyped-def]
    first, second = train(build(make(2), seed=4), 3), train(build(make(2), seed=4), 3)
    assert first == second != train(build(make(2), seed=5), 3)


@BOTH
def test_learns_two_shapes(make, architecture) -> None:  # type: ignore[no-untyped-def]
    """After 40 steps on five images the best box of each lies on its rectangle (IoU above 0.5) with the right class."""
    cfg = make(2)
    model = build(cfg)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.5  # the running statistics must follow within 40 steps
    train(model, 40)
    with torch.no_grad():
        answers = model.eval()(batch())
    for image, answer in list(zip(batch(), answers, strict=True))[:4]:
        found = answer["instances"]
        assert len(found) > 0
        best = int(found.scores.argmax())
        a, b = found.pred_boxes.tensor[best], image["instances"].gt_boxes.tensor[0]
        common = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0).prod()
        union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common
        assert common / union > 0.5
        assert int(found.pred_classes[best]) == int(image["instances"].gt_classes[0])


@BOTH
@pytest.mark.parametrize("side", [20, 27, 36, 50, 65, 80, 104])
def test_an_anchor_fits_every_size_of_digit(make, architecture, side) -> None:  # type: ignore[no-untyped-def]
    """Wherever a digit-shaped box lies, its best anchor has an IoU of at least 0.4: RetinaNet calls less background."""
    model = build(make(10))
    generator = model.proposal_generator.anchor_generator if architecture is GeneralizedRCNN else model.anchor_generator
    names = model.proposal_generator.in_features if architecture is GeneralizedRCNN else model.head_in_features
    strides = model.backbone.output_shape()
    grids = [torch.zeros(1, 1, 128 // strides[n].stride, 128 // strides[n].stride) for n in names]
    anchors = torch.cat([a.tensor for a in generator(grids)]).numpy()
    w, h = side * 0.9, side / 0.9
    for x, y in np.random.default_rng(0).uniform(2, (126 - w, 126 - h), (50, 2)):
        common = np.clip(np.minimum(anchors[:, 2:], (x + w, y + h)) - np.maximum(anchors[:, :2], (x, y)), 0, None).prod(
            1
        )
        union = (anchors[:, 2:] - anchors[:, :2]).prod(1) + w * h - common
        assert (common / union).max() >= 0.4
