"""A study as it lies on disk: its runs, its arms, what it planned, and what is missing.

An arm is what a study compares: the runs whose configurations differ in their seeds only. `al sweep` names the arms in
study.json; without that file (`al run -m`) the configurations say which runs belong together, and an arm is called as its
folders without what all arms share. Reads, computes nothing.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from al_cli.errors import RunError
from al_cli.progress import listing
from al_cli.records import RunFolder, RunSummary, find_runs
from al_cli.records.data import require_alike
from al_cli.records.in_vain import round_in_vain
from al_cli.records.settings import flatten
from al_cli.records.stop import stop_of
from al_cli.records.study import StudyFile, arm_of, read_study_file
from al_cli.report.statistics.curves import RunCurve, curve_of
from al_cli.tasks import Task, default
from al_cli.types import RoundRecord

NOT_OF_AN_ARM = ("seed", "seeds", "run_name", "study", "outputs")  # configuration keys that name a run, not its method


@dataclass(frozen=True)
class Run:
    """One run of the study: what `al ls` knows of it, its finished rounds, and the arm it belongs to.

    `reference`: trained once on all labels of the pool; it belongs to no arm.
    """

    summary: RunSummary
    name: str
    arm: str
    seed: int | None
    records: Sequence[RoundRecord]
    config: Mapping[str, Any] = field(default_factory=dict)
    reference: bool = False

    @property
    def path(self) -> Path:
        return self.summary.path


@dataclass(frozen=True)
class StudyFolder:
    """Everything below one study folder. `runs` are those of the arms, `references` the full-label ones; all are of
    one `task`."""

    root: Path
    name: str
    plan: StudyFile
    runs: Sequence[Run]
    references: Sequence[Run]
    task: Task

    @property
    def arms(self) -> list[str]:
        """The arms that have a finished round, in the order of the plan, then of their names on disk."""
        begun = dict.fromkeys(run.arm for run in self.runs if run.records)
        planned = [arm for arm in self.plan.arms if arm in begun]
        return planned + [arm for arm in begun if arm not in planned]

    @property
    def random(self) -> str | None:
        """The arm that picks at random: the one every other is measured against. None where the study has none."""
        candidates = {run.arm for run in self.runs if (run.config.get("sampler") or {}).get("name") == "random"}
        candidates &= set(self.arms)
        return "random" if "random" in candidates else min(candidates, default=None)

    @property
    def first_choice(self) -> int:
        """The first round whose images samplers chose: 0 where nothing was labeled before (`initial=0`), else 1."""
        return 0 if self.runs and all(run.config.get("initial") == 0 for run in self.runs) else 1

    def of_arm(self, arm: str) -> list[Run]:
        """The runs of an arm that have a finished round, by seed."""
        begun = [run for run in self.runs if run.arm == arm and run.records]
        return sorted(begun, key=lambda run: (run.seed is None, run.seed or 0, run.name))

    @property
    def environments(self) -> dict[str, dict[str, Any]]:
        """Run name -> versions, machine and device, for the runs of arms where that can be read."""
        read = {run.name: RunFolder(run.path).environment() for run in self.runs}
        return {name: environment for name, environment in read.items() if environment}


def read_study(study_dir: Path | str) -> StudyFolder:
    """The study in this folder (a single run is a study of one). RunError where there is no run, or runs that cannot be
    compared: of two tasks, scored on two splits, or with other data under one dataset's name."""
    root = Path(study_dir)
    plan = read_study_file(root)
    runs = read_runs(root, tuple(plan.arms))
    require_same_data([run for run in runs if run.records])
    of_arms, references = [run for run in runs if not run.reference], [run for run in runs if run.reference]
    return StudyFolder(root, root.resolve().name, plan, of_arms, references, one_task(runs))


def one_task(runs: Sequence[Run]) -> Task:
    """The task of all these runs, with the metrics that all of them measured; detection where none can be read. RunError
    where there are two."""
    readable = [(run, run.summary.task) for run in runs if run.summary.task]
    if not readable:
        return default()
    first, task = readable[0]
    for run, other in readable:
        if not other.like(task):
            raise RunError(
                f"runs of two tasks cannot be compared: {first.name} is of {task.name} ({', '.join(task.metric_names)}), "
                f"{run.name} is of {other.name} ({', '.join(other.metric_names)})",
                where=str(run.path.parent),
                remedy="move the runs of one task into a study folder of their own",
            )
        task = task.shared_with(other)
    return task


def require_same_data(begun: Sequence[Run]) -> None:
    """RunError where two runs that have begun were scored on two splits, or had other images in pool, val or test under one
    dataset's name."""
    of_data: dict[str, list[Path]] = {}
    for run in begun:
        one, other = (each.config.get("evaluate", "test") for each in (begun[0], run))
        if one != other:
            raise RunError(
                f"runs that are scored on two splits cannot be compared: {begun[0].name} has evaluate={one}, {run.name} has "
                f"evaluate={other}",
                where=str(run.path.parent),
                remedy="move the runs of one kind into a study folder of their own, and give later ones another study=NAME",
            )
        of_data.setdefault(str((run.config.get("dataset") or {}).get("name")), []).append(run.path)
    for paths in of_data.values():
        require_alike(paths)


def curves_of(runs: Iterable[Run], task: Task) -> list[RunCurve]:
    """A curve for each run that has finished at least one round, in the order of the runs."""
    return [
        curve_of(
            run.name,
            run.arm,
            run.seed,
            run.records,
            task,
            complete=len(run.records) == run.summary.rounds_total,
            stop=stop_of(run.config, task)
            if len(run.records) <= run.config.get("rounds", 0)
            else None,  # else none was left
            drawn=run.config.get("initial") != 0,
        )
        for run in runs
        if run.records
    ]


def read_runs(root: Path, planned: Sequence[str] = ()) -> list[Run]:
    """Every run below the folder in order of its name. RunError where there is none."""
    summaries = find_runs(root)
    if not summaries:
        raise RunError("there are no runs here", where=str(root), remedy="give a study folder; `al ls` lists them")
    configs = {s.path: RunFolder(s.path).config() for s in summaries if s.rounds_total}
    references = {path for path, config in configs.items() if config.get("reference")}
    labels = label_arms({path: config for path, config in configs.items() if path not in references}, planned)
    runs = []
    for summary in summaries:
        path, config = summary.path, configs.get(summary.path, {})
        records = RunFolder(path).records() if path in configs else []
        name = path.relative_to(root).as_posix() if path != root else path.name
        arm = labels.get(path, "reference" if path in references else "")
        runs.append(Run(summary, name, arm, config.get("seed"), records, config, path in references))
    return runs


def label_arms(configs: dict[Path, dict[str, Any]], planned: Sequence[str] = ()) -> dict[Path, str]:
    """Run folder -> label of its arm: the folder's name without the seed at its end and without what all arms share.

    Planned arms are recognised by that name alone, and keep it. Others that would have the same label get a number.
    """
    labels = {path: name for path in configs if (name := arm_of(path.name)) in planned}
    members: dict[str, list[Path]] = {}
    for path, config in configs.items():
        if path not in labels:
            members.setdefault(json.dumps(of_the_arm(config), sort_keys=True, default=str), []).append(path)
    bare = [arm_of(min(path.name for path in paths)) for paths in members.values()]
    samplers = [str((configs[paths[0]].get("sampler") or {}).get("name") or "") for paths in members.values()]
    short = shorten(dict(zip(bare, samplers, strict=True)))
    if set(short.values()) & set(planned):
        short = {name: name for name in bare}
    seen: Counter[str] = Counter(set(labels.values()))
    for name, paths in zip((short[name] for name in bare), members.values(), strict=True):
        seen[name] += 1
        for path in paths:
            labels[path] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return labels


def shorten(samplers: Mapping[str, str]) -> dict[str, str]:
    """Name -> the name without the parts that all names share; `samplers` has the sampler that a name may begin with,
    and keeps.

    The names themselves where there is one only, or where two would become the same or nothing is left.

    >>> shorten({"random_budget30_fake": "random", "entropy_budget30_fake": "entropy"})
    {'random_budget30_fake': 'random', 'entropy_budget30_fake': 'entropy'}
    """
    heads = {
        name: sampler if re.match(rf"{re.escape(sampler)}(_|$)", name) else "" for name, sampler in samplers.items()
    }
    tails = {name: name[len(head) :].strip("_").split("_") for name, head in heads.items()}
    shared = set.intersection(*(set(parts) for parts in tails.values())) if len(tails) > 1 else set()
    short = {
        name: "_".join(part for part in (heads[name], *parts) if part and part not in shared)
        for name, parts in tails.items()
    }
    return (
        short if all(short.values()) and len(set(short.values())) == len(short) else {name: name for name in samplers}
    )


def of_the_arm(config: Mapping[str, Any]) -> dict[str, Any]:
    """The flat configuration without what may differ between runs of one arm: seeds and places."""
    return {key: v for key, v in flatten(config).items() if key.split(".")[0] not in NOT_OF_AN_ARM}


def find_in_vain(study: StudyFolder) -> dict[str, dict[str, list[str]]]:
    """What was work in vain: kind of finding -> run -> what its rounds say. A round that cannot be read says nothing."""
    kinds: dict[str, dict[str, list[str]]] = {}
    for run in (*study.runs, *study.references):
        for record in run.records:
            last = len(run.records) == run.summary.rounds_total and record is run.records[-1]
            with suppress(RunError, OSError, ValueError, KeyError):
                for found in round_in_vain(RunFolder(run.path), record, study.task, run.config, last=last):
                    kinds.setdefault(found.kind, {}).setdefault(run.name, []).append(
                        f"round {record.round}, {found.what}"
                    )
    return kinds


def find_missing(study: StudyFolder) -> list[str]:
    """A sentence for each run that has not all its rounds, one for those never started, one for each arm short of seeds."""
    lines = []
    for run in (*study.runs, *study.references):
        summary = run.summary
        if summary.state != "done":
            rounds = f"{summary.rounds_done} of {summary.rounds_total} rounds" if summary.rounds_total else ""
            if summary.error:
                lines.append(f"{run.name} {summary.state}: {summary.error}{rounds and f' ({rounds} are done)'}")
            else:
                is_ = "is " if summary.state == "running" else ""
                lines.append(f"{run.name} {is_}{summary.state}{rounds and f' with {rounds}'}")
    there = {run.name for run in (*study.runs, *study.references)}
    planned = [*study.plan.arms, *(["reference"] if study.plan.reference else [])]
    absent = [f"{arm}_s{seed}" for arm in planned for seed in study.plan.seeds if f"{arm}_s{seed}" not in there]
    if absent:
        lines.append(f"{listing(absent)} {'was' if len(absent) == 1 else 'were'} not started")
    seeds = Counter(run.arm for run in study.runs if run.records)
    most = max(seeds.values(), default=0)
    lines += [f"{arm} has {count} of {most} seeds" for arm, count in seeds.items() if count < most]
    return lines
