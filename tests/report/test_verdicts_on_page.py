"""What a page says of one pair: a claim keeps its alpha to itself, and two verdicts are explained."""

import json

import pytest
from sample_runs import SampleRuns, build_samples

from al_cli.report import write


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three arms with three seeds, without a plan."""
    root = tmp_path_factory.mktemp("verdicts")
    samples = SampleRuns(root / "study", build_samples(root).splits)
    for arm, gain in (("random", 1.0), ("ccms", 1.4), ("entropy", 0.8)):
        for seed in (1, 2, 3):
            samples.run(f"{arm}_s{seed}", seed=seed, gain=gain, rounds=3, sampler={"name": arm}, arm=arm)
    return samples.root


def page_of(study, **claim) -> str:
    plan = {"arms": [{"name": name} for name in ("random", "ccms", "entropy")], "seeds": [1, 2, 3]}
    (study / "study.json").write_text(json.dumps(plan | ({"claim": claim} if claim else {})))
    return write.report_text(study)


def test_alpha_of_a_claim_is_no_other_comparisons(study):
    without = page_of(study)
    claimed = page_of(study, arm="entropy", against="random", alpha=0.3)
    assert "(alpha 0.3)" in claimed and "70% interval" in claimed.split("\n- ")[0]
    assert "3 seeds are few" in without and "3 seeds are few" in claimed
    tables = [
        text.split("## Against random")[1].split("\n## ")[0] + text.split("## Every pair of arms")[1]
        for text in (without, claimed)
    ]
    assert tables[0] == tables[1] and "95% interval" in tables[0]


def test_a_claim_and_the_table_that_disagree_are_explained(study):
    text = page_of(study, arm="entropy", against="random")
    assert "The opposite holds: entropy against random" in text and "paired t-test p = 0.040)" in text
    why = (
        "Where all arms are compared, entropy against random is undecided in the same measure: there it is one of 2 "
        "comparisons, with p = 0.079 after Holm's correction and alpha 0.05. The claim is a single comparison, so its p is "
        "not corrected; its alpha is 0.05."
    )
    assert text.index("The opposite holds") < text.index(why) < text.index("- In AUC of AP against images, of 2 arms")
    assert "Where all arms are compared" not in page_of(study, arm="ccms", against="random")
