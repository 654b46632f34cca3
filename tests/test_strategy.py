"""What runs, on which images and with which signals; equation 9; and the checks of what comes back."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from al_cli.errors import ConfigError
from al_cli.samplers import ccms_kmedoids, class_entropy, entropy, probabilistic, random, top
from al_cli.samplers.base import score, selection
from al_cli.strategy import Stage, Strategy, keep_count
from al_cli.types import Choice, Predictions, Query, Request, Selection, Signal, StageLog


class Inference:
    """Three boxes an image and whatever columns are asked for; remembers what it was asked."""

    def __init__(self):
        self.calls = []

    def __call__(self, ids, signals):
        self.calls.append((len(ids), set(signals)))
        n, rng = len(ids), np.random.default_rng(0)
        probs, features = rng.dirichlet(np.ones(3), 3 * n)[:, :2], rng.normal(size=(3 * n, 4))
        everything = {Signal.PROBS: probs, Signal.BOX_FEATURES: features.astype(np.float32)}
        return Predictions(
            image_ids=ids,
            offsets=np.arange(n + 1) * 3,
            boxes=np.tile([0, 0, 5, 5], (3 * n, 1)),
            scores=np.tile([0.9, 0.6, 0.4], n),
            classes=rng.integers(2, size=3 * n),
            num_classes=2,
            columns={signal: everything[signal] for signal in signals},
        )


def choose(stages, n=100, budget=10, ud=None, infer=None, seed=0):
    infer = infer or Inference()
    choice = Strategy(stages).select(Request(range(n), infer, budget, np.random.default_rng(seed), ud))
    return choice.selection, choice.stages, infer.calls


def uncertain(keep):
    return Stage(probabilistic, class_entropy, keep)


DIVERSE = Stage(ccms_kmedoids)
COORDS = Stage(partial(ccms_kmedoids, feature="coords"))


# keep_count ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "total", "target", "ud", "expected"),
    [
        ("ud", 4800, 1200, 0, 4800),  # thesis: ud = 0 is diversity alone
        ("ud", 4800, 1200, 1, 1200),  # ud = 1 is uncertainty alone
        ("ud", 4800, 1200, 0.75, 2100),  # 3600 / 4 + 1200
        ("ud", 4800, 1200, 0.5, 3000),
        ("ud", 4800, 1200, 0.25, 3900),
        ("ud", 4800, 1200, 0.95, 1380),
        ("ud", 15, 10, 0.9, 11),  # 5 * 0.1 + 10 = 10.5, a half goes up; in binary 1 - 0.9 is less than 0.1
        ("ud", 15, 10, 0.91, 10),  # 10.45
        ("ud", 10, 10, 0.3, 10),
        ("ud", 7, 10, 0, 7),  # the pool is smaller than the budget
        ("ud", 7, 10, 1, 7),
        ("ud", 0, 10, 0.5, 0),
        ("budget", 100, 10, None, 10),
        ("budget", 7, 10, 0.5, 7),
        ("4x", 100, 10, None, 40),
        ("4x", 30, 10, None, 30),
        ("4x", 7, 10, None, 7),
        ("1.25x", 100, 10, None, 13),
        ("20%", 100, 10, None, 20),
        ("20%", 101, 10, None, 21),
        ("5%", 100, 10, None, 10),  # never below the budget
        ("100%", 100, 10, None, 100),
        ("0.1%", 30_000, 10, None, 30),  # exactly: 0.1 is more than a tenth in binary
        ("10000 images", 48_000, 1000, None, 10_000),  # ISAL D.1: the best of a random 10,000
        ("10000 images", 7000, 1000, None, 7000),
        ("5 images", 100, 10, None, 10),
    ],
)
def test_keep_count(keep, total, target, ud, expected):
    assert keep_count(keep, total, target, ud) == expected


def test_equation_9_falls_with_ud_and_stays_within_its_ends():
    for total, target in [(4800, 1200), (13, 12), (50, 1), (5, 9)]:
        counts = [keep_count("ud", total, target, ud) for ud in np.linspace(0, 1, 101)]
        assert counts[0] == total
        assert counts[-1] == min(total, target)
        assert counts == sorted(counts, reverse=True)
        exact = [(total - target) * (1 - ud) + target for ud in np.linspace(0, 1, 101)]
        if total > target:
            assert max(abs(a - b) for a, b in zip(counts, exact, strict=True)) <= 0.5 + 1e-9


@pytest.mark.parametrize(
    "keep",
    [
        "",
        "all",
        "0.5x",
        "0%",
        "101%",
        "x",
        "-4x",
        "4 x",
        "UD",
        "20",
        "0 images",
        "x images",
        "5images",
        "1/2x",
        None,
        20,
    ],
)
def test_a_keep_that_means_nothing(keep):
    with pytest.raises(ConfigError, match="cannot keep"):
        keep_count(keep, 100, 10, 0.5)
    with pytest.raises(ConfigError, match="cannot keep"):
        Stage(random, keep=keep)


@pytest.mark.parametrize("ud", [None, -0.1, 1.1, float("nan")])
def test_a_ud_that_means_nothing(ud):
    with pytest.raises(ConfigError, match="ud_split"):
        keep_count("ud", 100, 10, ud)


def test_a_target_below_one_is_a_bug():
    with pytest.raises(ValueError, match="keep 0"):
        keep_count("budget", 100, 0)


# what is inferred ----------------------------------------------------------------------------------------------------


def test_random_costs_no_inference():
    chosen, logs, calls = choose([Stage(random)])
    assert calls == []
    assert len(chosen.ids) == 10
    assert np.isnan(chosen.scores).all()
    assert [(log.name, log.candidates, log.kept, log.skipped) for log in logs] == [("random", 100, 10, "")]


def test_only_the_survivors_are_inferred_for_the_next_stage():
    _, logs, calls = choose([uncertain("ud"), DIVERSE], ud=0.5)
    assert calls == [(100, set()), (55, {Signal.BOX_FEATURES})]
    assert [(log.candidates, log.kept) for log in logs] == [(100, 55), (55, 10)]


def test_a_random_share_first_saves_inference():
    _, logs, calls = choose([Stage(random, keep="20%"), Stage(top, entropy)])
    assert calls == [(20, {Signal.PROBS})]
    assert [log.kept for log in logs] == [20, 10]


def test_a_table_that_has_what_the_next_stage_needs_is_used_again():
    assert choose([uncertain("4x"), COORDS])[2] == [(100, set())]
    stages = [Stage(top, entropy, "50%"), Stage(random, keep="30%"), Stage(top, class_entropy)]
    assert choose(stages)[2] == [(100, {Signal.PROBS})]


def test_a_stage_sees_the_columns_it_declared_and_no_others():
    @score(needs=frozenset(), source="", family="")
    def nosy(query):
        assert not query.candidates.columns
        return np.ones(len(query.candidates))

    @selection(source="", family="")
    def blind(query, scores=None):
        assert len(query.candidates.scores) == 0
        return Selection(query.candidates.image_ids[: query.budget], np.full(query.budget, np.nan))

    _, _, calls = choose([Stage(top, entropy, "4x"), Stage(top, nosy, "2x"), Stage(blind)])
    assert calls == [(100, {Signal.PROBS})]


def test_a_stage_is_told_how_many_it_must_return_and_the_ud():
    seen = []

    @selection(source="", family="")
    def spy(query, scores=None):
        seen.append((len(query.candidates), query.budget, query.ud))
        return random(query)

    choose([Stage(spy, keep="ud"), Stage(spy)], ud=0.8)
    assert seen == [(100, 28, 0.8), (28, 10, 0.8)]


# what is skipped -----------------------------------------------------------------------------------------------------


def test_ud_1_skips_diversity():
    chosen, logs, calls = choose([uncertain("ud"), DIVERSE], ud=1)
    assert calls == [(100, set())]
    assert [bool(log.skipped) for log in logs] == [False, True]
    assert logs[1].skipped == "nothing to drop: keep=budget is all 10 candidates"
    alone, _, _ = choose([uncertain("budget")])
    assert np.array_equal(chosen.ids, alone.ids)  # in the order of the last stage that ran
    assert np.array_equal(chosen.scores, alone.scores)


def test_ud_0_skips_uncertainty():
    chosen, logs, calls = choose([uncertain("ud"), DIVERSE], ud=0)
    assert calls == [(100, {Signal.BOX_FEATURES})]
    assert logs[0].skipped == "nothing to drop: keep=ud at ud=0 is all 100 candidates"
    assert not logs[1].skipped
    assert np.isnan(chosen.scores).all()
    assert np.array_equal(chosen.ids, choose([DIVERSE])[0].ids)


@pytest.mark.parametrize("n", [0, 1, 9, 10])
def test_candidates_that_fit_in_the_budget_are_all_taken_and_nothing_runs(n):
    chosen, logs, calls = choose([uncertain("ud"), DIVERSE], n=n, ud=0.5)
    assert calls == []
    assert chosen.ids.tolist() == list(range(n))
    assert all(log.skipped and log.kept == n for log in logs)


# scores --------------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_last_scored_stage():
    @score(needs=None, source="", family="")
    def by_id(query):
        return query.candidates.image_ids * 2.0

    @selection(source="", family="")
    def lowest_ids_last(query, scores=None):
        return Selection(query.candidates.image_ids[: query.budget][::-1], np.zeros(query.budget))

    chosen, _, calls = choose([Stage(top, by_id, "2x"), Stage(lowest_ids_last)])
    assert chosen.ids.tolist() == list(range(89, 79, -1))
    assert chosen.scores.tolist() == [2.0 * i for i in range(89, 79, -1)]
    assert calls == []


# shares ---------------------------------------------------------------------------------------------------------------


def halves(share=0.5):
    return [Stage(random, keep="20%"), Stage(top, entropy, share=share), Stage(random)]


def test_half_by_entropy_in_a_random_fifth_and_half_at_random_from_the_rest():
    chosen, logs, calls = choose(halves())
    assert calls == [(20, {Signal.PROBS})], "only the fifth is looked at"
    assert [(log.candidates, log.kept) for log in logs] == [(100, 20), (20, 5), (80, 5)]
    subset = choose([Stage(random)], budget=20)[0].ids
    by_entropy, at_random = chosen.ids[::2], chosen.ids[1::2]  # they alternate
    assert set(by_entropy) <= set(subset)
    assert not set(at_random) & set(subset)
    assert np.isfinite(chosen.scores[::2]).all() and np.isnan(chosen.scores[1::2]).all()
    assert (np.diff(chosen.scores[::2]) <= 0).all()


@pytest.mark.parametrize(
    ("share", "picks"), [(0.3, (3, 7)), (0.25, (3, 7)), (0.04, (0, 10)), (0.96, (10, 0)), (0.7, (7, 3))]
)
def test_any_share(share, picks):
    chosen, logs, _ = choose(halves(share))
    assert (logs[1].kept, logs[2].kept) == picks, "rounded to the nearest, halves up"
    assert len(chosen.ids) == 10
    assert [bool(log.skipped) for log in logs] == [picks[0] == 0, picks[0] == 0, picks[1] == 0]


def test_a_rest_that_is_too_small_is_filled_from_what_was_looked_at():
    """19 of 20, a tenth by entropy: 2 of a random 4. The other 16 are fewer than the 17 to come, so all 18 may be drawn."""
    chosen, logs, _ = choose(halves(0.1), n=20, budget=19)
    assert [(log.candidates, log.kept) for log in logs] == [(20, 4), (4, 2), (18, 17)]
    assert len(chosen.ids) == 19


@pytest.mark.parametrize("share", [0.5, 0.3])
@pytest.mark.parametrize("of", [None, "outside", "inside", "all"])
def test_the_three_readings_of_the_random_half(of, share):
    """Half of 40 images are looked at. The second part is drawn from the set that is meant."""
    drawn, meant = set(), set()
    for seed in range(40):
        looked_at = set(choose([Stage(random)], n=40, budget=20, seed=seed)[0].ids.tolist())
        stages = [Stage(random, keep="50%"), Stage(top, entropy, share=share), Stage(random, of=of)]
        chosen, logs, _ = choose(stages, n=40, seed=seed)
        uncertain_ones, others = chosen.ids[~np.isnan(chosen.scores)], chosen.ids[np.isnan(chosen.scores)]
        left = {i for i in range(40) if i not in uncertain_ones}
        left = {"outside": left - looked_at, "inside": left & looked_at, "all": left}[of or "outside"]
        assert len(uncertain_ones) == round(10 * share) and looked_at.issuperset(uncertain_ones)
        assert (logs[2].candidates, logs[2].kept) == (len(left), len(others)) and left.issuperset(others)
        drawn, meant = drawn | {(i, i in looked_at) for i in others}, meant | {(i, i in looked_at) for i in left}
    assert drawn <= meant
    assert {inside for _, inside in drawn} == {inside for _, inside in meant}


def test_inside_with_too_few_images_is_all_that_are_not_picked():
    """A fifth of 40 is 8; 5 of them are picked, and the other 3 are fewer than the 5 to come: all 35 may be drawn."""
    _, logs, _ = choose([*halves()[:2], Stage(random, of="inside")], n=40)
    assert [(log.candidates, log.kept) for log in logs] == [(40, 8), (8, 5), (35, 5)]


def test_three_parts():
    stages = [Stage(top, entropy, share=0.2), Stage(top, class_entropy, share=0.3), Stage(random)]
    chosen, logs, calls = choose(stages)
    assert [(log.candidates, log.kept) for log in logs] == [(100, 2), (98, 3), (95, 5)]
    assert calls == [(100, {Signal.PROBS}), (98, set())]
    assert len(set(chosen.ids.tolist())) == 10
    _, logs, _ = choose(stages, n=11)
    assert [(log.candidates, log.kept) for log in logs] == [(11, 2), (9, 3), (6, 5)], "9 are fewer than the budget"


def test_shares_of_candidates_that_fit_in_the_budget():
    chosen, logs, calls = choose(halves(), n=9)
    assert calls == []
    assert chosen.ids.tolist() == list(range(9))
    assert all(log.skipped for log in logs)


# what became of every candidate ---------------------------------------------------------------------------------------


def choice_of(stages, n=100, budget=10, ud=None):
    return Strategy(stages).select(Request(range(n), Inference(), budget, np.random.default_rng(0), ud))


def test_every_candidate_has_its_last_score_and_the_stage_that_dropped_it():
    choice = choice_of([Stage(random, keep="50%"), Stage(top, entropy, "20%"), Stage(top, class_entropy)], budget=5)
    assert choice.candidates.tolist() == list(range(100))
    assert np.bincount(choice.dropped_by).tolist() == [5, 50, 40, 5], "5 of 100 -> 50 -> 10 -> 5"
    subset = choice_of([Stage(random)], budget=50).selection.ids
    assert set(choice.candidates[choice.dropped_by != 1]) == set(subset)
    table = Inference()(np.sort(subset), frozenset({Signal.PROBS}))
    by_entropy = entropy(Query(table, 1, np.random.default_rng(0)))
    dropped_second = np.isin(np.sort(subset), choice.candidates[choice.dropped_by == 2])
    assert np.array_equal(choice.scores[choice.dropped_by == 2], by_entropy[dropped_second])
    assert by_entropy[dropped_second].max() <= by_entropy[~dropped_second].min()
    assert np.isnan(choice.scores[choice.dropped_by == 1]).all()
    assert choice.scores[choice.dropped_by == 3].max() <= choice.selection.scores.min()


def test_shares_name_the_stage_that_dropped_an_image_last():
    choice = choice_of(halves())
    fates = np.bincount(choice.dropped_by, minlength=4).tolist()
    assert fates == [10, 0, 15, 75], "outside the fifth it is the last stage that drops, inside it the second"
    assert (choice.dropped_by[choice.selection.ids] == 0).all()


def test_nobody_is_dropped_where_all_fit_the_budget():
    choice = choice_of([uncertain("ud"), DIVERSE], n=8, ud=0.5)
    assert choice.dropped_by.tolist() == [0] * 8 and np.isnan(choice.scores).all()


def test_a_choice_that_contradicts_itself_cannot_be_made():
    stages = (StageLog("top", 3, 1),)
    picked, ids, scores = Selection([2], [1.0]), np.array([1, 2, 3]), np.zeros(3)
    Choice(picked, stages, ids, scores, np.array([1, 0, 1]))
    for dropped_by, why in (([0, 1, 1], "dropped by no stage"), ([1, 0, 2], "outside 0..1"), ([1, 0], "2 dropped_by")):
        with pytest.raises(ValueError, match=why):
            Choice(picked, stages, ids, scores, np.array(dropped_by))


# labeled images -------------------------------------------------------------------------------------------------------


def test_a_stage_gets_the_labeled_images_it_declares_and_only_then():
    seen = []

    @score(needs=frozenset(), labeled=frozenset({Signal.PROBS}), source="", family="")
    def compares(query):
        seen.append((query.labeled.image_ids.tolist(), set(query.labeled.columns), set(query.candidates.columns)))
        return np.zeros(len(query.candidates))

    @score(needs=frozenset(), source="", family="")
    def alone(query):
        assert query.labeled is None
        return np.zeros(len(query.candidates))

    strategy = Strategy([Stage(top, compares, "4x"), Stage(top, alone)])
    infer = Inference()
    request = Request(range(100), infer, 10, np.random.default_rng(0), labeled=(205, 201))
    strategy.select(request)
    assert infer.calls == [(100, set()), (2, {Signal.PROBS})]
    assert seen == [([201, 205], {"probs"}, set())]
    assert strategy.needs == {Signal.PROBS}, "the learner must provide it"
    with pytest.raises(RuntimeError, match="compares -> top compares with the labeled images, and there are none"):
        strategy.select(replace(request, labeled=()))


def test_an_oracle_is_one_by_what_it_needs_of_the_candidates():
    @score(needs=frozenset({Signal.TRUE_LOSS}), source="", family="")
    def cheats(query): ...

    @score(needs=frozenset(), labeled=frozenset({Signal.TRUE_LOSS}), source="", family="")
    def learns(query): ...

    assert Strategy([Stage(top, cheats)]).oracle == {Signal.TRUE_LOSS}
    assert Stage(top, cheats).log(9, 1) == StageLog("cheats -> top", 9, 1, oracle=True), "so the record says it"
    assert Stage(top, learns).log(9, 1) == StageLog("learns -> top", 9, 1)
    assert not Strategy([Stage(top, learns)]).oracle
    assert not Strategy([DIVERSE]).oracle


# refusals ------------------------------------------------------------------------------------------------------------


def test_strategy_declares_needs_and_ud():
    chain = Strategy([uncertain("ud"), DIVERSE])
    assert chain.needs == {Signal.BOX_FEATURES}
    assert chain.uses_ud
    assert Strategy([Stage(random)]).needs == frozenset()
    assert not Strategy([uncertain("4x"), DIVERSE]).uses_ud
    assert Strategy([Stage(top, entropy, "4x"), DIVERSE]).needs == {Signal.PROBS, Signal.BOX_FEATURES}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Stage(top), "top needs scores"),
        (lambda: Stage(entropy), "entropy is not a selection"),
        (lambda: Stage(top, score=random), "random is not a score"),
        (lambda: Stage(len), "len is neither"),
        (lambda: Stage(top, partial(entropy, agregate="max")), "did you mean '?aggregate"),
        (lambda: Stage(partial(ccms_kmedoids, feature="colour")), "box or coords"),
        (lambda: Strategy([]), "last stage"),
        (lambda: Strategy([uncertain("ud")]), "last stage"),
        (lambda: Strategy([Stage(random, share=0.5)]), "last stage"),
        (lambda: Strategy([Stage(random, share=0.5), Stage(random, share=0.5), Stage(random)]), "whole budget"),
        (lambda: Stage(random, share=1), "share=1"),
        (lambda: Stage(random, share=0), "share=0"),
        (lambda: Stage(random, of="beside"), "of='beside'"),
        (lambda: Strategy([Stage(random, of="all")]), "`of` does nothing"),
        (lambda: Strategy([*halves()[:2], Stage(random, keep="4x"), Stage(random, of="all")]), "`of` does nothing"),
        (lambda: Strategy([Stage(random, share=0.5), Stage(random, of="inside")]), "nothing is left inside"),
        (lambda: Stage(random, share=True), "share=True"),
        (lambda: Stage(random, share="half"), "share='half'"),
        (lambda: Stage(random, keep="4x", share=0.5), "cannot keep 4x with share=0.5"),
        (lambda: choose([uncertain("ud"), DIVERSE], ud=None), "needs a ud_split"),
    ],
)
def test_what_cannot_work_is_a_config_error(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda ids, k: ids[: k - 1], "liar returned 9 images instead of 10"),
        (lambda ids, k: ids, "liar returned 100 images instead of 10"),
        (lambda ids, k: ids[:k] + 1000, r"liar returned images that are no candidates: \[1000"),
    ],
)
def test_a_selection_that_breaks_the_law_is_named(wrong, message):
    @selection(source="", family="")
    def liar(query, scores=None):
        ids = wrong(query.candidates.image_ids, query.budget)
        return Selection(ids, np.zeros(len(ids)))

    with pytest.raises(RuntimeError, match=message):
        choose([Stage(liar)])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda n: np.zeros(n - 1), r"liar returned shape \(99,\) for 100 images"),
        (lambda n: np.where(np.arange(n) == 7, np.nan, 0), r"not finite for images \[7\]"),
        (lambda n: np.where(np.arange(n) == 3, np.inf, 0), r"not finite for images \[3\]"),
    ],
)
def test_a_score_that_breaks_the_law_is_named(values, message):
    @score(needs=None, source="", family="")
    def liar(query):
        return values(len(query.candidates))

    with pytest.raises(RuntimeError, match=message):
        choose([Stage(top, liar)])


def test_predictions_of_other_images_or_without_the_columns_are_refused():
    class Short(Inference):
        def __call__(self, ids, signals):
            return super().__call__(ids[:-1], signals)

    class Bare(Inference):
        def __call__(self, ids, signals):
            return super().__call__(ids, frozenset())

    with pytest.raises(RuntimeError, match="99 images instead of the 100"):
        choose([DIVERSE], infer=Short())
    with pytest.raises(RuntimeError, match="no box_features"):
        choose([DIVERSE], infer=Bare())


def test_a_candidate_named_twice_is_refused():
    with pytest.raises(RuntimeError, match="distinct"):
        Strategy([Stage(random)]).select(Request([1, 1, 2], Inference(), 1, np.random.default_rng(0)))


def test_a_request_for_no_image_is_refused():
    with pytest.raises(ValueError, match="budget must be at least 1, got 0"):
        Request([1, 2], Inference(), 0, np.random.default_rng(0))
