"""What a recipe comes out as once Detectron2's config is open: rate and milestones, image sizes, thresholds.

Nothing is read a second time: batch and rate are `solver.numbers`, the rate's course is the schedule that a training steps,
sizes are the augmentations of the config, thresholds those of the built model. It is built on torch's meta device, where
weights are neither drawn nor stored. Reads no image and downloads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import detectron2.data.transforms as T
import torch
from detectron2.config import CfgNode
from torch import nn

from al_cli.learners.detectron.model.zoo import DetectronConfig, build, open_config
from al_cli.learners.detectron.training.solver import make_optimizer, make_schedule, numbers
from al_cli.learners.pytorch.course import Course, course_of
from al_cli.learners.pytorch.schedule import WHOLE, Stretch
from al_cli.learners.spec import ModelSpec
from al_cli.learners.training_spec import TrainingSpec

# What `_thresholds` found: the arms of a sweep often differ in their recipe alone.
_known: dict[str, dict[str, Any]] = {}


class Recipe:
    """How a detector trains. ConfigError as `open_config` and `numbers` raise it."""

    def __init__(self, model: ModelSpec, training: TrainingSpec):
        self.model, self.training = model, training
        self.config = open_config(model, num_classes=2, device=torch.device("meta"))
        self.chosen = numbers(self.config, training)

    def settings(self) -> dict[str, Any]:
        """What holds for every training, whatever its data.

        `image_size_train`, `image_size_test`: [shortest side, longest at most]; the first is a list where one is drawn for
        each image, and the whole is None where images stay as they are.
        """
        layers = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))  # in place of a detector
        optimizer = make_optimizer(self.config, self.training, self.chosen, layers)
        train = self.config.augmentations(train=True, flip=self.training.flip)
        own_clipping = _own_clipping(self.config)
        return {
            "batch_size": self.chosen.batch_size,
            "lr": self.chosen.lr,
            "weight_decay": self.chosen.weight_decay,
            "optimizer": _name_of(optimizer),
            "momentum": optimizer.param_groups[0].get("momentum"),
            "clip_gradients": own_clipping if self.training.clip_gradients is None else self.training.clip_gradients,
            "flip": any(isinstance(step, T.RandomFlip) for step in train),
            "image_size_train": _size(train),
            "image_size_test": _size(self.config.augmentations(train=False, flip=False)),
            **_thresholds(self.config, self.model),
        }

    def courses(self, images: Sequence[int], length: int) -> list[Course]:
        """The trainings of a run on so many images each, in order. `length` as `TrainingSpec.per_round` gives it. With
        training.init=join they are stretches of one, and a fall at step 0 is one from the stretch before."""
        found: list[Course] = []
        for number, count in enumerate(images):
            unit = self.training.unit(count, self.chosen.batch_size)
            steps = length * unit
            optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], self.chosen.lr)  # a schedule asks for no more
            part = Stretch(number, len(images)) if self.training.init == "join" else WHOLE
            rate = _rate(optimizer, make_schedule(self.config, self.training, optimizer, steps, unit=unit, part=part))
            epoch = unit if self.training.counts_epochs else count / self.chosen.batch_size
            before = found[-1] if part.number else None
            found.append(course_of(rate, steps, epoch, before, smooth=self.training.schedule == "one_cycle"))
        return found


def _name_of(optimizer: torch.optim.Optimizer) -> str:
    """`sgd` or `adamw`, as training.optimizer calls them; Detectron2 may have put its clipping around one."""
    for name, kind in (("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)):
        if isinstance(optimizer, kind):
            return name
    return type(optimizer).__name__.lower()


def _own_clipping(config: DetectronConfig) -> float | None:
    if isinstance(config.cfg, CfgNode) and config.cfg.SOLVER.CLIP_GRADIENTS.ENABLED:
        return float(config.cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE)
    return None


def _size(steps: Sequence[Any]) -> list[Any] | None:
    for step in steps:
        if isinstance(step, T.ResizeShortestEdge):
            sides = sorted({int(side) for side in step.short_edge_length})
            if sides != [0]:
                return [sides[0] if len(sides) == 1 else sides, int(step.max_size)]
        elif isinstance(step, T.Resize):
            return [*sorted(int(side) for side in step.shape)]
    return None


def _thresholds(config: DetectronConfig, spec: ModelSpec) -> dict[str, Any]:
    """The score from which the built model gives a box, and the most boxes of an image. Each model is built once."""
    about = repr((spec.config, spec.family, spec.overrides, spec.dropout))  # all that a model is built from
    if about not in _known:
        _known[about] = _build_and_look(config, spec)
    return _known[about]


def _build_and_look(config: DetectronConfig, spec: ModelSpec) -> dict[str, Any]:
    with torch.device("meta"):
        model: Any = build(config, spec)
    heads = getattr(model, "roi_heads", None)
    if heads is None:
        return {"score_threshold": model.test_score_thresh, "boxes_per_image": model.max_detections_per_image}
    predictor = heads.box_predictor
    last = predictor[-1] if isinstance(predictor, nn.ModuleList) else predictor
    return {"score_threshold": last.test_score_thresh, "boxes_per_image": last.test_topk_per_image}


def _rate(optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler) -> Callable[[int], float]:
    """The rate of a step of this training, counted from 0: what the schedule sets when it arrives there."""
    begun = schedule.last_epoch
    optimizer.step()  # a schedule wants to be stepped after it

    def rate(step: int) -> float:
        schedule.last_epoch = begun + step - 1
        schedule.step()
        return float(optimizer.param_groups[0]["lr"])

    return rate
