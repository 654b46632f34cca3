"""`al report`: a study folder in, its report out; as a page with tables and figures next to it, or as text.

Writes into <study>/report/ and nowhere else. The same runs give the same bytes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from al_cli.errors import RunError, suggest
from al_cli.progress import phase
from al_cli.records.stop import stop_of
from al_cli.report.page import html, markdown, section_markdown, write_files
from al_cli.report.sections.hardest import Load
from al_cli.report.statistics.curves import Target, parse_target
from al_cli.report.story import tell
from al_cli.report.study import StudyFolder, find_missing, read_study
from al_cli.system import own_folder, write_atomic
from al_cli.tasks import Metric

log = logging.getLogger("al")


@dataclass(frozen=True)
class WrittenReport:
    """What was written: the page, the tables and figures next to it, and the page's first section as text."""

    page: Path
    files: list[Path]
    opening: str


def report(
    study_dir: Path | str, *, target: str | None = None, metric: str | None = None, dataset: Load | None = None
) -> WrittenReport:
    """Write <study>/report/index.html and every table and figure next to it.

    `target` is a value of a metric (METRIC=VALUE) that arms are to reach; `metric` is what they are compared in (None: the
    metric of the study's claim, or the task's primary one); `dataset` reads the images of a configuration for the sheets of
    images (None: no sheets). RunError where no run is there, or for a target, metric or claim that is none.
    """
    study = read_study(study_dir)
    wanted, compared = target_of(study, target), metric_of(study, metric)
    for line in find_missing(study):
        log.warning("%s", line)
    document = tell(study, target=wanted, metric=compared, dataset=dataset)
    folder = own_folder(study.root / "report")
    with phase("report", sum(1 for _ in document.blocks()), "pieces") as step:
        written = write_files(document, folder, step)
    page = folder / "index.html"
    write_atomic(page, html(document, folder))
    return WrittenReport(page, written, markdown(replace(document, sections=document.sections[:1])))


def report_text(
    study_dir: Path | str, *, target: str | None = None, metric: str | None = None, section: str | None = None
) -> str:
    """The sentences and tables of the report, or of one `section` of it, as Markdown; writes nothing. RunError as `report`,
    and for a section that this report has not."""
    study = read_study(study_dir)
    document = tell(study, target=target_of(study, target), metric=metric_of(study, metric))
    if section is None:
        return markdown(document)
    there = {each.id: each for each in document.sections if each.blocks}
    if section not in there:
        what = f"the report of this study has no section {section!r}"
        raise RunError(what, where=f"--section {section}", remedy=suggest(section, there))
    return section_markdown(there[section])


def target_of(study: StudyFolder, text: str | None) -> Target | None:
    """The target that a user asked for, else the one value at which runs of the study stop. RunError where it is none, or no
    run has a value of its metric."""
    if text is None:
        stops = {stop_of(run.config, study.task) for run in study.runs if run.records} - {
            None
        }  # others may reach it too
        stop = stops.pop() if len(stops) == 1 else None
        return Target(stop.metric, stop.at) if stop else None
    target = parse_target(text, study.task)
    _require_values(study, target.metric, f", so none can reach {target.value:g}", f"target {text}")
    return target


def metric_of(study: StudyFolder, name: str | None) -> Metric | None:
    """The metric that a user wants everything compared in. RunError where it is none, or no run has a value of it."""
    if name is None:
        return None
    where = f"metric {name}"
    if name not in study.task.metric_names:
        what = f"the runs of this study have no metric {name!r} in common"
        raise RunError(what, where=where, remedy=suggest(name, study.task.metric_names))
    metric = study.task.metric(name)
    _require_values(study, metric, "", where)
    return metric


def _require_values(study: StudyFolder, metric: Metric, so: str, where: str) -> None:
    records = [record for run in study.runs for record in run.records]
    if records and all(record.metrics.get(metric.name) is None for record in records):
        measured = {name for record in records for name, value in record.metrics.items() if value is not None}
        others = ", ".join(name for name in study.task.metric_names if name in measured)
        remedy = f"take another metric: {others}"
        raise RunError(f"no run has a value of {metric.name}{so}", where=where, remedy=remedy)
