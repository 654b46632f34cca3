"""`al replay`: train another model on the selections of a run, round by round.

The images come from the run's records, written to `picks.csv` in the new folder and imported from there
(`imported.py`), so the copy stands even if the run is deleted. Dataset, seeds and regime are the run's. A model that the words
name brings the training recipe it is shipped with; without one, model and training stay as they were.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from al_cli.errors import ConfigError, RunError
from al_cli.experiment import compose, imported
from al_cli.experiment.build import load_dataset
from al_cli.experiment.job import Job, make_job
from al_cli.experiment.known import known_from, recorded_config
from al_cli.experiment.names import check_path, name_with
from al_cli.experiment.words import key_of, open_keys
from al_cli.pasted import as_text, command
from al_cli.records import RunFolder
from al_cli.records.data import DataRecord
from al_cli.records.formats import csv_text
from al_cli.records.study import arm_of
from al_cli.samplers.catalog import IMPORTED
from al_cli.system import encoded, own_folder, read_regular, write_atomic

log = logging.getLogger("al")
FIXED = ("sampler", "rounds", "initial", "budget", "budget_unit", "ud_split", "schedule", "reference")
DRAWN = tuple(f"dataset.{key}" for key in ("val", "test", "split_seed", "group"))
REGIME = ("training.data", "training.init")  # what a round trains on: the run's, where no training recipe is named


@dataclass(frozen=True)
class Replay:
    """A checked replay of the run in `source`: its job, and the selections as a CSV."""

    job: Job
    picks: str
    source: Path
    typed: tuple[str, ...] = ()  # the keys that were given

    def check_data(self) -> None:
        """RunError where the dataset is not the one that the run's images were picked from."""
        now = DataRecord.of(load_dataset(self.job.config["dataset"]))
        drawn = [key for key in self.typed if key in DRAWN]
        held = f"leave out {' and '.join(drawn)}: the run has settled what is held out" if drawn else ""
        RunFolder(self.source).check_data(
            now, held or "restore the data, or say where a copy of it lies: dataset.root=DIR"
        )

    def write_picks(self) -> None:
        """Put the selections where the configuration says they are."""
        path = own_folder(self.job.folder) / "picks.csv"
        if not path.is_file() or read_regular(path) != encoded(self.picks):
            write_atomic(path, self.picks)


def plan_replay(run: Path, words: Sequence[str]) -> Replay:
    """The replay of `run` with these overrides. Writes nothing.

    RunError for a folder that has no active round yet or is a reference; ConfigError for an override of what the run has
    settled.
    """
    run = run.resolve()
    source, done = recorded_config(run), RunFolder(run)
    [words] = compose.split_runs(open_keys(words), many=False)
    typed = [key_of(word) for word in words]
    if fixed := [key for key in typed if key.split(".")[0] in FIXED]:
        raise ConfigError(
            f"a replay cannot change {fixed[0]}: the run has settled which images each round labels",
            where=str(run),
            remedy="leave it out, or start a new run with al run",
        )
    if "." in str(source["task"]) and "task" not in typed:  # a folder may name any code; a person must want it to run
        raise ConfigError(
            f"the run was judged by {source['task']}, which is no task of al",
            where=str(run),
            remedy="if you trust that code, name it yourself: " + command(f"task={as_text(str(source['task']))}"),
        )
    rounds = len(done.records()) - 1
    if source.get("reference"):
        remedy = "al run reference=true model=... trains another model on all labels"
        raise RunError("a reference selects nothing", where=str(run), remedy=remedy)
    if rounds < 1:
        over = source["rounds"] == 0 or done.state == "done"
        what = "it has no active round" if over else "no active round is done yet"
        remedy = "take a run that selects: rounds of 1 or more" if over else "run it first"
        raise RunError(f"{what}, so there is nothing to replay", where=str(run), remedy=remedy)
    if rounds + 1 < done.total_rounds:
        log.warning("%s has %d of %d rounds so far: those are replayed", run.name, rounds + 1, done.total_rounds)
    config = _config(source, words, typed, rounds)
    place = {key: str(compose.selected(config, key)) for key in ("outputs", "study") if key in typed}
    outputs, study = place.get("outputs", str(run.parent.parent)), place.get("study", f"{run.parent.name}_replay")
    arm = arm_of(run.name)
    said = [word for word in words if key_of(word).split(".")[0] != "stop"]  # as of runs, whatever they stop at
    name = str(config.run_name or name_with(_without(arm, said), said, config.seed))
    path = Path(check_path(outputs, "outputs")).expanduser() / study / name / "picks.csv"
    config.outputs, config.study = outputs, study
    config.sampler = {"name": IMPORTED, "file": str(path.absolute()), "stages": []}
    picks = _picks(done, rounds, source["training"]["data"], config.training.data)
    job = make_job(
        config, name, typed=typed, arm=arm_of(name), picks=imported.parse_picks(picks, path), known=known_from(words)
    )
    return Replay(job, picks, run, tuple(typed))


def _without(arm: str, words: Sequence[str]) -> str:
    """The name of the replayed arm without the settings that these words give new values."""
    keys = [re.sub(r"[^A-Za-z0-9.+]+", "-", key_of(word).split(".")[-1]) for word in words]
    parts = [
        part for part in arm.split("_") if not any(re.fullmatch(rf"{re.escape(key)}-?[\d.e+-]+", part) for key in keys)
    ]
    return "_".join(parts)


def _config(source: dict[str, Any], words: Sequence[str], typed: Sequence[str], rounds: int) -> DictConfig:
    """The defaults with the run's dataset, seeds, model and training in place of theirs, and then the words."""
    model = source["model"]["name"]
    choices = [f"dataset={source['dataset']['format']}"]
    if "model" not in typed and model in compose.group_choices("model"):
        choices.append(f"model={model}")
    [config] = compose.compose_all([[*choices, "study=replay", "run_name=null", *words]])
    OmegaConf.set_struct(config, False)
    kept = ["seed", "seeds", "task", "evaluate", *(group for group in ("dataset", "model") if group not in typed)]
    if "model" not in typed and "training" not in typed:
        kept.append("training")
    elif "training" not in typed:
        kept += REGIME
    said = {key: compose.selected(config, key) for key in typed if key not in ("model", "training", "dataset")}
    for key in kept:
        OmegaConf.update(config, key, OmegaConf.select(OmegaConf.create(source), key), merge=False)
    for key, value in said.items():
        OmegaConf.update(config, key, value)
    if rounds < source["rounds"] and config.training.iterations_per == "run" and config.training == source["training"]:
        config.training.iterations //= source["rounds"] + 1  # each training stays as long as it was
        config.training.iterations_per = "round"
    config.rounds, config.initial, config.budget, config.budget_unit, config.ud_split = (
        rounds,
        None,
        None,
        "images",
        None,
    )
    return config


def _picks(run: RunFolder, rounds: int, was: str, data: str) -> str:
    """The images of each round as a CSV: those it labeled, or its whole training set where each round selects one."""
    if data == "reselect" and was != "reselect":
        raise ConfigError(
            f"training.data={was} in this run has not selected a training set in each round",
            where=str(run.path),
            remedy="replay it with training.data=cumulative or new",
        )
    rows: list[tuple[int, int, str]] = []
    for record in run.records()[: rounds + 1]:
        names = {candidate.image_id: candidate.image for candidate in run.candidates(record.round)}
        ids = run.trained_on(record.round) if data == "reselect" and record.round else record.picked
        if not ids:
            raise RunError(
                f"round {record.round} labeled no image that was not labeled before, so it cannot be replayed alone",
                where=str(run.path),
                remedy="replay it with training.data=reselect",
            )
        if unknown := next((i for i in ids if i not in names), None):
            what = f"candidates.csv of round {record.round} does not name image {unknown}, which the round labeled"
            raise RunError(what, where=str(run.path), remedy="`al verify` on this run says what else does not match")
        rows += [(record.round, i, names[i]) for i in ids]
    return csv_text(("round", "image_id", "image"), rows)
