"""Detectors of the zoo narrowed to a few channels, with random weights that give detections, for the tests of signals."""

from contextlib import contextmanager

import torch
from detectron2 import model_zoo
from detectron2.config import instantiate
from detectron2.modeling import build_model

CLASSES = 5
C4, FPN = "COCO-Detection/faster_rcnn_R_50_C4_3x.yaml", "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml"
RETINANET, FCOS_LAZY = "COCO-Detection/retinanet_R_50_FPN_3x.yaml", "COCO-Detection/fcos_R_50_FPN_1x.py"

FCOS_64 = {  # the channels of its pyramid and head, and two convolutions in place of four
    "model.backbone.out_channels": 64,
    "model.backbone.top_block.in_channels": 64,
    "model.head.conv_dims": [64, 64],
    **{f"model.head.input_shape.{level}.channels": 64 for level in range(5)},
}


def images():
    """Two images of different sizes; the first is reported at twice its size, as after a resize."""
    rng = torch.Generator().manual_seed(7)
    large = torch.randint(0, 255, (3, 90, 128), generator=rng, dtype=torch.uint8)
    small = torch.randint(0, 255, (3, 64, 75), generator=rng, dtype=torch.uint8)
    return [
        {"image": large, "height": 181, "width": 255, "image_id": 3},
        {"image": small, "height": 64, "width": 75, "image_id": 8},
    ]


def narrow(name, **keys):
    """A model of the zoo, its config narrowed to a few channels, with random weights."""
    config = model_zoo.get_config(name)
    torch.manual_seed(0)
    if name == FCOS_LAZY:
        config.model.backbone.bottom_up.stages.depth = 18
        del config.model.backbone.bottom_up.stages.stride_in_1x1  # depth 18 has no such convolution
        config.model.backbone.out_channels = config.model.backbone.top_block.in_channels = 32
        config.model.head.conv_dims = [32, 32]
        for shape in config.model.head.input_shape:
            shape.channels = 32
        config.model.num_classes = CLASSES
        config.model.pixel_std = [57.0] * 3
        return enliven(instantiate(config.model).eval())
    shrunk = {
        "MODEL.DEVICE": "cpu",
        "MODEL.PIXEL_STD": [57.0] * 3,
        "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
        "MODEL.RESNETS.WIDTH_PER_GROUP": 4,
        "MODEL.FPN.OUT_CHANNELS": 16,
        "MODEL.RPN.POST_NMS_TOPK_TEST": 80,
        "MODEL.ROI_BOX_HEAD.FC_DIM": 32,
        "MODEL.ROI_HEADS.NUM_CLASSES": CLASSES,
        "MODEL.RETINANET.NUM_CLASSES": CLASSES,
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.02,
        "MODEL.RETINANET.SCORE_THRESH_TEST": 0.1,
    }
    config.merge_from_list([item for pair in {**shrunk, **keys}.items() for item in pair])
    return enliven(build_model(config).eval())


def enliven(model):
    """Center and spread the output layers: random weights then score all over (0, 1), and boxes cross the edges."""
    boxes = 8.0 if hasattr(model, "roi_heads") else 1.0  # R-CNN divides its box deltas by 10 and 5
    spread = {"objectness_logits": 2.0, "anchor_deltas": 0.5, "cls_score": 2.0, "bbox_pred": boxes, "ctrness": 1.0}
    for conv in [m for n, m in model.named_modules() if "subnet" in n and isinstance(m, torch.nn.Conv2d)]:
        torch.nn.init.kaiming_normal_(conv.weight)
    layers = {m: spread[name.split(".")[-1]] for name, m in model.named_modules() if name.split(".")[-1] in spread}
    for (
        layer,
        target,
    ) in layers.items():  # one after the other: what a predictor sees depends on the proposals before it
        outputs: list[torch.Tensor] = []

        def keep(_module, _inputs, out, into=outputs):
            into.append(out.movedim(1, -1).flatten(0, -2).clone())  # stock code applies sigmoid_ in place

        handle = layer.register_forward_hook(keep)
        with torch.no_grad():
            model(images())
            linear = torch.cat(outputs) - layer.bias  # [rows, channels]
            scale = target / linear.std(dim=0).mean()
            layer.weight.mul_(scale)
            layer.bias.copy_(-scale * linear.mean(dim=0))
        handle.remove()
    return model


def stock(model, batch):
    with torch.no_grad():
        return [output["instances"] for output in model(batch)]


def refined_proposals(model, batch):
    """Every proposal of an R-CNN by the model's own pieces: boxes (one Boxes an image), vectors [R, D], class logits
    [R, C + 1] and the boxes refined for each class [R, C or 1, 4]."""
    padded = model.preprocess_image(batch)
    maps = model.backbone(padded.tensor)
    proposals, _ = model.proposal_generator(padded, maps, None)
    boxes, heads = [p.proposal_boxes for p in proposals], model.roi_heads
    if hasattr(heads, "res5"):
        vectors = heads.res5(heads.pooler([maps["res4"]], boxes)).mean(dim=[2, 3])
    else:
        vectors = heads.box_head(heads.box_pooler([maps[f] for f in heads.box_in_features], boxes))
    logits, deltas = heads.box_predictor(vectors)
    transform = heads.box_predictor.box2box_transform
    refined = transform.apply_deltas(deltas, torch.cat([b.tensor for b in boxes]))
    return boxes, vectors, logits, refined.view(len(refined), -1, 4)


def chooser(model):
    """The module that holds the score threshold."""
    return model.roi_heads.box_predictor if hasattr(model, "roi_heads") else model


def assert_same(ours, theirs):
    assert ours.image_size == theirs.image_size
    assert list(ours.get_fields()) == list(theirs.get_fields())
    for field, value in theirs.get_fields().items():
        a, b = getattr(ours, field), value
        assert torch.equal(getattr(a, "tensor", a), getattr(b, "tensor", b)), field


@contextmanager
def counting(module):
    calls = []
    handle = module.register_forward_hook(lambda *_: calls.append(1))
    yield calls
    handle.remove()


def overlap(a, b):
    """IoU of two boxes of four numbers."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    both = max(wide, 0) * max(high, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
