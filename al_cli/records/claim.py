"""The claim that a study states beforehand, as its file or study.json has it.

claim: {arm: ccms, against: random, metric: AUC, cost: boxes, alpha: 0.05}
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from al_cli.errors import RunError, suggest

KEYS = ("arm", "against", "metric", "cost", "alpha")
AREAS = ("AUC", "AUC_log")  # over a linear and a logarithmic cost


@dataclass(frozen=True)
class Claim:
    """`arm` is better than `against`. `metric`: AUC or AUC_log of the primary metric, or a metric's final value.

    `cost` is what an AUC is taken over; a final value does not depend on it.
    """

    arm: str
    against: str
    metric: str = "AUC"
    cost: str = "images"
    alpha: float = 0.05


def parse_claim(claim: Mapping[str, Any], *, metrics: Collection[str], costs: Collection[str]) -> Claim:
    """The claim of a sweep file or study.json, about one of these metrics and costs. RunError for a wrong key or value;
    `arm` and `against` must be there."""

    def wrong(what: str, remedy: str) -> RunError:
        return RunError(what, where="claim", remedy=remedy)

    unknown = [str(key) for key in claim if key not in KEYS]
    if unknown:
        raise wrong(f"a claim has no key {unknown[0]}", suggest(unknown[0], KEYS))
    missing = [key for key in ("arm", "against") if not isinstance(claim.get(key), str)]
    if missing:
        raise wrong(f"the claim does not name its {missing[0]!r}", "give the names of two arms")
    if claim["arm"] == claim["against"]:
        raise wrong(f"the claim compares {claim['arm']!r} with itself", "give the names of two arms")
    valid = (*AREAS, *metrics)
    if (metric := claim.get("metric", "AUC")) not in valid:
        raise wrong(f"{metric!r} is no metric of a claim", suggest(str(metric), valid))
    if (cost := claim.get("cost", "images")) not in costs:
        raise wrong(f"{cost!r} is no cost", suggest(str(cost), costs))
    alpha = claim.get("alpha", 0.05)
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 1:
        raise wrong(f"alpha is {alpha!r}", "give 0 < alpha < 1, for example 0.05")
    return Claim(claim["arm"], claim["against"], metric, cost, float(alpha))
