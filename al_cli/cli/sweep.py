"""al sweep: a study from a file, every arm with every seed."""

import argparse

from al_cli.errors import ConfigError

HELP = "a study from a file: every arm with every seed; --dry-run shows what it would train"
EPILOG = """\
al sweep thesis_digits seeds=[0,1] arms=[random,diversity] training.iterations=100: overrides are those of `al run` and
go to all runs, and arms.NAME.key=value to those of one arm: al sweep thesis_digits arms.diversity.sampler=ccms_coords.
The same command continues what was stopped and redoes what failed. sweeps/README.md describes the files.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from al_cli.cli.options import add_execution

    parser.add_argument("name", metavar="NAME | FILE", nargs="?", help="a shipped sweep, or a YAML file of yours")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="settings for all runs; arms.NAME.key=value for one arm; seeds=[...], arms=[...]",
    )
    add_execution(parser)


def act(args: argparse.Namespace) -> int:
    """Run every arm of a study with every seed, or say what that would be."""
    from al_cli.cli import logs, options
    from al_cli.sweep import file

    if args.name is None:
        shipped = ", ".join(file.shipped_names())
        raise ConfigError("al sweep needs the name of a sweep, or a file", remedy=f"shipped: {shipped}")
    options.check_execution(args)
    logs.configure()
    from al_cli.experiment.known import known_from
    from al_cli.sweep import plan, study_file

    study = plan.plan_study(file.read_sweep(args.name, known_from(args.overrides)), args.overrides)
    return options.carry_out(args, study.jobs, source=study.sweep.source, begin=lambda: study_file.write(study))
