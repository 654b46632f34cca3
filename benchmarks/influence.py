"""What influence costs an image, against one backward pass an image: CPU time, so a busy machine changes little.

    python benchmarks/influence.py [--images 64] [--repeats 5] [overrides of al run, for example model=tiny_retinanet]

Trains briefly, then answers the same question, s . gradient of the pseudo-labelled loss, for the same images:
"I" plain inference, the unit. "A" as the ISAL program does: inference for the pseudo labels, then the stock training loss
of each image and its backward pass to the last layers. "B" the same with nothing frozen, back through all layers. "C" our
one pass through the backbone, then a backward pass of the last layers for each image. "D" the same with dual numbers (forward
mode) in place of the backward pass. "E" is `al`: all images of a batch at once, and the middle of the two slopes at a kink,
where A to D have what rounding gives them (R-CNN's L1 loss; RetinaNet's is smooth there). A to D take one image at a time, I
and E 16.
Ratios are what to quote; the seconds are this machine's.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.autograd.forward_ad as forward_ad
from al_cli.learners.detectron.influence.lissa import gradient
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from al_cli.experiment import build
from al_cli.experiment.job import jobs_of
from al_cli.learners.detectron.influence.last_layers import HeadLoss
from al_cli.learners.detectron.influence.source import InfluenceSource
from al_cli.learners.detectron.learner import DetectronLearner
from al_cli.learners.detectron.training.data import Batch, ordered_batches, to_dicts
from al_cli.learners.detectron.training.loss import _set_normalizer, measuring
from al_cli.learners.pytorch.determinism import deterministic
from al_cli.learners.spec import InfluenceSpec
from al_cli.types import Dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threshold", type=float, default=0.3)
    args, overrides = parser.parse_known_args()
    [job] = jobs_of(["training.iterations=200", *overrides])
    experiment = job.experiment
    splits = build.load_dataset(experiment.config["dataset"])
    learner = build.build_learner(experiment, splits.train.class_names)
    assert isinstance(learner, DetectronLearner), "this needs a Detectron2 model"
    labeled, pool = splits.train.select(splits.train.ids[:100]), splits.train.select(splits.train.ids[-args.images :])
    learner.fit(labeled, val=None, seed=0, init=None)

    with deterministic(learner.reader.threads):
        spec = InfluenceSpec(threshold=args.threshold)
        source = InfluenceSource(
            learner.trained.model,
            learner.reader.mapper,
            labeled=labeled,
            reference=splits.val or splits.test.select(splits.test.ids[:100]),
            spec=spec,
        )
        start = time.process_time()
        direction = source.direction
        once = time.process_time() - start
        ways = ways_of(learner, source, pool, direction, args.threshold)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        answers: dict[str, torch.Tensor] = {}
        for repeat in range(args.repeats + 1):  # the first one warms up
            for name, way in ways.items():
                start = time.process_time()
                answers[name] = way()
                if repeat:
                    seconds[name].append((time.process_time() - start) / len(pool))
    report(experiment.model.name, learner, seconds, answers)
    print(f"g and s, once a round from {len(labeled)} labeled images: {once:.1f} s")


def ways_of(
    learner: DetectronLearner, source: InfluenceSource, pool: Dataset, direction: torch.Tensor, threshold: float
) -> dict[str, Callable[[], torch.Tensor]]:
    """Each returns [N] the directional derivative of every image's loss (plain inference: nothing)."""
    model = learner.trained.model
    layers, theta = source.layers, source.theta
    last = [p for layer in layers.layers.values() for p in layer.parameters()]

    def batches(size: int = 1) -> list[Batch]:
        return list(ordered_batches(to_dicts(pool), learner.reader.mapper(labels=False), batch_size=size))

    def infer(batch: Batch) -> list[Instances]:
        model.eval()
        with torch.no_grad():
            return [found["instances"] for found in model([{"image": one["image"]} for one in batch])]

    def stock(one: dict, frozen: bool) -> torch.Tensor:
        [found] = infer([one])
        found = found[found.scores >= threshold]
        target = Instances(found.image_size, gt_boxes=Boxes(found.pred_boxes.tensor), gt_classes=found.pred_classes)
        _set_normalizer(model, None)
        for p in model.parameters():
            p.requires_grad_(not frozen)
        for p in last:
            p.requires_grad_()
        with measuring(model), EventStorage():
            torch.manual_seed(0)
            loss = sum(model([{"image": one["image"], "instances": target}]).values())
        over = last if frozen else [*last, *(p for p in model.parameters() if not any(p is q for q in last))]
        grads = torch.autograd.grad(loss, over, allow_unused=True)[: len(last)]
        flat = [torch.zeros_like(p) if g is None else g for p, g in zip(last, grads, strict=True)]
        return torch.cat([g.flatten() for g in flat]) @ direction

    def ours(along: Callable[[HeadLoss], torch.Tensor]) -> torch.Tensor:
        return torch.stack([along(layers.record(batch, threshold=threshold)) for batch in batches()])

    def dual(loss: HeadLoss) -> torch.Tensor:
        with torch.no_grad(), forward_ad.dual_level():
            return forward_ad.unpack_dual(loss(forward_ad.make_dual(theta, direction))).tangent

    def together() -> torch.Tensor:
        found = [layers.record(batch, threshold=threshold).derivatives(theta, direction) for batch in batches(16)]
        return torch.cat(found)

    def plain() -> torch.Tensor:
        for batch in batches(16):
            infer(batch)
        return torch.zeros(0)

    return {
        "I  plain inference": plain,
        "A  stock loss, backward to the last layers": lambda: torch.stack([stock(b[0], True) for b in batches()]),
        "B  stock loss, backward through all layers": lambda: torch.stack([stock(b[0], False) for b in batches()]),
        "C  recorded, backward of the last layers": lambda: ours(lambda loss: gradient(loss, theta) @ direction),
        "D  recorded, dual numbers": lambda: ours(dual),
        "E  recorded, a batch at once (al)": together,
    }


def report(model: str, learner: DetectronLearner, seconds: dict, answers: dict) -> None:
    names = list(seconds)
    exact = answers[names[1]]
    print(f"{model}, {torch.get_num_threads()} threads, {len(exact)} images, median of {len(seconds[names[0]])}")
    for name in names:
        ratios = [a / b for a, b in zip(seconds[name], seconds[names[0]], strict=True)]
        saved = [a / b for a, b in zip(seconds[name], seconds[names[-1]], strict=True)]
        off = (answers[name] - exact).abs() / exact.abs().max() if len(answers[name]) else torch.zeros(1)
        print(
            f"{name:<44} {1000 * statistics.median(seconds[name]):7.1f} ms/image  {statistics.median(ratios):5.2f} x I  "
            f"{statistics.median(saved):5.2f} x E  (from {min(saved):.2f} to {max(saved):.2f})  "
            f"off A by {float(off.median()):.0e}, at most {float(off.max()):.0e}"
        )


if __name__ == "__main__":
    main()
