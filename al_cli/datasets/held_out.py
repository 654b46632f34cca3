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

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from al_cli.datasets.groups import check_group, group_keys
from al_cli.errors import ConfigError, DatasetError
from al_cli.types import Dataset, OwnSplits, Splits

SHARE_AS_TYPED = re.compile(r"(\d+(?:\.\d+)?)%( of initial)?")
COUNT_AS_TYPED = re.compile(r"(\d{1,12}) images?")
NO_TEST = "none"
WAYS = "give a share of the pool as 20%, a count as '2000 images', or null for the data's own split"
SEEDS_TRIED = 100  # where a draw leaves a split empty, to name one that does not


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


def apply(own: OwnSplits, wanted: HeldOut) -> Splits:
    """The splits that a run uses: the data's own, or drawn from its pool. Ids stay what they are. With `no_test` the test
    split has no image.

    DatasetError where there is nothing to evaluate on, where a split of the data would go unused, and where a draw would
    leave the pool, val or test without an image or without an object.
    """
    val, test = own.val, own.test
    if wanted.no_test:
        if test is not None:
            raise DatasetError(
                f"the data has a test split of its own, {len(test)} images, which would go unused",
                where=f"{own.name}, dataset.test=none",
                remedy="leave dataset.test out, or take it out of the data's list of splits",
            )
        if val is None and wanted.val is None:
            raise DatasetError(
                "there is no held-out split: every round is scored on images that are never trained on",
                where=f"{own.name}, dataset.test=none",
                remedy="add dataset.val=20% to hold out a share of the pool, or give the data a val split",
            )
        test = own.train.select([])
    elif test is None and wanted.test is None:
        if val is None:
            raise DatasetError(
                "there is no held-out split: every round is evaluated on images that are never trained on",
                where=own.name,
                remedy="add dataset.test=20% to hold out a share of the pool, or give the data a test split",
            )
        val, test = None, val
    asked_val = wanted.val is not None or wanted.initial > 0
    for name, data, asked in (("test", test, wanted.test is not None), ("val", val, asked_val)):
        if data is not None and asked:
            raise DatasetError(
                f"the data has a {name} split of its own, {len(data)} images, which would go unused",
                where=own.name,
                remedy=f"set dataset.{name}=null to use it, or take it out of the data's list of splits",
            )
    if wanted.val is None and wanted.test is None:
        assert test is not None
        return Splits(own.name, own.train, val, test)
    drawn = _draw(own.train, wanted)
    test = drawn["test"] if test is None else test
    return Splits(own.name, drawn["pool"], drawn["val"] if wanted.val is not None else val, test)


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


def _draw(pool: Dataset, wanted: HeldOut) -> dict[str, Dataset]:
    """`pool`, `val` and `test`, the two empty where no share of them is asked for."""
    counted = sum(asked for asked in (wanted.val, wanted.test) if isinstance(asked, int))
    if counted >= len(pool):
        raise DatasetError(
            f"{counted} images are to be held out, and there are {len(pool)}",
            where=wanted.shares,
            remedy="give counts that leave a pool, or shares: dataset.test=20%",
        )
    keys = group_keys(pool.images, wanted.group)
    groups, needed = len(set(keys)), 1 + (wanted.val is not None) + (wanted.test is not None)
    if groups < needed:
        what = f"dataset.group={wanted.group} puts" if wanted.group is not None else "equal bytes put"
        raise DatasetError(
            f"{what} the {len(pool)} images into {groups} group(s), and a group is never divided",
            where=wanted.shares,
            remedy="give another dataset.group, or give the data splits of its own",
        )
    parts = _divide(pool, keys, wanted)
    if wrong := _fault(parts, wanted):
        others = range(wanted.split_seed + 1, wanted.split_seed + SEEDS_TRIED)
        draws = (replace(wanted, split_seed=seed) for seed in others if groups < 1000)
        better = next((one.split_seed for one in draws if not _fault(_divide(pool, keys, one), one)), None)
        size = "smaller" if "pool" in wrong else "larger"
        remedy = f"take a {size} share" + (f", or another draw: dataset.split_seed={better}" if better else "")
        raise DatasetError(f"this draw gives {wrong}", where=f"{wanted.shares} of {len(pool)} images", remedy=remedy)
    return parts


def _divide(pool: Dataset, keys: Sequence[str], wanted: HeldOut) -> dict[str, Dataset]:
    sizes = Counter(keys)
    split_of = dict.fromkeys(sizes, "pool")
    for split, asked in (("test", wanted.test), ("val", wanted.val)):
        left = {key: _place(split, wanted.split_seed, key) for key in sizes if split_of[key] == "pool"}
        if isinstance(asked, int):
            drawn = _so_many(asked, left, sizes)
        else:
            # of the images that test left, so many that they are `val` of the whole
            gone = wanted.test if split == "val" and isinstance(wanted.test, float) else 0.0
            drawn = [key for key, place in left.items() if place < (asked or 0.0) / (1 - gone)]
        split_of |= dict.fromkeys(drawn, split)
    ids: dict[str, list[int]] = {"pool": [], "val": [], "test": []}
    for image, key in zip(pool.images, keys, strict=True):
        ids[split_of[key]].append(image.id)
    return {split: pool.select(of_split) for split, of_split in ids.items()}


def _so_many(count: int, places: Mapping[str, float], sizes: Mapping[str, int]) -> list[str]:
    """Keys of `count` images, those of the lowest places; a group that is too large for what is left is passed over."""
    drawn: list[str] = []
    for key in sorted(places, key=lambda key: (places[key], key)):
        if sizes[key] <= count:
            drawn.append(key)
            count -= sizes[key]
        if not count:
            break
    return drawn


def _place(split: str, seed: int, key: str) -> float:
    """In [0, 1), the same on every machine."""
    digest = hashlib.sha256(f"{split}/{seed}/{key}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48  # 48 bits: exact in a float


def _fault(parts: Mapping[str, Dataset], wanted: HeldOut) -> str:
    """The first part that is wanted and could not be used; empty where all can."""
    for split, asked in (("test", wanted.test), ("val", wanted.val), ("pool", 1.0)):
        data = parts[split]
        name = "a pool" if split == "pool" else f"a {split} split"
        if asked is not None and not len(data):
            return f"{name} without an image"
        if isinstance(asked, int) and len(data) != asked:
            return f"{name} of {len(data)} images instead of {asked}"
        if asked is not None and not data.box_count:
            return f"{name} of {len(data)} image(s) without a single labeled object"
    return ""


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
