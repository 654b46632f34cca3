"""Uncertainty of the class vector that T dropout passes give on average: the plain measures on a better estimate.

FSDL section 4.3 (Gal and Ghahramani 2016): p = mean over t of p_t with dropout active, then least confidence, margin,
ratio or entropy of p, as `al_cli.samplers.uncertainty` defines them.
"""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.aggregate import Aggregate, per_image
from al_cli.samplers.base import Between, score
from al_cli.samplers.uncertainty import entropy_of, least_confidence_of, margin_of, ratio_of
from al_cli.types import Query, Signal

_MEASURES = {"least_confidence": least_confidence_of, "margin": margin_of, "ratio": ratio_of, "entropy": entropy_of}


@score(
    needs=frozenset({Signal.DROPOUT}),
    source="Gal and Ghahramani 2016; FSDL 4.3",
    family="Bayesian uncertainty",
)
def mc_uncertainty(
    query: Query,
    *,
    measure: Literal["least_confidence", "margin", "ratio", "entropy"],
    aggregate: Aggregate = "mean",
    top_n: Annotated[int, Between(1)] = 10,
) -> NDArray[np.float64]:
    """[N] `aggregate` over an image's boxes of the `measure` of their mean class vector; 0 without boxes.

    When to use: where a model trained with `model.dropout` is surer of itself than it should be; averaging its passes
    calms it down. What the passes disagree about and what is ambiguous in every pass count alike: `bald` keeps the former
    only.
    """
    table = query.candidates
    p = table.columns[Signal.DROPOUT].astype(np.float64).mean(0)  # [M, C]
    return per_image(_MEASURES[measure](p, table.prob_kind), table, aggregate, top_n)
