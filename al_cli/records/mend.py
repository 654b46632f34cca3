"""What is whole in a run that goes on, and what can be made again from what is on disk. Trains nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from al_cli.errors import AlError, RunError
from al_cli.records.folder import RunFolder
from al_cli.records.rounds import CHECKPOINT, derived_tables
from al_cli.system import write_atomic
from al_cli.tasks import Task
from al_cli.types import Dataset, RoundRecord, Splits

log = logging.getLogger("al")


def take_up(run: RunFolder, splits: Splits, scored: Dataset, task: Task) -> dict[int, RoundRecord]:
    """The rounds that are on disk as they were written, by number; what a killed process left is removed. Tables that follow
    from a record and its predictions for the `scored` split are written again. A round that needs more than that is left out:
    it stays where it is until it has been computed again, and so do the rounds after it."""
    run.clean_unfinished()
    whole: dict[int, RoundRecord] = {}
    for round in run.recorded_rounds():
        try:
            record = run.record(round)
        except RunError as error:
            log.warning("%s (%s): round %d is computed again", error.what, error.where, round)
            continue
        if broken := run.damaged(record):
            names = f"{', '.join(broken)} of round {round} {'is' if len(broken) == 1 else 'are'} not as written"
            if not _write_tables(run, record, broken, splits, scored, task):
                log.warning("%s: round %d is computed again", names, round)
                continue
            log.warning("%s: written again from its record", names)
        whole[round] = record
    return whole


def _write_tables(
    run: RunFolder, record: RoundRecord, broken: list[str], splits: Splits, scored: Dataset, task: Task
) -> bool:
    """Write these tables of a round as they were, if they follow from what is there."""
    try:
        made, _ = rebuilt_tables(run, record, splits, scored, task)
    except AlError:
        return False
    folder = run.round_path(record.round)
    for name in set(broken) & set(made):
        write_atomic(folder / name, made[name])
    return not run.damaged(record)


def rebuilt_tables(
    run: RunFolder, record: RoundRecord, splits: Splits, scored: Dataset, task: Task
) -> tuple[dict[str, str | bytes], Mapping[str, float | None]]:
    """File name -> content of the tables of a round as its record, its predictions and the data give them; and the metrics.
    RunError where the predictions are not as they were written."""
    evaluation = task.judge(run.predictions(record.round), scored)
    names = {*record.metrics, *run.task().metric_names}  # an earlier version of the task may have measured less
    measured = {name: value for name, value in evaluation.metrics.items() if name in names}
    evaluation = replace(evaluation, metrics=measured)
    picked, labeled = splits.train.select(record.picked), splits.train.select(record.labeled)
    return derived_tables(record, evaluation, picked, labeled, task), evaluation.metrics


def damage(run: RunFolder, *, all_weights: bool = False, read_weights: bool = True) -> list[str]:
    """What of a finished run is not as it was written, as names below its folder: files of its rounds, the weights that are
    kept (of the last round, or all; without `read_weights` they need only be there), the tables of the run, and done.json.
    Empty where all is well."""
    records = run.records()
    found = [f"{run.round_path(r.round).name}/{name}" for r in records for name in run.damaged(r)]
    for record in records if all_weights else records[-1:]:
        path = run.round_path(record.round) / CHECKPOINT
        if not (run.has_weights(record) if read_weights else path.is_file()):
            found.append(str(path.relative_to(run.path)))
    found += [name for name, text in run.tables(records).items() if not run.holds(name, text)]
    return found + ([] if run.is_sealed() else ["done.json"])
