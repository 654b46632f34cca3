"""The splits of a run, divided as `held_out.py` says: places by hash, equal bytes and groups together, test before val."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from al_cli.datasets.groups import group_keys
from al_cli.datasets.held_out import HeldOut
from al_cli.errors import DatasetError
from al_cli.types import Dataset, OwnSplits, Splits

SEEDS_TRIED = 100  # where a draw leaves a split empty, to name one that does not


def divided(own: OwnSplits, wanted: HeldOut) -> Splits:
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
