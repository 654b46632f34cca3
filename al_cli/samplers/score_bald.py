"""How much the dropout passes disagree about a box: BALD, mutual information of its class and the weights.

Houlsby et al. 2011; Gal, Islam and Ghahramani 2017; FSDL section 4.3, over T passes with dropout active:

    I(box) = H(mean over t of p_t) - mean over t of H(p_t)

H is the entropy of `entropy_of`, normalised to [0, 1], so I lies there too; the sources leave it in nats.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.aggregate import Aggregate, per_image
from al_cli.samplers.base import Between, score
from al_cli.samplers.uncertainty import entropy_of
from al_cli.types import Query, Signal


@score(
    needs=frozenset({Signal.DROPOUT}),
    source="Houlsby 2011; Gal 2017 (BALD); FSDL 4.3",
    family="Bayesian uncertainty",
)
def bald(query: Query, *, aggregate: Aggregate = "mean", top_n: Annotated[int, Between(1)] = 10) -> NDArray[np.float64]:
    """[N] `aggregate` over an image's boxes of their mutual information; 0 without boxes, and where all passes agree.

    The passes judge the boxes of the plain detector again, so they disagree about classes, not about places. FSDL
    classifies images; the aggregation over boxes is that of the other uncertainties.

    When to use: to buy what the model does not know yet rather than what looks ambiguous in itself, which plain entropy
    cannot distinguish. It needs `model.dropout`, which also changes how the detector trains: compare it with random
    sampling on the same model. Few passes make it noisy.
    """
    table = query.candidates
    p = table.columns[Signal.DROPOUT].astype(np.float64)  # [T, M, C]
    passes, m, classes = p.shape
    of_pass = entropy_of(p.reshape(passes * m, classes), table.prob_kind).reshape(passes, m)
    information = entropy_of(p.mean(0), table.prob_kind) - of_pass.mean(0)
    return per_image(np.maximum(information, 0), table, aggregate, top_n)  # below 0 by rounding only
