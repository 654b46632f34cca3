"""What a configuration says of its sampler, checked: stages and what they need, UD-splits, selections made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from al_cli.datasets.held_out import HeldOut
from al_cli.errors import AlError, ConfigError, first_line, written
from al_cli.experiment import imported
from al_cli.experiment.names import check_path
from al_cli.learners.training_spec import TrainingSpec
from al_cli.lookup import NOBODY, Known
from al_cli.samplers.catalog import IMPORTED, read_stage
from al_cli.samplers.select_random import random
from al_cli.strategy import Stage, Strategy
from al_cli.types import INFLUENCES, MEASURED_AGAINST_LABELS, LabelKind, Signal

DEFAULT_UD = 0.5  # the thesis' constant half-and-half split, where nobody says otherwise
UNASKED = Strategy([Stage(random)])  # of runs whose images are settled: references and imported selections


def check_stages(stages: Any) -> None:
    """ConfigError unless a sampler's stages are a list of mappings."""
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        what = f"sampler.stages is {written(stages)[:100]}, which is no list of stages"
        raise ConfigError(what, remedy="leave it out, or write the stages as the files in conf/sampler do")


def strategy_of(plain: Mapping[str, Any], known: Known = NOBODY) -> Strategy:
    """The strategy that this configuration asks; UNASKED where its images are settled."""
    return UNASKED if imports(plain) or plain["reference"] else build_strategy(plain["sampler"], known)


def build_strategy(sampler: Mapping[str, Any], known: Known = NOBODY) -> Strategy:
    """The strategy of a sampler's stages. ConfigError, with its number, for a stage that cannot be built."""
    stages = []
    for number, stage in enumerate(sampler["stages"], 1):
        try:
            stages.append(Stage(**read_stage(stage, known)))
        except (AlError, TypeError, ValueError) as error:  # TypeError: a field that a stage does not have
            why = first_line(error)
            raise ConfigError(f"stage {number} cannot be built: {why}", where=f"sampler={sampler['name']}") from error
    return Strategy(stages)


def check_meaning(strategy: Strategy, name: str, label: LabelKind) -> None:
    """ConfigError for a sampler that has no meaning where labels are of this kind."""
    for stage in strategy.stages:
        for function, boxes in stage.boxes.items():
            if boxes is not (label == "objects"):
                has = "boxes in its images" if label == "objects" else "a class for each image"
                wants = "boxes" if boxes else "one class for each image"
                whose = f"sampler {name}" if function == name else f"{function} of sampler {name}"
                raise ConfigError(
                    f"{whose} needs {wants}, and this data has {has}",
                    where=f"sampler={name}",
                    remedy="take another sampler: `al samplers` lists which run on what",
                )


def imports(plain: Mapping[str, Any]) -> bool:
    """Whether the images of each round come from a file."""
    return plain["sampler"]["name"] == IMPORTED and not plain["reference"]


def read_imported(plain: Mapping[str, Any], picks: imported.Imported | None) -> imported.Imported:
    """The rows of `sampler.file`, unless they are at hand. ConfigError where they do not fit the rounds."""
    if plain["budget_unit"] == "boxes":
        remedy = "leave budget_unit out: the file decides"
        raise ConfigError("imported selections have their own sizes", where="budget_unit=boxes", remedy=remedy)
    rows = picks or imported.read_picks(Path(check_path(plain["sampler"]["file"], "sampler.file")).expanduser())
    rows.check_rounds(plain["rounds"])
    return rows


def check_ud(value: Any, rounds: int, first: bool, strategy: Strategy, name: str) -> list[float | None]:
    """One UD-split per selection: of each active round, and of round 0 where the starting weights choose `first`.

    ConfigError for a wrong length, a value outside [0, 1], or a sampler without a split.
    """
    selections = rounds + first
    if not strategy.uses_ud:
        if value is not None:
            raise ConfigError(
                f"sampler {name} has no ud stage, so ud_split={_typed(value)} would do nothing",
                remedy="leave ud_split out, or take sampler=ccms",
            )
        return [None] * selections
    if value is None:
        value = DEFAULT_UD
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value] * selections
    if len(values) != selections:
        raise ConfigError(
            f"ud_split has {len(values)} values for {rounds} active rounds" + (" and round 0" if first else ""),
            where=f"ud_split={_typed(value)}",
            remedy=f"give {selections} values, or one for all rounds, or set rounds={len(values) - first}",
        )
    for v in values:
        if isinstance(v, bool) or not isinstance(v, int | float) or not 0 <= v <= 1:
            raise ConfigError(
                f"ud_split has the value {v!r}",
                where=f"ud_split={_typed(value)}",
                remedy="each value lies between 0 (diversity) and 1 (uncertainty)",
            )
    return [float(v) for v in values]


def _typed(value: Any) -> str:
    """A list as it is typed in a shell, without blanks."""
    return str(value).replace(" ", "")


def chooses_first(plain: Mapping[str, Any]) -> bool:
    """Whether nothing is labeled before the first selection, so that the starting weights make it (Lund, algorithm 1)."""
    return not plain["reference"] and plain["initial"] == 0


def check_first(strategy: Strategy, plain: Mapping[str, Any]) -> None:
    """ConfigError where the starting weights are to choose round 0, and could not."""
    if not chooses_first(plain):
        return
    name, another = f"sampler {plain['sampler']['name']}", "take another sampler, or give initial a count of at least 1"
    if imports(plain):
        raise ConfigError("the file decides what round 0 labels", where="initial=0", remedy="leave initial out")
    if HeldOut.of(plain["dataset"]).initial:
        what = f"there are no initial images, so none of them can validate: dataset.val={plain['dataset']['val']}"
        raise ConfigError(what, where="initial=0", remedy="hold out a share of the pool: dataset.val=20%")
    if any(stage.labeled is not None for stage in strategy.stages):
        what = f"{name} compares with the labeled images, and nothing is labeled before the first selection"
        raise ConfigError(what, where="initial=0", remedy=another)
    if Signal.PREDICTED_LOSS in strategy.needs:
        what = f"{name} asks a module that learns with the model, and nothing is trained before the first selection"
        raise ConfigError(what, where="initial=0", remedy=another)
    if strategy.needs & (MEASURED_AGAINST_LABELS - INFLUENCES):
        what = f"{name} fine-tunes the model's own head, and nothing is trained before the first selection"
        raise ConfigError(what, where="initial=0", remedy=another)
    if strategy.needs & INFLUENCES:
        what = f"{name} measures influence with the labeled images, and nothing is labeled before the first selection"
        raise ConfigError(what, where="initial=0", remedy=another)


def check_reselect(training: TrainingSpec, strategy: Strategy, plain: Mapping[str, Any]) -> None:
    """ConfigError where selecting the whole training set in each round has no meaning."""
    if training.data != "reselect":
        return
    if plain["budget_unit"] == "boxes":
        raise ConfigError(
            "training.data=reselect works with budgets in images only: a budget in boxes would count boxes that are already "
            "labeled",
            where="training.data=reselect budget_unit=boxes",
            remedy="set budget_unit=images",
        )
    own_head = Signal.POOL_PROBABILITY in strategy.needs
    if own_head or any(stage.labeled is not None for stage in strategy.stages):
        raise ConfigError(
            f"sampler {plain['sampler']['name']} compares candidates with the labeled images, which are candidates "
            "themselves where each round selects its whole training set",
            where="training.data=reselect",
            remedy="take another sampler, or training.data=cumulative",
        )
