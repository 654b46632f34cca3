"""modAL both ways: its strategies as our sampler, ours as its strategies; against modAL itself where it is installed."""

import dataclasses
import sys
from functools import partial

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from al_cli.errors import ConfigError
from al_cli.experiment.job import jobs_of
from al_cli.experiment.sampling import build_strategy
from al_cli.learners.fake import FakeLearner
from al_cli.lookup import Known
from al_cli.samplers import (
    active_transfer,
    bald,
    box_count,
    class_balanced,
    coreset,
    discriminative,
    entropy,
    least_confidence,
    margin,
    modal,
    modal_strategy,
    model_outliers,
    pivot,
    random,
    ratio,
)
from al_cli.store.strategy import modules_of
from al_cli.types import Query, Signal

WORDS = ["task=classification", "dataset=digits_images", "model=fake", "training=ppal", "sampler=modal"]
OURS = f"{__name__}.most_confused"


def most_confused(classifier, X, n_instances=1, *, reverse=False):
    """As modAL writes one: the highest entropies first."""
    p = classifier.predict_proba(X)
    order = np.argsort((p * np.log(np.maximum(p, 1e-300))).sum(1), kind="stable")
    return (order[::-1] if reverse else order)[:n_instances], X[order[:n_instances]]


@pytest.fixture
def query(ragged, truth_of):
    """Thirty images with one class each, and fifteen labeled ones."""
    table, known = (ragged(np.random.default_rng(n), images=n, prob_kind="exclusive") for n in (30, 15))
    return Query(table, 4, np.random.default_rng(0), truth=truth_of(known), labeled=known)


def test_a_strategy_of_modal_picks_what_our_entropy_ranks_first(query):
    best = query.candidates.image_ids[np.argsort(-entropy(query), kind="stable")]
    picked = modal(query, strategy=most_confused)
    assert picked.ids.tolist() == best[:4].tolist() and np.isnan(picked.scores).all()
    assert modal(query, strategy=partial(most_confused, reverse=True)).ids.tolist() == best[:-5:-1].tolist()


def test_what_the_classifier_knows(query):
    seen = {}

    def look(classifier, X, n_instances):
        seen.update(vars(classifier), rows=classifier.predict_proba(X[[3, 1]]), likeliest=classifier.predict(X[:5]))
        seen["of labeled"] = classifier.estimator.predict_proba(classifier.X_training)
        X[:] = 0  # a strategy may write into what it is given
        return range(n_instances)

    modal(query, strategy=look)
    table, known = query.candidates, query.labeled
    assert np.array_equal(seen["rows"], table.columns[Signal.PROBS][[3, 1]])
    assert np.array_equal(seen["likeliest"], table.classes[:5])
    assert np.array_equal(seen["X_training"], known.columns[Signal.IMAGE_FEATURES])
    assert np.array_equal(seen["of labeled"], known.columns[Signal.PROBS])
    assert seen["y_training"].tolist() == [image.classes[0] for image in query.truth.images]
    assert modal(query, strategy=most_confused).ids.tolist() != table.image_ids[:4].tolist()


@pytest.mark.parametrize(
    "answer",
    [
        np.array([3, 0, 7, 2]),
        [3, 0, 7, 2],
        (np.array([3, 0, 7, 2]), np.zeros((4, 5))),  # modAL until 0.4.0: the rows
        (np.array([3, 0, 7, 2]), np.zeros(4)),  # since then: their scores
        ([3, 0, 7, 2], None),
    ],
)
def test_forms_of_an_answer(query, answer):
    picked = modal(query, strategy=lambda _classifier, _X, n_instances: answer)
    assert picked.ids.tolist() == query.candidates.image_ids[[3, 0, 7, 2]].tolist()


def test_one_or_two_images(query):
    for budget, answer, expected in ((1, (5, 0.25), [5]), (1, np.int64(5), [5]), (2, (5, 1), [5, 1])):
        small = dataclasses.replace(query, budget=budget)
        picked = modal(small, strategy=lambda _classifier, _X, n_instances, answer=answer: answer)
        assert picked.ids.tolist() == query.candidates.image_ids[expected].tolist()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([1, 2, 3], "strange returned 3 images instead of 4"),
        ([1, 2, 2, 3], "strange returned row 2 of X twice"),
        ([1, 2, 30, 3], "strange returned row 30 of X, which has 30"),
        ([1, -2, 0, 3], "strange returned row -2 of X"),
        ([True, False, True, True], "no indices but bool"),
        ([0.5, 1, 2, 3], "no indices but float64"),
        (np.zeros((4, 5), int), r"no indices but int64 of shape \(4, 5\)"),
    ],
)
def test_a_strange_answer_is_named(query, answer, message):
    def strange(classifier, X, n_instances):
        return answer

    with pytest.raises(ConfigError, match=message):
        modal(query, strategy=strange)


def test_features_of_no_image(query):
    with pytest.raises(ConfigError, match="features that are those of no image"):
        modal(query, strategy=lambda classifier, X, n_instances: classifier.predict_proba(X + 1))


def test_the_global_generator_is_seeded_and_put_back(query):
    def draws(_classifier, X, n_instances):
        return np.random.permutation(len(X))[:n_instances]  # noqa: NPY002

    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    one, other = (modal(dataclasses.replace(query, rng=np.random.default_rng(3)), strategy=draws) for _ in range(2))
    assert one.ids.tolist() == other.ids.tolist()
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    assert (
        modal(dataclasses.replace(query, rng=np.random.default_rng(4)), strategy=draws).ids.tolist() != one.ids.tolist()
    )


def test_a_run_asks_the_strategy_that_was_typed():
    [job] = jobs_of([*WORDS, f"sampler.strategy={OURS}", "+sampler.stages.0.select.strategy.reverse=true"])
    [stage] = job.experiment.strategy.stages
    assert stage.select.keywords["strategy"].func.__name__ == "most_confused"
    assert stage.select.keywords["strategy"].keywords == {"reverse": True}
    assert job.experiment.strategy.needs == {Signal.PROBS, Signal.IMAGE_FEATURES} == stage.labeled
    assert job.folder.name.startswith("modal_") and "strategy" not in job.folder.name
    assert __name__ in modules_of([stage], []), "its code is a part of the store's key"
    assert FakeLearner.provides >= job.experiment.strategy.needs


def test_where_modal_is_not_installed_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "modAL", None)
    with pytest.raises(ConfigError, match=r'cannot be imported.*pip install "al-cli\[modal\]"'):
        jobs_of([*WORDS, "sampler.strategy=modAL.uncertainty.entropy_sampling"])


def test_a_strategy_that_nobody_typed_is_not_imported():
    stage = {
        "select": {"_target_": "al_cli.samplers.modal", "strategy": {"_target_": "antigravity.fly"}},
        "keep": "budget",
    }
    with pytest.raises(ConfigError, match="the module antigravity is not imported, because neither you nor"):
        build_strategy({"name": "modal", "stages": [stage]})
    with pytest.raises(ConfigError, match=r"fly in antigravity is not there|cannot be imported"):
        build_strategy({"name": "modal", "stages": [stage]}, Known(frozenset({"antigravity.fly"})))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*WORDS], r"sampler.strategy is not given: add sampler.strategy="),
        ([*WORDS, "sampler.strategy=entropy"], "entropy is no dotted name .*: write package.module.NAME"),
        ([*WORDS, f"sampler.strategy={__name__}.OURS"], "OURS in .* is no function"),
        ([*WORDS, f"sampler.strategy={__name__}.nothing"], "nothing in .* is not there"),
        (
            [*WORDS, f"sampler.strategy={OURS}", "sampler.stages.0.select.strategy=3"],
            "cannot take strategy=3.*give a function",
        ),
        (
            ["sampler=modal", f"sampler.strategy={OURS}"],
            "sampler modal needs one class for each image, and this data has boxes",
        ),
    ],
)
def test_a_strategy_that_cannot_be_asked(words, message):
    with pytest.raises(ConfigError, match=message):
        jobs_of(words)


# The other way ------------------------------------------------------------------------------------------------------


class Learner:
    """What modAL documents of an ActiveLearner."""

    def __init__(self, X, y):
        self.X_training, self.y_training = X, y
        self.estimator = LogisticRegression().fit(X, y)
        self.predict_proba = self.estimator.predict_proba


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = np.array(["cat", "dog", "hamster"])[np.arange(60) % 3]
    x = rng.normal(size=(60, 4)) + np.arange(60)[:, None] % 3
    return x[:20], y[:20], x[20:]


@pytest.mark.parametrize("score", [entropy, margin, least_confidence, ratio])
def test_a_score_ranks_what_an_estimator_says(data, score):
    x, y, pool = data
    learner = Learner(x, y)
    p = -np.sort(-learner.predict_proba(pool), 1)
    value = {
        entropy: -(p * np.log(p)).sum(1),
        margin: p[:, 1] - p[:, 0],
        least_confidence: -p[:, 0],
        ratio: p[:, 1] / p[:, 0],
    }[score]
    indices, rows = modal_strategy(score)(learner, pool, n_instances=7)
    assert indices.tolist() == np.argsort(-value, kind="stable")[:7].tolist()
    assert np.array_equal(rows, pool[indices])


def test_selections_over_an_estimator(data):
    x, y, pool = data
    learner = Learner(x, y)
    indices, _ = modal_strategy(coreset)(learner, pool, n_instances=5)
    left, centers = list(range(len(pool))), list(x)
    for i in indices:  # each the farthest from all before it
        gaps = [min(np.linalg.norm(pool[k] - c) for c in centers) for k in left]
        assert left[int(np.argmax(gaps))] == i
        left.remove(i)
        centers.append(pool[i])
    balanced, _ = modal_strategy(class_balanced)(learner, pool, n_instances=6)
    assert np.unique(learner.estimator.predict(pool[balanced]), return_counts=True)[1].tolist() == [2, 2, 2]
    for strategy in (modal_strategy(discriminative), modal_strategy(active_transfer, of="training")):
        assert len(set(strategy(learner, pool, n_instances=3)[0].tolist())) == 3


def test_draws_go_on_from_a_seed_and_images_are_flattened(data):
    x, y, pool = data
    one, other = (modal_strategy(random, seed=4) for _ in range(2))
    first = [strategy(Learner(x, y), pool, n_instances=3)[0].tolist() for strategy in (one, one, other)]
    assert first[0] == first[2] != first[1]
    learner = Learner(x, y)
    learner.X_training = x.reshape(-1, 2, 2)
    learner.predict_proba = lambda X: learner.estimator.predict_proba(X.reshape(-1, 4))
    indices, images = modal_strategy(coreset)(learner, pool.reshape(-1, 2, 2), n_instances=3)
    assert indices.tolist() == modal_strategy(coreset)(Learner(x, y), pool, n_instances=3)[0].tolist()
    assert images.shape == (3, 2, 2)


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (bald, {}, "bald needs dropout, which an estimator cannot give"),
        (model_outliers, {}, "model_outliers needs layer_activations"),
        (box_count, {}, "box_count needs boxes"),
        (active_transfer, {}, "active_transfer needs validation images"),
        (active_transfer, {"head": "own"}, "active_transfer needs error_probability"),
        (modal, {"strategy": most_confused}, "modal needs a model of al"),
        (pivot, {}, "pivot needs scores"),
        (len, {}, "len is neither a score nor a selection of al"),
    ],
)
def test_what_an_estimator_cannot_give(function, options, message):
    with pytest.raises(TypeError, match=message):
        modal_strategy(function, **options)


def test_strange_calls(data):
    x, y, pool = data
    learner = Learner(x, y)
    for n in (0, len(pool) + 1):
        with pytest.raises(ValueError, match=f"n_instances={n} of 40"):
            modal_strategy(entropy)(learner, pool, n_instances=n)
    learner.X_training = None
    with pytest.raises(TypeError, match="coreset compares with the labeled examples"):
        modal_strategy(coreset)(learner, pool)
    with pytest.raises(ConfigError, match="no option"):
        modal_strategy(entropy, agregate="max")


# modAL itself -------------------------------------------------------------------------------------------------------


@pytest.fixture
def themselves():
    pytest.importorskip("modAL", reason="the extra `modal` is not installed")
    from modAL import models, uncertainty

    return models, uncertainty


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(entropy, "entropy_sampling"), (margin, "margin_sampling"), (least_confidence, "uncertainty_sampling")],
)
def test_modal_itself_ranks_as_we_do(themselves, data, query, ours, theirs):
    models, uncertainty = themselves
    x, y, pool = data
    theirs = getattr(uncertainty, theirs)
    learner = models.ActiveLearner(
        LogisticRegression(), query_strategy=modal_strategy(ours), X_training=x, y_training=y
    )
    indices, rows = learner.query(pool, n_instances=9)
    assert set(indices.tolist()) == set(theirs(learner, pool, n_instances=9)[0].tolist())
    assert np.array_equal(rows, pool[indices])
    best = query.candidates.image_ids[np.argsort(-ours(query), kind="stable")[:4]]
    assert set(modal(query, strategy=theirs).ids.tolist()) == set(best.tolist()), "over our own model"


def test_an_active_learner_of_modal_runs_with_our_coreset(themselves, data):
    models, _ = themselves
    x, y, pool = data
    learner = models.ActiveLearner(
        LogisticRegression(), query_strategy=modal_strategy(coreset), X_training=x, y_training=y
    )
    bought = []
    for _ in range(3):
        indices, rows = learner.query(pool, n_instances=2)
        assert np.array_equal(rows, pool[indices])
        # Not learner.teach(): that of modAL 0.4.2 passes an argument that scikit-learn 1.8 took away.
        learner = models.ActiveLearner(
            LogisticRegression(),
            query_strategy=learner.query_strategy,
            X_training=np.concatenate([learner.X_training, rows]),
            y_training=np.concatenate([learner.y_training, ["cat", "dog"]]),
        )
        bought += indices.tolist()
    assert len(set(bought)) == 6, "what is labeled is no longer far from the labeled images"
    assert len(learner.X_training) == 26


def test_a_run_with_a_strategy_of_modal_itself(themselves):
    [job] = jobs_of([*WORDS, "sampler.strategy=modAL.uncertainty.margin_sampling"])
    assert job.experiment.strategy.stages[0].select.keywords["strategy"].func.__module__ == "modAL.uncertainty"
