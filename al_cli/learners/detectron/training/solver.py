"""Optimizer and learning rate of one training: the model's own recipe, with what conf/training changes in it.

Who wins, from strong to weak: `model.overrides`, `training.*`, the model's Detectron2 config. Recipes of the zoo are
written for 90 to 270 thousand iterations; a round is shorter, so their milestones are scaled to it and their warm-up
takes at most a tenth of it. Their learning rate is scaled with the batch size (Goyal et al., 2017).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode, instantiate
from detectron2.solver import LRMultiplier, WarmupParamScheduler, build_lr_scheduler, build_optimizer
from detectron2.solver.build import get_default_optimizer_params
from fvcore.common.param_scheduler import CosineParamScheduler, LinearParamScheduler, ParamScheduler
from torch import nn

from al_cli.errors import ConfigError
from al_cli.learners.detectron.model.zoo import DetectronConfig
from al_cli.learners.pytorch.schedule import (
    ONE_CYCLE_END,
    ONE_CYCLE_START,
    ONE_CYCLE_WARMUP,
    WHOLE,
    Stretch,
    stepwise,
)
from al_cli.learners.training_spec import TrainingSpec

WARMUP_SHARE = 0.1
# Overrides that say nothing once conf/training replaces the optimizer or the schedule they belong to.
_OPTIMIZER_KEYS = (
    "SOLVER.MOMENTUM",
    "SOLVER.NESTEROV",
    "SOLVER.BIAS_LR_FACTOR",
    "SOLVER.WEIGHT_DECAY_",
    "optimizer.params",
)
_SCHEDULE_KEYS = (
    "SOLVER.LR_SCHEDULER",
    "SOLVER.STEPS",
    "SOLVER.GAMMA",
    "SOLVER.WARMUP",
    "SOLVER.BASE_LR_END",
    "SOLVER.RESCALE_INTERVAL",
    "SOLVER.NUM_DECAYS",
    "lr_multiplier",
)
_WARMUP_KEYS = ("SOLVER.WARMUP", "lr_multiplier.warmup")  # schedule=steps warms up as the model does


@dataclass(frozen=True)
class Numbers:
    """Batch size, learning rate and weight decay after all overrides."""

    batch_size: int
    lr: float
    weight_decay: float


def numbers(config: DetectronConfig, spec: TrainingSpec) -> Numbers:
    """Batch size, peak learning rate and weight decay. ConfigError for an override that `training` makes void."""
    _refuse_void("training.optimizer", spec.optimizer, config, _OPTIMIZER_KEYS)
    _refuse_void("training.schedule", spec.schedule, config, _SCHEDULE_KEYS, but=_WARMUP_KEYS)
    cfg, yacs = config.cfg, isinstance(config.cfg, CfgNode)
    lr_key, decay_key, batch_key = (
        ("SOLVER.BASE_LR", "SOLVER.WEIGHT_DECAY", "SOLVER.IMS_PER_BATCH")
        if yacs
        else ("optimizer.lr", "optimizer.weight_decay", "dataloader.train.total_batch_size")
    )
    own_lr = float(cfg.SOLVER.BASE_LR if yacs else cfg.optimizer.lr)
    own_decay = float(cfg.SOLVER.WEIGHT_DECAY if yacs else cfg.optimizer.weight_decay)
    batch = config.batch_size if batch_key in config.overridden else spec.batch_size or config.batch_size
    if lr_key in config.overridden:
        lr = own_lr
    else:
        lr = own_lr * batch / config.batch_size if spec.lr is None else spec.lr
    decay = own_decay if decay_key in config.overridden or spec.weight_decay is None else spec.weight_decay
    return Numbers(batch, lr, decay)


def _refuse_void(
    key: str, choice: str | None, config: DetectronConfig, keys: tuple[str, ...], but: tuple[str, ...] = ()
) -> None:
    used = but if choice == "steps" else ()
    void = sorted(name for name in config.overridden if name.startswith(keys) and not name.startswith(used))
    if choice is not None and void:
        raise ConfigError(
            f"{key}={choice} replaces what this override changes",
            where=f"model.overrides.{void[0]}",
            remedy=f"set {key}=null to keep the model's own, or drop the override",
        )


def refuse_clipping_of_all(config: DetectronConfig) -> None:
    """ConfigError where the model's own recipe clips all gradients of its optimizer by their common norm."""
    if isinstance(config.cfg, CfgNode):
        clip = config.cfg.SOLVER.CLIP_GRADIENTS
        if clip.ENABLED and clip.CLIP_TYPE == "full_model":
            raise ConfigError(
                "the gradients of the loss prediction would count in the norm by which the detector's are clipped",
                where="model.loss_prediction=shared model.overrides.SOLVER.CLIP_GRADIENTS.CLIP_TYPE=full_model",
                remedy=f"set training.clip_gradients={clip.CLIP_VALUE:g} instead, which clips the detector's alone",
            )


def make_optimizer(
    config: DetectronConfig, spec: TrainingSpec, chosen: Numbers, model: nn.Module
) -> torch.optim.Optimizer:
    """Detectron2's optimizer for this config, or SGD/AdamW without weight decay on normalisation layers."""
    if spec.optimizer is None:
        optimizer = _own_optimizer(config.cfg, chosen, model)
    else:
        params = get_default_optimizer_params(model, weight_decay_norm=0.0)
        if spec.optimizer == "sgd":
            optimizer = torch.optim.SGD(params, chosen.lr, momentum=0.9, weight_decay=chosen.weight_decay, foreach=True)
        else:
            optimizer = torch.optim.AdamW(params, chosen.lr, weight_decay=chosen.weight_decay, fused=True)
    if (limit := spec.clip_gradients) is not None:
        weights = [p for group in optimizer.param_groups for p in group["params"]]

        def clip(*_: Any) -> None:
            torch.nn.utils.clip_grad_norm_(weights, limit)

        optimizer.register_step_pre_hook(clip)  # at the step, where mixed precision has unscaled the gradients
    return optimizer


def _own_optimizer(cfg: Any, chosen: Numbers, model: nn.Module) -> torch.optim.Optimizer:
    cfg = copy.deepcopy(cfg)
    if isinstance(cfg, CfgNode):
        cfg.defrost()
        cfg.SOLVER.BASE_LR, cfg.SOLVER.WEIGHT_DECAY = chosen.lr, chosen.weight_decay
        return build_optimizer(cfg, model)
    cfg.optimizer.lr, cfg.optimizer.weight_decay = chosen.lr, chosen.weight_decay
    cfg.optimizer.params.model = model
    return instantiate(cfg.optimizer)


def make_schedule(
    config: DetectronConfig,
    spec: TrainingSpec,
    optimizer: torch.optim.Optimizer,
    iterations: int,
    *,
    unit: int = 1,
    part: Stretch = WHOLE,
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate over `iterations` steps, as a scheduler to be stepped after each.

    `unit`: steps between two counts of `spec.milestones`, an epoch's or 1. Where this is one `part` of a longer training,
    the schedule lies over all parts, each as long as this one, and begins at this one's place.
    """
    whole, begun = iterations * part.of, iterations * part.number
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])  # what torch wants of a schedule that has begun
    if spec.milestones is not None:
        rate = stepwise(_warmup(config, whole), [int(count) * unit for count in spec.milestones])
        return torch.optim.lr_scheduler.LambdaLR(optimizer, rate, last_epoch=begun - 1)
    return LRMultiplier(optimizer, _multiplier(config, spec, whole), whole, last_iter=begun - 1)


def _multiplier(config: DetectronConfig, spec: TrainingSpec, iterations: int) -> ParamScheduler:
    """What the peak learning rate is multiplied with, over the share of `iterations` that are done."""
    if spec.schedule == "constant":
        return LinearParamScheduler(1.0, 1.0)
    if spec.schedule == "one_cycle":
        fall = CosineParamScheduler(1.0, ONE_CYCLE_END)
        return WarmupParamScheduler(fall, ONE_CYCLE_START, ONE_CYCLE_WARMUP, "linear", rescale_interval=True)
    cfg = copy.deepcopy(config.cfg)
    if isinstance(cfg, CfgNode):
        nobody = torch.optim.SGD([nn.Parameter(torch.zeros(0))])  # Detectron2 makes one for an optimizer alone
        own: Any = build_lr_scheduler(_fit_to_round(cfg, config.overridden, iterations), nobody)
        return own._multiplier
    if "lr_multiplier.warmup_length" not in config.overridden:
        own_warmup = cfg.lr_multiplier.warmup_length * cfg.train.max_iter
        cfg.lr_multiplier.warmup_length = min(own_warmup / iterations, WARMUP_SHARE)
    multiplier: ParamScheduler = instantiate(cfg.lr_multiplier)
    return multiplier


def _warmup(config: DetectronConfig, iterations: int) -> tuple[float, float]:
    """How many of `iterations` steps the model's own recipe warms up, at most a tenth unless the user says how many, and
    the factor that it begins with."""
    cfg = config.cfg
    if isinstance(cfg, CfgNode):
        fitted = _fit_to_round(copy.deepcopy(cfg), config.overridden, iterations).SOLVER
        return fitted.WARMUP_ITERS, fitted.WARMUP_FACTOR
    own = cfg.lr_multiplier
    if "lr_multiplier.warmup_length" in config.overridden:
        return own.warmup_length * iterations, own.warmup_factor
    return min(own.warmup_length * cfg.train.max_iter, WARMUP_SHARE * iterations), own.warmup_factor


def _fit_to_round(cfg: CfgNode, overridden: frozenset[str], iterations: int) -> CfgNode:
    """Milestones and warm-up for `iterations` steps; those that the user gave stay as they are."""
    cfg.defrost()
    solver = cfg.SOLVER
    if "SOLVER.STEPS" not in overridden:
        scaled = {round(step * iterations / solver.MAX_ITER) for step in solver.STEPS}
        solver.STEPS = tuple(sorted(step for step in scaled if 0 < step < iterations))
    if "SOLVER.WARMUP_ITERS" not in overridden:
        solver.WARMUP_ITERS = min(solver.WARMUP_ITERS, int(iterations * WARMUP_SHARE))
    solver.MAX_ITER = iterations
    return cfg
