"""The claim that a study states beforehand, as its file or study.json has it.

claim: {arm: ccms, against: random, metric: AUC, cost: boxes, alpha: 0.05}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from al_cli.errors import RunError, suggest
from al_cli.report.statistics.curves import COSTS, METRICS, Cost

if TYPE_CHECKING:
    from al_cli.report.statistics.comparison import Measure

KEYS = ("arm", "against", "metric", "cost", "alpha")
AREAS = ("AUC", "AUC_log")


@dataclass(frozen=True)
class Claim:
    """`arm` is better than `against`. `metric`: AUC (of AP, linear cost), AUC_log, or the final AP, AP50, AP75, APs, APm, APl.

    `cost` is what an AUC is taken over; a final value does not depend on it.
    """

    arm: str
    against: str
    metric: str = "AUC"
    cost: Cost = "images"
    alpha: float = 0.05

    @property
    def measure(self) -> Measure:
        from al_cli.report.statistics.comparison import Measure  # brings scipy, which a sweep can do without

        if self.metric in AREAS:
            return Measure("AUC", cost=self.cost, scale="log" if self.metric == "AUC_log" else "linear")
        return Measure("final", self.metric)


def parse_claim(claim: Mapping[str, Any]) -> Claim:
    """The claim of a sweep file or study.json. RunError for a wrong key or value; `arm` and `against` must be there."""

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
    valid = (*AREAS, *METRICS)
    if (metric := claim.get("metric", "AUC")) not in valid:
        raise wrong(f"{metric!r} is no metric of a claim", suggest(str(metric), valid))
    if (cost := claim.get("cost", "images")) not in COSTS:
        raise wrong(f"{cost!r} is no cost", suggest(str(cost), COSTS))
    alpha = claim.get("alpha", 0.05)
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 1:
        raise wrong(f"alpha is {alpha!r}", "give 0 < alpha < 1, for example 0.05")
    return Claim(claim["arm"], claim["against"], metric, cost, float(alpha))
