"""al doctor: versions, device, and whether Detectron2 really works."""

import argparse

HELP = "check the installation: versions, device, one forward pass of Detectron2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))


def act(args: argparse.Namespace) -> int:
    """0 where all is well; 1, with the remedy, where it is not."""
    from al_cli.experiment.environment import environment
    from al_cli.learners.identity import cpu_model, vector_units
    from al_cli.progress import say

    known = environment(args.device, {"cpu": cpu_model(), "vectors": vector_units()})
    system = {"python": known["python"], "platform": known["platform"], **known["kernels"]}
    for name, value in {**system, **known["versions"]}.items():
        say(f"{name:<18} {value}")
    try:
        from al_cli.learners.detectron.doctor import examine

        for name, value in examine(args.device).items():
            say(f"{name:<18} {value}")
    except Exception as error:  # whatever is broken here, the user needs the remedy rather than our traceback
        say("broken:", style="red")
        say(f"{type(error).__name__}: {error}")
        say(
            "remedy: in a checkout, `make clean setup`; elsewhere, install Detectron2 as the README's section Install says"
        )
        return 1
    say("all is well")
    return 0
