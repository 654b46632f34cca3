"""Dataset to Detectron2's dicts and batches, against Detectron2's own mapper."""

from itertools import islice

import detectron2.data.transforms as T
import numpy as np
import pytest
import torch

from al_cli.learners.detectron.training.data import (
    CachedMapper,
    ImageCache,
    ordered_batches,
    stock_mapper,
    to_dicts,
    training_batches,
)
from al_cli.learners.pytorch.determinism import seed_everything
from al_cli.types import Dataset, Image


def assert_same_input(ours: dict, stock: dict) -> None:
    assert torch.equal(ours["image"], stock["image"]) and ours["image"].dtype == stock["image"].dtype
    assert (ours["height"], ours["width"]) == (stock["height"], stock["width"])
    mine, theirs = ours["instances"], stock["instances"]
    assert mine.image_size == theirs.image_size
    assert torch.equal(mine.gt_boxes.tensor, theirs.gt_boxes.tensor)
    assert mine.gt_boxes.tensor.dtype == theirs.gt_boxes.tensor.dtype
    assert torch.equal(mine.gt_classes, theirs.gt_classes)


@pytest.mark.parametrize("image_format", ["BGR", "RGB"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_cached_mapper_gives_what_detectrons_mapper_gives(shapes, monkeypatch, image_format, mirrored):
    stock = stock_mapper([T.RandomFlip(prob=1.0)] if mirrored else [], image_format, labels=True)
    monkeypatch.setattr(np.random, "random", lambda: 0.0)  # always below one half
    ours = CachedMapper(ImageCache(), image_format, labels=True, flip=mirrored)
    for record in to_dicts(shapes):
        assert_same_input(ours(record), stock(record))
        assert_same_input(ours(record), stock(record))  # out of the cache


def test_flip_mirrors_about_half_and_without_flip_none(shapes):
    seed_everything(0)
    record = to_dicts(shapes)[0]
    straight = CachedMapper(ImageCache(), "BGR", labels=False, flip=False)(record)["image"]
    mapper = CachedMapper(ImageCache(), "BGR", labels=False, flip=True)
    mirrored = sum(not torch.equal(mapper(record)["image"], straight) for _ in range(200))
    assert 70 < mirrored < 130


def test_a_full_cache_decodes_again(shapes):
    records = to_dicts(shapes)
    one = 3 * 96 * 96
    cache = ImageCache(limit=one)
    first, second = cache.read(records[0], "BGR"), cache.read(records[1], "BGR")
    assert cache.read(records[0], "BGR") is first
    again = cache.read(records[1], "BGR")
    assert again is not second and torch.equal(again, second)


def test_crowd_regions_are_not_trained_on_and_empty_images_stay(shapes):
    path = shapes.images[0].path
    boxes = np.array([[0, 0, 10, 10], [20, 20, 40, 40.0]])
    crowd = Image(0, path, 96, 96, boxes, np.array([1, 2]), crowd=np.array([True, False]))
    empty = Image(1, path, 96, 96, np.zeros((0, 4)), np.zeros(0))
    records = to_dicts(Dataset(("a", "b", "c"), (crowd, empty)))
    for mapper in (CachedMapper(ImageCache(), "BGR", labels=True, flip=False), stock_mapper([], "BGR", labels=True)):
        first, second = mapper(records[0])["instances"], mapper(records[1])["instances"]
        assert first.gt_classes.tolist() == [2] and first.gt_boxes.tensor.tolist() == [[20, 20, 40, 40]]
        assert len(second) == 0 and second.gt_boxes.tensor.shape == (0, 4)


def stream(dataset: Dataset, seed: int, batches: int, batch_size: int = 4) -> list[int]:
    mapper = CachedMapper(ImageCache(), "BGR", labels=True, flip=False)
    loader = training_batches(to_dicts(dataset), mapper, batch_size=batch_size, seed=seed, by_aspect=True, workers=0)
    return [one["image_id"] for batch in islice(loader, batches) for one in batch]


def test_each_pass_sees_every_image_once_in_a_new_order(shapes):
    ids = stream(shapes, seed=3, batches=20)  # 40 images, two passes
    first, second = ids[:40], ids[40:]
    assert sorted(first) == sorted(second) == shapes.ids.tolist(), "an image (a negative?) is missing"
    assert first != second and first != sorted(first)


def test_the_stream_is_a_function_of_seed_and_images_not_of_their_order(shapes):
    some = [5, 3, 30, 8, 21, 2, 17]
    one, other = shapes.select(some), shapes.select(reversed(some))
    seed_everything(0)
    a = stream(one, seed=1, batches=7)
    torch.manual_seed(99)
    assert stream(other, seed=1, batches=7) == a
    assert stream(one, seed=2, batches=7) != a


def test_ordered_batches_hold_one_size_each():
    sizes = [(32, 32)] * 5 + [(32, 48)] * 2 + [(32, 32)]
    records = [{"image_id": i, "height": h, "width": w} for i, (h, w) in enumerate(sizes)]
    batches = list(ordered_batches(records, lambda record: record, batch_size=3))
    assert [[one["image_id"] for one in batch] for batch in batches] == [[0, 1, 2], [3, 4], [5, 6], [7]]
    assert list(ordered_batches([], lambda record: record, batch_size=3)) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_without_shuffling_every_batch_has_the_next_images_of_the_order(shapes, workers):
    """Over three passes; a batch over the end of one is filled from the beginning, and no process takes images ahead."""
    ids = shapes.ids[[4, 0, 3, 1, 2]].tolist()
    seen: list[int] = []

    def recording(record: dict) -> dict:
        seen.append(record["image_id"])
        return record

    records = to_dicts(shapes.select(ids), ids)
    records[0]["width"] = 10  # another aspect: no reason to wait
    batches = training_batches(records, recording, batch_size=2, seed=0, by_aspect=True, workers=workers, shuffle=False)
    took = [[one["image_id"] for one in batch] for batch in islice(batches, 7)]
    expected = (ids * 3)[:14]
    assert took == [expected[i : i + 2] for i in range(0, 14, 2)]
    assert workers or seen == expected, "the mapper sees exactly this order"
