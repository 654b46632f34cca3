"""Images that a network can distinguish from the labeled ones: the labeled set should look like the pool.

FSDL section 4.6; Gissin and Shalev-Shwartz 2019 (discriminative active learning): s(I) = P(I is unlabeled | features),
from a classifier trained on labeled against unlabeled images. FSDL fine-tunes the model's own classification head to it
(`head=own`); a small network on the model's features (`head=new`) needs no learner that can.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import Needs, score
from al_cli.samplers.network import learn_and_predict
from al_cli.types import Query, Signal

_FEATURES = frozenset({Signal.IMAGE_FEATURES})


def _needs(options: Mapping[str, Any]) -> Needs:
    return _FEATURES if options["head"] == "new" else frozenset({Signal.POOL_PROBABILITY})


def _labeled(options: Mapping[str, Any]) -> Needs:
    return _FEATURES if options["head"] == "new" else None  # the learner knows the labeled images


@score(needs=_needs, labeled=_labeled, source="FSDL 4.6; Gissin & Shalev-Shwartz 2019", family="learned")
def discriminative(query: Query, *, head: Literal["new", "own"] = "new") -> NDArray[np.float64]:
    """[N] probability of being unlabeled, from pooled features; an image without boxes has those too.

    `head`: `new`, a small network on the images' features; or `own`, the classifier's own head, fine-tuned by the learner
    (`Signal.POOL_PROBABILITY`). As in FSDL, the network learns from as many images of one kind as of the other, drawn with
    `query.rng`, and the whole budget is picked at once. Gissin and Shalev-Shwartz pick in several batches with a new
    classifier after each, so that later ones avoid what earlier ones bought.

    When to use: when the labeled images are not a fair sample of the pool (collected elsewhere, or by another method). On
    a random initial set there is little to distinguish, and it is close to random.
    """
    if head == "own":
        return query.candidates.columns[Signal.POOL_PROBABILITY].astype(np.float64)
    assert query.labeled is not None
    labeled = query.labeled.columns[Signal.IMAGE_FEATURES]
    unlabeled = query.candidates.columns[Signal.IMAGE_FEATURES]
    n = min(len(labeled), len(unlabeled))
    sample = np.concatenate(
        [some[np.sort(query.rng.choice(len(some), n, replace=False))] for some in (labeled, unlabeled)]
    )
    return learn_and_predict(sample, np.repeat([0.0, 1.0], n), unlabeled, query.rng)
