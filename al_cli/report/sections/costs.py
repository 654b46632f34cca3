"""What a study cost in seconds, and what its store spared: from each round's timing.json, read leniently.

timing.json is no part of a record: it may be missing, or have other phases than today's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from al_cli.progress import duration
from al_cli.records import RunFolder
from al_cli.report.statistics.curves import training_of
from al_cli.report.study import Run, StudyFolder
from al_cli.report.table import ReportTable

PHASES = ("train", "evaluate", "infer", "select", "save")  # others that a file names come after these


@dataclass
class Spent:
    """Sums over runs: seconds by phase, trainings taken from the store and made, seconds that the store saved; `shared`:
    rounds whose training is that of another arm too."""

    runs: int = 0
    rounds: int = 0
    shared: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    hits: int = 0
    misses: int = 0
    saved_s: float = 0.0

    @property
    def total_s(self) -> float:
        return sum(self.seconds.values())

    def add(self, timing: dict[str, Any]) -> None:
        """Count one round's timing.json."""
        self.rounds += 1
        for key, value in timing.items():
            if key.endswith("_s") and isinstance(value, int | float):
                phase = key.removesuffix("_s")
                self.seconds[phase] = self.seconds.get(phase, 0.0) + value
        store = timing.get("store")
        if isinstance(store, dict):
            self.hits += (store.get("hits") or {}).get("training", 0)
            self.misses += (store.get("misses") or {}).get("training", 0)
            self.saved_s += store.get("saved_s") or 0.0


def spent_by(runs: Sequence[Run]) -> Spent:
    """What these runs cost together; zeros for none."""
    spent = Spent()
    for run in runs:
        spent.runs += 1
        for record in run.records:
            spent.add(RunFolder(run.path).timing(record.round))
    return spent


def spent_by_arm(study: StudyFolder) -> dict[str, Spent]:
    """Arm -> what its runs cost, then "reference" where there are full-label runs."""
    spent = {arm: spent_by(study.of_arm(arm)) for arm in study.arms}
    trainings = {
        arm: [name for run in study.of_arm(arm) for record in run.records if (name := training_of(record))]
        for arm in study.arms
    }
    arms_with = Counter(name for names in trainings.values() for name in set(names))
    for arm, names in trainings.items():
        spent[arm].shared = sum(arms_with[name] > 1 for name in names)
    if any(run.records for run in study.references):
        spent["reference"] = spent_by([run for run in study.references if run.records])
    return spent


def spent_table(spent: Mapping[str, Spent]) -> ReportTable:
    """Seconds by phase of an arm's runs together, and what the store spared it."""
    phases = [name for name in PHASES if any(name in one.seconds for one in spent.values())]
    phases += sorted({name for one in spent.values() for name in one.seconds} - set(phases))
    columns = ["arm", "runs", "rounds", "shared", *(f"{name}_s" for name in phases), "total_s", "store_hits", "saved_s"]
    rows: list[list[Any]] = [
        [arm, c.runs, c.rounds, c.shared, *(c.seconds.get(name, 0.0) for name in phases), c.total_s, c.hits, c.saved_s]
        for arm, c in spent.items()
    ]
    heads = ["arm", "runs", "rounds", "shared", *phases, "all", "from the store", "saved"]
    shown = [[*row[:4], *map(duration, row[4:-2]), str(row[-2]), duration(row[-1])] for row in rows]
    note = "Shared are the rounds whose training is that of another arm too: the same weights, or the same predictions."
    return ReportTable("costs", "Time by phase, the runs of an arm together", columns, rows, (heads, shown), note=note)


def spent_sentence(spent: Mapping[str, Spent]) -> str:
    """What all of it took, and how many trainings the store spared."""
    arms = [*spent.values()]
    total, saved = sum(arm.total_s for arm in arms), sum(arm.saved_s for arm in arms)
    rounds, hits = sum(arm.rounds for arm in arms), sum(arm.hits for arm in arms)
    text = f"The study's {rounds} rounds took {duration(total)} of computing."
    if hits:
        text += f" {hits} of their trainings came from the store, which saved {duration(saved)}."
    elif any(arm.misses for arm in arms):
        text += " None of their trainings was found in the store."
    return text
