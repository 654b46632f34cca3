"""Small detectors with random weights that detect something, and what influence is tested against: the training forward of
Detectron2 on one image, differentiated backwards."""

import torch
from detectron2 import model_zoo
from detectron2.config import instantiate
from detectron2.modeling import FCOS as FCOSModel
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import nn

from al_cli.learners.detectron.influence.last_layers import last_layers
from al_cli.learners.detectron.model.tiny import tiny_faster_rcnn_cfg, tiny_retinanet_cfg
from al_cli.learners.detectron.training.data import CachedMapper, ImageCache, to_dicts
from al_cli.learners.detectron.training.loss import NORMALIZER, measuring

C4, FCOS = "COCO-Detection/faster_rcnn_R_50_C4_3x.yaml", "COCO-Detection/fcos_R_50_FPN_1x.py"
MODELS = ["tiny_faster_rcnn", "tiny_retinanet", "fcos", "c4"]
CLASSES, THRESHOLD = 3, 0.4


def build(name):
    torch.manual_seed(0)
    if name == "fcos":
        config = model_zoo.get_config(FCOS)
        config.model.backbone.bottom_up.stages.depth = 18
        del config.model.backbone.bottom_up.stages.stride_in_1x1  # depth 18 has no such convolution
        config.model.backbone.out_channels = config.model.backbone.top_block.in_channels = 64
        config.model.head.conv_dims = [64, 64]  # its GroupNorm has 32 groups
        for shape in config.model.head.input_shape:
            shape.channels = 64
        config.model.num_classes, config.model.pixel_std = CLASSES, [57.0] * 3
        return instantiate(config.model)
    if name == "c4":
        cfg = model_zoo.get_config(C4)
        small = {"STEM_OUT_CHANNELS": 8, "RES2_OUT_CHANNELS": 16, "WIDTH_PER_GROUP": 4}
        cfg.merge_from_list([item for key, value in small.items() for item in (f"MODEL.RESNETS.{key}", value)])
        cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.MODEL.PIXEL_STD = CLASSES, [57.0] * 3
        cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = cfg.MODEL.RPN.BATCH_SIZE_PER_IMAGE = 64
    else:
        cfg = {"tiny_faster_rcnn": tiny_faster_rcnn_cfg, "tiny_retinanet": tiny_retinanet_cfg}[name](CLASSES)
    cfg.MODEL.DEVICE = "cpu"
    return build_model(cfg)


def enliven(model, batch):
    """Spread what the last layers put out, one after the other, so that random weights detect something."""
    spread = {"objectness": 2.0, "deltas": 0.3, "cls_score": 1.5, "bbox_pred": 0.5, "ctrness": 1.0}
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            nn.init.kaiming_normal_(module.weight)
    model.eval()
    for name, layer in last_layers(model).layers.items():
        outputs = []
        handle = layer.register_forward_hook(
            lambda _m, _i, out, to=outputs: to.append(out.movedim(1, -1).flatten(0, -2).clone())
        )
        with torch.no_grad():
            model(batch)
            values = torch.cat(outputs)
            scale = spread[name] / (values - layer.bias).std(0).mean()
            layer.weight.mul_(scale)
            layer.bias.copy_(-scale * (values - layer.bias).mean(0))
        handle.remove()
    return model


def mapper(labels):
    return CachedMapper(ImageCache(), "BGR", labels=labels, flip=False)


def batch_of(dataset, labels=True):
    read = mapper(labels)
    return [read(record) for record in to_dicts(dataset)]


def direction_for(theta):
    return torch.randn(len(theta), generator=torch.Generator().manual_seed(1)) / len(theta) ** 0.5


def stock_loss(model, one):
    """What the trainer would minimise for this image alone, as a graph; the normaliser as it initially is."""
    former = model.__dict__.pop(NORMALIZER, None)
    with measuring(model), EventStorage(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loss = sum(model([one]).values())
    model.__dict__.pop(NORMALIZER, None)
    if former is not None:
        setattr(model, NORMALIZER, former)
    return loss


def stock_gradient(model, one):
    """[P] in the order of `theta`, from the model's own parameters."""
    parameters = [p for layer in last_layers(model).layers.values() for p in layer.parameters()]
    loss = stock_loss(model, one)
    grads = torch.autograd.grad(loss, parameters, materialize_grads=True)
    return torch.cat([g.flatten() for g in grads]), float(loss.detach())


def stock_pseudo_labels(model, one, threshold=THRESHOLD):
    """The image with the stock model's detections as its labels. Detectron2's FCOS scores by the root of FCOS' own score."""
    model.eval()
    with torch.no_grad():
        found = model([{"image": one["image"]}])[0]["instances"]
    model.train()
    found = found[found.scores >= (threshold**0.5 if isinstance(model, FCOSModel) else threshold)]
    labels = Instances(found.image_size, gt_boxes=Boxes(found.pred_boxes.tensor), gt_classes=found.pred_classes)
    return {"image": one["image"], "instances": labels}
