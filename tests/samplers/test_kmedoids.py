"""k-center-greedy and k-medoids against exhaustive search and against recomputation from scratch."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from al_cli.samplers import kmedoids as module
from al_cli.samplers.kmedoids import alternate, improve, k_center_greedy, kmedoids, loss


def euclidean(rng: np.random.Generator, n: int, dim: int = 2) -> np.ndarray:
    x = rng.normal(size=(n, dim))
    return np.sqrt(((x[:, None] - x[None]) ** 2).sum(2)).astype(np.float32)


def test_k_center_greedy_by_hand():
    """Points 0, 1, 5, 9, 10 on a line, from 1: the farthest is 10, then 5 (4 from 1, 5 from 10), then 0, then 9."""
    x = np.array([0, 1, 5, 9, 10], np.float32)
    d = np.abs(x[:, None] - x[None])
    assert k_center_greedy(d, 5, first=1).tolist() == [1, 4, 2, 0, 3]
    assert k_center_greedy(d, 1, first=3).tolist() == [3]


def test_k_center_greedy_never_picks_a_duplicate_twice():
    assert sorted(k_center_greedy(np.zeros((6, 6), np.float32), 6, first=2)) == list(range(6))


@pytest.mark.parametrize("seed", range(5))
def test_k_center_greedy_is_within_twice_the_best_radius(seed):
    d = euclidean(np.random.default_rng(seed), 12)
    for k in (2, 3, 4):
        best = min(d[:, list(s)].min(1).max() for s in combinations(range(12), k))
        for first in range(12):
            assert d[:, k_center_greedy(d, k, first)].min(1).max() <= 2 * best + 1e-6


def test_kmedoids_by_hand():
    """Three groups on a line: medoids are the middles, the group of four first, then the lower of the others."""
    x = np.array([0, 1, 2, 50, 51, 52, 90, 91, 91.5, 93], np.float32)
    d = np.abs(x[:, None] - x[None])
    for first in range(10):
        found = kmedoids(d, 3, first)
        assert found[1:].tolist() == [1, 4]
        assert found[0] in (7, 8)  # 1 + 0 + 0.5 + 2 = 3.5 and 1.5 + 0.5 + 0 + 1.5 = 3.5
        assert loss(d, found) == 2 + 2 + 3.5


def test_kmedoids_against_all_subsets():
    """No single swap helps (checked one by one), and the best of all starts is the best subset there is."""
    for seed in range(8):
        d = euclidean(np.random.default_rng(seed), 11)
        for k in (2, 3, 5):
            best = min(d[:, list(s)].min(1).sum(dtype=np.float64) for s in combinations(range(11), k))
            results = [kmedoids(d, k, first) for first in range(11)]
            for found in results:
                here = d[:, found].min(1).sum(dtype=np.float64)
                others = [x for x in range(11) if x not in found]
                swaps = [[*(m for m in found if m != out), x] for out in found for x in others]
                assert min(d[:, s].min(1).sum(dtype=np.float64) for s in swaps) >= here - 1e-6
            assert min(d[:, s].min(1).sum(dtype=np.float64) for s in results) == pytest.approx(best, rel=1e-3)


def test_k_1_is_the_best_of_all_and_k_n_is_everyone():
    d = euclidean(np.random.default_rng(0), 9)
    assert kmedoids(d, 1).tolist() == [d.astype(np.float64).sum(1).argmin()]
    assert sorted(kmedoids(d, 9, first=4)) == list(range(9))
    assert kmedoids(np.zeros((1, 1), np.float32), 1).tolist() == [0]


@pytest.mark.parametrize("kind", ["points", "noise", "duplicates", "isolated"])
def test_never_worse_than_its_start_and_the_bookkeeping_is_exact(kind, monkeypatch):
    rng = np.random.default_rng(5)
    d = euclidean(rng, 120, 3)
    if kind == "noise":  # no triangle inequality
        d = np.triu(rng.random((120, 120)), 1).astype(np.float32)
        d = d + d.T
    elif kind == "duplicates":
        d = d[np.ix_(np.arange(120) // 4, np.arange(120) // 4)]
    elif kind == "isolated":  # images without boxes: as far as can be from everything
        d[:40] = d[:, :40] = 5
        np.fill_diagonal(d, 0)

    swap = module._Assignment.swap

    def checked(self, slot, x):
        before = loss(d, self.medoids)
        promised = self.best_swap(x)[1]
        swap(self, slot, x)
        assert loss(d, self.medoids) - before == pytest.approx(promised, abs=1e-9)
        two = np.sort(d[:, self.medoids], axis=1)[:, :2]
        assert np.array_equal(two, np.stack([self.d_near, self.d_second], 1))
        everyone = np.arange(len(d))
        assert np.array_equal(d[everyone, self.medoids[self.near]], self.d_near)
        assert np.array_equal(d[everyone, self.medoids[self.second]], self.d_second)
        assert (self.near != self.second).all()
        swaps.append(promised)

    monkeypatch.setattr(module._Assignment, "swap", checked)
    for k in (2, 7, 30, 119):
        swaps: list[float] = []
        start = k_center_greedy(d, k, 0)
        before = start.copy()
        found = improve(d, start)
        assert np.array_equal(start, before)  # the input is not touched
        assert len(set(found.tolist())) == k
        assert loss(d, found) == pytest.approx(loss(d, start) + sum(swaps), abs=1e-6)
        assert loss(d, found) <= loss(d, start)
        assert all(change < 0 for change in swaps)
        assert kind != "points" or k == 119 or swaps  # the check above did look at something


def matrix(kind: str, rng: np.random.Generator, n: int) -> np.ndarray:
    if kind == "points":
        return euclidean(rng, n)
    if kind == "noise":  # no triangle inequality
        d = np.triu(rng.random((n, n)), 1)
    else:  # few different distances, 0 among them: ties everywhere
        d = np.triu(rng.integers(4, size=(n, n)), 1)
    return (d + d.T).astype(np.float32)


def alternated(d: np.ndarray, medoids: list[int]) -> list[int]:
    """Park and Jun 2009, said plainly with exact sums; of equals the lowest position."""
    d = [[Fraction(float(x)) for x in row] for row in d]
    while True:
        medoids = sorted(medoids)
        home = {i: i if i in medoids else min(medoids, key=lambda m, i=i: (d[i][m], m)) for i in range(len(d))}
        moved = []
        for m in medoids:
            cluster = [i for i in home if home[i] == m]
            moved.append(min(cluster, key=lambda c, cluster=cluster: (sum(d[c][i] for i in cluster), c)))
        if sorted(moved) == medoids:
            return medoids
        medoids = moved


@pytest.mark.parametrize("kind", ["points", "noise", "ties"])
def test_alternation_equals_itself_said_plainly(kind):
    steps = 0
    for seed in range(12):
        d = matrix(kind, np.random.default_rng(seed), 18)
        for k in (2, 5, 17):
            start = k_center_greedy(d, k, seed)
            found = alternate(d, start)
            assert sorted(found.tolist()) == alternated(d, start.tolist())
            assert set(kmedoids(d, k, seed, "alternate").tolist()) == set(found.tolist())
            assert loss(d, found) <= loss(d, start)
            steps += set(found.tolist()) != set(start.tolist())
    assert steps > 12


def test_alternation_by_hand():
    """On a line 0, 1, 2, 50, 51, 52 from 0 and 52: each cluster moves its medoid to the middle."""
    x = np.array([0, 1, 2, 50, 51, 52], np.float32)
    d = np.abs(x[:, None] - x[None])
    start = np.array([0, 5])
    assert alternate(d, start).tolist() == [1, 4]
    assert start.tolist() == [0, 5], "the input is not touched"
    assert alternate(np.zeros((6, 6), np.float32), np.array([4, 2, 5])).tolist() == [
        0,
        4,
        5,
    ]  # 2 has all others: 0 is its lowest


def test_alternation_stops_at_a_larger_sum_than_swaps():
    """Why swaps are the default: 9% on 20 pools of 150 images."""
    sums = np.array(
        [
            [loss(d, kmedoids(d, 15, 0, how)) for how in ("swap", "alternate")]
            for d in (euclidean(np.random.default_rng(seed), 150, 4) for seed in range(20))
        ]
    ).sum(0)
    assert 1.02 < sums[1] / sums[0] < 1.2


def test_order_is_by_cluster_size():
    d = euclidean(np.random.default_rng(1), 200)
    found = kmedoids(d, 12)
    size = np.bincount(d[:, found].argmin(1), minlength=12)
    assert (np.diff(size) <= 0).all()
    assert size[0] > size[-1]


def test_same_input_same_medoids():
    d = euclidean(np.random.default_rng(2), 150)
    before = d.copy()
    assert np.array_equal(kmedoids(d, 20, 3), kmedoids(d, 20, 3))
    assert np.array_equal(d, before)


def test_impossible_k():
    d = euclidean(np.random.default_rng(0), 5)
    for k in (0, 6):
        with pytest.raises(ValueError, match=r"k must lie in 1\.\.5"):
            kmedoids(d, k)
    with pytest.raises(ValueError, match="square"):
        k_center_greedy(d[:3], 2, 0)
