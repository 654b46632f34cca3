"""The tables that flow between the parts, and the two protocols that the loop knows: a learner and a selector.

This file does not know who makes or reads them: no files, no torch, no Hydra. A table that breaks its contract cannot
be built: constructors check lengths, dtypes, finiteness and order, and raise ValueError with the offending values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

# How the probabilities of classes belong together. softmax: one question, of which the classes leave the rest to background;
# sigmoid: a question of yes or no for each class; exclusive: one question, and one of the classes is always the answer.
ProbKind = Literal["softmax", "sigmoid", "exclusive"]
LabelKind = Literal["objects", "image"]  # what a label is: objects in an image, or one class of the whole image


class Signal(StrEnum):
    """What a learner knows about images besides boxes, scores and classes. N images, M boxes, C classes."""

    PROBS = "probs"  # [M, C] class probabilities of each box, without background
    BOX_FEATURES = (
        "box_features"  # [M, D] the vector that was classified: the box head's; before a classifier's last layer
    )
    LAYER_ACTIVATIONS = "layer_activations"  # [M, L, 2] mean and largest activation of each of the last L linear layers
    CENTER_FEATURES = "center_features"  # [M, D] the class tower's map at the center of each box: dense detectors
    IMAGE_FEATURES = "image_features"  # [N, D]
    TOWER_FEATURES = "tower_features"  # [N, D] the means of the class tower's and the box tower's maps: dense detectors
    DROPOUT = "dropout"  # [T, M, C]
    JITTER = "jitter"  # [M, J] IoU of each box with its match on the image under J levels of noise
    PROPOSAL_IOU = "proposal_iou"  # [M] IoU of each box with the proposal it was refined from
    CLASS_DIFFICULTY = "class_difficulty"  # [C]
    PREDICTED_LOSS = "predicted_loss"  # [N]
    TRUE_LOSS = "true_loss"  # [N], needs labels: an oracle
    TRUE_BOXES = "true_boxes"  # [N] number of true boxes: an oracle
    TRUE_CLASSES = "true_classes"  # [N, C] number of true boxes of each class: an oracle
    INFLUENCE = "influence"  # [N]
    GRADIENT_SIMILARITY = "gradient_similarity"  # [N]
    ERROR_PROBABILITY = "error_probability"  # [N] that its class is wrong: the own head, tuned on validation images
    POOL_PROBABILITY = "pool_probability"  # [N] that it is not labeled yet: the own head, tuned to tell


# Which axis of a column runs over boxes; every other column runs over images on axis 0, or over classes.
ROW_AXIS: dict[Signal, int] = {
    **dict.fromkeys((Signal.PROBS, Signal.BOX_FEATURES, Signal.LAYER_ACTIVATIONS, Signal.CENTER_FEATURES), 0),
    **dict.fromkeys((Signal.JITTER, Signal.PROPOSAL_IOU), 0),
    Signal.DROPOUT: 1,
}
IMAGE_AXIS: dict[Signal, int] = {
    signal: 0 for signal in Signal if signal not in ROW_AXIS and signal != Signal.CLASS_DIFFICULTY
}
# Probabilities of each class on the last axis, with this many axes.
CLASS_PROBABILITIES: dict[Signal, int] = {Signal.PROBS: 2, Signal.DROPOUT: 3}
# What nobody could know before labeling: a sampler that needs one of these is an oracle, never a practical method.
ORACLES = frozenset({Signal.TRUE_LOSS, Signal.TRUE_BOXES, Signal.TRUE_CLASSES})
# What a label would do to the loss of other images (`model.influence`).
INFLUENCES = frozenset({Signal.INFLUENCE, Signal.GRADIENT_SIMILARITY})
# What depends on labels besides the weights: those that `Learner.inform` was given last.
MEASURED_AGAINST_LABELS = INFLUENCES | {Signal.ERROR_PROBABILITY, Signal.POOL_PROBABILITY}


def _require(condition: Any, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, eq=False)
class Image:
    """One image and its objects.

    `boxes` [K,4] float64 xyxy in pixels, `classes` [K] int64 in 0..C-1, `crowd` [K] bool (COCO's iscrowd), `areas` [K]
    float64 px^2: what decides small, medium or large (COCO's own area where the file has one, else the box's).
    An image without objects has K = 0: it is a negative, not an error. `id` is al's own number, `source_id` that of the
    user's file where it has one. `name` is unique in its split (`datasets/names.py`; the file's name where nobody says);
    `content` is a digest of the file's bytes, empty for an image that is no file.
    """

    id: int
    path: Path
    width: int
    height: int
    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    crowd: NDArray[np.bool_] = None  # type: ignore[assignment]
    areas: NDArray[np.float64] = None  # type: ignore[assignment]
    name: str = ""
    content: str = ""
    source_id: int | None = None

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "name", self.name or self.path.name)
        set_(self, "boxes", np.asarray(self.boxes, dtype=np.float64).reshape(-1, 4))
        set_(self, "classes", np.asarray(self.classes, dtype=np.int64).reshape(-1))
        k = len(self.boxes)
        set_(self, "crowd", np.zeros(k, bool) if self.crowd is None else np.asarray(self.crowd, dtype=bool))
        if self.areas is None:
            wh = self.boxes[:, 2:] - self.boxes[:, :2]
            set_(self, "areas", wh[:, 0] * wh[:, 1])
        else:
            set_(self, "areas", np.asarray(self.areas, dtype=np.float64))
        name = f"image {self.id} ({self.path})"
        _require(self.width > 0 and self.height > 0, f"{name}: size {self.width}x{self.height}")
        for column in ("classes", "crowd", "areas"):
            _require(len(getattr(self, column)) == k, f"{name}: {k} boxes but {len(getattr(self, column))} {column}")
        if k:
            bad = ~np.isfinite(self.boxes).all(1) | (self.boxes[:, 2:] <= self.boxes[:, :2]).any(1)
            _require(not bad.any(), f"{name}: box {self.boxes[bad][:1].tolist()} is empty or not finite")
            _require(self.classes.min() >= 0, f"{name}: negative class {self.classes.min()}")

    @classmethod
    def of_class(
        cls, id: int, path: Path, width: int, height: int, label: int, *, name: str = "", content: str = ""
    ) -> Image:
        """An image whose one label is the class of the whole: a box [0, 0, width, height]."""
        box = np.array([[0, 0, width, height]], np.float64)
        return cls(id, path, width, height, box, np.array([label]), name=name, content=content)

    @cached_property  # asked for in every fingerprint of every subset
    def labels_digest(self) -> str:
        """16 hex digits of boxes, classes, crowd flags and areas."""
        columns = (self.boxes, self.classes, self.crowd, self.areas)
        return hashlib.sha256(b"".join(np.ascontiguousarray(column).tobytes() for column in columns)).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images of one split in ascending id order, with the names of their classes.

    `category_ids` [C] are the ids the classes have in the source file (COCO's may have gaps); output maps back to them.
    """

    class_names: tuple[str, ...]
    images: tuple[Image, ...]
    category_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", tuple(self.class_names))
        object.__setattr__(self, "images", tuple(self.images))
        object.__setattr__(self, "category_ids", tuple(self.category_ids) or tuple(range(len(self.class_names))))
        ids = self.ids
        _require(len(self.class_names) > 0, "a dataset needs at least one class")
        _require(
            len(self.category_ids) == len(self.class_names),
            f"{len(self.category_ids)} category ids for {len(self.class_names)} classes",
        )
        _require((np.diff(ids) > 0).all(), f"image ids must ascend strictly: {ids[:8].tolist()}...")
        classes = np.concatenate([image.classes for image in self.images]) if self.images else np.zeros(0, int)
        if classes.max(initial=-1) >= len(self.class_names):
            image = next(image for image in self.images if image.classes.max(initial=-1) >= len(self.class_names))
            outside = f"has a class outside 0..{len(self.class_names) - 1}: {image.classes.tolist()}"
            raise ValueError(f"image {image.id} {outside}")
        object.__setattr__(self, "_position", {int(i): n for n, i in enumerate(ids)})

    def __len__(self) -> int:
        return len(self.images)

    @property
    def ids(self) -> NDArray[np.int64]:
        return np.array([image.id for image in self.images], dtype=np.int64)

    def __getitem__(self, image_id: int) -> Image:
        """The image of that id; KeyError names an unknown one."""
        return self.images[self._position[int(image_id)]]  # type: ignore[attr-defined]

    def select(self, ids: Iterable[int]) -> Dataset:
        """The images of these ids, in ascending order. KeyError for an unknown id."""
        chosen = sorted({int(i) for i in ids})
        return Dataset(self.class_names, tuple(self[i] for i in chosen), self.category_ids)

    @property
    def box_count(self) -> int:
        """Annotated objects, crowd regions left out: what a round costs in boxes."""
        return int(sum((~image.crowd).sum() for image in self.images))

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """[N, C] annotated objects of each class in each image, crowd regions left out."""
        c = len(self.class_names)
        counts = [np.bincount(image.classes[~image.crowd], minlength=c) for image in self.images]
        return np.array(counts, dtype=np.int64).reshape(-1, c)

    @property
    def fingerprint(self) -> str:
        """32 hex digits of names, sizes, labels and content. The same data in another folder, with other times or under other
        ids of images and categories, has the same fingerprint."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        for image in self.images:
            digest.update(repr((image.name, image.width, image.height, image.labels_digest, image.content)).encode())
        return digest.hexdigest()[:32]


@dataclass(frozen=True)
class OwnSplits:
    """A dataset as a reader finds it: the pool, and the held-out splits that it has of its own. Image ids are unique over all
    three. `datasets/held_out.py` makes `Splits` of it."""

    name: str
    train: Dataset
    val: Dataset | None
    test: Dataset | None


@dataclass(frozen=True)
class Splits:
    """A dataset as the loop uses it: `train` is the pool, `val` and `test` are held out (`datasets/held_out.py`).

    `val` feeds the validation loss, early stopping and what learns from validation images; it is None where there is none.
    Ids are unique over all three, with gaps in each where images were drawn from the pool.
    """

    name: str
    train: Dataset
    val: Dataset | None
    test: Dataset

    def scored(self, evaluate: str) -> Dataset:
        """The split that rounds are scored on, `test` or `val`. ValueError for a val that is not there."""
        _require(evaluate == "test" or self.val is not None, f"no {evaluate} split to score rounds on")
        return self.test if evaluate == "test" or self.val is None else self.val


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model finds in N images: one columnar table of M boxes.

    `image_ids` [N] ascending; image i owns rows `offsets[i]:offsets[i+1]`; `boxes` [M,4] xyxy px of the original image;
    `scores` [M] in (0,1], descending within an image; `classes` [M]; `columns` one array per Signal.
    Images without detections have an empty range. Where a label is an image, M = N: each row is a whole image, with its
    likeliest class and that class's probability.
    """

    image_ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    num_classes: int
    prob_kind: ProbKind = "softmax"
    columns: Mapping[Signal, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "image_ids", np.asarray(self.image_ids, dtype=np.int64))
        set_(self, "offsets", np.asarray(self.offsets, dtype=np.int64))
        set_(self, "boxes", np.asarray(self.boxes, dtype=np.float32).reshape(-1, 4))
        set_(self, "scores", np.asarray(self.scores, dtype=np.float32))
        set_(self, "classes", np.asarray(self.classes, dtype=np.int64))
        set_(self, "columns", {Signal(k): np.asarray(v) for k, v in self.columns.items()})
        n, m = len(self.image_ids), len(self.scores)
        _require(
            (np.diff(self.image_ids) > 0).all(), f"image_ids must ascend strictly: {self.image_ids[:8].tolist()}..."
        )
        _require(
            len(self.offsets) == n + 1 and self.offsets[0] == 0 and self.offsets[-1] == m,
            f"offsets must run from 0 to {m} in {n + 1} entries, got {len(self.offsets)}: {self.offsets[:8].tolist()}",
        )
        _require((np.diff(self.offsets) >= 0).all(), "offsets must not descend")
        _require(len(self.boxes) == m, f"{m} scores but {len(self.boxes)} boxes")
        _require(len(self.classes) == m, f"{m} scores but {len(self.classes)} classes")
        if m:
            bad = ~((self.scores > 0) & (self.scores <= 1))  # NaN fails both comparisons
            _require(not bad.any(), f"scores must lie in (0, 1]: {self.scores[bad][:4].tolist()}")
            _require(np.isfinite(self.boxes).all(), "boxes must be finite")
            lo, hi = int(self.classes.min()), int(self.classes.max())
            _require(lo >= 0 and hi < self.num_classes, f"classes run {lo}..{hi}, outside 0..{self.num_classes - 1}")
            above = np.setdiff1d(np.flatnonzero(np.diff(self.scores) > 0) + 1, self.offsets)  # the one before is lower
            if len(above):
                row = int(above[0])
                image, values = self.image_ids[self.row_image[row]], self.scores[row - 1 : row + 1].tolist()
                _require(False, f"scores must descend within an image: {values} in image {image}")
        for signal, column in self.columns.items():
            for axes, length, what in ((ROW_AXIS, m, "boxes"), (IMAGE_AXIS, n, "images")):
                if signal in axes:
                    _require(
                        column.shape[axes[signal]] == length, f"{signal}: shape {column.shape} for {length} {what}"
                    )
            _require(np.isfinite(column).all(), f"{signal} has values that are not finite")
            if signal in CLASS_PROBABILITIES:
                axes_are = CLASS_PROBABILITIES[signal]
                fits = column.ndim == axes_are and column.shape[-1] == self.num_classes
                _require(fits, f"{signal}: shape {column.shape} for {self.num_classes} classes")
                outside = column[(column < 0) | (column > 1)]
                _require(not len(outside), f"{signal} must lie in [0, 1]: {outside[:4].tolist()}")

    @classmethod
    def of_classes(
        cls,
        image_ids: NDArray[np.int64],
        sizes: Sequence[tuple[int, int]],
        probs: NDArray[Any],
        columns: Mapping[Signal, NDArray[Any]],
    ) -> Predictions:
        """A row for each of N images, of `sizes` (width, height): the whole image, the likeliest (the first of equals) of
        the classes whose probabilities are `probs` [N, C], and that probability."""
        n, classes = len(probs), probs.argmax(axis=1)
        boxes = np.array([[0, 0, width, height] for width, height in sizes], np.float32).reshape(n, 4)
        scores = probs[np.arange(n), classes]
        return cls(image_ids, np.arange(n + 1), boxes, scores, classes, probs.shape[1], "exclusive", columns)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.image_ids)

    @property
    def counts(self) -> NDArray[np.int64]:
        """[N] boxes of each image."""
        return np.diff(self.offsets)

    @property
    def row_image(self) -> NDArray[np.int64]:
        """[M] position (0..N-1) of the image that each row belongs to."""
        return np.repeat(np.arange(len(self)), self.counts)

    def rows(self, position: int) -> slice:
        """The rows of the image at this position (not id)."""
        return slice(int(self.offsets[position]), int(self.offsets[position + 1]))

    def select(self, ids: Iterable[int]) -> Predictions:
        """The table of these images, in ascending id order. KeyError names an id that is not in the table."""
        wanted = np.unique(np.fromiter((int(i) for i in ids), dtype=np.int64))
        position = np.searchsorted(self.image_ids, wanted)
        inside = position < len(self)
        known = inside.copy()
        known[inside] = self.image_ids[position[inside]] == wanted[inside]
        if not known.all():
            raise KeyError(f"no predictions for image ids {wanted[~known][:8].tolist()}")
        keep = np.zeros(len(self), bool)
        keep[position] = True
        return self._cut(keep, np.repeat(keep, self.counts))

    def filter(self, rows: NDArray[np.bool_]) -> Predictions:
        """The same images with only the rows where the mask [M] is true, for example ``p.scores >= 0.3``."""
        _require(len(rows) == len(self.scores), f"mask of {len(rows)} for {len(self.scores)} rows")
        return self._cut(np.ones(len(self), bool), np.asarray(rows, bool))

    def _cut(self, images: NDArray[np.bool_], rows: NDArray[np.bool_]) -> Predictions:
        counts = np.bincount(self.row_image[rows], minlength=len(self))[images]
        columns = {}
        for signal, column in self.columns.items():
            if signal in ROW_AXIS:
                column = np.compress(rows, column, axis=ROW_AXIS[signal])
            elif signal in IMAGE_AXIS:
                column = np.compress(images, column, axis=IMAGE_AXIS[signal])
            columns[signal] = column
        return Predictions(
            self.image_ids[images],
            np.concatenate([[0], np.cumsum(counts)]),
            self.boxes[rows],
            self.scores[rows],
            self.classes[rows],
            self.num_classes,
            self.prob_kind,
            columns,
        )


class Pool:
    """Which images are labeled and which are not.

    `labeled` keeps the order of acquisition, `unlabeled` ascends. Immutable: `acquire` returns the next pool.
    """

    def __init__(self, labeled: Sequence[int], unlabeled: Collection[int]):
        self.labeled: tuple[int, ...] = tuple(int(i) for i in labeled)
        self.unlabeled: tuple[int, ...] = tuple(sorted(int(i) for i in unlabeled))
        everything = self.labeled + self.unlabeled
        _require(len(set(everything)) == len(everything), "an image is twice in the pool")

    def acquire(self, ids: Sequence[int]) -> Pool:
        """The pool after labeling these ids, in this order. ValueError for an unknown, labeled or repeated id."""
        picked = [int(i) for i in ids]
        remaining = set(self.unlabeled)
        for i in picked:
            if i not in remaining:
                state = "already labeled" if i in self.labeled else "named twice" if i in self.unlabeled else "unknown"
                raise ValueError(f"image {i} cannot be acquired: it is {state}")
            remaining.remove(i)
        return Pool(self.labeled + tuple(picked), remaining)


@dataclass(frozen=True, eq=False)
class Query:
    """What a score or a selection is asked. It may read everything here and nothing else.

    `candidates` holds exactly the images it may choose from, with the columns it declared. `labeled` are predictions on
    the labeled images where a stage asked for them. `truth` has the labeled images only. `budget` is how many images this
    stage must return; `ud` this round's UD-split where there is one. `held_out` are predictions on the validation images,
    and `held_out_truth` those images with their labels, where a stage asked for them: they are never trained on.
    """

    candidates: Predictions
    budget: int
    rng: np.random.Generator
    truth: Dataset | None = None
    labeled: Predictions | None = None
    ud: float | None = None
    held_out: Predictions | None = None
    held_out_truth: Dataset | None = None

    def __post_init__(self) -> None:
        _require(self.budget >= 1, f"budget must be at least 1, got {self.budget}")


Infer = Callable[
    [NDArray[np.int64], frozenset[Signal]], Predictions
]  # (ascending ids, signals) -> a table of those ids


@dataclass(frozen=True, eq=False)
class Request:
    """What one selection is asked: `budget` of the images `candidates` (ids, distinct, in any order).

    `infer` predicts candidates and labeled images. `labeled` are the ids that have labels, `truth` those images. `held_out`
    are the validation images, with `infer_held_out` to predict them; None where there are none. `ud` is this round's
    UD-split. `rng` is used up by the selection: who asks twice gives each request its own.
    """

    candidates: Collection[int]
    infer: Infer
    budget: int
    rng: np.random.Generator
    ud: float | None = None
    truth: Dataset | None = None
    labeled: Collection[int] = ()
    held_out: Dataset | None = None
    infer_held_out: Infer | None = None

    def __post_init__(self) -> None:
        _require(self.budget >= 1, f"budget must be at least 1, got {self.budget}")


@dataclass(frozen=True, eq=False)
class Selection:
    """The chosen image ids, best first and distinct, with their scores in the same order (NaN where there are none)."""

    ids: NDArray[np.int64]
    scores: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", np.asarray(self.ids, dtype=np.int64))
        object.__setattr__(self, "scores", np.asarray(self.scores, dtype=np.float64))
        _require(len(self.ids) == len(self.scores), f"{len(self.ids)} ids but {len(self.scores)} scores")
        _require(len(set(self.ids.tolist())) == len(self.ids), "a selection names an image twice")


Score = Callable[..., NDArray[np.float64]]  # (query) -> [N] in the order of query.candidates.image_ids, higher first
Select = Callable[..., Selection]  # (query, scores or None) -> query.budget ids out of query.candidates


@dataclass(frozen=True)
class LossPoint:
    """One point of a round's loss curves: `val_loss` is None where it was not measured. `metric` is that of the task on the
    validation images, where early stopping watches one; None also where it had no value."""

    iteration: int
    train_loss: float
    val_loss: float | None = None
    metric: float | None = None


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Trained weights as the learner left them. `state` is opaque to everyone else; `history` are its loss curves;
    `extras` is what training measured besides the weights, arrays by name (a class's difficulty); `epochs` how often it saw
    its images until it stopped, None where nobody wrote that down."""

    state: Mapping[str, Any]
    history: tuple[LossPoint, ...] = ()
    extras: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    epochs: float | None = None


# A metric of predictions on exactly these images, higher is better: None where there is nothing to measure
Judge = Callable[[Predictions, Dataset], float | None]


@dataclass(frozen=True, eq=False)
class Losses:
    """The training loss of N images, each on its own: `total` [N], and the parts of it that are about classes and about boxes,
    [N] each, NaN where a learner cannot say. A total may have other parts."""

    total: NDArray[np.float64]
    classes: NDArray[np.float64]
    boxes: NDArray[np.float64]

    @property
    def means(self) -> dict[str, float | None]:
        """Means over the images, by the names of `RoundRecord`; None where nothing was measured."""
        return {
            name: float(part.mean()) if len(part) and np.isfinite(part).all() else None
            for name, part in zip(LOSSES, (self.total, self.classes, self.boxes), strict=True)
        }


class Learner(Protocol):
    """A model that can be trained and asked. After `fit`, `start` or `load`, `infer` and `loss` answer with those weights.

    Deterministic on a CPU: the same calls give the same bytes.
    """

    provides: frozenset[Signal]
    device: str  # "cpu" or "cuda:0": its kind is in the store's key

    def fit(
        self,
        train: Dataset,
        *,
        val: Dataset | None,
        seed: int,
        init: Checkpoint | None,
        order: Sequence[int] | None = None,
    ) -> Checkpoint:
        """Train on every image of `train` (negatives too) from `init`, or from the starting weights where None. Each epoch
        is shuffled, or takes the images in this `order` of their ids."""
        ...

    def start(self, seed: int) -> Checkpoint:
        """The weights that a training with this seed and no `init` would begin from, ready for `infer`. ModelError where these
        are of no model of the dataset's classes."""
        ...

    def infer(self, images: Dataset, signals: frozenset[Signal] = frozenset()) -> Predictions:
        """Predictions for all images with a column per signal, in one pass. ValueError for a signal not provided."""
        ...

    def inform(self, *, labeled: Dataset, initial: Dataset, val: Dataset | None, scored: Dataset) -> None:
        """Which labels there are now: for signals of unlabeled images that are measured against them. `scored`
        are the images that rounds are scored on: no practical method looks at them."""
        ...

    def loss(self, images: Dataset) -> Losses:
        """The training loss of each labeled image, without updating anything."""
        ...

    def save(self, checkpoint: Checkpoint, path: Path) -> None: ...

    def load(self, path: Path) -> Checkpoint: ...


@dataclass(frozen=True)
class StageLog:
    """What one stage of a strategy did: how many images came in and went out, and why it was skipped if it was."""

    name: str
    candidates: int
    kept: int
    skipped: str = ""
    oracle: bool = False  # whether it knew what nobody can know before labeling


@dataclass(frozen=True, eq=False)
class Choice:
    """A selection, the stages that led to it, and what became of every candidate.

    `candidates` [N] ascending ids; `scores` [N] what the last stage that scored an image gave it, NaN where none did;
    `dropped_by` [N] the number of the stage, from 1, that left it out: 0 for the images of the selection.
    """

    selection: Selection
    stages: tuple[StageLog, ...]
    candidates: NDArray[np.int64]
    scores: NDArray[np.float64]
    dropped_by: NDArray[np.int64]

    def __post_init__(self) -> None:
        n = len(self.candidates)
        _require((np.diff(self.candidates) > 0).all(), f"candidates must ascend: {self.candidates[:8].tolist()}...")
        for column in ("scores", "dropped_by"):
            _require(len(getattr(self, column)) == n, f"{n} candidates but {len(getattr(self, column))} {column}")
        chosen = self.candidates[self.dropped_by == 0]
        _require(
            np.array_equal(chosen, np.sort(self.selection.ids)),
            f"{len(chosen)} candidates were dropped by no stage, and {len(self.selection.ids)} images are selected",
        )
        _require(
            not n or 0 <= self.dropped_by.min() <= self.dropped_by.max() <= len(self.stages),
            f"dropped_by names a stage outside 0..{len(self.stages)}",
        )


class Selector(Protocol):
    """Whoever answers a request: a strategy, or a store in front of one."""

    def select(self, request: Request) -> Choice: ...


# Numbers of a record that not every run has: a record of an earlier version lacks them, and some are measured where asked for
LOSSES = ("loss", "class_loss", "box_loss")
MEASURED = ("epochs", "train_metric", *LOSSES)


@dataclass(frozen=True)
class RoundRecord:
    """One finished round. Holds nothing that differs between equal runs (seconds live in timing.json).

    `picked` are the images this round labeled (the initial set in round 0), with their scores; `labeled` all so far in
    acquisition order: what annotators have been paid for. Where a round selects its training set from the whole pool,
    images that were labeled before are not among the picked, and labeled ones that it left out are not trained on.
    `val_loss` is the loss on the validation images with the weights that the training kept: its last ones, or, where it
    stopped early, those that were best in what it watched, be that this loss or a metric. `epochs` are those of the round's
    training (`Checkpoint.epochs`). `loss` is the mean over the images that the round is scored on, `class_loss` and `box_loss`
    its parts (`Losses`); None where a run measures none (`measure_loss`). `train_metric` is the task's primary metric on the
    images of the round's training (`measure_training`).
    """

    round: int
    seed: int
    ud: float | None
    labeled: tuple[int, ...]
    picked: tuple[int, ...]
    scores: tuple[float | None, ...]
    stages: tuple[StageLog, ...]
    images: int
    boxes: int
    metrics: Mapping[str, float | None]
    val_loss: float | None
    hashes: Mapping[str, str]
    epochs: float | None = None
    train_metric: float | None = None
    loss: float | None = None
    class_loss: float | None = None
    box_loss: float | None = None

    @property
    def oracle(self) -> bool:
        """Whether a stage of this round knew what nobody can know before labeling."""
        return any(stage.oracle for stage in self.stages)
