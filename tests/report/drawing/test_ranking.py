"""The ranking figure, measured: nothing that it says lies outside of it."""

import pytest
from matplotlib.transforms import Bbox

from al_cli.report.drawing import ranking, style

ARMS = ["entropy", "an_arm_with_a_name_that_somebody_thought_of_in_a_meeting_budget30_initial30"]


@pytest.mark.parametrize("baseline", ["random", "random_" + "_".join(f"setting{n}" for n in range(16))])
def test_no_label_is_cut(monkeypatch, baseline):
    figures = []
    monkeypatch.setattr(style, "save", lambda made, *paths: figures.append(made))
    gains = [ranking.Gain(arm, 1.0 + n, 0.5, 2.0, (0.5, 1.0, 1.5)) for n, arm in enumerate(ARMS)]
    looks = style.assign_looks([*ARMS, baseline], baseline, ARMS)
    ranking.plot_ranking(gains, looks, baseline, "AUC of a metric against images")
    [made] = figures
    made.draw_without_rendering()
    [axes] = made.axes
    assert axes.get_xlabel().replace("\n", "").replace(" ", "").endswith(baseline)
    for label in (axes.xaxis.label, *axes.get_yticklabels()):
        box = label.get_window_extent()
        assert Bbox.intersection(box, made.bbox).bounds == pytest.approx(box.bounds), label.get_text()
    assert axes.get_window_extent().width > 100


def test_fewer_than_ten_seeds_are_dots_and_oracles_stand_below_a_line(monkeypatch):
    figures = []
    monkeypatch.setattr(style, "save", lambda made, *paths: figures.append(made))
    few, many = (1.0, 2.0, 6.0), tuple(map(float, range(10)))
    gains = [
        ranking.Gain("low", 1.0, None, None, few[:2]),
        ranking.Gain("known", 9.0, 8.0, 10.0, few, oracle=True),
        ranking.Gain("top", 3.0, -1.0, 7.0, few),
        ranking.Gain("many", 2.0, 1.0, 3.0, many),
    ]
    arms = ["random", "low", "known", "top", "many"]
    ranking.plot_ranking(gains, style.assign_looks(arms, "random", arms), "random", "AUC")
    [axes] = figures[0].axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["top", "many", "low", "known (oracle)"]
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    dots = {round(y[0] - ranking.BELOW): tuple(x) for x, y in lines if y[0] % 1 == pytest.approx(ranking.BELOW)}
    assert dots == {0: few, 2: few[:2], 3: few}
    assert [y for x, y in lines if x == [0, 1]] == [[2.5, 2.5]]
    assert [x for x, y in lines if len(x) == 2 and y == [1, 1]] == [[1.0, 3.0]]
