"""Even classes, in the order of the score: Lund's diversity sampling.

Lund section 3.1.2: the selection is even among classes while the order of priority is kept; of 2 classes and 5 images never
more than 3 are of one class. Used alone on a random order, or behind any score. Whether the classes are those predicted or
those of the labels ("ensuring that all labels are sufficiently represented") is not stated.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from al_cli.samplers.aggregate import counted
from al_cli.samplers.base import Between, Needs, selection
from al_cli.types import Query, Selection, Signal


def _needs(options: Mapping[str, Any]) -> Needs:
    return frozenset() if options["classes"] == "predicted" else frozenset({Signal.TRUE_CLASSES})


@selection(needs=_needs, source="Lund 3.1.2", family="class balance")
def class_balanced(
    query: Query,
    scores: NDArray[np.float64] | None = None,
    *,
    classes: Literal["predicted", True] = "predicted",
    score_threshold: Annotated[float, Between(0, 1)] = 0.3,
) -> Selection:
    """`budget` candidates in the order picked: each is the first in priority that shows the class chosen least so far.

    Priority descends by score (of equal scores the lower id first) and is drawn from `query.rng` without scores. An image with
    one class shows the predicted one. With boxes it shows the classes of its detections of at least `score_threshold`, and
    each of these counts one for its class: boxes are evened out. `classes=true` takes the classes of the labels instead, which
    nobody knows before labeling: an oracle. Of classes as rare the one with the image of higher priority comes
    first; a class that no image left shows is passed over. Images without such detections have no class to balance:
    they follow, in order of priority, when no others are left.

    When to use: with rare classes that the model already finds. Lund measured no gain over the score alone, and alone
    it was below random on balanced data, so expect it to help only where imbalance hurts.
    """
    table = query.candidates
    n = len(table)
    order = query.rng.permutation(n) if scores is None else np.argsort(-scores, kind="stable")
    shown = np.zeros((n, table.num_classes), np.int64)  # boxes of each class
    if classes == "predicted":
        used = counted(table, score_threshold)
        np.add.at(shown, (table.row_image[used], table.classes[used]), 1)
    else:
        shown += table.columns[Signal.TRUE_CLASSES].astype(np.int64)
    shown = shown[order]
    waiting = [np.flatnonzero(column) for column in shown.T]  # by class: ranks of the images that show it, ascending

    picked: list[int] = []
    left = np.ones(n, bool)
    chosen = np.zeros(table.num_classes, np.int64)
    start = np.zeros(table.num_classes, np.int64)  # by class: everything before this place in `waiting` is picked
    for _ in range(query.budget):
        first = np.full(table.num_classes, n)  # by class: the best rank left
        for c, ranks in enumerate(waiting):
            while start[c] < len(ranks) and not left[ranks[start[c]]]:
                start[c] += 1
            if start[c] < len(ranks):
                first[c] = ranks[start[c]]
        if (first == n).all():
            break
        best = first[np.lexsort((first, chosen, first == n))[0]]
        picked.append(int(best))
        left[best] = False
        chosen += shown[best]
    picked += np.flatnonzero(left)[: query.budget - len(picked)].tolist()
    ids = table.image_ids[order[picked]]
    return Selection(ids, np.full(n, np.nan)[: len(ids)] if scores is None else scores[order[picked]])
