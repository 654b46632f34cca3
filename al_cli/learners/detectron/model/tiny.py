"""Small detectors for a CPU: stock Detectron2 meta-architectures and heads on a backbone of our own.

Importing this file registers the backbone `build_tiny_fpn_backbone`. The two functions return stock yacs configs, so
whatever works with a model of the zoo works with these. They are trained from scratch (BatchNorm, no weights to load);
the training recipe is `conf/training/tiny.yaml`, not here.
"""

from __future__ import annotations

from detectron2.config import CfgNode, get_cfg
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from detectron2.modeling.backbone.fpn import FPN
from torch import Tensor, nn
from torch.nn import functional

_STAGES = {"res2": (24, 4), "res3": (48, 8), "res4": (96, 16), "res5": (128, 32)}  # name: (channels, stride)


def _conv(inputs: int, outputs: int, stride: int = 1) -> Conv2d:
    conv = Conv2d(inputs, outputs, 3, stride, 1, bias=False, norm=nn.BatchNorm2d(outputs), activation=functional.relu_)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


class TinyBackbone(Backbone):
    """A 3x3 stem of stride 2, then four stages of two 3x3 convolutions, the first of stride 2.

    forward: images [B, c, H, W] -> {"res2": [B, 24, H/4, W/4], ..., "res5": [B, 128, H/32, W/32]}.
    """

    def __init__(self, input_channels: int):
        super().__init__()
        self.stem = _conv(input_channels, 16, stride=2)
        channels = 16
        for name, (outputs, stride) in _STAGES.items():
            self.add_module(name, nn.Sequential(_conv(channels, outputs, stride=2), _conv(outputs, outputs)))
            self._out_feature_channels = {**getattr(self, "_out_feature_channels", {}), name: outputs}
            self._out_feature_strides = {**getattr(self, "_out_feature_strides", {}), name: stride}
            channels = outputs
        self._out_features = list(_STAGES)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.stem(x)
        features = {}
        for name in _STAGES:
            x = features[name] = getattr(self, name)(x)
        return features


@BACKBONE_REGISTRY.register()
def build_tiny_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
    """The tiny backbone under Detectron2's FPN: levels and width from cfg.MODEL.FPN."""
    return FPN(
        TinyBackbone(input_shape.channels),
        cfg.MODEL.FPN.IN_FEATURES,
        cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
    )


def _base_cfg() -> CfgNode:
    cfg = get_cfg()
    cfg.INPUT.MIN_SIZE_TRAIN = (0,)  # 0: images keep their size
    cfg.INPUT.MIN_SIZE_TEST = 0
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.BACKBONE.NAME = "build_tiny_fpn_backbone"
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    cfg.MODEL.FPN.IN_FEATURES = ["res3", "res4", "res5"]
    cfg.MODEL.FPN.OUT_CHANNELS = 48
    cfg.MODEL.FPN.NORM = "BN"
    cfg.MODEL.PIXEL_MEAN = [90.0, 90.0, 90.0]
    cfg.MODEL.PIXEL_STD = [50.0, 50.0, 50.0]
    return cfg


def tiny_faster_rcnn_cfg(num_classes: int) -> CfgNode:
    """Faster R-CNN (Ren et al., 2015) for images of 100 to 300 px: 0.8 million weights, box features of 128 numbers.

    One level of stride 8 carries all anchors and boxes (p4 and p5 reach it from above; their own output convolutions stay
    unused): each further level costs more Python than arithmetic. Few proposals, as many of them positive as negative.
    """
    cfg = _base_cfg()
    cfg.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[12, 18, 28, 44, 68, 104]]
    cfg.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS = [[1.25]]
    cfg.MODEL.RPN.IN_FEATURES = ["p3"]
    cfg.MODEL.RPN.BATCH_SIZE_PER_IMAGE = 64
    cfg.MODEL.RPN.PRE_NMS_TOPK_TRAIN = 150
    cfg.MODEL.RPN.PRE_NMS_TOPK_TEST = 150
    cfg.MODEL.RPN.POST_NMS_TOPK_TRAIN = 50
    cfg.MODEL.RPN.POST_NMS_TOPK_TEST = 50
    cfg.MODEL.ROI_HEADS.NAME = "StandardROIHeads"
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = num_classes
    cfg.MODEL.ROI_HEADS.IN_FEATURES = ["p3"]
    cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 32
    cfg.MODEL.ROI_HEADS.POSITIVE_FRACTION = 0.5
    cfg.MODEL.ROI_BOX_HEAD.NAME = "FastRCNNConvFCHead"
    cfg.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG = True  # rare classes have too few boxes to learn their own regressor
    cfg.MODEL.ROI_BOX_HEAD.NUM_FC = 1
    cfg.MODEL.ROI_BOX_HEAD.FC_DIM = 128
    cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = 7
    cfg.MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO = 1  # 2: the backward pass of ROIAlign alone takes 37% of a step
    cfg.MODEL.ROI_BOX_HEAD.POOLER_TYPE = "ROIAlignV2"
    return cfg


def tiny_retinanet_cfg(num_classes: int) -> CfgNode:
    """RetinaNet (Lin et al., 2017) for images of 100 to 300 px: 0.6 million weights, two levels (strides 8 and 16)."""
    cfg = _base_cfg()
    cfg.MODEL.META_ARCHITECTURE = "RetinaNet"
    cfg.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS = [[1.25]]
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[13, 19, 28, 40], [54, 70, 86, 106]]
    cfg.MODEL.RETINANET.NUM_CLASSES = num_classes
    cfg.MODEL.RETINANET.IN_FEATURES = ["p3", "p4"]
    cfg.MODEL.RETINANET.NUM_CONVS = 2
    cfg.MODEL.RETINANET.NORM = "BN"
    cfg.MODEL.RETINANET.TOPK_CANDIDATES_TEST = 200
    return cfg
