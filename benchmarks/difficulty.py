"""What following class difficulty adds to a training step.

    python benchmarks/difficulty.py [--steps 60] [--repeats 5] [model overrides of al run ...]

Prints, within each training, the share of its CPU seconds spent in `al_cli/learners/difficulty.py`: a step with and one
without differ by less than two equal steps do, so their ratio would say nothing.
"""

import argparse
import statistics
import time

from al_cli.experiment import build
from al_cli.experiment.job import jobs_of
from al_cli.learners.detectron.learner import DetectronLearner
from al_cli.learners.detectron.model.zoo import build as build_model
from al_cli.learners.detectron.training import difficulty
from al_cli.learners.detectron.training.data import to_dicts, training_batches
from al_cli.learners.detectron.training.solver import make_optimizer, make_schedule
from al_cli.learners.detectron.training.train import train as train_model
from al_cli.learners.pytorch.determinism import deterministic, seed_everything

spent_s = 0.0


def timed(function):
    def call(*args):
        global spent_s
        start = time.thread_time()
        result = function(*args)
        spent_s += time.thread_time() - start
        return result

    return call


def train(learner: DetectronLearner, images, steps: int) -> float:
    """CPU seconds of a training from the same seed."""
    seed_everything(0)
    model = build_model(learner.config, learner.spec)
    optimizer = make_optimizer(learner.config, learner.training, learner.numbers, model)
    schedule = make_schedule(learner.config, learner.training, optimizer, steps)
    mapper, size = learner.reader.mapper(labels=True, augment=True), learner.numbers.batch_size
    batches = training_batches(to_dicts(images), mapper, batch_size=size, seed=0, by_aspect=False, workers=0)
    observers = [difficulty.ClassDifficulty(len(images.class_names))]
    with deterministic(learner.reader.threads):
        start = time.process_time()
        train_model(
            model, batches, optimizer, schedule, iterations=steps, ema=learner.training.ema, observers=observers
        )
        return time.process_time() - start


def main() -> None:
    global spent_s
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    args, overrides = parser.parse_known_args()
    [job] = jobs_of(overrides)
    experiment = job.experiment
    images = build.load_dataset(experiment.config["dataset"]).train
    learner = build.build_learner(experiment, images.class_names)
    assert isinstance(learner, DetectronLearner), "this looks into Detectron2's training"
    for name in ("_proposal_matches", "_anchor_matches"):
        setattr(difficulty, name, timed(getattr(difficulty, name)))
    difficulty.ClassDifficulty._report = timed(difficulty.ClassDifficulty._report)
    train(learner, images, args.steps)  # warm-up
    shares, steps_ms = [], []
    for _ in range(args.repeats):
        spent_s = 0.0
        whole = train(learner, images, args.steps)
        shares.append(100 * spent_s / whole)
        steps_ms.append(1000 * whole / args.steps)
    print(f"{experiment.model.name}, batch {learner.numbers.batch_size}, {args.repeats} x {args.steps} steps: "
          f"{statistics.median(steps_ms):.1f} ms a step, of which difficulty takes {statistics.median(shares):.2f}% "
          f"(from {min(shares):.2f}% to {max(shares):.2f}%)")  # fmt: skip


if __name__ == "__main__":
    main()
