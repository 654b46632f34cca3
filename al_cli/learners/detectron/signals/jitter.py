"""How far boxes move when the image gets noisy: JITTER, the measurement behind localization stability.

Kao et al. 2018, "Localization-Aware Active Learning for Object Detection": Gaussian noise of standard
deviations 8, 16, 24, 32, 40 and 48 (of 255) is added to the image, and each box of the clean image is compared with the
box of the noisy image that overlaps it most, whatever its class. Six passes through the whole model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.structures import Boxes, pairwise_iou
from torch import Tensor, nn

from al_cli.rng import seed_for

NOISE_STD = (8, 16, 24, 32, 40, 48)


def jitter(model: nn.Module, batched_inputs: list[dict[str, Any]], boxes: Sequence[Boxes]) -> list[Tensor]:
    """Per image [M, 6]: IoU of each of its `boxes` with the best overlapping box under each level of noise.

    `model` in evaluation mode, Detectron2's standard inputs with `image_id`, boxes in pixels of the original image.
    A box that nothing overlaps, and every box where the noisy image shows nothing: 0. No boxes: [0, 6].
    The noise is drawn for the id of the image, so it is the same in every round and every batch. It is added to the
    pixels as they enter the model, after any resizing, and clipped to 0..255 as in an image that can be stored.
    """
    columns: list[list[Tensor]] = [[] for _ in boxes]
    for std in NOISE_STD:
        outputs = model([_noisy(one, std, model) for one in batched_inputs])
        for column, reference, output in zip(columns, boxes, outputs, strict=True):
            found = output["instances"].pred_boxes
            iou = pairwise_iou(reference, found)  # [M, boxes of the noisy image]
            column.append(iou.amax(dim=1) if len(found) else iou.new_zeros(len(reference)))
    return [torch.stack(column, dim=1) for column in columns]


def _noisy(one: dict[str, Any], std: int, model: Any) -> dict[str, Any]:
    """The same input with another image; the image itself may be shared and is not written to."""
    generator = torch.Generator(model.device).manual_seed(seed_for(std, 0, f"jitter/{one['image_id']}"))
    image = one["image"].to(model.device, torch.float32)
    noise = torch.randn(image.shape, generator=generator, device=model.device)
    return {**one, "image": (image + std * noise).clamp(0, 255)}
