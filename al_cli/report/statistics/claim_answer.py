"""What the numbers of a study say to exactly the claim that it stated beforehand (`records/claim.py`).

One pair, one measure, one paired t-test: nothing is corrected, for nothing was chosen after the fact.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from al_cli.errors import RunError, suggest
from al_cli.progress import count, listing
from al_cli.records.claim import Claim, parse_claim, what_is_claimed
from al_cli.records.seal import Seal
from al_cli.records.study import StudyFile
from al_cli.report.statistics.analyse import Statistics, compare
from al_cli.report.statistics.answer import why_no_difference
from al_cli.report.statistics.comparison import FEWEST_SEEDS, VERDICTS, Measure, Pair
from al_cli.report.statistics.curves import RunCurve
from al_cli.report.statistics.equivalence import equivalence_p
from al_cli.report.statistics.in_words import difference, p_sentence
from al_cli.tasks import Task

Decision = Literal["holds", "the opposite holds", "equal", "undecided", "interim", "exploratory"]


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


def answer_claim(
    claim: Claim,
    statistics: Statistics,
    planned: Collection[str] = (),
    seal: Seal | None = None,
    changed: Collection[str] = (),
) -> ClaimAnswer:
    """What the complete runs say to the claim. `planned` are the study's arms, also those that have not begun; `changed` those
    that ran with other settings than the sealed ones.

    It holds where the paired difference is positive and the two-sided p of the paired t-test is below the claim's alpha,
    the opposite holds where it is negative; where neither does, the two may be equal within a stated margin; else, and
    always with fewer than FEWEST_SEEDS common seeds, it is undecided. With a seal there is no verdict before all sealed
    seeds of both arms are complete (interim), and none where the runs are not the sealed ones (exploratory).
    RunError for an arm that is neither in the study nor planned.
    """
    begun = [summary.arm for summary in statistics.arms]
    for arm in (claim.arm, claim.against):
        if arm not in begun and arm not in planned:
            known = suggest(arm, {*begun, *planned})
            raise RunError(f"the claim names {arm!r}, which is no arm of this study", where="claim", remedy=known)
    measure = measure_of(claim, statistics.task)
    margin = f", margin {measure.metric.amount(f'{claim.margin:g}')}" if claim.margin else ""
    stated = f"Claim: {claim.arm} is better than {claim.against} in {measure.label} (alpha {claim.alpha:g}{margin})."
    beyond = beyond_seal(claim, seal, statistics, changed) if seal else ""
    missing = missing_of_seal(claim, seal, statistics.curves) if seal else ""
    if missing and not beyond:
        return ClaimAnswer(claim, "interim", f"{stated} Interim, so there is no verdict: {missing}.", None)
    late = [arm for arm in (claim.arm, claim.against) if arm not in begun]
    if late:
        return ClaimAnswer(claim, "undecided", f"{stated} Undecided: {late[0]} has no finished round yet.", None)
    comparison = compare(statistics.curves, measure, claim.alpha)
    pair = comparison.pair(claim.arm, claim.against)
    if pair.difference is None:
        why = why_no_difference(statistics.curves, claim.arm, claim.against, measure)
        return ClaimAnswer(claim, "undecided", f"{stated} Undecided: {why}.", pair)
    decision: Decision = "undecided"
    if pair.n >= FEWEST_SEEDS and pair.t_p is not None and pair.t_p < claim.alpha:
        decision = "holds" if pair.difference > 0 else "the opposite holds"
    p = "" if pair.t_p is None else f", paired t-test {p_sentence(pair.t_p)}"
    if beyond:
        head = f"Exploratory, no test of the claim ({beyond})"
        return ClaimAnswer(
            claim, "exploratory", f"{stated} {head}: {difference(pair, measure, claim.alpha)}{p}).", pair
        )
    each = comparison.each(claim.arm, claim.against)
    same = equivalence_p(each, claim.margin) if claim.margin and pair.n >= FEWEST_SEEDS else None
    if same is not None and same < claim.alpha and decision == "undecided":
        within = measure.metric.amount_of(f"{claim.margin:g}", measure.label)
        head = f"The two are equal within {within} (two one-sided t-tests {p_sentence(same)})"
        return ClaimAnswer(claim, "equal", f"{stated} {head}: {difference(pair, measure, claim.alpha)}{p}).", pair)
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
    own = {"holds": "better", "the opposite holds": "worse", "equal": "undecided", "undecided": "undecided"}.get(
        told.decision
    )
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


def missing_of_seal(claim: Claim, seal: Seal, curves: Sequence[RunCurve]) -> str:
    """Which sealed seeds are not complete in both arms of the claim; nothing where all are."""
    complete = {(curve.arm, curve.seed) for curve in curves if curve.complete}
    late = [seed for seed in seal.seeds if not {(claim.arm, seed), (claim.against, seed)} <= complete]
    of_all = f"of the {count(len(seal.seeds), 'sealed seed')}"
    return f"{len(seal.seeds) - len(late)} {of_all} are complete, {listing(map(str, late))} not" if late else ""


def beyond_seal(claim: Claim, seal: Seal, statistics: Statistics, changed: Collection[str] = ()) -> str:
    """What of these runs, begun or complete, is not as it was sealed, as a clause; nothing where all is."""
    if not seal.intact or parse_claim(seal.claim, statistics.task) != claim:
        return "study.json was changed after it was sealed"
    curves = statistics.curves
    arms = dict.fromkeys(curve.arm for curve in curves if curve.arm not in seal.arms)
    seeds = sorted({str(curve.seed) for curve in curves if curve.seed not in seal.seeds})
    parts = [f"{noun} {listing(names)}" for noun, names in (("arm", [*arms]), ("seed", seeds)) if names]
    clauses = [f"{listing(parts)} {'is' if len(arms) + len(seeds) == 1 else 'are'} beyond the sealed ones"] * bool(
        parts
    )
    if changed:
        clauses.append(f"arm {listing(changed)} ran with other settings than the sealed ones")
    longer = dict.fromkeys(curve.arm for curve in curves if is_of_other_length(curve, seal))
    if longer:
        clauses.append(f"{listing(longer)} took another number of rounds than sealed")
    return listing(clauses)


def is_of_other_length(curve: RunCurve, seal: Seal) -> bool:
    """Whether a run has more rounds than its arm was sealed with, or ended with fewer though no value stopped it."""
    sealed = seal.rounds.get(curve.arm, curve.rounds)
    return curve.rounds > sealed or (curve.complete and curve.rounds < sealed and not curve.stopped)


def when_claimed(plan: StudyFile) -> str:
    """When the claim was written, and what was known then, as study.json itself says: no file's time is asked."""
    seal = plan.seal
    if seal is None:
        written = f"was written at {plan.claim_written_at} and" if plan.claim_written_at else "says no time, and it"
        return f"The claim {written} has no seal: what was known then, and how many seeds were meant, nobody can tell."
    if not seal.intact or seal.claim != plan.claim:
        return "The claim is not as it was sealed: study.json was changed afterwards, so it is no prediction."
    if seal.records:
        return "The claim was written after the study's first record, so it is no prediction: results may have suggested it."
    trainings = count(seal.trainings, "training")
    if seal.stored is None:
        known = "its runs use no store, so nothing says whether results were known"
    elif seal.stored:
        were = "was" if seal.stored == 1 else "were"
        known = f"{seal.stored} of its {trainings} {were} in the store by then, so results may have been known"
    else:
        known = f"none of its {trainings} was in the store by then"
    seeds = f"{count(len(seal.arms), 'arm')} and {count(len(seal.seeds), 'seed')}"
    return (
        f"The claim was written before the study's first record and sealed for {seeds}, at {seal.written_at}; {known}."
    )
