"""Figures of what rounds measure besides metrics: drawn where they say something, and of the records."""

from pathlib import Path

import numpy as np
import pytest
from sample_runs import SampleRuns, scenes

from al_cli.report.drawing import curves, style
from al_cli.report.of_run import plots
from al_cli.report.of_run.terminal import rounds_table
from al_cli.report.page import Figure
from al_cli.report.sections import numbers
from al_cli.report.statistics.curves import average_rounds
from al_cli.report.story import tell
from al_cli.report.study import curves_of, read_study
from al_cli.types import Splits

EARLY, FIXED = {"training": {"duration": "early_stop"}}, {"training": {"duration": "iterations"}}
TOOK = {1: (12.0, 9.0), 2: (16.0, 7.0)}  # seed -> epochs of its rounds


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> SampleRuns:
    root = tmp_path_factory.mktemp("samples")
    splits = Splits("scenes", scenes(root / "train", 0, 8), None, scenes(root / "test", 8, 3))
    return SampleRuns(root / "outputs/study", splits)


@pytest.fixture(scope="module")
def study(samples):
    """Early stopping, one arm, two seeds."""
    for seed, took in TOOK.items():
        samples.run(
            f"random_s{seed}", seed=seed, rounds=2, sampler={"name": "random"}, **EARLY,
            measured=lambda round, took=took: {"epochs": took[round]},
        )  # fmt: skip
    return read_study(samples.root)


def kept(monkeypatch, draw):
    """The figure that `draw` makes."""
    made = []
    monkeypatch.setattr(style, "save", lambda figure, *paths: made.append(figure) or list(paths))
    draw()
    return made[0]


def figures(document) -> dict[str, Figure]:
    return {block.name: block for block in document.blocks() if isinstance(block, Figure)}


def test_the_report_draws_mean_and_spread_of_epochs(study, monkeypatch):
    figure = figures(tell(study))["epochs"]
    assert "until it stopped" in figure.caption
    [axes] = kept(monkeypatch, lambda: figure.draw(Path("x.png"))).axes
    [line] = axes.lines
    assert np.asarray(line.get_ydata()).tolist() == [14, 8]
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(8 - np.std([9, 7], ddof=1))
    assert band.max() == pytest.approx(14 + np.std([12, 16], ddof=1))
    table = numbers.arms_table(average_rounds(curves_of(study.runs, study.task)), study.task)
    assert [row[table.columns.index("epochs_mean")] for row in table.rows] == [14, 8]


def test_the_metric_on_the_training_images_is_drawn(samples, tmp_path, monkeypatch):
    other = SampleRuns(tmp_path / "study", samples.splits)
    folder = other.run("random_s1", rounds=2, measured=lambda round: {"train_metric": (90.0, 80.0)[round]})
    figure = figures(tell(read_study(other.root)))["training"]
    [axes] = kept(monkeypatch, lambda: figure.draw(Path("x.png"))).axes
    assert axes.lines[0].get_ydata().tolist() == [90, 80] and axes.get_ylabel().startswith("training AP")
    column = {column.header: column for column in rounds_table(folder.records(), folder.task()).columns}["training\nAP"]
    assert list(column.cells) == ["90.00", "80.00"]


def test_a_run_draws_its_epochs(study, monkeypatch):
    records = study.runs[0].records
    draw = plots.plot_run_measured
    figure = kept(monkeypatch, lambda: draw(records, study.task, plots.EPOCHS, "epochs", Path("x.png")))
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[r.images, r.epochs] for r in records]


@pytest.mark.parametrize(("config", "took"), [(FIXED, (12.0, 6.0)), (EARLY, (9.0, 9.0))])
def test_epochs_that_follow_from_the_settings_are_not_drawn(samples, tmp_path, monkeypatch, config, took):
    """Steps of one number are fewer epochs of more images; and where all trainings took as many, there is nothing to see."""
    monkeypatch.setattr(curves.style, "save", lambda figure, *paths: list(paths))
    others = SampleRuns(tmp_path / "study", samples.splits)
    folder = others.run("a_s1", rounds=2, **config, measured=lambda round: {"epochs": took[round]})
    assert "epochs" not in figures(tell(read_study(others.root)))
    assert "epochs.png" not in [path.name for path in plots.plot_run(folder.path)]


def test_a_run_that_stops_early_draws_them(study, monkeypatch):
    monkeypatch.setattr(style, "save", lambda figure, *paths: list(paths))
    assert "epochs.png" in [path.name for path in plots.plot_run(study.runs[0].path)]


def test_loss_and_parts_are_drawn_where_they_were_measured(study, samples, tmp_path, monkeypatch):
    assert "loss" not in figures(tell(study))
    others = SampleRuns(tmp_path / "study", samples.splits)
    for seed in (1, 2):
        losses = {"loss": 2.0 * seed, "class_loss": 1.0 * seed, "box_loss": 0.5}
        folder = others.run(f"a_s{seed}", seed=seed, rounds=2, sampler={"name": "a"}, measured=lambda _, m=losses: m)
    found = read_study(others.root)
    figure = figures(tell(found))["loss"]
    assert figure.caption.startswith("Lower is better")
    panels = kept(monkeypatch, lambda: figure.draw(Path("x.png"))).axes
    assert [axes.get_title() for axes in panels] == ["loss", "class part", "box part"]
    assert [np.asarray(axes.lines[0].get_ydata()).tolist() for axes in panels] == [[3, 3], [1.5, 1.5], [0.5, 0.5]]
    assert "lower is better" in panels[0].get_ylabel()
    assert "loss_parts.png" in [path.name for path in plots.plot_run(folder.path)]
    table = rounds_table(folder.records(), found.task)
    heads = [column.header for column in table.columns]
    assert list(table.columns[heads.index("loss")].cells) == ["4.000", "4.000"]
    assert "| class_loss |" in (folder.path / "rounds.md").read_text()
    assert (
        "class_loss_mean" in numbers.arms_table(average_rounds(curves_of(found.runs, found.task)), found.task).columns
    )
