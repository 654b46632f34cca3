"""AP against pycocotools, to 12 digits, on cases that evaluators get wrong, and against numbers worked by hand."""

import contextlib
import io
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from al_cli.tasks.detection import TASK, coco_ground_truth, coco_results, evaluate
from al_cli.types import Dataset, Image, Predictions

COCOS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def random_case(seed, *, n=25, categories=(7, 3, 90, 1), crowd=False, areas=False, absent=(), quality=6.0):
    """A dataset, and predictions that are its boxes moved by about `quality` px, plus false ones and missed ones."""
    rng = np.random.default_rng(seed)
    c = len(categories)
    usable = [k for k in range(c) if k not in absent]
    images, tables = [], []
    for i in range(n):
        k = int(rng.integers(0, 7)) if i % 4 else 0
        xy, wh = rng.uniform(0, 150, (k, 2)), np.exp(rng.uniform(np.log(6), np.log(220), (k, 2)))
        boxes, classes = np.concatenate([xy, xy + wh], 1), rng.choice(usable, k)
        is_crowd = rng.random(k) < 0.3 if crowd else None
        own_areas = wh.prod(1) * rng.uniform(0.2, 1, k) if areas else None
        images.append(Image(3 * i + 5, Path(f"{i}.jpg"), 400, 400, boxes, classes, is_crowd, own_areas))
        times = rng.integers(0, 3, k)  # missed, found, found twice
        hits = np.repeat(boxes, times, axis=0)
        hits = hits + rng.normal(0, quality, hits.shape)
        found = np.concatenate([hits, np.concatenate([q := rng.uniform(0, 200, (3, 2)), q + 40], 1)])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        labels = rng.integers(0, c, len(found))
        right = rng.random(len(hits)) < 0.85
        labels[: len(hits)][right] = np.repeat(classes, times)[right]
        # few distinct scores, so that ties within and between images are frequent
        scores = np.sort(rng.choice(np.linspace(0.05, 1, 12), len(found)))[::-1]
        tables.append((found, scores, labels))
    counts = [len(found) for found, _, _ in tables]
    predictions = Predictions(
        [image.id for image in images],
        np.concatenate([[0], np.cumsum(counts)]),
        *(np.concatenate(column) for column in zip(*tables, strict=True)),
        num_classes=c,
    )
    return predictions, Dataset([f"class {k}" for k in range(c)], images, categories)


def pycocotools_stats(predictions, dataset, only_class=None):
    """The twelve numbers of pycocotools on dictionaries written here, independently of the code under test."""
    truth, found = COCO(), COCO()
    base = {
        "images": [{"id": image.id, "width": image.width, "height": image.height} for image in dataset.images],
        "categories": [{"id": category} for category in dataset.category_ids],
    }
    annotations, results = [], []
    for image in dataset.images:
        for (x0, y0, x1, y1), c, crowd, area in zip(image.boxes, image.classes, image.crowd, image.areas, strict=True):
            entry = {"image_id": image.id, "category_id": dataset.category_ids[c], "bbox": [x0, y0, x1 - x0, y1 - y0]}
            annotations.append(entry | {"id": len(annotations) + 1, "iscrowd": int(crowd), "area": area})
    for n, image_id in enumerate(predictions.image_ids):
        for row in range(predictions.offsets[n], predictions.offsets[n + 1]):
            x0, y0, x1, y1 = map(float, predictions.boxes[row])
            entry = {"image_id": int(image_id), "category_id": dataset.category_ids[predictions.classes[row]]}
            box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
            results.append(entry | box | {"id": len(results) + 1, "score": float(predictions.scores[row])})
    with contextlib.redirect_stdout(io.StringIO()):
        for coco, rows in ((truth, annotations), (found, results)):
            coco.dataset = base | {"annotations": rows}
            coco.createIndex()
        evaluator = COCOeval(truth, found, "bbox")
        if only_class is not None:
            evaluator.params.catIds = [dataset.category_ids[only_class]]
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats


def in_percent(value):
    """Equal up to rounding: pycocotools adds 2e-16 to denominators, which faster-coco-eval does not."""
    return None if value == -1 else pytest.approx(100 * float(value), abs=1e-12)


CASES = {
    "plain": {},
    "crowd": {"crowd": True},
    "own areas": {"areas": True},
    "crowd and own areas": {"crowd": True, "areas": True, "n": 60},
    "classes absent": {"absent": (0, 2)},
    "one class": {"categories": (4,)},
    "category id 0": {"categories": (0, 1, 2)},
    "many classes": {"categories": tuple(range(100, 60, -1))},
    "perfect": {"quality": 0.0},
    "bad": {"quality": 25.0},
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("case", CASES)
def test_same_numbers_as_pycocotools(case, seed):
    predictions, dataset = random_case(seed, **CASES[case])
    expected = pycocotools_stats(predictions, dataset)
    assert max(expected[:3]) > 0
    metrics = evaluate(predictions, dataset).metrics
    assert tuple(metrics) == TASK.metric_names == (*COCOS[:6], "AP07", *COCOS[6:])
    assert [metrics[name] for name in COCOS] == [in_percent(value) for value in expected]


@pytest.mark.parametrize("case", ["crowd and own areas", "classes absent", "category id 0"])
def test_per_class_is_pycocotools_on_that_class_alone(case):
    predictions, dataset = random_case(2, **CASES[case])
    rows = evaluate(predictions, dataset).per_class
    assert [row["class"] for row in rows] == list(dataset.class_names)
    for label, row in enumerate(rows):
        expected = pycocotools_stats(predictions, dataset, only_class=label)
        assert [row["AP"], row["AP50"]] == [in_percent(expected[0]), in_percent(expected[1])]
        of_class = [image.classes[~image.crowd] == label for image in dataset.images]
        assert row["boxes"] == sum(int(hits.sum()) for hits in of_class)
        assert row["images"] == sum(bool(hits.any()) for hits in of_class)


def nothing_found(dataset):
    n = len(dataset)
    return Predictions(dataset.ids, np.zeros(n + 1), np.zeros((0, 4)), [], [], len(dataset.class_names))


@pytest.mark.parametrize("start", range(0, 300, 60))
def test_three_hundred_random_sets_agree_with_pycocotools(start):
    for seed in range(start, start + 60):
        predictions, dataset = random_case(
            seed, n=5, crowd=seed % 2 == 0, areas=seed % 3 == 0, absent=(seed % 4,) if seed % 5 == 0 else ()
        )
        expected = pycocotools_stats(predictions, dataset)
        found = evaluate(predictions, dataset).metrics
        for name, value in zip(COCOS, expected, strict=True):
            assert found[name] == in_percent(value), (seed, name)


def renumbered(predictions, dataset, ids, categories):
    images = [replace(image, id=new) for image, new in zip(dataset.images, ids, strict=True)]
    return replace(predictions, image_ids=np.array(ids)), Dataset(dataset.class_names, images, categories)


@pytest.mark.parametrize("base", [0, 1, 2**31, 2**53 - 3, 20230101123456789, 2**63 - 40])
@pytest.mark.parametrize("seed", [0, 1])
def test_ap_does_not_depend_on_how_images_and_categories_are_numbered(base, seed):
    """Above 2^53 a double holds every second or fourth whole number only, and COCO's evaluators keep ids as doubles."""
    predictions, dataset = random_case(seed, n=12, crowd=True)
    plain = evaluate(*renumbered(predictions, dataset, range(1, 13), (1, 2, 3, 4)))
    other = evaluate(
        *renumbered(predictions, dataset, [base + n for n in range(12)], tuple(base + n for n in range(4)))
    )
    assert other == plain  # to the last bit


def test_no_detections_at_all_is_zero_not_an_error():
    _, dataset = random_case(0)
    result = evaluate(nothing_found(dataset), dataset)
    assert dict(result.metrics) == dict.fromkeys(TASK.metric_names, 0.0)
    assert {row["AP"] for row in result.per_class} == {0.0}


def test_no_ground_truth_at_all_has_no_numbers():
    predictions, dataset = random_case(0)
    empty = [Image(i.id, i.path, i.width, i.height, [], []) for i in dataset.images]
    result = evaluate(predictions, Dataset(dataset.class_names, empty, dataset.category_ids))
    assert set(result.metrics.values()) == {None}
    assert {row["AP"] for row in result.per_class} == {None}


def test_by_hand():
    """Two objects of 50 px, one found exactly: precision 1 up to recall 0.5, 51 of COCO's 101 recall points."""
    image = Image(0, Path("a.png"), 200, 100, [[0, 0, 50, 50], [100, 0, 150, 50]], [0, 0])
    found = Predictions([0], [0, 1], [[0, 0, 50, 50]], [0.9], [0], 1)
    result = evaluate(found, Dataset(["thing"], [image]))
    for name in ("AP", "AP50", "AP75", "APm"):
        assert result.metrics[name] == pytest.approx(100 * 51 / 101)
    assert result.metrics["APs"] is None
    assert result.metrics["APl"] is None
    assert result.metrics["AR100"] == pytest.approx(50)
    # moved by 10 px: IoU 40/60 = 0.667 passes 0.50, 0.55, 0.60 and 0.65 of the ten thresholds
    moved = Predictions([0], [0, 1], [[10, 0, 60, 50]], [0.9], [0], 1)
    assert evaluate(moved, Dataset(["thing"], [image])).metrics["AP"] == pytest.approx(0.4 * 100 * 51 / 101)


# ---- PASCAL VOC 2007


def apart(seed, images=8, classes=3):
    """Objects that do not touch, and detections with scores of their own: moved, doubled, of the wrong class, on nothing."""
    rng = np.random.default_rng(seed)
    made, tables = [], []
    for i in range(images):
        cells = rng.permutation(9)[: rng.integers(1, 7)]
        corners = 100 * np.stack([cells % 3, cells // 3], 1)
        boxes = np.concatenate([corners, corners + rng.integers(30, 90, (len(cells), 2))], 1).astype(float)
        labels = rng.integers(0, classes, len(cells))
        made.append(Image(i, Path(f"{i}.jpg"), 300, 300, boxes, labels))
        times = rng.integers(0, 3, len(cells))
        found = np.repeat(boxes, times, axis=0) + rng.normal(0, 5, (times.sum(), 4))
        found = np.concatenate([found, rng.uniform(0, 200, (2, 1)) + np.array([0, 0, 40, 40])])
        kinds = np.concatenate([np.repeat(labels, times), rng.integers(0, classes, 2)])
        kinds = np.where(rng.random(len(kinds)) < 0.1, (kinds + 1) % classes, kinds)
        tables.append((found, np.sort(rng.random(len(found)))[::-1], kinds))
    offsets = np.concatenate([[0], np.cumsum([len(found) for found, _, _ in tables])])
    columns = (np.concatenate(column) for column in zip(*tables, strict=True))
    return Predictions(range(images), offsets, *columns, num_classes=classes), Dataset(list("abc")[:classes], made)


def voc_2007(predictions, dataset, label):
    """A class's AP by the rules of VOC's own program, with fractions; None where there are no objects."""
    truth = {i.id: [box for box, c in zip(i.boxes, i.classes, strict=True) if c == label] for i in dataset.images}
    positives, taken, right, curve = sum(map(len, truth.values())), set(), 0, []
    rows = [row for row in np.argsort(-predictions.scores) if predictions.classes[row] == label]
    for n, row in enumerate(rows, 1):
        image = int(predictions.image_ids[predictions.row_image[row]])
        shares = [overlap(predictions.boxes[row].astype(float), box) for box in truth[image]]
        best = (image, int(np.argmax(shares))) if shares else None
        if best and max(shares) >= 0.5 and best not in taken:  # else false, and where it is taken too
            taken.add(best)
            right += 1
        curve.append((Fraction(right, positives or 1), Fraction(right, n)))
    tenths = [Fraction(k, 10) for k in range(11)]
    tenths[7] += Fraction(1, 10**9)  # the double that stands for it is above 7/10
    points = [max([p for recall, p in curve if recall >= tenth], default=Fraction(0)) for tenth in tenths]
    return sum(points) / 11 if positives else None


def overlap(one, other):
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    both = sides.clip(0).prod()
    return both / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - both)


@pytest.mark.parametrize("seed", range(12))
def test_ap07_is_what_voc_s_program_gives_where_objects_lie_apart(seed):
    predictions, dataset = apart(seed)
    of_classes = [ap for label in range(3) if (ap := voc_2007(predictions, dataset, label)) is not None]
    expected = float(100 * sum(of_classes) / len(of_classes))
    found = evaluate(predictions, dataset).metrics
    assert 0 < expected < 100 and expected != pytest.approx(found["AP50"], abs=0.01)
    assert found["AP07"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("objects", "right", "points"), [(2, 1, 6), (5, 3, 7), (3, 2, 7), (4, 3, 8), (10, 7, 7)])
def test_ap07_by_hand(objects, right, points):
    """Precision 1 at the recalls up to right/objects: so many of 11 points. Of 7/10 the point 0.7 is lost, as it is in AP."""
    boxes = [[60 * k, 0, 60 * k + 50, 50] for k in range(objects)]
    image = Image(0, Path("a.png"), 600, 100, boxes, [0] * objects)
    found = Predictions([0], [0, right], boxes[:right], np.linspace(0.9, 0.5, right), [0] * right, 1)
    metrics = evaluate(found, Dataset(["thing"], [image])).metrics
    assert metrics["AP07"] == pytest.approx(100 * points / 11)
    assert metrics["AR1"] == pytest.approx(100 / objects)
    assert metrics["ARm"] == metrics["AR100"] and metrics["ARs"] is metrics["ARl"] is None


def test_other_images_or_classes_are_refused():
    predictions, dataset = random_case(0)
    with pytest.raises(ValueError, match=r"1 missing \[5\], 0 too many"):
        evaluate(predictions.select(predictions.image_ids[1:]), dataset)
    with pytest.raises(ValueError, match="1 too many"):
        evaluate(predictions, dataset.select(dataset.ids[:-1]))
    with pytest.raises(ValueError, match="4 classes for 3 class names"):
        few = [Image(i.id, i.path, i.width, i.height, [], []) for i in dataset.images]
        evaluate(predictions, Dataset(["a", "b", "c"], few))
    with pytest.raises(ValueError, match="no images"):
        evaluate(predictions, dataset.select([]))


def test_nothing_is_printed(capfd):
    evaluate(*random_case(0))
    assert capfd.readouterr() == ("", "")


def test_files_have_the_category_ids_of_the_source_and_annotation_ids_from_one():
    predictions, dataset = random_case(0)
    truth = coco_ground_truth(dataset)
    assert [annotation["id"] for annotation in truth["annotations"]] == list(range(1, len(truth["annotations"]) + 1))
    assert truth["categories"] == [
        {"id": c, "name": n} for c, n in zip((7, 3, 90, 1), dataset.class_names, strict=True)
    ]
    first = coco_results(predictions, dataset)[0]
    assert first["category_id"] == (7, 3, 90, 1)[predictions.classes[0]]
    x0, y0, x1, y1 = predictions.boxes[0].astype(float)
    assert first["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0])
