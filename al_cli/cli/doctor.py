"""al doctor: can runs work here? Installation, locks, store, data, memory, disk, and whether equal trainings are equal."""

import argparse

from al_cli.errors import AlError

HELP = "check installation and machine: one training step, memory, disk, locks, determinism"
EPILOG = """\
examples:
  al doctor                                             for the run that `al run` would make
  al doctor model=faster_rcnn_R50_FPN_3x dataset=yolo dataset.root=my_data     for a run of yours, before it starts

Takes the words of `al run`. Exit code 1 where something is broken; each has its remedy.
"""
REINSTALL = "in a checkout, `make clean setup`; elsewhere, install Detectron2 as the README's section Install says"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="the settings of a run, as in `al run`")


def act(args: argparse.Namespace) -> int:
    """0 where all is well; 1, with the remedies, where something is broken."""
    from al_cli.experiment.environment import environment
    from al_cli.experiment.health import Condition, check_installation, check_machine
    from al_cli.experiment.job import jobs_of
    from al_cli.learners.identity import cpu_model, vector_units
    from al_cli.learners.portable import require_caps
    from al_cli.progress import say

    [job] = jobs_of(args.overrides)
    require_caps(job.config)
    device = job.config["device"]
    known = environment(device, {"cpu": cpu_model(), "vectors": vector_units()})
    system = {"python": known["python"], "platform": known["platform"], **known["kernels"]}
    for name, value in {**system, **known["versions"]}.items():
        say(f"{name:<18} {value}")
    broken = 0

    def show(finding: Condition) -> None:
        nonlocal broken
        broken += bool(finding.remedy)
        say(f"{finding.name:<18} {'broken: ' if finding.remedy else ''}{finding.text}")
        if finding.remedy:
            say(f"{'':<18} remedy: {finding.remedy}")

    for finding in check_machine(job):
        show(finding)
    try:
        for finding in check_installation(job):
            show(finding)
    except AlError as error:
        show(Condition("installation", error.what, error.remedy or REINSTALL))
    except Exception as error:  # whatever is broken here, the user needs the remedy rather than our traceback
        show(Condition("installation", f"{type(error).__name__}: {error}", REINSTALL))
    say(f"{broken} {'thing is' if broken == 1 else 'things are'} broken" if broken else "all is well")
    return 1 if broken else 0
