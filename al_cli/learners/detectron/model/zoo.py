"""A Detectron2 config, yacs (`.yaml`) or lazy (`.py`), behind one face: what the learner needs to know of either.

    config = open_config(spec, num_classes=3, device=torch.device("cpu"))
    config.model()                       # an nn.Module with drawn weights
    config.augmentations(train=True, flip=True), config.image_format, config.resizes
    config.batch_size, config.lr         # the recipe's own numbers; `config.says(...)`: which ones the user overrode

`overrides` are the last word: they win over whatever conf/training says. Only what al itself decides (device, weights,
classes, data, length of training) cannot be overridden.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence
from pathlib import Path
from typing import Any, Protocol

import detectron2.data.transforms as T
import torch
from detectron2 import model_zoo
from detectron2.config import CfgNode, instantiate
from detectron2.data import DatasetMapper
from detectron2.modeling import FCOS, META_ARCH_REGISTRY, GeneralizedRCNN, RetinaNet, build_model
from detectron2.utils.registry import locate
from torch import nn

from al_cli.errors import ConfigError, ModelError
from al_cli.learners.detectron.model import tiny
from al_cli.learners.detectron.signals.dropout import insert_dropout
from al_cli.learners.spec import TINY, ModelSpec

# What al decides, and where the user says it instead.
_OURS = {
    "MODEL.DEVICE": "device",
    "MODEL.WEIGHTS": "model.weights",
    "SOLVER.MAX_ITER": "training.iterations",
    "SOLVER.AMP.ENABLED": "training.amp",
    "DATASETS.TRAIN": "dataset",
    "DATASETS.TEST": "dataset",
    "DATALOADER.FILTER_EMPTY_ANNOTATIONS": "nothing: images without objects are always kept",
    "MODEL.ROI_HEADS.NUM_CLASSES": "dataset",
    "MODEL.RETINANET.NUM_CLASSES": "dataset",
    "SEED": "seed",
    "OUTPUT_DIR": "outputs",
    "train.device": "device",
    "train.init_checkpoint": "model.weights",
    "train.max_iter": "training.iterations",
    "train.amp.enabled": "training.amp",
    "train.output_dir": "outputs",
    "model.num_classes": "dataset",
}
_FAMILY = {"rcnn": GeneralizedRCNN, "retinanet": RetinaNet, "fcos": FCOS}


class DetectronConfig(Protocol):
    """Either kind of config, all al decides already set in it."""

    cfg: Any
    overridden: frozenset[str]  # the dotted keys that the user set

    @property
    def batch_size(self) -> int: ...
    @property
    def workers(self) -> int: ...
    @property
    def image_format(self) -> str: ...
    @property
    def resizes(self) -> bool:
        """Whether images are scaled or cropped on their way in; if not, they may be decoded once and kept."""
        ...

    @property
    def groups_by_aspect(self) -> bool: ...
    @property
    def builds(self) -> Any:
        """The class of the model, as far as the config says it without building one."""
        ...

    def model(self) -> nn.Module: ...
    def augmentations(self, *, train: bool, flip: bool) -> list[Any]: ...


def open_config(spec: ModelSpec, num_classes: int, device: torch.device) -> DetectronConfig:
    """The config of this spec for a dataset of `num_classes`. ConfigError for an unknown file, key or value."""
    name = str(spec.config)
    overrides = flatten_overrides(spec.overrides)
    for key in overrides:
        if key in _OURS:
            raise ConfigError(
                f"{key} is not Detectron2's to decide here", where=f"model.overrides.{key}", remedy=f"set {_OURS[key]}"
            )
    if name in TINY:
        cfg = getattr(tiny, f"{name}_cfg")(num_classes)
        cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = (0,), 0  # 0 is Detectron2's "as they are"
    else:
        cfg = _from_zoo(name)
    config = (YacsConfig if isinstance(cfg, CfgNode) else LazyConfig)(cfg, overrides, num_classes, device)
    _require_family(config.builds, spec)
    return config


def build(config: DetectronConfig, spec: ModelSpec) -> nn.Module:
    """The model with drawn weights, dropout layers in its class head where the spec asks for them.

    ModelError where it is of another family than the spec says, or cannot be built.
    """
    try:
        model = config.model()
    except (AssertionError, KeyError, TypeError, ValueError, AttributeError, ImportError) as error:
        raise ModelError(
            f"Detectron2 cannot build this model: {type(error).__name__}: {error}",
            where=str(spec.config),
            remedy="check model.overrides" if config.overridden else "choose another model",
        ) from error
    _require_family(type(model), spec)
    if spec.dropout is not None:
        insert_dropout(model, spec.dropout)
    return model


def _require_family(built: Any, spec: ModelSpec) -> None:
    """ModelError where this class of models is of another family than the spec says. What is no class passes."""
    if isinstance(built, type) and not issubclass(built, _FAMILY[spec.architecture]):
        raise ModelError(
            f"{spec.config} builds a {built.__name__}, which is not of the family {spec.architecture}",
            where="model.family",
            remedy=f"set model.family to one of {', '.join(_FAMILY)}",
        )


def flatten_overrides(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"A": {"B": 1}, "C.D": 2} -> {"A.B": 1, "C.D": 2}."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten_overrides(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _from_zoo(name: str) -> Any:
    """A config among Detectron2's own: a lazy one is a program, so a file of that name elsewhere must not be it."""
    root = Path(model_zoo.get_config_file("Base-RCNN-FPN.yaml")).parent
    known = [str(path.relative_to(root)) for kind in ("*.yaml", "*.py") for path in root.rglob(kind)]
    if name not in known:
        raise ConfigError(
            "Detectron2 has no such config",
            where=f"model.config={name}",
            remedy=_nearest(name, known) + f"the files lie in {root}",
        )
    return model_zoo.get_config(name)


def _nearest(word: str, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, choices, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}? " if near else ""


class YacsConfig:
    """A `.yaml` of the zoo, or a tiny model."""

    def __init__(self, cfg: CfgNode, overrides: Mapping[str, Any], num_classes: int, device: torch.device):
        cfg.MODEL.MASK_ON = cfg.MODEL.KEYPOINT_ON = False  # boxes are all we have labels for
        cfg.MODEL.DEVICE = str(device)
        cfg.MODEL.WEIGHTS = ""
        cfg.MODEL.ROI_HEADS.NUM_CLASSES = cfg.MODEL.RETINANET.NUM_CLASSES = num_classes
        cfg.SEED = -1
        self.overridden = frozenset(overrides)
        for key, value in overrides.items():
            self._override(cfg, key, value)
        cfg.freeze()
        self.cfg, self.device = cfg, device

    @staticmethod
    def _override(cfg: CfgNode, key: str, value: Any) -> None:
        known = flatten_overrides(cfg)
        where = f"model.overrides.{key}={value}"
        if key not in known:
            remedy = _nearest(key, list(known)) + "the keys are those of detectron2/config/defaults.py"
            raise ConfigError(f"Detectron2 has no key {key}", where=where, remedy=remedy)
        if isinstance(known[key], float) and type(value) is int:
            value = float(value)  # yacs insists on 1.0
        try:
            cfg.merge_from_list(
                [key, list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value]
            )
        except ValueError as error:
            remedy = f"give a value like its default, {known[key]!r}"
            raise ConfigError(f"{key} cannot take this value", where=where, remedy=remedy) from error

    @property
    def batch_size(self) -> int:
        return int(self.cfg.SOLVER.IMS_PER_BATCH)

    @property
    def workers(self) -> int:
        return int(self.cfg.DATALOADER.NUM_WORKERS)

    @property
    def image_format(self) -> str:
        return str(self.cfg.INPUT.FORMAT)

    @property
    def resizes(self) -> bool:
        sizes = self.cfg.INPUT
        return any(sizes.MIN_SIZE_TRAIN) or sizes.MIN_SIZE_TEST != 0 or sizes.CROP.ENABLED

    @property
    def groups_by_aspect(self) -> bool:
        return bool(self.cfg.DATALOADER.ASPECT_RATIO_GROUPING)

    @property
    def builds(self) -> Any:
        name = self.cfg.MODEL.META_ARCHITECTURE
        return META_ARCH_REGISTRY.get(name) if name in META_ARCH_REGISTRY else None

    def model(self) -> nn.Module:
        return build_model(self.cfg)

    def augmentations(self, *, train: bool, flip: bool) -> list[Any]:
        cfg = self.cfg.clone()
        if "INPUT.RANDOM_FLIP" not in self.overridden:
            cfg.defrost()
            cfg.INPUT.RANDOM_FLIP = "horizontal" if flip else "none"
        return DatasetMapper.from_config(cfg, is_train=train)["augmentations"]


class LazyConfig:
    """A lazy `.py` of the zoo."""

    def __init__(self, cfg: Any, overrides: Mapping[str, Any], num_classes: int, device: torch.device):
        missing = [part for part in ("model", "dataloader", "optimizer", "lr_multiplier", "train") if part not in cfg]
        if missing:
            raise ConfigError(
                f"this config is no whole experiment: it has no {', '.join(missing)}",
                where="model.config",
                remedy="choose one from COCO-Detection/",
            )
        _set_classes(cfg.model, num_classes)
        for key, value in overrides.items():
            self._override(cfg, key, value)
        self.overridden = frozenset(overrides)
        self.cfg, self.device = cfg, device

    @staticmethod
    def _override(cfg: Any, key: str, value: Any) -> None:
        if _names_code(key, value):
            what = f"{key} would name a function, and overrides are values alone"
            raise ConfigError(what, where=f"model.overrides.{key}={value}", remedy="leave it out")
        *parents, last = key.split(".")
        node = cfg
        for part in parents:
            node = node[place] if (place := _place(node, part)) is not None else None
        if (place := _place(node, last)) is None:
            raise ConfigError(
                f"this lazy config has no key {key}",
                where=f"model.overrides.{key}={value}",
                remedy=_nearest(key, _lazy_keys(cfg)) + f"its parts are {', '.join(cfg)}",
            )
        node[place] = value

    @property
    def batch_size(self) -> int:
        return int(self.cfg.dataloader.train.total_batch_size)

    @property
    def workers(self) -> int:
        return int(self.cfg.dataloader.train.num_workers)

    @property
    def image_format(self) -> str:
        return str(self.cfg.dataloader.train.mapper.image_format)

    @property
    def resizes(self) -> bool:
        return True

    @property
    def groups_by_aspect(self) -> bool:
        return True

    @property
    def builds(self) -> Any:
        target = self.cfg.model.get("_target_")
        return locate(target) if isinstance(target, str) else target

    def model(self) -> nn.Module:
        return instantiate(self.cfg.model).to(self.device)

    def augmentations(self, *, train: bool, flip: bool) -> list[Any]:
        part = self.cfg.dataloader.train if train else self.cfg.dataloader.test
        steps = [instantiate(step) for step in part.mapper.augmentations]
        return [step for step in steps if flip or not isinstance(step, T.RandomFlip)]


def _names_code(key: str, value: Any) -> bool:
    """Whether an override would change what a lazy config calls, which may be anything on this machine."""
    if isinstance(value, Mapping):
        return any(_names_code(str(inner), of_it) for inner, of_it in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return any(_names_code("", item) for item in value)
    return key.rpartition(".")[2].startswith("_")


def _place(node: Any, part: str) -> str | int | None:
    """Where a part of a dotted key lies: a key of a mapping, or the number of a list's item. None: nowhere."""
    if isinstance(node, MutableSequence):
        return int(part) if part.isdecimal() and int(part) < len(node) else None
    return part if isinstance(node, MutableMapping) and part in node else None


def _lazy_keys(node: Any, prefix: str = "") -> list[str]:
    """All keys, and the items of lists that have keys of their own."""
    keys = []
    for key in node if isinstance(node, MutableMapping) else range(len(node)):
        inner = isinstance(node[key], MutableMapping | MutableSequence)
        if inner or isinstance(node, MutableMapping):
            keys.append(f"{prefix}{key}")
        if inner:
            keys += _lazy_keys(node[key], f"{prefix}{key}.")
    return keys


def _set_classes(node: Any, num_classes: int) -> None:
    """Sets `num_classes` wherever the model config has it, and takes out the parts that need masks or keypoints."""
    if isinstance(node, MutableMapping):
        for key in list(node):
            if str(key).startswith(("mask_", "keypoint_")):
                del node[key]
            elif key == "num_classes":
                node[key] = num_classes
            else:
                _set_classes(node[key], num_classes)
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for child in node:
            _set_classes(child, num_classes)
