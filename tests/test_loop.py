"""The loop on its own: what it trains on, what it asks for, how shares of the pool become counts."""

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
from shapes import CLASSES, random_dataset

from al_cli import loop
from al_cli.errors import ConfigError
from al_cli.experiment import build
from al_cli.experiment.job import jobs_of
from al_cli.learners.fake import FakeLearner
from al_cli.records import RunFolder
from al_cli.rng import Seeds, rng_for
from al_cli.tasks import default
from al_cli.types import Dataset, Splits


@pytest.fixture
def splits():
    return Splits("shapes", random_dataset(30), None, random_dataset(8, first_id=100))


class Spy(FakeLearner):
    def __init__(self, class_names):
        super().__init__(class_names)
        self.trained, self.validated, self.starts, self.inferred, self.seeds, self.orders = [], [], [], [], [], []

    def fit(self, train, *, val, seed, init, order=None):
        self.trained.append(set(train.ids.tolist()))
        self.validated.append(None if val is None else set(val.ids.tolist()))
        self.starts.append(init)
        self.seeds.append(seed)
        self.orders.append(order)
        return super().fit(train, val=val, seed=seed, init=init)

    def infer(self, images, signals=frozenset()):
        self.inferred.append((set(images.ids.tolist()), signals))
        return super().infer(images, signals)


def experiment(*overrides):
    [job] = jobs_of(["model=fake", *overrides])
    return job.experiment


def play(splits, tmp_path, *overrides, **changes):
    checked = experiment(*overrides)
    plan = build.plan_rounds(checked, splits)
    spy = Spy(CLASSES)
    with RunFolder.create(tmp_path / "run", checked.config, {}) as folder:
        return spy, list(loop.run(splits, spy, checked.strategy, plan, folder, checked.task))


def test_cumulative_training_resets_and_sees_all_labels(splits, tmp_path):
    spy, records = play(splits, tmp_path, "sampler=random", "training=ppal")
    assert spy.trained == [set(record.labeled) for record in records]
    assert spy.starts == [None] * 5
    assert len(spy.inferred) == 5, "random selection must cost no pass over the pool"


def test_thesis_training_continues_on_the_new_images(splits, tmp_path):
    spy, records = play(splits, tmp_path, "sampler=random", "training=thesis")
    assert spy.trained == [set(record.picked) for record in records]
    assert spy.starts[0] is None and all(start is not None for start in spy.starts[1:])


@pytest.mark.parametrize("data", ["cumulative", "new", "reselect"])
def test_without_shuffling_images_are_trained_on_in_the_order_in_which_they_were_labeled(splits, tmp_path, data):
    """Lund 4.1.1; a round whose weights are made again has the same order."""
    words = ["sampler=entropy", f"training.data={data}", "training.shuffle=false", "initial=6", "budget=3", "rounds=2"]
    spy, records = play(splits, tmp_path, *words)
    for record, order, trained in zip(records, spy.orders, spy.trained, strict=True):
        assert order == [i for i in record.labeled if i in trained] and set(order) == trained
    assert spy.orders[2] != sorted(spy.orders[2])
    if data == "new":
        assert spy.orders == [list(record.picked) for record in records]
        assert play(splits, tmp_path / "shuffled", "sampler=entropy", "rounds=1")[0].orders == [None, None]
    (tmp_path / "run/round_02/checkpoint.pth").unlink()
    again, _ = play(splits, tmp_path, *words)
    assert again.orders == spy.orders[2:]


def test_one_training_over_all_rounds_goes_on_from_each(splits, tmp_path):
    spy, records = play(splits, tmp_path, "sampler=random", "training=datahunt")
    assert spy.trained == [set(record.labeled) for record in records]
    assert spy.starts[0] is None and all(start is not None for start in spy.starts[1:])


def test_reselecting_chooses_the_training_set_from_the_whole_pool(splits, tmp_path):
    """Lund 4.1.5: as many images as cumulative training has, by the current model, from the starting weights; what was
    labeled before costs nothing, and what is not chosen again is not trained on."""
    spy, records = play(splits, tmp_path, "sampler=entropy", "training.data=reselect", "initial=6", "budget=3")
    assert [len(trained) for trained in spy.trained] == [6, 9, 12, 15, 18], "as many as cumulative training has"
    assert spy.starts == [None] * 5
    test = set(splits.test.ids.tolist())
    assert [len(ids) for ids, _ in spy.inferred if ids != test] == [30] * 4, "labeled images are candidates too"
    paid = set()
    for record, trained in zip(records, spy.trained, strict=True):
        assert set(record.picked) == trained - paid, "only images that were never labeled are labeled"
        paid |= trained
        assert set(record.labeled) == paid and record.images == len(paid)
        assert RunFolder(tmp_path / "run").trained_on(record.round) == tuple(sorted(trained))
    assert records[-1].images > 18, "some image was left out and so has been paid for beside those trained on"
    shown = pd.read_csv(tmp_path / "run/round_02/candidates.csv")
    before, chosen = set(records[1].labeled), spy.trained[2]
    assert set(shown.image_id[shown.outcome == "reselected"]) == chosen & before
    # entropy selects the highest scores: an image that was dropped scored no higher than any that was chosen
    assert shown.score[shown.outcome == "entropy -> top"].max() <= shown.score[shown.stage.isna()].min()


def test_reselecting_leaves_validation_images_alone_and_continues_after_a_stop(splits, tmp_path):
    words = [
        "sampler=entropy",
        "training.data=reselect",
        "initial=8",
        "budget=5",
        "rounds=3",
        "dataset.val=25% of initial",
    ]
    keep = "training.keep_checkpoints=all"
    spy, whole = play(splits, tmp_path, *words, keep)
    held = spy.validated[0]
    assert len(held) == 2 and all(held.isdisjoint(trained) for trained in spy.trained)
    assert [len(trained) for trained in spy.trained] == [6, 11, 16, 21]
    for round in (2, 3):
        (tmp_path / f"run/round_0{round}/record.json").unlink()
    rest, records = play(splits, tmp_path, *words, keep)
    assert rest.trained == spy.trained[2:]
    assert records == whole[2:]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["sampler=entropy", "budget_unit=boxes", "budget=20"], "budget_unit=images"),
        (["sampler=entropy", "training.init=continue"], "training.init=reset"),
        (["sampler=coreset"], "compares candidates with the labeled images"),
    ],
)
def test_reselecting_refuses_what_has_no_meaning(overrides, words):
    with pytest.raises(ConfigError) as error:
        experiment("training.data=reselect", *overrides)
    assert words in str(error.value)


@pytest.mark.parametrize("extra", [[], ["dataset.val=50% of initial"]])
def test_a_reference_is_the_last_training_of_an_arm_that_labels_everything(splits, tmp_path, extra):
    spy, [record] = play(splits, tmp_path / "a", "reference=true", "sampler=coreset", "ud_split=0.5", "seed=3", *extra)
    arm, records = play(splits, tmp_path / "b", "sampler=random", "seed=3", *extra)
    assert (spy.trained, spy.validated, spy.seeds) == (arm.trained[-1:], arm.validated[-1:], arm.seeds[-1:])
    assert (record.round, record.images, record.boxes) == (0, 30, splits.train.box_count)
    assert record.metrics == records[-1].metrics
    assert RunFolder(tmp_path / "a/run").total_rounds == 1


def test_a_reference_is_trained_as_long_as_the_last_weights_of_an_arm():
    assert experiment("reference=true", "training.iterations=50").iterations == 50
    assert experiment("reference=true", "training=thesis").iterations == 15000, "an arm's rounds continue each other"
    assert experiment("training=thesis").iterations == 3000
    split = ("training=thesis", "training.iterations_per=run")
    assert (experiment("reference=true", *split).iterations, experiment(*split).iterations) == (3000, 600)
    assert experiment("training=datahunt").iterations == 20
    whole = experiment("reference=true", "training=datahunt")
    assert (whole.iterations, whole.rounds) == (100, 1), "all epochs at once"
    assert (
        experiment("reference=true", "training=thesis", "training.duration=epochs", "training.epochs=7").iterations == 7
    )


def test_a_reference_has_a_name_of_its_own():
    [job] = jobs_of(["model=fake", "reference=true", "sampler=entropy", "seed=2"])
    assert str(job.folder) == "outputs/digits/reference_fake_s2"
    with pytest.raises(ConfigError, match="give true or false"):
        experiment("reference=some")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["training.epochs=10"], "add training.duration=epochs"),
        (["training=lund", "training.iterations=300"], "add training.duration=iterations"),
    ],
)
def test_a_length_in_the_unit_that_is_not_counted_is_refused(overrides, words):
    with pytest.raises(ConfigError) as error:
        experiment(*overrides)
    assert words in str(error.value)
    name = overrides[-1].split(".")[1].split("=")[0]
    assert experiment(*overrides, f"training.duration={name}").iterations == int(overrides[-1].split("=")[1])


def test_a_setting_of_a_signal_is_refused_where_no_sampler_asks_for_it():
    words = ["model=tiny_retinanet", "model.loss_prediction=shared"]
    [job] = jobs_of([*words, "sampler=learning_loss"])
    assert job.experiment.model.loss_prediction == "shared"
    assert len(jobs_of([*words, "sampler=entropy,learning_loss"], many=True)) == 2
    with pytest.raises(ConfigError, match="would do nothing: no stage of entropy asks for predicted_loss"):
        jobs_of([*words, "sampler=entropy"])
    with pytest.raises(ConfigError, match="no stage of entropy and margin asks for gradient_similarity or influence"):
        jobs_of([*words[:1], "model.influence.classes=2", "sampler=entropy,margin"], many=True)
    for setting, signal in (("loss_prediction_share=1", "predicted_loss"), ("dropout_passes=5", "dropout")):
        with pytest.raises(ConfigError, match=f"no stage of entropy asks for {signal}"):
            jobs_of(["dataset=digits_images", f"model.{setting}", "sampler=entropy"])


def test_holdout_is_paid_for_but_never_trained_on(splits, tmp_path):
    spy, records = play(splits, tmp_path, "sampler=random", "training=ppal", "dataset.val=50% of initial")
    held = spy.validated[0]
    assert len(held) == 3 and held <= set(records[0].labeled)
    assert all(held.isdisjoint(trained) for trained in spy.trained)
    assert records[0].images == 6
    outcomes = {c.image_id: c.outcome for c in RunFolder(tmp_path / "run").candidates(0)}
    assert {i for i, outcome in outcomes.items() if outcome == "validates"} == held
    assert {i for i, outcome in outcomes.items() if outcome == "picked"} == set(records[0].labeled) - held


def test_pool_inference_asks_for_survivors_and_signals_only(splits, tmp_path):
    spy, records = play(splits, tmp_path, "sampler=ccms", "ud_split=[1,0.5,0,0.5]")
    test = set(splits.test.ids.tolist())
    passes = [(len(ids), sorted(signals)) for ids, signals in spy.inferred if ids != test]
    # round 1: scores only (ud 1); round 2: 18 candidates scored, (18-6)*0.5+6 = 12 survive to CCMS;
    # round 3: uncertainty skipped (ud 0), 12 candidates; round 4: nothing left to choose, nothing computed
    assert passes == [(24, []), (18, []), (12, ["box_features"]), (12, ["box_features"])]
    assert [stage.skipped != "" for stage in records[1].stages] == [False, True]
    assert [stage.skipped != "" for stage in records[3].stages] == [True, False]


def test_the_initial_order_depends_on_seed_and_names_only(splits):
    train = splits.train
    order = [train[i].name for i in loop.initial_order(train, 1)]
    assert order != [train[i].name for i in loop.initial_order(train, 2)]
    spelled = sorted((image.name for image in train.images), key=lambda n: sha256(f"initial/1/{n}".encode()).digest())
    assert order == spelled

    def names(images):
        data = Dataset(train.class_names, images)
        return [data[i].name for i in loop.initial_order(data, 1)]

    other_labels = [
        replace(image, boxes=np.zeros((0, 4)), classes=[], crowd=None, areas=None) for image in train.images
    ]
    assert names(other_labels) == order
    other_ids = [replace(image, id=1000 - image.id) for image in reversed(train.images)]
    assert names(other_ids) == order
    assert names(train.images[1:]) == [name for name in order if name != train.images[0].name]


@pytest.mark.parametrize(
    ("overrides", "pool", "sizes"),
    [
        ([], 30, [6, 6, 6, 6, 6]),
        ([], 503, [101, 100, 101, 100, 101]),  # equal shares add up to the pool
        (["rounds=2"], 30, [10, 10, 10]),
        (["initial=4", "budget=5"], 30, [4, 5, 5, 5, 5]),
        (["initial=4", "budget=8", "rounds=4"], 30, [4, 8, 8, 8, 2]),  # the last takes what is left
        (["initial=0.1", "budget=0.05"], 100, [10, 5, 5, 5, 5]),
        (["initial=1", "budget=1", "rounds=2"], 100, [1, 1, 1]),  # 1 is one image, 0.01 a share
    ],
)
def test_counts_and_shares(overrides, pool, sizes):
    splits = Splits("x", random_dataset(pool), None, random_dataset(3, first_id=1000))
    assert list(build.plan_rounds(experiment(*overrides), splits).sizes) == sizes


def test_more_rounds_than_images_is_refused():
    splits = Splits("x", random_dataset(6), None, random_dataset(3, first_id=1000))
    with pytest.raises(ConfigError, match="do not fit a pool of 6"):
        build.plan_rounds(experiment("initial=3", "budget=2"), splits)


def test_streams_are_independent_and_stable():
    draws = {key: rng_for(*key).integers(2**32) for key in [(1, 0, "a"), (1, 0, "b"), (1, 1, "a"), (2, 0, "a")]}
    assert len(set(draws.values())) == 4
    assert rng_for(1, 0, "a").integers(2**32) == draws[(1, 0, "a")]
    with pytest.raises(ValueError, match="negative"):
        rng_for(-1, 0, "a")


def test_seeds_of_a_run_follow_its_seed():
    assert experiment("seed=7").seeds == Seeds(7, 7, 7)
    assert experiment("seed=7", "seeds.training=1").seeds == Seeds(7, 1, 7)


def test_spent_pool_is_an_error_of_the_caller():
    from al_cli.types import Pool

    pool = Pool([3], [1, 2])
    assert pool.acquire([2]).labeled == (3, 2)
    for ids, why in (([3], "already labeled"), ([9], "unknown"), ([1, 1], "twice")):
        with pytest.raises(ValueError, match=why):
            pool.acquire(ids)


def test_a_selection_scores_are_kept_with_their_images(splits, tmp_path):
    _, records = play(splits, tmp_path, "sampler=entropy")
    assert all(np.isfinite(score) for score in records[1].scores)
    assert list(records[1].scores) == sorted(records[1].scores, reverse=True)


def test_the_loss_of_the_scored_images_is_measured_where_asked_for(splits, tmp_path):
    words = ["sampler=random", "rounds=1", "initial=6", "budget=3"]
    spy, records = play(splits, tmp_path, *words, "measure_loss=true")
    last = spy.loss(splits.test)
    assert [records[1].loss, records[1].class_loss, records[1].box_loss] == [
        part.mean() for part in (last.total, last.classes, last.boxes)
    ]
    assert records[0].loss > records[1].loss > records[1].class_loss > records[1].box_loss > 0
    table = pd.read_csv(tmp_path / "run/rounds.csv")
    assert table["class_loss"].tolist() == pytest.approx([record.class_loss for record in records], abs=1e-4)
    rows = pd.read_csv(tmp_path / "run/round_01/image_losses.csv")
    assert rows["image_id"].tolist() == splits.test.ids.tolist()
    assert rows["box_loss"].tolist() == pytest.approx(last.boxes.tolist(), abs=1e-4)
    assert "loss_s" in RunFolder(tmp_path / "run").timing(1)

    _, plain = play(splits, tmp_path / "plain", *words)
    assert {(record.loss, record.class_loss, record.box_loss) for record in plain} == {(None, None, None)}
    assert not (tmp_path / "plain/run/round_01/image_losses.csv").exists()
    assert "loss" not in pd.read_csv(tmp_path / "plain/run/rounds.csv").columns
    assert [replace(r, loss=None, class_loss=None, box_loss=None, hashes={}) for r in records] == [
        replace(r, hashes={}) for r in plain
    ], "measuring changes nothing else"
    with pytest.raises(ConfigError, match="measure_loss is 'often'"):
        experiment("measure_loss=often")


def test_the_first_metric_on_the_training_images_is_measured_where_asked_for(splits, tmp_path):
    words = ["sampler=random", "rounds=1", "initial=6", "budget=3"]
    spy, records = play(splits, tmp_path, *words, "measure_training=true")
    seen = splits.train.select(records[1].labeled)
    assert records[1].train_metric == default().judge(spy.infer(seen), seen).metrics["AP"]
    table = pd.read_csv(tmp_path / "run/rounds.csv")
    assert table["train_metric"].tolist() == pytest.approx([record.train_metric for record in records], abs=1e-4)

    _, plain = play(splits, tmp_path / "plain", *words)
    assert "train_metric" not in pd.read_csv(tmp_path / "plain/run/rounds.csv").columns
    assert [replace(r, train_metric=None, hashes={}) for r in records] == [replace(r, hashes={}) for r in plain]
    with pytest.raises(ConfigError, match="measure_training is 'often'"):
        experiment("measure_training=often")
