"""Families of comparisons: what is counted, how intervals hold together, and that oracles stand apart."""

import numpy as np
import pytest
from scipy import stats
from statistics_samples import analyse, curve, measure, noisy_curves

from al_cli.records.claim import Claim
from al_cli.report.sections.comparison import against_table, gains, p_matrix, pairs_table, ranking_caption, win_matrix
from al_cli.report.statistics import paired_tests
from al_cli.report.statistics.answer import answer
from al_cli.report.statistics.claim_answer import answer_claim, why_two_verdicts
from al_cli.report.statistics.comparison import Comparison

AUC = measure("AUC", cost="images")
SEEDS = (1, 2, 3, 4, 5)
ARMS = {"random": 0, "ccms": 2, "margin": 1.2, "same": 0, "poor": -3, "known": 9}


def study(oracles=("known",), seeds=SEEDS):
    runs = noisy_curves(ARMS, seeds)
    runs = [
        curve(r.arm, r.seed, r.metrics["AP"], r.costs["images"], r.costs["boxes"], oracle=r.arm in oracles)
        for r in runs
        if (r.arm, r.seed) != ("same", 5)
    ]
    return analyse(runs, random="random").comparisons[AUC]


def test_intervals_of_the_ranking_hold_for_all_arms_at_once():
    """12 arms and one they are all compared with, 3 seeds, nothing different: in 95 of 100 studies none leaves 0 out. Of
    single intervals some arm does in about every third study."""
    values = np.random.default_rng(0).normal(0, 1, (4000, 13, 3))
    d = values[:, 1:] - values[:, :1]
    together, single = (paired_tests.t_interval(d, level) for level in (1 - 0.05 / 12, 0.95))
    assert np.mean(((together[0] < 0) & (together[1] > 0)).all(1)) > 0.945
    assert np.mean(((single[0] < 0) & (single[1] > 0)).all(1)) < 0.75


def test_gains_are_simultaneous_t_intervals_over_the_methods():
    found = study()
    drawn = {gain.arm: gain for gain in gains(found, "random")}
    assert list(drawn) == ["ccms", "margin", "same", "poor", "known"]
    for arm, gain in drawn.items():
        d = found.values[found.arms.index(arm)] - found.values[0]
        d = d[np.isfinite(d)]
        level = 0.95 if arm == "known" else 1 - 0.05 / 4
        assert (gain.low, gain.high) == pytest.approx(stats.t.interval(level, len(d) - 1, d.mean(), stats.sem(d)))
        assert gain.each == pytest.approx(tuple(d)) and gain.oracle == (arm == "known")
        np.testing.assert_array_equal(found.each("random", arm), -np.array(gain.each))
        if arm != "known":
            assert (gain.low > 0 or gain.high < 0) == (found.pair(arm, "random").t_p * 4 < 0.05)
    two = Comparison(AUC, found.arms[:2], found.seeds, found.values[:2])
    assert "Lines are 95% intervals (Student's t). Small dots" in ranking_caption(two, "random")
    caption = ranking_caption(found, "random")
    assert "simultaneous 95% intervals (Student's t, Bonferroni's correction for 4 comparisons)" in caption
    assert "Small dots are single seeds." in caption
    assert "Oracles stand below, each with its own 95% interval." in caption


def test_the_caption_names_a_line_that_crosses_0_in_spite_of_its_verdict():
    """p of 0.03 and 0.001: Holm asks for 0.05 of the larger, Bonferroni for 0.025."""
    d = np.array([-1.0, 0, 1, 0.5, -0.5])
    d /= d.std(ddof=1) / np.sqrt(5)
    means = stats.t.isf(np.array([0.03, 0.001]) / 2, 4)
    found = Comparison(AUC, ("random", "a", "b"), SEEDS, np.array([0 * d, d + means[0], d + means[1]]))
    assert [pair.outcome for pair in found.against("random")] == ["better", "better"]
    assert ranking_caption(found, "random").endswith(
        "a: the line crosses 0 in spite of the verdict, since Holm's correction asks for less."
    )


def test_an_oracle_changes_no_verdict():
    """The same numbers, once with the arm `same` as an oracle: with it in the family every p is larger."""
    found, method = study(oracles=("same",)), study(oracles=())
    p = [found.pair(arm, "random").t_p for arm in ("ccms", "margin", "poor", "known")]
    corrected = {pair.arm: pair.t_holm for pair in found.against("random")}
    assert [corrected[arm] for arm in ("ccms", "margin", "poor", "known")] == pytest.approx(paired_tests.holm(p))
    assert corrected["ccms"] < {pair.arm: pair.t_holm for pair in method.against("random")}["ccms"]
    [oracle] = [pair for pair in found.against("random") if pair.outcome == "oracle"]
    assert (oracle.arm, oracle.t_holm, oracle.wilcoxon_holm) == ("same", None, None) and oracle.t_p is not None
    others = [0, 1, 2, 4, 5]
    alone = Comparison(AUC, tuple(found.arms[k] for k in others), found.seeds, found.values[others])
    np.testing.assert_array_equal(found.t_holm[np.ix_(others, others)], alone.t_holm)
    np.testing.assert_array_equal(found.outcome[np.ix_(others, others)], alone.outcome)
    assert found.tally("ccms") == alone.tally("ccms")
    assert found.detectable == alone.detectable != method.detectable
    assert found.verdict("same", "poor") == found.verdict("poor", "same") == "oracle"


def test_tables_set_oracles_apart():
    found = study()
    table = against_table(found, "random")
    assert table.rows[-1][0] == "known" and table.rows[-1][-1] == "oracle"
    assert table.shown[1][-1][0] == "known (oracle)"
    arms = ["known", "random", "ccms"]
    assert [row[0] for row in p_matrix(found, "t_p", arms).rows] == ["random", "ccms", "known"]
    assert [row[0] for row in p_matrix(found, "t_holm", arms).rows] == ["random", "ccms"]
    assert [row[0] for row in win_matrix(found, arms).rows] == ["random", "ccms"]
    outcomes = {tuple(row[1:3]): row[-1] for row in pairs_table([found]).rows}
    assert outcomes["random", "known"] == "oracle" and outcomes["random", "poor"] == "better"


def test_notes_count_the_comparisons_that_have_a_p():
    found = study()
    values = found.values.copy()
    values[3, 1:] = np.nan  # `same` has one seed
    one = Comparison(AUC, found.arms, found.seeds, values, oracles=found.oracles)
    note = against_table(one, "random").note
    assert "corrected for 3 comparisons (Holm)" in note and "same shares one seed only, so there is no p" in note
    assert "Unknown: fewer than 3 common seeds." in note and "Oracles stand last" in note
    assert "for all 6 pairs of arms" in win_matrix(one, one.arms).note
    assert "corrected for 4 comparisons" in against_table(found, "random").note
    two = [pair for pair in one.against("random") if pair.t_holm is not None]
    assert len(two) == len([pair for pair in one.against("random") if pair.wilcoxon_holm is not None]) == 3


def why(statistics, arm, against, alpha=0.05, metric="AUC"):
    return why_two_verdicts(answer_claim(Claim(arm, against, metric, "images", alpha), statistics), statistics)


def test_why_a_claim_and_the_comparison_of_all_arms_differ():
    statistics = analyse(noisy_curves({"random": 0, "a": 0.6, "b": 0, "c": 0.2}, SEEDS), random="random")
    found = statistics.comparisons[AUC]
    [a] = [pair for pair in found.against("random") if pair.arm == "a"]
    assert a.t_p < 0.05 < a.t_holm and a.outcome == "undecided"
    for claimed in (("a", "random"), ("random", "a")):  # the table says a against random, whatever the claim says
        told = why(statistics, *claimed)
        assert "a against random is undecided in the same measure: there it is one of 3 comparisons" in told
    assert why(statistics, "a", "random", alpha=a.t_p / 2) is None
    other = found.pair("a", "b")
    assert other.outcome == "undecided" and "one of 6 comparisons" in why(statistics, "a", "b", alpha=other.t_p * 1.01)
    assert why(statistics, "a", "random", metric="AP50") is None, "not compared on this page"


def test_a_claim_the_other_way_round_has_the_same_verdict():
    statistics = analyse(noisy_curves({"random": 0, "a": 4}, SEEDS), random="random")
    assert statistics.comparisons[AUC].pair("a", "random").outcome == "better"
    assert why(statistics, "a", "random") is why(statistics, "random", "a") is None
    assert "a against random is better in the same measure" in why(statistics, "random", "a", alpha=1e-9)


def test_few_seeds_are_those_in_common():
    """Random has eight seeds, the others three: the comparisons rest on three."""
    runs = [*noisy_curves({"random": 0}, range(8)), *noisy_curves({"a": 1, "b": 2}, range(3))]
    assert any(line.startswith("3 seeds are few") for line in answer(analyse(runs, random="random")))
