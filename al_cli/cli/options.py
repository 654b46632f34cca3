"""What every verb that trains takes: how many runs at once, on which GPUs, or only what it would do; and what then happens."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from al_cli.errors import ConfigError

if TYPE_CHECKING:
    from al_cli.experiment.job import Job


def add_execution(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="how many runs at once (default 1)")
    parser.add_argument(
        "--gpus", metavar="0-7", help="which GPUs (default: all visible ones); runs side by side see one each"
    )
    parser.add_argument("--dry-run", action="store_true", help="show the runs and what they would cost; write nothing")


def check_execution(args: argparse.Namespace) -> None:
    """ConfigError for options that cannot work."""
    from al_cli.sweep import gpus

    if args.jobs < 1:
        raise ConfigError(f"--jobs is {args.jobs}", remedy="give how many runs may go on at once, at least 1")
    if args.gpus is not None:
        gpus.chosen(args.gpus)


def carry_out(
    args: argparse.Namespace, jobs: Sequence[Job], *, source: str = "", begin: Callable[[], object] | None = None
) -> int:
    """Run the jobs and say at the end what became of them, or show what that would be. Returns the exit code.

    `begin` writes what belongs to the study, once the data of its runs was read and before the first of them starts.
    """
    from al_cli.sweep import execute, outcomes, preview

    if args.dry_run:
        preview.show(jobs, args.jobs, source)
        return 0
    return outcomes.finish(execute.execute(jobs, args.jobs, args.gpus, begin))
