"""Class difficulty: by hand, against a brute-force recomputation from what the stock modules let through, and as a guest
that changes nothing in the training."""

import copy

import numpy as np
import pytest
import torch
from detectron2.modeling import GeneralizedRCNN
from detectron2.structures import pairwise_iou
from narrow_models import FCOS_64, FCOS_LAZY
from torch import nn

from al_cli.errors import ModelError
from al_cli.learners.detectron.learner import DetectronLearner
from al_cli.learners.detectron.model.zoo import build, open_config
from al_cli.learners.detectron.training.data import (
    CachedMapper,
    ImageCache,
    ordered_batches,
    to_dicts,
    training_batches,
)
from al_cli.learners.detectron.training.difficulty import ClassDifficulty, watched
from al_cli.learners.detectron.training.loss import mean_loss
from al_cli.learners.detectron.training.solver import make_optimizer, make_schedule, numbers
from al_cli.learners.detectron.training.train import train
from al_cli.learners.pytorch.average import WeightAverage
from al_cli.learners.pytorch.determinism import seed_everything
from al_cli.learners.spec import ModelSpec
from al_cli.learners.training_spec import TrainingSpec
from al_cli.types import Checkpoint, Dataset, Signal

CLASSES = 3
NARROW = {
    "MODEL.PIXEL_STD": [57.0] * 3,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 4,
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 40,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 24,
}
MODELS = {
    "tiny_faster_rcnn": ModelSpec("m", "tiny_faster_rcnn", "none"),
    "boxes by class, sigmoid": ModelSpec(
        "m",
        "tiny_faster_rcnn",
        "none",
        {"MODEL.ROI_BOX_HEAD": {"CLS_AGNOSTIC_BBOX_REG": False, "USE_SIGMOID_CE": True}},
    ),
    "c4": ModelSpec("m", "COCO-Detection/faster_rcnn_R_50_C4_3x.yaml", "none", NARROW),
    "tiny_retinanet": ModelSpec("m", "tiny_retinanet", "none"),
    "fcos": ModelSpec("m", FCOS_LAZY, "none", FCOS_64),
}
each_model = pytest.mark.parametrize("spec", MODELS.values(), ids=list(MODELS))
TRAINING = TrainingSpec(iterations=4, batch_size=2, optimizer="sgd", lr=1e-4)


def fit(shapes: Dataset, spec: ModelSpec, observers=(), prepare=lambda model: None, ema=None, **options):
    """Four steps from seed 0: the model and its loss curve."""
    config = open_config(spec, CLASSES, torch.device("cpu"))
    seed_everything(0)
    model = build(config, spec)
    prepare(model)
    mapper = CachedMapper(ImageCache(), "BGR", labels=True, flip=True)
    batches = training_batches(to_dicts(shapes), mapper, batch_size=2, seed=0, by_aspect=False, workers=0)
    optimizer = make_optimizer(config, TRAINING, numbers(config, TRAINING), model)
    schedule = make_schedule(config, TRAINING, optimizer, 4)
    average = None if ema is None else WeightAverage(model, ema)
    how = {"average": average, "observers": observers, **options}
    return model, train(model, batches, optimizer, schedule, iterations=4, **how)


# ---- by hand


def test_the_running_mean_by_hand():
    """q(1, 1) = 0, q(1/2, 1/2) = 1/2, q(0, 1) = 1. Batch 1: class 0 twice, mean 1/2. Batch 2: class 1 alone."""
    one = ClassDifficulty(3)
    assert one.value.tolist() == [1, 1, 1] and one.momentum.tolist() == [0.99, 0.99, 0.99]
    one.update(np.array([0, 0]), np.array([1.0, 0.0]), np.array([1.0, 1.0]))
    assert one.value == pytest.approx([0.99 + 0.01 * 0.5, 1, 1])
    assert one.momentum == pytest.approx([0.99, 0.9801, 0.9801])
    one.update(np.array([1]), np.array([0.5]), np.array([0.5]))
    assert one.value == pytest.approx([0.995, 0.9801 + 0.0199 * 0.5, 1])
    assert one.momentum == pytest.approx([0.9801, 0.99, 0.99**3])


def test_probability_counts_more_than_the_overlap():
    one = ClassDifficulty(1)
    one.momentum[:] = 0
    one.update(np.array([0]), np.array([0.25]), np.array([0.81]))
    assert one.value[0] == pytest.approx(1 - 0.25**0.6 * 0.81**0.4)


def test_a_class_that_comes_back_catches_up_at_once():
    one = ClassDifficulty(2)
    nothing = np.zeros(0)
    for _ in range(600):
        one.update(nothing.astype(np.int64), nothing, nothing)
    assert one.value.tolist() == [1, 1], "absence alone does not change it"
    one.update(np.array([1]), np.array([1.0]), np.array([1.0]))
    assert one.value[1] < 0.01 and one.momentum[1] == 0.99


def test_a_training_that_continues_goes_on_from_the_checkpoint():
    start = Checkpoint({}, extras={"class_difficulty": np.array([0.2, 0.7]), "class_momentum": np.array([0.99, 0.5])})
    one = ClassDifficulty(2, start)
    one.update(np.array([1]), np.array([1.0]), np.array([1.0]))
    assert one.value == pytest.approx([0.2, 0.35])
    assert start.extras["class_difficulty"].tolist() == [0.2, 0.7], "the checkpoint stays as it was"
    assert ClassDifficulty(2, Checkpoint({}, extras=one.extras)).extras.keys() == one.extras.keys()


# ---- brute force


class Record:
    """Every training forward as stock modules see it: hooks on children only, matches looked up again, one at a time."""

    def __init__(self, model: nn.Module):
        self.model, self.matches = model, []  # a list of (class, p, IoU) a batch
        self.seen: dict = {}
        self.keep(model, "inputs", before=True)
        if isinstance(model, GeneralizedRCNN):
            heads = model.roi_heads
            self.keep(getattr(heads, "box_pooler", None) or heads.pooler, "pooled", before=True)
            self.keep(heads.box_predictor, "predictions")
            model.roi_heads.register_forward_hook(lambda *_: self.matches.append(self.of_proposals()))
        else:
            self.keep(model.anchor_generator, "anchors")
            self.keep(model.head, "outputs")
            model.anchor_generator.register_forward_hook(lambda *_: self.matches.append(self.of_anchors()))

    def keep(self, module, name, before=False):
        def hook(_module, args, *output):
            self.seen[name] = copy.deepcopy(args[0]) if name == "inputs" else args if before else output[0]

        module.register_forward_pre_hook(hook) if before else module.register_forward_hook(hook)

    def truth(self):
        return [one["instances"] for one in self.seen["inputs"]]

    def of_proposals(self):
        predictor, row, found = self.model.roi_heads.box_predictor, 0, []
        logits, deltas = (tensor.detach() for tensor in self.seen["predictions"])
        for boxes, objects in zip(self.seen["pooled"][1], self.truth(), strict=True):
            overlap = pairwise_iou(objects.gt_boxes, boxes)  # [K, R]
            for r in range(len(boxes)):
                if len(objects) and overlap[:, r].max() >= 0.5:
                    best = int(overlap[:, r].argmax())
                    c = int(objects.gt_classes[best])
                    odds = logits[row].sigmoid() if predictor.use_sigmoid_ce else logits[row].softmax(0)
                    decoded = predictor.box2box_transform.apply_deltas(deltas[row : row + 1], boxes.tensor[r : r + 1])
                    decoded = decoded.reshape(-1, 4)
                    box = decoded[c if len(decoded) > 1 else 0]
                    found.append((c, float(odds[c]), overlap_of(box, objects.gt_boxes.tensor[best])))
                row += 1
        assert row == len(logits)
        return found

    def of_anchors(self):
        logits, deltas = ([level.detach() for level in output] for output in self.seen["outputs"][:2])
        labels, matched = self.model.label_anchors(self.seen["anchors"], self.truth())
        found = []
        for image in range(len(labels)):
            first = 0
            for level, anchors in enumerate(self.seen["anchors"]):
                width = logits[level].shape[3]
                per_cell = logits[level].shape[1] // CLASSES
                for r in range(len(anchors)):
                    c = int(labels[image][first + r])
                    if 0 <= c < CLASSES:
                        y, x, a = r // per_cell // width, r // per_cell % width, r % per_cell
                        p = float(logits[level][image, a * CLASSES + c, y, x].sigmoid())
                        delta = deltas[level][image, 4 * a : 4 * a + 4, y, x]
                        box = self.model.box2box_transform.apply_deltas(delta[None], anchors.tensor[r : r + 1])[0]
                        found.append((c, p, overlap_of(box, matched[image][first + r])))
                first += len(anchors)
        return found


def overlap_of(a, b) -> float:
    (ax, ay, au, av), (bx, by, bu, bv) = a.tolist(), b.tolist()
    inner = max(0.0, min(au, bu) - max(ax, bx)) * max(0.0, min(av, bv) - max(ay, by))
    return inner / ((au - ax) * (av - ay) + (bu - bx) * (bv - by) - inner)


@each_model
def test_equals_the_mean_recomputed_from_every_match(shapes, spec):
    difficulty, records = ClassDifficulty(CLASSES), []
    fit(shapes, spec, [difficulty], prepare=lambda model: records.append(Record(model)))
    [record] = records
    assert len(record.matches) == 4 and sum(map(len, record.matches)) >= 8, "too few matches to test anything"
    value, momentum = [1.0] * CLASSES, [0.99] * CLASSES
    for batch in record.matches:
        for c in range(CLASSES):
            q = [1 - p**0.6 * iou**0.4 for of_class, p, iou in batch if of_class == c]
            if q:
                value[c] = momentum[c] * value[c] + (1 - momentum[c]) * sum(q) / len(q)
            momentum[c] = 0.99 if q else momentum[c] * 0.99
    assert difficulty.value == pytest.approx(value, abs=1e-6)
    assert difficulty.momentum == pytest.approx(momentum)
    assert min(value) < 1


# ---- a guest


@each_model
def test_training_is_the_same_to_the_bit(shapes, spec):
    config = open_config(spec, CLASSES, torch.device("cpu"))
    records = to_dicts(shapes)[:4]
    mapper = CachedMapper(ImageCache(), config.image_format, labels=True, flip=False)

    def run(observers):
        models = []
        model, history = fit(
            shapes,
            spec,
            observers,
            prepare=models.append,
            ema=0.9,
            patience=9,
            validate=lambda: mean_loss(models[0], ordered_batches(records, mapper, batch_size=2)),
            val_every=2,
        )
        return model, history, torch.get_rng_state()

    plain, history, rng = run([])
    seen, seen_history, seen_rng = run([ClassDifficulty(CLASSES)])
    state = plain.state_dict()
    assert seen.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in seen.state_dict().items())
    assert history == seen_history and torch.equal(rng, seen_rng)
    assert seen.__dict__.keys() == plain.__dict__.keys()
    assert seen.__dict__.get("loss_normalizer") == plain.__dict__.get("loss_normalizer")
    assert [type(m) for m in seen.modules()] == [type(m) for m in plain.modules()]


def test_negatives_alone_leave_every_class_as_hard_as_it_was(shapes):
    empty = Dataset(shapes.class_names, tuple(image for image in shapes.images if not len(image.classes)))
    for spec in (MODELS["tiny_faster_rcnn"], MODELS["tiny_retinanet"]):
        difficulty = ClassDifficulty(CLASSES)
        fit(empty, spec, [difficulty])
        assert difficulty.value.tolist() == [1] * CLASSES


@pytest.mark.parametrize("name", ["tiny_faster_rcnn", "tiny_retinanet"])
def test_the_learner_tells_it_and_the_checkpoint_keeps_it(shapes, name, tmp_path):
    def learner():
        return DetectronLearner(MODELS[name], TRAINING, shapes.class_names, iterations=4, device="cpu")

    one, signals = learner(), frozenset({Signal.CLASS_DIFFICULTY})
    checkpoint = one.fit(shapes, val=None, seed=0, init=None)
    [told] = one.infer(shapes.select(shapes.ids[:2]), signals).columns.values()
    assert told.shape == (CLASSES,) and told.min() < 1
    assert np.array_equal(told, checkpoint.extras["class_difficulty"])
    one.save(checkpoint, tmp_path / "model.pth")
    other = learner()
    loaded = other.load(tmp_path / "model.pth")
    for key in ("class_difficulty", "class_momentum"):
        assert np.array_equal(loaded.extras[key], checkpoint.extras[key]), key
    assert np.array_equal(other.infer(shapes.select([]), signals).columns[Signal.CLASS_DIFFICULTY], told)
    longer = other.fit(shapes, val=None, seed=1, init=loaded).extras["class_difficulty"]
    assert longer.max() < 1 and not np.array_equal(longer, told), "it goes on from where it was"


def test_what_cannot_be_watched_is_refused():
    with pytest.raises(ModelError, match="supported: GeneralizedRCNN"):
        watched(nn.Linear(1, 1), print)
