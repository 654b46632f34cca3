"""What happens around the runs of one command: one failure stops no other, and the end says what became of each."""

import logging
import shlex
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.table import Table

from al_cli.errors import AlError, first_line
from al_cli.experiment import run
from al_cli.progress import out as console
from al_cli.records import RunFolder
from al_cli.report.of_run.terminal import rounds_table
from al_cli.types import RoundRecord

log = logging.getLogger("al")


@dataclass
class Outcome:
    """What became of one run. `state` is done, failed (`error` says why) or elsewhere: another process works on it."""

    folder: Path
    records: list[RoundRecord]
    error: str = ""
    user_error: bool = False
    state: str = "done"


class Runner:
    """The task that Hydra calls once per run. Collects outcomes; `finish` prints them and gives the exit code."""

    def __init__(self, many: bool):
        self.many = many
        self.outcomes: list[Outcome] = []

    def __call__(self, config: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        shown = relative(folder)
        if self.many:
            log.info("run %d: %s", len(self.outcomes) + 1, shown)
        try:
            self.outcomes.append(Outcome(shown, run.execute(config, folder)))
        except AlError as error:
            log.error("%s: %s", shown, error)
            self.outcomes.append(Outcome(shown, [], str(error), user_error=True, state="failed"))
        except Exception as error:
            self.outcomes.append(Outcome(shown, [], why(error, shown), state="failed"))
            log.error("%s failed: %s", shown, self.outcomes[-1].error)

    def finish(self) -> int:
        """Print what a user looks for at the end. 0: all done; 2: a single run ended by a user's error; else 1."""
        if self.many:
            return finish_many(self.outcomes)
        for outcome in self.outcomes:
            if outcome.state == "failed":
                return 2 if outcome.user_error else 1
            _print_single(outcome)
        return 0


def why(error: BaseException, folder: Path) -> str:
    """A bug of ours in one sentence."""
    return f"{type(error).__name__}: {first_line(error)}; the traceback is in {folder / 'run.log'}"


def _print_single(outcome: Outcome) -> None:
    folder, task = outcome.folder, RunFolder(outcome.folder).task()
    metric = task.primary
    if not console.is_terminal:  # a terminal has shown it after the last round
        console.print(rounds_table(outcome.records, task))
    known = [record for record in outcome.records if record.metrics.get(metric.name) is not None]
    if known:
        best = max(known, key=lambda record: record.metrics[metric.name] or 0.0)
        value = metric.text(best.metrics[metric.name])
        text = f"Best {metric.name} {value} in round {best.round} with {best.images} labeled images."
    else:
        text = f"No round has a value of {metric.name}."
    console.print(text, highlight=False)
    console.print(f"Folder:  {folder}", highlight=False, soft_wrap=True)
    console.print(f"Look:    al show {shlex.quote(str(folder))}", highlight=False, soft_wrap=True)
    console.print(f"Report:  al report {shlex.quote(str(folder.parent))}", highlight=False, soft_wrap=True)


def finish_many(outcomes: list[Outcome]) -> int:
    """Print what became of the runs of a study. 0: none failed; 1: some did."""
    count = {state: sum(outcome.state == state for outcome in outcomes) for state in ("done", "failed", "elsewhere")}
    console.print(outcomes_table(outcomes))
    console.print(f"{count['done']} of {len(outcomes)} runs done.", highlight=False)
    if other := count["elsewhere"]:
        runs = "1 run is" if other == 1 else f"{other} runs are"
        console.print(f"{runs} worked on by another process.", highlight=False)
    if count["failed"]:
        console.print("The same command redoes the failed ones and skips the others.")
    if done := [outcome for outcome in outcomes if outcome.records]:
        study = shlex.quote(str(done[0].folder.parent))
        console.print(f"Report:  al report {study}", highlight=False, soft_wrap=True)
    return 1 if count["failed"] else 0


def outcomes_table(outcomes: list[Outcome]) -> Table:
    """A row a run. The final value is that of its task's primary metric; where tasks differ, each says which it is."""
    metrics = [RunFolder(outcome.folder).task().primary if outcome.records else None for outcome in outcomes]
    names = {metric.name for metric in metrics if metric}
    final = f"final {names.pop()}" if len(names) == 1 else "final"
    table = Table(title="runs of this sweep")
    for column in ("run", "state", "rounds", final, "why"):
        table.add_column(column, justify="right" if column in ("rounds", final) else "left", overflow="fold")
    for outcome, metric in zip(outcomes, metrics, strict=True):
        value = metric.text(outcome.records[-1].metrics.get(metric.name)) if metric else ""
        if metric and value and names:
            value = f"{metric.name} {value}"
        table.add_row(outcome.folder.name, outcome.state, str(len(outcome.records)), value, outcome.error)
    return table


def relative(path: Path) -> Path:
    """The path as the user would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
