"""Images on which the detector is predicted to err, by a network that learned where it erred on held-out ones.

FSDL section 4.6 (active transfer learning for uncertainty sampling), after Monarch 2021: ask the model to predict its
own errors. A new head is trained on the features of validation images, "predicted correctly or not" its target, and the
images with the highest probability of being incorrect are chosen.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.base import Between, score
from al_cli.samplers.detection_errors import error_share
from al_cli.samplers.network import learn_and_predict
from al_cli.types import Query, Signal

_FEATURES = frozenset({Signal.IMAGE_FEATURES})


@score(needs=_FEATURES, held_out=_FEATURES, source="FSDL 4.6; Monarch 2021", family="learned")
def active_transfer(query: Query, *, score_threshold: Annotated[float, Between(0, 1)] = 0.3) -> NDArray[np.float64]:
    """[N] predicted share of errors in [0, 1]; the same for all where the validation images show no difference.

    The target of a validation image is the share of false alarms and misses in all it counts (`detection_errors.error_share`,
    detections below `score_threshold` left out): FSDL's correct or incorrect, object by object, since hardly any image
    with many objects is correct as a whole. Inputs are pooled backbone features, which an image without boxes has too;
    one without objects and without detections counts as correct. The network is drawn and trained with `query.rng`.

    When to use: where uncertainty scores are overconfident and there are some hundred validation images to learn the
    detector's errors from. They must be labeled and are never trained on: their cost is not in the budget.
    """
    assert query.held_out is not None and query.held_out_truth is not None
    return learn_and_predict(
        query.held_out.columns[Signal.IMAGE_FEATURES],
        error_share(query.held_out, query.held_out_truth, score_threshold),
        query.candidates.columns[Signal.IMAGE_FEATURES],
        query.rng,
    )
