"""How much a round labels: shares and counts, and boxes filled to the budget, by hand and for every sampler."""

from pathlib import Path

import numpy as np
import pytest
from shapes import CLASSES, random_dataset

from al_cli import budget, loop
from al_cli.errors import ConfigError
from al_cli.experiment import build
from al_cli.experiment.job import jobs_of
from al_cli.learners.fake import FakeLearner
from al_cli.records import RunFolder
from al_cli.samplers.catalog import sampler_files
from al_cli.types import ROW_AXIS, Choice, Request, Selection, Signal, Splits, StageLog

SAMPLERS = [path.stem for path in sampler_files(Path(__file__).parents[1] / "conf" / "sampler")]
BOXES = {0: 3, 1: 0, 2: 5, 3: 1, 4: 2}  # 11


@pytest.mark.parametrize(
    ("pool", "initial", "each", "rounds", "why"),
    [
        (60, 5000, 1000, 30, "31 rounds do not fit a pool of 60 images: it has fewer than round 0 asks for"),
        (60, 40, 20, 2, "3 rounds do not fit a pool of 60 images: it is used up before round 2"),
        (3, 1, 0.1, 1, "2 rounds do not fit a pool of 3 images: round 1 would label none"),
        (60, 0.001, 60, 1, "2 rounds do not fit a pool of 60 images: round 0 would label none"),
    ],
)
def test_rounds_that_do_not_fit_say_which_one_and_why(pool, initial, each, rounds, why):
    with pytest.raises(ConfigError) as error:
        budget.images_per_round(pool, initial, each, rounds)
    assert str(error.value).startswith(f"{why} (rounds=")


class Order:
    """A sampler that prefers images in this order; remembers how many it was asked for."""

    def __init__(self, *ids):
        self.ids, self.asked, self.draws = ids, [], []

    def __call__(self, request):
        self.asked.append(request.budget)
        self.draws.append(request.rng.random())
        ids = np.array(self.ids[: request.budget])
        everyone = np.sort(self.ids)
        dropped_by = np.where(np.isin(everyone, ids), 0, 1)
        selection = Selection(ids, -np.arange(len(ids), dtype=float))
        stages = (StageLog("order", len(everyone), len(ids)),)
        return Choice(selection, stages, everyone, np.full(len(everyone), 0.5), dropped_by)


def fill(order, boxes, wanted, guess):
    return budget.fill(order, Request(list(boxes), None, guess, np.random.default_rng(0)), boxes, wanted)


@pytest.mark.parametrize(
    ("wanted", "guess", "taken", "asked"),
    [
        (3, 2, [2], [2]),  # 5 boxes at once: the other image is left
        (5, 1, [2], [1]),
        (6, 1, [2, 1, 4], [1, 2, 3]),  # 5, then 5, then 7
        (7, 4, [2, 1, 4], [4]),
        (8, 3, [2, 1, 4, 0], [3, 4]),
        (10, 4, [2, 1, 4, 0], [4]),
        (10, 99, [2, 1, 4, 0], [4]),  # never asked for all of them
    ],
)
def test_images_until_the_boxes_reach_the_budget(wanted, guess, taken, asked):
    order = Order(2, 1, 4, 0, 3)  # holding 5, 5, 7, 10, 11
    choice = fill(order, BOXES, wanted, guess)
    selection, logs = choice.selection, choice.stages
    assert selection.ids.tolist() == taken
    assert selection.scores.tolist() == (-np.arange(len(taken), dtype=float)).tolist()
    assert order.asked == asked
    assert len(set(order.draws)) == 1, "every question starts from the same random state"
    assert logs[-1] == StageLog(f"until {wanted} boxes", min(asked[-1], 4), len(taken))
    beyond = order.ids[
        : min(asked[-1], 4)
    ]  # asked for and over the budget: dropped by the last stage, the others before
    fates = {i: 0 if i in taken else 2 if i in beyond else 1 for i in BOXES}
    assert dict(zip(choice.candidates.tolist(), choice.dropped_by.tolist(), strict=True)) == fates


def test_the_image_left_over_completes_the_budget():
    order = Order(0, 1, 3, 4, 2)
    selection = fill(order, BOXES, 7, 4).selection  # 3, 3, 4, 6, and the last has 5
    assert selection.ids.tolist() == [0, 1, 3, 4, 2]
    assert np.isnan(selection.scores[-1])


@pytest.mark.parametrize("wanted", [11, 12, 500])
def test_a_pool_with_no_more_boxes_than_the_budget_is_taken_whole(wanted):
    order = Order(2, 1, 4, 0, 3)
    assert fill(order, BOXES, wanted, 1).selection.ids.tolist() == [2, 1, 4, 0, 3]
    assert order.asked == [5]
    assert fill(Order(7), {7: 4}, 1, 1).selection.ids.tolist() == [7]


def test_guess():
    assert budget.guess_images(10, labeled_boxes=9, labeled_images=3) == 4  # 3 boxes an image
    assert budget.guess_images(10, labeled_boxes=0, labeled_images=3) == 30  # then fill asks for less than all


def test_joined_tables_are_the_table_they_were_cut_from():
    learner = FakeLearner(CLASSES)
    learner.fit(random_dataset(10), val=None, seed=0, init=None)
    whole = learner.infer(random_dataset(30), learner.provides)
    odd, even = whole.select(whole.image_ids[1::2]), whole.select(whole.image_ids[::2])
    both = budget.joined(odd, even)
    for name in ("image_ids", "offsets", "boxes", "scores", "classes"):
        assert np.array_equal(getattr(both, name), getattr(whole, name)), name
    for signal in Signal:
        assert np.array_equal(both.columns[signal], whole.columns[signal]), signal
    assert set(ROW_AXIS) < set(both.columns)


def experiment(*overrides):
    [job] = jobs_of(["model=fake", *overrides])
    return job.experiment


@pytest.mark.parametrize(
    ("overrides", "sizes"),
    [
        (["initial=8", "budget=15", "rounds=3"], [8, 15, 15, 15]),
        (["initial=0.2", "budget=0.1", "rounds=3"], [8, 8, 8, 8]),  # 7.9, 15.8 and 23.7 of 79 boxes
        (["rounds=2", "initial=4"], [4, 26, 27]),  # a third of the boxes each
        (["rounds=1"], [20, 40]),
    ],
)
def test_counts_and_shares_of_boxes(overrides, sizes):
    splits = Splits("x", random_dataset(40), None, random_dataset(3, first_id=1000))
    assert splits.train.box_count == 79
    plan = build.plan_rounds(experiment("budget_unit=boxes", *overrides), splits)
    assert list(plan.sizes) == sizes
    assert plan.unit == "boxes"


@pytest.mark.parametrize("overrides", [["budget=30"], ["initial=38", "rounds=2"], ["budget=0.5", "rounds=3"]])
def test_rounds_that_could_use_up_the_boxes_are_refused(overrides):
    splits = Splits("x", random_dataset(40), None, random_dataset(3, first_id=1000))
    with pytest.raises(ConfigError, match="do not fit a pool of 79 boxes, where an image has up to 4"):
        build.plan_rounds(experiment("budget_unit=boxes", *overrides), splits)


class Spy(FakeLearner):
    """Remembers which images it was asked for, with which signals, since it was last trained."""

    def fit(self, *args, **kwargs):
        self.asked = {}
        return super().fit(*args, **kwargs)

    def infer(self, images, signals=frozenset()):
        ids = set(images.ids.tolist())
        again = self.asked.get(signals, set()) & ids
        assert not again, f"images {sorted(again)} were asked for {sorted(signals)} twice"
        self.asked[signals] = self.asked.get(signals, set()) | ids
        return super().infer(images, signals)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("unit", ["images", "boxes"])
def test_every_sampler_fills_its_budget(sampler, unit, tmp_path):
    checked = experiment(f"sampler={sampler}", f"budget_unit={unit}", "initial=8", "budget=7", "rounds=2")
    splits = Splits("shapes", random_dataset(40), random_dataset(6, first_id=200), random_dataset(8, first_id=100))
    plan = build.plan_rounds(checked, splits)
    runs = []
    for name in ("one", "two") if unit == "boxes" else ("one",):
        with RunFolder.create(tmp_path / name, checked.config, {}) as folder:
            runs.append(list(loop.run(splits, Spy(CLASSES), checked.strategy, plan, folder, checked.task)))
    assert [record.picked for record in runs[0]] == [record.picked for record in runs[-1]]
    for record in runs[0][1:]:
        held = np.cumsum([len(splits.train[i].boxes) for i in record.picked])
        if unit == "images":
            assert len(record.picked) == 7
        else:
            assert held[-1] >= 7
            assert len(held) == 1 or held[-2] < 7, "one image beyond the budget at most"
            assert record.stages[-1].name == "until 7 boxes"
            assert record.stages[-1].kept == len(record.picked)
    assert runs[0][-1].boxes == splits.train.select(runs[0][-1].labeled).box_count


def test_sizes_that_do_not_fit_are_said_in_a_line():
    with pytest.raises(
        ConfigError, match="10000 rounds do not fit a pool of 4 images: round 1 would label none"
    ) as error:
        budget.images_per_round(4, 1, 1e-4, 9999)
    assert len(str(error.value)) < 300
