"""al run: one active-learning experiment, or with -m a study of every combination of the values that its words name."""

import argparse

HELP = "one run, or a study of several with -m (al run --help lists every setting)"
EPILOG = """\
examples:
  al run                                                  ccms on the built-in digits, 1 + 4 rounds
  al run sampler=entropy seed=1                           another sampler, another seed
  al run sampler=ccms 'ud_split=[1,0.75,0.5,0.25]'        how uncertainty and diversity share each round
  al run dataset=yolo dataset.root=my_data model=faster_rcnn_R50_FPN_3x training.iterations=3000
  al run -m sampler=random,ccms seed=0,1,2 --jobs 2       a study: six runs in one folder, two at a time
  al run -m sampler=random,ccms seed=0,1,2 --dry-run      what that would train, and how long it takes
  al run initial=40 budget=40 rounds=6                    with counts, rounds=6 continues what rounds=4 began

The same command continues a run that was stopped and skips one that is done.
Quote values with brackets: most shells read [...] as a pattern.
Hydra's own: --cfg job prints the settings of a run, -sc install=bash installs completion.
"""
HYDRA = {"--cfg", "-c", "--info", "-i", "--resolve", "--hydra-help", "--version", "--shell-completion", "-sc"}
PRINTING = {"--cfg", "-c", "--info", "-i", "--resolve"}  # what prints a run's settings, so these must be right
HELP_WORDS = {"--help", "-h"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from al_cli.cli.options import add_execution

    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings; `al run --help` lists them all")
    parser.add_argument("-m", "--multirun", action="store_true", help="a run for every combination of seed=0,1 ...")
    add_execution(parser)


def answered(words: list[str]) -> int | None:
    """Answer what is no run: --help, and what Hydra can say. None where the words ask for runs."""
    said = {word.split("=")[0] for word in words}
    if said & HELP_WORDS:
        from al_cli.cli import settings_help

        text = f"{settings_help.help_text()}\n{EPILOG}"
        raw = argparse.RawDescriptionHelpFormatter
        parser = argparse.ArgumentParser("al run", description=__doc__, epilog=text, formatter_class=raw)
        add_arguments(parser)
        parser.print_help()
        return 0
    if said & HYDRA:
        from al_cli.cli.completion import ask_hydra
        from al_cli.experiment import compose
        from al_cli.experiment.words import open_keys

        if not said & PRINTING:
            return ask_hydra(words)
        options = [word for word in words if word.startswith("-") or "=" not in word]
        [settings] = compose.split_runs(open_keys(word for word in words if word not in options), many=False)
        compose.compose_all([settings])  # a typo gets our sentence here too
        return ask_hydra([*options, *settings])
    return None


def act(args: argparse.Namespace) -> int:
    from al_cli.cli import logs, options
    from al_cli.experiment.job import jobs_of

    jobs = jobs_of(args.overrides, many=args.multirun)
    options.check_execution(args)
    logs.configure()
    return options.carry_out(args, jobs)
