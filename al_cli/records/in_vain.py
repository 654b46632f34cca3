"""Work in vain: what a finished round's own files say of it. The run warns when it happens, the report says it again.

Thresholds, each wide enough that good work is silent:
    a loss rose       its mean over the last third of the points is above RISEN times that over the first: noise of batches
                      does not double a mean
    a loss never fell the last third is not below the first; asked of trainings that begin with the starting weights, for
                      weights that have learned may have nothing left to learn. Fewer than MIN_POINTS points say neither
    a metric near 0   below NOTHING of its highest value: trainings that differ in the seed alone lie further apart than that
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from al_cli.records.folder import RunFolder
from al_cli.records.stop import stop_of
from al_cli.tasks import Task
from al_cli.types import RoundRecord

RISEN = 2.0
MIN_POINTS = 6
NOTHING = 0.01
NAMED = 5  # classes that a sentence names


@dataclass(frozen=True)
class InVain:
    """One finding about one round. `kind` is the same sentence for all rounds where it was found; `what` says it of this
    one."""

    kind: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


def round_in_vain(
    folder: RunFolder, record: RoundRecord, task: Task, config: Mapping[str, Any], *, last: bool
) -> list[InVain]:
    """All findings about a finished round; nothing where all is well. `config` is that of the run, `last`: it ends with this
    round.

    RunError for a broken file. A metric without a value is not near 0.
    """
    warm = record.round > 0 and (config.get("training") or {}).get("init") in ("continue", "join")
    found = loss_in_vain([point.train_loss for point in folder.losses(record.round)], warm=warm)
    counts = folder.class_counts(record.round)
    picked = sum(new for new, _ in counts.values())
    if record.picked and not picked:
        what = f"all {len(record.picked)} images that this round labeled are empty"
        drawn = record.round == 0 and config.get("initial") != 0
        remedy = "raise initial, or take another seed" if drawn else "take another sampler or a larger budget"
        found.append(InVain("A round labeled empty images only", what, remedy))
    stop = stop_of(config, task)
    if stop and record.round == 0 and record.metrics.get(stop.metric.name) is None:  # and so in every round
        what = f"{stop.metric.name} has no value on the evaluated images, so the run cannot stop at {stop.at:g}"
        found.append(InVain(f"{stop.metric.name}, which ends runs, has no value", what, "take another stop.metric"))
    return [*found, *result_in_vain(folder, record, task, counts)] if last else found


def loss_in_vain(losses: Sequence[float], *, warm: bool = False) -> list[InVain]:
    """What a training's losses say. `warm`: it went on from weights that had learned before."""
    if any(not math.isfinite(loss) for loss in losses):
        what = "the training loss became infinite or no number"
        return [InVain("The training loss became infinite or no number", what, "lower training.lr")]
    if len(losses) < MIN_POINTS:
        return []
    third = len(losses) // 3
    first, last = sum(losses[:third]) / third, sum(losses[-third:]) / third
    values = f"from {first:.3g} to {last:.3g}"
    if last > RISEN * first:
        return [InVain("The training loss rose", f"the training loss rose {values}", "lower training.lr")]
    if last >= first and not warm:
        remedy = "train longer, change training.lr, or look at the labels with `al data`"
        return [InVain("The training loss never fell", f"the training loss never fell: {values}", remedy)]
    return []


def result_in_vain(
    folder: RunFolder, record: RoundRecord, task: Task, counts: Mapping[str, tuple[int, int]]
) -> list[InVain]:
    """What the predictions after the last round say. `counts` are those of `RunFiles.class_counts`."""
    metric = task.primary
    predictions = folder.predictions(record.round)
    if not len(predictions.scores):
        what = "the model finds nothing in any evaluated image"
        return [InVain("The model finds nothing after the last round", what, "train longer, or raise training.lr")]
    found = []
    value = record.metrics.get(metric.name)
    if value is not None and metric.highest and value < NOTHING * metric.highest:
        what = f"{metric.name} is {metric.text(value)} after the last round, as good as 0"
        found.append(
            InVain(f"{metric.name} is near 0 after the last round", what, "train longer, or look at the labels")
        )
    rows = folder.per_class(record.round)
    # no object of it among the evaluated images
    unmeasured = {row.get("class") for row in rows if row.get(metric.name) == "" or row.get("images") == "0"}
    predicted = set(np.unique(predictions.classes).tolist())
    never = [
        name
        for index, (name, (_, labeled)) in enumerate(counts.items())
        if index not in predicted and labeled and name not in unmeasured
    ]
    if never:
        more = f" and {len(never) - NAMED} more" if len(never) > NAMED else ""
        what = f"after the last round no prediction is of class {', '.join(never[:NAMED])}{more}"
        found.append(InVain("Classes with labels are never predicted after the last round", what, "train longer"))
    return found
