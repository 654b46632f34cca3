"""A training step of `al` against Detectron2's own trainer: same model, same optimizer, same images, taken in turn.

    python benchmarks/training.py [--steps 60] [--repeats 5] [model overrides of al run ...]

Prints processor time per step and the ratios within each repeat; ratios are what to quote, the times are this machine's. All
three are held to the learner's threads (the tiny models: 1); Detectron2 left alone takes all cores.
"A" is Detectron2's SimpleTrainer as its tutorial sets it up (DatasetMapper that decodes each image again, metrics written to
the event storage). "B" is the same trainer with images that are decoded once. "C" is ours, with weight averaging.
"""

import argparse
import statistics
import time

import torch
from detectron2.engine import SimpleTrainer, hooks
from detectron2.utils.events import EventStorage

from al_cli.experiment import build
from al_cli.experiment.job import jobs_of
from al_cli.learners.detectron.learner import DetectronLearner
from al_cli.learners.detectron.model.zoo import build as build_model
from al_cli.learners.detectron.training.data import stock_mapper, to_dicts, training_batches
from al_cli.learners.detectron.training.solver import make_optimizer, make_schedule
from al_cli.learners.pytorch.determinism import deterministic, seed_everything


def detectron2_step_s(learner: DetectronLearner, train, steps: int, cached: bool) -> float:
    """Processor time per step of Detectron2's SimpleTrainer."""
    seed_everything(0)
    model = build_model(learner.config, learner.spec)
    optimizer = make_optimizer(learner.config, learner.training, learner.numbers, model)
    schedule = make_schedule(learner.config, learner.training, optimizer, steps)
    steps_of_images = learner.config.augmentations(train=True, flip=learner.training.flip)
    stock = stock_mapper(steps_of_images, learner.config.image_format, labels=True)
    mapper = learner.reader.mapper(labels=True, augment=True) if cached else stock
    size = learner.numbers.batch_size
    batches = training_batches(to_dicts(train), mapper, batch_size=size, seed=0, by_aspect=False, workers=0)
    trainer = SimpleTrainer(model, batches, optimizer)
    trainer.register_hooks([hooks.IterationTimer(), hooks.LRScheduler(optimizer, schedule)])
    with deterministic(learner.reader.threads), EventStorage():
        start = time.process_time()
        trainer.train(0, steps)
        return (time.process_time() - start) / steps


def our_step_s(learner: DetectronLearner, train, steps: int) -> float:
    start = time.process_time()
    learner.fit(train, val=None, seed=0, init=None)
    return (time.process_time() - start) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    args, overrides = parser.parse_known_args()
    words = [*overrides, f"training.iterations={args.steps}"]
    [job] = jobs_of(words)
    experiment = job.experiment
    train = build.load_dataset(experiment.config["dataset"]).train
    learner = build.build_learner(experiment, train.class_names)
    assert isinstance(learner, DetectronLearner), "this compares Detectron2 trainers"
    our_step_s(learner, train, args.steps)  # warm-up
    rows = []
    for _ in range(args.repeats):
        a = detectron2_step_s(learner, train, args.steps, cached=False)
        b = detectron2_step_s(learner, train, args.steps, cached=True)
        rows.append((a, b, our_step_s(learner, train, args.steps)))
    a, b, c = (statistics.median(column) for column in zip(*rows, strict=True))
    threads = learner.reader.threads or torch.get_num_threads()
    print(f"{experiment.model.name}, batch {learner.numbers.batch_size}, {threads} thread(s), "
          f"median of {args.repeats} x {args.steps} steps")  # fmt: skip
    print(f"A  Detectron2, images decoded each time  {1000 * a:7.1f} ms/step")
    print(f"B  Detectron2, images decoded once       {1000 * b:7.1f} ms/step")
    print(f"C  al, with weight averaging             {1000 * c:7.1f} ms/step")
    for name, column in (("C/A", 0), ("C/B", 1)):
        ratios = sorted(row[2] / row[column] for row in rows)
        print(f"{name}  median {statistics.median(ratios):.3f}  (from {ratios[0]:.3f} to {ratios[-1]:.3f})")


if __name__ == "__main__":
    main()
