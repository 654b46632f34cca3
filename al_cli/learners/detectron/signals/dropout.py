"""Monte-Carlo dropout in the class head of a detector: where the layers go, and T passes over boxes already chosen.

Gal and Ghahramani 2016; for detectors Miller et al. 2018 (dropout in the fully connected layers) and Harakeh et al. 2020
(after each activation of RetinaNet's tower). FSDL, section 4.3: dropout stays active during inference, several passes.

    R-CNN with a box head    after each fully connected layer's activation (Detectron2's FastRCNNConvFCHead)
    R-CNN without one (C4)   the vector before the box predictor: whole channels of res5, which is then averaged
    RetinaNet, FCOS          after each activation of the classification tower; boxes and centerness have none

The layers are put into the built instance. They hold no weights and sit inside modules that held none, so the names of
all weights stay what they are; outside of training they do nothing, so boxes and scores are the stock model's.
What lies before the first of them does not depend on the pass and is computed once, by the pass that chose the boxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from detectron2.modeling.meta_arch.dense_detector import permute_to_N_HWA_K
from detectron2.structures import Instances
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from al_cli.errors import ModelError
from al_cli.learners.detectron.signals.views import CENTERNESS, PROPOSAL, gather


def insert_dropout(model: nn.Module, p: float) -> None:
    """Put dropout layers of probability `p` into the class head. ModelError for a head that is not one of Detectron2's."""
    head = class_head(model)
    activations = [name for name, child in head.named_children() if isinstance(child, nn.ReLU)]
    if _averages(model):
        head.add_module("dropout", nn.Dropout2d(p))  # a channel kept or dropped whole: the same for its mean
    elif activations:
        for name in activations:
            setattr(head, name, nn.Sequential(getattr(head, name), nn.Dropout(p)))
    else:
        head.add_module("dropout", nn.Dropout(p))  # a box head of convolutions alone
    head.train(head.training)  # the new layers too


def class_head(model: Any) -> nn.Sequential:
    """What turns pooled boxes (R-CNN) or feature maps (dense) into what the class scores are computed from."""
    heads = getattr(model, "roi_heads", None)
    if heads is None:
        head = getattr(model.head, "cls_subnet", None)
    else:
        head = heads.res5 if _averages(model) else getattr(heads, "box_head", None)
    if not isinstance(head, nn.Sequential):
        raise ModelError(
            "dropout cannot be put into this head",
            where=f"model.dropout, {type(head).__name__} in {type(model).__name__}",
            remedy="leave model.dropout=null, or take a model with Detectron2's own box head",
        )
    return head


def stochastic_part(model: nn.Module) -> list[nn.Module]:
    """The layers of the class head from the first that holds dropout on; none where there is no dropout."""
    try:
        layers = list(class_head(model))
    except ModelError:
        return []
    first = (i for i, layer in enumerate(layers) if any(isinstance(m, _DropoutNd) for m in layer.modules()))
    return layers[next(first, len(layers)) :]


def dropout_probs(
    model: nn.Module, inputs: list[Tensor], index: int, instances: Instances, passes: int, seed: int
) -> Tensor:
    """[T, M, C] class probabilities of an image's detections as PROBS has them, with dropout active, T times.

    `inputs` is what the stochastic part was given for the whole batch: one tensor (R-CNN), or one a level (dense).
    `instances` has the fields by which a view remembers where a box came from. The masks are a function of `seed` and
    the image's own detections, whatever else is in the batch. No boxes: [T, 0, C].
    """
    device: Any = model.device
    layers = stochastic_part(model)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), _dropping(layers):
        torch.manual_seed(seed)
        if hasattr(model, "roi_heads"):
            return _rcnn_passes(model, layers, inputs[0][instances.get(PROPOSAL)], passes)
        return _dense_passes(model, layers, [level[index : index + 1] for level in inputs], instances, passes)


def _rcnn_passes(model: Any, layers: list[nn.Module], x: Tensor, passes: int) -> Tensor:
    """[T, M, C] from x [M, ...]. All passes are one batch: each of its rows has a mask of its own."""
    m, predictor = len(x), model.roi_heads.box_predictor
    if _averages(model):
        x = x.mean(dim=(2, 3), keepdim=True)
    logits = predictor.cls_score(torch.flatten(_repeated(x, passes, layers), start_dim=1))
    probs = logits.sigmoid() if predictor.use_sigmoid_ce else logits.softmax(dim=-1)
    return probs[:, :-1].reshape(passes, m, probs.shape[1] - 1)


def _dense_passes(
    model: Any, layers: list[nn.Module], levels: list[Tensor], instances: Instances, passes: int
) -> Tensor:
    """[T, M, C] from the maps of one image [1, D, H, W]; every level in turn, as some towers count their calls."""
    tables = []
    for x in levels:
        logits = model.head.cls_score(_repeated(x, passes, layers))
        tables.append(permute_to_N_HWA_K(logits, model.num_classes).sigmoid())  # [T, anchors, C]
    share = [1] * len(tables)
    probs = torch.stack([gather(instances, [table[t] for table in tables], share) for t in range(passes)])
    return torch.sqrt(probs * instances.get(CENTERNESS)) if instances.has(CENTERNESS) else probs


def _repeated(x: Tensor, passes: int, layers: list[nn.Module]) -> Tensor:
    """What the layers make of `passes` copies of x, one after the other on axis 0."""
    x = x.repeat(passes, *[1] * (x.ndim - 1))
    for layer in layers:
        x = layer(x)
    return x


def _averages(model: Any) -> bool:
    """Whether the class head ends in an average over the box (C4)."""
    return hasattr(model, "roi_heads") and hasattr(model.roi_heads, "res5")


@contextmanager
def _dropping(layers: list[nn.Module]) -> Iterator[None]:
    """The dropout of these layers is active inside, everything else stays in evaluation mode."""
    drops = [module for layer in layers for module in layer.modules() if isinstance(module, _DropoutNd)]
    for module in drops:
        module.train()
    try:
        yield
    finally:
        for module in drops:
            module.eval()
