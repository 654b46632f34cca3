"""al show: a run's predictions drawn next to the ground truth."""

import argparse
from pathlib import Path

from al_cli.errors import RunError

HELP = "draw a run's predictions next to the ground truth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run folder, for example outputs/digits/ccms_s0")
    parser.add_argument("overrides", nargs="*", metavar="dataset.root=DIR", help="where the data lies now")
    parser.add_argument("--round", type=int, default=None, help="which round (default: the last)")
    parser.add_argument("--checkpoint", type=Path, default=None, help="predict with these weights instead")
    parser.add_argument("-n", "--images", type=int, default=12, help="how many evaluation images (default 12)")
    parser.add_argument(
        "--threshold", type=float, default=0.3, help="draw boxes that score at least this (default 0.3)"
    )
    parser.add_argument("--seed", type=int, default=0, help="which sample of images")
    parser.add_argument("--out", type=Path, default=None, help="the png to write (default: in the run's plots folder)")


def act(args: argparse.Namespace) -> None:
    from omegaconf import OmegaConf

    from al_cli.datasets.held_out import scored_split
    from al_cli.experiment import build, settings
    from al_cli.experiment.known import recorded_config
    from al_cli.experiment.moved import Moved
    from al_cli.learners.portable import require_caps
    from al_cli.progress import say
    from al_cli.records import RunFolder
    from al_cli.report.of_run.show import show_run
    from al_cli.tasks import DEFAULT

    config = recorded_config(args.run)
    config["dataset"] = Moved(args.overrides, "show").now(config["dataset"])
    scored = scored_split(build.load_dataset(config["dataset"]), config["evaluate"])
    predictions = None
    if args.checkpoint is not None:
        if not args.checkpoint.is_file():
            remedy = "give a checkpoint.pth of any run"
            raise RunError("there are no weights here", where=str(args.checkpoint), remedy=remedy)
        # A run folder may come from anybody: its task and its sampler's functions must not be imported. Nothing is judged or
        # selected here, so neither is needed; a reference asks no sampler.
        config |= {"store": False, "plots": False, "task": DEFAULT, "reference": True}
        experiment = settings.check(OmegaConf.create(config))
        require_caps(experiment.config)
        learner = build.build_learner(experiment, scored.class_names)
        try:
            learner.load(args.checkpoint)
        except RunError as error:
            remedy = "give a checkpoint.pth that a run with this model wrote"
            raise RunError(error.what, where=error.where, remedy=remedy) from error
        predictions = learner.infer(scored)
    records = RunFolder(args.run).records()
    round = args.round if args.round is not None else (records[-1].round if records else 0)
    path = show_run(
        args.run,
        round,
        scored,
        n=args.images,
        threshold=args.threshold,
        seed=args.seed,
        out=args.out,
        predictions=predictions,
    )
    say(f"wrote {path}")
