"""al data: check a dataset and count what is in it, or write the built-in one."""

import argparse
from pathlib import Path

from al_cli.errors import AlError, DatasetError

HELP = "check a dataset and count what is in it, or write the built-in one"
EPILOG = """\
al data DIR          checks a folder
al data digits DIR   writes the built-in digits there as a YOLO dataset
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "al data [--format yolo|coco] DIR\n       al data digits DIR"
    parser.add_argument("where", nargs="+", metavar="DIR", help="the folder")
    parser.add_argument("--format", choices=("yolo", "coco"), default=None, help="default: what the folder looks like")


def act(args: argparse.Namespace) -> None:
    where = args.where
    if where[0] == "digits" and len(where) == 2:
        write_builtin(Path(where[1]))
    elif len(where) == 1:
        check_folder(Path(where[0]).expanduser(), args.format)
    else:
        raise AlError(f"al data takes one folder, or `digits` and a folder, not {where}", remedy="see al data --help")


def write_builtin(folder: Path) -> None:
    from al_cli.datasets import digits
    from al_cli.progress import say

    if folder.exists() and any(folder.iterdir()):
        raise DatasetError("the folder is not empty", where=str(folder), remedy="name a new one")
    say(f"wrote {digits.write_digits(folder)}: use it with dataset=yolo dataset.root={folder}")


def check_folder(root: Path, format: str | None) -> None:
    """Read every label and the header of every image, and print a row of counts for each split."""
    from rich.table import Table

    from al_cli.datasets import load_coco, load_yolo
    from al_cli.datasets.checks import count_splits
    from al_cli.progress import out, say

    if not root.exists():
        raise DatasetError("there is no such folder", where=str(root), remedy="give the folder that holds the dataset")
    if format is None:
        format = "yolo" if root.suffix in {".yaml", ".yml"} or any(root.glob("*.y*ml")) else "coco"
    splits = load_yolo(root) if format == "yolo" else load_coco(root)
    rows = count_splits(splits)
    table = Table(title=f"{splits.name} ({format}), {len(splits.train.class_names)} classes: no problems found")
    for column in rows[0]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    out.print(table)
    say(f"use it with: al run dataset={format} dataset.root={root}")
