"""A study as it lies on disk: its runs, its arms, what it planned, and what is missing.

An arm is what a study compares: the runs whose configurations differ in their seeds only. `al sweep` names the arms in
study.json; without that file (`al run -m`) they follow from the configurations. Reads, computes nothing.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from al_cli.errors import RunError
from al_cli.records import RunFolder, RunSummary, find_runs
from al_cli.records.folder import flatten
from al_cli.records.study import StudyFile, read_study_file
from al_cli.report.statistics.in_words import listing
from al_cli.types import RoundRecord

NOT_OF_AN_ARM = ("seed", "seeds", "run_name", "study", "outputs")  # configuration keys that name a run, not its method
SEED_AT_END = re.compile(r"_s\d+$")


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
class Study:
    """Everything below one study folder. `runs` are those of the arms, `references` the full-label ones."""

    root: Path
    name: str
    plan: StudyFile
    runs: Sequence[Run]
    references: Sequence[Run]

    @property
    def arms(self) -> list[str]:
        """The arms that have a finished round, in the order of the plan, then of their names on disk."""
        found = dict.fromkeys(run.arm for run in self.runs if run.records)
        planned = [arm for arm in self.plan.arms if arm in found]
        return planned + [arm for arm in found if arm not in planned]

    @property
    def random(self) -> str | None:
        """The arm that picks at random: the one every other is measured against. None where the study has none."""
        named = {run.arm for run in self.runs if (run.config.get("sampler") or {}).get("name") == "random"}
        named &= set(self.arms)
        return "random" if "random" in named else min(named, default=None)

    @property
    def oracles(self) -> set[str]:
        """Arms that read labels which nobody has yet, as the records of their stages say."""
        return {run.arm for run in self.runs if any(record.oracle for record in run.records)}

    def of_arm(self, arm: str) -> list[Run]:
        """The runs of an arm that have a finished round, by seed."""
        found = [run for run in self.runs if run.arm == arm and run.records]
        return sorted(found, key=lambda run: (run.seed is None, run.seed or 0, run.name))

    @property
    def first_record_at(self) -> datetime | None:
        """When the study's first record was written: the time of the oldest record file. None before there is one."""
        times = (RunFolder(run.path).written_at(0) for run in (*self.runs, *self.references))
        return min((time for time in times if time is not None), default=None)


def read_study(study_dir: Path | str) -> Study:
    """The study in this folder (a single run is a study of one). RunError where there is no run."""
    root = Path(study_dir)
    plan = read_study_file(root)
    runs = read_runs(root, tuple(plan.arms))
    of_arms, references = [run for run in runs if not run.reference], [run for run in runs if run.reference]
    return Study(root, root.resolve().name, plan, of_arms, references)


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
    """Run folder -> label of its arm: the folder's name without the seed at its end.

    Planned arms are recognised by that name alone. Two others that would have the same label get a number.
    """
    labels = {path: name for path in configs if (name := SEED_AT_END.sub("", path.name)) in planned}
    members: dict[str, list[Path]] = {}
    for path, config in configs.items():
        if path not in labels:
            members.setdefault(json.dumps(of_the_arm(config), sort_keys=True, default=str), []).append(path)
    bare = [SEED_AT_END.sub("", min(path.name for path in paths)) for paths in members.values()]
    seen: Counter[str] = Counter(set(labels.values()))
    for name, paths in zip(bare, members.values(), strict=True):
        seen[name] += 1
        for path in paths:
            labels[path] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return labels


def of_the_arm(config: Mapping[str, Any]) -> dict[str, Any]:
    """The flat configuration without what may differ between runs of one arm: seeds and places."""
    return {key: v for key, v in flatten(config).items() if key.split(".")[0] not in NOT_OF_AN_ARM}


def find_missing(study: Study) -> list[str]:
    """A sentence for each run that has not all its rounds, one for those never started, one for each arm short of seeds."""
    lines = []
    for run in (*study.runs, *study.references):
        summary = run.summary
        if summary.state != "done":
            why = f": {summary.error}" if summary.error else ""
            rounds = f" with {summary.rounds_done} of {summary.rounds_total} rounds" if summary.rounds_total else ""
            is_ = "is " if summary.state == "running" else ""
            lines.append(f"{run.name} {is_}{summary.state}{rounds}{why}")
    there = {run.name for run in (*study.runs, *study.references)}
    planned = [*study.plan.arms, *(["reference"] if study.plan.reference else [])]
    absent = [f"{arm}_s{seed}" for arm in planned for seed in study.plan.seeds if f"{arm}_s{seed}" not in there]
    if absent:
        lines.append(f"{listing(absent)} {'was' if len(absent) == 1 else 'were'} not started")
    seeds = Counter(run.arm for run in study.runs if run.records)
    most = max(seeds.values(), default=0)
    lines += [f"{arm} has {count} of {most} seeds" for arm, count in seeds.items() if count < most]
    return lines
