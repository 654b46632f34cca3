"""Tests of paired differences against scipy, brute force over all signs and all subsets, and published power tables."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statistics_samples import measure

from al_cli.report.statistics import paired_tests
from al_cli.report.statistics.comparison import Comparison

AUC = measure("AUC", cost="boxes")


@pytest.mark.parametrize("n", [2, 3, 5, 10, 25])
def test_p_values_against_scipy(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(30, 3, (2, 20, n))
    expected = stats.ttest_rel(a, b, axis=1).pvalue
    np.testing.assert_allclose(paired_tests.paired_t(a - b), expected, atol=1e-12, rtol=0)
    exact = stats.wilcoxon(a, b, axis=1, method="exact").pvalue
    np.testing.assert_allclose(paired_tests.wilcoxon(a - b), exact, atol=1e-12, rtol=0)


def test_p_values_with_missing_seeds_are_those_of_the_common_ones():
    rng = np.random.default_rng(1)
    d = rng.normal(1, 1, (6, 8))
    d[np.arange(6), np.arange(6)] = np.nan
    kept = [row[np.isfinite(row)] for row in d]
    np.testing.assert_allclose(paired_tests.paired_t(d), [stats.ttest_1samp(row, 0).pvalue for row in kept], atol=1e-12)
    np.testing.assert_allclose(paired_tests.wilcoxon(d), [stats.wilcoxon(row).pvalue for row in kept], atol=1e-12)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_wilcoxon_with_ties_and_zeros_against_all_signs(d):
    """Twice the share of the 2^n sign patterns whose positive rank sum is at most the smaller of the two observed."""
    sizes = np.abs([x for x in d if x])
    ranks = stats.rankdata(sizes) if len(sizes) else np.zeros(0)
    positive = np.array([x > 0 for x in d if x], bool)
    smaller = min(ranks[positive].sum(), ranks[~positive].sum())
    sums = [ranks[list(signs)].sum() for signs in itertools.product([False, True], repeat=len(ranks))]
    expected = min(1.0, 2 * np.mean([value <= smaller for value in sums]))
    assert paired_tests.wilcoxon(np.array([d], float))[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("n", "smallest"), [(1, 1), (2, 0.5), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_smallest_wilcoxon_p_is_that_of_all_differences_of_one_sign(n, smallest):
    assert paired_tests.smallest_wilcoxon_p(n) == smallest
    assert paired_tests.wilcoxon(np.arange(1.0, n + 1)[None])[0] == pytest.approx(smallest)


def test_equal_values_are_a_tie_and_nothing_warns():
    values = np.repeat([[30.0, 31, 32, 33]], 3, 0)
    values[2] += [1e-12, -1e-12, 0, 2e-12]  # the rounding of sums
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Comparison(AUC, ("a", "b", "c"), (1, 2, 3, 4), values)
        for matrix in (found.t_p, found.wilcoxon_p, found.t_holm, found.wilcoxon_holm):
            np.testing.assert_array_equal(matrix, np.ones((3, 3)))
        for matrix in (found.difference, found.low, found.high, found.outcome):
            np.testing.assert_array_equal(matrix, np.zeros((3, 3)))
        assert found.detectable == 0
        one = Comparison(AUC, ("a", "b"), (1,), values[:2, :1])
        assert one.pair("a", "b").t_p is None
        assert one.pair("a", "b").difference == 0
        assert one.detectable is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_holm_is_the_closed_test_of_bonferroni(p):
    """A hypothesis' corrected p is the largest Bonferroni p of all sets of hypotheses that it is in."""
    sets = [s for k in range(1, len(p) + 1) for s in itertools.combinations(range(len(p)), k)]
    expected = [max(min(1.0, len(s) * min(p[j] for j in s)) for s in sets if i in s) for i in range(len(p))]
    np.testing.assert_allclose(paired_tests.holm(p), expected, atol=1e-12)
    np.testing.assert_allclose(paired_tests.holm([np.nan, *p])[1:], expected, atol=1e-12)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_interval_covers_the_true_mean_in_95_of_100_studies_and_agrees_with_p(n):
    """The percentile bootstrap that stood here covered 75%, 84% and 90%."""
    d = np.random.default_rng(n).normal(1, 2, (40_000, n))
    low, high = paired_tests.t_interval(d)
    assert 0.94 < np.mean((low < 1) & (high > 1)) < 0.96
    found = paired_tests.paired_t(d) < 0.05
    np.testing.assert_array_equal((low > 0) | (high < 0), found)
    assert 0.05 < found.mean() < 0.95


def test_interval_against_scipy_with_missing_seeds():
    d = np.random.default_rng(3).normal(1, 2, (3, 6))
    d[1, 2:] = d[2, 1:] = np.nan
    low, high = paired_tests.t_interval(d, 0.99)
    for k in (0, 1):
        row = d[k][np.isfinite(d[k])]
        theirs = stats.t.interval(0.99, len(row) - 1, row.mean(), stats.sem(row))
        assert (low[k], high[k]) == pytest.approx(theirs, abs=1e-12)
    assert np.isnan([low[2], high[2]]).all()


def test_detectable_effect_against_published_power_and_simulation():
    """Cohen's example: an effect of 0.5 needs n = 33.37 pairs for power 0.8 at two-sided 0.05."""
    assert paired_tests.detectable_effect(34) < 0.5 < paired_tests.detectable_effect(33)
    assert paired_tests.detectable_effect(1) is None
    for n in (2, 3, 6):
        effect = paired_tests.detectable_effect(n)
        d = np.random.default_rng(n).normal(effect, 1, (40000, n))
        assert np.mean(paired_tests.paired_t(d) < 0.05) == pytest.approx(0.8, abs=0.01)


def random_comparison(arms=5, seeds=7) -> Comparison:
    rng = np.random.default_rng(5)
    values = rng.normal(40, 1, (arms, seeds)) + np.linspace(0, 4, arms)[:, None] + rng.normal(0, 3, seeds)
    values[1, 2] = np.nan
    return Comparison(AUC, tuple("abcde"[:arms]), tuple(range(seeds)), values)


def test_matrices_against_scipy_pair_by_pair():
    found = random_comparison()
    for i, j in itertools.product(range(5), repeat=2):
        both = np.isfinite(found.values[i]) & np.isfinite(found.values[j])
        a, b = found.values[i][both], found.values[j][both]
        assert found.n[i, j] == both.sum()
        assert found.difference[i, j] == pytest.approx((a - b).mean(), abs=1e-12)
        assert found.t_p[i, j] == pytest.approx(1 if i == j else stats.ttest_rel(a, b).pvalue, abs=1e-12)
        assert found.wilcoxon_p[i, j] == pytest.approx(1 if i == j else stats.wilcoxon(a, b).pvalue, abs=1e-12)
        assert found.seed_wins[i, j] == (a > b).sum()
        assert found.low[i, j] <= found.difference[i, j] <= found.high[i, j]
    np.testing.assert_array_equal(found.low, -found.high.T)
    np.testing.assert_array_equal((found.low > 0) | (found.high < 0), found.t_p < 0.05)
    np.testing.assert_array_equal(found.outcome, -found.outcome.T)
    for matrix in (found.t_holm, found.wilcoxon_holm):
        np.testing.assert_array_equal(matrix, matrix.T)
    upper = np.triu_indices(5, 1)
    assert found.t_holm[upper] == pytest.approx(paired_tests.holm(found.t_p[upper]))
    wins = (found.t_holm < 0.05) & (found.difference > 0)
    np.testing.assert_array_equal(found.outcome == 1, wins)
    assert 0 < wins.sum() < 10, "the sample should have wins and pairs that are undecided"
    assert [sum(found.tally(arm)) for arm in found.arms] == [4] * 5


def test_pooled_detectable_difference():
    found = random_comparison()
    d = [found.values[i] - found.values[j] for i, j in itertools.combinations(range(5), 2)]
    squares = sum(np.nansum((x - np.nanmean(x)) ** 2) for x in d)
    freedom = sum(np.isfinite(x).sum() - 1 for x in d)
    assert found.detectable == pytest.approx(np.sqrt(squares / freedom) * paired_tests.detectable_effect(7))


def test_against_one_arm_corrects_for_those_pairs_only():
    found = random_comparison()
    pairs = found.against("c")
    assert [pair.arm for pair in pairs] == ["a", "b", "d", "e"]
    raw = [stats.ttest_rel(found.values[k], found.values[2], nan_policy="omit").pvalue for k in (0, 1, 3, 4)]
    assert [pair.t_holm for pair in pairs] == pytest.approx(paired_tests.holm(raw))
    assert [pair.outcome == "better" for pair in pairs] == [p.t_holm < 0.05 and p.difference > 0 for p in pairs]
    assert all(one.t_holm <= found.pair(one.arm, "c").t_holm for one in pairs)


def test_two_seeds_never_win():
    values = np.array([[40.0, 41.001], [30, 31]])  # p of the t-test is below 0.001
    pair = Comparison(AUC, ("a", "b"), (1, 2), values).pair("a", "b")
    assert pair.t_p < 0.001
    assert (pair.outcome, pair.low, pair.seed_wins, pair.seed_losses) == ("unknown", None, 2, 0)
