"""The figures of the answer and of single arms, with what their captions say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from al_cli.progress import count
from al_cli.report.drawing import curves
from al_cli.report.drawing.curves import Looks
from al_cli.report.drawing.ranking import plot_ranking
from al_cli.report.page import Figure
from al_cli.report.sections.comparison import gains, ranking_caption
from al_cli.report.sections.summary import ADJUSTED
from al_cli.report.statistics.comparison import Comparison
from al_cli.report.statistics.curves import ArmRound
from al_cli.report.statistics.in_words import capitalised
from al_cli.tasks import Metric


def ranking(comparison: Comparison, baseline: str, looks: Looks) -> list[Figure]:
    """Each arm's difference to one with its interval; nothing where none is known."""
    known = gains(comparison, baseline)
    if not known:
        return []
    draw = partial(plot_ranking, known, looks, baseline, capitalised(comparison.measure.label))
    return [Figure("ranking", ranking_caption(comparison, baseline), draw)]


def curve(
    name: str,
    rounds: Sequence[ArmRound],
    metric: Metric,
    cost: str,
    looks: Looks,
    references: Sequence[float],
    by: str | None,
) -> Figure:
    """The metric against a cost; `by` is the cost by which arms were called the best and the worst."""
    caption = f"{metric.name} against labeled {cost}: mean over seeds, one standard deviation shaded."
    if others := sum(curves.is_faint(look) for look in looks.values()):
        caption += (
            f" The best and the worst by AUC against {by} are colored; {count(others, 'arm')} between them are grey."
        )
    if any(row.adjusted for row in rounds):
        caption += f" {ADJUSTED}"
    if references:
        caption += " The dash-dotted line is a training on all labels."
    caption += curves.hollow_note(rounds, looks)
    return Figure(name, caption, partial(curves.plot_curves, rounds, metric, cost, looks, references))


def each_arm(rounds: Sequence[ArmRound], metric: Metric, cost: str, looks: Looks, random: str | None) -> Figure:
    """Small multiples, folded: a panel an arm."""
    caption = (
        f"{metric.name} against labeled {cost}, an arm a panel: mean and one standard deviation; all others are grey"
    )
    caption += f", {random} is black." if random else "."
    draw = partial(curves.plot_each, rounds, metric, cost, looks, random)
    return Figure(f"{metric.slug}_each", caption, draw, folded="Every arm in a panel of its own")
