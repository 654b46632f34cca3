"""Curves of many arms, and what a hollow point means."""

from dataclasses import replace

from statistics_samples import noisy_curves

from al_cli.report.drawing import style
from al_cli.report.drawing.curves import HOLLOW, hollow_note, plot_curves, plot_each
from al_cli.report.drawing.style import assign_looks, only_some
from al_cli.report.statistics.curves import average_rounds
from al_cli.tasks.detection import TASK


def test_the_caption_speaks_of_hollow_points_where_there_are_some():
    rounds = average_rounds(noisy_curves({"random": 0, "a": 1}, seeds=(1, 2)))
    looks = assign_looks(["random", "a"], "random", ["random", "a"])
    assert hollow_note(rounds, looks) == ""
    fewer = [replace(row, n=1) if (row.arm, row.round) == ("a", 3) else row for row in rounds]
    assert hollow_note(fewer, looks) == HOLLOW
    grey = assign_looks(["random", "a"], "random", ["random"])
    assert hollow_note(fewer, grey) == "", "grey curves have no points"


MANY = {"random": 0.0, **{f"arm_{k}": k / 2 for k in range(1, 12)}}


def drawn(monkeypatch, draw):
    """What `draw` draws, instead of a file."""
    figures = []
    monkeypatch.setattr(style, "save", lambda made, *paths: figures.append(made))
    draw()
    [made] = figures
    return made


def test_of_many_arms_the_best_the_worst_and_random_have_a_band(monkeypatch):
    rounds = average_rounds(noisy_curves(MANY, seeds=(1, 2)))
    looks = only_some(assign_looks(list(MANY), "random", list(MANY)), ["random", "arm_1", "arm_11"])
    made = drawn(monkeypatch, lambda: plot_curves(rounds, TASK.metric("AP"), "images", looks, []))
    [axes] = made.axes
    assert len(axes.collections) == 3, "bands"
    lines = [line for line in axes.lines if len(line.get_xdata())]
    assert [line.get_color() for line in lines].count(style.FAINT) == 9 and len(lines) == 12
    [legend] = made.legends
    assert [text.get_text() for text in legend.get_texts()][-1] == "9 other arms"


def test_small_multiples_show_each_arm_once_in_colour(monkeypatch):
    rounds = average_rounds(noisy_curves(MANY, seeds=(1, 2)))
    looks = assign_looks(list(MANY), "random", ["random", "arm_3"])
    made = drawn(monkeypatch, lambda: plot_each(rounds, TASK.metric("AP"), "images", looks, "random"))
    panels = [axes for axes in made.axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == list(MANY)
    for axes in panels:
        colors = [line.get_color() for line in axes.lines]
        own = axes.get_title() == "random"
        assert len(colors) == 12 and len(axes.collections) == 1
        assert (colors.count("#000000"), colors.count(style.FAINT)) == ((1, 11) if own else (1, 10))
