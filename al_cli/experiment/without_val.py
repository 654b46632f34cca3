"""What a run needs validation images for, and what to do where there are none. Reads no data."""

from __future__ import annotations

from typing import NamedTuple

from al_cli.errors import ConfigError
from al_cli.experiment.settings import Experiment
from al_cli.types import INFLUENCES, Signal


def refuse_without_val(experiment: Experiment) -> None:
    """ConfigError for what needs validation images, where there are none."""
    if uses := uses_of_val(experiment):
        use = uses[0]
        raise ConfigError(
            f"{use.what}, and this dataset has no validation images: its only held-out split is what rounds are evaluated on",
            remedy=f"add dataset.val=20%, or {use.instead}",
        )


class UseOfVal(NamedTuple):
    """What reads validation images, as the beginning of a sentence, and what to do without them."""

    what: str
    instead: str


def uses_of_val(experiment: Experiment) -> list[UseOfVal]:
    """What would read validation images to train or select by, but for a loss that is only recorded."""
    uses = []
    sampler = f"sampler {experiment.config['sampler']['name']}"
    metric = experiment.training.stops_by
    watched = "the validation loss" if metric is None else f"{metric} on validation images"
    if experiment.training.duration == "early_stop":
        last = " training.weights=last" if getattr(experiment.training, "weights", None) == "best" else ""
        uses.append(UseOfVal(f"early stopping goes by {watched}", f"set training.duration=epochs{last}"))
    elif experiment.training.watches:
        uses.append(UseOfVal(f"training.weights=best is the best by {watched}", "set training.weights=last"))
    if influence_reference(experiment) == "val":
        instead = "set model.influence.reference=labeled"
        uses.append(UseOfVal(f"{sampler} measures influence on validation images", instead))
    if experiment.strategy.uses_held_out or Signal.ERROR_PROBABILITY in experiment.strategy.needs:
        uses.append(UseOfVal(f"{sampler} learns from validation images", "take another sampler"))
    return uses


def influence_reference(experiment: Experiment) -> str | None:
    """The images whose loss the sampler wants to lower; None for a sampler that does not ask for influence."""
    asked = experiment.strategy.needs & INFLUENCES
    return experiment.model.influences.reference if asked else None
