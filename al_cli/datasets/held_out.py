"""Held-out data: the images that no model trains on. One design for every format; knows neither YOLO nor COCO.

    dataset.val, dataset.test   null                the data's own split of that name
                                20%                 a share of the whole pool, the same for all seeds of a study
                                2000 images         exactly so many images of the whole pool
                                20% of initial      a part of the initial labels (val alone; `loop.opening` draws it)
    dataset.test                none                there is no test split: rounds are scored on val (evaluate=val)
    dataset.split_seed          0, 1, ...           another draw of the shares
    dataset.group               null                each image is drawn by its name
                                folder              images of one folder stay together
                                a regular expression: images in whose names it matches the same text stay together

Each image, or group, has a place in [0, 1): a hash of the split, the seed and its name. It is drawn where its place lies below
the share. So another label, id or format, or one image more or less, leaves every other image where it was, and the test
split of 20% is a part of that of 30%. The price: a share is met on average. 20% of 1000 images are 200, give or take 13. A
count is met exactly, by the lowest places. Images with equal bytes are drawn as one, by the first of their names. Test is
drawn first; both leave the pool.

Where neither is asked for, a single held-out split of the data is the test split, whatever its name: evaluation images never
steer training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from al_cli.datasets.groups import check_group
from al_cli.errors import ConfigError, DatasetError
from al_cli.types import Dataset, Splits

SHARE_AS_TYPED = re.compile(r"(\d+(?:\.\d+)?)%( of initial)?")
COUNT_AS_TYPED = re.compile(r"(\d{1,12}) images?")
NO_TEST = "none"
WAYS = "give a share of the pool as 20%, a count as '2000 images', or null for the data's own split"


@dataclass(frozen=True)
class HeldOut:
    """What is asked for. `val`, `test`: shares of the pool in (0, 1) or counts of its images, None for the data's own split;
    `initial`: the share of the initial labels that validates instead, 0 for none; `no_test`: nothing but val is held out."""

    val: float | int | None = None
    test: float | int | None = None
    initial: float = 0.0
    split_seed: int = 0
    group: str | None = None
    no_test: bool = False

    @classmethod
    def of(cls, dataset: Mapping[str, Any]) -> HeldOut:
        """The settings of a configuration's `dataset`; what it lacks is as if null. ConfigError for what cannot be meant."""
        if "holdout" in dataset:
            raise retired(dataset["holdout"])
        placed = "train" in dataset  # a format whose splits are placed by settings: theirs are the data's own
        no_test = dataset.get("test") == NO_TEST
        asked = {"val": dataset.get("val"), "test": None if no_test else dataset.get("test")}
        (val, initial), (test, labeled) = (_share(value, name, placed) for name, value in asked.items())
        if labeled:
            raise ConfigError(
                "the test split cannot be a part of the initial labels: each seed has others, and no two runs would be "
                "scored on the same images",
                where=f"dataset.test={dataset['test']}",
                remedy=f"write dataset.test={_percent(labeled)}, a share of the pool",
            )
        if sum(share for share in (val, test) if isinstance(share, float)) >= 1:
            raise ConfigError(
                "the held-out shares leave no pool",
                where=f"dataset.val={dataset['val']} dataset.test={dataset['test']}",
                remedy="give shares that are below 100% together",
            )
        seed, group = dataset.get("split_seed", 0), dataset.get("group")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ConfigError(f"dataset.split_seed is {seed!r}", remedy="give a whole number of at least 0")
        check_group(group)
        if no_test and initial:
            raise ConfigError(
                "rounds cannot be scored on a part of the initial labels: each seed has others",
                where=f"dataset.val={dataset['val']} dataset.test=none",
                remedy="write dataset.val=20%, a share of the pool",
            )
        wanted = cls(val, test, initial, seed, group, no_test)
        wanted._check_use(repeated=dataset.get("repeat") is not None)
        return wanted

    def _check_use(self, repeated: bool) -> None:
        """ConfigError for a setting that would do nothing, or not what it says."""
        if self.group is not None and self.initial:
            raise ConfigError(
                "the initial images are drawn one by one, so a group would be divided",
                where=f"dataset.group={self.group}",
                remedy=f"write dataset.val={_percent(self.initial)}, a share of the pool, or dataset.group=null",
            )
        if self.val is None and self.test is None:
            for key, value, default in (("split_seed", self.split_seed, 0), ("group", self.group, None)):
                if value != default and not (repeated and key == "split_seed"):  # it also decides how copies are turned
                    raise ConfigError(
                        f"dataset.{key}={value} would do nothing: no share of the pool is held out",
                        remedy="leave it out, or add dataset.test=20% or dataset.val=20%",
                    )

    @property
    def shares(self) -> str:
        """The shares of the pool as they are typed."""
        both = (("val", self.val), ("test", self.test))
        return " ".join(f"dataset.{name}={_typed(share)}" for name, share in both if share is not None)

    def expected(self, images: int) -> int:
        """How many of so many images are left in the pool, on average."""
        return images - sum(
            share if isinstance(share, int) else round(images * share) for share in (self.val, self.test) if share
        )


def retired(value: Any) -> ConfigError:
    """The error for dataset.holdout, which has become dataset.val."""
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = 0.2
    now = f"dataset.val='{_percent(share)} of initial'" if 0 < share < 1 else "dataset.val='20% of initial'"
    remedy = f"write {now}" + (", or leave it out" if share == 0 else "")
    return ConfigError("dataset.holdout is a part of dataset.val now", where=f"dataset.holdout={value}", remedy=remedy)


def spelled_now(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded `dataset` of any version in today's settings."""
    now = {"val": None, "test": None, "split_seed": 0, "group": None, "repeat": None, **dataset}
    share = now.pop("holdout", 0)
    if isinstance(share, int | float) and share:
        now["val"] = f"{_percent(share)} of initial"
    return now


def scored_split(splits: Splits, evaluate: str) -> Dataset:
    """The split that rounds are scored on: what the setting `evaluate` names. DatasetError for a val that is not there."""
    if evaluate == "test" and len(splits.test):
        return splits.test
    if evaluate == "test":
        remedy = "add evaluate=val, or leave dataset.test=none out"
        raise DatasetError("there is no test split to score rounds on", where="dataset.test=none", remedy=remedy)
    if splits.val is None:
        raise DatasetError(
            "there is no val split to score rounds on: the data's only held-out split is the test split",
            where="evaluate=val",
            remedy="add dataset.val=20% to hold out a share of the pool, or set evaluate=test",
        )
    return splits.val


def _typed(share: float | int) -> str:
    return f"'{share} images'" if isinstance(share, int) else _percent(share)


def _percent(share: float) -> str:
    return f"{100 * share:.12g}%"


def _share(value: Any, name: str, placed: bool) -> tuple[float | int | None, float]:
    """(share or count of the pool, share of the initial labels) of dataset.val or dataset.test."""
    if value is None or (placed and isinstance(value, Mapping)):
        return None, 0.0
    key, ways = (
        f"dataset.{name}",
        WAYS + (", or as '20% of initial' for a part of the initial labels" if name == "val" else ""),
    )
    if isinstance(value, Mapping):
        raise ConfigError(f"{key} is {value!r}", remedy=f"this data itself says where its splits are; {ways}")
    text = str(value).strip()
    if (count := COUNT_AS_TYPED.fullmatch(text)) and int(count[1]):
        return int(count[1]), 0.0
    if match := SHARE_AS_TYPED.fullmatch(text):
        share = float(match[1]) / 100
        if not 0 < share < 1:
            raise ConfigError(f"{key} is {text!r}", remedy="give a share above 0% and below 100%")
        return (None, share) if match[2] else (share, 0.0)
    if name == "test":
        ways += f", or {NO_TEST} where rounds are scored on val"
    try:
        number = 0.0 if isinstance(value, bool) else float(text)
    except ValueError:
        number = 0.0
    if 0 < number < 1:
        ways = f"write {key}={_percent(number)}, a share of the pool"
    elif 1 <= number < 100:
        ways = f"write {key}={number:g}% for that share of the pool, or '{key}={number:g} images' for so many"
    raise ConfigError(f"{key} is {value!r}", remedy=ways)
