"""The claim that a study states beforehand, as its file or study.json has it.

claim: {arm: ccms, against: random, metric: AUC, cost: images, alpha: 0.05}

`metric` is `AUC` or `AUC_log` of the task's primary metric, `AUC of METRIC` or `AUC_log of METRIC` of any, or `METRIC`, the
final value. `margin: 0.5`, which may be left out, is the difference in the metric's unit within which the two count as equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from al_cli.errors import RunError, suggest, written
from al_cli.tasks import Metric, Task

CLAIM_KEYS = ("arm", "against", "metric", "cost", "alpha")  # a sweep file gives all of these
MARGIN = "margin"
AREAS = ("AUC", "AUC_log")  # over a linear and a logarithmic cost


@dataclass(frozen=True)
class Claim:
    """`arm` is better than `against` in `metric`, which is as it was written: `what_is_claimed` reads it.

    `cost` is what an AUC is taken over, and what the study's curves are drawn against first; a final value does not depend
    on it.
    """

    arm: str
    against: str
    metric: str
    cost: str
    alpha: float = 0.05
    margin: float | None = None  # within it, in the unit of the metric, the two count as equal


def parse_claim(claim: Mapping[str, Any], task: Task) -> Claim:
    """The claim of a sweep file or study.json, on a task. RunError for a wrong key or value; `arm` and `against` must be
    there."""

    def wrong(what: str, remedy: str) -> RunError:
        return RunError(what, where="claim", remedy=remedy)

    unknown = [str(key) for key in claim if key not in (*CLAIM_KEYS, MARGIN)]
    if unknown:
        raise wrong(f"a claim has no key {unknown[0]}", suggest(unknown[0], (*CLAIM_KEYS, MARGIN)))
    missing = [key for key in ("arm", "against") if not isinstance(claim.get(key), str)]
    if missing:
        raise wrong(f"the claim does not name its {missing[0]!r}", "give the names of two arms")
    if claim["arm"] == claim["against"]:
        raise wrong(f"the claim compares {claim['arm']!r} with itself", "give the names of two arms")
    metric = claim.get("metric", AREAS[0])
    what_is_claimed(metric, task)
    if (cost := claim.get("cost", task.cost_names[0])) not in task.cost_names:
        raise wrong(f"{cost!r} is no cost of task {task.name}", suggest(str(cost), task.cost_names))
    alpha = claim.get("alpha", 0.05)
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 1:
        raise wrong(f"alpha is {alpha!r}", "give 0 < alpha < 1, for example 0.05")
    if MARGIN not in claim:
        return Claim(claim["arm"], claim["against"], metric, cost, float(alpha))
    margin = claim[MARGIN]
    if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 < margin < math.inf:
        raise wrong(f"margin is {margin!r}", "give a difference above 0, in the unit of the metric, or leave it out")
    return Claim(claim["arm"], claim["against"], metric, cost, float(alpha), float(margin))


def what_is_claimed(metric: Any, task: Task) -> tuple[str | None, Metric]:
    """The area (None: the final value) and the metric that a claim's `metric` names. RunError where it names none."""
    text = str(metric)
    area, of, name = text.partition(" of ")
    if text in AREAS:
        return text, task.primary
    if text in task.metric_names:
        return None, task.metric(text)
    if of and area in AREAS and name in task.metric_names:
        return area, task.metric(name)
    if of and area not in AREAS:
        what, remedy = f"{area!r} is no area of a claim", suggest(area, AREAS)
    elif of:
        what, remedy = f"{name!r} is no metric of a claim on task {task.name}", suggest(name, task.metric_names)
    else:
        what = f"{written(metric)} is no metric of a claim on task {task.name}"
        areas = " or ".join(f"{area} of METRIC" for area in AREAS)
        remedy = f"{suggest(text, (*AREAS, *task.metric_names))}; or {areas}"
    raise RunError(what, where="claim", remedy=remedy)
