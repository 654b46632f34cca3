"""Work in vain is said, and good work is not."""

from dataclasses import replace

import numpy as np
import pytest

from al_cli.records import RunFolder
from al_cli.records.in_vain import loss_in_vain, round_in_vain
from al_cli.report.statistics.warnings import work_in_vain
from al_cli.report.study import find_in_vain, read_study
from al_cli.types import Predictions


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([1, 1, float("nan")], "no number"),
        ([1, 1, 2, 3, 4, 5], "rose from 1 to 4.5"),
        ([1, 1, 1, 1, 1, 1], "never fell"),
        ([3, 2, 1.5, 1, 0.9, 0.8], ""),
        ([1, 2], ""),
    ],
)
def test_losses(losses, said):
    found = loss_in_vain(losses)
    assert said in " ".join(map(str, found)) and bool(found) == bool(said)


def test_weights_that_have_learned_before_need_not_get_better():
    assert loss_in_vain([1, 1, 1, 1, 1, 1], warm=True) == []
    assert loss_in_vain([1, 1, 2, 3, 4, 5], warm=True)


def without(found: Predictions, wrong: set[int]) -> Predictions:
    """The same predictions but for those of some classes."""
    keep = ~np.isin(found.classes, list(wrong))
    offsets = np.concatenate([[0], np.cumsum(np.add.reduceat(keep, found.offsets[:-1]) * (found.counts > 0))])
    return Predictions(
        found.image_ids, offsets, found.boxes[keep], found.scores[keep], found.classes[keep], found.num_classes
    )


def test_what_a_round_says_is_read_from_its_own_files(al, fake, monkeypatch):
    al(*fake, "rounds=1", "initial=20", "budget=10", "run_name=r", "study=s", "outputs=o")
    folder = RunFolder(al.cwd / "o" / "s" / "r")
    record, task = folder.records()[1], folder.task()
    metric = task.primary.name

    def said(of=record, *, last=True) -> list[str]:
        return [str(found) for found in round_in_vain(folder, of, task, folder.config(), last=last)]

    def low(value) -> list[str]:
        return said(replace(record, metrics={**record.metrics, metric: value}))

    assert said(replace(record, metrics={**record.metrics, metric: 50.0})) == []
    assert f"{metric} is 0.30 after the last round" in low(0.3)[0]
    assert low(None) == []
    config, first = folder.config() | {"stop": {"metric": "APl", "at": 20.0}}, replace(record, round=0)
    unset, zero = (replace(first, metrics={**record.metrics, "APl": value}) for value in (None, 0.0))
    [found] = round_in_vain(folder, unset, task, config, last=False)
    assert (
        str(found) == "APl has no value on the evaluated images, so the run cannot stop at 20: take another stop.metric"
    )
    assert round_in_vain(folder, zero, task, config, last=False) == []
    assert round_in_vain(folder, replace(unset, round=1), task, config, last=False) == []
    seen = folder.predictions(1)
    counts = folder.class_counts(1)
    monkeypatch.setattr(folder, "predictions", lambda round: without(seen, {1}))  # a file that changed would be refused
    assert f"no prediction is of class {list(counts)[1]}: " in said()[-1]
    assert said(last=False) == []
    monkeypatch.setattr(folder, "predictions", lambda round: without(seen, set(range(seen.num_classes))))
    assert ["finds nothing" in line for line in said()] == [True]
    empty = {name: (0, labeled) for name, (_, labeled) in counts.items()}
    monkeypatch.setattr(folder, "class_counts", lambda round: empty)
    assert "all 10 images that this round labeled are empty" in said(last=False)[0]


def test_the_run_and_its_report_say_it(al, fake, monkeypatch):
    monkeypatch.setattr("al_cli.records.in_vain.NOTHING", 2.0)  # any value counts as near 0
    done = al(*fake, "rounds=1", "initial=20", "budget=10", "study=s", "outputs=o")
    assert done.stderr.count("near 0") + done.stdout.count("near 0") <= 1
    [log] = (al.cwd / "o").rglob("run.log")
    assert log.read_text().count("as good as 0") == 1
    study = read_study(al.cwd / "o" / "s")
    [line] = work_in_vain(find_in_vain(study))
    assert "Work in vain: AP is near 0 after the last round, in 1 round of 1 run (ccms_" in line
