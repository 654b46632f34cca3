"""What is compared of arms that paid unequally, and what labels an arm saves: by hand, and over simulated studies."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from statistics_samples import analyse, curve, measure, noisy_curves

from al_cli.records.claim import parse_claim
from al_cli.report.sections.costs import spent_by_arm, spent_table
from al_cli.report.sections.numbers import arms_table
from al_cli.report.sections.summary import ADJUSTED, summary_tables
from al_cli.report.statistics.answer import answer
from al_cli.report.statistics.blocks import block_means
from al_cli.report.statistics.claim_answer import answer_claim
from al_cli.report.statistics.curves import Target
from al_cli.report.statistics.savings import cost_ratio, saving
from al_cli.report.statistics.warnings import shared_trainings
from al_cli.tasks.detection import TASK

SEEDS = range(3)
FULL, SHORT = [64, 144, 224], [64, 104, 144]


def with_a_short_arm():
    """`small` was given half the others' budget: it ends at 144 images."""
    runs = noisy_curves({"random": 0, "ccms": 3, "small": 1}, SEEDS, rounds=3)
    spent = {"random": FULL, "ccms": FULL, "small": SHORT}
    return [
        replace(run, costs={"images": tuple(of := spent[run.arm]), "boxes": tuple(4 * n for n in of)}) for run in runs
    ]


def test_a_short_arm_moves_no_other_arms_numbers():
    runs = with_a_short_arm()
    found, without = (analyse(some, random="random") for some in (runs, [run for run in runs if run.arm != "small"]))
    for cost in ("images", "boxes"):
        both = [one.comparisons[measure("AUC", cost=cost)].pair("ccms", "random") for one in (found, without)]
        assert replace(both[0], t_holm=None, wilcoxon_holm=None) == replace(both[1], t_holm=None, wilcoxon_holm=None)
        assert found.of_arm("ccms").auc == without.of_arm("ccms").auc
    pair = found.comparisons[measure("AUC", cost="images")].pair("small", "random")
    ap = {(run.arm, run.seed): run.metrics["AP"] for run in runs}
    own = [np.dot(ap["small", seed], [0.25, 0.5, 0.25]) for seed in SEEDS]  # trapezoids of 64, 104 and 144 images
    base = [np.mean(ap["random", seed][:2]) for seed in SEEDS]
    assert (pair.n, pair.difference) == (3, pytest.approx(np.mean(own) - np.mean(base)))


def test_unequal_budgets_are_said_with_the_answer_and_final_values_are_not_compared():
    found = analyse(with_a_short_arm(), random="random")
    said = "`small` ends at 144 images, the others at 224: against it areas use 50% of the others' range, and final"
    assert sum(line.startswith(said) for line in answer(found)) == 1
    final = found.comparisons[measure("final")]
    assert (final.pair("small", "random").difference, final.pair("small", "random").outcome) == (None, "unknown")
    assert final.pair("ccms", "random").n == 3
    assert [pair.t_holm == pair.t_p for pair in final.against("random") if pair.t_p] == [True]  # a family of one
    rounds = found.comparisons[measure("round", round=1)], found.comparisons[measure("round", round=0)]
    assert [one.pair("small", "random").n for one in rounds] == [0, 3]  # both began with 64 images
    claim = parse_claim({"arm": "small", "against": "random", "metric": "AP"}, TASK)
    assert answer_claim(claim, found).sentence.endswith("end with other costs, so their final values are not compared.")
    beyond = analyse(with_a_short_arm(), random="random", target=Target(TASK.primary, 60))
    (table,) = summary_tables(beyond, "images")
    assert "that all arms but small cover: 64 to 224 images" in table.note
    needed = {row[0]: row[7] for row in table.shown[1]}
    assert needed == {"ccms": "never", "random": "never", "small": ">144"}  # who ended early is censored there


def test_equal_boxes_are_an_equal_budget_and_a_longer_arm_is_one_too():
    def ends(images, boxes):
        usual = curve("a", 1, [10, 20], images=[64, 224], boxes=[300, 900])
        return [usual, curve("b", 1, [10, 20], images=[64, images], boxes=[300, boxes])]

    assert analyse(ends(150, 910)).unequal == ()
    assert analyse(ends(224, 500)).unequal == ()
    assert analyse(ends(150, 800)).unequal == ("b",)
    more = [*ends(224, 900), curve("c", 1, [10, 20, 30], images=[64, 224, 320], boxes=[300, 900, 1300])]
    assert "`c` ends at 320 images, the others at 224: against it areas end with theirs" in " ".join(
        answer(analyse(more))
    )


# ---- seeds that an arm lacks


def test_block_means_are_the_marginal_means_of_the_additive_model():
    """Searle, Speed and Milliken (1980): with columns of +0, +10 and +20 a row that lacks the highest is filled in by them."""
    full = np.array([[1.0, 11, 21], [3, 13, 23]])
    holes = np.array([[1.0, np.nan, np.nan], [3, 13, 23]])
    assert block_means(full) == pytest.approx([11, 13])
    assert block_means(holes) == pytest.approx([11, 13])
    rng = np.random.default_rng(0)
    noisy = np.where(rng.random((4, 6)) < 0.3, np.nan, rng.normal(size=(4, 6)))
    noisy[0] = rng.normal(size=6)  # all are connected by this one
    filled = noisy.copy()
    for _ in range(500):  # the fit by alternation: fill in, and take row and column effects of the full table
        fit = filled.mean(1, keepdims=True) + filled.mean(0) - filled.mean()
        filled = np.where(np.isfinite(noisy), noisy, fit) if np.isfinite(fit).all() else np.nan_to_num(noisy)
    assert block_means(noisy) == pytest.approx(filled.mean(1), abs=1e-6)
    apart = np.array([[1.0, 3, np.nan], [np.nan, np.nan, 7], [np.nan] * 3])
    assert block_means(apart) == pytest.approx([2, 7, np.nan], nan_ok=True)


def test_an_arm_with_the_unlucky_seed_alone_starts_with_the_others():
    """All arms share the first round of a seed; `late` has the lowest seed only, and its curve began below all others."""
    runs = [
        curve(arm, seed, [10 + 5 * seed, 20 + 5 * seed + gain])
        for arm, gain in (("random", 0), ("a", 2))
        for seed in SEEDS
    ]
    found = analyse([*runs, curve("late", 0, [10, 21])], random="random")
    rounds = {(row.arm, row.round): row for row in found.rounds}
    assert [rounds[arm, 0].mean["AP"] for arm in ("random", "a", "late")] == pytest.approx([15, 15, 15])
    assert rounds["late", 1].mean["AP"] == found.of_arm("late").final.mean == pytest.approx(26)
    assert [rounds[arm, 1].adjusted for arm in ("random", "a", "late")] == [False, False, True]
    (table,) = summary_tables(found, "images")
    assert [row[0] for row in table.rows] == ["a", "late", "random"] and ADJUSTED in table.note
    assert ADJUSTED in arms_table(found.rounds, TASK).note
    assert ADJUSTED not in summary_tables(analyse(runs, random="random"), "images")[0].note


# ---- labels saved


def by_cost(share, seeds, spread=0.0, arm="a"):
    """Curves that reach each value at `share` of the images of random's, times e to a normal with this deviation."""
    rng = np.random.default_rng(4)
    shares = share * np.exp(rng.normal(0, spread, len(seeds)))
    return [
        curve(arm, seed, [10, 25, 31, 34], images=[own * n for n in (100, 200, 300, 400)])
        for seed, own in zip(seeds, shares, strict=True)
    ]


def test_the_cost_ratio_is_that_of_the_costs_whatever_the_value():
    seeds = range(6)
    random, cheap = by_cost(1, seeds, arm="random"), by_cost(0.8, seeds, 0.1)
    found = cost_ratio(cheap, random, "AP", "images")
    paid = [np.log(run.costs["images"][-1] / 400) for run in cheap]
    assert list(found.logs.values()) == pytest.approx(paid)
    expected = np.exp(stats.t.interval(0.95, 5, np.mean(paid), stats.sem(paid)))
    assert (found.mean, *found.interval()) == pytest.approx((np.exp(np.mean(paid)), *expected))
    assert found.p == pytest.approx(stats.ttest_1samp(paid, 0).pvalue)
    back = cost_ratio(random, cheap, "AP", "images")
    assert list(back.logs.values()) == pytest.approx(np.negative(paid))
    at_28 = cost_ratio(cheap, random, "AP", "images", 28)
    assert list(at_28.logs.values()) == pytest.approx(paid)
    words = saving("a", "random", {"images": found}, "For equal AP", 4, 0.05)
    assert words.startswith(
        f"For equal AP, a needs {100 - 100 * found.mean:.0f}% fewer images (ratio {found.mean:.2f}, 95%"
    )
    assert cost_ratio(cheap[:2], random, "AP", "images").interval() is None


def test_seeds_that_never_arrive_stay_censored():
    """Seed 2 of `a` ends below the target, seed 0 of random too; the ratios of the others are no saving of the arm."""
    random = [curve("random", seed, [10, 20, 30 - 5 * (seed == 0)]) for seed in SEEDS]
    arm = [curve("a", seed, [10, 30 - 5 * (seed == 2), 30 - 4 * (seed == 2)]) for seed in SEEDS]
    found = cost_ratio(arm, random, "AP", "images", 29)
    assert (found.logs[0], found.logs[2], found.n, found.mean, found.interval(), found.p) == (
        None,
        None,
        1,
        *[None] * 3,
    )
    assert (found.own_never, found.other_never) == (1, 1)
    words = saving("a", "random", {"images": found}, "To reach AP 29", 1, 0.05)
    assert "in 1 seed a does not reach what random does and in 1 seed random does not reach what a does" in words
    stuck = cost_ratio([curve("a", 1, [10, 9, 8])], [curve("random", 1, [10, 20, 30])], "AP", "images")
    assert (stuck.own_never, stuck.other_never, stuck.mean) == (1, 0, None)  # it reaches the shared start alone
    table = summary_tables(analyse([*random, *arm], random="random", target=Target(TASK.primary, 29)), "images")[0]
    assert {row[0]: row[-2] for row in table.shown[1]} == {"a": "1 of 3 seeds", "random": ""}


@pytest.mark.parametrize("seeds", [3, 7])
def test_equal_arms_save_nothing_in_19_of_20_studies(seeds):
    """The best of four arms of random's own curve and noise; with three seeds 17% of such answers called a saving."""
    rng, truth, studies, said = np.random.default_rng(seeds), np.array([30.0, 38, 43, 46, 48]), 150, 0
    for _ in range(studies):
        random, *arms = (
            [curve("a", seed, [truth[0], *(truth[1:] + rng.normal(0, 1.5, 4))]) for seed in range(seeds)]
            for _ in range(5)
        )
        ratios = [cost_ratio(arm, random, "AP", "images") for arm in arms]
        best = min(ratios, key=lambda ratio: ratio.mean or 9)
        said += "fewer images" in saving("a", "random", {"images": best}, "For equal AP", len(arms), 0.05)
    assert said <= 0.05 * studies


# ---- shared trainings


def test_arms_that_are_one_training_in_a_round_are_named():
    def arm(name, *trainings):
        return curve(name, 1, [10, 20, 30], trainings=trainings)

    runs = [arm("random", "s", "r", "e"), arm("a", "s", "x", "e"), arm("b", "s", "x", "e"), arm("c", "s", "y", "")]
    (line,) = shared_trainings(runs)  # 11 known rounds: s, r, e, x, y
    assert line.startswith(
        "Arms share trainings: the 11 rounds of all runs are 5 trainings. a and b share that of round 1; "
    )
    assert "; random, a and b share that of round 2. There they agree" in line
    assert shared_trainings(runs[:2]) == []  # what all share, the start and the end, goes without saying
    assert shared_trainings([curve("a", 1, [10, 20]), curve("b", 1, [10, 20])]) == []


def test_costs_count_the_rounds_that_arms_share(tmp_path):
    def record(k, weights):
        return SimpleNamespace(round=k, hashes={"checkpoint.pth": weights} if weights else {"predictions.npz": "p"})

    def runs(*weights):
        return [SimpleNamespace(path=tmp_path, records=[record(k, name) for k, name in enumerate(weights)])]

    arms = {"a": runs("s", "x", None), "b": runs("s", "y", None), "c": runs("s", "x", "z")}
    spent = spent_by_arm(SimpleNamespace(arms=list(arms), of_arm=arms.__getitem__, references=[]))
    assert {arm: one.shared for arm, one in spent.items()} == {"a": 3, "b": 2, "c": 2}
    assert [row[3] for row in spent_table(spent).for_people[1]] == ["3", "2", "2"]
