"""The loss of single images and its parts, against what Detectron2's own models give in training mode."""

import math

import pytest
import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from narrow_models import FCOS_LAZY, narrow

from al_cli.learners.detectron.model.zoo import build, open_config
from al_cli.learners.detectron.trained_model import TrainedModel
from al_cli.learners.detectron.training.data import CachedMapper, ImageCache, ordered_batches, to_dicts
from al_cli.learners.detectron.training.loss import batch_parts, class_and_box
from al_cli.learners.pytorch.determinism import seed_everything
from al_cli.learners.spec import ModelSpec

# As they stand in Detectron2's sources: names of the class part, of the box part, and of all.
NAMES = {
    "tiny_faster_rcnn": (
        {"loss_cls", "loss_rpn_cls"}, {"loss_box_reg", "loss_rpn_loc"},
        {"loss_cls", "loss_rpn_cls", "loss_box_reg", "loss_rpn_loc"},
    ),
    "tiny_retinanet": ({"loss_cls"}, {"loss_box_reg"}, {"loss_cls", "loss_box_reg"}),
    "fcos": ({"loss_fcos_cls"}, {"loss_fcos_loc"}, {"loss_fcos_cls", "loss_fcos_loc", "loss_fcos_ctr"}),
}  # fmt: skip


def of_detectron(model, name, batch):
    """Sum, class part and box part of what the model itself returns."""
    of_classes, of_boxes, every = NAMES[name]
    model.train()
    for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.eval()  # the statistics that training left
    model.__dict__.pop("loss_normalizer", None)
    torch.manual_seed(0)
    with torch.no_grad(), EventStorage():
        losses = {key: float(value) for key, value in model(batch).items()}
    assert losses.keys() == every
    return [sum(losses[key] for key in some) for some in (every, of_classes, of_boxes)]


@pytest.mark.parametrize("name", ["tiny_faster_rcnn", "tiny_retinanet"])
def test_sum_and_parts_are_the_models_own(shapes, name):
    spec = ModelSpec("tiny", name, "none")
    seed_everything(0)
    model = build(open_config(spec, 3, torch.device("cpu")), spec)
    mapper = CachedMapper(ImageCache(), "BGR", labels=True, flip=False)
    some = shapes.select(shapes.ids[:4])

    class Reader:
        threads = 1

        def batches(self, images, *, labels, batch_size):
            assert labels
            return ordered_batches(to_dicts(images), mapper, batch_size=batch_size)

    losses = TrainedModel(model, {}, spec, Reader(), None).loss(some)
    expected = [of_detectron(model, name, [mapper(record)]) for record in to_dicts(some)]
    for column, values in zip((losses.total, losses.classes, losses.boxes), zip(*expected, strict=True), strict=True):
        assert column.tolist() == pytest.approx(list(values), rel=1e-6) and (column > 0).all()
    assert losses.classes + losses.boxes == pytest.approx(losses.total, rel=1e-6), "these two have no other part"
    means = {"loss": losses.total.mean(), "class_loss": losses.classes.mean(), "box_loss": losses.boxes.mean()}
    assert losses.means == pytest.approx(means)


def test_centerness_is_in_the_sum_only():
    model = narrow(FCOS_LAZY)
    objects = Instances(
        (256, 256), gt_boxes=Boxes(torch.tensor([[4.0, 8.0, 40.0, 50.0]])), gt_classes=torch.tensor([2])
    )
    picture = torch.randint(0, 255, (3, 256, 256), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    # 256 pixels, for a narrow model's normalisation takes no map of one cell
    batch = [{"image": picture, "height": 256, "width": 256, "image_id": 1, "instances": objects}]
    [(parts, images)] = batch_parts(model, [batch], as_in_training=False)
    total, *found = float(sum(parts.values())), *class_and_box(parts)
    assert images == 1 and [total, *found] == pytest.approx(of_detectron(model, "fcos", batch), rel=1e-6)
    assert total - sum(found) == pytest.approx(float(parts["loss_fcos_ctr"]), rel=1e-4)


def test_a_model_with_names_of_its_own_has_no_parts():
    assert all(map(math.isnan, class_and_box({"loss_mask": torch.tensor(1.0)})))
    cascade = {f"loss_cls_stage{n}": torch.tensor(1.0) for n in range(3)} | {"loss_box_reg_stage1": torch.tensor(2.0)}
    assert class_and_box(cascade) == (3.0, 2.0)
