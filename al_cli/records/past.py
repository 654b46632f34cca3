"""The weights of finished rounds, where a run that goes on needs them. Knows no plan: its maker says how rounds train."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from al_cli.records.folder import RunFolder
from al_cli.types import Checkpoint, Learner, RoundRecord

log = logging.getLogger("al")


@dataclass(frozen=True)
class Past:
    """Weights come from the run's folder, from the store that the learner looks into, or of the same training made `again`
    from what the record says, with the weights of the round before where the round `continues` from them. The first
    `droppable` rounds need not be kept."""

    learner: Learner
    folder: RunFolder
    again: Callable[[RoundRecord, Checkpoint | None], Checkpoint]
    continues: Callable[[int], bool]
    droppable: int

    def drop(self, *kept: int) -> None:
        """Remove the weights of all rounds but these from the run's folder, where not all are kept."""
        for round in range(self.droppable):
            if round not in kept:
                self.folder.drop_checkpoint(round)

    def restore(self, record: RoundRecord) -> bool:
        """Whether the weights of this round are on disk, or could be made again as they were."""
        if not self.folder.has_weights(record):
            self.weights(record.round)
            if not self.folder.has_weights(record):
                self.folder.drop_checkpoint(record.round)
                return False
        return True

    def weights(self, round: int) -> Checkpoint:
        """The weights of this finished round, in the learner and on disk. A warning where they are not those that it had."""
        record = self.folder.record(round)
        if self.folder.has_weights(record):
            return self.learner.load(self.folder.weights(round))
        log.info("the weights of round %d are needed and not there as they were written: they are made again", round)
        checkpoint = self.again(record, self.weights(round - 1) if self.continues(round) else None)
        self.learner.save(checkpoint, self.folder.checkpoint_path(round))
        if not self.folder.has_weights(record):
            log.warning("round %d was trained again and has other weights now than its record was made with", round)
        return checkpoint
