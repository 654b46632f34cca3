"""Views: a stock Detectron2 detector whose inference also remembers where each kept box came from.

A view is a shallow copy of a module that shares every parameter, buffer, hook and child with the original; only its
class is a subclass, so that a stock method can be extended with `super()`. The original is not touched, and everything
that decides a box (scores, thresholds, NMS, clipping) stays Detectron2's own code. What is remembered travels as extra
`Instances` fields, named after their Signal: stock code indexes all fields alike, through NMS and postprocessing.

Knows no batches, modes or tables; `tap.py` runs the views.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.structures.boxes import matched_pairwise_iou
from torch import Tensor, nn
from torch.nn import functional

from al_cli.types import Signal

# Where a box came from, as fields of its Instances; DROPOUT's passes read them, and the tap takes them off.
LEVEL, ANCHOR, CENTERNESS = "al_level", "al_anchor", "al_centerness"  # dense; the last one FCOS only, [M, 1]
PROPOSAL = "al_proposal"  # R-CNN: the row of its proposal among those of the whole batch


@contextmanager
def inputs_of(module: nn.Module) -> Iterator[list[Any]]:
    """A list that collects what `module` is given as its first argument, as `outputs_of` does."""
    seen: list[Any] = []
    handle = module.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    try:
        yield seen
    finally:
        handle.remove()


@contextmanager
def outputs_of(module: nn.Module) -> Iterator[list[Any]]:
    """A list that collects what `module` returns, call by call, for as long as the context is open."""
    seen: list[Any] = []
    handle = module.register_forward_hook(lambda _module, _args, output: seen.append(output))
    try:
        yield seen
    finally:
        handle.remove()


def view(module: nn.Module, extension: type | None = None, **children: nn.Module) -> Any:
    """A shallow copy of `module` with `extension` in front of its class and the named children exchanged."""
    stock = type(module)
    cls = type(f"Tapped{stock.__name__}", (extension, stock), {}) if extension else stock
    copy: Any = object.__new__(cls)
    copy.__dict__ = {**module.__dict__, "_modules": {**module._modules, **children}}
    return copy


def rcnn_view(model: nn.Module, signals: frozenset[Signal]) -> Any:
    """A GeneralizedRCNN (FPN or C4) whose detections carry fields for the signals of boxes that are asked for."""
    heads: Any = model.roi_heads
    predictor = view(heads.box_predictor, TappedBoxPredictor)
    predictor.signals = signals
    return view(model, roi_heads=view(heads, box_predictor=predictor))


def dense_view(model: nn.Module, signals: frozenset[Signal]) -> Any:
    """A RetinaNet or FCOS whose detections carry fields for the signals of boxes that are asked for."""
    dense = view(model, TappedDense)
    dense.signals = signals
    return dense


class TappedBoxPredictor(FastRCNNOutputLayers):
    """Detectron2's Fast R-CNN predictor. Each kept box gets what is known of the proposal it was refined from."""

    signals: frozenset[Signal]

    def forward(self, x: Tensor) -> Any:  # x [R, D] or [R, D, 1, 1], the proposals of all images together
        self.vectors = torch.flatten(x, start_dim=1)
        return super().forward(x)

    def inference(self, predictions: Any, proposals: list[Instances]) -> Any:
        results, kept = super().inference(predictions, proposals)
        probs = self.predict_probs(predictions, proposals)  # per image [Ri, C + 1], background last
        boxes = self.predict_boxes(predictions, proposals)
        vectors = self.vectors.split([len(p) for p in proposals])
        before = 0  # proposals of the images before this one
        for i, result in enumerate(results):
            # Stock inference drops proposals that are not finite first, and counts its kept indices without them.
            finite = torch.isfinite(boxes[i]).all(dim=1) & torch.isfinite(probs[i]).all(dim=1)
            rows = finite.nonzero()[:, 0][kept[i]]
            if Signal.PROBS in self.signals:
                result.set(Signal.PROBS, probs[i][rows, :-1])
            if Signal.BOX_FEATURES in self.signals:
                result.set(Signal.BOX_FEATURES, vectors[i][rows])
            if Signal.PROPOSAL_IOU in self.signals:
                refined = proposals[i].proposal_boxes[rows]
                result.set(Signal.PROPOSAL_IOU, matched_pairwise_iou(refined, result.pred_boxes))
            if Signal.DROPOUT in self.signals:
                result.set(PROPOSAL, before + rows)
            before += len(proposals[i])
        return results, kept


class TappedDense(DenseDetector):
    """Detectron2's RetinaNet or FCOS. Each kept box gets the class scores and the tower feature of its anchor, or the tower's
    feature at its center.

    Both models choose boxes anchor by anchor, (location, class) pairs with a score above the threshold, and forget the
    anchor; its level and its index in the level ride along as two fields until the columns are gathered.
    """

    signals: frozenset[Signal]

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        # Of each tower one [B, D, H, W] a level is kept: what goes into the layers of class scores, or of boxes.
        with ExitStack() as stack:
            self.towers = stack.enter_context(outputs_of(self.head.cls_subnet))
            if Signal.TOWER_FEATURES in self.signals:
                self.box_towers = stack.enter_context(outputs_of(self.head.bbox_subnet))
            return super().forward(batched_inputs)

    def forward_inference(self, images: ImageList, features: list[Tensor], predictions: Any) -> list[Instances]:
        centerness = (
            [c.sigmoid() for c in predictions[2]] if len(predictions) == 3 else None
        )  # before stock writes to it
        results = super().forward_inference(images, features, predictions)
        for i, result in enumerate(results):
            if Signal.BOX_FEATURES in self.signals:
                result.set(Signal.BOX_FEATURES, self._at_locations(result, self.towers, i))
            if Signal.CENTER_FEATURES in self.signals:
                result.set(Signal.CENTER_FEATURES, self._at_centers(result, i))
            if Signal.DROPOUT not in self.signals:
                result.remove(LEVEL)
                result.remove(ANCHOR)
            elif centerness is not None:
                result.set(CENTERNESS, self._at_locations(result, centerness, i))
        return results

    def _at_locations(self, result: Instances, maps: list[Tensor], image: int) -> Tensor:
        """[M, D] the cell of each box in its level's map [B, D, H, W]."""
        tables = [m[image].flatten(start_dim=1).T for m in maps]  # [H x W, D], row by row
        return gather(result, tables, [n // len(t) for n, t in zip(self.anchors_per_level, tables, strict=True)])

    def _at_centers(self, result: Instances, image: int) -> Tensor:
        """[M, D] the class tower's map of each box's level at the center of the box, as far as it lies in the image: linear
        between the four cells around it, and the nearest cells' where it lies beyond the middle of the outermost ones."""
        boxes = result.pred_boxes.clone()
        boxes.clip(result.image_size)
        centers, level = boxes.get_centers(), result.get(LEVEL)
        out = self.towers[0].new_empty(len(centers), self.towers[0].shape[1])
        for n, (tower, stride) in enumerate(zip(self.towers, self.anchor_generator.strides, strict=True)):
            cells = covered(tower[image], result.image_size, stride)
            width_height = stride * centers.new_tensor(cells.shape[:0:-1])
            grid = 2 * centers[level == n] / width_height - 1  # the map spans -1 to 1
            at = functional.grid_sample(cells[None], grid[None, None], padding_mode="border", align_corners=False)
            out[level == n] = at[0, :, 0].T
        return out

    def tower_features(self, sizes: list[tuple[int, int]]) -> list[Tensor]:
        """Per image [D]: the class tower's mean and the box tower's. Of each level the mean over the cells that the image
        covers, then the mean over levels, which the towers' weights are shared by."""
        levels = list(zip(self.towers, self.box_towers, self.anchor_generator.strides, strict=True))
        features = []
        for i, size in enumerate(sizes):
            means = [
                torch.cat([covered(x[i], size, stride).mean(dim=(1, 2)) for x in both]) for *both, stride in levels
            ]
            features.append(torch.stack(means).mean(dim=0))
        return features

    def inference_single_image(
        self, anchors: list[Boxes], box_cls: list[Tensor], box_delta: list[Tensor], image_size: tuple[int, int]
    ) -> Instances:
        self.anchors_per_level = [len(scores) for scores in box_cls]
        result = super().inference_single_image(anchors, box_cls, box_delta, image_size)
        if Signal.PROBS in self.signals:
            result.set(Signal.PROBS, gather(result, box_cls, [1] * len(box_cls)))
        return result

    def _decode_multi_level_predictions(self, anchors: list[Boxes], *args: Any) -> Instances:
        asked = [_AskedAnchors(a) for a in anchors]
        decoded = super()._decode_multi_level_predictions(asked, *args)
        decoded.set(LEVEL, torch.cat([torch.full_like(a.asked, level) for level, a in enumerate(asked)]))
        decoded.set(ANCHOR, torch.cat([a.asked for a in asked]))
        return decoded


class _AskedAnchors:
    """One level's anchors while they are decoded: decoding reads `anchors.tensor[indices]`, and `indices` are kept."""

    asked: Tensor

    def __init__(self, anchors: Boxes):
        self.boxes = anchors

    @property
    def tensor(self) -> _AskedAnchors:
        return self

    def __getitem__(self, indices: Tensor) -> Tensor:
        self.asked = indices
        return self.boxes.tensor[indices]


def covered(cells: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """The part of a map [D, H, W] that an image of (height, width) covers, without its batch's padding. A cell that is covered
    in part belongs to it."""
    height, width = size
    return cells[:, : -(-height // stride), : -(-width // stride)]


def gather(result: Instances, per_level: list[Tensor], anchors_per_row: list[int]) -> Tensor:
    """[M, D] the row of each box in its level's table [R, D]; `anchors_per_row` successive anchors share a row."""
    level, anchor = result.get(LEVEL), result.get(ANCHOR)
    out = per_level[0].new_empty(len(level), per_level[0].shape[1])
    for n, (table, share) in enumerate(zip(per_level, anchors_per_row, strict=True)):
        mine = level == n
        out[mine] = table[anchor[mine] // share]
    return out
