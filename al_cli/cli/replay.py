"""al replay: train another model on the images that a run selected, round by round."""

import argparse
from pathlib import Path

HELP = "train another model on the images that a run selected, round by round"
EPILOG = """\
al replay outputs/digits/ccms_s0 --model tiny_retinanet training.iterations=300 trains in
outputs/digits_replay/ccms_tiny-retinanet_iterations300_s0. Dataset, seeds and what a round trains on are the run's; a new
model brings the training recipe it is shipped with. An unfinished run is replayed as far as it got.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from al_cli.cli.options import add_execution

    parser.add_argument("run", type=Path, help="a run folder, for example outputs/digits/ccms_s0")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, as of `al run`")
    parser.add_argument("--model", default=None, help="the same as model=NAME")
    parser.add_argument("--training", default=None, help="the same as training=NAME")
    add_execution(parser)


def act(args: argparse.Namespace) -> int:
    from al_cli.cli import logs, options
    from al_cli.experiment import replay

    options.check_execution(args)
    logs.configure()
    groups = {"model": args.model, "training": args.training}
    words = [*(f"{key}={value}" for key, value in groups.items() if value), *args.overrides]
    planned = replay.plan_replay(args.run, words)
    planned.check_data()
    if not args.dry_run:
        planned.write_picks()
    return options.carry_out(args, [planned.job])
