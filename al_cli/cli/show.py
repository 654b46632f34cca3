"""al show: a run's predictions drawn next to the ground truth, what a round picked, or a map of its pool."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from al_cli.errors import RunError

if TYPE_CHECKING:
    from al_cli.experiment.shown import Weights
    from al_cli.records import RunFolder
    from al_cli.types import Dataset, RoundRecord

HELP = "draw a run's predictions next to the ground truth, what a round picked, or a map of its pool"
EPILOG = """\
Where a label is a class of the image, blue frames are right predictions and orange ones are wrong.

al show RUN --picks [--round N] [-n 100]: the first 24 (or 100) images that a round picked, best first, with their labels.

al show RUN --map [--round N]: t-SNE of what the weights saw in the images of the pool, with those that round N picked
ringed. The picks of a round were made with the weights of the round before, so the run must have kept these:
training.keep_checkpoints=all. --checkpoint FILE maps with other weights.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run folder, for example outputs/digits/ccms_s0")
    parser.add_argument("overrides", nargs="*", metavar="dataset.root=DIR", help="where the data lies now")
    parser.add_argument("--round", type=int, default=None, help="which round (default: the last)")
    parser.add_argument("--checkpoint", type=Path, default=None, help="predict with these weights instead")
    parser.add_argument("--map", action="store_true", help="map the pool and mark what the round picked")
    parser.add_argument("--picks", action="store_true", help="draw what the round picked, with its labels")
    parser.add_argument(
        "-n", "--images", type=int, default=None, help="how many evaluation images (default 12), or picks (24)"
    )
    parser.add_argument(
        "--threshold", type=float, default=None, help="draw boxes that score at least this (default 0.3)"
    )
    parser.add_argument("--seed", type=int, default=0, help="which sample of images; the layout of a map")
    parser.add_argument("--out", type=Path, default=None, help="the png to write (default: in the run's plots folder)")


def act(args: argparse.Namespace) -> None:
    from al_cli.datasets.held_out import scored_split
    from al_cli.experiment import build
    from al_cli.experiment.known import recorded_config
    from al_cli.experiment.moved import Moved
    from al_cli.experiment.shown import Weights
    from al_cli.progress import say
    from al_cli.records import RunFolder
    from al_cli.report.of_run.show import show_run

    folder, config = RunFolder(args.run), recorded_config(args.run)
    config["dataset"] = Moved(args.overrides, "show").now(config["dataset"])
    splits = build.load_dataset(config["dataset"])
    if args.picks:
        say(f"wrote {draw_picks(args, folder, splits.train)}")
        return
    names = splits.train.class_names
    weights = Weights(folder, config, names) if args.map or args.checkpoint is not None else None
    if args.map and weights is not None:
        say(f"wrote {draw_map(args, folder, weights, splits.train)}")
        return
    scored = scored_split(splits, config["evaluate"])
    predictions = weights.load(args.checkpoint).infer(scored) if weights is not None else None
    records = folder.records()
    round = args.round if args.round is not None else (records[-1].round if records else 0)
    path = show_run(
        args.run,
        round,
        scored,
        n=12 if args.images is None else args.images,
        threshold=args.threshold,
        seed=args.seed,
        out=args.out,
        predictions=predictions,
    )
    say(f"wrote {path}")


def finished(folder: "RunFolder") -> "list[RoundRecord]":
    """The records of a run that has some. RunError for one that has none."""
    if not (records := folder.records()):
        raise RunError("no round is finished yet", where=str(folder.path))
    return records


def draw_picks(args: argparse.Namespace, folder: "RunFolder", pool: "Dataset") -> Path:
    """The images that one round picked, in its order; returns the sheet's path. RunError for other words."""
    from al_cli.records import round_name
    from al_cli.report.drawing.sheets import MAX_IMAGES, contact_sheet, save_sheet
    from al_cli.report.of_run.show import png_path, require_images

    words = {"--map": args.map or None, "--threshold": args.threshold, "--checkpoint": args.checkpoint}
    for word, value in words.items():
        if value is not None:
            raise RunError(f"{word} would do nothing: picks have labels", where="--picks", remedy="leave it out")
    limit = MAX_IMAGES if args.images is None else args.images
    require_images(limit)
    records = finished(folder)
    record = folder.record(records[-1].round if args.round is None else args.round)
    if not record.picked:
        raise RunError(f"round {record.round} picked no image", where=str(args.run))
    path = png_path(args.run, args.out, f"picks_{round_name(record.round)}.png")
    return save_sheet(contact_sheet(record, pool, limit, folder.task().label), path)


def draw_map(args: argparse.Namespace, folder: "RunFolder", weights: "Weights", pool: "Dataset") -> Path:
    """The map of the pool at one round; returns its path. RunError for words that say nothing about a map."""
    from al_cli.experiment.shown import features
    from al_cli.records import round_name
    from al_cli.report.of_run.pool_map import layout, map_caption, plot_map, sampled
    from al_cli.report.of_run.show import png_path

    for word, value in (("--threshold", args.threshold), ("-n", args.images)):
        if value is not None:
            raise RunError(f"{word} would do nothing: a map shows the pool", where="--map", remedy="leave it out")
    records = finished(folder)
    number = args.round
    if number is None:
        number = records[-1].round if args.checkpoint is not None else weights.last_mapped(records)
    record = folder.record(number)
    path = png_path(args.run, args.out, f"map_{round_name(number)}.png")
    learner = weights.that_picked(record) if args.checkpoint is None else weights.load(args.checkpoint)
    shown = pool.select(sampled(pool.ids, record.picked, args.seed))
    points = layout(features(learner, shown), args.seed)
    before = "the starting weights" if not number else f"weights of round {number - 1}"
    source = f"t-SNE, {before if args.checkpoint is None else f'weights of {args.checkpoint.name}'}"
    title = map_caption(record, len(shown), len(pool), source)
    return plot_map(points, shown, record, title, path, by_class=folder.task().label == "image")
