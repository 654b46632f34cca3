"""The seal of a claim: the runs that it is about, and how many of their trainings the store had when it was written."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from pathlib import Path

from al_cli.errors import RunError
from al_cli.experiment.job import Job
from al_cli.experiment.names import PLACES, WHERE
from al_cli.experiment.words import key_of
from al_cli.masked import hide_words
from al_cli.records.reading import RunFiles
from al_cli.records.seal import Seal
from al_cli.records.study import StudyFile
from al_cli.sweep.execute import state
from al_cli.sweep.file import Arm
from al_cli.sweep.forecast import forecast
from al_cli.sweep.plan import Study, jobs_of_arm
from al_cli.sweep.worker import prepare, take_place

log = logging.getLogger("al")
Counted = tuple[int, int | None]  # trainings, and how many of them were known; None where nobody can tell


def seal_for(study: Study, before: StudyFile, time: str, count: Callable[[Sequence[Job]], Counted]) -> Seal | None:
    """The seal of this command's claim: that of an earlier command for as long as it holds the same claim to the same runs, or
    records exist. None where there is no claim, or an earlier version of al left the same claim without a seal.

    The runs are all arms of the file, with the file's seeds or with this command's where it names others. `count` counts the
    trainings of these runs.
    """
    if not study.sweep.claim:
        return None
    claim = dict(study.sweep.claim)
    records = records_in(study.folder)
    if records and before.claim == claim:
        return before.seal
    inside = set(study.seeds) <= set(study.sweep.seeds)
    seeds = tuple(sorted(study.sweep.seeds if inside else study.seeds))
    jobs = jobs_of_claim(study, seeds)
    arms = {arm.name: method_words(arm) for arm in study.all_arms}
    rounds = {name: of_arm[0].rounds for name, of_arm in jobs.items()}
    seal = Seal(claim, arms, seeds, rounds, time, records, trainings=0, stored=None)
    if seal.plans_as(before.seal):
        return before.seal
    log.info("sealing the claim: counting which of its trainings the store has")
    trainings, stored = count([job for of_arm in jobs.values() for job in of_arm])
    return Seal(claim, arms, seeds, rounds, time, records, trainings, stored).closed()


def jobs_of_claim(study: Study, seeds: tuple[int, ...]) -> dict[str, list[Job]]:
    """The sealed runs, by arm; those that this command runs are composed already."""
    if len(study.arms) == len(study.all_arms) and set(seeds) == set(study.seeds):
        return {arm.name: [job for job in study.jobs if job.arm == arm.name] for arm in study.arms}
    return {arm.name: jobs_of_arm(arm, seeds, study.known) for arm in study.all_arms}


def records_in(folder: Path) -> int:
    """How many rounds have a record in this study, readable or not."""
    return sum(len(RunFiles(path).recorded_rounds()) for path in folder.iterdir() if path.is_dir())


def method_words(arm: Arm) -> tuple[str, ...]:
    """The overrides of an arm, in order of their keys, without those that change nothing of what its runs compute."""
    return tuple(sorted(word for word in hide_words(arm.overrides) if not key_of(word).startswith((*WHERE, *PLACES))))


def changed_arms(study: Study, seal: Seal | None, before: Collection[str]) -> tuple[str, ...]:
    """The sealed arms that this command, or one `before` it, runs with other settings than the sealed ones."""
    if seal is None:
        return ()
    now = {arm.name for arm in study.arms if method_words(arm) != seal.arms.get(arm.name, method_words(arm))}
    return tuple(sorted(now.union(before) & seal.arms.keys()))


def count_known(jobs: Sequence[Job]) -> Counted:
    """The distinct trainings that these runs need, and how many of them are done or in the store. In a process of its own
    where that imports torch, so that this one, which outlives all runs, stays small and asks no GPU."""
    if all(job.experiment.model.family == "fake" for job in jobs):
        return _count(jobs)
    prepare(jobs)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as pool:
        try:
            return pool.submit(_count_in_process, pickle.dumps(jobs), str(Path.cwd()), dict(os.environ)).result()
        except BrokenExecutor as error:  # killed
            what = "counting what the store has of this study was ended from outside"
            raise RunError(what, remedy="give the command again") from error


def _count_in_process(jobs: bytes, where: str, environ: dict[str, str]) -> Counted:
    take_place(where, environ)
    return _count(pickle.loads(jobs))


def _count(jobs: Sequence[Job]) -> Counted:
    found = forecast([job for job in jobs if state(job) != "other"])
    uses_store = all(job.config["store"] for job in jobs)
    return found.naive - found.shared, found.done + found.stored if uses_store else None
