"""A run that began when detection had six metrics: it is read, checked, continued, mended, and compared with one of today."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from shapes import tree_bytes, write_yolo

from al_cli.cli.main import main
from al_cli.errors import RunError
from al_cli.experiment.job import jobs_of
from al_cli.experiment.run import run_job
from al_cli.records import RunFolder
from al_cli.report import write
from al_cli.report.study import read_study
from al_cli.tasks import Evaluation, Metric, Task, earliest
from al_cli.tasks.detection import TASK, evaluate

OLD, NEW = Path("outputs/s/random_s0"), Path("outputs/s/entropy_s0")
SIX = ("AP", "AP50", "AP75", "APs", "APm", "APl")
NINE = (*SIX, "AR1", "AR10", "AR100")  # records had three more


def evaluate_nine(predictions, dataset):
    found = evaluate(predictions, dataset)
    return Evaluation({name: found.metrics[name] for name in NINE}, found.per_class)


def job(folder: Path, rounds: int):
    words = "dataset=yolo dataset.root=data model=fake plots=false store=false initial=4 budget=2 study=s"
    arm, _, seed = folder.name.partition("_s")
    return jobs_of([*words.split(), f"sampler={arm}", f"seed={seed}", f"run_name={folder.name}", f"rounds={rounds}"])[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study of an early run and of one of today, of two rounds each."""
    root = tmp_path_factory.mktemp("early")
    write_yolo(root / "data", {"train": 16, "test": 4})
    described = Task.describe

    def early(task):
        said = described(task)
        return {name: value for name, value in said.items() if name != "table"} | {
            "costs": [{"name": cost["name"], "column": cost["column"]} for cost in said["costs"]]
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run_job(job(NEW, 1))
        patch.setattr(Task, "describe", early)
        was = job(OLD, 1)
        run_job(replace(was, experiment=replace(was.experiment, task=replace(earliest(), evaluate=evaluate_nine))))
    return root


@pytest.fixture(autouse=True)
def study(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def test_an_early_run_is_whole_and_its_command_changes_nothing(capsys):
    before = tree_bytes(OLD)
    assert b"per" not in before["task.json"] and before["rounds.csv"].startswith(
        b"round,images,boxes,AP,AP50,AP75,APs,A"
    )
    assert main(["verify", "outputs"]) == 0 and "predictions of 4 rounds evaluated again" in capsys.readouterr().out
    run_job(job(OLD, 1))
    assert tree_bytes(OLD) == before


def test_an_early_run_goes_on_with_its_own_columns_and_records_all(caplog):
    before = tree_bytes(OLD)
    (OLD / "round_00/metrics.csv").write_text("lost")
    run_job(job(OLD, 2))
    after = tree_bytes(OLD)
    assert after["round_00/metrics.csv"] == before["round_00/metrics.csv"] and "round 0 is computed" not in caplog.text
    assert after["task.json"] == before["task.json"] and after["rounds.csv"].startswith(before["rounds.csv"])
    assert set(RunFolder(OLD).record(1).metrics) == set(NINE)
    assert set(RunFolder(OLD).record(2).metrics) == set(TASK.metric_names)
    assert main(["verify", str(OLD)]) == 0


def test_early_and_new_runs_are_compared_in_what_both_measured():
    assert read_study(NEW).task.metric_names == TASK.metric_names
    assert read_study("outputs/s").task.metric_names == read_study(OLD).task.metric_names == SIX
    with pytest.raises(RunError, match="valid: AP, AP50, AP75, APl, APm, APs"):
        write.report_text("outputs/s", target="AP07=30")
    assert "10,000" not in write.report_text("outputs/s") and "AP per 10,000 boxes" in write.report_text(NEW)


def test_a_run_whose_metric_is_gone_or_has_another_unit_is_not_continued():
    for metrics in (TASK.metrics[:1], (*TASK.metrics[:1], Metric("AP50"), *TASK.metrics[2:])):
        lost = replace(TASK, metrics=metrics, curves=(), line=(), table=(), breakdown=None)
        with pytest.raises(
            RunError, match="holds a run that measured AP, AP50, AP75, APs, APm, APl, and task detection"
        ):
            RunFolder.create(OLD, RunFolder(OLD).config(), {}, lost)


def test_shared_metrics_keep_what_is_said_of_them():
    metrics = tuple(metric for metric in TASK.metrics if metric.name not in ("AP75", "APl"))
    fewer = replace(TASK, metrics=metrics, curves=(), line=(), table=(), breakdown=None)
    shared = TASK.shared_with(fewer)
    assert TASK.like(fewer) and fewer.like(TASK) and TASK.covers(fewer) and not fewer.covers(TASK)
    assert shared.metric_names == fewer.metric_names and shared.curves == ("AP", "AP50")
    assert list(shared.breakdown.labels) == ["APs", "APm"] and shared.rates == TASK.rates
    assert not TASK.like(replace(TASK, metrics=TASK.metrics[1:], curves=(), line=(), table=())), "another primary one"
    assert not TASK.like(replace(TASK, costs=TASK.costs[:1]))
