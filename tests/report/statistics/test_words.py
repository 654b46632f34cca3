"""Claims, answers and warnings: what is decided, and that each sentence names what it is about."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from statistics_samples import analyse, curve, measure, noisy_curves, thesis_curves

from al_cli.errors import RunError
from al_cli.progress import listing
from al_cli.records.claim import Claim, parse_claim
from al_cli.report.sections.comparison import against_table
from al_cli.report.statistics import warnings as doubts
from al_cli.report.statistics.analyse import compare
from al_cli.report.statistics.answer import answer
from al_cli.report.statistics.claim_answer import answer_claim, measure_of
from al_cli.report.statistics.comparison import Pair
from al_cli.report.statistics.curves import Target
from al_cli.report.statistics.in_words import difference, interval, p_number, p_sentence, seeds_sentence
from al_cli.tasks.detection import TASK

SEEDS = range(8)


def claim_of(arm, against, metric="AUC", cost="images", alpha=0.05) -> Claim:
    return parse_claim({"arm": arm, "against": against, "metric": metric, "cost": cost, "alpha": alpha}, TASK)


AP = TASK.primary
CPU = {"device": "cpu", "python": "3.11.7", "git": "abc", "versions": {"torch": "2.15.0"}}


def test_claim_holds_and_its_opposite():
    runs = noisy_curves({"random": 0, "ccms": 3}, SEEDS)
    found = analyse(runs, random="random")
    claim = claim_of("ccms", "random", "AUC", "boxes", 0.01)
    told = answer_claim(claim, found)
    values = found.comparisons[measure("AUC", cost="boxes")].values
    assert told.pair.t_p == pytest.approx(stats.ttest_rel(values[1], values[0]).pvalue, abs=1e-12)
    assert told.pair.difference == pytest.approx((values[1] - values[0]).mean())
    assert told.decision == "holds"
    low, high = stats.ttest_rel(values[1], values[0]).confidence_interval(0.99)
    for part in (
        "AUC of AP against boxes",
        "alpha 0.01",
        f"99% interval {low:+.2f} to {high:+.2f}",
        f"{told.pair.difference:+.2f} points",
        "8 seeds",
        "p < 0.001",
    ):
        assert part in told.sentence
    assert answer_claim(claim_of("random", "ccms"), found).decision == "the opposite holds"
    assert "the opposite" in answer_claim(claim_of("random", "ccms"), found).sentence.lower()


def test_claim_is_judged_at_its_own_alpha_without_correction():
    runs = noisy_curves({"random": 0, "ccms": 0.7, "b": 0, "c": 0, "d": 0}, SEEDS)
    found = analyse(runs, random="random")
    final = found.comparisons[measure("final")].pair("ccms", "random")
    below, above = final.t_p * 0.99, final.t_p * 1.01
    assert final.t_holm > above
    assert answer_claim(claim_of("ccms", "random", "AP", alpha=above), found).decision == "holds"
    assert answer_claim(claim_of("ccms", "random", "AP", alpha=below), found).decision == "undecided"


def test_claim_that_cannot_be_decided_yet():
    found = analyse(thesis_curves(), random="random")
    told = answer_claim(claim_of("0-0-0", "random", "AP", alpha=0.9), found)  # two seeds, both 12 points ahead
    assert told.decision == "undecided"
    assert "2 seeds being too few" in told.sentence
    with pytest.raises(RunError, match="did you mean random"):
        answer_claim(claim_of("0-0-0", "randon"), found)
    late = answer_claim(claim_of("ccms", "random"), found, planned=["ccms", "random"])
    assert (late.decision, late.pair) == ("undecided", None)
    assert "ccms has no finished round" in late.sentence
    running = analyse([curve("a", 1, [10, 20], complete=False), curve("b", 1, [10, 20])])
    assert "no complete run" in answer_claim(claim_of("a", "b"), running).sentence


@pytest.mark.parametrize(
    "wrong",
    [
        {"metric": "mAP"},
        {"cost": "euro"},
        {"alpha": 5},
        {"alpha": True},
        {"margin": 0},
        {"margin": True},
        {"margin": None},
        {"arms": "a"},
        {"arm": None},
        {"against": "ccms"},
    ],
    ids=str,
)
def test_wrong_claims(wrong):
    right = {"arm": "ccms", "against": "random"}
    assert parse_claim(right, TASK) == Claim("ccms", "random", "AUC", "images", 0.05)
    with pytest.raises(RunError, match="claim"):
        parse_claim(right | wrong, TASK)


def test_metrics_of_claims():
    assert measure_of(claim_of("a", "b", "AUC_log", "boxes"), TASK) == measure("AUC", cost="boxes", scale="log")
    assert measure_of(claim_of("a", "b", "APs"), TASK) == measure("final", "APs")
    assert measure_of(claim_of("a", "b", "APs"), TASK).label == "final APs"
    assert measure_of(claim_of("a", "b", "AUC of AP50"), TASK) == measure("AUC", "AP50", cost="images")
    logarithmic = measure_of(claim_of("a", "b", "AUC_log of AP07", "boxes"), TASK)
    assert logarithmic == measure("AUC", "AP07", cost="boxes", scale="log")
    assert logarithmic.label == "AUC of AP07 against boxes (log)"


@pytest.mark.parametrize(
    ("metric", "said", "remedy"),
    [
        ("AUC of AP_50", "'AP_50' is no metric of a claim on task detection", "did you mean AP50? valid: AP, AP07, "),
        ("AUC of", "'AUC of' is no metric of a claim", "; or AUC of METRIC or AUC_log of METRIC"),
        ("AUC of val_loss", "'val_loss' is no metric of a claim", "valid: AP, "),
        ("AUCs of AP50", "'AUCs' is no area of a claim", "did you mean AUC? valid: AUC, AUC_log"),
        ("AUC AP50", "'AUC AP50' is no metric", "; or AUC of METRIC or AUC_log of METRIC"),
        (["AP"], "['AP'] is no metric", "valid: AP, AP07, "),
    ],
    ids=str,
)
def test_what_no_claim_can_be_about(metric, said, remedy):
    with pytest.raises(RunError) as refused:
        parse_claim({"arm": "a", "against": "b", "metric": metric}, TASK)
    assert said in refused.value.what and remedy in refused.value.remedy and refused.value.where == "claim"


def two_metrics(arm, seed, ap, ap50):
    made = curve(arm, seed, ap)
    return replace(made, metrics={**made.metrics, "AP50": tuple(ap50)})


def test_everything_can_be_compared_in_another_metric():
    """`fine` is ahead in AP, `coarse` in AP50: the numbers are those of a study whose AP is that AP50."""
    rows = {"random": [(10, 50), (20, 60), (30, 70)], "fine": [(10, 50), (25, 61), (36, 69)]}
    rows["coarse"] = [(10, 50), (15, 70), (24, 75)]
    shifted = {
        (arm, seed): np.array(pairs) + np.random.default_rng([number, seed]).normal(0, 1)
        for number, (arm, pairs) in enumerate(rows.items())
        for seed in SEEDS
    }
    runs = [two_metrics(arm, seed, *zip(*pairs, strict=True)) for (arm, seed), pairs in shifted.items()]
    alone = [curve(arm, seed, [ap50 for _, ap50 in pairs]) for (arm, seed), pairs in shifted.items()]
    metric = TASK.metric("AP50")
    found, expected = analyse(runs, random="random", metric=metric), analyse(alone, random="random")
    for of_ap50, of_ap in zip(found.arms, expected.arms, strict=True):
        assert (of_ap50.final, of_ap50.auc, of_ap50.ratio) == (of_ap.final, of_ap.auc, of_ap.ratio)
    assert {one.metric for one in found.comparisons} == {metric}
    lines, in_ap = answer(found), answer(analyse(runs, random="random"))
    assert lines == [re.sub(r"\bAP\b", "AP50", line) for line in answer(expected)]
    assert "1 is better (coarse)" in lines[0] and "1 is better (fine)" in in_ap[0]
    claim = parse_claim({"arm": "coarse", "against": "random", "metric": "AUC of AP50"}, TASK)
    told = answer_claim(claim, analyse(runs, random="random"))
    assert told.decision == "holds" and "is better than random in AUC of AP50 against images (" in told.sentence
    assert answer_claim(replace(claim, metric="AUC"), found).decision == "the opposite holds"


def test_answer_counts_arms_and_leaves_oracles_out():
    runs = noisy_curves({"random": 0, "ccms": 3, "poor": -3, "same": 0, "known": 9}, SEEDS)
    runs = [
        curve(r.arm, r.seed, r.metrics["AP"], r.costs["images"], r.costs["boxes"], oracle=r.arm == "known")
        for r in runs
    ]
    lines = answer(analyse(runs, random="random"))
    assert not any("known" in line for line in lines)
    counted = "of 3 arms against random, 1 is better (ccms), 1 is worse (poor) and 1 is undecided."
    assert lines[0] == f"In AUC of AP against images, {counted}"
    assert lines[1].startswith("ccms against random: +")
    assert lines[1].endswith("ccms is better.")
    saves = [line for line in lines if line.startswith("For equal AP, ccms needs ")]
    assert len(saves) == 1 and "% fewer images (ratio 0." in saves[0] and "after correction for 6" in saves[0]
    assert sum("4 of 5 such studies find a true difference of" in line for line in lines) == 2
    assert not any("seeds are few" in line for line in lines)


def test_answer_with_few_seeds_says_so():
    three = answer(analyse(noisy_curves({"random": 0, "a": 0.3}, (1, 2, 3)), random="random"))
    assert "this is undecided" in three[0]
    assert any("below 0.25" in line and line.endswith("(it takes 6 seeds to go below 0.05).") for line in three)
    two = answer(analyse(thesis_curves(), random="random"))
    assert any("2 seeds cannot tell this from luck" in line for line in two)
    assert any("With 2 seeds per arm no difference" in line for line in two)
    assert not any("95% interval" in line for line in two)


def test_answer_where_all_arms_end_with_the_whole_pool():
    random = [curve("random", seed, [10, 20, 30]) for seed in range(3)]
    ccms = [curve("ccms", seed, [10, 25, 30]) for seed in range(3)]
    at_the_end = answer(analyse([*random, *ccms], random="random", target=Target(AP, 30)))
    assert "To reach AP 30, ccms needs as many labels as random." in at_the_end
    before = answer(analyse([*random, *ccms], random="random"))
    assert any(line.startswith("For equal AP, ccms needs") and "fewer images" in line for line in before)


def test_answer_without_random_or_without_runs():
    lines = answer(analyse(noisy_curves({"a": 0, "b": 3}, SEEDS)))
    assert lines[0].startswith("a against b: -")
    assert lines[0].endswith("a is worse.")
    assert "nothing to compare" in answer(analyse([curve("a", 1, [10, 20])]))[0]
    assert answer(analyse([])) == []


def test_seeds_sentence_and_small_words():
    assert seeds_sentence(6) is None
    assert "0.0625" in seeds_sentence(5)
    assert "it takes 8 seeds" in seeds_sentence(6, alpha=0.01)
    assert seeds_sentence(1).startswith("With 1 seed per arm")
    assert [p_sentence(p) for p in (0.0004, 0.0312, 0.25, 1)] == ["p < 0.001", "p = 0.031", "p = 0.25", "p = 1.00"]
    assert [p_number(p) for p in (0.0004, 0.0312, None)] == ["<0.001", "0.031", ""]
    assert listing("abcdef") == "a, b, c and 3 more"
    assert [listing(names) for names in ("", "a", "ab", "abcd")] == ["", "a", "a and b", "a, b, c and d"]


# ---- warnings


def test_a_sound_study_has_no_warnings():
    runs = noisy_curves({"random": 0, "a": 2}, (1, 2, 3), spread=0)
    runs = [curve(r.arm, r.seed, [30.0, *r.metrics["AP"][1:]]) for r in runs]
    environments = {run.run: CPU | {"command": [run.run]} for run in runs}
    assert doubts.warnings_of_study(analyse(runs, random="random"), environments, {}, {}) == []


def test_missing_random_arm():
    runs = [curve("a", 1, [10, 20])]
    assert "no random arm" in doubts.missing_random(analyse(runs))[0]
    assert doubts.missing_random(analyse(runs, random="a")) == doubts.missing_random(analyse([])) == []


def crowded(seeds, spread):
    """`crowded` gains more an image, but pays more boxes for it."""
    rng = np.random.default_rng(0)
    arms = {"crowded": ([10, 22, 34], [100, 300, 500]), "random": ([10, 20, 30], [100, 200, 300])}
    arms["poor"] = ([10, 11, 12], [100, 200, 300])
    return [
        curve(arm, seed, (np.array(ap) + rng.normal(0, spread, 3)).tolist(), boxes=boxes)
        for arm, (ap, boxes) in arms.items()
        for seed in range(seeds)
    ]


def test_ranking_flips_between_images_and_boxes():
    (line,) = doubts.flipped_rankings(analyse(crowded(4, 0.1), random="random"))
    found = re.findall(
        r"crowded against random: ([-+.0-9]+) points of AUC of AP against (images|boxes) \(95% interval", line
    )
    assert [cost for _, cost in found] == ["images", "boxes"]
    assert [float(gap) for gap, _ in found] == pytest.approx(
        [2, -4], abs=0.2
    )  # 22 against 20; to 300 boxes 16 against 20
    assert doubts.flipped_rankings(analyse(crowded(4, 0.1)[4:])) == []  # without crowded
    assert doubts.flipped_rankings(analyse(crowded(2, 0.1), random="random")) == []  # two seeds support nothing
    assert (
        doubts.flipped_rankings(analyse(crowded(4, 3), random="random")) == []
    )  # both means flip, but within the noise


def test_equal_arms_change_places_in_no_warning():
    """It used to be printed of every study without differences: some of 28 pairs change places in their means."""
    for study in range(6):
        equal = noisy_curves({f"{arm}{study}": 0 for arm in "abcdefgh"}, range(3 * study, 3 * study + 3))
        found = analyse(equal)
        means = [[arm.auc[cost, "linear"].mean for arm in found.arms] for cost in ("images", "boxes")]
        assert (np.argsort(means[0]) != np.argsort(means[1])).any()
        assert doubts.flipped_rankings(found) == []


@pytest.mark.parametrize(
    ("device", "gap", "warns"), [("cpu", 1e-5, 1), ("cpu", 1e-7, 0), ("cuda", 0.4, 0), ("cuda", 0.6, 1)]
)
def test_round_0_and_last_round_with_the_same_images(device, gap, warns):
    environments = {name: {"device": device} for name in ("a_s1", "b_s1")}
    starts = [curve("a", 1, [10.0, 20]), curve("b", 1, [10 + gap, 25])]
    lines = doubts.unequal_starts(starts, AP, environments)
    assert len(lines) == warns
    assert all("seed 1, AP 10.00 (a) to " in line for line in lines)
    ends = [curve("a", 1, [10.0, 20], end="x"), curve("b", 1, [10.0, 20 + gap], end="x")]
    assert len(doubts.same_images_other_value(ends, AP, environments)) == warns
    assert (
        doubts.unequal_starts(ends, AP, environments) == doubts.same_images_other_value(starts, AP, environments) == []
    )
    only = [curve(arm, 1, [ap], end="x") for arm, ap in (("a", 10.0), ("b", 10 + gap))]  # one round: said once
    assert doubts.same_images_other_value(only, AP, environments) == []


def test_thesis_starts_differ_by_no_more_than_a_gpu_explains():
    runs = thesis_curves()
    assert doubts.unequal_starts(runs, AP, {}) == []
    (line,) = doubts.unequal_starts(runs, AP, {run.run: {"device": "cpu"} for run in runs})
    assert "seed 11, AP 11.26 (0.9-0.7-0.5) to 11.57 (random)" in line


def test_other_initial_images():
    runs = [curve("a", s, [10.0, 20]) for s in (1, 2)] + [curve("b", s, [11.0, 20], start="else") for s in (1, 2)]
    (line,) = doubts.unequal_starts(runs, AP, {})
    assert line.startswith("Seeds 1 and 2: arms began with different images (b not with those of a)")


def test_oracles():
    runs = [
        curve("a", 1, [10.0]),
        curve("true_loss", 1, [10.0], oracle=True),
        curve("true_loss", 2, [10.0], oracle=True),
    ]
    assert doubts.oracles(runs)[0].startswith("true_loss is an oracle")
    assert doubts.oracles(runs[:1]) == []


def test_arms_that_chose_by_what_scores_them():
    """Decided from the configuration: the reference, what rounds are scored on, and whether the sampler asks for influence."""

    def config(function, reference=None, evaluate="test"):
        stage = {"score": {"_target_": f"al_cli.samplers.{function}", "_partial_": True}, "keep": "budget"}
        model = {"influence": {"reference": reference}} if reference else {}
        return {"evaluate": evaluate, "model": model, "sampler": {"stages": [{"keep": "4x"}, stage]}}

    told = {
        "isal": config("influence", "test"),
        "similar": config("gradient_similarity", "test"),
        "tuned": config("influence", evaluate="val"),
    }
    silent = {
        "val": config("influence"),
        "v3": config("influence", "labeled", "val"),
        "entropy": config("entropy", "test"),
        "nothing": {},
    }
    (line,) = doubts.warnings_of_study(analyse([], random="random"), {}, {}, told | silent)
    assert line.startswith("isal, similar and tuned chose with the labels of the images that they are scored on")
    (line,) = doubts.chose_by_what_scores_them({"isal": told["isal"]} | silent)
    assert line.startswith("isal chose with the labels of the images that it is scored on")
    assert doubts.chose_by_what_scores_them(silent) == []


def test_mixed_environments():
    runs = {"a_s1": CPU, "a_s2": CPU | {"device": "cuda"}, "b_s1": CPU | {"versions": {"torch": "2.12.1"}}, "c": CPU}
    device, torch = doubts.mixed_environments(runs)
    assert device == "The runs were made with different devices: cpu (3 runs: a_s1 and 2 more) and cuda (1 run: a_s2)."
    assert "versions of torch: 2.15.0 (3 runs: a_s1 and 2 more) and 2.12.1 (1 run: b_s1)" in torch
    assert doubts.mixed_environments({}) == []


def test_a_difference_of_rounding_has_no_minus():
    pair = Pair("ccms", "random", 3, -1e-15, -1e-15, 0.0, 1.0, 1.0, 1.0, 1.0, 1, 1, "undecided")
    assert "-0.00" not in difference(pair, measure("AUC", "AP", "images"))
    assert interval(pair, measure("final")) == "+0.00 to +0.00"


def test_a_final_value_that_all_arms_share_is_said_to_compare_nothing():
    runs = [curve(arm, seed, [10, 20 + i, 30 + seed]) for i, arm in enumerate(("random", "ccms")) for seed in range(3)]
    final, area = (compare(runs, one) for one in (measure("final"), measure("AUC", cost="images")))
    assert against_table(final, "random").note.startswith("All arms end with the same final AP")
    assert "same" not in against_table(area, "random").note
    nothing = against_table(replace(area, gaps=np.full_like(area.gaps, np.nan)), "random")
    assert not nothing.rows and nothing.note == "No arm can be compared with random in AUC of AP against images."
