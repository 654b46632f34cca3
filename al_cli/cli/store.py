"""al store: what earlier runs computed and later ones reuse."""

import argparse
from pathlib import Path

from al_cli.errors import AlError

HELP = "what earlier runs computed and later ones reuse: its size, and pruning it"
EPILOG = """\
Equal trainings, inferences and selections are computed once (outputs/.store, or AL_STORE). Deleting them is safe: what is
missing is computed again when it is needed. A run leaves the store alone with store=false.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("ls", "prune"))
    parser.add_argument("--keep", metavar="SIZE", help="prune: how much may stay, for example 20GB or 500MB")
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="the folder of the studies (default: outputs)"
    )


def act(args: argparse.Namespace) -> None:
    from rich.table import Table

    from al_cli.experiment.build import store_path
    from al_cli.progress import out, say
    from al_cli.store.disk import Store, parse_size, sizes

    kept = Store(store_path({"outputs": args.outputs}))
    if args.what == "prune":
        if args.keep is None:
            raise AlError("prune needs to know how much may stay", remedy="for example: al store prune --keep 20GB")
        count, freed = kept.prune(parse_size(args.keep))
        say(f"removed {count} results, {sizes(freed)}, from {kept.root}")
        return
    kept.require_format()  # else it would look empty
    rows = kept.summary()
    if not rows:
        say(f"the store {kept.root} is empty: `al run` fills it")
        return
    table = Table(title=f"the store {kept.root}")
    for column in ("what", "model", "results", "size", "took to compute", "last used"):
        table.add_column(column, justify="right" if column in ("results", "size", "took to compute") else "left")
    for row in rows:
        table.add_row(*row)
    out.print(table)
    total = sizes(sum(entry.size for entry in kept.entries()))
    say(f"{total} in all. `al store prune --keep 20GB` removes what was used longest ago.")
