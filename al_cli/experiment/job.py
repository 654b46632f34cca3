"""A job: one run that was asked for. Words become jobs once, and everything after that takes the job.

[job] = jobs_of(["sampler=ccms", "seed=1"])
job.folder        outputs/digits/ccms_s1
job.experiment    its configuration, checked
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from al_cli.errors import AlError, ConfigError
from al_cli.experiment import compose, settings
from al_cli.experiment.imported import Imported
from al_cli.experiment.known import known_from
from al_cli.experiment.names import check_name, check_path, run_name
from al_cli.experiment.words import key_of, open_keys
from al_cli.lookup import NOBODY, Known
from al_cli.records.settings import FAR, flatten
from al_cli.records.study import arm_of


@dataclass(frozen=True)
class Job:
    """One run: where it lies and what it is, checked. `arm` is what a study calls it; runs of an arm differ in their seed."""

    folder: Path
    experiment: settings.Experiment
    arm: str = ""

    @property
    def config(self) -> dict[str, Any]:
        """The whole configuration as plain values."""
        return self.experiment.config

    @property
    def seed(self) -> int:
        return self.config["seed"]

    @property
    def rounds(self) -> int:
        """Trainings of this run, the initial one included; a reference trains once."""
        return self.experiment.rounds

    @property
    def name(self) -> str:
        """What lines about this run call it: its folder's name."""
        return self.folder.name


def make_job(
    config: DictConfig,
    name: str,
    *,
    typed: Iterable[str] = (),
    arm: str = "",
    picks: Imported | None = None,
    known: Known = NOBODY,
) -> Job:
    """The job of a composed configuration, whose folder is called `name`. `known`: whose functions it may name. ConfigError
    for what cannot work."""
    config.run_name = name
    experiment = settings.check(config, frozenset(typed), picks, known)
    return Job(folder_of(experiment.config), experiment, arm)


def folder_of(config: Mapping[str, Any]) -> Path:
    """OUTPUTS/STUDY/RUN of a configuration. ConfigError where that would be no folder, or outside the folder of outputs."""
    outputs = Path(check_path(config["outputs"], "outputs")).expanduser()
    if outputs.is_file():
        raise ConfigError("outputs is a file", where=f"outputs={config['outputs']}", remedy="name a folder")
    return outputs / check_name(config["study"], "study") / check_name(config["run_name"], "run_name")


def jobs_of(words: Sequence[str], many: bool = False) -> list[Job]:
    """The jobs that these overrides ask for; several with `many`, one for each combination of the values they name.

    ConfigError for the first that cannot work, and for two that would share a folder.
    """
    runs = compose.split_runs(open_keys(words), many)
    jobs: list[Job] = []
    known = known_from(words)
    for number, (said, config) in enumerate(zip(runs, compose.compose_all(runs), strict=True), 1):
        try:
            name = run_name(compose.resolved(config), said)
            job = make_job(config, name, typed=map(key_of, said), arm=arm_of(name), known=known)
        except AlError as error:
            if len(runs) == 1:
                raise
            raise error.of(f"run {number} of {len(runs)}") from error
        jobs.append(job)
    settings.require_readers([job.experiment for job in jobs], sorted({key_of(word) for said in runs for word in said}))
    require_own_folders(jobs)
    return jobs


def require_own_folders(jobs: Sequence[Job]) -> None:
    """ConfigError where two jobs of one command would write into one folder."""
    first: dict[Path, int] = {}
    for number, job in enumerate(jobs, 1):
        if job.folder in first:
            earlier = first[job.folder]
            what = f"runs {earlier} and {number} of this command would share the folder {job.folder}"
            before, now = (flatten(jobs[n - 1].experiment.recorded) for n in (earlier, number))
            differ = ", ".join(key for key in now if key in FAR and before.get(key) != now[key])
            remedy = (
                f"a run that goes further is the same run: type {differ} of the longest alone, or a study=NAME for each"
            )
            raise ConfigError(what, remedy=remedy if differ else "leave out the repeated value")
        first[job.folder] = number
