"""The learner as the loop uses it, against Detectron2's own predictor and checkpointer on the same weights."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.data.detection_utils import read_image
from detectron2.engine import DefaultPredictor
from detectron2.modeling import build_model
from learner_tables import assert_same

from al_cli.datasets.yolo import load_yolo
from al_cli.errors import ConfigError, ModelError, RunError
from al_cli.experiment.build import build_learner
from al_cli.experiment.job import jobs_of
from al_cli.learners.detectron import image_reader
from al_cli.learners.detectron.learner import DetectronLearner
from al_cli.learners.spec import ModelSpec
from al_cli.learners.training_spec import TrainingSpec
from al_cli.tasks.detection import evaluate
from al_cli.types import Checkpoint, Dataset, Signal, Splits

TRAINING = TrainingSpec(
    iterations=12, batch_size=4, optimizer="adamw", lr=2e-3, schedule="one_cycle", ema=0.9, flip=True, val_every=6
)
SIGNALS = frozenset({Signal.PROBS, Signal.BOX_FEATURES, Signal.IMAGE_FEATURES})
MODELS = ["tiny_faster_rcnn", "tiny_retinanet"]


@pytest.fixture(scope="module")
def shapes(yolo_root) -> Splits:
    return load_yolo(yolo_root)


def learner(model: str = "tiny_faster_rcnn", training: TrainingSpec = TRAINING, **model_options) -> DetectronLearner:
    spec = ModelSpec(model, model, **{"weights": "none", **model_options})
    return DetectronLearner(
        spec, training, ("circle", "square", "star"), iterations=training.per_round(1), device="cpu"
    )


def fit(one: DetectronLearner, shapes: Splits, **options) -> Checkpoint:
    return one.fit(**{"train": shapes.train, "val": shapes.val, "seed": 1, "init": None, **options})


@pytest.fixture(scope="module", params=MODELS)
def trained(request, shapes) -> tuple[DetectronLearner, Checkpoint]:
    """Trained for 12 steps; a low threshold lets it detect something."""
    low = {"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.02, "MODEL.RETINANET.SCORE_THRESH_TEST": 0.01}
    one = learner(request.param, overrides=low)
    return one, fit(one, shapes)


def same_weights(a: Checkpoint, b: Checkpoint) -> bool:
    return a.state.keys() == b.state.keys() and all(torch.equal(a.state[key], b.state[key]) for key in a.state)


def test_twice_the_same_bytes_and_again_after_save_and_load(trained, shapes, tmp_path):
    one, checkpoint = trained
    assert checkpoint.epochs == 12 * 4 / 40, "steps of 4 of the 40 images"
    other = learner(one.spec.name, overrides=one.spec.overrides)
    other.reader.cache.left = 0  # a cache changes nothing either
    again = fit(other, shapes)
    assert same_weights(checkpoint, again) and checkpoint.history == again.history
    one.save(checkpoint, tmp_path / "a.pth")
    other.save(again, tmp_path / "b.pth")
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.pth", "b.pth"]

    fresh = learner(one.spec.name, overrides=one.spec.overrides)
    loaded = fresh.load(tmp_path / "a.pth")
    assert same_weights(loaded, checkpoint) and loaded.history == checkpoint.history
    assert_same(fresh.infer(shapes.test, SIGNALS), one.infer(shapes.test, SIGNALS))
    assert np.array_equal(fresh.loss(shapes.test).total, one.loss(shapes.test).total)


def test_the_number_of_cores_does_not_matter(trained, shapes):
    one, checkpoint = trained
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        again = fit(learner(one.spec.name, overrides=one.spec.overrides), shapes)
    finally:
        torch.set_num_threads(threads)
    assert same_weights(checkpoint, again)


def test_another_seed_gives_other_weights(shapes):
    short = replace(TRAINING, iterations=2)
    assert not same_weights(fit(learner(training=short), shapes), fit(learner(training=short), shapes, seed=2))


def test_predictions_are_a_table_of_the_models_boxes(trained, shapes):
    one, _ = trained
    p = one.infer(shapes.test, SIGNALS)
    assert p.image_ids.tolist() == shapes.test.ids.tolist() and len(p.scores) > len(p), "too few boxes to test anything"
    assert p.counts.max() <= 100
    for position in range(len(p)):
        scores = p.scores[p.rows(position)]
        assert (np.diff(scores) <= 0).all()
    assert np.array_equal(p.columns[Signal.PROBS][np.arange(len(p.scores)), p.classes], p.scores)
    assert p.columns[Signal.IMAGE_FEATURES].shape[0] == len(p)
    assert one.provides > SIGNALS


def test_oracles_come_from_the_labels(trained, shapes):
    one, _ = trained
    crowded = replace(shapes.test.images[0], crowd=np.ones(len(shapes.test.images[0].boxes), bool))
    images = Dataset(shapes.test.class_names, (crowded, *shapes.test.images[1:]))
    p = one.infer(images, frozenset({Signal.TRUE_BOXES, Signal.TRUE_CLASSES, Signal.TRUE_LOSS}))
    assert p.columns[Signal.TRUE_CLASSES].sum(1).tolist() == p.columns[Signal.TRUE_BOXES].tolist()
    assert p.columns[Signal.TRUE_BOXES].tolist() == [0, *(len(image.boxes) for image in images.images[1:])]
    assert np.array_equal(p.columns[Signal.TRUE_LOSS], one.loss(images).total)
    assert_same(one.infer(images), replace(p, columns={}))


def test_one_pass_of_the_backbone_however_many_signals(trained, shapes):
    one, _ = trained
    calls = []
    handle = one.trained.model.backbone.register_forward_hook(lambda *_: calls.append(1))
    try:
        one.infer(shapes.test)
        plain = len(calls)
        p = one.infer(shapes.test, SIGNALS | {Signal.JITTER})
    finally:
        handle.remove()
    assert len(calls) == plain + 7 * plain, "the pass itself, and six on noisy images"
    assert p.columns.keys() == SIGNALS | {Signal.JITTER}


@pytest.mark.parametrize("size", [None, 128], ids=["as they are", "resized to 128"])
def test_same_detections_as_detectrons_predictor(trained, shapes, tmp_path, size, monkeypatch):
    """DefaultPredictor reads our checkpoint by itself (MODEL.WEIGHTS) and one image at a time."""
    source, checkpoint = trained
    sizes = {} if size is None else {"INPUT.MIN_SIZE_TEST": size}
    monkeypatch.setattr(image_reader, "INFERENCE_BATCH", 1)
    one = learner(source.spec.name, overrides={**source.spec.overrides, **sizes})
    source.save(checkpoint, tmp_path / "model.pth")
    one.load(tmp_path / "model.pth")
    ours = one.infer(shapes.test)

    cfg = one.config.cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS, cfg.DATASETS.TEST = str(tmp_path / "model.pth"), ()
    predictor = DefaultPredictor(cfg)
    for position, image in enumerate(shapes.test.images):
        theirs = predictor(read_image(str(image.path), format="BGR"))["instances"]
        rows = ours.rows(position)
        assert np.array_equal(ours.boxes[rows], theirs.pred_boxes.tensor.numpy())
        assert np.array_equal(ours.scores[rows], theirs.scores.numpy())
        assert np.array_equal(ours.classes[rows], theirs.pred_classes.numpy())


def test_the_batch_an_image_is_in_does_not_matter(trained, shapes, monkeypatch):
    one, _ = trained
    together = one.infer(shapes.test, SIGNALS)
    monkeypatch.setattr(image_reader, "INFERENCE_BATCH", 1)
    alone = one.infer(shapes.test, SIGNALS)
    assert np.array_equal(together.counts, alone.counts) and np.array_equal(together.classes, alone.classes)
    assert np.allclose(together.boxes, alone.boxes, atol=1e-3) and np.allclose(together.scores, alone.scores, atol=1e-5)


def test_detectrons_checkpointer_reads_ours(trained, tmp_path):
    one, checkpoint = trained
    one.save(checkpoint, tmp_path / "model.pth")
    model = build_model(one.config.cfg)
    DetectionCheckpointer(model).load(str(tmp_path / "model.pth"))
    assert all(torch.equal(value, checkpoint.state[key]) for key, value in model.state_dict().items())


def test_training_lowers_the_loss_of_images_it_never_saw(shapes):
    untrained = learner(training=TrainingSpec(iterations=1, batch_size=4, optimizer="sgd", lr=1e-12))
    fit(untrained, shapes)
    longer = learner(training=replace(TRAINING, iterations=60, val_every=20))
    history = fit(longer, shapes).history
    assert longer.loss(shapes.test).total.mean() < 0.7 * untrained.loss(shapes.test).total.mean()
    assert [point.iteration for point in history if point.val_loss is not None] == [20, 40, 60]


def test_continuing_starts_from_the_given_weights(shapes):
    still = learner(training=TrainingSpec(iterations=1, batch_size=2, optimizer="sgd", lr=1e-12))
    start = fit(learner(training=replace(TRAINING, iterations=2)), shapes)
    end = fit(still, shapes, init=start)
    for key, value in end.state.items():
        if "running" not in key and "num_batches" not in key:  # BatchNorm learns from any forward pass
            assert torch.allclose(value, start.state[key], atol=1e-9), key
    assert not same_weights(fit(still, shapes), end), "without init it starts from its starting weights"


def test_weights_of_an_earlier_run_are_starting_weights(trained, shapes, tmp_path):
    one, checkpoint = trained
    one.save(checkpoint, tmp_path / "model.pth")
    still = TrainingSpec(iterations=1, batch_size=2, optimizer="sgd", lr=1e-12)
    end = fit(learner(one.spec.name, training=still, weights=str(tmp_path / "model.pth")), shapes)
    key = "backbone.fpn_lateral3.weight"
    assert torch.allclose(end.state[key], checkpoint.state[key], atol=1e-9)


def test_epochs_follow_the_number_of_images(shapes):
    """40 images in batches of 16 are 3 steps an epoch; validation after each epoch."""
    spec = TrainingSpec(duration="epochs", epochs=2, batch_size=16, val_every=1)
    checkpoint = fit(learner(training=spec), shapes)
    assert [(point.iteration, point.val_loss is not None) for point in checkpoint.history] == [(3, True), (6, True)]
    assert checkpoint.epochs == 2


def test_early_stopping_returns_to_the_best(shapes):
    """A learning rate that wrecks the model: the first measurement stays the best."""
    spec = TrainingSpec(
        duration="early_stop", epochs=30, patience=3, val_every=1, batch_size=4, optimizer="sgd", lr=0.5,
        schedule="constant", clip_gradients=5.0, flip=False,
    )  # fmt: skip
    one = learner(training=spec)
    few = shapes.train.select(shapes.train.ids[:4])  # one step an epoch
    checkpoint = fit(one, shapes, train=few)
    losses = [point.val_loss for point in checkpoint.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 3 < 30
    assert checkpoint.epochs == best + 1 + 3, "those it took, not those of the weights it kept"
    exact = learner(training=replace(spec, duration="iterations", iterations=best + 1))
    assert same_weights(fit(exact, shapes, train=few), checkpoint)


def test_early_stopping_by_a_metric_judges_the_model_as_it_is(shapes):
    """A judge that calls for the end after its second look: the weights are those of a training that ended there, so looking
    changed nothing; and it was shown what that model finds in the validation images."""
    spec = TrainingSpec(
        duration="early_stop", epochs=30, patience=1, val_every=1, batch_size=4, optimizer="sgd", lr=1e-2, ema=0.9,
        schedule="constant", clip_gradients=5.0, stop_on="AP",
    )  # fmt: skip
    low = {"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.02}
    seen, given = [], iter([0.5, 0.6, 0.6])

    def judge(predictions, dataset):
        assert dataset is shapes.val
        seen.append(predictions)
        return next(given)

    model = ModelSpec("tiny", "tiny_faster_rcnn", weights="none", overrides=low)
    one = DetectronLearner(model, spec, ("circle", "square", "star"), iterations=30, device="cpu", judge=judge)
    few = shapes.train.select(shapes.train.ids[:4])  # one step an epoch
    checkpoint = fit(one, shapes, train=few)
    assert [point.metric for point in checkpoint.history] == [0.5, 0.6, 0.6] and checkpoint.epochs == 3
    exact = learner(training=replace(spec, duration="iterations", iterations=2, stop_on="loss"), overrides=low)
    assert same_weights(fit(exact, shapes, train=few), checkpoint)
    assert len(seen[1].scores) and not np.array_equal(seen[0].scores, seen[1].scores)
    assert_same(seen[1], exact.infer(shapes.val))


def test_a_run_s_learner_is_judged_by_its_task(trained, shapes, yolo_root):
    words = ["dataset=yolo", f"dataset.root={yolo_root}", "training=lund", "device=cpu"]
    [job] = jobs_of([*words, "training.stop_on=AP50"])
    judge = build_learner(job.experiment, shapes.train.class_names).judge
    table = trained[0].infer(shapes.val)
    assert judge is not None and judge(table, shapes.val) == evaluate(table, shapes.val).metrics["AP50"] > 0
    [job] = jobs_of(words)
    assert build_learner(job.experiment, shapes.train.class_names).judge is None


def test_losses_of_single_images(trained, shapes):
    one, _ = trained
    losses = one.loss(shapes.test).total
    assert losses.shape == (len(shapes.test),) and losses.dtype == np.float64 and np.isfinite(losses).all()
    some = shapes.test.select(shapes.test.ids[[7, 2]])
    assert np.array_equal(one.loss(some).total, losses[[2, 7]])


def test_images_without_detections_and_no_images(shapes):
    blind = learner(overrides={"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.999})
    fit(blind, shapes, train=shapes.train.select(shapes.train.ids[:4]))
    p = blind.infer(shapes.test, SIGNALS)
    assert len(p) == len(shapes.test) and len(p.scores) == 0
    assert p.columns[Signal.PROBS].shape == (0, 3) and p.columns[Signal.IMAGE_FEATURES].shape[0] == len(p)
    nothing = blind.infer(shapes.test.select([]), SIGNALS)
    assert len(nothing) == 0 and nothing.columns.keys() == SIGNALS
    assert blind.loss(shapes.test.select([])).total.shape == (0,)


def test_negatives_alone_can_be_trained_on(shapes):
    empty = Dataset(shapes.train.class_names, tuple(image for image in shapes.train.images if not len(image.classes)))
    assert len(empty) >= 4
    history = fit(learner(training=replace(TRAINING, iterations=2)), shapes, train=empty).history
    assert math.isfinite(history[-1].train_loss)


def test_what_is_refused(trained, shapes, tmp_path):
    one, checkpoint = trained
    with pytest.raises(ValueError, match="does not provide dropout"):
        one.infer(shapes.test, frozenset({Signal.DROPOUT}))
    with pytest.raises(RuntimeError, match="fit or load first"):
        learner().infer(shapes.test)
    with pytest.raises(ConfigError, match=r"validation split.*dataset.val=20%"):
        fit(learner(training=replace(TRAINING, duration="early_stop", epochs=6, patience=2)), shapes, val=None)
    with pytest.raises(ConfigError, match="mixed precision needs a GPU"):
        learner(training=replace(TRAINING, amp=True))
    with pytest.raises(RunError, match="cannot be read: No such file or directory"):
        one.load(tmp_path / "none.pth")
    (tmp_path / "half.pth").write_bytes(b"PK\x03\x04half a file")
    with pytest.raises(RunError, match="trains that round again"):
        one.load(tmp_path / "half.pth")
    one.save(checkpoint, tmp_path / "three.pth")
    spec = ModelSpec(one.spec.name, one.spec.config, "none")
    five = DetectronLearner(spec, TRAINING, tuple("abcde"), iterations=1, device="cpu")
    with pytest.raises(ModelError, match="another number of classes"):
        five.load(tmp_path / "three.pth")
    with pytest.raises(ModelError, match="another number of classes"):
        five.fit(shapes.train, val=None, seed=0, init=checkpoint)


def test_a_zoo_model_trains_and_infers(shapes):
    """A stock ResNet-FPN, as small as its config allows, on the stock mapper: resized, mirrored, grouped by aspect."""
    small = {
        "MODEL.RESNETS.DEPTH": 18,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
        "INPUT": {"MIN_SIZE_TRAIN": (64, 80), "MIN_SIZE_TEST": 80},
        "MODEL.RPN.POST_NMS_TOPK_TRAIN": 50,
        "MODEL.ROI_BOX_HEAD.FC_DIM": 32,
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.001,
    }
    spec = ModelSpec("zoo", "COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml", "none", small)
    training = TrainingSpec(iterations=2, batch_size=2, val_every=2)
    one = DetectronLearner(spec, training, shapes.train.class_names, iterations=2, device="cpu")
    val = shapes.val.select(shapes.val.ids[:2])
    first, again = (fit(one, shapes, val=val) for _ in range(2))
    assert same_weights(first, again) and math.isfinite(first.history[-1].val_loss)
    few = shapes.test.select(shapes.test.ids[:2])
    assert len(one.infer(few, SIGNALS)) == 2
