"""What a finished round says of work in vain: derived from its record and losses, no sentence where all is well.

Thresholds: a loss counts as risen above RISEN times its start, where mere noise of batches does not take it, and as never
fallen when the mean of its last third is not below the mean of its first; fewer than MIN_POINTS points say neither. A metric
is near 0 below NOTHING of its highest value: a detector that finds one object in a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from al_cli.tasks import Task
from al_cli.types import LossPoint, RoundRecord

RISEN = 2.0
MIN_POINTS = 6
NOTHING = 0.001


def loss_in_vain(losses: Sequence[float]) -> list[str]:
    """A sentence for a training loss that diverged or never fell."""
    if any(not math.isfinite(loss) for loss in losses):
        return ["the training loss became infinite or no number: lower training.lr"]
    if len(losses) < MIN_POINTS:
        return []
    third = len(losses) // 3
    first, last = sum(losses[:third]) / third, sum(losses[-third:]) / third
    if last > RISEN * first:
        return [f"the training loss rose from {first:.3g} to {last:.3g}: lower training.lr"]
    return [f"the training loss never fell: {first:.3g} to {last:.3g}"] if last >= first else []


def round_in_vain(
    record: RoundRecord, task: Task, history: Sequence[LossPoint], boxes: Mapping[int, int], *, last: bool
) -> list[str]:
    """All sentences about one round. `boxes`: objects of each picked image. An absent metric is not near 0."""
    lines = loss_in_vain([point.train_loss for point in history])
    value, highest = record.metrics.get(task.primary.name), task.primary.highest
    if last and value is not None and highest and value < NOTHING * highest:
        lines.append(f"{task.primary.name} is near 0 in the last round: train longer, or check the labels")
    if record.round and record.picked and not any(boxes[i] for i in record.picked):
        lines.append(f"all {len(record.picked)} selected images are empty: this round labeled no object")
    return lines
