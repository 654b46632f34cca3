"""Numbers of a comparison as sentences: the paired difference and its interval first, the p-value last, no stars."""

from __future__ import annotations

from al_cli.progress import count
from al_cli.report.statistics.comparison import FEWEST_SEEDS, Measure, Pair
from al_cli.report.statistics.paired_tests import smallest_wilcoxon_p


def describe(pair: Pair, measure: Measure, alpha: float = 0.05) -> str:
    """One sentence on one method against another (of a pair that has a difference), with the verdict of its comparison.

    "ccms against random: +1.20 points of AUC of accuracy against images (95% interval +0.30 to +2.10, 6 seeds, paired t-test
    p = 0.004, p = 0.012 after Holm's correction): ccms is better."
    """
    verdict = {
        "better": f"{pair.arm} is better.",
        "worse": f"{pair.arm} is worse.",
        "undecided": "this is undecided.",
        "unknown": f"{count(pair.n, 'seed')} cannot tell this from luck.",
    }[pair.outcome]
    p = ""
    if pair.t_p is not None and pair.t_holm is not None:
        p = f", paired t-test {p_sentence(pair.t_p)}, {p_sentence(pair.t_holm)} after Holm's correction"
    return f"{difference(pair, measure, alpha)}{p}): {verdict}"


def difference(pair: Pair, measure: Measure, alpha: float = 0.05) -> str:
    """The beginning of a sentence, its bracket still open: difference, interval where there is one, number of seeds.
    `alpha` is that of the pair's comparison."""
    between = f"{percent(1 - alpha)} interval {interval(pair, measure)}, " if interval(pair, measure) else ""
    gap = measure.metric.amount_of(measure.metric.signed(pair.difference or 0.0), measure.label)
    return f"{pair.arm} against {pair.against}: {gap} ({between}{count(pair.n, 'seed')}"


def interval(pair: Pair, measure: Measure) -> str:
    """`+0.30 to +2.10`; nothing where there is none."""
    if pair.low is None or pair.high is None:
        return ""
    return f"{measure.metric.signed(pair.low)} to {measure.metric.signed(pair.high)}"


def percent(level: float) -> str:
    """`95%`, `99.5%`."""
    return f"{100 * level:.6g}%"


def p_number(p: float | None) -> str:
    """Two digits as in Lund's tables, three below 0.1, and no p is 0; nothing for None."""
    if p is None:
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def p_sentence(p: float) -> str:
    """`p = 0.034`, `p = 0.21`, `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p_number(p)}"


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def seeds_sentence(n: int, alpha: float = 0.05) -> str | None:
    """What `n` seeds cannot show, whatever their numbers; None where they are enough for the Wilcoxon test."""
    if smallest_wilcoxon_p(n) < alpha:
        return None
    enough = next(k for k in range(1, 64) if smallest_wilcoxon_p(k) < alpha)
    if n < FEWEST_SEEDS:
        return (
            f"With {count(n, 'seed')} per arm no difference can be distinguished from luck: "
            f"an interval needs {FEWEST_SEEDS}, a Wilcoxon p below {alpha:g} needs {enough}."
        )
    return (
        f"{n} seeds are few: the Wilcoxon test cannot give a p below {smallest_wilcoxon_p(n):.4g}, however large the "
        f"difference (it takes {enough} seeds to go below {alpha:g})."
    )
