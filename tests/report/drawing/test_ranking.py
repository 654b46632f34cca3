"""The ranking figure, measured: nothing that it says lies outside of it."""

import pytest
from matplotlib.transforms import Bbox

from al_cli.report.drawing import ranking, style

ARMS = ["entropy", "an_arm_with_a_name_that_somebody_thought_of_in_a_meeting_budget30_initial30"]


@pytest.mark.parametrize("baseline", ["random", "random_" + "_".join(f"setting{n}" for n in range(16))])
def test_no_label_is_cut(monkeypatch, baseline):
    figures = []
    monkeypatch.setattr(style, "save", lambda made, *paths: figures.append(made))
    gains = [ranking.Gain(arm, 1.0 + n, 0.5, 2.0, 3) for n, arm in enumerate(ARMS)]
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
