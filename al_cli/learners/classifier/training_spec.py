"""The settings of a classifier's training: those of any training, and what only classifiers have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from al_cli.errors import ConfigError, written
from al_cli.learners.training_spec import TrainingSpec
from al_cli.learners.values import require_count, require_number, require_one_of


@dataclass(frozen=True)
class ClassifierTraining(TrainingSpec):
    """How one round of a classifier trains. Nothing is the model's own: optimizer and schedule are given.

    `momentum`         of sgd
    `crop_px`          take a random crop of the image's own size after padding it by so many px (ISAL 4.1: 4) of the mean
                       color, which is zero once normalized
    `steps_per_epoch`  an epoch is so many steps, whatever the number of images (Lund 4.1.2); None: a pass over them
    `lr_finder`        find the learning rate of each round (FSDL 5.1; Smith 2017) instead of `lr`
    `milestones`       as of any training, or shares of it between 0 and 1
    `weights`          what a round ends with: last, the weights after its last epoch, or best, those of the epoch that was
                       best on validation images in what `stop_on` names (FSDL 8.5)
    """

    momentum: float = 0.9
    crop_px: int | None = None
    steps_per_epoch: int | None = None
    lr_finder: bool = False
    weights: str = "last"

    shares: ClassVar[bool] = True

    def check(self) -> ClassifierTraining:
        """This spec, or ConfigError for the first value that cannot work."""
        super().check()
        require_number("training.momentum", self.momentum, lambda x: 0 <= x < 1, "in [0, 1)", or_null=False)
        require_one_of("training.lr_finder", self.lr_finder, (True, False))
        require_one_of("training.weights", self.weights, ("last", "best"))
        for name in ("crop_px", "steps_per_epoch"):
            if getattr(self, name) is not None:
                require_count(f"training.{name}", getattr(self, name))
        own = {"optimizer": "sgd", "lr": 0.01, "schedule": "constant", "batch_size": 128, "weight_decay": 5e-4}
        for name, example in own.items():
            if getattr(self, name) is None:
                raise ConfigError(
                    f"a classifier has no {name} of its own",
                    where=f"training.{name}=null",
                    remedy=f"give one, for example training.{name}={example}, or take a recipe of classifiers",
                )
        if self.optimizer != "sgd" and self.momentum != 0.9:
            raise ConfigError(
                f"training.momentum={written(self.momentum)} would do nothing: it is that of sgd",
                where=f"training.optimizer={self.optimizer}",
                remedy="set training.optimizer=sgd, or leave it out",
            )
        if self.steps_per_epoch is not None and not self.counts_epochs:
            raise ConfigError(
                f"training.steps_per_epoch={self.steps_per_epoch} would do nothing: this training counts steps",
                where=f"training.duration={self.duration}",
                remedy="set training.duration=epochs, or training.steps_per_epoch=null",
            )
        if self.keeps_best and self.val_every is None:
            raise ConfigError(
                "training.weights=best needs validation losses",
                where="training.val_every=null",
                remedy="give training.val_every=1, or set training.weights=last",
            )
        if self.keeps_best and self.init == "join":
            raise ConfigError(
                "training.init=join is one training over all rounds, which goes on from a round's last weights",
                where="training.init=join training.weights=best",
                remedy="set training.weights=last, or training.init=reset",
            )
        return self

    @property
    def watches(self) -> bool:
        return super().watches or self.keeps_best

    @property
    def keeps_best(self) -> bool:
        return self.weights == "best"

    @property
    def endless(self) -> bool:
        """Whether batches cross from a pass over the images to the next, all of one size; else an epoch is a pass."""
        return not self.counts_epochs or self.steps_per_epoch is not None

    def unit(self, images: int, batch_size: int) -> int:
        """As of any training, but for `steps_per_epoch`, and a last image alone, which joins the batch before."""
        if not self.counts_epochs:
            return 1
        if self.steps_per_epoch is not None:
            return self.steps_per_epoch
        whole, left = divmod(images, batch_size)
        return max(1, whole + (left > 1))
