"""The verdict's rule against closed forms, a loop over seeds and simulated studies."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from al_cli.report.statistics import paired_tests, verdict

NAN = float("nan")
SIMULATED = Path(__file__).parents[3] / "benchmarks" / "verdicts.csv"


def simulated(seeds, arms, count, spread=0.0, effect=0.0, seed=0):
    """[count, arms] t of the rule, for studies whose first arm is better by `effect` SD of its paired difference."""
    rng = np.random.default_rng(seed)
    sd = np.exp(spread * rng.standard_normal((count, arms + 1, 1)))
    values = sd * rng.standard_normal((count, arms + 1, seeds))
    difference = values[:, 1:] - values[:, :1]
    difference[:, 0] += effect * np.hypot(sd[:, 0], sd[:, 1])
    own = difference.var(2, ddof=1)
    return difference.mean(2) / np.sqrt(np.maximum(own, own.mean(1, keepdims=True)) / seeds), values + np.where(
        np.arange(arms + 1) == 1, effect, 0.0
    )[:, None]


def test_one_arm_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    table = rng.standard_normal((6, 2)) + np.array([0.0, 0.7])
    [found] = verdict.verdicts(table, baseline=0)
    expected = stats.ttest_rel(table[:, 1], table[:, 0])
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert [verdict.verdicts(table[:, ::-1], baseline=1)[0].p, found.planned, found.missing] == [found.p, 6, ""]


def test_missing_seeds_by_a_loop_over_them():
    """Arms with 5, 4 and 2 common seeds: the last has no verdict and counts nowhere."""
    table = np.array(
        [
            [1.0, 3.1, 2.0, 9.0],
            [2.0, 4.4, NAN, NAN],
            [1.5, 3.0, 2.9, NAN],
            [2.2, 4.6, 2.0, 9.0],
            [1.1, 3.2, 1.0, NAN],
        ]
    )
    first, second, third = verdict.verdicts(table, baseline=0)
    differences = []
    for arm in (1, 2):
        differences.append([row[arm] - row[0] for row in table if not np.isnan(row[arm])])
    variances = [np.var(d, ddof=1) for d in differences]
    pooled = (4 * variances[0] + 3 * variances[1]) / 7
    for found, d, variance in zip((first, second), differences, variances, strict=True):
        n = len(d)
        t = abs(np.mean(d)) / np.sqrt(max(variance, pooled) / n)
        assert found.p == pytest.approx(min(1, 2 * 2 * stats.t.sf(t, verdict.degrees_of_freedom(n, 2))))
        assert found.difference == pytest.approx(np.mean(d))
    assert (first.word, second.word, third.word) == ("better", "undecided", "undecided")
    assert (first.missing, second.missing) == ("", "4 of 5 seeds in common with the baseline")
    assert third.missing == "2 of 5 seeds in common with the baseline: no verdict with fewer than 3"
    assert np.isnan([third.p, third.low, third.high]).all()
    assert third.difference == pytest.approx(7.4)
    assert verdict.pooled_sd(table, 0) == pytest.approx(np.sqrt(pooled))


def test_an_arm_of_the_same_trainings_changes_no_other_verdict():
    rng = np.random.default_rng(2)
    table = rng.standard_normal((5, 4))
    copied = np.insert(table, 2, table[:, 0], axis=1)
    alone, beside = verdict.verdicts(table, 0), verdict.verdicts(copied, 0)
    assert [found.p for found in alone] == [found.p for found in beside if found.arm != 2]
    assert (beside[1].p, beside[1].word, beside[1].difference, beside[1].low) == (1.0, "undecided", 0.0, 0.0)
    assert verdict.verdicts(np.ones((2, 2)), 0)[0].missing == "no verdict with fewer than 3 seeds"
    assert verdict.verdicts(np.ones((3, 1)), 0) == []


def test_the_luckiest_small_spread_wins_nothing():
    """Three seeds of four arms: by its own spread the first, small and steady, is the only win of the t-test with Holm."""
    differences = np.array([[0.50, 0.52, 0.51], [8.1, 9.6, 8.9], [-1.5, 2.0, 0.4], [1.2, -1.0, 0.1]]).T
    table = np.column_stack([np.zeros(3), differences])
    by_own = paired_tests.holm(paired_tests.paired_t(differences.T))
    assert by_own[0] < 0.05 and (by_own[2:] > 0.05).all()
    found = verdict.verdicts(table, 0)
    assert [arm.word for arm in found] == ["undecided", "better", "undecided", "undecided"]
    assert all((arm.low <= 0 <= arm.high) == (arm.p >= 0.05) for arm in found)
    assert [arm.word for arm in verdict.verdicts(-table, 0)][1] == "worse"


@pytest.mark.parametrize(("seeds", "arms"), [(3, 2), (3, 12), (5, 34), (6, 16), (10, 12)])
@pytest.mark.parametrize(("spread", "bar"), [(0.0, 0.05), (0.5, 0.06)])
def test_equal_arms_get_a_verdict_in_no_more_studies_than_promised(seeds, arms, spread, bar):
    count = 4000
    t, values = simulated(seeds, arms, count, spread)
    wrong = np.abs(t).max(1) >= verdict.critical_value(seeds, arms)
    assert 0.02 < wrong.mean() <= bar + 2 * np.sqrt(bar * (1 - bar) / count)
    for k in [*np.flatnonzero(wrong)[:3], *np.flatnonzero(~wrong)[:3]]:
        assert any(arm.word != "undecided" for arm in verdict.verdicts(values[k].T, 0)) == wrong[k]


@pytest.mark.parametrize(
    ("seeds", "arms", "effect"), [(3, 2, 2.0), (3, 12, 2.0), (5, 12, 1.0), (5, 34, 2.0), (10, 12, 1.0)]
)
def test_power_is_that_of_simulated_studies(seeds, arms, effect):
    t, _ = simulated(seeds, arms, 4000, effect=effect, seed=1)
    found = (t[:, 0] >= verdict.critical_value(seeds, arms)).mean()
    assert verdict.power(1.7, arms, seeds, 1.7 * effect) == pytest.approx(found, abs=0.03)


def test_power_of_one_arm_is_that_of_the_paired_t_test():
    assert verdict.power(1.0, 1, 34, 0.5) == pytest.approx(0.8078, abs=5e-4)  # G*Power 3: two-sided, dz = 0.5, n = 34
    for seeds in (3, 8, 20):
        effect = paired_tests.detectable_effect(seeds)
        assert effect is not None
        assert verdict.power(2.0, 1, seeds, 2.0 * effect) == pytest.approx(0.8, abs=1e-3)
    assert (verdict.power(1.0, 12, 2, 9.0), verdict.power(0.0, 12, 3, 1.0)) == (0.0, 1.0)


def test_seeds_needed_are_the_fewest():
    for arms, difference in ((1, 1.0), (2, 3.0), (12, 1.0), (34, 0.4)):
        needed = verdict.seeds_needed(1.5, arms, difference)
        assert needed is not None
        assert verdict.power(1.5, arms, needed, difference) >= 0.8
        assert needed == 3 or verdict.power(1.5, arms, needed - 1, difference) < 0.8
    assert verdict.seeds_needed(1.0, 1, 0.5) == 34  # G*Power 3
    assert verdict.seeds_needed(1.0, 12, 0.01) is None


def test_degrees_of_freedom_between_and_beyond_the_simulated_ones():
    table = np.array(verdict.DEGREES)
    assert table.shape == (len(verdict.SEEDS), len(verdict.ARMS))
    assert verdict.degrees_of_freedom(3, 2) == pytest.approx(table[0, 0])
    assert verdict.degrees_of_freedom(40, 64) == pytest.approx(verdict.degrees_of_freedom(90, 200))
    low, high = sorted((table[3, 5], table[4, 5]))
    assert low <= verdict.degrees_of_freedom(8, 12) <= high
    assert verdict.degrees_of_freedom(7, 1) == 6


def test_the_committed_simulation_holds_the_bar_and_has_these_critical_values():
    with SIMULATED.open(newline="") as file:
        cells = [row for row in csv.DictReader(file) if row["rule"] == "max(own, pooled), calibrated"]
    assert len(cells) == 4 * 3 * 7
    for cell in cells:
        bar = {"0.0": 0.05, "0.5": 0.06, "1.0": 1.0}[cell["spread"]]
        assert float(cell["error"]) <= bar + 2 * np.sqrt(bar * (1 - bar) / int(cell["studies"]))
        value = verdict.critical_value(int(cell["seeds"]), int(cell["arms"]))
        assert value == pytest.approx(float(cell["critical"]), rel=0.06)
