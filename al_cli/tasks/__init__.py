"""What a label is and how good a prediction is: a file a task, in the words of `base`. Knows no run, learner or file."""

from __future__ import annotations

from importlib import import_module

from al_cli.errors import ConfigError, first_line, suggest
from al_cli.tasks.base import Breakdown, Cost, Evaluation, Metric, Task, described

__all__ = ["DEFAULT", "Breakdown", "Cost", "Evaluation", "Metric", "Task", "default", "described", "named"]

DEFAULT = "detection"  # also of runs that were made before there was a choice
BUILT_IN = (DEFAULT,)


def named(name: str) -> Task:
    """The task of a configuration: one of ours, or `package.module.NAME` of a Task of the user's own.

    A dotted name is imported, so it must be one that a person typed, never one that a run folder holds. ConfigError
    where there is no such task.
    """
    if name in BUILT_IN:
        return _of(f"{__name__}.{name}", "TASK", name)
    module, dot, attribute = str(name).rpartition(".")
    if not dot:
        remedy = f"{suggest(str(name), BUILT_IN)}; or package.module.NAME of a Task of your own"
        raise ConfigError(f"there is no task called {name}", where=f"task={name}", remedy=remedy)
    return _of(module, attribute, name)


def default() -> Task:
    return named(DEFAULT)


def _of(module: str, attribute: str, name: str) -> Task:
    where = f"task={name}"
    try:
        task = getattr(import_module(module), attribute, None)
    except Exception as error:  # whatever the user's module does when it is imported
        remedy = "give package.module.NAME, and put the package's folder on PYTHONPATH"
        why = f"{type(error).__name__}: {first_line(error)}"
        raise ConfigError(
            f"the module {module or name} cannot be imported: {why}", where=where, remedy=remedy
        ) from error
    if not isinstance(task, Task):
        what = f"{attribute} in {module} is {'not there' if task is None else f'of type {type(task).__name__}'}, not a Task"
        raise ConfigError(what, where=where, remedy="name a Task (al_cli.tasks.Task)")
    return task
