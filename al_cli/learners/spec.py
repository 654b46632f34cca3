"""The settings of a detector, as plain data that is checked before torch is imported.

    ModelSpec      conf/model/*.yaml   which detector, from which weights (classifiers: `classifier/spec.py`)
    InfluenceSpec  model.influence     how INFLUENCE is measured

Field names are the keys of those files, as in `training_spec.py`. `check` raises ConfigError with the valid choices; it
reads no file. What model and training must agree on is asked here, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from al_cli.errors import ConfigError, ModelError, suggest
from al_cli.learners.values import require_count, require_number, require_one_of
from al_cli.types import INFLUENCES, Image, Signal

TINY = ("tiny_faster_rcnn", "tiny_retinanet")
REFERENCES = ("val", "initial", "labeled", "test")  # of influence
TOWERS = frozenset({Signal.TOWER_FEATURES, Signal.CENTER_FEATURES})  # of dense detectors
OWN_HEAD = frozenset({Signal.ERROR_PROBABILITY, Signal.POOL_PROBABILITY})  # of classifiers
FAMILIES = ("rcnn", "retinanet", "fcos", "fake")


@dataclass(frozen=True)
class ModelSpec:
    """One Detectron2 detector.

    `config` is a file of Detectron2's model zoo (`COCO-Detection/….yaml|.py`) or one of TINY. `weights`: `zoo` (what
    Detectron2 publishes for this config), `none` (drawn from the seed), or a file or URL that Detectron2 can load.
    `overrides` are Detectron2's own keys, nested or dotted. `family` is read off `config` where it is None.
    `dropout`: the share of activations that dropout layers in the class head put to 0 while training; None: no such
    layers. `dropout_passes`: how often DROPOUT asks that head about the same boxes (10, as the FSDL program does).
    `influence`: settings of INFLUENCE that differ from InfluenceSpec's.
    `loss_prediction`: what trains the module behind PREDICTED_LOSS: `own`, an Adam of its own; `shared`, the detector's
    optimizer (Yoo and Kweon, 2019; ISAL D.2).
    """

    name: str
    config: str | None
    weights: str = "zoo"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    family: str | None = None
    dropout: float | None = None
    dropout_passes: int = 10
    influence: Mapping[str, Any] = field(default_factory=dict)
    loss_prediction: str = "own"

    asking: ClassVar[tuple[str, ...]] = ("config", "overrides", "dropout")  # settings of the network that answers

    def check(self) -> ModelSpec:
        """This spec, or ConfigError for a value that no model can have."""
        if self.family == "fake":  # no detector: nothing below applies
            return self
        if not self.config:
            raise ConfigError(
                "the model has no config",
                where=f"model={self.name}",
                remedy="give one of Detectron2's, for example model.config=COCO-Detection/faster_rcnn_R_50_DC5_3x.yaml",
            )
        if self.config not in TINY and not self.config.endswith((".yaml", ".py")):
            raise ConfigError(
                f"{self.config} names no Detectron2 config",
                where="model.config",
                remedy=f"give a .yaml or .py file of Detectron2's model zoo, or one of {', '.join(TINY)}",
            )
        if self.family is not None:
            require_one_of("model.family", self.family, FAMILIES)
        if not self.weights:
            raise ConfigError(
                "no weights are named", where="model.weights", remedy="valid: zoo, none, or the path of a file"
            )
        if self.config in TINY and self.weights == "zoo":
            raise ConfigError(
                f"nobody publishes weights of {self.config}",
                where="model.weights=zoo",
                remedy="use none or the path of a file",
            )
        require_number("model.dropout", self.dropout, lambda x: 0 < x < 1, "above 0 and below 1")
        if isinstance(self.dropout_passes, bool) or not isinstance(self.dropout_passes, int) or self.dropout_passes < 2:
            raise ConfigError(
                "dropout needs at least two passes",
                where=f"model.dropout_passes={self.dropout_passes}",
                remedy="give an integer of at least 2",
            )
        if not isinstance(self.overrides, Mapping):
            raise ConfigError(
                f"overrides must be keys with values, not {self.overrides!r}",
                where="model.overrides",
                remedy="write model.overrides.SOLVER.BASE_LR=1e-4",
            )
        InfluenceSpec.of(self.influence)
        require_one_of("model.loss_prediction", self.loss_prediction, ("own", "shared"))
        return self

    @property
    def architecture(self) -> str:
        """`rcnn`, `retinanet` or `fcos`: `family` where given, else by the config's name."""
        words = (self.config or "").lower()
        return self.family or next((name for name in ("retinanet", "fcos") if name in words), "rcnn")

    @property
    def tiny(self) -> bool:
        """Whether it is so small that more than one thread would cost time."""
        return self.config in TINY

    @property
    def influences(self) -> InfluenceSpec:
        """The settings of INFLUENCE."""
        return InfluenceSpec.of(self.influence)

    @property
    def provides(self) -> frozenset[Signal]:
        """The signals this model can give, known without building it."""
        if self.architecture == "fake":
            return frozenset(Signal)
        given = {Signal.PROBS, Signal.BOX_FEATURES, Signal.IMAGE_FEATURES, Signal.LAYER_ACTIVATIONS, Signal.JITTER}
        given |= {
            Signal.TRUE_LOSS,
            Signal.TRUE_BOXES,
            Signal.TRUE_CLASSES,
            Signal.CLASS_DIFFICULTY,
            Signal.PREDICTED_LOSS,
        }
        given |= INFLUENCES
        if self.architecture == "rcnn":
            given.add(Signal.PROPOSAL_IOU)
        else:
            given |= TOWERS
        if self.dropout is not None:
            given.add(Signal.DROPOUT)
        return frozenset(given)

    def require_sizes(self, images: Iterable[Image]) -> None:
        """A detector takes images of every size."""

    def remedy_for(self, lacking: Collection[Signal]) -> str:
        """What to do about signals that this model does not provide, and why it does not where that can be said."""
        if Signal.PROPOSAL_IOU in lacking:
            return (
                "a dense detector refines no proposals; take a Faster R-CNN, for example model=faster_rcnn_R50_FPN_3x"
            )
        if TOWERS & set(lacking):
            return (
                "a Faster R-CNN has no towers; take a dense detector, for example model=retinanet_R50_FPN_3x, or another "
                "feature (coreset: feature=image; ccms_kmedoids: feature=box)"
            )
        if Signal.DROPOUT in lacking:
            return "it has no dropout layers; set model.dropout=0.2 to train with them"
        if OWN_HEAD & set(lacking):
            return (
                "a detector's head cannot learn that; take model=resnet18 and images with one class each, or head=new"
            )
        return f"it provides {', '.join(sorted(self.provides))}; take another sampler or model"


@dataclass(frozen=True)
class InfluenceSpec:
    """Influence selection's own settings (Liu et al., ISAL, 2021; sections 4.2-4.4, appendices B and E.2).

    `reference`  whose loss is to fall: the validation images (section 3.2), the initial labeled ones (v2), all labeled ones
                 (v3), or `test`, the images that rounds are scored on, which are ISAL's validation images on VOC and COCO
                 (sections 4.2 and E.2): it chooses with the labels of what it is scored on
    `classes`    K of eq. 3: how many of its likeliest classes a pseudo label takes, one pass each; 1 was best (table 1)
    `threshold`  score from which a detection is a pseudo label; the paper names none, 0.5 is its released program's. In the
                 units of the detector's paper: FCOS' is class score x centerness, where Detectron2's score is the root of it
    `samples`    the most labeled images that estimate the Hessian, one a step; None: 500 for R-CNN, 5000 for dense
    `repeats`    estimates that are averaged
    `damping`    share of an estimate that each step forgets; 0.01 is the released program's
    `scale`      divisor of the Hessian, no smaller than its largest curvature; None: found by power iteration
    """

    reference: str = "val"
    classes: int = 1
    threshold: float = 0.5
    samples: int | None = None
    repeats: int = 4
    damping: float = 0.01
    scale: float | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> InfluenceSpec:
        """The checked spec of these settings, the rest as it is here. ConfigError names an unknown setting."""
        for key in settings:
            if key not in cls.__dataclass_fields__:
                remedy = suggest(key, cls.__dataclass_fields__)
                raise ConfigError(f"influence has no setting {key}", where=f"model.influence.{key}", remedy=remedy)
        return cls(**settings).check()

    def check(self) -> InfluenceSpec:
        """This spec, or ConfigError for the first value that cannot work."""
        require_one_of("model.influence.reference", self.reference, REFERENCES)
        for key in ("classes", "samples", "repeats"):
            if key != "samples" or self.samples is not None:
                require_count(f"model.influence.{key}", getattr(self, key))
        require_number("model.influence.threshold", self.threshold, lambda x: 0 <= x <= 1, "in [0, 1]", or_null=False)
        require_number("model.influence.damping", self.damping, lambda x: 0 <= x < 1, "in [0, 1)", or_null=False)
        require_number("model.influence.scale", self.scale, lambda x: x > 0, "above 0")
        return self

    def require_classes(self, known: int) -> None:
        """ConfigError for more classes of a pseudo label than the data has, which is `known` once the data is read."""
        if self.classes > known:
            raise ConfigError(
                f"a pseudo label cannot take {self.classes} of {known} classes",
                where=f"model.influence.classes={self.classes}",
                remedy=f"give at most {known}, the classes of the data",
            )


def require_weights(model: ModelSpec) -> None:
    """ModelError for a weights file that is not there; addresses and published weights are not looked up."""
    if "://" not in model.weights:
        require_weights_file(model.weights, ("zoo", "none"))


def require_weights_file(weights: str, known: Sequence[str]) -> None:
    """ModelError for weights that are neither one of the `known` words nor a file."""
    if weights not in known and not Path(weights).expanduser().is_file():
        raise ModelError(
            "there is no such weights file",
            where=f"model.weights={weights}",
            remedy=f"valid: {', '.join(known)}, or the path of a file that exists",
        )


def require_pairs(batch_size: int) -> None:
    """ConfigError for batches of one image, which cannot be compared with anything: to be asked before any training."""
    if batch_size < 2:
        raise ConfigError(
            "loss prediction learns by comparing the images of a batch",
            where=f"batches of {batch_size}",
            remedy="set training.batch_size of at least 2, or take another sampler",
        )
