"""Effective settings against what a training steps, what the loop plans, and numbers worked out by hand."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from al_cli.errors import ConfigError, ModelError
from al_cli.experiment import build, compose, settings
from al_cli.experiment.effective import effective, expected_pool, training_in_words
from al_cli.experiment.words import key_of
from al_cli.learners.detectron import learner
from al_cli.learners.detectron.model.zoo import open_config
from al_cli.learners.detectron.training.recipe import Recipe
from al_cli.learners.detectron.training.solver import make_schedule
from al_cli.types import Dataset, Image, LossPoint

FCOS = ["model=fcos_R50_FPN_1x", "training.duration=epochs", "training.epochs=12", "training.lr=0.01"]
C4 = ["model=faster_rcnn_R50_C4_3x", "training=thesis", "training.iterations=600", "training.iterations_per=round"]


def experiment(*words):
    [config] = compose.compose_all([["sampler=random", *words]])
    return settings.check(config)


def test_milestones_warm_up_and_sizes_of_isal():
    """500 + 9 x 500 images, 8 a step: 63 to 625 steps an epoch. The model's own milestones, 60 000 and 80 000 of 90 000
    steps, are 2/3 and 8/9 of 12 epochs; its 1 000 steps of warm-up are more than a tenth of each of these trainings."""
    found = effective(experiment(*FCOS, "initial=500", "budget=500", "rounds=9"), 5717)
    assert found["round_sizes"] == [500] * 10 and found["labeled_at_end"] == 5000 and found["trainings"] == 10
    assert found["iterations"][0] == 12 * 63 and found["iterations"][-1] == 12 * 625
    assert found["epochs"] == 12 and found["milestones_epochs"] == [8, 10.67] and found["gamma"] == 0.1
    assert found["milestones_iterations"][-1] == [5000, 6667]
    assert found["warmup_share"] == 0.1
    assert (found["lr"], found["batch_size"], found["momentum"], found["weight_decay"]) == (0.01, 8, 0.9, 1e-4)
    assert (found["optimizer"], found["clip_gradients"], found["flip"]) == ("sgd", 35, True)
    assert found["image_size_train"] == [[640, 672, 704, 736, 768, 800], 1333] and found["image_size_test"] == [
        800,
        1333,
    ]
    assert (found["score_threshold"], found["boxes_per_image"]) == (0.2, 100)


def test_overrides_of_detectron2_are_seen_where_training_sees_them():
    overrides = {
        "SOLVER.BASE_LR": 0.003,
        "SOLVER.WEIGHT_DECAY": 0.01,
        "SOLVER.MOMENTUM": 0.5,
        "SOLVER.IMS_PER_BATCH": 4,
        "INPUT.MIN_SIZE_TRAIN": "[288]",
        "INPUT.MAX_SIZE_TRAIN": 512,
        "INPUT.MIN_SIZE_TEST": 300,
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.3,
        "TEST.DETECTIONS_PER_IMAGE": 7,
        "SOLVER.CLIP_GRADIENTS.ENABLED": "true",
    }
    words = [f"++model.overrides.{key}={value}" for key, value in overrides.items()]
    found = effective(experiment(*C4, *words, "training.flip=false"), 6500)
    assert (found["lr"], found["weight_decay"], found["momentum"], found["batch_size"]) == (0.003, 0.01, 0.5, 4)
    assert (found["image_size_train"], found["image_size_test"], found["flip"]) == ([288, 512], [300, 1333], False)
    assert (found["score_threshold"], found["boxes_per_image"], found["optimizer"]) == (0.3, 7, "sgd")
    assert found["clip_gradients"] == 1  # Detectron2's own, by value
    assert found["round_sizes"] == [1300] * 5 and found["iterations"] == 600
    assert found["epochs"] == 1.85  # 600 * 4 / 1300
    assert found["milestones_epochs"] == [] and found["warmup_share"] == 0 and found["gamma"] is None


@pytest.mark.parametrize(
    "words",
    [
        ["model=retinanet_R50_FPN_3x", "training.iterations=211"],
        ["model=fcos_R50_FPN_1x", "training.iterations=97"],
        ["model=tiny_retinanet", "training.iterations=15"],
        ["model=faster_rcnn_R50_C4_3x", "training=thesis", "training.schedule=null", "training.iterations=3000"],
    ],
    ids=lambda words: words[0],
)
def test_falls_and_peak_are_those_of_a_schedule_that_is_stepped(words):
    """Every step of it, by hand."""
    spec = experiment(*words)
    steps = spec.iterations
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    config = open_config(spec.model, 2, torch.device("cpu"))
    schedule, rates = make_schedule(config, spec.training, optimizer, steps), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    [course] = Recipe(spec.model, spec.training).courses([1000], steps)
    assert course.iterations == steps and course.peak == rates.index(max(rates))
    falls = [step for step in range(course.peak + 1, steps) if rates[step] < rates[step - 1] * 0.999]
    assert [step for step, _ in course.falls] == (falls if len(falls) < 10 else [])  # one cycle falls all the time


PLANNED = {
    "all labeled": [],
    "the new ones": ["training=thesis"],
    "a part validates": ["dataset.val=20% of initial"],
    "new ones, a part validates": ["training=thesis", "dataset.val=20% of initial"],
    "selected again": ["training.data=reselect"],
    "all labels at once": ["reference=true"],
    "all labels but those that validate": ["reference=true", "dataset.val=20% of initial"],
}


@pytest.mark.parametrize("words", PLANNED.values(), ids=PLANNED)
def test_images_of_each_training_are_those_of_the_loop(words, monkeypatch):
    """`loop.Plan` says which, for a pool of 50 images that nobody reads."""
    run = experiment("model=tiny_retinanet", "initial=10", "budget=8", "rounds=3", *words)
    monkeypatch.setattr(build, "check_validating", lambda *_: None)
    pool = type("Pool", (), {"__len__": lambda self: 50, "images": ()})()
    plan = build.plan_rounds(run, SimpleNamespace(train=pool, val=pool, test=pool))  # type: ignore[arg-type]
    held, sizes, trained = range(plan.holdout), [], []
    for number, size in enumerate(plan.sizes):
        labeled = range(sum(plan.sizes[: number + 1]))
        chosen = labeled if plan.data == "reselect" or not number else labeled[-size:]
        sizes.append(size)
        trained.append(len(plan.trains_on(labeled, chosen, held)))
    found = effective(run, 50)
    assert found["round_sizes"] == sizes and found["trainings"] == len(sizes)
    epochs = found["epochs"] if isinstance(found["epochs"], list) else [found["epochs"]] * len(sizes)
    assert epochs == [round(run.iterations * found["batch_size"] / images, 2) for images in trained]


def test_shares_that_are_held_out_leave_the_pool():
    run = experiment("dataset.val=20%", "initial=0.1", "budget=2000", "rounds=6", "model=tiny_retinanet")
    assert expected_pool(run.config["dataset"], 17509) == 14007
    assert effective(run, 14007)["round_sizes"] == [1401] + [2000] * 5 + [2000]
    assert expected_pool(experiment().config["dataset"], 17509) == 17509


def test_what_the_size_of_the_pool_does_not_say_is_left_out():
    assert "round_sizes" not in effective(experiment("budget_unit=boxes", "initial=4", "budget=9"), 100)
    assert effective(experiment("model=fake", "rounds=1"), 10) == {
        "trainings": 2,
        "round_sizes": [5, 5],
        "labeled_at_end": 10,
    }
    with pytest.raises(ConfigError, match="do not fit a pool of 3"):
        effective(experiment(), 3)


def test_a_recipe_in_words():
    assert training_in_words(experiment(*FCOS, "initial=500", "budget=500", "rounds=9"), 5717) == (
        "12 epochs, 8 images a step, rate 0.01, which falls tenfold after 8 and 10.67 epochs; "
        "shorter side of images 640 to 800 px; boxes from score 0.2"
    )
    assert training_in_words(experiment(*C4), 6500).startswith("600 steps, 2 images a step, rate 0.0001 throughout; ")
    assert "rate 0.004 at the most, in one cycle; images as they are" in training_in_words(experiment(), 1000)
    few = training_in_words(experiment("training.iterations=4"), 1000)  # each of its last steps goes down
    assert few.startswith("4 steps, 8 images a step, rate 0.004 at the most, in one cycle; ")
    lund = training_in_words(experiment("training=lund", "model=retinanet_R50_FPN_3x"), 6000)
    assert lund.startswith("at most 100 epochs, 20 images a step, rate 0.0125 throughout")
    assert training_in_words(experiment("model=fake"), 1000) == ""


JOIN = [
    "model=retinanet_R50_FPN_3x",
    "training.init=join",
    "training.duration=epochs",
    "training.epochs=20",
    "rounds=4",
]


def test_milestones_of_one_training_over_all_rounds_are_those_of_the_run():
    """DataHunt's 2% + 4 x 10% of 10 000 images, 20 epochs each: after 60 of 100 epochs a round begins, and after 90 none."""
    steps = ["training.schedule=steps", "training.milestones=[60,90]", "initial=0.02", "budget=0.1"]
    found = effective(experiment(*JOIN, *steps), 10_000)
    assert found["milestones_epochs"] == [60, 90] and found["gamma"] == 0.1 and found["epochs"] == 20
    assert found["round_sizes"] == [200, 1000, 1000, 1000, 1000]
    assert found["milestones_iterations"] == [20 * (25 + 150 + 275), 20 * (25 + 150 + 275 + 400) + 10 * 525]
    own = effective(experiment(*JOIN), 10_000)  # 210 000 and 250 000 of 270 000 steps
    assert own["milestones_epochs"] == pytest.approx([100 * 21 / 27, 100 * 25 / 27], abs=0.01)
    assert "20 epochs a round of one training over all rounds" in training_in_words(experiment(*JOIN, *steps), 10_000)


def test_milestones_that_are_typed_are_met_to_the_step():
    found = effective(experiment(*FCOS, "training.schedule=steps", "training.milestones=[8,11]", "initial=500"), 5717)
    assert found["milestones_epochs"] == [8, 11] and found["warmup_share"] == 0.1
    assert found["milestones_iterations"][0] == [8 * 63, 11 * 63]
    counted = effective(experiment(*C4, "training.schedule=steps", "training.milestones=[100,400]"), 6500)
    assert counted["milestones_iterations"] == [100, 400] and counted["milestones_epochs"] == [0.15, 0.62]


def test_images_that_are_repeated_count_as_often():
    run = experiment("dataset.repeat=4", "dataset.val=20%")
    assert expected_pool(run.config["dataset"], 1000) == 3200


def test_a_model_that_cannot_be_built_here_is_refused():
    """It needs an operation of Detectron2's compiled part, or the part itself."""
    try:
        found = effective(experiment("model=zoo", "model.config=Misc/mask_rcnn_R_50_FPN_3x_dconv_c3-c5.yaml"), 1000)
    except ModelError as error:
        assert "cannot build this model: ImportError" in str(error)
    else:
        assert found["boxes_per_image"] == 100


EPOCHS = ["training.duration=epochs", "training.epochs=2", "rounds=2", "initial=20", "budget=10"]
FITTED = {
    "one training over all rounds": ["training.init=join", "training.schedule=steps", "training.milestones=[3,5]"],
    "each anew": ["training.schedule=one_cycle"],
    "steps": ["training.duration=iterations", "training.iterations=9", "training.iterations_per=run"],
}


@pytest.mark.parametrize("words", FITTED.values(), ids=FITTED)
def test_a_learner_trains_as_its_recipe_says(words, monkeypatch):
    """What `DetectronLearner.fit` hands to its trainer in three rounds, with the trainer taken out."""
    said = {key_of(word): word for word in [*EPOCHS, *words]}
    run = experiment("model=tiny_retinanet", *said.values())
    given = []

    def train(model, batches, optimizer, schedule, *, iterations, **_):
        optimizer.step()
        rates = []
        for _ in range(iterations):
            rates.append(optimizer.param_groups[0]["lr"])
            schedule.step()
        given.append(rates)
        return (LossPoint(iterations, 1.0, None),)

    monkeypatch.setattr(learner, "train_model", train)
    monkeypatch.setattr(learner, "rounds_behind", lambda start: len(given))
    box, one = np.array([[0.0, 0, 8, 8]]), np.zeros(1, int)
    images = [Image(i, Path(f"{i}.png"), 16, 16, box, one) for i in range(40)]
    detector, checkpoint = build.build_learner(run, ("thing",)), None
    for count in (20, 30, 40):
        init = checkpoint if run.training.goes_on else None
        checkpoint = detector.fit(Dataset(("thing",), tuple(images[:count])), val=None, seed=0, init=init)
    for rates, course in zip(given, Recipe(run.model, run.training).courses([20, 30, 40], run.iterations), strict=True):
        assert len(rates) == course.iterations and rates[course.peak] == course.highest == max(rates)
        assert rates[-1] == course.last
        if run.training.milestones:
            falls = [step for step in range(1, len(rates)) if rates[step] < rates[step - 1] * 0.9]
            assert [step for step, _ in course.falls] == falls and len(falls) == (course.iterations > 6)
