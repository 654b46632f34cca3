"""What a classifier's recipe comes out as: rate and milestones, batch, sizes of images. Reads no image, builds no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from al_cli.learners.classifier.spec import ClassifierSpec
from al_cli.learners.classifier.training import rate_of
from al_cli.learners.classifier.training_spec import ClassifierTraining
from al_cli.learners.pytorch.course import Course, course_of
from al_cli.learners.pytorch.schedule import WHOLE, Stretch


class ClassifierRecipe:
    """How a classifier trains, in the words of a detector's `Recipe`."""

    def __init__(self, model: ClassifierSpec, training: ClassifierTraining):
        self.model, self.training = model, training

    def settings(self) -> dict[str, Any]:
        """What holds for every training, whatever its data. `lr` is None where each round finds its own, `image_size_train`
        where images stay as they are."""
        spec, side = self.training, self.model.image_size
        size = None if side is None else [side, side]
        return {
            "batch_size": spec.batch_size,
            "lr": None if spec.lr_finder else spec.lr,
            "weight_decay": spec.weight_decay,
            "optimizer": spec.optimizer,
            "momentum": spec.momentum if spec.optimizer == "sgd" else None,
            "clip_gradients": spec.clip_gradients,
            "flip": spec.flip,
            "crop_px": spec.crop_px,
            "steps_per_epoch": spec.steps_per_epoch,
            "weights_kept": spec.weights,
            "image_size_train": size,
            "image_size_test": size,
        }

    def courses(self, images: Sequence[int], length: int) -> list[Course]:
        """The trainings of a run on so many images each, in order. `length` as `TrainingSpec.per_round` gives it. With
        training.init=join they are stretches of one, and a fall at step 0 is one from the stretch before."""
        spec, found = self.training, list[Course]()
        batch_size, lr = spec.batch_size or 1, spec.lr or 0.0
        for number, count in enumerate(images):
            unit = spec.unit(count, batch_size)
            part = Stretch(number, len(images)) if spec.init == "join" else WHOLE
            factor = rate_of(spec, length * unit, unit, part)
            epoch = unit if spec.counts_epochs else count / batch_size
            before = found[-1] if part.number else None
            found.append(
                course_of(
                    lambda step, factor=factor: lr * factor(step),  # type: ignore[misc]
                    length * unit,
                    epoch,
                    before,
                    smooth=spec.schedule == "one_cycle",
                )
            )
        return found
