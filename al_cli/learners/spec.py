"""The settings of a run's model and training, as plain data that is checked before torch is imported.

    ModelSpec      conf/model/*.yaml      which detector, from which weights
    InfluenceSpec  model.influence        how INFLUENCE is measured
    TrainingSpec   conf/training/*.yaml   how a round trains it

Field names are the keys of those files. `check` raises ConfigError with the valid choices; it reads no file.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from al_cli.errors import ConfigError, ModelError, suggest, written
from al_cli.types import Signal

TINY = ("tiny_faster_rcnn", "tiny_retinanet")
REFERENCES = ("val", "initial", "labeled", "test")  # of influence
TOWERS = frozenset({Signal.TOWER_FEATURES, Signal.CENTER_FEATURES})  # of dense detectors
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
            _one_of("model.family", self.family, FAMILIES)
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
        _number("model.dropout", self.dropout, lambda x: 0 < x < 1, "above 0 and below 1")
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
        _one_of("model.loss_prediction", self.loss_prediction, ("own", "shared"))
        return self

    @property
    def architecture(self) -> str:
        """`rcnn`, `retinanet` or `fcos`: `family` where given, else by the config's name."""
        words = (self.config or "").lower()
        return self.family or next((name for name in ("retinanet", "fcos") if name in words), "rcnn")


def provides(model: ModelSpec) -> frozenset[Signal]:
    """The signals this model can give, known without building it."""
    if model.architecture == "fake":
        return frozenset(Signal)
    given = {Signal.PROBS, Signal.BOX_FEATURES, Signal.IMAGE_FEATURES, Signal.JITTER}
    given |= {Signal.TRUE_LOSS, Signal.TRUE_BOXES, Signal.CLASS_DIFFICULTY, Signal.PREDICTED_LOSS}
    given |= {Signal.INFLUENCE, Signal.GRADIENT_SIMILARITY}
    if model.architecture == "rcnn":
        given.add(Signal.PROPOSAL_IOU)
    else:
        given |= TOWERS
    if model.dropout is not None:
        given.add(Signal.DROPOUT)
    return frozenset(given)


def remedy_for(model: ModelSpec, lacking: Collection[Signal]) -> str:
    """What to do about signals that this model does not provide, and why it does not where that can be said."""
    if Signal.PROPOSAL_IOU in lacking:
        return "a dense detector refines no proposals; take a Faster R-CNN, for example model=faster_rcnn_R50_FPN_3x"
    if TOWERS & set(lacking):
        return (
            "a Faster R-CNN has no towers; take a dense detector, for example model=retinanet_R50_FPN_3x, or another feature "
            "(coreset: feature=image; ccms_kmedoids: feature=box)"
        )
    if Signal.DROPOUT in lacking:
        return "it has no dropout layers; set model.dropout=0.2 to train with them"
    return f"it provides {', '.join(sorted(provides(model)))}; take another sampler or model"


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
        if self.reference not in REFERENCES:
            raise ConfigError(
                f"influence has no reference {self.reference!r}",
                where="model.influence.reference",
                remedy=suggest(str(self.reference), REFERENCES),
            )
        for key in ("classes", "samples", "repeats"):
            value = getattr(self, key)
            if value is not None or key != "samples":
                _require_setting(isinstance(value, int) and value >= 1, key, value, "a count of at least 1")
        _require_setting(
            _finite(self.threshold) and 0 <= self.threshold <= 1, "threshold", self.threshold, "a score in [0, 1]"
        )
        _require_setting(_finite(self.damping) and 0 <= self.damping < 1, "damping", self.damping, "a number in [0, 1)")
        if self.scale is not None:
            _require_setting(_finite(self.scale) and self.scale > 0, "scale", self.scale, "a number above 0, or null")
        return self

    def require_classes(self, known: int) -> None:
        """ConfigError for more classes of a pseudo label than the data has, which is `known` once the data is read."""
        _require_setting(self.classes <= known, "classes", self.classes, f"at most {known}, the classes of the data")


@dataclass(frozen=True)
class TrainingSpec:
    """How one round trains. None means "as the model's own Detectron2 config says" unless stated otherwise.

    `data`        cumulative: all labeled so far; new: only the images this round added; reselect: a set of as many images
                  as cumulative has, selected again from the whole pool each round (Lund 4.1.5)
    `init`        reset: from the starting weights each round; continue: from the last round's; join: one training over
                  all rounds that new images join on its way: weights, momentum and the place in the schedule go on
    `duration`    iterations: a number of steps; epochs: a number of passes over the images; early_stop: passes until
                  validation (`stop_on`) no longer gets better, back to the weights where it was best (Lund 4.1.2)
    `iterations`, `iterations_per`   steps per round, or per run (split evenly over its rounds); for duration iterations
    `epochs`      passes of a round (at most, where it stops early); for durations epochs and early_stop
    `patience`    early_stop ends after this many measurements without a better one
    `stop_on`     what early_stop watches on the validation images: their loss, or a metric of the task (Lund 4.1.2)
    `batch_size`  images a step
    `optimizer`   sgd (momentum 0.9), adamw, or None
    `lr`          peak learning rate; None: the model's own, scaled with the batch size (Goyal et al., 2017)
    `schedule`    one_cycle (linear warm-up over 15%, cosine to 1%; Smith and Topin, 2017), steps (at `milestones`),
                  constant, or None: the model's own milestones, scaled to the round's length
    `milestones`  schedule steps: the rate falls tenfold after each of these epochs, or steps for duration iterations;
                  with init join they are the run's
    `ema`         decay of the moving average of the weights, which is then evaluated and saved; None: no average
    `clip_gradients`  largest norm of all gradients together; None: no clipping of ours
    `shuffle`     each epoch takes the images in another random order; False: in the order in which they were labeled,
                  every batch its next ones (Lund 4.1.1)
    `flip`        mirror half of the training images
    `amp`         mixed precision (float16), on a GPU only
    `val_every`   steps (duration iterations) or epochs between measurements of the validation loss; None: never
    `keep_checkpoints`  last, or all rounds'
    """

    iterations: int | None = None
    data: str = "cumulative"
    init: str = "reset"
    duration: str = "iterations"
    iterations_per: str = "round"
    epochs: int | None = None
    patience: int | None = None
    stop_on: str = "loss"
    batch_size: int | None = None
    optimizer: str | None = None
    lr: float | None = None
    schedule: str | None = None
    milestones: Sequence[int] | None = None
    weight_decay: float | None = None
    ema: float | None = None
    clip_gradients: float | None = None
    shuffle: bool = True
    flip: bool = True
    amp: bool = False
    val_every: int | None = None
    keep_checkpoints: str = "last"

    def check(self) -> TrainingSpec:
        """This spec, or ConfigError for the first value that cannot work."""
        _one_of("training.data", self.data, ("cumulative", "new", "reselect"))
        _one_of("training.init", self.init, ("reset", "continue", "join"))
        _one_of("training.duration", self.duration, ("iterations", "epochs", "early_stop"))
        _one_of("training.iterations_per", self.iterations_per, ("round", "run"))
        _one_of("training.optimizer", self.optimizer, ("sgd", "adamw", None))
        _one_of("training.schedule", self.schedule, ("one_cycle", "steps", "constant", None))
        _one_of("training.keep_checkpoints", self.keep_checkpoints, ("last", "all"))
        for name in ("shuffle", "flip", "amp"):
            _one_of(f"training.{name}", getattr(self, name), (True, False))
        for name in ("iterations", "epochs", "patience", "batch_size", "val_every"):
            if getattr(self, name) is not None:
                _count(f"training.{name}", getattr(self, name))
        _number("training.lr", self.lr, lambda x: x > 0, "above 0")
        _number("training.weight_decay", self.weight_decay, lambda x: x >= 0, "0 or more")
        _number("training.clip_gradients", self.clip_gradients, lambda x: x > 0, "above 0")
        _number("training.ema", self.ema, lambda x: 0 < x < 1, "above 0 and below 1")
        if self.optimizer and self.lr is None:
            raise ConfigError(
                f"training.optimizer={self.optimizer} needs a learning rate",
                where="training.lr=null",
                remedy="give one (sgd: about 0.01, adamw: about 0.001), or keep the model's own optimizer with null",
            )
        self._check_duration()
        self._check_milestones()
        if not isinstance(self.stop_on, str):
            what = f"training.stop_on is {written(self.stop_on)}, which is no text"
            raise ConfigError(what, remedy="give loss, or a metric of the task")
        if self.stop_on != "loss" and self.duration != "early_stop":
            raise ConfigError(
                f"training.stop_on={self.stop_on} would do nothing: this training has a length of its own",
                where=f"training.duration={self.duration}",
                remedy="set training.duration=early_stop, or training.stop_on=loss",
            )
        if self.data == "reselect" and self.goes_on:
            raise ConfigError(
                "training.data=reselect starts each round from the starting weights: continued weights have seen images "
                "that the new training set leaves out",
                where=f"training.data=reselect training.init={self.init}",
                remedy="set training.init=reset",
            )
        if self.init == "join" and self.duration == "early_stop":
            raise ConfigError(
                "training.init=join is one training over all rounds, so no round of it can stop earlier",
                where="training.init=join training.duration=early_stop",
                remedy="set training.duration=epochs, or training.init=reset",
            )
        return self

    @property
    def goes_on(self) -> bool:
        """Whether a round starts from the last round's weights."""
        return self.init != "reset"

    @property
    def spans_run(self) -> bool:
        """Whether the learning rate of a round depends on how many rounds its run has."""
        return self.init == "join" and self.schedule != "constant"

    def _check_duration(self) -> None:
        """What `duration` counts must be given."""
        need = {"iterations": ("iterations",), "epochs": ("epochs",), "early_stop": ("epochs", "patience", "val_every")}
        examples = {"iterations": 3000, "epochs": 26, "patience": 3, "val_every": 1}
        for name in need[self.duration]:
            if getattr(self, name) is None:
                raise ConfigError(
                    f"training.duration={self.duration} needs training.{name}",
                    where=f"training.{name}=null",
                    remedy=f"give one, for example training.{name}={examples[name]}",
                )
        if self.duration == "early_stop" and (self.val_every or 1) > (self.epochs or 1):
            raise ConfigError(
                f"validation would be measured once, after all {self.epochs} epochs, so nothing could stop earlier",
                where=f"training.val_every={self.val_every}",
                remedy="training.val_every counts epochs here; give training.val_every=1",
            )

    def _check_milestones(self) -> None:
        """Milestones are there where the schedule has some, and ascend. Their end is `per_round`'s to know."""
        if (self.schedule == "steps") != (self.milestones is not None):
            missing = self.milestones is None
            raise ConfigError(
                "training.schedule=steps needs training.milestones"
                if missing
                else "training.milestones would do nothing without training.schedule=steps",
                where=f"training.schedule={written(self.schedule)} training.milestones={written(self.milestones)}",
                remedy="give them, for example training.milestones=[8,11]"
                if missing
                else "add training.schedule=steps",
            )
        if self.milestones is None:
            return
        rising = isinstance(self.milestones, Sequence) and not isinstance(self.milestones, str)
        counts = rising and all(isinstance(m, int) and not isinstance(m, bool) and m >= 1 for m in self.milestones)
        if not counts or not self.milestones or any(b <= a for a, b in pairwise(self.milestones)):
            raise ConfigError(
                "training.milestones must be counts that ascend",
                where=f"training.milestones={written(self.milestones)}",
                remedy="give a list such as [8,11]",
            )

    @property
    def stops_by(self) -> str | None:
        """The metric by which trainings stop early; None where they go by the loss, or do not stop."""
        return None if self.stop_on == "loss" else self.stop_on

    @property
    def counts_epochs(self) -> bool:
        """Whether `per_round` and `val_every` are in epochs; else in steps."""
        return self.duration != "iterations"

    def per_round(self, rounds: int) -> int:
        """The length of one of `rounds` trainings, the initial one counted: steps, or epochs (`counts_epochs`).

        ConfigError where a run has fewer iterations than rounds, the length is not given, or a milestone is not before its
        end.
        """
        length = self.epochs if self.counts_epochs else self.iterations
        if length is None:
            raise ConfigError("the training has no length", where=f"training.duration={self.duration}")
        if not self.counts_epochs and self.iterations_per == "run":
            length = self._split(length, rounds)
        whole = length * rounds if self.init == "join" else length
        if self.milestones is not None and self.milestones[-1] >= whole:
            unit = "epochs" if self.counts_epochs else "iterations"
            raise ConfigError(
                f"a training of {whole} {unit} is over at its milestone {self.milestones[-1]}",
                where=f"training.milestones={written(self.milestones)}",
                remedy=f"give milestones below {whole}",
            )
        return length

    @staticmethod
    def _split(length: int, rounds: int) -> int:
        """Iterations of a run, evenly over its rounds."""
        if length < rounds:
            raise ConfigError(
                f"{length} iterations cannot be split over {rounds} rounds",
                where="training.iterations_per=run",
                remedy=f"give training.iterations of at least {rounds}",
            )
        return length // rounds


def check_together(model: ModelSpec, training: TrainingSpec, needs: frozenset[Signal], device: str) -> None:
    """ConfigError for what the learner's constructor would refuse and can be known without torch: batches of one image
    where losses are predicted, mixed precision on a CPU."""
    if model.architecture == "fake":
        return
    batch = _batch_size(model, training)
    if Signal.PREDICTED_LOSS in needs and batch is not None:
        require_pairs(batch)
    if training.amp and device == "cpu":
        raise ConfigError("mixed precision needs a GPU", where="training.amp=true", remedy="set training.amp=false")


def require_weights(model: ModelSpec) -> None:
    """ModelError for a weights file that is not there; addresses and published weights are not looked up."""
    if model.weights in ("zoo", "none") or "://" in model.weights or Path(model.weights).expanduser().is_file():
        return
    raise ModelError(
        "there is no such weights file",
        where=f"model.weights={model.weights}",
        remedy="valid: zoo, none, or the path of a file that exists",
    )


def require_pairs(batch_size: int) -> None:
    """ConfigError for batches of one image, which cannot be compared with anything: to be asked before any training."""
    if batch_size < 2:
        raise ConfigError(
            "loss prediction learns by comparing the images of a batch",
            where=f"batches of {batch_size}",
            remedy="set training.batch_size of at least 2, or take another sampler",
        )


def _batch_size(model: ModelSpec, training: TrainingSpec) -> int | None:
    """What the settings say of it, strongest first; None where the model's own config decides."""
    for key in ("SOLVER.IMS_PER_BATCH", "dataloader.train.total_batch_size"):
        value: Any = model.overrides.get(key)
        if value is None:
            value = model.overrides
            for part in key.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, int):
            return value
    return training.batch_size


def _one_of(key: str, value: Any, choices: tuple[Any, ...]) -> None:
    if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in choices):
        names = ["null" if choice is None else str(choice).lower() for choice in choices]
        raise ConfigError(
            f"{key} cannot be {written(value)}", where=f"{key}={written(value)}", remedy=suggest(str(value), names)
        )


def _count(key: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(
            f"{key} must be a count", where=f"{key}={written(value)}", remedy="give an integer of at least 1"
        )


def _number(key: str, value: Any, valid: Any, what: str) -> None:
    """None passes."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not valid(value):
        raise ConfigError(
            f"{key} must be a number {what}", where=f"{key}={written(value)}", remedy=f"give a number {what}, or null"
        )


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _require_setting(fits: bool, key: str, value: Any, what: str) -> None:
    if not fits or isinstance(value, bool):
        raise ConfigError(
            f"influence.{key} cannot be {written(value)}",
            where=f"model.influence.{key}={written(value)}",
            remedy=f"give {what}",
        )
