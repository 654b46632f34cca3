"""Every arm against every other in one measure: differences, intervals, p-values, verdicts.

Seeds are paired: the runs of one seed share the initial images and the training seed, so their difference is what the arms
differ in. Knows no curve: it is given one value per arm and seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from al_cli.errors import RunError, suggest
from al_cli.report.statistics import paired_tests
from al_cli.report.statistics.curves import Scale, Seed
from al_cli.report.statistics.paired_tests import Array
from al_cli.tasks import Metric

Verdict = Literal["better", "worse", "undecided", "unknown", "oracle"]
VERDICTS: dict[float, Verdict] = {1.0: "better", 0.0: "undecided", -1.0: "worse"}
FEWEST_SEEDS = 3  # with fewer pairs nothing is called better or worse, and there is no interval


@dataclass(frozen=True)
class Measure:
    """What arms are compared in: the area under a metric's curve against a cost, its final value, or one round's."""

    kind: Literal["AUC", "final", "round"]
    metric: Metric
    cost: str | None = None  # of AUC only
    scale: Scale = "linear"
    round: int | None = None  # of round only

    @property
    def label(self) -> str:
        """`AUC of METRIC against COST`, the same with ` (log)`, `final METRIC`, `METRIC of round 2`."""
        name = self.metric.name
        if self.kind == "AUC":
            return f"AUC of {name} against {self.cost}" + (" (log)" if self.scale == "log" else "")
        return f"final {name}" if self.kind == "final" else f"{name} of round {self.round}"


@dataclass(frozen=True)
class Pair:
    """One arm against another: `difference` is the mean over their `n` common seeds of arm minus against.

    `low` to `high` is Student's t interval of it, at 1 - alpha: of this pair alone. `t_holm` and `wilcoxon_holm` are
    corrected over the family of the comparison that the pair is taken from. What needs more seeds is None. `outcome` is
    better where t_holm < alpha and the difference is positive, worse where it is negative, undecided otherwise, unknown
    for fewer than FEWEST_SEEDS common seeds (but undecided where two of them differ by 0 on average). A pair with an
    oracle is in no family: its corrected p are None and its outcome is `oracle`.
    """

    arm: str
    against: str
    n: int
    difference: float | None
    low: float | None
    high: float | None
    t_p: float | None
    t_holm: float | None
    wilcoxon_p: float | None
    wilcoxon_holm: float | None
    seed_wins: int
    seed_losses: int
    outcome: Verdict


@dataclass(frozen=True, eq=False)
class Comparison:
    """`values` [A, S]: each arm's value with each seed, NaN where it has none. Higher is better. `gaps` [A (A - 1) / 2, S]:
    row minus column of the upper triangle where these are not the differences of `values` (areas over the costs that the
    two cover), NaN where the two cannot be compared.

    Arrays [A, A] are row against column, NaN where unknown: their mirror holds the same p, and the difference with the
    other sign. On the diagonal the difference is 0 and p is 1, as in Lund tables 4.3-4.5, for an arm with two seeds at
    least. Holm's family are all pairs of arms that have a p, `oracles` left out: they are bounds, and no arm's verdict
    should depend on how many of them were looked at.
    """

    measure: Measure
    arms: tuple[str, ...]
    seeds: tuple[Seed, ...]
    values: Array
    alpha: float = 0.05
    gaps: Array | None = None
    oracles: frozenset[str] = frozenset()

    @cached_property
    def _family(self) -> NDArray[np.bool_]:  # [A, A] pairs of methods
        method = np.array([arm not in self.oracles for arm in self.arms], bool)
        return method[:, None] & method

    @cached_property
    def _differences(self) -> Array:  # [A (A - 1) / 2, S] upper triangle, row minus column
        first, second = np.triu_indices(len(self.arms), 1)
        return paired_tests.clean(self.values[first] - self.values[second] if self.gaps is None else self.gaps)

    def _matrix(self, upper: ArrayLike, diagonal: ArrayLike, sign: float = 1.0) -> Array:
        count = len(self.arms)
        matrix = np.full((count, count), np.nan)
        first, second = np.triu_indices(count, 1)
        matrix[first, second] = upper
        matrix[second, first] = sign * np.asarray(upper, float)
        matrix[np.arange(count), np.arange(count)] = diagonal
        return matrix

    @cached_property
    def _own(self) -> NDArray[np.int64]:  # [A] seeds that each arm has
        return np.isfinite(self.values).sum(1)

    @cached_property
    def n(self) -> NDArray[np.int64]:
        """[A, A] seeds that both arms have."""
        return self._matrix(np.isfinite(self._differences).sum(1), self._own).astype(np.int64)

    @cached_property
    def difference(self) -> Array:
        """[A, A] mean over common seeds of row minus column."""
        return self._matrix(paired_tests.moments(self._differences)[1], np.where(self._own > 0, 0.0, np.nan), -1.0)

    @cached_property
    def _interval(self) -> tuple[Array, Array]:
        low, high = paired_tests.t_interval(self._differences, 1 - self.alpha)
        enough = np.isfinite(self._differences).sum(1) >= FEWEST_SEEDS
        low, high = np.where(enough, low, np.nan), np.where(enough, high, np.nan)
        zero = np.where(self._own >= FEWEST_SEEDS, 0.0, np.nan)
        lower, upper = self._matrix(low, zero), self._matrix(high, zero)
        below = np.tril_indices(len(self.arms), -1)
        lower[below], upper[below] = -upper[below], -lower[below]
        return lower, upper

    @property
    def low(self) -> Array:
        """[A, A] lower end of Student's t interval of `difference`, at 1 - alpha; NaN for fewer than FEWEST_SEEDS."""
        return self._interval[0]

    @property
    def high(self) -> Array:
        return self._interval[1]

    def _of_p(self, upper: Array) -> Array:
        return self._matrix(upper, np.where(self._own > 1, 1.0, np.nan))

    @cached_property
    def t_p(self) -> Array:
        """[A, A] two-sided p of the paired t-test, uncorrected."""
        return self._of_p(paired_tests.paired_t(self._differences))

    @cached_property
    def wilcoxon_p(self) -> Array:
        """[A, A] two-sided p of the exact Wilcoxon signed-rank test, uncorrected. Of two seeds at least, as `t_p`."""
        two = np.isfinite(self._differences).sum(1) > 1
        return self._of_p(np.where(two, paired_tests.wilcoxon(self._differences), np.nan))

    def _corrected(self, p: Array) -> Array:
        upper = np.triu_indices(len(self.arms), 1)
        return self._of_p(paired_tests.holm(np.where(self._family, p, np.nan)[upper]))

    @cached_property
    def t_holm(self) -> Array:
        """[A, A] `t_p` after Holm's correction; NaN for pairs with an oracle."""
        return self._corrected(self.t_p)

    @property
    def family_size(self) -> int:
        """How many pairs Holm's correction over all pairs counts."""
        return int(np.isfinite(self.t_holm[np.triu_indices(len(self.arms), 1)]).sum())

    @cached_property
    def wilcoxon_holm(self) -> Array:
        return self._corrected(self.wilcoxon_p)

    @cached_property
    def seed_wins(self) -> NDArray[np.int64]:
        """[A, A] common seeds in which the row has the larger value. Those of the mirror are its losses."""
        d = self._differences
        wins = self._matrix((d > 0).sum(1), 0)
        wins[np.tril_indices(len(self.arms), -1)] = self._matrix((d < 0).sum(1), 0)[np.tril_indices(len(self.arms), -1)]
        return wins.astype(np.int64)

    @cached_property
    def outcome(self) -> Array:
        """[A, A] 1 where the row is better, 0 where it is undecided, -1 where it is worse: the rule of `Pair`. NaN where
        that is unknown, or one of the two is an oracle."""
        found = outcomes(self.difference, self.t_p, self.t_holm, self.n, self.alpha)
        return np.where(self._family | np.eye(len(self.arms), dtype=bool), found, np.nan)

    @property
    def detectable(self) -> float | None:
        """The smallest true difference that a paired t-test at alpha, uncorrected, finds in 4 of 5 such studies.

        `paired_tests.detectable_effect` times the deviation of paired differences, pooled (mean variance, weighted by
        degrees of freedom) over all pairs of methods. For the median number of common seeds; None where no pair has two.
        """
        family = self._family[np.triu_indices(len(self.arms), 1)]
        n, _, sd = paired_tests.moments(self._differences[family])
        if not (n > 1).any():
            return None
        pooled = float(np.sqrt(np.average(sd[n > 1] ** 2, weights=n[n > 1] - 1)))
        effect = paired_tests.detectable_effect(int(np.median(n[n > 1])), self.alpha)
        return None if effect is None else pooled * effect

    def pair(self, arm: str, against: str) -> Pair:
        """One cell of every matrix. RunError for an arm that is not among these."""
        row, column = self._index(arm), self._index(against)

        def cell(matrix: Array) -> float | None:
            return float(matrix[row, column]) if np.isfinite(matrix[row, column]) else None

        return Pair(
            arm,
            against,
            int(self.n[row, column]),
            cell(self.difference),
            cell(self.low),
            cell(self.high),
            cell(self.t_p),
            cell(self.t_holm),
            cell(self.wilcoxon_p),
            cell(self.wilcoxon_holm),
            int(self.seed_wins[row, column]),
            int(self.seed_wins[column, row]),
            self.verdict(arm, against),
        )

    def verdict(self, arm: str, against: str) -> Verdict:
        """The rule of `Pair` over all pairs, in a word."""
        if self.oracles & {arm, against}:
            return "oracle"
        return _word(self.outcome[self._index(arm), self._index(against)])

    def each(self, arm: str, against: str) -> Array:
        """[n] the difference of every common seed, seeds in order. For two arms."""
        row, column = sorted((self._index(arm), self._index(against)))
        [place] = np.flatnonzero(np.all(np.transpose(np.triu_indices(len(self.arms), 1)) == (row, column), axis=1))
        paired = self._differences[place] if self.arms[row] == arm else -self._differences[place]
        return paired[np.isfinite(paired)]

    def against(self, baseline: str) -> list[Pair]:
        """Every other arm against one, in order; Holm's family are these pairs only, oracles left out."""
        pairs = [self.pair(arm, baseline) for arm in self.arms if arm != baseline]
        family = [pair.outcome != "oracle" for pair in pairs]
        t_p, wilcoxon_p = (np.where(family, np.array(p, float), np.nan) for p in _two_p(pairs))
        t_holm, wilcoxon_holm = paired_tests.holm(t_p), paired_tests.holm(wilcoxon_p)
        difference = [np.nan if pair.difference is None else pair.difference for pair in pairs]
        rule = outcomes(np.array(difference), t_p, t_holm, np.array([pair.n for pair in pairs]), self.alpha)
        return [
            replace(
                pair,
                t_holm=None if np.isnan(t_holm[k]) else float(t_holm[k]),
                wilcoxon_holm=None if np.isnan(wilcoxon_holm[k]) else float(wilcoxon_holm[k]),
                outcome=_word(rule[k]) if family[k] else pair.outcome,
            )
            for k, pair in enumerate(pairs)
        ]

    def tally(self, arm: str) -> tuple[int, int, int]:
        """How many other methods one arm is better than, undecided against and worse than; unknown pairs do not count."""
        row = np.delete(self.outcome[self._index(arm)], self._index(arm))
        return int((row == 1).sum()), int((row == 0).sum()), int((row == -1).sum())

    def _index(self, arm: str) -> int:
        if arm not in self.arms:
            raise RunError(f"there is no arm {arm!r} in this study", where=f"arm={arm}", remedy=suggest(arm, self.arms))
        return self.arms.index(arm)


def outcomes(difference: Array, t_p: Array, t_holm: Array, n: NDArray[np.int64], alpha: float) -> Array:
    """1, 0, -1 or NaN by the rule of `Pair`, for arrays of one shape."""
    clear = np.where(t_holm < alpha, np.sign(difference), 0.0)
    return np.where((difference == 0) & (t_p == 1), 0.0, np.where(n >= FEWEST_SEEDS, clear, np.nan))


def _word(outcome: float) -> Verdict:
    """1, 0 or -1 as a word; NaN is `unknown`."""
    return VERDICTS.get(float(outcome), "unknown")


def _two_p(pairs: Sequence[Pair]) -> tuple[list[float | None], list[float | None]]:
    return [pair.t_p for pair in pairs], [pair.wilcoxon_p for pair in pairs]
