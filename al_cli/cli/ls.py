"""al ls: the studies and runs under a folder, with their state."""

import argparse
from pathlib import Path

HELP = "list studies and runs with their state"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("outputs", type=Path, nargs="?", default=Path("outputs"))


def act(args: argparse.Namespace) -> None:
    from rich.table import Table
    from rich.text import Text

    from al_cli.progress import out, say
    from al_cli.records import find_runs

    runs = find_runs(args.outputs)
    if not runs:
        say(f"no runs under {args.outputs}; `al run` makes the first")
        return
    metrics = {run.task.primary.name for run in runs if run.task}
    several = len(metrics) > 1  # runs of several tasks: each value says what it is
    best = "best" if several else f"best {next(iter(metrics), '')}".strip()
    table = Table()
    for column in ("study", "run", "state", "rounds", best):
        table.add_column(column, justify="right" if column in ("rounds", best) else "left", overflow="fold")
    for run in runs:
        value = run.task.primary.text(run.best) if run.task else ""
        if run.task and value and several:
            value = f"{run.task.primary.name} {value}"
        state = f"{run.state}: {run.error}" if run.error and run.state == "failed" else run.state
        table.add_row(run.path.parent.name, run.path.name, Text(state), f"{run.rounds_done}/{run.rounds_total}", value)
    out.print(table)
