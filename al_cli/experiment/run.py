"""One run, from its configuration to its finished folder."""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from al_cli import loop, tracking
from al_cli.datasets.held_out import scored_split
from al_cli.errors import AlError, ConfigError, DatasetError, ModelError, RunError
from al_cli.experiment.build import (
    build_learner,
    check_learner,
    check_longer,
    load_dataset,
    plan_rounds,
    store_path,
    through_store,
)
from al_cli.experiment.environment import environment
from al_cli.experiment.job import Job
from al_cli.experiment.names import is_count
from al_cli.experiment.settings import Experiment
from al_cli.experiment.without_val import influence_reference, uses_of_val
from al_cli.learners.identity import device_used, kernels
from al_cli.learners.portable import require_caps
from al_cli.masked import MaskedFormatter
from al_cli.progress import console
from al_cli.records import RunFolder
from al_cli.records.data import DataRecord
from al_cli.records.in_vain import round_in_vain
from al_cli.records.mend import damage
from al_cli.store.disk import Store
from al_cli.system import open_own
from al_cli.tasks import Task
from al_cli.types import RoundRecord, Selector, Splits

log = logging.getLogger("al")
round_log = logging.getLogger("al.round")  # a line a round, where no terminal shows the table
traceback_log = logging.getLogger("al.traceback")  # for the run's log file; the terminal gets one line
PLOT_EVERY_S = 30  # plots of a long run can be looked at while it goes on


def run_job(job: Job) -> list[RoundRecord]:
    """One run, from its configuration to its finished folder; continues where an earlier one stopped."""
    experiment, path = job.experiment, job.folder
    require_caps(experiment.config)
    give_way(job)
    was_empty = not path.exists() or not any(path.iterdir())
    where = environment(device_used(experiment.model, experiment.config["device"]), kernels(experiment.model))
    computing = False

    def started() -> None:
        nonlocal computing
        computing = True

    with RunFolder.create(path, experiment.recorded, where, experiment.task) as folder, log_to(path / "run.log"):
        try:
            return run_in(folder, experiment, started)
        except KeyboardInterrupt:
            done = len(folder.recorded_rounds())
            log.info("stopped with %d of %d rounds done; the same command continues", done, folder.total_rounds)
            raise
        except Exception as error:
            mistake = isinstance(error, ConfigError | DatasetError | ModelError)
            if was_empty and mistake and not computing:
                shutil.rmtree(path)  # nothing was computed: a mistake that is corrected leaves no trace
                with suppress(OSError):  # other runs of the study
                    path.parent.rmdir()
                raise
            if not folder.longer:  # else nothing was done to the earlier run: it stays what it was
                with suppress(OSError):  # the disk is full: the run is `stopped` then, and the terminal says why
                    folder.mark_failed(error)
            if not isinstance(error, AlError):
                traceback_log.exception("the run failed")
            raise


def only_failed(path: Path) -> bool:
    """Whether this folder holds nothing but the reason why its run failed before the first round was done."""
    folder = RunFolder(path)
    return (path / "error.txt").is_file() and folder.state == "failed" and not folder.began


def give_way(job: Job) -> None:
    """A run that failed before its first round keeps nobody from correcting its settings: only its log stays."""
    if only_failed(job.folder) and RunFolder(job.folder).compare(job.experiment.recorded) == "other":
        for name in ("config.yaml", "environment.json", "task.json", "error.txt"):
            (job.folder / name).unlink(missing_ok=True)


def keep_reason(job: Job, error: BaseException) -> None:
    """Leave in the run's folder why it failed, also where it failed before it had one. An earlier run stays as it is."""
    path, experiment = job.folder, job.experiment
    if (path / "config.yaml").is_file():
        return
    with suppress(OSError, AlError):
        where = environment(experiment.config["device"], {})
        with RunFolder.create(path, experiment.recorded, where, experiment.task) as folder, log_to(path / "run.log"):
            folder.mark_failed(error)
            if isinstance(error, AlError):
                traceback_log.error("the run failed: %s", error)
            else:
                traceback_log.error("the run failed", exc_info=error)


def run_in(folder: RunFolder, experiment: Experiment, started: Callable[[], None]) -> list[RoundRecord]:
    """The rounds of a run whose folder is open. `started` is called before the first training."""
    from al_cli.report.of_run.terminal import rounds_table

    total = experiment.last_in_words
    wanted = experiment.config["plots"]
    if folder.state == "done" and not folder.longer:
        lost = lost_of(folder, experiment)
        if not lost:
            records = folder.records()
            ended = f" ({why})" if (why := folder.why_ended) else ""
            log.info("%s is done already%s; delete the folder to run it again", folder.path.name, ended)
            if console.is_terminal:
                console.print(rounds_table(records, experiment.task))
            return [*tracking.follow(records, experiment.config.get("tracking"), folder, experiment.shown)]
        log.warning("%s is done, and not all of it is as it was written: %s", folder.path.name, ", ".join(lost))
    splits = load_dataset(experiment.config["dataset"])
    folder.require_data(DataRecord.of(splits))
    plan = plan_rounds(experiment, splits)
    if folder.longer:
        check_longer(experiment, splits, plan, folder.config(), folder.readable_records())
        folder.lengthen()
    folder.clear_failure()
    announce(experiment, splits, plan)
    if done := folder.readable_records():
        log.info("continuing after round %d", done[-1].round)
    start = time.monotonic()
    learner = build_learner(experiment, splits.train.class_names)
    if experiment.chooses_first:
        check_learner(experiment, splits.train.class_names)  # now that the starting weights are here
    if experiment.config["portable"] and learner.device.startswith("cuda"):
        log.warning("portable=true caps the kernels of the CPU, and this run uses a GPU: device=cpu keeps the promise")
    plotted, sheets = time.monotonic(), 0
    strategy: Selector = experiment.strategy
    extra_timing: Callable[[], Mapping[str, Any]] = dict
    if experiment.config["store"]:
        store = Store(store_path(experiment.config))
        learner, strategy = through_store(experiment, splits, store, learner)
        extra_timing = store.take_account
    started()
    rounds = loop.run(splits, learner, strategy, plan, folder, experiment.task, extra_timing)
    for record in tracking.follow(rounds, experiment.config.get("tracking"), folder, experiment.shown):
        round_log.info("round %d of %s: %s", record.round, total, round_summary(record, experiment.task))
        for finding in round_in_vain(folder, record, experiment.task, experiment.config, last=plan.ends(record)):
            log.warning("round %d of %s: %s", record.round, total, finding)
        if console.is_terminal:
            console.print(rounds_table(folder.readable_records(), experiment.task))
        if wanted and time.monotonic() - plotted > PLOT_EVERY_S:
            sheets = sheets if draw(folder, splits, sheets) is None else record.round + 1
            plotted = time.monotonic()
    folder.mark_done()  # before the plots: a picture that cannot be drawn takes nothing from a finished run
    if wanted and (drawn := draw(folder, splits, sheets)) is not None:
        folder.mark_done(drawn)
    if why := folder.why_ended:
        log.info("%s", why)
    log.info("finished in %.0f s", time.monotonic() - start)
    return folder.records()


def announce(experiment: Experiment, splits: Splits, plan: loop.Plan) -> None:
    """Log what is about to run, and what of it may surprise."""
    pool, classes = len(splits.train), len(splits.train.class_names)
    evaluated = f"{len(scored_split(splits, plan.evaluate))} to evaluate on, the {plan.evaluate} split"
    log.info("%s: %d images in the pool, %s, %d classes", splits.name, pool, evaluated, classes)
    budget = experiment.config["budget"]
    if plan.unit == "images" and is_count(budget) and not plan.picks and plan.sizes[-1] < budget and plan.sizes[1:]:
        log.info("the last round labels the %d images that are left: budget=%d is more", plan.sizes[-1], budget)
    if plan.evaluate == "val" and (uses := uses_of_val(experiment)):
        log.warning(
            "evaluate=val: %s, so the scores are not held out from it: compare, then evaluate=test", uses[0].what
        )
    sampler, sizes = experiment.config["sampler"]["name"], list(map(str, plan.sizes))
    if influence_reference(experiment) == "test":
        log.warning(
            "model.influence.reference=test: %s chooses with the labels of the images that it is scored on (the %s split), as "
            "ISAL did; its scores are not held out from it",
            sampler,
            plan.evaluate,
        )
    amounts = f"{', '.join(sizes)} images"
    if plan.chooses_first:
        first = ", the first of them" if sizes[1:] else ""
        amounts = f"{', '.join(sizes)} {plan.unit}{first} chosen by the starting weights"
    elif plan.unit != "images":
        amounts = f"{', '.join(sizes[:1])} images" + (f", then {', '.join(sizes[1:])} boxes" if sizes[1:] else "")
    if experiment.reference:
        log.info("a reference: %s trains once, on all %d images", experiment.model.name, pool)
    elif len(sizes) == 1:
        asked = f"{sampler} picks, " if plan.chooses_first else ""
        log.info("%s%s trains once, on %s", asked, experiment.model.name, amounts)
    else:
        log.info(
            "%s picks, %s trains: %d rounds that label %s", sampler, experiment.model.name, experiment.rounds, amounts
        )
    if experiment.strategy.oracle:
        log.warning("%s is an oracle: it reads the labels of the pool, so it is a bound and no method", sampler)


def lost_of(folder: RunFolder, experiment: Experiment, read_weights: bool = True) -> list[str]:
    """What of a finished run is missing or not as it was written, as names below its folder. The weights are large: without
    `read_weights` they need only be there."""
    every = experiment.training.keep_checkpoints == "all"
    lost = damage(folder, all_weights=every, read_weights=read_weights)
    if experiment.config["plots"]:
        lost += [f"plots/{name}" for name in folder.lost_plots()] if folder.has_plots else ["plots"]
    return lost


def draw(folder: RunFolder, splits: Splits, sheets: int) -> list[Path] | None:
    """The run's plots; the contact sheets of the first `sheets` rounds are there. One that cannot be drawn is a warning,
    and the same command tries again."""
    from al_cli.report.of_run import plots

    try:
        if (folder.path / "plots").is_symlink():
            raise RunError("plots is a symbolic link", where=str(folder.path), remedy="remove the link")
        return plots.plot_run(folder.path, splits, sheets)
    except Exception as error:
        log.warning("the plots could not be drawn: %s: %s", type(error).__name__, error)
        traceback_log.warning("the plots could not be drawn", exc_info=True)
        return None


def round_summary(record: RoundRecord, task: Task) -> str:
    """A finished round in a line: what it had cost by then, and what it reached."""
    costs = ", ".join(f"{cost.of(record)} {cost.name}" for cost in task.costs)
    known = [metric for metric in task.logged if record.metrics.get(metric.name) is not None]
    values = "  ".join(f"{metric.name} {metric.text(record.metrics[metric.name], fewer=1)}" for metric in known)
    return f"{costs} labeled: {values}"


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Everything the program says also goes to this file, with tracebacks, for as long as the block lasts."""
    if path.is_symlink():
        raise RunError("a symbolic link lies where the run's log should be", where=str(path), remedy="remove the link")
    handler = RunLog(path, encoding="utf-8", errors="backslashreplace", delay=True)
    handler.setFormatter(MaskedFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        with suppress(OSError):  # the disk is full: what was said is on the terminal too
            handler.close()


class RunLog(logging.FileHandler):
    """The log of a run. It follows no symbolic link, and a disk that is full does not stop the run."""

    def _open(self) -> Any:
        handle = open_own(Path(self.baseFilename), os.O_WRONLY | os.O_APPEND)
        return os.fdopen(handle, "a", encoding=self.encoding, errors=self.errors)

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing: a line that cannot be written is on the terminal too."""
