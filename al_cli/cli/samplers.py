"""al samplers: the samplers, with their source, needs and cost, and which models provide what they need."""

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from al_cli.types import Signal

HELP = "list the samplers: source, needs, cost, and which models provide what they need"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--markdown", action="store_true", help="print the page docs/samplers.md (make docs)")


def act(args: argparse.Namespace) -> None:
    from al_cli.experiment.compose import shipped
    from al_cli.progress import say
    from al_cli.samplers import guide

    entries = guide.guide(shipped("conf") / "sampler", detectors(), classifiers())
    if args.markdown:
        sys.stdout.write(guide.guide_page(entries))
        return
    practical, oracles = [e for e in entries if not e.oracle], [e for e in entries if e.oracle]
    for title, rows in (
        ("samplers", practical),
        ("oracles: they read labels that nobody has yet, so they are no methods", oracles),
    ):
        say(f"{title}\n", style="bold")
        for e in rows:
            say(f"{e.name:<27} {e.family}", style="cyan")
            say(f"    needs {guide.wording(e.needs)}; passes over: {e.cost}")
            say(f"    detectors: {e.detectors}; classifiers: {e.classifiers}\n    {e.source}")
        say("")
    say("Use one with: al run sampler=NAME. What each is good for: docs/samplers.md")
    say("Selections made elsewhere: al run sampler=imported sampler.file=picks.csv")
    say(
        "A query strategy written for modAL: al run dataset=digits_images sampler=modal sampler.strategy=package.function"
    )


def detectors() -> "dict[str, frozenset[Signal]]":
    """What each kind of detector provides, as it comes and with dropout layers."""
    from al_cli.learners.spec import ModelSpec

    kinds = {"R-CNN": "rcnn", "RetinaNet": "retinanet", "FCOS": "fcos"}
    provided = {}
    for name, family in kinds.items():
        provided[name] = ModelSpec(name, None, family=family).provides
        provided[f"{name}, with model.dropout"] = ModelSpec(name, None, family=family, dropout=0.1).provides
    return provided


def classifiers() -> "dict[str, frozenset[Signal]]":
    """What classifiers provide, as they come and with dropout layers."""
    from al_cli.learners.classifier.spec import ClassifierSpec

    plain, dropping = ClassifierSpec("resnet", "resnet18"), ClassifierSpec("resnet", "resnet18", dropout=0.1)
    return {"classifier": plain.provides, "classifier, with model.dropout": dropping.provides}
