"""A metric without a value is an empty cell or a sentence wherever people read it, and never a 0."""

import re
from dataclasses import replace

from al_cli import tracking
from al_cli.experiment.run import round_summary
from al_cli.records import RunFolder
from al_cli.records.rounds import record_text
from al_cli.report.page import markdown
from al_cli.report.story import tell
from al_cli.report.study import read_study


def test_an_absent_metric_is_nowhere_a_zero(al, fake):
    words = [
        *fake,
        "rounds=1",
        "initial=20",
        "budget=10",
        "study=s",
        "outputs=o",
        "run_name=random_s7",
        "sampler=random",
    ]
    al(*words)
    folder = RunFolder(al.cwd / "o" / "s" / "random_s7")
    for record in folder.records():
        absent = replace(record, metrics=dict.fromkeys(record.metrics), val_loss=None)
        (folder.round_path(record.round) / "record.json").write_text(record_text(absent))
    folder.write_tables()
    records, task = folder.records(), folder.task()
    document = tell(read_study(folder.path.parent))
    said = [
        al(*words).stdout,  # it is done: its table and its last lines again
        al("ls", "o").stdout,
        (folder.path / "rounds.md").read_text(),
        (folder.path / "rounds.csv").read_text(),
        round_summary(records[0], task),
        markdown(document),
    ]
    for text in said:
        assert not re.search(r"\bnan\b|\b0?\.0+\b(?! s\b)|\bNone\b(?! of)|\bAP\w* 0\b", text), text
    assert f"No round has a value of {task.primary.name}." in said[0]
    logged = tracking.points(records[0], [], task)
    assert not any(name.endswith(f"/{metric}") for name, *_ in logged for metric in task.metric_names)
