"""The verbs beside `run`: each takes its parsed arguments, prints, and returns an exit code (None is 0)."""

import argparse
import sys
from pathlib import Path

from rich.table import Table

from al_cli.errors import AlError, ConfigError, DatasetError, RunError
from al_cli.progress import out as console
from al_cli.tasks import DEFAULT
from al_cli.types import Signal


def report(args: argparse.Namespace) -> None:
    from al_cli.experiment import build
    from al_cli.report import write

    if args.format == "md":
        text = write.report_text(args.study, target=args.target)
        console.print(text, highlight=False, soft_wrap=True, markup=False)
        return
    written = write.report(args.study, target=args.target, dataset=build.load_dataset)
    console.print(written.opening, highlight=False, soft_wrap=True, markup=False)
    console.print(
        f"wrote {written.page}, and {len(written.files)} tables and figures next to it", highlight=False, soft_wrap=True
    )


def ls(args: argparse.Namespace) -> None:
    from al_cli.records import find_runs

    runs = find_runs(args.outputs)
    if not runs:
        console.print(f"no runs under {args.outputs}; `al run` makes the first")
        return
    metrics = {run.task.primary.name for run in runs if run.task}
    named = len(metrics) > 1  # runs of several tasks: each value says what it is
    best = "best" if named else f"best {next(iter(metrics), '')}".strip()
    table = Table()
    for column in ("study", "run", "state", "rounds", best):
        table.add_column(column, justify="right" if column in ("rounds", best) else "left", overflow="fold")
    for run in runs:
        value = run.task.primary.text(run.best) if run.task else ""
        if run.task and value and named:
            value = f"{run.task.primary.name} {value}"
        table.add_row(run.path.parent.name, run.path.name, run.state, f"{run.rounds_done}/{run.rounds_total}", value)
    console.print(table)


def store(args: argparse.Namespace) -> None:
    from al_cli.experiment.build import store_path
    from al_cli.store.disk import Store, parse_size, sizes

    kept = Store(store_path({"outputs": args.outputs}))
    if args.what == "prune":
        if args.keep is None:
            raise AlError("prune needs to know how much may stay", remedy="for example: al store prune --keep 20GB")
        count, freed = kept.prune(parse_size(args.keep))
        console.print(f"removed {count} results, {sizes(freed)}, from {kept.root}", highlight=False, soft_wrap=True)
        return
    rows = kept.summary()
    if not rows:
        console.print(f"the store {kept.root} is empty: `al run` fills it", highlight=False, soft_wrap=True)
        return
    table = Table(title=f"the store {kept.root}")
    for column in ("what", "model", "results", "size", "took to compute", "last used"):
        table.add_column(column, justify="right" if column in ("results", "size", "took to compute") else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    total = sizes(sum(entry.size for entry in kept.entries()))
    console.print(f"{total} in all. `al store prune --keep 20GB` removes what was used longest ago.", highlight=False)


def sweep(args: argparse.Namespace) -> int:
    """Run every arm of a study with every seed, or say what that would be."""
    from al_cli.sweep import file

    if args.name is None:
        shipped = ", ".join(file.shipped_names())
        raise ConfigError("al sweep needs the name of a sweep, or a file", remedy=f"shipped: {shipped}")
    if args.jobs < 1:
        raise ConfigError(f"--jobs is {args.jobs}", remedy="give how many runs may go on at once, at least 1")
    from al_cli.sweep import execute, plan, preview, study_file
    from al_cli.sweep.outcomes import finish_many

    study = plan.plan(file.read(args.name), args.overrides)
    if args.dry_run:
        preview.show(study, args.jobs)
        return 0
    execute.check_data(study)
    study_file.write(study)
    return finish_many(execute.execute(study, args.jobs))


def replay(args: argparse.Namespace) -> int:
    """Train another detector on a run's selections."""
    from al_cli.experiment import replay as replays
    from al_cli.experiment import run
    from al_cli.sweep.outcomes import Outcome, Runner, relative

    groups = {"model": args.model, "training": args.training}
    replay = replays.plan(args.run, [*(f"{key}={value}" for key, value in groups.items() if value), *args.overrides])
    replay.write_picks()
    runner = Runner(many=False)
    runner.outcomes.append(Outcome(relative(replay.folder), run.execute(replay.config, replay.folder)))
    return runner.finish()


def samplers(args: argparse.Namespace) -> None:
    from al_cli.experiment.compose import shipped
    from al_cli.samplers import guide

    entries = guide.guide(shipped("conf") / "sampler", detectors())
    if args.markdown:
        sys.stdout.write(guide.markdown(entries))
        return
    practical, oracles = [e for e in entries if not e.oracle], [e for e in entries if e.oracle]
    for title, rows in (
        ("samplers", practical),
        ("oracles: they read labels that nobody has yet, so they are no methods", oracles),
    ):
        console.print(f"{title}\n", style="bold", highlight=False)
        for e in rows:
            console.print(f"{e.name:<27} {e.family}", style="cyan", highlight=False, soft_wrap=True)
            told = f"needs {guide.wording(e.needs)}; passes over: {e.cost}; fed by: {e.detectors}"
            console.print(f"    {told}\n    {e.source}", highlight=False, soft_wrap=True, markup=False)
        console.print()
    console.print("Use one with: al run sampler=NAME. What each is good for: docs/samplers.md", highlight=False)
    console.print("Selections made elsewhere: al run sampler=imported sampler.file=picks.csv", highlight=False)


def detectors() -> dict[str, frozenset[Signal]]:
    """What each kind of detector provides, as it comes and with dropout layers."""
    from al_cli.learners.spec import ModelSpec, provides

    kinds = {"R-CNN": "rcnn", "RetinaNet": "retinanet", "FCOS": "fcos"}
    found = {}
    for name, family in kinds.items():
        found[name] = provides(ModelSpec(name, None, family=family))
        found[f"{name}, with model.dropout"] = provides(ModelSpec(name, None, family=family, dropout=0.1))
    return found


def data(args: argparse.Namespace) -> None:
    where = args.where
    if where[0] == "digits" and len(where) == 2:
        from al_cli.datasets.digits import write_digits

        folder = Path(where[1])
        if folder.exists() and any(folder.iterdir()):
            raise DatasetError("the folder is not empty", where=str(folder), remedy="name a new one")
        console.print(
            f"wrote {write_digits(folder)}: use it with dataset=yolo dataset.root={folder}",
            highlight=False,
            soft_wrap=True,
        )
        return
    if len(where) != 1:
        raise AlError(f"al data takes one folder, or `digits` and a folder, not {where}", remedy="see al data --help")
    from al_cli.datasets import load_coco, load_yolo
    from al_cli.datasets.checks import summary

    root = Path(where[0]).expanduser()
    if not root.exists():
        raise DatasetError("there is no such folder", where=str(root), remedy="give the folder that holds the dataset")
    yolo = args.format == "yolo" if args.format else root.suffix in {".yaml", ".yml"} or any(root.glob("*.y*ml"))
    splits = load_yolo(root) if yolo else load_coco(root)
    rows = summary(splits)
    table = Table(
        title=f"{splits.name} ({'yolo' if yolo else 'coco'}), {len(splits.train.class_names)} classes: no problems found"
    )
    for column in rows[0]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)
    console.print(
        f"use it with: al run dataset={'yolo' if yolo else 'coco'} dataset.root={root}", highlight=False, soft_wrap=True
    )


def show(args: argparse.Namespace) -> None:
    from omegaconf import OmegaConf

    from al_cli.experiment import build, settings
    from al_cli.records import RunFolder
    from al_cli.report.of_run.show import show_run

    config = RunFolder(args.run).config()
    splits = build.load_dataset(config["dataset"])
    predictions = None
    if args.checkpoint is not None:
        if not args.checkpoint.is_file():
            raise RunError(
                "there are no weights here", where=str(args.checkpoint), remedy="give a checkpoint.pth of any run"
            )
        learner = build.build_learner(
            # no prediction is judged here, and a task that a run folder names must not be imported
            settings.check(OmegaConf.create(config | {"store": False, "task": DEFAULT})),
            splits.test.class_names,
        )
        learner.load(args.checkpoint)
        predictions = learner.infer(splits.test)
    records = RunFolder(args.run).records()
    round = args.round if args.round is not None else (records[-1].round if records else 0)
    path = show_run(
        args.run,
        round,
        splits.test,
        n=args.images,
        threshold=args.threshold,
        seed=args.seed,
        out=args.out,
        predictions=predictions,
    )
    console.print(f"wrote {path}", highlight=False, soft_wrap=True)


def doctor(args: argparse.Namespace) -> int:
    """Versions, device, and whether Detectron2 really works. 1 with the remedy if it does not."""
    from al_cli.experiment.environment import environment
    from al_cli.learners.identity import cpu_model, vector_units

    found = environment(args.device, {"cpu": cpu_model(), "vectors": vector_units()})
    system = {"python": found["python"], "platform": found["platform"], **found["kernels"]}
    for name, version in {**system, **found["versions"]}.items():
        console.print(f"{name:<18} {version}", highlight=False)
    try:
        from al_cli.learners.detectron.doctor import examine

        for name, value in examine(args.device).items():
            console.print(f"{name:<18} {value}", highlight=False)
    except Exception as error:  # whatever is broken here, the user needs the remedy rather than our traceback
        console.print(f"[red]broken[/red]: {type(error).__name__}: {error}", soft_wrap=True)
        console.print(
            "remedy: in a checkout, `make clean setup`; elsewhere, install Detectron2 as the README's section Install says"
        )
        return 1
    console.print("all is well")
    return 0
