"""The report of a study: arms, means and deviations against numbers worked elsewhere, and what is missing."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sample_runs import SampleRuns, build_samples

from al_cli.errors import RunError
from al_cli.report import study
from al_cli.report.tables import rounds_table


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return build_samples(tmp_path_factory.mktemp("samples")).splits


@pytest.fixture
def samples(data, tmp_path) -> SampleRuns:
    return SampleRuns(tmp_path / "study", data)


def build(samples):
    """Two arms of three and two seeds; of the latter one run stopped early, and one that failed at once."""
    for seed in (10, 11, 12):
        samples.run(f"ccms_ud1-0.5_s{seed}", seed=seed, rounds=3, sampler={"name": "ccms"}, run_name=None)
    samples.run("random_s10", seed=10, rounds=3, sampler={"name": "random"})
    samples.run("random_s11", seed=11, rounds=3, done=1, sampler={"name": "random"})
    samples.run("entropy_s10", done=0, rounds=3).mark_failed(RuntimeError("loss is nan"))


def test_report_against_pandas(samples):
    build(samples)
    written = study.report(samples.root)
    folder = samples.root / "report"
    assert {path.name for path in written} == {"runs.csv", "runs.md", "arms.csv", "arms.md", "ap.png", "ap.svg"}
    assert all(path.parent == folder and path.stat().st_size > 100 for path in written)

    runs = pd.read_csv(folder / "runs.csv")
    assert len(runs) == 3 * 3 + 3 + 1 + 1
    own = pd.read_csv(samples.root / "random_s10/rounds.csv")
    of_run = runs[runs["run"] == "random_s10"].reset_index(drop=True)
    pd.testing.assert_frame_equal(of_run[own.columns], own, check_dtype=False)
    assert of_run["arm"].unique().tolist() == ["random"]
    failed = runs[runs["run"] == "entropy_s10"].iloc[0]
    assert (failed["state"], failed["seed"]) == ("failed", 10)
    assert np.isnan(failed["AP"])

    arms = pd.read_csv(folder / "arms.csv").set_index(["arm", "round"])
    groups = runs.dropna(subset=["round"]).groupby(["arm", "round"])
    for metric in ("AP", "AP50", "APs", "val_loss"):
        for what in ("mean", "std"):  # pandas' std is the sample's, and empty for one value
            expected = getattr(groups[metric], what)().reindex(arms.index)
            np.testing.assert_allclose(arms[f"{metric}_{what}"], expected, atol=1.1e-4)
    assert arms["seeds"].to_dict() == groups.size().to_dict()
    np.testing.assert_allclose(arms["boxes"], groups["boxes"].mean().reindex(arms.index), atol=1e-3)


def test_report_says_what_is_missing(samples, caplog):
    build(samples)
    study.report(samples.root)
    missing = [
        "entropy_s10 failed with 0 of 3 rounds: RuntimeError: loss is nan",
        "random_s11 stopped with 1 of 3 rounds",
        "random has 2 of 3 seeds",
    ]
    assert [record.getMessage() for record in caplog.records] == missing
    for name in ("runs.md", "arms.md"):
        text = (samples.root / "report" / name).read_text()
        assert text.endswith("\nMissing:\n\n" + "".join(f"- {line}\n" for line in missing))


def test_means_for_people(samples):
    build(samples)
    study.report(samples.root)
    lines = (samples.root / "report/arms.md").read_text().splitlines()
    assert lines[0].startswith("| arm")
    arms = pd.read_csv(samples.root / "report/arms.csv")
    row = arms[(arms["arm"] == "ccms_ud1-0.5") & (arms["round"] == 2)].iloc[0]
    assert f"{row['AP_mean']:.2f} ± {row['AP_std']:.2f}" in lines[4]
    single = arms[(arms["arm"] == "random") & (arms["round"] == 2)].iloc[0]
    assert f"| {single['AP_mean']:.2f} " in lines[7]
    assert "±" not in lines[7].split("|")[6]


def test_a_report_again_has_the_same_bytes_and_reads_no_report(samples):
    build(samples)
    first = {path.name: path.read_bytes() for path in study.report(samples.root)}
    assert {path.name: path.read_bytes() for path in study.report(samples.root)} == first


def test_arms_differ_in_more_than_seeds(samples):
    """One name, two learning rates: they must not be averaged."""
    same = {"sampler": {"name": "ccms"}}
    samples.run("ccms_s10", seed=10, done=1, lr=0.1, **same)
    samples.run("ccms_s11", seed=11, done=1, lr=0.1, seeds={"initial": 4}, study="elsewhere", **same)
    samples.run("ccms_s12", seed=12, done=1, lr=0.2, **same)
    runs = study.read_runs(samples.root)
    assert [(run.name, run.arm) for run in runs] == [
        ("ccms_s10", "ccms"),
        ("ccms_s11", "ccms"),
        ("ccms_s12", "ccms (2)"),
    ]
    assert [(row.arm, row.seeds) for row in study.average(runs)] == [("ccms", 2), ("ccms (2)", 1)]


def test_a_study_of_nothing_finished_has_tables_but_no_plot(samples):
    samples.run("ccms_s10", done=0)
    written = study.report(samples.root)
    assert {path.name for path in written} == {"runs.csv", "runs.md", "arms.csv", "arms.md"}
    assert "ccms_s10 stopped with 0 of 5 rounds" in (samples.root / "report/runs.md").read_text()


def test_a_broken_run_does_not_hide_the_others(samples):
    samples.run("ccms_s10", seed=10, done=2)
    broken = samples.run("ccms_s11", seed=11, done=2)
    (broken.path / "round_01/record.json").write_text("{")
    study.report(samples.root)
    text = (samples.root / "report/runs.md").read_text()
    assert "ccms_s11 failed: the record cannot be read" in text
    assert len(pd.read_csv(samples.root / "report/arms.csv")) == 2


def test_one_run_can_be_reported_alone(samples):
    folder = samples.run("ccms_s10", rounds=2)
    study.report(folder.path)
    assert pd.read_csv(folder.path / "report/runs.csv")["run"].unique().tolist() == ["ccms_s10"]


def test_no_runs(tmp_path):
    with pytest.raises(RunError, match="no runs here"):
        study.report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_terminal_table(samples):
    records = samples.run("ccms_s10", rounds=3).records()
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(rounds_table(records))
    lines = [line.split() for line in console.export_text().splitlines() if line.strip()]
    assert lines[:2] == [["val"], ["round", "ud", "images", "boxes", "AP", "AP50", "AP75", "APs", "APm", "APl", "loss"]]
    last = lines[-1]
    record = records[2]
    expected = [record.metrics[name] for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")]
    assert last == ["2", "0.75", str(record.images), str(record.boxes)] + [f"{value:.2f}" for value in expected] + [
        f"{record.val_loss:.3f}"
    ]


def test_tables_load_no_matplotlib():
    """`al ls` and `al run` start without it; only drawing pays for it."""
    code = "import sys; from al_cli.report import study, plots, show, tables; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
