"""Curves of many arms, and what a hollow point means."""

from dataclasses import replace

from statistics_samples import noisy_curves

from al_cli.report.drawing.curves import HOLLOW, hollow_note
from al_cli.report.drawing.style import assign_looks
from al_cli.report.statistics.curves import average_rounds


def test_the_caption_speaks_of_hollow_points_where_there_are_some():
    rounds = average_rounds(noisy_curves({"random": 0, "a": 1}, seeds=(1, 2)))
    looks = assign_looks(["random", "a"], "random", ["random", "a"])
    assert hollow_note(rounds, looks) == ""
    fewer = [replace(row, n=1) if (row.arm, row.round) == ("a", 3) else row for row in rounds]
    assert hollow_note(fewer, looks) == HOLLOW
    grey = assign_looks(["random", "a"], "random", ["random"])
    assert hollow_note(fewer, grey) == "", "grey curves have no points"
