"""`al report`: a study folder in, its report out; as a page with tables and figures beside it, or as text.

Writes into <study>/report/ and nowhere else. The same runs give the same bytes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from al_cli.progress import phase
from al_cli.report.page import html, markdown, write_files
from al_cli.report.sections.hardest import Load
from al_cli.report.statistics.curves import parse_target
from al_cli.report.story import tell
from al_cli.report.study import find_missing, read_study
from al_cli.system import write_atomic

log = logging.getLogger("al")


@dataclass(frozen=True)
class Report:
    """What was written: the page, the tables and figures beside it, and the page's first section as text."""

    page: Path
    files: list[Path]
    opening: str


def report(study_dir: Path | str, *, target: str | None = None, dataset: Load | None = None) -> Report:
    """Write <study>/report/index.html and every table and figure beside it.

    `target` is a value of a metric ("AP=0.3") that arms are to reach; `dataset` reads the images of a configuration for the
    sheets of images (None: no sheets). RunError where no run is there, or for a target or claim that is none.
    """
    wanted = parse_target(target) if target else None
    study = read_study(study_dir)
    for line in find_missing(study):
        log.warning("%s", line)
    document = tell(study, target=wanted, dataset=dataset)
    folder = study.root / "report"
    folder.mkdir(exist_ok=True)
    with phase("report", sum(1 for _ in document.blocks()), "pieces") as step:
        written = write_files(document, folder, step)
    page = folder / "index.html"
    write_atomic(page, html(document, folder))
    return Report(page, written, markdown(replace(document, sections=document.sections[:1])))


def report_text(study_dir: Path | str, *, target: str | None = None) -> str:
    """The sentences and tables of the report as Markdown; writes nothing. RunError as `report`."""
    return markdown(tell(read_study(study_dir), target=parse_target(target) if target else None))
