"""`al`: the command line. One verb a question; `al run` hands its words to Hydra.

Nothing here imports torch, Hydra or pandas before a verb needs it: `al --help` answers at once.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from al_cli.errors import AlError, ConfigError, suggest

EPILOG = """\
start here:
  al run                          train on the built-in digits: 1 initial and 4 active rounds, a few minutes on 2 cores
  al run --help                   every setting and choice of a run
  al data DIR                     check a YOLO or COCO folder and count what is in it
  al run -m seed=0,1,2 sampler=random,ccms       a study; then: al report outputs/digits
"""
HELP = {"--help", "-h", "--hydra-help", "--version", "--shell-completion", "-sc"}
HYDRA_ONLY = HELP | {"--cfg", "-c", "--info", "-i", "--resolve"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0 done, 2 the user's to mend, 1 ours (with a traceback), 130 stopped."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:1] == ["run"]:
            return run(words[1:])
        if words[:1] in (["-sc"], ["--shell-completion"]):  # the completion script of Hydra calls `al -sc query=...`
            return complete(words)
        return other_verb(words)
    except AlError as error:
        print(f"al: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("al: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `al ls | head`
        sys.stderr.close()
        return 0


def make_parser() -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser of all verbs but `run`, which Hydra parses, and the names of all."""
    parser = argparse.ArgumentParser(
        prog="al",
        description="Active learning for object detection: which images to label next, and does A really beat B?",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    verbs.add_parser("run", help="one run, or a sweep with -m (see: al run --help)", add_help=False)

    sweep = verbs.add_parser(
        "sweep",
        help="a study from a file: every arm with every seed; --dry-run shows what it would train",
        epilog="al sweep thesis_digits seeds=[0,1] arms=[random,diversity] training.iterations=100: overrides are those of "
        "`al run` and go to all runs. The same command continues what was stopped and redoes what failed. sweeps/README.md "
        "describes the files.",
    )
    sweep.add_argument("name", metavar="NAME | FILE", nargs="?", help="a shipped sweep, or a YAML file of yours")
    sweep.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings for all runs; seeds=[...], arms=[...]"
    )
    sweep.add_argument("--dry-run", action="store_true", help="show the runs and what they would cost; write nothing")
    sweep.add_argument("--jobs", type=int, default=1, metavar="N", help="how many runs at once (default 1)")

    replay = verbs.add_parser(
        "replay",
        help="train another detector on the images that a run selected, round by round",
        epilog="al replay outputs/digits/ccms_s0 --model tiny_retinanet training.iterations=300 trains in "
        "outputs/digits_replay/ccms_tiny-retinanet_iterations300_s0. Dataset, seeds and what a round trains on are the run's; "
        "a new model brings the training recipe it is shipped with. An unfinished run is replayed as far as it got.",
    )
    replay.add_argument("run", type=Path, help="a run folder, for example outputs/digits/ccms_s0")
    replay.add_argument("overrides", nargs="*", metavar="key=value", help="settings, as of `al run`")
    replay.add_argument("--model", default=None, help="the same as model=NAME")
    replay.add_argument("--training", default=None, help="the same as training=NAME")

    report = verbs.add_parser("report", help="does A beat B? a page with statistics, tables and figures of a study")
    report.add_argument("study", type=Path, help="a study folder, for example outputs/digits")
    report.add_argument(
        "--target",
        default=None,
        metavar="METRIC=VALUE",
        help="count the labels needed to reach this; percent may be given as a share (default: random's own final value)",
    )
    report.add_argument(
        "--format",
        choices=("html", "md"),
        default="html",
        help="html: writes STUDY/report/; md: prints, writes nothing",
    )

    ls = verbs.add_parser("ls", help="list studies and runs with their state")
    ls.add_argument("outputs", type=Path, nargs="?", default=Path("outputs"))

    show = verbs.add_parser("show", help="draw a run's predictions beside the ground truth")
    show.add_argument("run", type=Path, help="a run folder, for example outputs/digits/ccms_s0")
    show.add_argument("--round", type=int, default=None, help="which round (default: the last)")
    show.add_argument("--checkpoint", type=Path, default=None, help="predict anew with these weights")
    show.add_argument("-n", "--images", type=int, default=12, help="how many evaluation images (default 12)")
    show.add_argument("--threshold", type=float, default=0.3, help="draw boxes that score at least this (default 0.3)")
    show.add_argument("--seed", type=int, default=0, help="which sample of images")
    show.add_argument("--out", type=Path, default=None, help="the png to write (default: in the run's plots folder)")

    data = verbs.add_parser(
        "data",
        help="check a dataset and count what is in it, or write the built-in one",
        epilog="al data DIR checks a folder; al data digits DIR writes the built-in digits there as a YOLO dataset.",
    )
    data.add_argument("where", nargs="+", metavar="DIR | digits DIR")
    data.add_argument("--format", choices=("yolo", "coco"), default=None, help="default: told from the folder")

    store = verbs.add_parser(
        "store",
        help="what earlier runs computed and later ones reuse: its size, and pruning it",
        epilog="Equal trainings, inferences and selections are computed once (outputs/.store, or AL_STORE). Deleting them "
        "is safe: what is missing is computed again when it is needed. A run leaves the store alone with store=false.",
    )
    store.add_argument("what", choices=("ls", "prune"))
    store.add_argument("--keep", metavar="SIZE", help="prune: how much may stay, for example 20GB or 500MB")
    store.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="the folder of the studies (default: outputs)"
    )

    samplers = verbs.add_parser(
        "samplers", help="list the samplers: source, needs, cost, and which detectors feed them"
    )
    samplers.add_argument("--markdown", action="store_true", help="print the page docs/samplers.md (make docs)")

    doctor = verbs.add_parser("doctor", help="check the installation: versions, device, one forward pass of Detectron2")
    doctor.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))

    return parser, list(verbs.choices)


def other_verb(words: list[str]) -> int:
    parser, verbs = make_parser()
    if words and not words[0].startswith("-") and words[0] not in verbs:
        raise AlError(f"there is no verb {words[0]}", remedy=suggest(words[0], verbs))
    if not words:
        parser.print_help()
        return 0
    from al_cli.cli import verbs as actions

    args, rest = parser.parse_known_args(words)
    if args.verb in ("sweep", "replay") and not any(word.startswith("-") for word in rest):
        args.overrides += rest  # argparse leaves out the overrides behind an option
        configure_logging()
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return int(getattr(actions, args.verb)(args) or 0)


def complete(words: list[str]) -> int:
    """Hydra's completion looks at the whole line; it must not see our verb."""
    line = os.environ.get("COMP_LINE", "")
    head, _, rest = line.partition(" ")
    if words[-1].startswith("query") and not rest.startswith("run "):
        print(*make_parser()[1])
        return 0
    os.environ["COMP_LINE"] = f"{head} {rest.removeprefix('run ')}"
    return hydra_main(words, lambda config: None)


def run(words: list[str]) -> int:
    """Check every run that the words ask for, then let Hydra start them."""
    from al_cli.experiment import compose

    words = compose.open_keys(words)
    if any(word.split("=")[0] in HYDRA_ONLY for word in words):
        compose.register_resolvers()
        if not HELP & set(words):  # a typo gets our sentence here too
            compose.compose_all([word for word in words if "=" in word and not word.startswith("-")], multirun=False)
        return hydra_main(words, lambda config: None)
    multirun = any(word in ("-m", "--multirun") for word in words)
    flags = [word for word in words if word.startswith("-")]
    if unknown := [flag for flag in flags if flag not in ("-m", "--multirun")]:
        remedy = "settings are written key=value; `al run --help` lists them"
        raise ConfigError(f"al run does not know {unknown[0]}", remedy=remedy)
    configs = compose.compose_all([word for word in words if word not in flags], multirun)
    from al_cli.experiment import settings

    folders: dict[str, int] = {}
    for number, config in enumerate(configs):
        try:
            settings.check(config)
        except AlError as error:
            if len(configs) == 1:
                raise
            what = f"run {number + 1} of {len(configs)}: {error.what}"
            raise type(error)(what, where=error.where, remedy=error.remedy) from error
        folder = str(config.hydra.run.dir)
        if folder in folders:
            what = f"runs {folders[folder]} and {number + 1} of the sweep would share the folder {folder}"
            raise ConfigError(what, remedy="leave out the repeated value")
        folders[folder] = number + 1

    from al_cli.sweep.outcomes import Runner

    configure_logging()
    runner = Runner(many=len(configs) > 1)
    hydra_main([*flags, *(word for word in words if word not in flags)], runner)  # argparse wants overrides in one row
    return runner.finish()


def configure_logging() -> None:
    """Log lines on standard error: above the live progress on a terminal, plain with the time elsewhere."""
    from rich.logging import RichHandler

    from al_cli.progress import console

    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, show_level=False, log_time_format="[%X]")
        handler.addFilter(lambda record: record.name != "al.round")
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("[%(asctime)s] %(message)s", "%H:%M:%S"))
    handler.addFilter(shown)
    logging.getLogger().handlers = [handler]
    logging.getLogger("al").setLevel(logging.INFO)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.ERROR)


def shown(record: logging.LogRecord) -> bool:
    """Our own lines and others' warnings; tracebacks are for the log file."""
    ours = record.name.split(".")[0] == "al"
    return (ours or record.levelno >= logging.WARNING) and record.name != "al.traceback"


def hydra_main(words: list[str], task) -> int:
    """Call Hydra as if the program were `al` with these words."""
    import hydra

    from al_cli.experiment.compose import CONFIG_NAME, shipped

    before, sys.argv = sys.argv, [sys.argv[0], *words]
    try:
        hydra.main(version_base="1.3", config_path=str(shipped("conf").resolve()), config_name=CONFIG_NAME)(task)()
    finally:
        sys.argv = before
    return 0


if __name__ == "__main__":
    sys.exit(main())
