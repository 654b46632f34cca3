"""al data: check a dataset, count what is in it and what is odd about it, or write the built-in one."""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from al_cli.errors import AlError, DatasetError

if TYPE_CHECKING:
    from al_cli.datasets.summary import Summary

HELP = "check a dataset, count what is in it and what is odd, or write the built-in one"
EPILOG = """\
al data DIR                          checks a folder
al data DIR --deep                   decodes every image too, and looks for near-duplicates
al data DIR --problems found.csv     writes every problem (or, where there is none, all that is odd) to a file
al data DIR dataset.train.images=train dataset.train.annotations=train.json dataset.test=20%
                                     names the files of a COCO set, and holds out a share
al data pets dataset.test=20%        a folder for each class, of which a share is held out
al data pets dataset.val=20% dataset.test=none evaluate=val      where rounds are scored on val
al data cifar-10-python.tar.gz       a published set, from the files that it is downloaded as
al data dataset=yolo dataset.root=DIR              the same words as al run
al data digits DIR                   writes the built-in digits there as a YOLO dataset

--json prints one object:
  name, format, classes [names], words [what al run takes], deep (whether images were decoded)
  splits  [{split, images, "no label file" (YOLO), negatives, boxes, small, medium, large, "by class" {name: boxes}}], or
          [{split, images, "classes with images", "by class" {name: images}}] where each image has one class
  odd     [{split or null, kind, count, examples (at most ten), so: what follows, or null}]
Of a dataset that cannot be read: {error, problems [{what, where, remedy}]}, and exit code 2.
"""
WELL_KNOWN_FORMATS = ("cifar10", "cifar100", "svhn", "mnist", "imagenet_v2", "imagenet_mixed", "droughtwatch")
FORMATS = ("yolo", "coco", "folder", "csv", *WELL_KNOWN_FORMATS, "deepweeds", "cassava")
SETTING = re.compile(r"[+~]*[\w./@]+=")
SPLIT_OF_COCO = re.compile(r"dataset\.(train|val|test)(=\{|\.)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "al data [--deep] [--json] [--problems FILE] [DIR] [dataset.KEY=VALUE ...]\n       al data digits DIR"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="DIR or key=value", help="the folder, and settings of a dataset"
    )
    parser.add_argument("--format", choices=FORMATS, default=None, help="default: what the folder looks like")
    parser.add_argument("--deep", action="store_true", help="decode every image, look for near-duplicates")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--problems", metavar="FILE", default=None, help="write all problems to FILE: csv, where and what"
    )


def act(args: argparse.Namespace) -> None:
    words = args.overrides
    if words[:1] == ["digits"] and len(words) == 2 and not SETTING.match(words[1]):
        write_builtin(Path(words[1]))
    else:
        check_dataset(words_of(words, args.format), args)


def write_builtin(folder: Path) -> None:
    from al_cli.datasets import digits
    from al_cli.pasted import command
    from al_cli.progress import say

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DatasetError("is no empty folder", where=str(folder), remedy="name a new one")
    say(f"wrote {digits.write_digits(folder)}: use it with: {command('al', 'run', *words_of([str(folder)], 'yolo'))}")


def words_of(typed: list[str], format: str | None) -> list[str]:
    """The words that `al run` takes for this dataset: a folder among them becomes dataset=... dataset.root=..."""
    from al_cli.datasets.exports import explain_path
    from al_cli.datasets.guess import guess_format
    from al_cli.experiment.names import check_path
    from al_cli.pasted import as_text

    folders = [word for word in typed if not SETTING.match(word) or Path(word).exists()]
    settings = [word for word in typed if word not in folders]
    for word in settings:
        if not re.match(r"[+]*(dataset[.=]|evaluate=|hydra\.searchpath=)", word):
            remedy = "leave it out; al run takes all settings"
            raise AlError(f"al data takes settings of the dataset, and {word} is none", remedy=remedy)
    if len(folders) > 1 or not typed:
        remedy = "see al data --help"
        raise AlError(
            f"al data takes one folder, or settings of a dataset, not {' '.join(typed) or 'nothing'}", remedy=remedy
        )
    said = next((word for word in settings if word.startswith("dataset=")), None)
    if format and said not in (None, f"dataset={format}"):
        raise AlError(f"--format {format} and {said} contradict each other", remedy="leave out --format")
    if not folders:
        return settings if said or not format else [f"dataset={format}", *settings]
    root = Path(check_path(folders[0], "DIR")).expanduser()
    if not root.exists():
        raise explain_path(root)
    if not said:
        coco = any(SPLIT_OF_COCO.match(word) for word in settings)
        settings = [f"dataset={format or ('coco' if coco else guess_format(root))}", *settings]
    return [settings[0], f"dataset.root={as_text(folders[0])}", *settings[1:]]


def check_dataset(words: list[str], args: argparse.Namespace) -> None:
    """Read the dataset that these words name, as `al run` does, and print what is in it."""
    from al_cli.datasets.notes import Notes
    from al_cli.datasets.summary import summary_of
    from al_cli.experiment.build import dataset_root, load_dataset
    from al_cli.experiment.dataset_settings import labels_of
    from al_cli.experiment.job import jobs_of

    [job] = jobs_of(words)
    dataset = job.config["dataset"]
    root, notes = dataset_root(dataset), Notes()
    try:
        splits = load_dataset(dataset, notes)
        summary = summary_of(splits, notes, root, dataset["format"], args.deep, labels_of(dataset))
    except DatasetError as error:
        pass_on(error, args)
        raise
    if args.problems:
        write_rows(Path(args.problems), [(p, one.kind) for one in summary.odd for p in one.places()])
    if args.json:
        print_json(summary.as_json(words))
    else:
        show_summary(summary, words, args.problems)


def pass_on(error: DatasetError, args: argparse.Namespace) -> None:
    """Write and print all problems where that was asked for, before the error goes its way."""
    problems = error.problems or ((error.what, error.where, error.remedy),)
    if args.json:
        rows = [{"what": what, "where": where, "remedy": remedy or None} for what, where, remedy in problems]
        print_json({"error": str(error), "problems": rows})
    if args.problems:
        write_rows(Path(args.problems), [(where, what) for what, where, _ in problems])
        what, remedy = f"{len(problems)} problems, all in {args.problems}", error.remedy
        if len(problems) == 1:
            what, remedy = error.what, f"{error.remedy} (1 problem, written to {args.problems})"
        raise DatasetError(what, where=error.where, remedy=remedy) from error


def write_rows(file: Path, rows: list[tuple[str, str]]) -> None:
    """A csv with the columns where and what."""
    try:
        with file.open("w", newline="", encoding="utf-8", errors="backslashreplace") as opened:
            csv.writer(opened).writerows([("where", "what"), *rows])
    except OSError as error:
        raise AlError(f"cannot be written: {error.strerror}", where=str(file), remedy="name another file") from error


def print_json(values: dict[str, Any]) -> None:
    print(json.dumps(values, indent=1), file=sys.stdout)


def show_summary(summary: Summary, words: list[str], problems: str | None) -> None:
    """A row of counts for each split, a line for each oddity, and the words for `al run`."""
    from rich.table import Table
    from rich.text import Text

    from al_cli.datasets.summary import NOT_DEEP
    from al_cli.pasted import command
    from al_cli.progress import out, say

    count = len(summary.splits.train.class_names)
    classes = "1 class" if count == 1 else f"{count} classes"
    title = f"{summary.splits.name} ({summary.format}), {classes}: no problems found"
    table = Table(title=Text(title))
    for column in summary.rows[0]:
        table.add_column(column, overflow="fold")
    for row in summary.rows:
        table.add_row(*(Text(str(value)) for value in row.values()))
    out.print(table)
    if summary.odd:
        say("worth a look:")
    for oddity in summary.odd:
        say(f"  {oddity.line()}")
    if not summary.deep:
        say(NOT_DEEP)
    if problems:
        say(f"wrote {problems}: every place")
    say(f"use it with: {command('al', 'run', *words)}")
