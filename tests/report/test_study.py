"""Reading a study: its arms, its plan, what is missing; and the files of a report against pandas."""

import argparse
import io
import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sample_runs import SampleRuns, build_samples

from al_cli.cli import report as verb
from al_cli.errors import ConfigError, RunError
from al_cli.report import page as page_module
from al_cli.report import study, write
from al_cli.report.of_run.terminal import rounds_table
from al_cli.report.page import Figure, Section
from al_cli.report.sections import costs, differences, hardest, numbers, selected
from al_cli.report.statistics.curves import ArmRound, average_rounds
from al_cli.report.story import tell
from al_cli.report.study import curves_of
from al_cli.report.table import ReportTable
from al_cli.tasks import earliest
from al_cli.tasks.detection import TASK


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return build_samples(tmp_path_factory.mktemp("samples")).splits


@pytest.fixture
def samples(data, tmp_path) -> SampleRuns:
    return SampleRuns(tmp_path / "study", data)


def build(samples):
    """Two arms of three and two seeds; of the latter one run stopped early, and one that failed at once."""
    for seed in (10, 11, 12):
        samples.run(f"ccms_ud1-0.5_s{seed}", seed=seed, rounds=3, sampler={"name": "ccms"}, run_name=None)
    samples.run("random_s10", seed=10, rounds=3, sampler={"name": "random"})
    samples.run("random_s11", seed=11, rounds=3, done=1, sampler={"name": "random"})
    samples.run("entropy_s10", done=0, rounds=3).mark_failed(RuntimeError("loss is nan"))


MISSING = [
    "entropy_s10 failed: RuntimeError: loss is nan (0 of 3 rounds are done)",
    "random_s11 stopped with 1 of 3 rounds",
    "random has 2 of 3 seeds",
]


def test_tables_against_pandas(samples, tmp_path):
    build(samples)
    document = tell(study.read_study(samples.root))
    folder = tmp_path
    for block in document.blocks():
        if isinstance(block, ReportTable):
            block.write(folder)

    runs = pd.read_csv(folder / "runs.csv")
    assert len(runs) == 3 * 3 + 3 + 1 + 1 and runs["study"].unique().tolist() == ["study"]
    assert len(runs.groupby(["study", "arm", "seed", "round"])) == 3 * 3 + 3 + 1, "a key of each round"
    assert {"images", "boxes", *TASK.metric_names} <= set(runs.columns)
    own = pd.read_csv(samples.root / "random_s10/rounds.csv")
    of_run = runs[runs["run"] == "random_s10"].reset_index(drop=True)
    pd.testing.assert_frame_equal(of_run[own.columns], own, check_dtype=False)
    assert of_run["arm"].unique().tolist() == ["random"]
    failed = runs[runs["run"] == "entropy_s10"].iloc[0]
    assert (failed["state"], failed["seed"]) == ("failed", 10)
    assert np.isnan(failed["AP"])

    arms = pd.read_csv(folder / "arms.csv").set_index(["arm", "round"])
    groups = runs.dropna(subset=["round"]).groupby(["arm", "round"])
    by_seed = runs.dropna(subset=["round"]).pivot_table(
        ["AP", "AP50", "APs", "val_loss", "boxes"], "seed", ["arm", "round"]
    )

    def mean(column):  # random lacks seeds: what those that it has take from ccms' mean is added to its own
        means = groups[column].mean().reindex(arms.index)
        for k in range(3):
            ccms, random = by_seed[column]["ccms_ud1-0.5", k], by_seed[column]["random", k]
            means["random", k] += ccms.mean() - ccms[random.notna()].mean()
        return means

    for metric in ("AP", "AP50", "APs", "val_loss"):
        np.testing.assert_allclose(arms[f"{metric}_mean"], mean(metric), atol=1.1e-4)
        std = groups[metric].std().reindex(arms.index)  # pandas' is the sample's, and empty for one value
        np.testing.assert_allclose(arms[f"{metric}_std"], std, atol=1.1e-4)
    assert arms["seeds"].to_dict() == groups.size().to_dict()
    np.testing.assert_allclose(arms["boxes"], mean("boxes"), atol=1e-3)

    shown = (folder / "arms.md").read_text().splitlines()
    row = arms.loc["ccms_ud1-0.5", 2]
    assert f"{row['AP_mean']:.2f} ± {row['AP_std']:.2f}" in shown[4]
    [single] = [line for line in shown if line.split("|")[1:3] == [" random       ", "     2 "]]
    assert "±" not in single.split("|")[6] and f"{arms.loc['random', 2]['AP_mean']:.2f}" in single.split("|")[6]

    appendix = pd.read_csv(folder / "appendix_a.csv").set_index(["arm", "round"])
    for line in runs.dropna(subset=["round"]).itertuples():
        assert appendix.loc[line.arm, line.round][f"AP75_{line.seed}"] == pytest.approx(
            line.AP75, abs=1e-4, nan_ok=True
        )
    assert appendix.loc["random", 2].isna()["AP_11"]


def test_text_for_a_terminal_writes_nothing(samples):
    build(samples)
    text = write.report_text(samples.root)
    assert not (samples.root / "report").exists()
    assert all(f"- {line}" in text for line in MISSING)
    assert "## Summary" in text and "| ccms_ud1-0.5 |" in text


def test_one_section_as_text(samples):
    build(samples)
    whole = write.report_text(samples.root)
    answer = write.report_text(samples.root, section="answer")
    assert answer.startswith("## The answer\n") and answer in whole and answer.count("## ") == 1
    with pytest.raises(RunError, match=r"no section 'answr'.*did you mean answer\? valid: answer, .*summary"):
        write.report_text(samples.root, section="answr")


def test_a_section_is_for_text(tmp_path):
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    with pytest.raises(ConfigError, match="add --format md"):
        verb.act(parser.parse_args([str(tmp_path), "--section", "answer"]))


def test_arms_differ_in_more_than_seeds(samples):
    """One name, two learning rates: they must not be averaged."""
    same = {"sampler": {"name": "ccms"}}
    samples.run("ccms_s10", seed=10, done=1, lr=0.1, **same)
    samples.run("ccms_s11", seed=11, done=1, lr=0.1, seeds={"initial": 4}, study="elsewhere", **same)
    samples.run("ccms_s12", seed=12, done=1, lr=0.2, **same)
    found = study.read_study(samples.root)
    assert [(run.name, run.arm) for run in found.runs] == [
        ("ccms_s10", "ccms"),
        ("ccms_s11", "ccms"),
        ("ccms_s12", "ccms (2)"),
    ]
    assert [(row.arm, row.n) for row in average_rounds(curves_of(found.runs, found.task))] == [
        ("ccms", 2),
        ("ccms (2)", 1),
    ]
    table = differences.difference_table(found)
    assert table is not None and table.rows == [["lr", "0.1", "ccms"], ["lr", "0.2", "ccms (2)"]]


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["random_budget30_fake_rounds3", "mc_entropy_budget30_fake_rounds3"], ["random", "mc_entropy"]),
        (["ccms_ud1_fake", "ccms_ud0.5_fake", "random_fake"], ["ccms_ud1", "ccms_ud0.5", "random"]),
        (["ccms_fake_rounds3", "ccms_fake"], ["ccms_rounds3", "ccms"]),
        (["ccms_fake_rounds3"], ["ccms_fake_rounds3"]),  # alone there is nothing to tell it from
        (["mine_a_b", "mine_b_a"], ["mine_a_b", "mine_b_a"]),  # nothing is left of either
    ],
)
def test_an_arm_is_called_by_what_others_do_not_share(names, short):
    samplers = {
        name: next((s for s in ("random", "mc_entropy", "ccms") if name.startswith(s)), "none") for name in names
    }
    assert list(study.shorten(samplers).values()) == short


def test_people_see_short_names_of_arms_and_the_folders_keep_theirs(samples):
    for sampler in ("random", "entropy"):
        for seed in (10, 11):
            name = f"{sampler}_budget30_initial30_fake_rounds3_s{seed}"
            samples.run(name, seed=seed, rounds=2, sampler={"name": sampler})
    found = study.read_study(samples.root)
    assert found.arms == ["entropy", "random"] and found.random == "random"
    assert found.runs[0].name == "entropy_budget30_initial30_fake_rounds3_s10"
    shown = "\n".join(
        str(b.for_people) for b in tell(found).blocks() if isinstance(b, ReportTable) and b.name != "runs"
    )
    assert "entropy" in shown and "budget30" not in shown
    text = write.report_text(samples.root)
    assert "entropy against random" in text and "budget30" not in text


PLAN = {
    "name": "study",
    "source": "Thesis, 3.3",
    "arms": [{"name": "random", "overrides": []}, {"name": "b", "overrides": []}, {"name": "a", "overrides": []}],
    "seeds": [10, 11],
    "reference": True,
    "claim": {"arm": "a", "against": "random", "metric": "AUC", "cost": "boxes", "alpha": 0.05},
    "command": "al sweep study",
}


def write_plan(samples, **other):
    (samples.root / "study.json").write_text(json.dumps(PLAN | other))


def test_a_plan_names_arms_references_and_what_is_not_there(samples):
    """Two planned arms of one configuration stay two; the reference is no arm."""
    for arm in ("a", "b"):
        for seed in (10, 11):
            samples.run(f"{arm}_s{seed}", seed=seed, rounds=2, sampler={"name": "ccms"})
    samples.run("random_s10", seed=10, rounds=2, sampler={"name": "random"})
    samples.run("reference_s10", seed=10, rounds=1, reference=True, sampler={"name": "random"})
    write_plan(samples)
    found = study.read_study(samples.root)
    assert found.arms == ["random", "b", "a"] and found.random == "random"
    assert [run.name for run in found.references] == ["reference_s10"]
    assert study.find_missing(found) == [
        "random_s11 and reference_s11 were not started",
        "random has 1 of 2 seeds",
    ]
    write_plan(samples, claim_written_at="2026-01-01T10:00:00+01:00")
    text = write.report_text(samples.root)
    assert text.index("Claim: a is better than random") < text.index(
        "The claim was written at 2026-01-01T10:00:00+01:00 and"
    )
    samples.run("reference_s11", seed=11, rounds=1, reference=True, sampler={"name": "random"})
    text = write.report_text(samples.root)
    found = study.read_study(samples.root)
    full = {run.seed: run.records[0].metrics["AP"] for run in found.references}
    share = np.mean([100 * run.records[-1].metrics["AP"] / full[run.seed] for run in found.of_arm("a")])
    assert any(line.startswith("| a ") and f" {share:.1f} ± " in line for line in text.splitlines())
    assert "All labels reach AP" in text and "reference_s11" not in text


def test_a_claims_alpha_is_the_claims_alone(samples):
    """It once became that of every verdict, and took the warning of few seeds away."""
    for seed in (10, 11, 12):
        for arm, sampler in (("a", "ccms"), ("b", "entropy"), ("random", "random")):
            samples.run(f"{arm}_s{seed}", seed=seed, rounds=2, sampler={"name": sampler})
    texts = []
    for alpha in (0.05, 0.9):
        write_plan(samples, claim=PLAN["claim"] | {"alpha": alpha})
        lines = write.report_text(samples.root).splitlines()
        texts.append(
            "\n".join(line for line in lines if not line.startswith(("**Claim: ", "Where all arms are compared")))
        )
    texts = [re.sub(r"\n\n+", "\n\n", text) for text in texts]
    assert texts[0] == texts[1] and "seeds are few" in texts[1]


def test_a_broken_plan_is_named(samples):
    samples.run("a_s10", done=1)
    (samples.root / "study.json").write_text("{")
    with pytest.raises(RunError, match=r"study\.json"):
        study.read_study(samples.root)


def test_a_study_of_nothing_finished_has_a_page_and_no_figure(samples, caplog):
    samples.run("ccms_s10", done=0)
    written = write.report(samples.root)
    assert [record.getMessage() for record in caplog.records] == ["ccms_s10 stopped with 0 of 5 rounds"]
    assert {path.name for path in written.files} == {"runs.csv", "runs.md", "runs.tex"}
    assert "ccms_s10 stopped with 0 of 5 rounds" in written.page.read_text()


def test_a_broken_run_does_not_hide_the_others(samples):
    samples.run("ccms_s10", seed=10, done=2)
    broken = samples.run("ccms_s11", seed=11, done=2)
    (broken.path / "round_01/record.json").write_text("{")
    found = study.read_study(samples.root)
    assert study.find_missing(found)[1].startswith("ccms_s11 failed: the record cannot be read")
    assert [(row.arm, row.round, row.n) for row in average_rounds(curves_of(found.runs, found.task))] == [
        ("ccms", 0, 1),
        ("ccms", 1, 1),
    ]


def test_one_run_can_be_reported_alone(samples):
    folder = samples.run("ccms_s10", rounds=2)
    assert [run.name for run in study.read_study(folder.path).runs] == ["ccms_s10"]
    assert "No two arms" in write.report_text(folder.path)


def test_no_runs(tmp_path):
    with pytest.raises(RunError, match="no runs here"):
        write.report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_claim_or_a_person_chooses_the_metric_of_the_page(samples):
    for arm in ("random", "entropy"):
        for seed in (1, 2):
            samples.run(f"{arm}_s{seed}", seed=seed, rounds=2, sampler={"name": arm})
    assert "compared in" not in write.report_text(samples.root) and "AUC of AP against" in write.report_text(
        samples.root
    )
    claim = {"arm": "entropy", "against": "random", "metric": "AUC of AP50", "cost": "boxes"}
    (samples.root / "study.json").write_text(
        json.dumps({"arms": [{"name": "random"}, {"name": "entropy"}], "claim": claim})
    )
    found = study.read_study(samples.root)
    in_ap50, in_ap07 = tell(found), tell(found, metric=TASK.metric("AP07"))
    for document, name in ((in_ap50, "AP50"), (in_ap07, "AP07")):
        text = page_module.markdown(document)
        assert "entropy is better than random in AUC of AP50 against boxes" in text, "a claim stays what it is"
        assert document.subtitle.endswith(f"; compared in {name}") and f"| final {name}" in text
        assert f"AUC of {name} against images" in text and "AUC of AP " not in text and "final AP " not in text
        drawn = {b.name: b for b in document.blocks() if isinstance(b, Figure)}
        slug = name.lower()
        assert {slug, f"{slug}_vs_images", f"{slug}_by_round", "ap_by_size"} <= set(drawn)
        assert drawn[slug].draw.args[1].name == drawn[f"{slug}_by_round"].draw.args[1].name == name
        assert drawn[slug].caption.startswith(f"{name} against labeled boxes")
        [arms] = [b for b in document.blocks() if isinstance(b, ReportTable) and b.name == "arms"]
        assert name in arms.for_people[0]
    with pytest.raises(RunError, match=r"no metric 'AP_07' in common.*did you mean AP07\?"):
        write.report_text(samples.root, metric="AP_07")


def test_seeds_beyond_three_get_tables_of_their_own(samples):
    for seed in range(5):
        samples.run(f"ccms_s{seed}", seed=seed, rounds=1)
    first, second = numbers.appendix_tables(study.read_study(samples.root))
    assert [name for name, _ in first.groups] == ["", "seed 0", "seed 1", "seed 2"]
    assert [name for name, _ in second.groups] == ["", "seed 3", "seed 4"]
    assert (first.name, second.name) == ("appendix_a_1", "appendix_a_2")


@pytest.mark.parametrize(("candidates", "picked"), [(256, 64), (40, 10), (12, 12)])
def test_chance_overlap_is_that_of_random_picks(candidates, picked):
    rng = np.random.default_rng(0)
    drawn = [frozenset(rng.choice(candidates, picked, replace=False).tolist()) for _ in range(2000)]
    seen = np.mean([selected.jaccard(a, b) for a, b in zip(drawn[::2], drawn[1::2], strict=True)])
    assert selected.chance_overlap(candidates, picked) == pytest.approx(seen, abs=0.01)


def test_overlap_and_classes_against_sets(samples):
    """The sample runs permute one pool by seed and length of name: brute force over the records."""
    for arm in ("random", "entropy"):
        for seed in (1, 2):
            samples.run(f"{arm}_s{seed}", seed=seed, rounds=3, sampler={"name": arm})
    found = study.read_study(samples.root)
    overlaps = selected.overlaps(found)
    picked = {run.name: [set(record.picked) for record in run.records] for run in found.runs}
    for round in (1, 2):
        pairs = [(picked[f"entropy_s{seed}"][round], picked[f"random_s{seed}"][round]) for seed in (1, 2)]
        expected = np.mean([len(a & b) / len(a | b) for a, b in pairs])
        assert overlaps[round] == {("entropy", "random"): pytest.approx(expected)}
    everything, first, last = selected.overlap_tables(overlaps, ["random", "entropy"], 0.25)
    assert (first.note, last.note) == ("Two random picks would have 0.25.", "")
    assert (everything.columns[2:], first.name, last.name) == (
        ["round 1", "round 2"],
        "overlap_round_1",
        "overlap_round_2",
    )
    assert first.rows[0][1:] == [1.0, overlaps[1]["entropy", "random"]] == first.rows[1][:0:-1]
    longer = {**overlaps, 3: {}}  # a run that went on alone: no table of that round says nothing
    assert [table.name for table in selected.overlap_tables(longer, ["random", "entropy"])][1:] == [
        first.name,
        last.name,
    ]
    *_, alone = selected.overlap_tables(overlaps, ["random", "entropy", "stopped"])
    assert alone.rows[2][1:] == [None, None, None], "it picked nothing that it could share with itself"
    assert selected.jaccard(frozenset(), frozenset()) == 1.0

    counts = selected.class_counts(found)
    train = samples.splits.train
    truth = [np.concatenate([train[i].classes for i in picked[f"random_s{seed}"][1]]) for seed in (1, 2)]
    assert counts["random"][1]["two"] == np.mean([(classes == 2).sum() for classes in truth])


def test_costs_add_up(samples):
    """Every sample round trains for 1.5 s and evaluates for 0.25 s; its training came from the store, which saved 60 s."""
    for seed in (1, 2):
        samples.run(f"random_s{seed}", seed=seed, rounds=3, sampler={"name": "random"})
    broken = samples.run("ccms_s1", seed=1, rounds=1)
    (broken.path / "round_00/timing.json").write_text("{")
    found = costs.spent_by_arm(study.read_study(samples.root))
    assert (found["random"].total_s, found["random"].hits, found["random"].saved_s) == (6 * 1.75, 6, 360)
    assert found["ccms"].total_s == 0
    assert costs.spent_sentence(found) == (
        "The study's 7 rounds took 10.5 s of computing. 6 of their trainings came from the store, which saved 6 min 00 s."
    )


def test_oracles_stand_apart(samples):
    """An arm one of whose stages says that it is an oracle is in a table of its own, and in no other summary."""
    for arm in ("random", "ccms", "best"):
        for seed in (1, 2):
            samples.run(f"{arm}_s{seed}", seed=seed, rounds=2, sampler={"name": arm})
    for path in samples.root.glob("best_s*/round_01/record.json"):
        text = path.read_text().replace('"ccms"', '"true_loss (oracle)"')
        path.write_text(re.sub(r'\n "digest": "\w+",', "", text))  # as format 1 had it
    found = study.read_study(samples.root)
    tables = {block.name: block for block in tell(found).blocks() if isinstance(block, ReportTable)}
    assert {row[0] for row in tables["summary"].rows} == {"random", "ccms"}
    assert [row[0] for row in tables["oracles"].rows] == ["best"]
    assert {row[0]: row[-1] for row in tables["against_random_final"].rows} == {"ccms": "unknown", "best": "oracle"}


def test_images_of_another_dataset_are_not_shown(samples, data):
    """Sheets show the right images or none: a file name that is not the record's ends them with a sentence."""
    samples.run("ccms_s1", seed=1, rounds=3, done=2, sampler={"name": "ccms"}, dataset={"name": "scenes"})
    found = study.read_study(samples.root)
    [run] = found.runs
    worst, best = hardest.rank(run, 1)
    assert [image_id for image_id, _, _ in worst] == list(run.records[1].picked[: hardest.PER_ROW])
    unpicked = set(data.train.ids.tolist()) - set(run.records[1].labeled)
    assert [image_id for image_id, _, _ in best] == sorted(unpicked)[-hardest.PER_ROW :][::-1], (
        "scores fall with ids here"
    )
    sheets = hardest.sheets(found, ["ccms"], lambda config: data)
    assert [photo.name for photo in sheets.shown] == ["hardest_round_01", "easiest_round_01"] and not sheets.others
    assert sheets.sentence.startswith("The first images that each method picked in round 1")
    other = replace(data, train=data.test)
    sheets = hardest.sheets(found, ["ccms"], lambda config: other)
    assert not sheets.shown and "the dataset is not the one it was" in sheets.sentence


def test_terminal_table(samples):
    records = samples.run("ccms_s10", rounds=3).records()
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(rounds_table(records, TASK))
    lines = [line.split() for line in console.export_text().splitlines() if line.strip()]
    assert lines[:2] == [["val"], ["round", "ud", "images", "boxes", "AP", "AP50", "AP75", "APs", "APm", "APl", "loss"]]
    last = lines[-1]
    record = records[2]
    expected = [record.metrics[name] for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")]
    assert last == ["2", "0.75", str(record.images), str(record.boxes)] + [f"{value:.2f}" for value in expected] + [
        f"{record.val_loss:.3f}"
    ]


def test_tables_load_no_matplotlib():
    """`al ls` and `al run` start without it; only drawing pays for it."""
    modules = "from al_cli.report import study; from al_cli.report.of_run import plots, show, terminal"
    code = f"import sys; {modules}; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ISAL, tables 8 and 9: (mean AP as a share, mean boxes, 10k AP / bbox num) of ISAL and of random.
ISAL = {
    "isal": [(0.02366667, 1338, 0.17688092), (0.12766667, 2777.66667, 0.45961839), (0.596, 12967.6667, 0.45960466)],
    "random": [(0.12833333, 36603.6667, 0.03506024), (0.199, 73457, 0.02709068), (0.218, 80139, 0.02720273)],
}


def test_the_primary_metric_per_ten_thousand_boxes_is_that_of_isal():
    other = dict.fromkeys((*TASK.metric_names, "val_loss"))
    rounds = [
        ArmRound(arm, k, 3, {"images": 500.0, "boxes": boxes}, other | {"AP": 100 * ap}, other)
        for arm, rows in ISAL.items()
        for k, (ap, boxes, _) in enumerate(rows)
    ]
    expected = [100 * rate for rows in ISAL.values() for _, _, rate in rows]  # AP in percent
    table = numbers.arms_table(rounds, TASK)
    assert [row[table.columns.index("AP per 10,000 boxes")] for row in table.rows] == pytest.approx(expected, rel=1e-6)
    more = numbers.more_table(rounds, TASK)
    assert [row[-1] for row in more.rows] == pytest.approx(expected, rel=1e-6)
    assert more.for_people[0] == ["arm", "round", "seeds", "images", "boxes", "AP per 10,000 boxes"]
    assert [row[-1] for row in more.for_people[1]] == ["17.69", "45.96", "45.96", "3.51", "2.71", "2.72"]
    assert numbers.more_table(rounds, earliest()) is None
    nothing = TASK.costs[1]
    assert nothing.rate(20.0, 0) is nothing.rate(None, 10) is None


def test_all_metrics_are_in_files_and_those_without_room_are_folded(samples, tmp_path):
    build(samples)
    found = study.read_study(samples.root)
    document = tell(found)
    tables = {block.name: block for block in document.blocks() if isinstance(block, ReportTable)}
    record = found.of_arm("random")[0].records[2]
    row = pd.read_csv(samples.root / "random_s10/rounds.csv").iloc[2]
    assert row["AP per 10,000 boxes"] == pytest.approx(1e4 * record.metrics["AP"] / record.boxes, abs=1e-4)
    assert [row[name] for name in TASK.metric_names] == pytest.approx(
        [record.metrics[name] for name in TASK.metric_names], abs=1e-4, nan_ok=True
    )
    for name in TASK.metric_names:
        assert name in tables["runs"].columns and f"{name}_std" in tables["arms"].columns
    more = tables["more"].for_people[0]
    assert tables["more"].columns[5:7] == ["AP07_mean", "AP07_std"]
    assert more[5:] == ["AP07", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl", "AP per 10,000 boxes"]
    for name in ("runs", "arms", "appendix_a"):
        assert not {"AP07", "AR1", "AR100"} & set(tables[name].for_people[0]), name
    page = page_module.html(
        replace(document, sections=[Section("n", "All numbers", [tables["more"], tables["arms"]])]), tmp_path
    )
    assert page.count("<details>") == 1 and "<summary>More numbers: mean ± standard deviation" in page
