"""What one selection costs, sampler by sampler, as a multiple of one plain inference pass over the same pool.

    python benchmarks/signals.py [--images 100] [--budget 10] [--repeats 3] [--only NAME,...] [overrides of al run ...]

One run measures all: a detector is trained for a moment, then for each practical sampler, in turn, a plain pass over the
pool (boxes, scores, classes) and a selection, which infers what it needs and computes. The ratio is taken within each
repeat, so it holds on a machine where others are busy, too; the median is printed, with what the guide says it passes over.
Whatever a sampler needs that this model lacks is named. `model.dropout=0.2` is set, for the samplers that need it.
"""

import argparse
import statistics
import time

import numpy as np

from al_cli.cli.samplers import detectors
from al_cli.errors import ConfigError
from al_cli.experiment import build, compose
from al_cli.experiment.job import jobs_of
from al_cli.samplers.guide import guide
from al_cli.types import Dataset, Infer, Learner, Request, Signal

EXTRA = frozenset({Signal.PREDICTED_LOSS, Signal.INFLUENCE, Signal.GRADIENT_SIMILARITY})


def answers(learner: Learner, images: Dataset) -> Infer:
    return lambda ids, signals: learner.infer(images.select(ids), signals)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100, help="unlabeled images in the pool")
    parser.add_argument("--labeled", type=int, default=50)
    parser.add_argument("--budget", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="names of samplers, with commas")
    args, overrides = parser.parse_known_args()
    words = ["model=tiny_faster_rcnn", "model.dropout=0.2", "training.iterations=100", *overrides]
    chosen = [name for name in args.only.split(",") if name]
    entries = [e for e in guide(compose.shipped("conf") / "sampler", detectors()) if not e.oracle]
    entries = [e for e in entries if not chosen or e.name in chosen]

    print(f"{args.images} unlabeled and {args.labeled} labeled images, budget {args.budget}, median of {args.repeats}")
    print(f"{'sampler':<28}{'x one pass':>11}   from - to      passes over")
    learners = {}  # one for all samplers but those whose signal changes what training must do besides the detector
    for entry in entries:
        try:
            [job] = jobs_of([*words, f"sampler={entry.name}"])
        except ConfigError as error:
            print(f"{entry.name:<28}{'-':>11}   {error}")
            continue
        experiment = job.experiment
        splits = build.load_dataset(experiment.config["dataset"])
        labeled, pool = np.split(splits.train.ids[: args.labeled + args.images], [args.labeled])
        train = splits.train.select(labeled)
        key = experiment.strategy.needs & EXTRA
        if key not in learners:
            learners[key] = build.build_learner(experiment, splits.train.class_names)
            learners[key].fit(train, val=splits.val, seed=0, init=None)
        learner = learners[key]
        learner.infer(splits.train.select(pool))  # images are decoded once and kept
        ratios = []
        for _ in range(args.repeats):
            start = time.perf_counter()
            learner.infer(splits.train.select(pool))
            plain = time.perf_counter() - start
            start = time.perf_counter()
            learner.inform(labeled=train, initial=train, val=splits.val)
            request = Request(
                pool.tolist(),
                infer=answers(learner, splits.train),
                budget=args.budget,
                ud=0.5,
                rng=np.random.default_rng(0),
                truth=train,
                labeled=labeled.tolist(),
                held_out=splits.val,
                infer_held_out=answers(learner, splits.val),
            )
            experiment.strategy.select(request)
            ratios.append((time.perf_counter() - start) / plain)
        spread = f"{min(ratios):6.2f} - {max(ratios):<6.2f}"
        print(f"{entry.name:<28}{statistics.median(ratios):>11.2f} {spread} {entry.cost}", flush=True)


if __name__ == "__main__":
    main()
