"""What a sweep puts into study.json: this command's arms, seeds and claim, and what earlier commands have left there."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from datetime import datetime

from al_cli.experiment.job import Job
from al_cli.masked import hide_words
from al_cli.records.study import StudyFile, update_study_file
from al_cli.sweep.file import REFERENCE
from al_cli.sweep.plan import Study
from al_cli.sweep.sealing import Counted, changed_arms, count_known, seal_for


def now() -> str:
    """This second in the local time zone, as ISO 8601 with its offset from UTC."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def write(
    study: Study, clock: Callable[[], str] = now, count: Callable[[Sequence[Job]], Counted] = count_known
) -> StudyFile:
    """Write what the study is, and return it.

    A claim is sealed when it is new (`seal_for`), and keeps its seal and time for as long as it says the same. Arms, seeds and
    reference of earlier commands stay listed if they have runs here, so that a study can be run in parts (`arms=[a]`,
    `seeds=[3]`).
    """
    return update_study_file(study.folder, lambda before: _merged(study, before, clock(), count))


def _merged(study: Study, before: StudyFile, time: str, count: Callable[[Sequence[Job]], Counted]) -> StudyFile:
    def has_runs(pattern: str) -> bool:
        return any(study.folder.glob(pattern))

    arms = {name: overrides for name, overrides in before.arms.items() if has_runs(f"{name}_s*")}
    arms |= {arm.name: tuple(hide_words(arm.overrides)) for arm in study.arms}
    order = [arm.name for arm in study.sweep.arms]
    names = sorted(arms, key=lambda name: order.index(name) if name in order else len(order))
    seeds = {*study.seeds, *(seed for seed in before.seeds if has_runs(f"*_s{seed}"))}
    claim = dict(study.sweep.claim) if study.sweep.claim else None
    seal = seal_for(study, before, time, count)
    kept = seal == before.seal
    return StudyFile(
        name=study.name,
        source=study.sweep.source,
        arms={name: arms[name] for name in names},
        seeds=tuple(sorted(seeds)),
        reference=study.reference or has_runs(f"{REFERENCE}_s*"),
        claim=claim,
        claim_written_at=(before.claim_written_at if kept else time) if claim else None,
        seal=seal,
        changed=changed_arms(study, seal, before.changed if kept else ()),
        written_at=time,
        command=shlex.join(hide_words(shlex.split(study.command))),
    )
