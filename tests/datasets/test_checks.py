"""What all formats share: the box rules by hand, the split rule, the summary."""

from pathlib import Path

import numpy as np
import pytest

from al_cli.datasets.checks import Problems, box_problems, clip, count_splits
from al_cli.errors import DatasetError
from al_cli.types import Dataset, Image, Splits


def data(*images):
    return Dataset(("cat", "dog", "owl"), images)


def image(id, boxes=(), classes=(), **columns):
    return Image(id, Path(f"{id}.png"), 400, 300, np.array(boxes, dtype=float), np.array(classes), **columns)


def test_box_problems_by_row():
    extent = np.array([[100.0, 50.0]] * 8)
    boxes = np.array(
        [
            [0, 0, 100, 50],  # the whole image
            [-1, -1, 101, 51],  # exactly the slack
            [-1.001, 0, 10, 10],
            [0, 0, 10, 51.001],
            [5, 5, 5, 10],
            [5, 5, 4, 10],
            [0, 0, np.nan, 10],
            [100.2, 0, 100.8, 10],  # within the slack, but nothing of it is inside
        ]
    )
    wrong = box_problems(boxes, extent, 1.0)
    assert sorted(wrong) == [2, 3, 4, 5, 6, 7]
    assert wrong[2] == "box with corners (-1.001, 0, 10, 10) reaches outside the image, 0..100 x 0..50, by more than 1"
    assert wrong[4] == "box is 0 wide and 5 high, both must be above 0"
    assert wrong[5] == "box is -1 wide and 5 high, both must be above 0"
    assert wrong[6] == "box has a number that is not finite: corners (0, 0, nan, 10)"
    assert wrong[7] == "box with corners (100.2, 0, 100.8, 10) lies wholly outside the image, 0..100 x 0..50"
    assert clip(boxes[1:2], extent[:1]).tolist() == [[0, 0, 100, 50]]
    assert box_problems(np.zeros((0, 4)), np.zeros((0, 2)), 1.0) == {}


def test_problems_raise_only_when_there_are_any():
    problems = Problems(Path("data"))
    problems.check()
    problems.add("is broken", "a.txt:1")
    with pytest.raises(DatasetError, match=r"^is broken \(a\.txt:1\): correct"):
        problems.check()
    problems.add("is worse", "b.txt:2")
    with pytest.raises(
        DatasetError, match=r"(?s)^2 problems \(data\): .*\n  a\.txt:1: is broken\n  b\.txt:2: is worse$"
    ):
        problems.check()


def test_summary_counts_by_hand():
    train = data(
        image(1, [[0, 0, 31, 31], [0, 0, 32, 32], [0, 0, 96, 95], [0, 0, 96, 96]], [0, 1, 1, 1]),
        image(2),
        image(3, [[0, 0, 10, 10]] * 2, [0, 0], crowd=[False, True]),  # the crowd is no box
        image(4, [[0, 0, 100, 100]], [1], areas=[50.0]),  # COCO's own area decides, not the box
    )
    test = data(image(5, [[0, 0, 10, 10]], [2]))
    assert count_splits(Splits("n", train, None, test)) == [
        {
            "split": "train",
            "images": 4,
            "negatives": 1,
            "boxes": 6,
            "small": 3,
            "medium": 2,
            "large": 1,
            "most common": "dog (4)",
            "rarest": "owl (0)",
        },
        {
            "split": "test",
            "images": 1,
            "negatives": 0,
            "boxes": 1,
            "small": 1,
            "medium": 0,
            "large": 0,
            "most common": "owl (1)",
            "rarest": "cat (0)",
        },
    ]
