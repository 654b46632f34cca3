"""What the settings of a run come out as: how long it trains and how the rate falls, what it sees, how much it labels.

`effective` is what docs/documents.yaml is compared with, and what a dry run says in words. Reads no data: how many images
the pool has is all it needs to know.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from al_cli import budget
from al_cli.datasets.held_out import HeldOut
from al_cli.experiment.sampling import imports
from al_cli.experiment.settings import Experiment
from al_cli.progress import listing

if TYPE_CHECKING:
    from al_cli.learners.pytorch.course import Course


def effective(experiment: Experiment, pool: int) -> dict[str, Any]:
    """The effective settings of a run whose data has `pool` images to label.

    A value that differs between rounds is a list of them, the initial training first. Keys of the training are missing for
    the fake learner, those of each round where the pool's size does not determine it (a budget in boxes, imported picks).
    """
    found: dict[str, Any] = {"trainings": experiment.rounds}
    images = _images(experiment, pool)
    if images is not None:
        found |= {"round_sizes": images[0], "labeled_at_end": sum(images[0])}
    recipe = experiment.kind.recipe(experiment.model, experiment.training)
    if recipe is None:
        return found
    found |= recipe.settings()
    if images is not None:
        trainings = recipe.courses(images[1], experiment.iterations)
        found |= _over_run(trainings) if experiment.training.init == "join" else _over_rounds(trainings)
    return found


def expected_pool(dataset: Mapping[str, Any], images: int) -> int:
    """How many images there are to label where the data has so many: this `dataset` of a configuration may hold shares of
    them out, and repeat the others."""
    return HeldOut.of(dataset).expected(images) * (dataset.get("repeat") or 1)


def _images(experiment: Experiment, pool: int) -> tuple[list[int], list[int]] | None:
    """Images that each round labels, as `build.plan_rounds` has them, and those of its training, as `loop.Plan.trains_on`."""
    config = experiment.config
    if config["budget_unit"] != "images" or imports(config):
        return None
    sizes = budget.images_per_round(pool, config["initial"], config["budget"], config["rounds"])
    validating = math.ceil(HeldOut.of(config["dataset"]).initial * sizes[0])
    if experiment.reference:
        return [pool], [pool - validating]
    if experiment.training.data == "new":
        return sizes, [sizes[0] - validating, *sizes[1:]]
    return sizes, [sum(sizes[: round + 1]) - validating for round in range(len(sizes))]


def _over_rounds(trainings: Sequence[Course]) -> dict[str, Any]:
    """Lengths and milestones of all trainings; one value where they are the same but for whole steps."""
    falls = [[round(step / one.epoch, 2) for step, _ in one.falls] for one in trainings]
    last = falls[-1]
    alike = all(
        len(own) == len(last) and all(abs(a - b) <= 1 / one.epoch + 0.01 for a, b in zip(own, last, strict=True))
        for own, one in zip(falls, trainings, strict=True)
    )
    gammas = {round(factor, 6) for one in trainings for _, factor in one.falls}
    shares = [round(one.peak / one.iterations, 3) for one in trainings]
    same_share = all(abs(s - shares[-1]) <= 1 / one.iterations for s, one in zip(shares, trainings, strict=True))
    return {
        "iterations": _same([one.iterations for one in trainings]),
        "epochs": _same([round(one.epochs, 2) for one in trainings]),
        "milestones_epochs": last if alike else falls,
        "milestones_iterations": _same([[step for step, _ in one.falls] for one in trainings]),
        "gamma": gammas.pop() if len(gammas) == 1 else None,
        "warmup_share": shares[-1] if same_share else shares,
    }


def _over_run(stretches: Sequence[Course]) -> dict[str, Any]:
    """The same of a training that goes on over all rounds: milestones and warm-up are those of the whole."""
    found = _over_rounds(stretches)
    epochs = [0.0, *itertools.accumulate(one.epochs for one in stretches)]  # before each stretch, and in all
    steps = [0, *itertools.accumulate(one.iterations for one in stretches)]
    top = max(range(len(stretches)), key=lambda number: stretches[number].highest)
    found["milestones_epochs"] = [
        round(begun + step / one.epoch, 2)
        for begun, one in zip(epochs[:-1], stretches, strict=True)
        for step, _ in one.falls
    ]
    found["milestones_iterations"] = [
        begun + step for begun, one in zip(steps[:-1], stretches, strict=True) for step, _ in one.falls
    ]
    found["warmup_share"] = round((epochs[top] + stretches[top].peak / stretches[top].epoch) / epochs[-1], 3)
    return found


def _same(values: list[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else values


def training_in_words(experiment: Experiment, pool: int) -> str:
    """`12 epochs, 8 images a step, rate 0.01, ...`: each training of this run. Empty for the fake learner, and where the size
    of the pool does not say how long they are."""
    found, training = effective(experiment, pool), experiment.training
    if "iterations" not in found:
        return ""
    if training.counts_epochs:
        most = "at most " if training.duration == "early_stop" else ""
        length, milestones = f"{most}{found['epochs']:g} epochs", found["milestones_epochs"]
    else:
        length, milestones = f"{found['iterations']:,} steps", found["milestones_iterations"]
    if training.init == "join":
        length += " a round of one training over all rounds"
    lr = "a rate that each round finds" if found["lr"] is None else f"rate {found['lr']:g}"
    if milestones:
        how = "tenfold" if found["gamma"] == 0.1 else "stepwise"
        unit = "epochs" if training.counts_epochs else "steps"
        lr += f", which falls {how} after {listing([f'{place:,.6g}' for place in milestones], most=len(milestones))} {unit}"
    elif training.schedule == "one_cycle":
        lr = f"{lr} at the most, in one cycle"
    elif not found["warmup_share"]:
        lr += " throughout"
    size = found["image_size_train"]
    if size is None:
        images = "images as they are"
    elif experiment.task.label == "image":
        images = f"images of {size[0]} x {size[1]} px"
    else:
        sides = size[0] if isinstance(size[0], list) else [size[0]]
        images = f"shorter side of images {' to '.join(f'{side}' for side in dict.fromkeys((sides[0], sides[-1])))} px"
    boxes = f"; boxes from score {found['score_threshold']:g}" if "score_threshold" in found else ""
    best = ", the best epoch's weights" if found.get("weights_kept") == "best" else ""
    return f"{length}, {found['batch_size']} images a step, {lr}{best}; {images}{boxes}"
