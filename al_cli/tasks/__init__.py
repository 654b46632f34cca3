"""What a label is and how good a prediction is: a file a task, in the words of `base`. Knows no run, learner or file."""

from __future__ import annotations

from al_cli.errors import ConfigError, suggest
from al_cli.lookup import NOBODY, Known, NotKnown, find
from al_cli.tasks.base import Breakdown, Cost, Evaluation, Metric, Task, described
from al_cli.types import LabelKind

__all__ = [
    "DEFAULT",
    "Breakdown",
    "Cost",
    "Evaluation",
    "Metric",
    "Task",
    "default",
    "described",
    "earliest",
    "named",
    "of_label",
]

DEFAULT = "detection"  # also of runs that were made before there was a choice
BUILT_IN = (DEFAULT, "classification")


def named(name: str, known: Known = NOBODY) -> Task:
    """The task of a configuration: one of ours, or `package.module.NAME` of a Task of the user's own.

    A dotted name is looked up before it is imported: `known` says which modules a person has named. ConfigError where there
    is no such task, or it is not to be imported.
    """
    where = f"task={name}"
    if name not in BUILT_IN and "." not in str(name):
        remedy = f"{suggest(str(name), BUILT_IN)}; or package.module.NAME of a Task of your own"
        raise ConfigError(f"there is no task called {name}", where=where, remedy=remedy)
    try:
        task = find(f"{__name__}.{name}.TASK" if name in BUILT_IN else name, ("Task",), __name__, known)
    except NotKnown as error:
        remedy = error.remedy or "name a Task (al_cli.tasks.Task)"
        raise ConfigError(error.what, where=where, remedy=remedy) from error
    if not isinstance(task, Task):
        what = f"{name} is of type {type(task).__name__}, not a Task"
        raise ConfigError(what, where=where, remedy="name a Task (al_cli.tasks.Task)")
    return task


def of_label(label: LabelKind) -> str:
    """The name of our task with labels of this kind."""
    return next(name for name in BUILT_IN if named(name).label == label)


def default() -> Task:
    return named(DEFAULT)


def earliest() -> Task:
    """What a run measured whose folder has no description: the default task, as it was before there was another."""
    from al_cli.tasks.detection import EARLIEST

    return EARLIEST
