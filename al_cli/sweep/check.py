"""What can be known of runs without training, asked before the first of them starts: their data, rounds and learners.

The parts are those that each run builds itself, so what is refused here is what the run would refuse, hours later.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from al_cli.errors import AlError, ConfigError
from al_cli.experiment import build
from al_cli.experiment.job import Job
from al_cli.records import RunFolder
from al_cli.records.data import DataRecord
from al_cli.sweep.worker import prepare, take_place
from al_cli.types import Splits

STARTING = ("new", "stopped", "failed")  # states of runs that this command will start


def check_jobs(jobs: Sequence[Job], states: Sequence[str]) -> None:
    """AlError for the first thing that cannot work; RunError also where a run of these, finished or not, was made with other
    data than the rest would be. `states`: what lies on disk of each job. Each dataset is read once."""
    read: dict[str, Splits] = {}
    waiting = [job for job, found in zip(jobs, states, strict=True) if found in STARTING]
    for job in waiting:
        if (key := dataset_key(job)) not in read:
            read[key] = build.load_dataset(job.config["dataset"])
    now = {key: DataRecord.of(splits) for key, splits in read.items()}
    for job, found in zip(jobs, states, strict=True):
        if found != "other" and dataset_key(job) in now:
            RunFolder(job.folder).check_data(now[dataset_key(job)])
    require_comparable([job for job in jobs if dataset_key(job) in now], now)
    for job in waiting:
        with of_job(job, len(jobs)):
            splits, folder = read[dataset_key(job)], RunFolder(job.folder)
            plan = build.plan_rounds(job.experiment, splits)
            if (job.folder / "config.yaml").is_file() and folder.compare(job.experiment.recorded) == "longer":
                build.check_longer(job.experiment, splits, plan, folder.config(), folder.readable_records())
    check_learners([(job, read[dataset_key(job)].train.class_names) for job in waiting])


def require_comparable(jobs: Sequence[Job], now: Mapping[str, DataRecord]) -> None:
    """ConfigError where a report would compare no two runs of one study: of two tasks, scored on two splits, or on other
    shares of one dataset. `now` has the data of each `dataset_key`."""
    first: dict[Path, Job] = {}
    of_data: dict[tuple[Path, str], Job] = {}
    for job in jobs:
        study, remedy = job.folder.parent, "give each kind a study of its own: study=NAME"
        one, evaluate = first.setdefault(study, job), job.config["evaluate"]
        if one.config["evaluate"] != evaluate:
            what = f"{one.name} would be scored on {one.config['evaluate']} and {job.name} on {evaluate}"
            raise ConfigError(f"{what}, which no report compares", where=str(study), remedy=remedy)
        if not (task := job.experiment.task).like(one.experiment.task):
            what = f"{one.name} would be of task {one.experiment.task.name} and {job.name} of {task.name}"
            raise ConfigError(f"{what}, which no report compares", where=str(study), remedy=remedy)
        one = of_data.setdefault((study, str(job.config["dataset"]["name"])), job)
        keys = dataset_key(one), dataset_key(job)
        if keys[0] != keys[1] and (what := now[keys[0]].difference(now[keys[1]])):
            what = f"{one.name} and {job.name} would have other data, which no report compares: {what}"
            raise ConfigError(what, where=str(study), remedy=remedy)


def check_learners(asked: Sequence[tuple[Job, tuple[str, ...]]]) -> None:
    """AlError for the first of these jobs whose learner cannot be built for a dataset of these classes. Those that need torch
    are looked at in a process of their own, so that this one, which outlives all runs, stays small."""
    if not any(job.experiment.model.family != "fake" for job, _ in asked):
        _check_each(asked)
        return
    prepare([job for job, _ in asked])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as pool:
        try:
            pool.submit(_check_in_process, pickle.dumps(asked), str(Path.cwd()), dict(os.environ)).result()
        except BrokenExecutor:  # killed: the runs, one process each, will say for themselves
            return


def dataset_key(job: Job) -> str:
    """Equal for jobs that read the same data."""
    return json.dumps(job.config["dataset"], sort_keys=True)


@contextmanager
def of_job(job: Job, among: int) -> Iterator[None]:
    """What goes wrong inside the block says which of several jobs it is."""
    try:
        yield
    except AlError as error:
        if among == 1:
            raise
        raise error.of(job.name) from error


def _check_in_process(asked: bytes, where: str, environ: dict[str, str]) -> None:
    take_place(where, environ)
    _check_each(pickle.loads(asked))


def _check_each(asked: Sequence[tuple[Job, tuple[str, ...]]]) -> None:
    known = set()
    for job, class_names in asked:
        experiment = job.experiment
        key = experiment.learner_key
        if (key, class_names) not in known:
            with of_job(job, len(asked)):
                build.check_learner(experiment, class_names)
            known.add((key, class_names))
