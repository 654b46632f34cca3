"""Sample runs as `al run` leaves them: random, seeded, with curves that look like real ones."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from al_cli.records import Round, RunFolder
from al_cli.tasks.detection import evaluate
from al_cli.types import Choice, Dataset, Image, LossPoint, Predictions, RoundRecord, Selection, Splits, StageLog

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

TIMING = {"store": {"hits": {"training": 1, "inference": 2}, "misses": {"training": 0}, "saved_s": 60.0}}


@dataclass
class SampleRuns:
    """Builds run folders below `root` on one dataset of noise scenes with bright rectangles."""

    root: Path
    splits: Splits

    def run(
        self,
        name: str,
        *,
        seed: int = 10,
        rounds: int = 5,
        done: int | None = None,
        gain: float = 1.0,
        measured: Callable[[int], dict[str, float]] = lambda round: {},
        **config,
    ) -> RunFolder:
        """A run of `rounds` rounds, `done` of them finished; marked done when all are. AP grows with `gain`; `measured` gives
        what the record of a round has besides (`types.MEASURED`)."""
        settings = {"sampler": {"name": name}, "rounds": rounds - 1, "seed": seed, "seeds": {"initial": None}} | config
        rng = np.random.default_rng([seed, len(name)])
        done = rounds if done is None else done
        with RunFolder.create(self.root / name, settings, {"device": "cpu"}) as folder:
            order = rng.permutation(self.splits.train.ids)
            size = len(order) // rounds
            for number in range(done):
                labeled, picked = order[: size * (number + 1)], order[size * number : size * (number + 1)]
                blur = 9 / (1 + gain * number) + rng.normal(0, 0.25)
                predictions = blurred(self.splits.test, rng, max(0.5, blur))
                evaluation = evaluate(predictions, self.splits.test)
                history = loss_curve(rng, number)
                stage = StageLog("ccms", len(order) - size * number, size)
                scores = np.sort(rng.random(size))[::-1] if number else np.full(size, np.nan)
                record = RoundRecord(
                    round=number,
                    seed=seed,
                    ud=None if number == 0 else round(1 - 0.25 * (number - 1), 2),
                    labeled=tuple(labeled.tolist()),
                    picked=tuple(picked.tolist()),
                    scores=tuple(scores.tolist()) if number else (None,) * size,
                    stages=(stage,),
                    images=len(labeled),
                    boxes=self.splits.train.select(labeled).box_count,
                    metrics=evaluation.metrics,
                    val_loss=history[-1].val_loss,
                    hashes={},
                    **measured(number),
                )
                done_round = Round(
                    record,
                    predictions=predictions,
                    scored=self.splits.test,
                    evaluation=evaluation,
                    history=history,
                    picked=self.splits.train.select(picked),
                    labeled=self.splits.train.select(labeled),
                    choice=choice_of(order[size * number :], picked, scores, stage),
                    names={image.id: image.path.name for image in self.splits.train.images},
                    timing={"train_s": 1.5, "evaluate_s": 0.25} | TIMING,
                )
                folder.write_round(done_round)
            if done == rounds:
                folder.mark_done()
        return folder


def choice_of(candidates: np.ndarray, picked: np.ndarray, scores: np.ndarray, stage: StageLog) -> Choice:
    """`picked` out of the candidates in one stage; the dropped ones score below the lowest picked, by their id."""
    everyone = np.sort(candidates)
    of = dict(zip(picked.tolist(), scores.tolist(), strict=True))
    low = float(np.min(scores))
    all_scores = [of.get(int(i), low * (1 - int(i) / 1000)) for i in everyone]
    return Choice(Selection(picked, scores), (stage,), everyone, np.array(all_scores), ~np.isin(everyone, picked) * 1)


def blurred(dataset: Dataset, rng: np.random.Generator, noise_px: float) -> Predictions:
    """The true boxes moved by some pixels, some of them missed, with a false one in every image."""
    boxes, scores, classes, counts = [], [], [], []
    for image in dataset.images:
        keep = rng.random(len(image.boxes)) > 0.04 * noise_px
        found = image.boxes[keep] + rng.normal(0, noise_px / 2, (keep.sum(), 4))
        label = np.where(rng.random(keep.sum()) < 0.05 * noise_px, rng.integers(0, 10, keep.sum()), image.classes[keep])
        corner = rng.uniform(0, 60, 2)
        boxes += [*found, np.concatenate([corner, corner + 15])]
        score = np.sort(np.append(rng.uniform(0.35, 1, keep.sum()), rng.uniform(0.05, 0.4)))[::-1]
        scores += score.tolist()
        classes += [*label.tolist(), int(rng.integers(10))]
        counts.append(keep.sum() + 1)
    return Predictions(dataset.ids, np.concatenate([[0], np.cumsum(counts)]), np.array(boxes), scores, classes, 10)


def loss_curve(rng: np.random.Generator, number: int) -> tuple[LossPoint, ...]:
    steps = np.arange(10, 601, 10)
    train = (0.35 - 0.03 * number) + 1.4 * np.exp(-steps / (90 - 8 * number)) + rng.normal(0, 0.03, len(steps))
    val = (0.5 - 0.03 * number) + 1.3 * np.exp(-steps / 100) + 2e-4 * np.maximum(0, steps - 400)
    return tuple(
        LossPoint(int(i), float(t), float(v) if i % 100 == 0 else None)
        for i, t, v in zip(steps, train, val, strict=True)
    )


def scene(rng: np.random.Generator, image_id: int, path: Path, size_px: int) -> Image:
    k = 0 if image_id % 11 == 0 else int(rng.integers(1, 7))
    side = rng.choice([12, 24, 40, 60, 110], size=k, p=[0.2, 0.3, 0.25, 0.15, 0.1]) + rng.integers(0, 8, k)
    corner = rng.uniform(0, 1, (k, 2)) * (size_px - side)[:, None]
    corner = np.floor(corner)
    share = 0.75 ** np.arange(10)
    classes = rng.choice(10, size=k, p=share / share.sum())
    width, height = (size_px, size_px) if image_id % 3 else (size_px, int(size_px * 0.75))
    boxes = np.concatenate([corner, np.minimum(corner + side[:, None], [width, height])], 1)
    keep = boxes[:, 3] > boxes[:, 1] + 3
    pixels = rng.integers(20, 90, (height, width, 3), dtype=np.uint8)
    for x0, y0, x1, y1 in boxes[keep].astype(int):
        pixels[y0:y1, x0:x1] = rng.integers(100, 250, 3)
    PILImage.fromarray(pixels).save(path)
    return Image(image_id, path, width, height, boxes[keep], classes[keep])


def scenes(folder: Path, first: int, n: int, size_px: int = 128) -> Dataset:
    folder.mkdir(parents=True)
    rng = np.random.default_rng([7, first])
    return Dataset(NAMES, tuple(scene(rng, i, folder / f"scene_{i:05d}.png", size_px) for i in range(first, first + n)))


def build_samples(root: Path) -> SampleRuns:
    splits = Splits("scenes", scenes(root / "data/train", 0, 150), None, scenes(root / "data/test", 150, 40))
    return SampleRuns(root / "outputs/study", splits)
