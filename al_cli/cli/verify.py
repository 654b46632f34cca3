"""al verify: whether runs on disk are what they say."""

import argparse
from pathlib import Path

from al_cli.errors import RunError

HELP = "check that a run, or a study's runs, are what was written: hashes, tables, metrics"
EPILOG = """\
Checks the hashes of all files, evaluates the stored predictions again on the data, and makes every table again.
Prints a line for each thing that does not match. Exit code 0: all matches; 1: something does not.

examples:
  al verify outputs/digits/ccms_s0
  al verify outputs/digits
  al verify outputs/digits dataset.root=/mnt/digits       the data has moved
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="a run or study folder, for example outputs/digits")
    parser.add_argument("overrides", nargs="*", metavar="dataset.root=DIR", help="where the data lies now")


def act(args: argparse.Namespace) -> int:
    from al_cli.experiment.moved import Moved
    from al_cli.progress import count, say
    from al_cli.records.verify import verify

    found = verify(args.folder, Moved(args.overrides, "verify").load)
    if not found.runs:
        raise RunError("there is no run here", where=str(args.folder), remedy="give the folder of a run or of a study")
    for line in (*found.mismatches, *(f"not checked: {line}" for line in found.unchecked)):
        say(line)
    counts = ", ".join((count(found.runs, "run"), count(found.rounds, "round"), count(found.files, "file")))
    counts += f"; predictions of {count(found.evaluated, 'round')} evaluated again"
    bad = len(found.mismatches)
    say(f"{bad} {'does' if bad == 1 else 'do'} not match: {counts}" if bad else f"all matches: {counts}")
    return 1 if bad else 0
