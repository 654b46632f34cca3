"""What became of the runs of one command: in a table at the end, and in the exit code."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from al_cli.errors import OF_SYSTEM, first_line, of_system
from al_cli.masked import hide
from al_cli.pasted import command, path_word
from al_cli.progress import out, say
from al_cli.records import RunFolder
from al_cli.report.of_run.terminal import rounds_table
from al_cli.types import RoundRecord


@dataclass
class Outcome:
    """What became of one run. `state` is done, failed (`error` says why) or elsewhere: another process works on it."""

    folder: Path
    records: list[RoundRecord]
    error: str = ""
    state: str = "done"


def finish(outcomes: Sequence[Outcome]) -> int:
    """Print what a user looks for at the end. 0: no run failed; 1: some did."""
    if len(outcomes) > 1:
        return _finish_many(outcomes)
    for outcome in outcomes:
        if outcome.state == "failed":
            return 1
        _print_single(outcome)
    return 0


def why(error: BaseException, folder: Path) -> str:
    """What ended a run, in one sentence: an error of the system, or a bug of ours, with its log where there is one."""
    if isinstance(error, OF_SYSTEM):
        return hide(str(of_system(error)))
    said = hide(f"{type(error).__name__}: {first_line(error)}")
    log = folder / "run.log"
    return f"{said}; the traceback is in {log}" if log.is_file() else said


def _print_single(outcome: Outcome) -> None:
    folder, task = outcome.folder, RunFolder(outcome.folder).task()
    metric = task.primary
    if not out.is_terminal:  # a terminal has shown it after the last round
        out.print(rounds_table(outcome.records, task))
    known = [record for record in outcome.records if record.metrics.get(metric.name) is not None]
    if known:
        best = max(known, key=lambda record: record.metrics[metric.name] or 0.0)
        value = metric.text(best.metrics[metric.name])
        text = f"Best {metric.name} {value} in round {best.round} with {best.images} labeled images."
    else:
        text = f"No round has a value of {metric.name}."
    say(text)
    say(f"Folder:  {folder}")
    say(f"Look:    {command('al', 'show', path_word(folder))}")
    say(f"Report:  {command('al', 'report', path_word(folder.parent))}")


def _finish_many(outcomes: Sequence[Outcome]) -> int:
    """Print what became of the runs of a study. 0: none failed; 1: some did."""
    count = {state: sum(outcome.state == state for outcome in outcomes) for state in ("done", "failed", "elsewhere")}
    out.print(outcomes_table(outcomes))
    say(f"{count['done']} of {len(outcomes)} runs done.")
    if other := count["elsewhere"]:
        runs = "1 run is" if other == 1 else f"{other} runs are"
        say(f"{runs} worked on by another process.")
    if count["failed"]:
        say("The same command redoes the failed ones and skips the others.")
    if done := [outcome for outcome in outcomes if outcome.records]:
        say(f"Report:  {command('al', 'report', path_word(done[0].folder.parent))}")
    return 1 if count["failed"] else 0


def outcomes_table(outcomes: Sequence[Outcome]) -> Table:
    """A row a run. The final value is that of its task's primary metric; where tasks differ, each says which it is."""
    metrics = [RunFolder(outcome.folder).task().primary if outcome.records else None for outcome in outcomes]
    names = {metric.name for metric in metrics if metric}
    final = f"final {names.pop()}" if len(names) == 1 else "final"
    table = Table(title="runs of this command")
    for column in ("run", "state", "rounds", final, "why"):
        table.add_column(column, justify="right" if column in ("rounds", final) else "left", overflow="fold")
    for outcome, metric in zip(outcomes, metrics, strict=True):
        reason = outcome.error or (RunFolder(outcome.folder).why_ended if outcome.state == "done" else "")
        value = metric.text(outcome.records[-1].metrics.get(metric.name)) if metric else ""
        if metric and value and names:
            value = f"{metric.name} {value}"
        table.add_row(outcome.folder.name, outcome.state, str(len(outcome.records)), value, hide(reason))
    return table


def relative(path: Path) -> Path:
    """The path as the user would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
