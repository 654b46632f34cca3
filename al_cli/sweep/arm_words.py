"""What the command line says of one arm, `arms.ARM.key=value`, and what it may not say of the arm `random`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from al_cli.errors import ConfigError, suggest
from al_cli.experiment import compose
from al_cli.experiment.words import in_a_line, key_of, open_keys
from al_cli.sweep.file import RANDOM, Arm, check_keys_of_arm, merge, words_to_dict

OF_ONE_ARM = "arms."


def of_one_arm(words: Iterable[str], names: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The overrides of single arms, by arm, and the other words as they are.

    `names`: the arms of the sweep. ConfigError for an arm that is not among them, or no setting of it.
    """
    said: dict[str, list[str]] = {}
    others = []
    for word in words:
        if not key_of(word).startswith(OF_ONE_ARM):
            others.append(word)
            continue
        inner = word.lstrip("+~").removeprefix(OF_ONE_ARM)
        plus = word[: len(word) - len(word.lstrip("+~"))]
        fitting = [name for name in names if inner.startswith(f"{name}.")]  # several where names hold dots
        name = max(fitting, key=len, default="")
        if not name:
            called = inner.partition("=")[0].partition(".")[0]
            if called in names:
                remedy = f"name a setting of it, as in arms.{called}.sampler=ccms"
                raise ConfigError(f"{in_a_line(word)} names no setting of the arm {called}", remedy=remedy)
            raise ConfigError(f"the sweep has no arm {called}", where=in_a_line(word), remedy=suggest(called, names))
        said.setdefault(name, []).append(plus + inner.removeprefix(f"{name}."))
    return said, others


def read_arm_words(
    said: Mapping[str, Sequence[str]], running: Sequence[Arm], several: str
) -> dict[str, tuple[str, ...]]:
    """The overrides of each arm in Hydra's grammar. ConfigError, which names the arm, for one that no arm can have, and for
    an arm that is not among those that run."""
    names = [arm.name for arm in running]
    read = {}
    for name, words in said.items():
        if name not in names:
            what = f"arms.{name}.{in_a_line(words[0])} would do nothing: arms=[...] leaves that arm out"
            raise ConfigError(what, remedy=f"leave it out, or add {name} to arms=[...]")
        check_keys_of_arm(name, words)
        try:
            [own] = compose.split_runs(open_keys(words), many=False, several=several)
        except ConfigError as error:
            raise error.of(f"arm {name}") from error
        read[name] = tuple(own)
    return read


def check_random(
    arms: Sequence[Arm], shared: Sequence[str], after: Sequence[str], own: Mapping[str, Sequence[str]]
) -> None:
    """ConfigError where an arm whose sampler is random would select by something else: it is what a study compares with.

    `shared`: overrides that stand before those of the arms. `after`: those of the command line for all arms; `own`: for one.
    """
    others = [arm.name for arm in arms if _sampler(shared, arm) != RANDOM]
    for arm in arms:
        if _sampler(shared, arm) != RANDOM:
            continue
        for word in (*after, *own.get(arm.name, ())):
            if _changes_random(word):
                first = others[0] if others else "ARM"
                remedy = (
                    f"set it for another arm (arms.{first}.{word.lstrip('+')}), leave {arm.name} out (arms=[{first},...]), "
                    "or change a copy of the sweep's file"
                )
                what = f"{in_a_line(word)} would reach the arm {arm.name}, which would not select at random any more"
                raise ConfigError(what, remedy=remedy)


def _sampler(shared: Sequence[str], arm: Arm) -> str | None:
    return words_to_dict(merge(shared, arm.overrides)).get("sampler")


def _changes_random(word: str) -> bool:
    """Whether the sampler random cannot stay what it is with this override."""
    key, value = key_of(word), word.partition("=")[2]
    if key in ("schedule", "ud_split"):
        return value != "null"
    return key.startswith("sampler.") or (key == "sampler" and value != RANDOM)
