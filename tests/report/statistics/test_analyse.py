"""Curves and what they are summed up to: hand cases, fine-grained integration, laws, and the sources' own numbers."""

import statistics

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from statistics_samples import THESIS, analyse, curve, measure, noisy_curves, thesis_curves

from al_cli.errors import RunError
from al_cli.report.statistics.curves import (
    OverSeeds,
    Target,
    area,
    average_rounds,
    common_range,
    labels_to_reach,
    parse_target,
)
from al_cli.report.study import curves_of
from al_cli.tasks.detection import TASK
from al_cli.types import RoundRecord, StageLog


def one(cost, ap, **more):
    return curve("a", 1, ap, images=cost, boxes=cost, **more)


def test_area_by_hand():
    run = one([100, 200, 400], [10, 20, 40])
    assert area(run, "AP", "images", "linear", (100, 400)) == pytest.approx((15 * 100 + 30 * 200) / 300)
    assert area(run, "AP", "images", "linear", (150, 300)) == pytest.approx((17.5 * 50 + 25 * 100) / 150)
    assert area(run, "AP", "images", "log", (100, 400)) == pytest.approx((15 + 30) / 2)  # each doubling weighs the same
    assert area(run, "AP", "images", "linear", (50, 400)) is None  # the curve says nothing of 50
    assert area(run, "AP", "images", "linear", None) is None
    assert area(one([100], [10]), "AP", "images", "linear", (100, 400)) is None
    assert area(one([100, 200], [10, 20], complete=False), "AP", "images", "linear", (100, 200)) is None
    assert area(one([200, 100], [10, 20]), "AP", "images", "linear", (100, 200)) is None  # labeled anew each round


def test_area_of_a_round_without_new_boxes_is_cut_before_or_after_its_step():
    run = one([100, 200, 200, 300], [10, 20, 30, 40])
    assert area(run, "AP", "boxes", "linear", (100, 200)) == pytest.approx(15)
    assert area(run, "AP", "boxes", "linear", (200, 300)) == pytest.approx(35)
    assert area(run, "AP", "boxes", "linear", (100, 300)) == pytest.approx(25)


def test_points_without_a_value_or_a_logarithm_are_left_out():
    run = one([0, 100, 200, 300], [5, 10, None, 30])
    assert area(run, "AP", "boxes", "log", (100, 300)) == pytest.approx(20)
    assert area(run, "AP", "boxes", "linear", (0, 300)) == pytest.approx((7.5 * 100 + 20 * 200) / 300)
    assert area(one([100, 200], [None, None]), "AP", "boxes", "linear", (100, 200)) is None


curves = st.lists(st.tuples(st.integers(1, 500), st.floats(0, 100)), min_size=2, max_size=7).map(
    lambda steps: one(np.cumsum([step for step, _ in steps]).tolist(), [ap for _, ap in steps])
)


@given(curves, st.sampled_from(["linear", "log"]), st.floats(0, 0.45), st.floats(0.55, 1))
@settings(max_examples=40, deadline=None)
def test_area_against_a_fine_grid(run, scale, low, high):
    x = np.array(run.costs["images"], float) if scale == "linear" else np.log(run.costs["images"])
    low, high = (x[0] + share * (x[-1] - x[0]) for share in (low, high))
    at = np.sort(np.concatenate([np.linspace(low, high, 20001), x[(x > low) & (x < high)]]))
    expected = np.trapezoid(np.interp(at, x, run.metrics["AP"]), at) / (high - low)
    within = (low, high) if scale == "linear" else (np.exp(low), np.exp(high))
    within = (max(within[0], run.costs["images"][0]), min(within[1], run.costs["images"][-1]))  # exp(log(x)) may miss x
    assert area(run, "AP", "images", scale, within) == pytest.approx(expected, abs=1e-3)


@given(curves, st.floats(0.01, 100))
@settings(max_examples=60, deadline=None)
def test_labels_to_reach_is_the_first_crossing(run, target):
    x, y = np.array(run.costs["images"], float), np.array(run.metrics["AP"])
    found = labels_to_reach(run, "AP", "images", target)
    if y.max() < target:
        assert found is None
    elif y[0] >= target:
        assert found == x[0]
    else:
        before = np.linspace(x[0], found, 50)[:-1]
        assume(found > x[0])
        assert np.interp(found, x, y) == pytest.approx(target, abs=1e-6)
        assert (np.interp(before, x, y) < target + 1e-6).all()


def test_common_range_is_what_all_complete_curves_cover():
    runs = [one([100, 300], [1, 2]), one([120, 280], [1, 2]), one([400, 500], [1, 2], complete=False), one([900], [1])]
    assert common_range(runs, "AP", "boxes") == (120, 280)
    assert common_range([*runs, one([280, 400], [1, 2])], "AP", "boxes") is None
    assert common_range([], "AP", "boxes") is None
    assert common_range([one([0, 100, 200], [1, 2, 3])], "AP", "boxes", "log") == (100, 200)


def test_isal_savings():
    """ISAL, section 4.1, CIFAR10: the final values of coreset and random, of 10000 images, are reached with 1200 and
    2300 images fewer: 12% and 23% saved."""
    runs = [
        curve("isal", 1, [50, 90, 92, 93], images=[1000, 7700, 8800, 10000]),
        curve("coreset", 1, [50, 92], images=[1000, 10000]),
        curve("random", 1, [50, 90], images=[1000, 10000]),
    ]
    for base, final, needed, saved in (("coreset", 92, 8800, 12), ("random", 90, 7700, 23)):
        isal = analyse(runs, random=base, target=Target(TASK.primary, final)).of_arm("isal")
        assert isal.labels["images"].mean == pytest.approx(needed)
        assert isal.ratio["images"].mean == isal.ratio["boxes"].mean == pytest.approx(1 - saved / 100)


def test_thesis_numbers():
    """Appendix A: with two seeds random ends below every schedule in both, and still nothing may be called a win."""
    found = analyse(thesis_curves(), random="random")
    last = found.comparisons[measure("final")]
    for arm, (first, second) in THESIS.items():
        assert found.of_arm(arm).final.mean == pytest.approx((first[-1] + second[-1]) / 2)
        assert found.of_arm(arm).final.std == pytest.approx(abs(first[-1] - second[-1]) / 2**0.5)
    for pair in last.against("random"):
        assert (pair.seed_wins, pair.seed_losses, pair.outcome, pair.low) == (2, 0, "unknown", None)
        assert pair.difference > 12
        assert pair.wilcoxon_p == 0.5
    trapezoid = [(sum(ap) - (ap[0] + ap[-1]) / 2) / 4 for ap in THESIS["0-0-0"]]
    assert found.of_arm("0-0-0").auc["images", "linear"].mean == pytest.approx(statistics.fmean(trapezoid))
    # random's last round is its worst: its final AP is reached with the initial images, or, by seed 11, soon after
    assert found.of_arm("random").labels["images"].values == pytest.approx({10: 100, 11: 100 + 100 * 0.48 / 1.62})
    assert list(found.comparisons)[-5:] == [measure("round", round=k) for k in range(5)]


def test_target_is_random_seed_by_seed_unless_given():
    runs = [
        curve("random", 1, [10, 30]),
        curve("random", 2, [20, 40]),
        curve("b", 1, [10, 50]),
        curve("b", 2, [20, 39]),
    ]
    found = analyse(runs, random="random").of_arm("b")
    assert found.labels["images"].values == {1: 150, 2: None}
    assert (found.labels["images"].n, found.labels["images"].mean) == (
        1,
        None,
    )  # the mean of those that did would flatter
    given = analyse(runs, random="random", target=Target(TASK.primary, 30)).of_arm("b")
    assert given.labels["images"].values == pytest.approx({1: 150, 2: 100 + 100 * 10 / 19})
    assert {seed: np.exp(log) for seed, log in given.ratio["boxes"].logs.items()} == pytest.approx(
        {1: 0.75, 2: 1.017543859649}
    )
    alone = analyse(runs, random=None)
    assert alone.random is None
    assert alone.of_arm("b").labels["images"].values == {1: None, 2: None}
    assert alone.of_arm("b").ratio == {}


def test_reference():
    runs = [curve("a", 1, [10, 30, 48]), curve("a", 2, [10, 30, 40]), curve("a", 3, [10, 30, 40])]
    full = [curve("reference", 1, [50.0]), curve("reference", 2, [50.0])]
    found = analyse(runs, full)
    assert found.reference.values == {1: 50, 2: 50}
    arm = found.of_arm("a")
    assert arm.share.values == pytest.approx({1: 96, 2: 80, 3: None})
    assert arm.share_labels["images", 0.9].values == pytest.approx({1: 200 + 100 * 15 / 18, 2: None, 3: None})
    assert arm.share_labels["boxes", 0.95].values[1] == pytest.approx(5 * (200 + 100 * 17.5 / 18))
    assert arm.share.mean is None


def test_rounds_against_numpy():
    runs = [*noisy_curves({"a": 0, "b": 1}, (1, 2, 3)), curve("a", 4, [20.0, 25.0], complete=False)]
    rows = {(row.arm, row.round): row for row in average_rounds(runs)}
    assert list(rows) == [(arm, k) for arm in "ab" for k in range(4)]
    for (arm, k), row in rows.items():
        there = [run for run in runs if run.arm == arm and run.rounds > k]
        ap = [run.metrics["AP"][k] for run in there]
        assert (row.n, row.std["AP"]) == pytest.approx((len(ap), np.std(ap, ddof=1)))
        assert row.adjusted == (arm == "b" and k < 2)  # it lacks seed 4
        if row.adjusted:
            of_a = np.array([run.metrics["AP"][k] for run in runs if run.arm == "a"])
            assert row.mean["AP"] == pytest.approx(np.mean(ap) + of_a.mean() - of_a[:3].mean())
            continue
        assert row.mean["AP"] == pytest.approx(np.mean(ap))
        assert row.costs == {cost: pytest.approx(np.mean([r.costs[cost][k] for r in there])) for cost in row.costs}
        assert row.mean["val_loss"] is None
    assert average_rounds([curve("a", 1, [1.0])])[0].std["AP"] is None
    assert average_rounds([]) == []


def test_incomplete_runs_count_in_rounds_only():
    runs = noisy_curves({"random": 0, "a": 1}, (1, 2, 3))
    running = curve("a", 4, [20.0, 25.0], complete=False)
    found, without = analyse([*runs, running], random="random"), analyse(runs, random="random")
    assert found.of_arm("a").seeds == 3
    assert found.of_arm("a").final == without.of_arm("a").final
    assert found.ranges == without.ranges
    assert found.comparisons[measure("round", round=0)].n[1, 1] == 4
    assert found.comparisons[measure("final")].n[1, 1] == 3


def test_runs_of_one_seed_count_once():
    runs = [curve("a", 1, [10, 20]), curve("a", 1, [10, 30]), curve("b", 1, [10, 20])]
    found = analyse(runs)
    assert found.of_arm("a").final.values == {1: 25}
    assert found.comparisons[measure("final")].pair("a", "b").difference == 5


def test_studies_with_next_to_nothing_in_them():
    empty = analyse([])
    assert (empty.arms, empty.rounds, empty.seeds) == ((), (), 0)
    one_run = analyse([curve("a", None, [10.0])], random="random")
    assert one_run.of_arm("a").final.mean == 10
    assert one_run.of_arm("a").auc["boxes", "log"].mean is None
    assert not any(one.kind == "round" for one in one_run.comparisons)
    assert one_run.comparisons[measure("final")].t_p.shape == (1, 1)
    assert OverSeeds({}).mean is None


@pytest.mark.parametrize(("text", "target"), [("AP=0.3", ("AP", 30)), ("AP=30", ("AP", 30)), ("APs=1", ("APs", 100))])
def test_targets_are_percent_or_shares(text, target):
    assert parse_target(text, TASK) == Target(TASK.metric(target[0]), target[1])


@pytest.mark.parametrize("text", ["AP", "AP=", "AP=high", "AP=0", "AP=130", "AP=nan", "map=0.3", ""])
def test_wrong_targets(text):
    with pytest.raises(RunError, match="AP"):
        parse_target(text, TASK)


def record(k, ap, labeled, oracle=False):
    stages = (StageLog("top", 9, 1, oracle=oracle),)
    return RoundRecord(k, 1, None, labeled, labeled, (None,), stages, len(labeled), 7 * k, {"AP": ap}, 0.5, {})


def test_curves_from_records():
    class Run:
        def __init__(self, name, records, total):
            self.name, self.arm, self.seed, self.records, self.config = name, "a", 3, records, {}
            self.summary = type("Summary", (), {"rounds_total": total})

    two = [record(0, 11.5, (4, 2)), record(1, None, (4, 2, 9), oracle=True)]
    same_end = [record(0, 11.5, (9, 4)), record(1, 12.0, (9, 4, 2))]
    first, second, third = curves_of(
        [Run("a", two, 2), Run("b", same_end, 2), Run("c", two[:1], 2), Run("d", [], 2)], TASK
    )
    assert (first.costs["images"], first.costs["boxes"], first.metrics["AP"], first.metrics["APs"]) == (
        (2, 3),
        (0, 7),
        (11.5, None),
        (None,) * 2,
    )
    assert first.metrics["val_loss"] == (0.5, 0.5)
    assert (first.oracle, second.oracle, first.complete, third.complete) == (True, False, True, False)
    assert first.end == second.end != first.start == third.start != second.start
    assert (first.final("AP"), second.final("AP"), third.final("AP")) == (None, 12.0, None)
