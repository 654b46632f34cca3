"""Images on which the model is predicted to err, by a network that learned where it erred on images with known labels.

FSDL section 4.6 (active transfer learning for uncertainty sampling), after Monarch 2021: ask the model to predict its
own errors. A head is trained on validation images, "predicted correctly or not" its target, and the images with the highest
probability of being incorrect are chosen. FSDL fine-tunes the model's own classification head (`head=own`); a small network
on the model's features (`head=new`) needs no learner that can.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from al_cli.errors import ConfigError
from al_cli.samplers.base import Between, Needs, score
from al_cli.samplers.detection_errors import error_share
from al_cli.samplers.network import learn_and_predict
from al_cli.types import Query, Signal

_FEATURES = frozenset({Signal.IMAGE_FEATURES})


def _needs(options: Mapping[str, Any]) -> Needs:
    if options["head"] == "new":
        return _FEATURES
    if options["of"] == "training":
        what = "the model's own head learns its errors from validation images"
        raise ConfigError(what, where="head=own of=training", remedy="leave of out, or take head=new")
    return frozenset({Signal.ERROR_PROBABILITY})


def _of(images: str) -> Any:
    """The rule of what a new head needs of these images, where it learns from them."""
    return lambda options: _FEATURES if (options["head"], options["of"]) == ("new", images) else None


@score(
    needs=_needs, labeled=_of("training"), held_out=_of("validation"), source="FSDL 4.6; Monarch 2021", family="learned"
)
def active_transfer(
    query: Query,
    *,
    head: Literal["new", "own"] = "new",
    of: Literal["validation", "training"] = "validation",
    score_threshold: Annotated[float, Between(0, 1)] = 0.3,
) -> NDArray[np.float64]:
    """[N] probability of an error in [0, 1]; the same for all where the images with known labels show no difference.

    `head`: `new`, a small network on the images' features, drawn and trained with `query.rng`; or `own`, the classifier's own
    head, fine-tuned by the learner (`Signal.ERROR_PROBABILITY`). `of`: which errors a new head learns from. FSDL 4.6 takes
    validation images; its appendix (8.6) takes training images, most of which a trained model has right.

    The target of an image with one class is whether it was predicted wrong. With boxes it is the share of false alarms and
    misses in all that counts (`detection_errors.error_share`, detections below `score_threshold` left out): FSDL's correct or
    incorrect, object by object, since hardly any image with many objects is correct as a whole. Features are pooled, so an
    image without boxes has them too; one without objects and without detections counts as correct.

    When to use: where uncertainty scores are overconfident and there are some hundred validation images to learn the
    model's errors from. They must be labeled and are never trained on: their cost is not in the budget.
    """
    if head == "own":
        return query.candidates.columns[Signal.ERROR_PROBABILITY].astype(np.float64)
    known, truth = (query.held_out, query.held_out_truth) if of == "validation" else (query.labeled, query.truth)
    assert known is not None and truth is not None
    features = known.columns[Signal.IMAGE_FEATURES]
    asked = query.candidates.columns[Signal.IMAGE_FEATURES]
    return learn_and_predict(features, error_share(known, truth, score_threshold), asked, query.rng)
