"""When a run ends before its last round: after the one in which a metric reaches a value. Knows no folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from al_cli.tasks import Metric, Task
from al_cli.types import RoundRecord


@dataclass(frozen=True)
class Stop:
    """A run ends after the round in which `metric` is at least `at`. A metric without a value has not reached it."""

    metric: Metric
    at: float

    def reached(self, metrics: Mapping[str, float | None]) -> bool:
        value = metrics.get(self.metric.name)
        return value is not None and value >= self.at

    def rounds(self, records: Sequence[RoundRecord]) -> int | None:
        """How many rounds the run has, the initial one included; None while none of these has reached the value."""
        return next((record.round + 1 for record in records if self.reached(record.metrics)), None)

    def words(self, records: Sequence[RoundRecord]) -> str:
        """Why the run with these records ended; nothing where the value was not reached."""
        if (rounds := self.rounds(records)) is None:
            return ""
        value = self.metric.text(records[rounds - 1].metrics[self.metric.name])
        return f"stopped at {self.metric.name} {value} >= {self.at:g} after round {rounds - 1}"


def stop_of(config: Mapping[str, Any], task: Task) -> Stop | None:
    """What a checked configuration says of it. A reference trains once and never stops earlier."""
    said = config.get("stop") or {}
    name = said.get("metric") or task.primary.name
    if said.get("at") is None or config.get("reference") or name not in task.metric_names:
        return None
    return Stop(task.metric(name), float(said["at"]))
