"""The settings of a classifier (conf/model/*.yaml), as plain data that is checked before torch is imported."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from al_cli.errors import ConfigError, DatasetError, written
from al_cli.learners.spec import InfluenceSpec, require_weights_file
from al_cli.learners.values import require_count, require_number, require_one_of
from al_cli.types import INFLUENCES, Image, Signal

NETWORKS = ("tiny_cnn", "resnet18", "vgg16", "resnet50")
RESNETS = ("resnet18", "resnet50")
NORMALIZE = ("train", "imagenet", "none")
OUTPUTS = ("new", "kept")
VGG_SMALLEST = 32  # px that its five poolings need
SAMPLES = 250  # labeled images that estimate the Hessian (ISAL 4.1)
SHARE = 0.6  # 120 of 200 epochs (ISAL D.1)


@dataclass(frozen=True)
class ClassifierSpec:
    """One network that gives each image a probability for each class.

    `network`      one of NETWORKS
    `weights`      none: drawn from the seed; imagenet: those that torchvision publishes; or the path of a file
    `outputs`      new: a last layer for the classes of the data, drawn from the seed where the weights' own does not fit;
                   kept: the outputs of the weights are the classes of the data (Lund 4: ImageNet's 1000)
    `stem`         of a ResNet: small (3x3, stride 1, no pooling, for images of some 32 px) or imagenet (7x7, stride 2, pool)
    `image_size`   side in px that images are resized to; None: as they are, and all the same
    `normalize`    subtract a mean of each channel and divide by its deviation: train (of the images of the first training),
                   imagenet, none (values in 0..1), or the two themselves: {mean: [...], deviation: [...]}, of values in 0..1
    `hidden`       widths of linear layers between the features and the last one, each with batch normalization, ReLU and
                   dropout (FSDL 3.2: two); empty: the network's own head
    `freeze`       train the head alone (FSDL 5.3)
    `dropout`      share of activations put to 0 before each linear layer of the head that follows another, or before its
                   only one; None: the network's own
    `dropout_passes`, `loss_prediction`, `influence`   as of a detector
    `loss_prediction_share`   the share of a training in which the gradient of the loss prediction reaches the network where it
                   is shared (ISAL D.1: until epoch 120 of 200)
    """

    name: str
    network: str
    weights: str = "none"
    outputs: str = "new"
    stem: str = "small"
    image_size: int | None = None
    normalize: str | Mapping[str, Sequence[float]] = "train"
    hidden: Sequence[int] = ()
    freeze: bool = False
    dropout: float | None = None
    dropout_passes: int = 10
    influence: Mapping[str, Any] = field(default_factory=dict)
    loss_prediction: str = "shared"
    loss_prediction_share: float = SHARE
    family: str = "classifier"

    asking: ClassVar[tuple[str, ...]] = ("network", "outputs", "stem", "image_size", "normalize", "hidden", "dropout")

    def check(self) -> ClassifierSpec:
        """This spec, or ConfigError for a value that no classifier can have."""
        require_one_of("model.network", self.network, NETWORKS)
        require_one_of("model.outputs", self.outputs, OUTPUTS)
        require_one_of("model.stem", self.stem, ("small", "imagenet"))
        self._check_normalize()
        require_number(
            "model.loss_prediction_share", self.loss_prediction_share, lambda x: 0 <= x <= 1, "in [0, 1]", or_null=False
        )
        require_one_of("model.loss_prediction", self.loss_prediction, ("own", "shared"))
        if self.loss_prediction == "own" and self.loss_prediction_share != SHARE:
            share = f"model.loss_prediction_share={self.loss_prediction_share:g}"
            what = f"{share} would do nothing: its gradient never reaches the network"
            remedy = "set model.loss_prediction=shared, or leave it out"
            raise ConfigError(what, where="model.loss_prediction=own", remedy=remedy)
        require_one_of("model.freeze", self.freeze, (True, False))
        if not isinstance(self.weights, str) or not self.weights:
            what = f"model.weights is {written(self.weights)}"
            raise ConfigError(what, remedy="valid: none, imagenet, or the path of a file")
        if self.image_size is not None:
            require_count("model.image_size", self.image_size)
            if self.network == "vgg16" and self.image_size < VGG_SMALLEST:
                what = "vgg16 halves an image five times"
                where = f"model.image_size={self.image_size}"
                raise ConfigError(what, where=where, remedy=f"give at least {VGG_SMALLEST}, or take another model")
        if isinstance(self.hidden, str) or not isinstance(self.hidden, Sequence):
            what = f"model.hidden is {written(self.hidden)}"
            raise ConfigError(what, remedy="give the widths of linear layers, for example model.hidden=[512,128]")
        for width in self.hidden:
            require_count("model.hidden", width)
        require_number("model.dropout", self.dropout, lambda x: 0 < x < 1, "above 0 and below 1")
        if isinstance(self.dropout_passes, bool) or not isinstance(self.dropout_passes, int) or self.dropout_passes < 2:
            where = f"model.dropout_passes={self.dropout_passes}"
            raise ConfigError("dropout needs at least two passes", where=where, remedy="give an integer of at least 2")
        self._check_weights()
        if "threshold" in self.influence:
            raise ConfigError(
                "model.influence.threshold would do nothing: every image has a class",
                where=f"model={self.name}",
                remedy="leave it out",
            )
        InfluenceSpec.of(self.influence)
        return self

    def _check_normalize(self) -> None:
        """ConfigError unless it is one of NORMALIZE, or a mean and a deviation for each channel."""
        if not isinstance(self.normalize, Mapping):
            require_one_of("model.normalize", self.normalize, NORMALIZE)
            return
        remedy = (
            "give one number a channel for each: model.normalize={mean:[0.49,0.48,0.45],deviation:[0.25,0.24,0.26]}"
        )
        given = [self.normalize.get(key) for key in ("mean", "deviation")]
        listed = [part for part in given if isinstance(part, Sequence) and not isinstance(part, str) and part]
        if set(self.normalize) != {"mean", "deviation"} or len(listed) < 2 or len(listed[0]) != len(listed[1]):
            raise ConfigError(f"model.normalize is {written(dict(self.normalize))}", remedy=remedy)
        for mean, deviation in zip(*listed, strict=True):
            require_number("model.normalize.mean", mean, lambda x: True, "that is finite", or_null=False)
            require_number("model.normalize.deviation", deviation, lambda x: x > 0, "above 0", or_null=False)

    def _check_weights(self) -> None:
        """ConfigError for weights that cannot be what `outputs`, `stem` and `freeze` ask of them."""
        if self.weights == "imagenet" and self.network == "tiny_cnn":
            what = "nobody publishes weights of tiny_cnn"
            raise ConfigError(what, where="model.weights=imagenet", remedy="use none or the path of a file")
        if self.weights == "imagenet" and self.network in RESNETS and self.stem != "imagenet":
            what = "ImageNet's weights are those of a 7x7 first layer"
            raise ConfigError(what, where=f"model.stem={self.stem}", remedy="add model.stem=imagenet")
        if self.weights == "none":
            for setting, asks in (("outputs", self.outputs == "kept"), ("freeze", self.freeze)):
                if asks:
                    raise ConfigError(
                        f"model.{setting}={written(getattr(self, setting))} needs weights that were trained before",
                        where="model.weights=none",
                        remedy="add model.weights=imagenet or the path of a file",
                    )
        if self.outputs == "kept" and self.hidden:
            what = "outputs that are kept are those of the weights, with the layers before them"
            raise ConfigError(what, where=f"model.hidden={written(list(self.hidden))}", remedy="set model.hidden=[]")

    @property
    def architecture(self) -> str:
        return self.network

    @property
    def tiny(self) -> bool:
        """Whether it is so small that more than one thread would cost time."""
        return self.network == "tiny_cnn"

    @property
    def influences(self) -> InfluenceSpec:
        """The settings of INFLUENCE, with as many labeled images as ISAL 4.1 takes where nothing else is said."""
        return InfluenceSpec.of({"samples": SAMPLES, **self.influence})

    @property
    def has_dropout(self) -> bool:
        """Whether its head drops activations while it trains."""
        return self.dropout is not None or self.network == "vgg16"

    @property
    def provides(self) -> frozenset[Signal]:
        """The signals this classifier can give, known without building it."""
        given = {Signal.PROBS, Signal.BOX_FEATURES, Signal.IMAGE_FEATURES, Signal.LAYER_ACTIVATIONS}
        given |= {Signal.TRUE_LOSS, Signal.TRUE_CLASSES, Signal.PREDICTED_LOSS, Signal.CLASS_DIFFICULTY}
        given |= INFLUENCES | {Signal.ERROR_PROBABILITY, Signal.POOL_PROBABILITY}
        return frozenset(given | {Signal.DROPOUT}) if self.has_dropout else frozenset(given)

    def remedy_for(self, lacking: Collection[Signal]) -> str:
        """What to do about signals that this classifier does not provide."""
        if Signal.DROPOUT in lacking:
            return "it has no dropout layers; set model.dropout=0.2 to train with them"
        return "it needs boxes, and a classifier gives each image one class; take another sampler"

    def require_sizes(self, images: Iterable[Image]) -> None:
        """DatasetError for an image that is not as large as the first, or too small, where none is resized."""
        if self.image_size is not None:
            return
        first = None
        for image in images:
            size = image.width, image.height
            first = first or size
            if size != first:
                raise DatasetError(
                    f"the image is {size[0]} x {size[1]} px, and the first is {first[0]} x {first[1]}",
                    where=str(image.path),
                    remedy="resize all images to one size, for example model.image_size=64",
                )
            if self.network == "vgg16" and min(size) < VGG_SMALLEST:
                what = f"the image is {size[0]} x {size[1]} px, and vgg16 halves an image five times"
                remedy = f"give model.image_size={VGG_SMALLEST} or more, or take another model"
                raise DatasetError(what, where=str(image.path), remedy=remedy)

    def require_weights(self) -> None:
        """ModelError for a weights file that is not there."""
        require_weights_file(self.weights, ("none", "imagenet"))
