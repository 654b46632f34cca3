"""The settings of a classifier's training: those of any training, and what only classifiers have."""

from __future__ import annotations

from dataclasses import dataclass

from al_cli.errors import ConfigError
from al_cli.learners.training_spec import TrainingSpec
from al_cli.learners.values import require_count, require_number, require_one_of


@dataclass(frozen=True)
class ClassifierTraining(TrainingSpec):
    """How one round of a classifier trains. Nothing is the model's own: optimizer and schedule are given.

    `momentum`         of sgd
    `crop_px`          take a random crop of the image's own size after padding it by so many px of zeros (ISAL 4.1: 4)
    `steps_per_epoch`  an epoch is so many steps, whatever the number of images (Lund 4.1.2); None: a pass over them
    `lr_finder`        find the learning rate of each round (FSDL 5.1; Smith 2017) instead of `lr`
    `weights`          what a round ends with: last, the weights after its last epoch, or best, those of the epoch that was
                       best on validation images in what `stop_on` names (FSDL 8.5)
    """

    momentum: float = 0.9
    crop_px: int | None = None
    steps_per_epoch: int | None = None
    lr_finder: bool = False
    weights: str = "last"

    def check(self) -> ClassifierTraining:
        """This spec, or ConfigError for the first value that cannot work."""
        super().check()
        require_number("training.momentum", self.momentum, lambda x: 0 <= x < 1, "in [0, 1)", or_null=False)
        require_one_of("training.lr_finder", self.lr_finder, (True, False))
        require_one_of("training.weights", self.weights, ("last", "best"))
        for name in ("crop_px", "steps_per_epoch"):
            if getattr(self, name) is not None:
                require_count(f"training.{name}", getattr(self, name))
        for name, example in (("optimizer", "sgd"), ("schedule", "constant"), ("batch_size", 128)):
            if getattr(self, name) is None:
                raise ConfigError(
                    f"a classifier has no {name} of its own",
                    where=f"training.{name}=null",
                    remedy=f"give one, for example training.{name}={example}, or take a recipe of classifiers",
                )
        return self
