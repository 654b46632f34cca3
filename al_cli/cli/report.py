"""al report: does A beat B? A page with statistics, tables and figures of a study."""

import argparse
from pathlib import Path

HELP = "does A beat B? a page with statistics, tables and figures of a study"
EPILOG = """\
al report outputs/digits --metric METRIC: every curve, area and test in that metric, such as the one that a paper reports.
The study's task.json has the names, and a wrong one is answered with all of them.

Files next to the page, in STUDY/report/: each table as csv, md and LaTeX, each figure as png and svg. runs.csv has a row
for each run and round (study, run, arm, seed, state, round, costs, all metrics), for other programs;
pairs.csv has every pair of arms.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", type=Path, help="a study folder, for example outputs/digits")
    parser.add_argument(
        "overrides", nargs="*", metavar="dataset.root=DIR", help="where the data lies now, for pictures"
    )
    parser.add_argument(
        "--target",
        metavar="METRIC=VALUE",
        help="count the labels needed to reach this; percent may be given as a share (default: random's own final value)",
    )
    parser.add_argument(
        "--metric",
        metavar="METRIC",
        help="compare everything in this metric (default: that of the study's claim, or the first of its task)",
    )
    parser.add_argument(
        "--format",
        choices=("html", "md"),
        default="html",
        help="html: writes STUDY/report/; md: prints, writes nothing",
    )
    parser.add_argument(
        "--section",
        metavar="NAME",
        help="of --format md: one section alone, for example answer (a wrong name lists all)",
    )


def act(args: argparse.Namespace) -> None:
    from al_cli.errors import ConfigError
    from al_cli.experiment.moved import Moved
    from al_cli.progress import say
    from al_cli.report import write

    load = Moved(args.overrides, "report").load
    if args.format == "md":
        say(write.report_text(args.study, target=args.target, metric=args.metric, section=args.section))
        return
    if args.section:
        raise ConfigError(
            "a section is printed, not written", where=f"--section {args.section}", remedy="add --format md"
        )
    written = write.report(args.study, target=args.target, metric=args.metric, dataset=load)
    say(written.opening)
    say(f"wrote {written.page}, and {len(written.files)} tables and figures next to it")
