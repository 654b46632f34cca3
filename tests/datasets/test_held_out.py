"""The draw of held-out shares: what moves nothing, what stays together, and every refusal."""

from dataclasses import replace
from hashlib import sha256
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import random_dataset

from al_cli.datasets.divided import divided
from al_cli.datasets.held_out import HeldOut, scored_split, spelled_now
from al_cli.errors import AlError, ConfigError, DatasetError
from al_cli.types import Dataset, Image, OwnSplits

POOL = random_dataset(60)
BOX = np.array([[1.0, 2.0, 30.0, 40.0]])


def image(id: int, path: str, content: str = "") -> Image:
    return Image(id, Path(path), 96, 96, BOX, np.zeros(1, int), content=content)


def data(*images: Image) -> Dataset:
    return Dataset(("cat",), images)


def apply(pool: Dataset, own_val: Dataset | None = None, own_test: Dataset | None = None, **wanted):
    return divided(OwnSplits("d", pool, own_val, own_test), HeldOut.of(wanted))


def split_of(splits) -> dict[str, str]:
    """Which split each name is in."""
    parts = {"pool": splits.train, "val": splits.val, "test": splits.test}
    return {image.name: split for split, part in parts.items() if part is not None for image in part.images}


def error_of(*args, **wanted) -> str:
    with pytest.raises(AlError) as caught:
        apply(*args, **wanted)
    return str(caught.value)


BOTH = {"val": "20%", "test": "30%"}


def test_the_three_parts_are_the_pool_and_keep_their_ids():
    splits = apply(POOL, **BOTH)
    ids = [part.ids.tolist() for part in (splits.train, splits.val, splits.test)]
    assert sorted(chain(*ids)) == POOL.ids.tolist()
    assert all(POOL[i] is part[i] for part in (splits.train, splits.val, splits.test) for i in part.ids.tolist())
    assert splits.name == "d"


def test_the_place_of_an_image_by_hand():
    """sha256 of "test/0/NAME" as a share of its range, against the share; then "val/0/NAME" among the rest."""

    def place(split, name):
        return int(sha256(f"{split}/0/{name}".encode()).hexdigest(), 16) / 2**256

    for name, split in split_of(apply(POOL, **BOTH)).items():
        in_test, in_val = place("test", name) < 0.3, place("val", name) < 0.2 / 0.7
        assert split == ("test" if in_test else "val" if in_val else "pool")


def test_shares_are_met_on_average():
    counts = [len(apply(POOL, split_seed=seed, **BOTH).val) for seed in range(150)]
    assert abs(np.mean(counts) - 12) < 0.8  # of 60; the standard error is 0.25
    counts = [len(apply(POOL, split_seed=seed, **BOTH).test) for seed in range(150)]
    assert abs(np.mean(counts) - 18) < 0.9


def test_a_count_is_met_exactly_by_the_lowest_places():
    splits = apply(POOL, test="20 images", val="10 images")
    assert (len(splits.train), len(splits.val), len(splits.test)) == (30, 10, 20)

    def place(name):
        return sha256(f"test/0/{name}".encode()).hexdigest()

    lowest = sorted((one.name for one in POOL.images), key=place)[:20]
    assert {one.name for one in splits.test.images} == set(lowest)
    for too_many in ({"test": "60 images"}, {"test": "61 images"}, {"test": "30 images", "val": "30 images"}):
        assert "are to be held out, and there are 60" in error_of(POOL, **too_many)
    assert "'dataset.test=20 images' for so many" in error_of(POOL, test=20)
    assert HeldOut.of({"test": "20 images", "val": "10 images"}).expected(60) == 30


def test_where_val_is_scored_there_need_not_be_a_test_split():
    for splits in (apply(POOL, OWN, None, test="none"), apply(POOL, test="none", val="10 images")):
        assert len(splits.val) and not len(splits.test)
        assert scored_split(splits, "val") is splits.val
        with pytest.raises(DatasetError, match="add evaluate=val"):
            scored_split(splits, "test")
    assert "1 images, which would go unused" in error_of(POOL, None, OWN, test="none")
    assert "add dataset.val=20%" in error_of(POOL, test="none")
    with pytest.raises(ConfigError, match="each seed has others"):
        HeldOut.of({"test": "none", "val": "20% of initial"})


@settings(max_examples=25, derandomize=True, deadline=None)
@given(st.sets(st.integers(0, 59), min_size=40), st.integers(0, 3), st.integers(0, 10**6))
def test_no_image_moves_another(kept, seed, shift):
    """Other images are there, with other ids, other labels, in other folders: each image is where it was."""
    whole = split_of(apply(POOL, split_seed=seed, **BOTH))
    changed = [
        replace(
            POOL[i],
            id=POOL[i].id + shift,
            path=Path("/elsewhere") / POOL[i].path,
            boxes=BOX,
            classes=[0],
            crowd=None,
            areas=None,
        )
        for i in sorted(kept)
    ]
    some = split_of(apply(Dataset(POOL.class_names, changed), split_seed=seed, **BOTH))
    assert some == {name: whole[name] for name in some}


def test_a_larger_share_contains_a_smaller_one_and_test_does_not_depend_on_val():
    small, large = (set(apply(POOL, test=share).test.ids.tolist()) for share in ("10%", "30%"))
    assert small < large
    assert set(apply(POOL, **BOTH).test.ids.tolist()) == large


def test_another_seed_is_another_draw():
    assert split_of(apply(POOL, **BOTH)) != split_of(apply(POOL, split_seed=1, **BOTH))


VIDEOS = [image(v * 10 + n, f"/d/images/train/video{v}/frame{v}_{n}.png") for v in range(30) for n in range(4)]


@pytest.mark.parametrize("group", ["folder", "frame[0-9]+", "frame([0-9]+)_[0-9]+", "(nothing)|frame([0-9]+)"])
def test_groups_stay_together(group):
    pool, seen = data(*VIDEOS), []
    for seed in range(6):
        splits = apply(pool, group=group, split_seed=seed, val="20%", test="20%")
        found = split_of(splits)
        for v in range(30):
            assert len({found[f"frame{v}_{n}.png"] for n in range(4)}) == 1
        seen.append(found)
        kept = [one for one in VIDEOS if one.id != 20]  # a video's first frame is gone: nothing else moves
        assert split_of(apply(data(*kept), group=group, split_seed=seed, val="20%", test="20%")) == {
            name: split for name, split in found.items() if name != "frame2_0.png"
        }
    assert any(one != seen[0] for one in seen)


def test_a_group_is_drawn_by_its_folder_wherever_the_data_lies():
    there = [replace(one, path=Path("/other/place") / one.path.parent.name / one.path.name) for one in VIDEOS]
    wanted = {"group": "folder", "val": "30%", "test": "30%"}
    assert split_of(apply(data(*VIDEOS), **wanted)) == split_of(apply(data(*there), **wanted))


def test_folders_of_one_name_are_several_groups():
    pool = data(*(image(n, f"/d/{'abcdefgh'[n % 8]}/frames/{n}.png") for n in range(40)))
    found = split_of(apply(pool, group="folder", test="50%"))
    assert set(found.values()) == {"pool", "test"}
    assert all(found[f"{n}.png"] == found[f"{n % 8}.png"] for n in range(40))


@pytest.mark.parametrize("group", [None, "folder"])
def test_equal_bytes_stay_together(group):
    """Copies under other names, and groups that share a picture, also through a third one."""
    pool = [image(n, f"/d/{n // 4}/{n:03d}.png", content=f"bytes{n}") for n in range(80)]
    for a, b in ((3, 40), (41, 77)):
        pool[b] = replace(pool[b], content=pool[a].content)
    for seed in range(8):
        found = split_of(apply(data(*pool), group=group, split_seed=seed, val="30%", test="30%"))
        assert found["003.png"] == found["040.png"] and found["041.png"] == found["077.png"]
        if group:  # 40 and 41 are in one folder, so all three folders are one
            assert len({found[f"{n:03d}.png"] for n in (0, 3, 40, 43, 76, 79)}) == 1


def test_images_without_content_are_not_copies():
    found = split_of(apply(data(*(image(n, f"{n}.png") for n in range(30))), test="50%"))
    assert set(found.values()) == {"pool", "test"}


OWN = data(image(900, "own.png"))


OTHER = data(image(901, "other.png"))


def test_the_splits_of_the_data_itself():
    both = apply(POOL, OWN, OTHER)
    assert (both.train, both.val, both.test) == (POOL, OWN, OTHER)
    for only in ((OWN, None), (None, OWN)):  # evaluation images never steer training
        single = apply(POOL, *only)
        assert (single.train, single.val, single.test) == (POOL, None, OWN)
    drawn_test = apply(POOL, OWN, None, test="20%")
    assert drawn_test.val is OWN and len(drawn_test.train) + len(drawn_test.test) == 60
    drawn_val = apply(POOL, OWN, None, val="20%")
    assert drawn_val.test is OWN and len(drawn_val.train) + len(drawn_val.val) == 60
    initial = apply(POOL, None, OWN, val="20% of initial")
    assert (initial.train, initial.val, initial.test) == (POOL, None, OWN)  # the loop draws it


def test_nothing_goes_unused_and_something_is_evaluated_on():
    for wanted in ({}, {"val": "20%"}, {"val": "20% of initial"}):
        said = error_of(POOL, **wanted)
        assert "no held-out split" in said and "add dataset.test=20%" in said
    said = error_of(POOL, OWN, OTHER, test="20%")
    assert "the data has a test split of its own, 1 images, which would go unused" in said
    assert "set dataset.test=null to use it" in said
    for share in ("20%", "20% of initial"):
        assert "the data has a val split of its own" in error_of(POOL, OWN, OTHER, val=share)


def test_an_empty_part_is_refused_with_a_draw_that_works():
    few = [image(n, f"{n}.png") for n in range(5)]
    bare = [replace(one, boxes=np.zeros((0, 4)), classes=[], crowd=None, areas=None) for one in few[:3]] + few[3:]
    said = set()
    for pool in (few, bare):
        for seed in range(12):
            try:
                apply(data(*pool), test="30%", split_seed=seed)
            except DatasetError as error:
                said.add(str(error).partition(" (")[0])
                better = int(str(error).rpartition("dataset.split_seed=")[2])
                splits = apply(data(*pool), test="30%", split_seed=better)
                assert splits.test.box_count and splits.train.box_count
    assert {"this draw gives a test split without an image"} < said
    assert any("without a single labeled object" in one for one in said)
    one_folder = [image(n, f"/d/train/{n}.png") for n in range(20)]
    assert "dataset.group=folder puts the 20 images into 1 group(s)" in error_of(
        data(*one_folder), group="folder", test="20%"
    )
    assert "gives a pool" in " ".join(error_if_any(few, seed) for seed in range(12))


def error_if_any(images, seed) -> str:
    try:
        apply(data(*images), test="45%", val="50%", split_seed=seed)
    except DatasetError as error:
        return str(error)
    return ""


def test_names_that_the_expression_does_not_match_are_refused_until_it_does():
    pool = data(*VIDEOS, image(999, "/d/images/train/still.png"))
    said = error_of(pool, group="frame[0-9]+", test="30%")
    assert "matches nothing at the beginning of 1 of 121 names, the first is still.png" in said
    assert "give an expression for the beginning of such names" in error_of(pool, group="cam", test="30%")
    assert split_of(apply(pool, group="frame[0-9]+|.+", test="30%"))["still.png"] in ("pool", "test")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"val": 0.2}, "write dataset.val=20%"),
        ({"val": "0.2"}, "write dataset.val=20%"),
        ({"test": 20}, "write dataset.test=20%"),
        ({"test": 500}, "give a share of the pool as 20%"),
        ({"test": True}, "dataset.test is True"),
        ({"test": "20 %"}, "dataset.test is '20 %'"),
        ({"test": "-5%"}, "dataset.test is '-5%'"),
        ({"val": "nan"}, "dataset.val is 'nan'"),
        ({"val": []}, "dataset.val is []"),
        ({"val": "20%of initial"}, "'20% of initial'"),
        ({"val": "0%"}, "above 0% and below 100%"),
        ({"val": "100%"}, "above 0% and below 100%"),
        ({"val": "50%", "test": "50%"}, "leave no pool"),
        ({"test": "20% of initial"}, "write dataset.test=20%, a share of the pool"),
        ({"val": {"images": "a", "annotations": "b"}}, "this data itself says where its splits are"),
        ({"val": "20% of initial", "test": "20%", "group": "folder"}, "a group would be divided"),
        ({"group": "folder"}, "would do nothing"),
        ({"split_seed": 1}, "would do nothing"),
        ({"val": "20% of initial", "split_seed": 1}, "would do nothing"),
        ({"test": "20%", "split_seed": "x"}, "dataset.split_seed is 'x'"),
        ({"test": "20%", "split_seed": 1.5}, "dataset.split_seed is 1.5"),
        ({"test": "20%", "group": "("}, "no regular expression"),
        ({"test": "20%", "group": "a{99999999999}"}, "no regular expression"),
        ({"test": "20%", "group": 3}, "dataset.group is 3"),
        ({"test": "20%", "group": ""}, "dataset.group is ''"),
        ({"holdout": 0.25}, "write dataset.val='25% of initial'"),
        ({"holdout": 0}, "leave it out"),
        ({"holdout": "x"}, "write dataset.val='20% of initial'"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(wanted, said):
    with pytest.raises(ConfigError) as caught:
        HeldOut.of(wanted)
    assert said in str(caught.value)


def test_places_of_splits_are_the_data_s_own():
    place = {"images": "a", "annotations": "b"}
    assert HeldOut.of({"train": None, "val": place, "test": place}) == HeldOut()


def test_an_earlier_version_s_settings_are_translated():
    assert spelled_now({"format": "yolo", "holdout": 0}) == {
        "format": "yolo",
        "val": None,
        "test": None,
        "split_seed": 0,
        "group": None,
        "repeat": None,
    }
    assert spelled_now({"holdout": 0.07, "val": None})["val"] == "7% of initial"
    assert HeldOut.of(spelled_now({"holdout": 0.07})).initial == 0.07
