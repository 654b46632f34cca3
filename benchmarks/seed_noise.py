"""How far does AP move when nothing changes but the training seed? A comparison on the built-in data can mean no less.

    python benchmarks/seed_noise.py [--seeds 3] [--jobs 2] [overrides of al run ...]

Trains on the same randomly labeled images (those of the last two rounds: 80% and 100% of the pool by default) with several
training seeds, evaluates on the test split, and prints AP per seed and the spread (largest minus smallest).
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context

from al_cli import loop
from al_cli.experiment import build
from al_cli.experiment.job import jobs_of
from al_cli.rng import seed_for
from al_cli.tasks import detection


def train(job: tuple[list[str], int, int, int]) -> float:
    """AP on the test split after one training: (overrides, round, training seed, threads)."""
    overrides, round, seed, threads = job
    import torch

    torch.set_num_threads(threads)
    [job] = jobs_of(overrides)
    experiment = job.experiment
    splits = build.load_dataset(experiment.config["dataset"])
    plan = build.plan_rounds(experiment, splits)
    labeled = loop.initial_order(splits.train, plan.seeds.initial)[: sum(plan.sizes[: round + 1])]
    learner = build.build_learner(experiment, splits.train.class_names)
    learner.fit(splits.train.select(labeled), val=None, seed=seed_for(seed, round, "training"), init=None)
    return detection.evaluate(learner.infer(splits.test), splits.test).metrics["AP"] or 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="training seeds 0..n-1 (default 3)")
    parser.add_argument("--rounds", type=int, nargs="+", default=None, help="rounds to train (default: the last two)")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    args, overrides = parser.parse_known_args()
    [job] = jobs_of(overrides)
    rounds = args.rounds or [job.rounds - 2, job.rounds - 1]
    jobs = [(overrides, round, seed, 1 if args.jobs > 1 else 2) for round, seed in product(rounds, range(args.seeds))]
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        results = dict(zip([job[1:3] for job in jobs], pool.map(train, jobs), strict=True))
    print("round  " + "  ".join(f"seed {seed}" for seed in range(args.seeds)) + "    mean  spread")
    for round in rounds:
        aps = [results[round, seed] for seed in range(args.seeds)]
        print(
            f"{round:5d}  "
            + "  ".join(f"{ap:6.2f}" for ap in aps)
            + f"  {sum(aps) / len(aps):6.2f}  {max(aps) - min(aps):6.2f}"
        )


if __name__ == "__main__":
    sys.exit(main())
