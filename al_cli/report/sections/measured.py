"""What rounds measure besides the task's metrics, by labels: how long trainings took (Lund, figures 4.27 and 4.28),
and the loss of the images that rounds are scored on (figures 4.31 to 4.46)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from al_cli.records.settings import stops_early
from al_cli.report.drawing.curves import LOSS_PARTS, Looks, plot_measured
from al_cli.report.page import Figure
from al_cli.report.statistics.curves import ArmRound
from al_cli.report.study import StudyFolder
from al_cli.types import LOSSES

OVER_SEEDS = "mean over seeds, one standard deviation shaded"


def measured_figures(study: StudyFolder, rounds: Sequence[ArmRound], cost: str, looks: Looks) -> list[Figure]:
    """The loss and its parts where a run measured them; the epochs of each training where validation stopped them, and not all
    at the same number."""
    found = []
    if any(row.mean["loss"] is not None for row in rounds):
        parts = any(row.mean[name] is not None for row in rounds for name in LOSSES[1:])
        and_parts, scales = (
            (", and its parts about classes and about boxes", " The scales differ.") if parts else ("", "")
        )
        caption = (
            f"Lower is better: the loss of the images that rounds are scored on{and_parts}, against labeled {cost}, "
            f"{OVER_SEEDS}.{scales}"
        )
        labels = LOSS_PARTS if parts else {LOSSES[0]: ""}
        draw = partial(plot_measured, rounds, labels, "loss (lower is better)", cost, looks)
        found.append(Figure("loss", caption, draw))
    primary = study.task.primary
    if any(row.mean["train_metric"] is not None for row in rounds):
        caption = f"{primary.name} on the images that each round was trained on, against labeled {cost}: {OVER_SEEDS}."
        draw = partial(plot_measured, rounds, {"train_metric": ""}, f"training {primary.axis}", cost, looks)
        found.append(Figure("training", caption, draw))
    epochs = {record.epochs for run in study.runs if stops_early(run.config) for record in run.records} - {None}
    if len(epochs) > 1:
        caption = f"Epochs of each round's training until it stopped, against labeled {cost}: {OVER_SEEDS}."
        draw = partial(plot_measured, rounds, {"epochs": ""}, "epochs, mean over seeds", cost, looks)
        found.append(Figure("epochs", caption, draw))
    return found
