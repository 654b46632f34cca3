"""What a study cost in seconds, and what its store spared: from each round's timing.json, read leniently.

timing.json is no part of a record: it may be missing, or have other phases than today's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from al_cli.records import RunFolder
from al_cli.report.study import Run, Study
from al_cli.report.table import Table

PHASES = ("train", "evaluate", "infer", "select", "save")  # others that a file names come after these


@dataclass
class Cost:
    """Sums over runs: seconds by phase, trainings taken from the store and made, seconds that the store saved."""

    runs: int = 0
    rounds: int = 0
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


def cost_of(runs: Sequence[Run]) -> Cost:
    """What these runs cost together; zeros for none."""
    cost = Cost()
    for run in runs:
        cost.runs += 1
        for record in run.records:
            cost.add(RunFolder(run.path).timing(record.round))
    return cost


def costs(study: Study) -> dict[str, Cost]:
    """Arm -> what its runs cost, then "reference" where there are full-label runs."""
    found = {arm: cost_of(study.of_arm(arm)) for arm in study.arms}
    if any(run.records for run in study.references):
        found["reference"] = cost_of([run for run in study.references if run.records])
    return found


def cost_table(found: dict[str, Cost]) -> Table:
    """Seconds by phase of an arm's runs together, and what the store spared it."""
    phases = [name for name in PHASES if any(name in cost.seconds for cost in found.values())]
    phases += sorted({name for cost in found.values() for name in cost.seconds} - set(phases))
    columns = ["arm", "runs", "rounds", *(f"{name}_s" for name in phases), "total_s", "store_hits", "saved_s"]
    rows: list[list[Any]] = [
        [arm, c.runs, c.rounds, *(c.seconds.get(name, 0.0) for name in phases), c.total_s, c.hits, c.saved_s]
        for arm, c in found.items()
    ]
    heads = ["arm", "runs", "rounds", *phases, "all", "from the store", "saved"]
    shown = [[*row[:3], *map(duration, row[3:-2]), str(row[-2]), duration(row[-1])] for row in rows]
    return Table("costs", "Time by phase, the runs of an arm together", columns, rows, (heads, shown))


def cost_sentence(found: dict[str, Cost]) -> str:
    """What all of it took, and how many trainings the store spared."""
    cost = [*found.values()]
    total, saved = sum(c.total_s for c in cost), sum(c.saved_s for c in cost)
    rounds, hits = sum(c.rounds for c in cost), sum(c.hits for c in cost)
    text = f"The study's {rounds} rounds took {duration(total)} of computing."
    if hits:
        text += f" {hits} of their trainings came from the store, which saved {duration(saved)}."
    elif any(c.misses for c in cost):
        text += " None of their trainings was found in the store."
    return text


def duration(seconds: float) -> str:
    """ "4.2 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
