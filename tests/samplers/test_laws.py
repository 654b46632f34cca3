"""The laws that every sampler of conf/sampler must keep. The folder is listed: a new yaml is tested by being there."""

import dataclasses
import functools
import itertools
from pathlib import Path

import numpy as np
import pytest
import yaml
from hydra.utils import instantiate

from al_cli.samplers.catalog import read_stages, sampler_files
from al_cli.strategy import Stage, Strategy
from al_cli.types import Predictions, Request, Signal

FOLDER = Path(__file__).parents[2] / "conf" / "sampler"
FILES = sampler_files(FOLDER)

each_sampler = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
each_sampler_and_ud = pytest.mark.parametrize(
    ("path", "ud"),
    [(path, ud) for path in FILES for ud in ([0, 0.5, 1] if "keep: ud" in path.read_text() else [None])],
    ids=lambda value: value.stem if isinstance(value, Path) else f"ud{value}",
)
each_kind = pytest.mark.parametrize("kind", ["softmax", "sigmoid", "exclusive"])


def strategy_of(path: Path) -> Strategy:
    return Strategy([Stage(**stage) for stage in read_stages(path)])


def frozen(table: Predictions) -> Predictions:
    """The table with read-only arrays: whoever writes into one fails."""
    for array in (table.image_ids, table.offsets, table.boxes, table.scores, table.classes, *table.columns.values()):
        array.setflags(write=False)
    return table


@pytest.fixture
def pick(ragged, truth_of):
    """Ask a strategy about a table; the labeled images are others, with ids far above."""

    def ask(strategy, table, budget, ud, seed=0, candidates=None):
        known = ragged(np.random.default_rng(99), images=15, prob_kind=table.prob_kind)
        known = dataclasses.replace(known, image_ids=known.image_ids + 10_000)

        def infer(ids, signals):
            cut = (known if ids[0] > 10_000 else table).select(ids)
            return frozen(dataclasses.replace(cut, columns={s: cut.columns[s] for s in signals}))  # nothing else

        request = Request(
            table.image_ids if candidates is None else candidates,
            infer=infer,
            budget=budget,
            ud=ud,
            rng=np.random.default_rng(seed),
            truth=truth_of(known),
            labeled=known.image_ids.tolist(),
            held_out=truth_of(known),
            infer_held_out=infer,
        )
        choice = strategy.select(request)
        everyone = np.sort(table.image_ids if candidates is None else candidates)
        assert np.array_equal(choice.candidates, everyone)
        score_of = dict(zip(choice.candidates.tolist(), choice.scores.tolist(), strict=True))
        for i, score in zip(choice.selection.ids.tolist(), choice.selection.scores.tolist(), strict=True):
            assert np.isnan(score) or score_of[i] == score
        return choice.selection, choice.stages

    return ask


def test_random_tables_have_every_signal(ragged):
    assert set(ragged(np.random.default_rng(0)).columns) == set(Signal)


@each_sampler_and_ud
@each_kind
def test_exact_budget_distinct_ids_subset_same_rng_same_ids(path, ud, kind, ragged, pick):
    strategy = strategy_of(path)
    for seed in range(3):
        rng = np.random.default_rng([seed, 17])
        table = ragged(rng, images=40, prob_kind=kind)
        candidates = np.sort(rng.choice(table.image_ids, 30, replace=False))
        for budget in (1, 2, 7, 29):
            chosen, logs = pick(strategy, table, budget, ud, seed, candidates)
            assert len(chosen.ids) == budget
            assert len(set(chosen.ids.tolist())) == budget
            assert set(chosen.ids.tolist()) <= set(candidates.tolist())
            assert not np.isinf(chosen.scores).any()
            assert logs[0].candidates == 30
            ends = [stage.share is not None for stage in strategy.stages[:-1]] + [True]
            assert sum(log.kept for log, end in zip(logs, ends, strict=True) if end) == budget
            for n, (log, after) in enumerate(itertools.pairwise(logs)):
                assert ends[n] or log.kept == after.candidates
            if budget == 7:
                again, logs_again = pick(strategy, table, budget, ud, seed, candidates)
                assert np.array_equal(again.ids, chosen.ids)
                assert np.array_equal(again.scores, chosen.scores, equal_nan=True)
                assert logs_again == logs


@each_sampler_and_ud
def test_no_detections_anywhere(path, ud, ragged, pick):
    table = ragged(np.random.default_rng(0), images=20, empty_share=1)
    assert len(table.scores) == 0
    chosen, _ = pick(strategy_of(path), table, 6, ud)
    assert len(set(chosen.ids.tolist())) == 6


@each_sampler_and_ud
@pytest.mark.parametrize("budget", [12, 13, 500])
def test_budget_of_the_whole_pool_or_more(path, ud, budget, ragged, pick):
    table = ragged(np.random.default_rng(0), images=12)
    chosen, logs = pick(strategy_of(path), table, budget, ud)
    assert chosen.ids.tolist() == table.image_ids.tolist()
    assert np.isnan(chosen.scores).all()
    assert all(log.skipped for log in logs)


@each_sampler
def test_the_order_of_the_candidates_does_not_matter(path, ragged, pick):
    table = ragged(np.random.default_rng(3), images=25)
    straight, _ = pick(strategy_of(path), table, 5, 0.5)
    mixed = np.random.default_rng(1).permutation(table.image_ids)
    assert np.array_equal(pick(strategy_of(path), table, 5, 0.5, candidates=mixed)[0].ids, straight.ids)


@each_sampler
def test_hydra_builds_the_same_stages(path):
    content = instantiate(yaml.safe_load(path.read_text()), _convert_="all")
    built = Strategy([Stage(**stage) for stage in content["stages"]])
    ours = strategy_of(path)
    assert built.needs == ours.needs
    assert [(s.name, s.keep, s.share) for s in built.stages] == [(s.name, s.keep, s.share) for s in ours.stages]
    for one, other in zip(built.stages, ours.stages, strict=True):
        assert isinstance(one.select, functools.partial)
        assert one.select.keywords == other.select.keywords
