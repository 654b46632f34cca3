"""A sealed claim: no verdict before all its seeds are there or from other runs; and what was known when it was written."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from statistics_samples import analyse, curve, noisy_curves

from al_cli.records.claim import parse_claim
from al_cli.records.seal import Seal
from al_cli.records.study import StudyFile
from al_cli.report.statistics.claim_answer import answer_claim, when_claimed
from al_cli.report.statistics.equivalence import equivalence_p
from al_cli.tasks.detection import TASK

WRITTEN = {"arm": "ccms", "against": "random", "metric": "AUC", "cost": "images", "alpha": 0.05}
CLAIM = parse_claim(WRITTEN, TASK)
RUNS = noisy_curves({"random": 0, "ccms": 3}, range(5))
ROUNDS = RUNS[0].rounds
ARMS = {"random": (), "ccms": ()}
SEAL = Seal(WRITTEN, ARMS, (0, 1, 2, 3, 4), dict.fromkeys(ARMS, ROUNDS), "2026-01-01T10:00:00+01:00", 0, 20, 0).closed()


def told(runs, seal=SEAL, changed=()):
    return answer_claim(CLAIM, analyse(runs, random="random"), ARMS, seal, changed)


def test_no_verdict_before_the_last_sealed_seed():
    """Looking after each seed and stopping at the first p < 0.05 makes 17% false claims of 3 to 10 looks."""
    assert told(RUNS).decision == "holds"
    early = told([run for run in RUNS if run.seed != 4])
    assert early.decision == "interim" and early.pair is None
    assert early.sentence.endswith("Interim, so there is no verdict: 4 of the 5 sealed seeds are complete, 4 not.")
    assert "p " not in early.sentence.split("alpha")[1]
    running = [replace(run, complete=False) if (run.arm, run.seed) == ("ccms", 2) else run for run in RUNS]
    assert told(running).decision == "interim"
    assert told([run for run in RUNS if run.arm == "random"]).decision == "interim"
    assert told(running, seal=None).decision == "holds", "a claim of an earlier version is answered as before"


OTHER = {
    "a seed": [*RUNS, *(replace(run, seed=7) for run in RUNS if run.seed == 0)],
    "an arm": [*RUNS, curve("extra", 0, [10] * ROUNDS)],
}
SAID = {
    "a seed": "(seed 7 is beyond the sealed ones): ",
    "an arm": "(arm extra is beyond the sealed ones): ",
}


@pytest.mark.parametrize("what", OTHER)
def test_other_runs_than_the_sealed_ones_are_exploratory(what):
    answered = told(OTHER[what])
    assert answered.decision == "exploratory" and "holds" not in answered.sentence
    assert f"Exploratory, no test of the claim {SAID[what]}ccms against random: +" in answered.sentence


@pytest.mark.parametrize("rounds", [ROUNDS - 1, ROUNDS + 1])
def test_another_number_of_rounds_is_exploratory(rounds):
    seal = replace(SEAL, rounds={"random": ROUNDS, "ccms": rounds}).closed()
    assert "(ccms took another number of rounds than sealed): " in told(RUNS, seal).sentence
    stopped = [replace(run, stopped="AP >= 40") for run in RUNS]
    assert told(stopped, seal).decision == ("holds" if rounds > ROUNDS else "exploratory"), "a stop ends runs early"


def test_other_settings_and_an_edited_file_are_exploratory():
    assert "arm ccms ran with other settings than the sealed ones" in told(RUNS, changed=["ccms"]).sentence
    for seal in (replace(SEAL, seeds=(0, 1, 2)), replace(SEAL, claim=WRITTEN | {"alpha": 0.2}).closed()):
        answered = told(RUNS, seal)
        assert answered.decision == "exploratory" and "study.json was changed after it was sealed" in answered.sentence


@pytest.mark.parametrize("margin", [0.2, 0.5, 3])
@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_equivalence_is_an_interval_within_the_margin(margin, alpha):
    """Two one-sided tests of scipy, and the 1 - 2 alpha interval."""
    differences = np.random.default_rng(1).normal(0.2, 0.4, 6)
    tests = [
        stats.ttest_1samp(differences, bound, alternative=side).pvalue
        for bound, side in ((-margin, "greater"), (margin, "less"))
    ]
    p = equivalence_p([*differences, np.nan], margin)
    assert p == pytest.approx(max(tests))
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(1 - 2 * alpha)
    assert (p < alpha) == (-margin < low and high < margin)


def test_equivalence_of_equal_and_of_too_few():
    assert equivalence_p([0, 0, 0], 0.1) == 0 and equivalence_p([1, 1, 1], 0.1) == 1
    assert equivalence_p([0.0, np.nan], 0.1) is None


def test_a_claim_with_a_margin_may_end_as_equal():
    runs = noisy_curves({"random": 0, "ccms": 0}, range(10))
    wide, narrow = (parse_claim(WRITTEN | {"margin": margin}, TASK) for margin in (20, 0.001))
    answered = answer_claim(wide, analyse(runs, random="random"))
    assert answered.decision == "equal" and "(alpha 0.05, margin 20 points)." in answered.sentence
    assert (
        "The two are equal within 20 points of AUC of AP against images (two one-sided t-tests p < 0.001)"
        in answered.sentence
    )
    assert answer_claim(narrow, analyse(runs, random="random")).decision == "undecided"
    assert answer_claim(CLAIM, analyse(runs, random="random")).decision == "undecided"
    assert answer_claim(wide, analyse(RUNS, random="random")).decision == "holds"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {},
            "sealed for 2 arms and 5 seeds, at 2026-01-01T10:00:00+01:00; none of its 20 trainings was in the store by then",
        ),
        ({"stored": 20}, "20 of its 20 trainings were in the store by then, so results may have been known."),
        ({"stored": None}, "its runs use no store"),
        ({"records": 3}, "written after the study's first record, so it is no prediction"),
    ],
)
def test_what_was_known_when_the_claim_was_written(changes, said):
    text = when_claimed(StudyFile(claim=WRITTEN, seal=replace(SEAL, **changes).closed()))
    assert said in text and ("before the study's first record" in text) == ("records" not in changes)


def test_a_claim_without_a_seal_or_with_a_broken_one_says_so():
    assert "has no seal" in when_claimed(StudyFile(claim=WRITTEN, claim_written_at="2026-01-01T10:00:00+01:00"))
    for broken in (replace(SEAL, stored=1), replace(SEAL, claim=WRITTEN | {"alpha": 0.2}).closed()):
        assert "not as it was sealed" in when_claimed(StudyFile(claim=WRITTEN, seal=broken))
