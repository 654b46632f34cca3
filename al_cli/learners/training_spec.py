"""The settings of a run's training (conf/training/*.yaml), as plain data that is checked before torch is imported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from al_cli.errors import ConfigError, written
from al_cli.learners.values import require_count, require_number, require_one_of


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
    milestones: Sequence[float] | None = None
    weight_decay: float | None = None
    ema: float | None = None
    clip_gradients: float | None = None
    shuffle: bool = True
    flip: bool = True
    amp: bool = False
    val_every: int | None = None
    keep_checkpoints: str = "last"

    shares: ClassVar[bool] = False  # whether milestones may be shares of the training, too

    def check(self) -> TrainingSpec:
        """This spec, or ConfigError for the first value that cannot work."""
        require_one_of("training.data", self.data, ("cumulative", "new", "reselect"))
        require_one_of("training.init", self.init, ("reset", "continue", "join"))
        require_one_of("training.duration", self.duration, ("iterations", "epochs", "early_stop"))
        require_one_of("training.iterations_per", self.iterations_per, ("round", "run"))
        require_one_of("training.optimizer", self.optimizer, ("sgd", "adamw", None))
        require_one_of("training.schedule", self.schedule, ("one_cycle", "steps", "constant", None))
        require_one_of("training.keep_checkpoints", self.keep_checkpoints, ("last", "all"))
        for name in ("shuffle", "flip", "amp"):
            require_one_of(f"training.{name}", getattr(self, name), (True, False))
        for name in ("iterations", "epochs", "patience", "batch_size", "val_every"):
            if getattr(self, name) is not None:
                require_count(f"training.{name}", getattr(self, name))
        require_number("training.lr", self.lr, lambda x: x > 0, "above 0")
        require_number("training.weight_decay", self.weight_decay, lambda x: x >= 0, "0 or more")
        require_number("training.clip_gradients", self.clip_gradients, lambda x: x > 0, "above 0")
        require_number("training.ema", self.ema, lambda x: 0 < x < 1, "above 0 and below 1")
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
        if self.stop_on != "loss" and not self.watches:
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
    def watches(self) -> bool:
        """Whether validation decides something: when a training stops, or with which weights it ends."""
        return self.duration == "early_stop"

    @property
    def keeps_best(self) -> bool:
        """Whether a training ends with the weights that were best on validation images; else with its last ones."""
        return self.duration == "early_stop"

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
        valid = rising and all(isinstance(m, int) and not isinstance(m, bool) and m >= 1 for m in self.milestones)
        if self.shares and rising:
            valid = valid or all(isinstance(m, float) and 0 < m < 1 for m in self.milestones)
        if not valid or not self.milestones or any(b <= a for a, b in pairwise(self.milestones)):
            raise ConfigError(
                f"training.milestones must be counts{', or shares between 0 and 1,' if self.shares else ''} that ascend",
                where=f"training.milestones={written(self.milestones)}",
                remedy=f"give a list such as [8,11]{', or [0.8]' if self.shares else ''}",
            )

    @property
    def stops_by(self) -> str | None:
        """The metric by which trainings stop early; None where they go by the loss, or do not stop."""
        return None if self.stop_on == "loss" else self.stop_on

    @property
    def counts_epochs(self) -> bool:
        """Whether `per_round` and `val_every` are in epochs; else in steps."""
        return self.duration != "iterations"

    def unit(self, images: int, batch_size: int) -> int:
        """Steps between two counts of `per_round`, `val_every` and `milestones`: those of an epoch, or 1."""
        return math.ceil(images / batch_size) if self.counts_epochs else 1

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
