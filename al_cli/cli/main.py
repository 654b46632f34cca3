"""`al`: the command line. Each verb is a file here with its parser, its examples and its action; this one dispatches.

Nothing here imports torch, Hydra, rich or pandas before a verb needs it: `al --help` answers at once.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from al_cli import masked
from al_cli.errors import OF_SYSTEM, AlError, RestartNeeded, of_system, suggest

EPILOG = """\
start here:
  al run                          train on the built-in digits: 1 initial and 4 active rounds, a few minutes on 2 cores
  al run dataset=digits_images    the same digits, each an image with a class: under a minute
  al run --help                   every setting and choice of a run
  al data DIR                     check a folder of boxes or of classes and count what is in it
  al run -m seed=0,1,2 sampler=random,ccms       a study; then: al report outputs/digits
"""
VERBS = ("run", "sweep", "replay", "report", "ls", "show", "verify", "data", "store", "samplers", "doctor")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb. The exit code: 0 done, 2 the user's to correct, 1 ours (with a traceback), 130 stopped by Ctrl-C,
    143 by SIGTERM."""
    words = list(sys.argv[1:] if argv is None else argv)
    before, sys.argv = sys.argv, [sys.argv[0], *words]  # what records keep as the command, in processes of a study too
    masked.begin(words)
    try:
        return dispatch(words)
    except RestartNeeded as needed:
        if argv is None:  # the same process, from its beginning
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | needed.variables)
        print(f"al: {needed}", file=sys.stderr)
        return 2
    except AlError as error:
        return exit_with(error)
    except KeyboardInterrupt as stop:
        print("al: stopped", file=sys.stderr)
        return getattr(stop, "exit_code", 130)
    except BrokenPipeError:  # `al ls | head`
        sys.stderr.close()
        return 0
    except OF_SYSTEM as error:
        return exit_with(of_system(error))
    finally:
        sys.argv = before


def exit_with(error: AlError) -> int:
    """Say on standard error what is the user's to correct."""
    from al_cli.progress import spelled_out

    print(f"al: {spelled_out(masked.hide(str(error)))}", file=sys.stderr)
    return 2


def dispatch(words: list[str]) -> int:
    if words[:1] in (["-sc"], ["--shell-completion"]):  # the completion script of Hydra calls `al -sc query=...`
        from al_cli.cli import completion

        return completion.complete(words, VERBS)
    if words and words[0] not in VERBS and not words[0].startswith("-"):
        raise AlError(f"there is no verb {words[0]}", remedy=suggest(words[0], VERBS))
    if words[:1] == ["run"]:  # its settings are Hydra's to explain, and some of its options Hydra's to answer
        from al_cli.cli import run

        if (code := run.answered(words[1:])) is not None:
            return code
    parser = make_parser()
    if not words:
        parser.print_help()
        return 0
    args, rest = parser.parse_known_args(words)
    action = verb(args.verb)
    if rest and hasattr(args, "overrides"):  # argparse leaves out the overrides behind an option
        if options := [word for word in rest if word.startswith("-")]:
            remedy = f"settings are written key=value; `al {args.verb} --help` lists what it takes"
            raise AlError(f"al {args.verb} does not know {options[0]}", remedy=remedy)
        args.overrides += rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return int(action.act(args) or 0)


def verb(name: str) -> ModuleType:
    """The file of a verb: HELP is its line in `al --help`, `add_arguments(parser)` and `act(args)` do the rest."""
    return importlib.import_module(f"al_cli.cli.{name}")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="al",
        description="Active learning for object detection and image classification: which images to label next, and does "
        "A really beat B?",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", required=True)
    for name in VERBS:
        module = verb(name)
        raw = argparse.RawDescriptionHelpFormatter
        one = verbs.add_parser(name, help=module.HELP, epilog=getattr(module, "EPILOG", None), formatter_class=raw)
        module.add_arguments(one)
    return parser


if __name__ == "__main__":
    sys.exit(main())
