"""What happens around the runs of one `al run`: one failure stops no other, and the end says what became of each."""

import logging
import shlex
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.table import Table

from al_cli import app
from al_cli.errors import AlError
from al_cli.progress import out as console
from al_cli.report.tables import rounds_table
from al_cli.types import RoundRecord

log = logging.getLogger("al")


@dataclass
class Outcome:
    folder: Path
    records: list[RoundRecord]
    error: str = ""
    user_error: bool = False


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
            self.outcomes.append(Outcome(shown, app.execute(config, folder)))
        except AlError as error:
            log.error("%s: %s", shown, error)
            self.outcomes.append(Outcome(shown, [], str(error), user_error=True))
        except Exception as error:
            why = f"{type(error).__name__}: {first_line(error)}; the traceback is in {shown / 'run.log'}"
            self.outcomes.append(Outcome(shown, [], why))
            log.error("%s failed: %s", shown, self.outcomes[-1].error)

    def finish(self) -> int:
        """Print what a user looks for at the end. 0: all done; 2: a single run ended by a user's error; else 1."""
        failed = [outcome for outcome in self.outcomes if outcome.error]
        if self.many:
            console.print(outcomes_table(self.outcomes))
            console.print(f"{len(self.outcomes) - len(failed)} of {len(self.outcomes)} runs done.", highlight=False)
            if failed:
                console.print("The same command redoes the failed ones and skips the others.")
        elif not failed and self.outcomes and not console.is_terminal:  # a terminal has shown it after the last round
            console.print(rounds_table(self.outcomes[0].records))
        done = [outcome for outcome in self.outcomes if outcome.records]
        if done:
            study = shlex.quote(str(done[0].folder.parent))
            if not self.many:
                best = max(done[0].records, key=lambda record: record.metrics["AP"] or 0.0)
                ap = best.metrics["AP"] or 0.0
                console.print(
                    f"Best AP {ap:.2f} in round {best.round} with {best.images} labeled images.", highlight=False
                )
                console.print(f"Folder:  {done[0].folder}", highlight=False, soft_wrap=True)
                console.print(f"Look:    al show {shlex.quote(str(done[0].folder))}", highlight=False, soft_wrap=True)
            console.print(f"Report:  al report {study}", highlight=False, soft_wrap=True)
        return 0 if not failed else 2 if all(outcome.user_error for outcome in failed) and not self.many else 1


def outcomes_table(outcomes: list[Outcome]) -> Table:
    table = Table(title="runs of this sweep")
    for column in ("run", "state", "rounds", "final AP", "why"):
        table.add_column(column, justify="right" if column in ("rounds", "final AP") else "left", overflow="fold")
    for outcome in outcomes:
        last = outcome.records[-1] if outcome.records else None
        ap = f"{last.metrics['AP']:.2f}" if last and last.metrics["AP"] is not None else ""
        table.add_row(
            outcome.folder.name, "failed" if outcome.error else "done", str(len(outcome.records)), ap, outcome.error
        )
    return table


def relative(path: Path) -> Path:
    """The path as the user would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
