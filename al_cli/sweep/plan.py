"""From a sweep and the words of the command line to jobs, before anything is trained or written."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from al_cli.errors import AlError, ConfigError, NotGiven, suggest
from al_cli.experiment import compose
from al_cli.experiment.job import Job, make_job
from al_cli.experiment.known import known_from
from al_cli.experiment.words import in_a_line, key_of, literal, open_keys
from al_cli.lookup import Known
from al_cli.pasted import command, path_word
from al_cli.progress import phase
from al_cli.sweep.arm_words import check_random, of_one_arm, read_arm_words
from al_cli.sweep.file import REFERENCE, Arm, Sweep, check_claim, check_distinct, check_seeds, merge

OWN = ("seeds", "arms", REFERENCE)  # what the command line says to the sweep itself, not to its runs
SEVERAL_OF_SWEEP = "a sweep's arms are in its file; a list is written in brackets: 'seeds=[0,1]'"
REFUSED = {"seed": "write seeds=[...] for the seeds of a sweep", "run_name": "a sweep names its runs: <arm>_s<seed>"}


@dataclass(frozen=True)
class Study:
    """What one command asks for. `arms` have all overrides of their runs but the seed, those of the command line included;
    `all_arms` are those of the file with the same words, also where the command runs some of them."""

    sweep: Sweep
    name: str
    folder: Path
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    reference: bool
    jobs: tuple[Job, ...]
    command: str
    all_arms: tuple[Arm, ...]
    known: Known


class Asked(NamedTuple):
    """What the words ask of a sweep, nothing composed yet. `runs` are the arms and behind them the reference, if there is
    one; each has all overrides of its runs but the seed."""

    arms: tuple[Arm, ...]
    runs: tuple[Arm, ...]
    seeds: tuple[int, ...]
    known: Known
    all_arms: tuple[Arm, ...]  # of the file, with the same words

    @property
    def reference(self) -> bool:
        return len(self.runs) > len(self.arms)


def plan_study(sweep: Sweep, words: Sequence[str]) -> Study:
    """The checked runs of a sweep: arm by arm, the seeds of an arm one after the other, the reference last.

    So runs that share trainings, the arms of a seed, are apart, and two processes at once seldom wait for one another.
    `words` are those of `asked_of`. ConfigError for the first run that cannot work.
    """
    asked = asked_of(sweep, words)
    jobs: list[Job] = []
    with phase("check the sweep", total=len(asked.runs), unit="arms") as step:
        for arm in asked.runs:
            jobs += jobs_of_arm(arm, asked.seeds, asked.known)
            step()
    if sweep.claim is not None:  # words may have named another dataset or task
        check_claim(sweep.claim, jobs[0].experiment.task)
    folder = jobs[0].folder.parent
    line = command("al", "sweep", path_word(sweep.typed), *words)
    return Study(
        sweep,
        folder.name,
        folder,
        asked.arms,
        asked.seeds,
        asked.reference,
        tuple(jobs),
        line,
        asked.all_arms,
        asked.known,
    )


def asked_of(sweep: Sweep, words: Sequence[str]) -> Asked:
    """The arms and seeds that run. `words` are overrides for all runs, `arms.NAME.key=value` for those of one arm, and
    `seeds=[0,1]`, `arms=[a,b]` (some of the arms), `reference=true|false`. ConfigError for what the words alone get wrong."""
    said, others = of_one_arm(words, [arm.name for arm in sweep.arms])
    own, rest = _split(others)
    arms, seeds, reference = _choose(sweep, own)
    changed = read_arm_words(said, arms, SEVERAL_OF_SWEEP)
    shared = merge([f"study={literal(sweep.name)}"], sweep.base)
    check_random(arms, shared, rest, changed)
    every = tuple(Arm(arm.name, merge(shared, arm.overrides, rest, changed.get(arm.name, ()))) for arm in sweep.arms)
    whole = tuple(arm for arm in every if arm.name in [chosen.name for chosen in arms])
    check_distinct(whole, [word for word in words if key_of(word) not in OWN])
    runs = whole
    if reference:
        runs = (*whole, Arm(REFERENCE, merge(shared, ["sampler=random"], rest, [f"{REFERENCE}=true"])))
    if (count := len(runs) * len(seeds)) > compose.MAX_RUNS:
        what = f"{len(runs)} arms with {len(seeds)} seeds are {count:,} runs"
        remedy = f"one command makes at most {compose.MAX_RUNS:,}: a study can be run in parts, with arms=[...] or seeds=[...]"
        raise ConfigError(what, remedy=remedy)
    return Asked(whole, runs, seeds, known_from([*others, *itertools.chain(*changed.values())]), every)


def _split(words: Sequence[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is said to the sweep itself, by key, and the overrides of its runs."""
    for word in words:
        if (key := key_of(word)) in REFUSED:
            raise ConfigError(f"{key} cannot be set for a whole sweep", where=in_a_line(word), remedy=REFUSED[key])
    [said] = compose.split_runs(open_keys(words), many=False, several=SEVERAL_OF_SWEEP)
    own = compose.values_of([word for word in said if key_of(word) in OWN])
    return own, tuple(word for word in said if key_of(word) not in OWN)


def _choose(sweep: Sweep, own: dict[str, Any]) -> tuple[tuple[Arm, ...], tuple[int, ...], bool]:
    """Arms, seeds and whether there is a reference: the file's, or what the command line says instead."""
    seeds = check_seeds(own["seeds"], "seeds") if "seeds" in own else sweep.seeds
    reference = own.get(REFERENCE, sweep.reference)
    if not isinstance(reference, bool):
        raise ConfigError(f"reference is {reference!r}", remedy="give true or false")
    if "arms" not in own:
        return sweep.arms, seeds, reference
    names = [str(name) for name in (own["arms"] if isinstance(own["arms"], list) else [own["arms"]])]
    known = [arm.name for arm in sweep.arms]
    for name in names:
        if name not in known:
            raise ConfigError(
                f"the sweep has no arm {in_a_line(name)}", where="arms=[...]", remedy=suggest(name, known)
            )
    if not names:
        raise ConfigError("arms=[] leaves nothing to run", remedy=f"its arms: {', '.join(known)}")
    return tuple(arm for arm in sweep.arms if arm.name in names), seeds, reference


def jobs_of_arm(arm: Arm, seeds: tuple[int, ...], known: Known) -> list[Job]:
    """The runs of one arm. Composed once: they differ in their seed and name alone."""
    try:
        [config] = compose.compose_all([[*open_keys(arm.overrides), f"seed={seeds[0]}"]])
        jobs = []
        for seed in seeds:
            one = copy.deepcopy(config)
            one.seed = seed
            jobs.append(make_job(one, f"{arm.name}_s{seed}", arm=arm.name, known=known))
    except NotGiven:  # of all arms alike: the data is the user's
        raise
    except AlError as error:
        raise error.of(f"arm {arm.name}") from error
    return jobs
