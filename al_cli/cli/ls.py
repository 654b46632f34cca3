"""al ls: the studies and runs under a folder, with their state."""

import argparse
from pathlib import Path

HELP = "list studies and runs with their state"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("outputs", type=Path, nargs="?", default=Path("outputs"))


def act(args: argparse.Namespace) -> None:
    from rich.table import Table

    from al_cli.progress import out, say
    from al_cli.records import find_runs

    runs = find_runs(args.outputs)
    if not runs:
        say(f"no runs under {args.outputs}; `al run` makes the first")
        return
    table = Table()
    for column in ("study", "run", "state", "rounds", "best AP"):
        table.add_column(column, justify="right" if column in ("rounds", "best AP") else "left", overflow="fold")
    for run in runs:
        best = "" if run.best_ap is None else f"{run.best_ap:.2f}"
        table.add_row(run.path.parent.name, run.path.name, run.state, f"{run.rounds_done}/{run.rounds_total}", best)
    out.print(table)
