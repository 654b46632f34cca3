"""Which kinds of learners there are: their settings, where their code lies, and what is done with one. Imports torch only
where something is done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from al_cli.errors import ConfigError, first_line
from al_cli.learners.classifier.spec import ClassifierSpec
from al_cli.learners.classifier.training_spec import ClassifierTraining
from al_cli.learners.spec import ModelSpec, require_pairs
from al_cli.learners.training_spec import TrainingSpec
from al_cli.types import Dataset, LabelKind, Learner, Signal

if TYPE_CHECKING:
    from al_cli.learners.pytorch.course import Course

AnyModel = ModelSpec | ClassifierSpec
Footprint = tuple[int, int | None, int]  # bytes: peak of a step, free beforehand (None: nothing says), of a checkpoint


class TrainingRecipe(Protocol):
    """What the settings of a training come out as."""

    def settings(self) -> dict[str, Any]: ...

    def courses(self, images: Sequence[int], length: int) -> list[Course]: ...


class LearnerKind(ABC):
    """`model` and `training` are the classes of its settings; `module` has its learner, whose code is in the store's keys;
    `labels` are the kinds of labels that it can learn from, `noun` what it is called in a sentence.

    The methods take a checked model and training of its own classes.
    """

    model: ClassVar[type[Any]] = ModelSpec
    training: ClassVar[type[Any]] = TrainingSpec
    module: ClassVar[str]
    labels: ClassVar[tuple[LabelKind, ...]]
    noun: ClassVar[str]

    @abstractmethod
    def learner(
        self, model: Any, training: Any, class_names: Sequence[str], *, label: LabelKind, **given: Any
    ) -> Learner:
        """One for these classes; `given` are the keywords of its constructor. ConfigError where it cannot be built."""

    @abstractmethod
    def check(
        self,
        model: Any,
        training: Any,
        class_names: Sequence[str],
        *,
        label: LabelKind,
        device: str,
        needs: frozenset[Signal],
        chooses_first: bool,
    ) -> None:
        """ConfigError or ModelError where it could not be built, or where its starting weights are to choose images
        (`chooses_first`) and cannot. Trains and downloads nothing."""

    @abstractmethod
    def recipe(self, model: Any, training: Any) -> TrainingRecipe | None:
        """How it trains; None for one whose trainings are made up."""

    @abstractmethod
    def measure_step(
        self, model: Any, training: Any, images: Dataset, *, device: str, needs: frozenset[Signal]
    ) -> Footprint:
        """What one training on some of these images takes."""

    @abstractmethod
    def findings(self, device: str) -> Iterator[tuple[str, str]]:
        """Name and value of what it is built on here. Raises whatever is broken."""

    @abstractmethod
    def trains_the_same_twice(self, device: str) -> tuple[bool, bool]:
        """Whether the same training gives the same bytes; whether that was on a CPU."""


class Detector(LearnerKind):
    module = "al_cli.learners.detectron.learner"
    labels: ClassVar[tuple[LabelKind, ...]] = ("objects",)
    noun = "detects objects"

    def learner(
        self, model: Any, training: Any, class_names: Sequence[str], *, label: LabelKind, **given: Any
    ) -> Learner:
        from al_cli.learners.detectron.learner import DetectronLearner

        return DetectronLearner(model, training, class_names, **given)

    def check(
        self,
        model: Any,
        training: Any,
        class_names: Sequence[str],
        *,
        label: LabelKind,
        device: str,
        needs: frozenset[Signal],
        chooses_first: bool,
    ) -> None:
        from al_cli.learners.detectron.learner import check_start, opened

        _, config, _ = opened(model, training, len(class_names), device, needs)
        if chooses_first:
            check_start(model, config, class_names)

    def recipe(self, model: Any, training: Any) -> TrainingRecipe | None:
        from al_cli.learners.detectron.training.recipe import Recipe

        return Recipe(model, training)

    def measure_step(
        self, model: Any, training: Any, images: Dataset, *, device: str, needs: frozenset[Signal]
    ) -> Footprint:
        from al_cli.learners.detectron.doctor import measure_step

        return measure_step(model, training, images, device=device, needs=needs)

    def findings(self, device: str) -> Iterator[tuple[str, str]]:
        from al_cli.learners.detectron.doctor import examine

        return examine(device)

    def trains_the_same_twice(self, device: str) -> tuple[bool, bool]:
        from al_cli.learners.detectron.doctor import trains_the_same_twice

        return trains_the_same_twice(device)


class Classifier(LearnerKind):
    model, training = ClassifierSpec, ClassifierTraining
    module = "al_cli.learners.classifier.learner"
    labels: ClassVar[tuple[LabelKind, ...]] = ("image",)
    noun = "classifies whole images"

    def learner(
        self, model: Any, training: Any, class_names: Sequence[str], *, label: LabelKind, **given: Any
    ) -> Learner:
        from al_cli.learners.classifier.learner import ClassifierLearner

        return ClassifierLearner(model, training, class_names, **given)

    def check(
        self,
        model: Any,
        training: Any,
        class_names: Sequence[str],
        *,
        label: LabelKind,
        device: str,
        needs: frozenset[Signal],
        chooses_first: bool,
    ) -> None:
        from al_cli.learners.classifier.checks import check_classifier

        check_classifier(model, training, class_names, device, needs, chooses_first)

    def recipe(self, model: Any, training: Any) -> TrainingRecipe | None:
        from al_cli.learners.classifier.recipe import ClassifierRecipe

        return ClassifierRecipe(model, training)

    def measure_step(
        self, model: Any, training: Any, images: Dataset, *, device: str, needs: frozenset[Signal]
    ) -> Footprint:
        from al_cli.learners.classifier.doctor import measure_classifier_step

        return measure_classifier_step(model, training, images, device=device, needs=needs)

    def findings(self, device: str) -> Iterator[tuple[str, str]]:
        from al_cli.learners.classifier.doctor import examine_torch

        return examine_torch(device)

    def trains_the_same_twice(self, device: str) -> tuple[bool, bool]:
        from al_cli.learners.classifier.doctor import classifier_trains_the_same_twice

        return classifier_trains_the_same_twice(device)


class Fake(Detector):
    """Needs nothing of torch; but who tries out an installation with it is told what a detector is built on."""

    module = "al_cli.learners.fake"
    labels: ClassVar[tuple[LabelKind, ...]] = ("objects", "image")
    noun = "stands in for any model"

    def learner(
        self, model: Any, training: Any, class_names: Sequence[str], *, label: LabelKind, **given: Any
    ) -> Learner:
        from al_cli.learners.fake import FakeLearner

        try:
            return FakeLearner(tuple(class_names), label=label, **model.overrides)
        except TypeError as error:
            what = f"the fake cannot take model.overrides={model.overrides}: {first_line(error)}"
            raise ConfigError(what, remedy="it takes iterations and fit_s") from error

    def check(self, model: Any, training: Any, class_names: Sequence[str], *, label: LabelKind, **_other: Any) -> None:
        self.learner(model, training, class_names, label=label)

    def recipe(self, model: Any, training: Any) -> TrainingRecipe | None:
        return None


DETECTOR = Detector()
BY_FAMILY: dict[str, LearnerKind] = {"fake": Fake(), "classifier": Classifier()}  # every other family is a detector's


def kind_of(family: object) -> LearnerKind:
    """The kind of a model of this family."""
    return BY_FAMILY.get(family, DETECTOR) if isinstance(family, str) else DETECTOR


def check_together(model: AnyModel, training: TrainingSpec, needs: frozenset[Signal], device: str) -> None:
    """ConfigError for what the learner's constructor would refuse and can be known without torch: batches of one image
    where losses are predicted, mixed precision on a CPU."""
    if model.architecture == "fake":
        return
    batch = _batch_size(model, training)
    if Signal.PREDICTED_LOSS in needs and batch is not None:
        require_pairs(batch)
    if training.amp and device == "cpu":
        raise ConfigError("mixed precision needs a GPU", where="training.amp=true", remedy="set training.amp=false")


def _batch_size(model: AnyModel, training: TrainingSpec) -> int | None:
    """What the settings say of it, strongest first; None where the model's own config decides."""
    overrides = getattr(model, "overrides", {})
    for key in ("SOLVER.IMS_PER_BATCH", "dataloader.train.total_batch_size"):
        value: Any = overrides.get(key)
        if value is None:
            value = overrides
            for part in key.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, int):
            return value
    return training.batch_size
