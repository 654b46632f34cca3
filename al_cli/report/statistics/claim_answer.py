"""What the numbers of a study say to exactly the claim that it stated beforehand (`records/claim.py`).

One pair, one measure, one paired t-test: nothing is corrected, for nothing was chosen after the fact.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from al_cli.errors import RunError, suggest
from al_cli.progress import count
from al_cli.records.claim import Claim, what_is_claimed
from al_cli.report.statistics.analyse import Statistics, compare
from al_cli.report.statistics.answer import why_no_difference
from al_cli.report.statistics.comparison import FEWEST_SEEDS, VERDICTS, Measure, Pair
from al_cli.report.statistics.in_words import difference, p_sentence
from al_cli.tasks import Task

Decision = Literal["holds", "the opposite holds", "undecided"]


@dataclass(frozen=True)
class ClaimAnswer:
    """`pair` is None where one of the two arms has no finished round yet."""

    claim: Claim
    decision: Decision
    sentence: str
    pair: Pair | None


def measure_of(claim: Claim, task: Task) -> Measure:
    """What the claim is about, as the comparisons measure it."""
    area, metric = what_is_claimed(claim.metric, task)
    if area:
        return Measure("AUC", metric, cost=claim.cost, scale="log" if area == "AUC_log" else "linear")
    return Measure("final", metric)


def answer_claim(claim: Claim, statistics: Statistics, planned: Collection[str] = ()) -> ClaimAnswer:
    """What the complete runs say to the claim. `planned` are the study's arms, also those that have not begun.

    It holds where the paired difference is positive and the two-sided p of the paired t-test is below the claim's alpha,
    the opposite holds where it is negative; else, and always with fewer than FEWEST_SEEDS common seeds, it is undecided.
    RunError for an arm that is neither in the study nor planned.
    """
    begun = [summary.arm for summary in statistics.arms]
    for arm in (claim.arm, claim.against):
        if arm not in begun and arm not in planned:
            known = suggest(arm, {*begun, *planned})
            raise RunError(f"the claim names {arm!r}, which is no arm of this study", where="claim", remedy=known)
    measure = measure_of(claim, statistics.task)
    stated = f"Claim: {claim.arm} is better than {claim.against} in {measure.label} (alpha {claim.alpha:g})."
    late = [arm for arm in (claim.arm, claim.against) if arm not in begun]
    if late:
        return ClaimAnswer(claim, "undecided", f"{stated} Undecided: {late[0]} has no finished round yet.", None)
    pair = compare(statistics.curves, measure, claim.alpha).pair(claim.arm, claim.against)
    if pair.difference is None:
        why = why_no_difference(statistics.curves, claim.arm, claim.against, measure)
        return ClaimAnswer(claim, "undecided", f"{stated} Undecided: {why}.", pair)
    decision: Decision = "undecided"
    if pair.n >= FEWEST_SEEDS and pair.t_p is not None and pair.t_p < claim.alpha:
        decision = "holds" if pair.difference > 0 else "the opposite holds"
    p = "" if pair.t_p is None else f", paired t-test {p_sentence(pair.t_p)}"
    reason = f", {count(pair.n, 'seed')} being too few" if pair.n < FEWEST_SEEDS else ""
    head = {
        "holds": "The claim holds",
        "the opposite holds": "The opposite holds",
        "undecided": f"The claim is undecided{reason}",
    }[decision]
    return ClaimAnswer(claim, decision, f"{stated} {head}: {difference(pair, measure, claim.alpha)}{p}).", pair)


def why_two_verdicts(told: ClaimAnswer, statistics: Statistics) -> str | None:
    """Why the claim's pair has another verdict where all arms are compared; None where it has the same, or none."""
    claim, comparison = told.claim, statistics.comparisons.get(measure_of(told.claim, statistics.task))
    own = {"holds": "better", "the opposite holds": "worse", "undecided": "undecided"}.get(told.decision)
    if comparison is None or told.pair is None or own is None:
        return None
    if statistics.random in (claim.arm, claim.against):
        family = comparison.against(statistics.random)
        [pair] = [pair for pair in family if pair.arm in (claim.arm, claim.against)]
        size = sum(pair.t_holm is not None for pair in family)
    else:
        pair, size = comparison.pair(claim.arm, claim.against), comparison.family_size
    if pair.arm != claim.arm:
        own = {"better": "worse", "worse": "better"}.get(own, own)
    if pair.outcome not in VERDICTS.values() or pair.outcome == own or pair.t_holm is None:
        return None
    return (
        f"Where all arms are compared, {pair.arm} against {pair.against} is {pair.outcome} in the same measure: there it is "
        f"one of {count(size, 'comparison')}, with {p_sentence(pair.t_holm)} after Holm's correction and alpha "
        f"{comparison.alpha:g}. The claim is a single comparison, so its p is not corrected; its alpha is {claim.alpha:g}."
    )


def written_before(claim_written_at: str, first_record: datetime) -> bool:
    """Whether the claim's time (ISO 8601 with a zone) is before that of the study's first record (with a zone too)."""
    try:
        written = datetime.fromisoformat(claim_written_at)
    except ValueError as error:
        remedy = "give ISO 8601, for example 2026-01-31T12:00:00+00:00"
        raise RunError(f"{claim_written_at!r} is no time", where="claim_written_at", remedy=remedy) from error
    if written.tzinfo is None:
        raise RunError(
            f"{claim_written_at!r} has no zone", where="claim_written_at", remedy="add one, for example +00:00"
        )
    return written < first_record
