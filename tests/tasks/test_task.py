"""Tasks: their plain data, their names, and a task of a user's own through every verb."""

import ast
import json
import re
from pathlib import Path

import pytest
from shapes import with_words
from statistics_samples import analyse, curve, measure

from al_cli import tasks
from al_cli.errors import ConfigError, RunError
from al_cli.experiment import replay
from al_cli.experiment.names import name_with
from al_cli.lookup import Known
from al_cli.records import RunFolder, find_runs
from al_cli.report.statistics.answer import answer, why_no_difference
from al_cli.tasks import Breakdown, Cost, Evaluation, Metric, Task, described
from al_cli.tasks.detection import TASK

PACKAGE = Path(tasks.__file__).parent.parent
MADE_UP = "made_up_task.TASK"


# ---- what a task says


def test_a_description_gives_the_task_back():
    again = described(json.loads(json.dumps(TASK.describe(), sort_keys=True)))
    assert again == TASK and list(again.breakdown.labels) == list(TASK.breakdown.labels)
    with pytest.raises(TypeError, match="evaluates nothing"):
        again.evaluate(None, None)


@pytest.mark.parametrize("wrong", [{}, [], {"name": "a"}, TASK.describe() | {"metrics": [{"nome": "x"}]}], ids=repr)
def test_what_describes_no_task_is_refused(wrong):
    with pytest.raises(ValueError, match="describes no task"):
        described(wrong)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"metrics": ()}, "at least one metric"),
        ({"metrics": (Metric("a"), Metric("a"))}, "two metrics of one name"),
        ({"costs": (Cost("images"), Cost("pictures"))}, "two costs in one column"),
        ({"line": ("b",)}, "no metric b: its metrics are a"),
        ({"breakdown": Breakdown("size", "size", "sizes", {"b": "big"})}, "no metric b"),
    ],
)
def test_a_task_whose_parts_do_not_fit_is_refused(parts, says):
    with pytest.raises(ValueError, match=says):
        Task("t", **({"metrics": (Metric("a"),), "costs": (Cost("images"),)} | parts))


@pytest.mark.parametrize("metric", [{"name": "val_loss"}, {"name": ""}, {"name": "a", "decimals": 9}])
def test_a_metric_that_tables_cannot_hold_is_refused(metric):
    with pytest.raises(ValueError, match=r"metric cannot be called|0 to 4"):
        Metric(**metric)


def test_numbers_are_written_in_the_unit_of_the_metric():
    share, percent, ms = Metric("accuracy", decimals=3), TASK.primary, Metric("speed", "ms", decimals=0)
    assert [m.text(0.12345) for m in (share, percent, ms)] == ["0.123", "0.12", "0"]
    assert [m.amount_of(m.signed(-0.00001), "AUC") for m in (share, percent, ms)] == [
        "+0.000 in AUC",
        "+0.00 points of AUC",
        "+0 ms in AUC",
    ]
    assert [m.axis for m in (share, percent, ms)] == ["accuracy", "AP (%)", "speed (ms)"]


def test_an_evaluation_without_a_declared_metric_is_an_error():
    task = Task("t", (Metric("a"), Metric("b")), (Cost("images"),), evaluate=lambda *_: Evaluation({"a": 1.0}))
    with pytest.raises(ValueError, match="declares the metric b, and its evaluation gives a"):
        task.judge(None, None)


# ---- its name


def test_tasks_are_named():
    assert tasks.named("detection") is TASK
    assert tasks.named(MADE_UP, Known(names=frozenset({MADE_UP}))).name == "presence"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("detecton", "did you mean detection?"),
        ("nowhere.to.be.FOUND", "there is no module nowhere.to.be with a source"),
        ("made_up_task.NOTHING", "NOTHING in made_up_task is not there"),
        ("made_up_task.evaluate", "evaluate in made_up_task is not there, or not made with Task of al_cli"),
        ("made_up_task.NO_TASK", "is of type int, not a Task"),
    ],
)
def test_a_wrong_name_says_what_is_wrong(name, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        tasks.named(name, Known(names=frozenset({name})))


def test_the_default_is_no_part_of_a_folders_name():
    assert name_with("ccms", ["task=detection"], 1) == "ccms_s1"
    assert name_with("ccms", [f"task={MADE_UP}"], 1) == "ccms_taskmade-up-task.TASK_s1"


def test_old_folders_are_detection(tmp_path):
    (tmp_path / "config.yaml").write_text("rounds: 2\n")
    assert RunFolder(tmp_path).task() == tasks.earliest() and TASK.covers(tasks.earliest())
    assert RunFolder(tmp_path).config()["task"] == "detection"
    RunFolder.create(tmp_path, {"rounds": 2, "task": "detection"}, {}).close()  # and go on as that
    (tmp_path / "task.json").write_text("{")
    with pytest.raises(RunError, match="the task cannot be read"):
        RunFolder(tmp_path).task()
    assert find_runs(tmp_path)[0].state == "failed"


# ---- a task of a user's own, from the first word to the report


@pytest.fixture
def made_up(al, fake):
    """`al run` with the made-up task and the fake learner, in the empty folder of `al`."""
    words = [*fake, f"task={MADE_UP}", "initial=8", "budget=6", "store=false"]
    return lambda *more: al(*with_words(words, *more))


def test_one_run_speaks_of_its_own_metrics(al, made_up):
    done = made_up("rounds=1", "study=s", "run_name=one", "sampler=random", "tracking=tensorboard", "plots=true")
    assert "8 images labeled: closeness 0." in done.stderr and "boxes labeled" not in done.stderr
    assert re.search(r"Best closeness 0\.\d{3} in round \d with", done.stdout)
    folder = al.cwd / "outputs/s/one"
    assert (folder / "rounds.csv").read_text().startswith("round,images,closeness,accuracy,val_loss,ud,epochs\n")
    assert re.search(r"\| +8 \| +0\.\d{3} \| +1\.000 \|", (folder / "rounds.md").read_text())
    plots = {path.name for path in (folder / "plots").iterdir()}
    assert "closeness_vs_images.png" in plots and not any("boxes" in name or "size" in name for name in plots)
    logged = (folder / "tracking/events.out.tfevents.round_01").read_bytes()
    assert b"by_images/closeness" in logged and b"boxes" not in logged
    assert "best closeness" in al("ls").stdout
    al("show", folder)
    # a folder's word is not enough to run code
    assert "name it yourself: task=made_up_task.TASK" in al("replay", folder, code=2).stderr
    assert replay.plan_replay(folder, [f"task={MADE_UP}"]).job.config["task"] == MADE_UP


CLAIM = {"arm": "entropy", "against": "random", "metric": "closeness", "cost": "images", "alpha": 0.05}


def test_a_study_of_a_made_up_task_has_a_verdict(al, made_up):
    done = made_up("-m", "rounds=1", "study=st", "sampler=random,entropy", "seed=0,1,2")
    assert "final closeness" in done.stdout and "6 of 6 runs done." in done.stdout
    study = al.cwd / "outputs/st"
    report = al("report", study, "--target", "closeness=0.2", "--format", "md").stdout
    assert re.search(r"entropy against random: [+-]0\.\d{3} in AUC of closeness against images", report)
    assert "labels to closeness 0.2" in report and "No run is missing." in report
    for false in ("nothing to compare", "boxes", "points", "in percent", "By round and"):
        assert false not in report
    al("report", study)
    figures = {path.stem for path in (study / "report").glob("*.svg")}
    assert {"closeness", "closeness_by_round", "ranking"} <= figures and not any("boxes" in name for name in figures)
    refused = al("report", study, "--target", "AP=30", code=2).stderr
    assert "'AP' is no metric to reach" in refused and "valid: accuracy, closeness" in refused


def test_processes_of_a_sweep_find_the_task(al, fake):
    base = dict(word.split("=", 1) for word in fake[1:-1])
    base |= {"plots": False, "task": MADE_UP, "rounds": 1, "initial": 8, "budget": 6}
    sweep = {"base": base, "arms": [{"name": name, "sampler": name} for name in ("random", "entropy")]}
    (al.cwd / "st.yaml").write_text(json.dumps(sweep | {"claim": CLAIM}))
    done = al("sweep", "st.yaml", f"task={MADE_UP}", "--jobs", "2")  # typed: a study's file may be somebody else's
    assert "final closeness" in done.stdout and "2 of 2 runs done." in done.stdout
    assert re.search(r"random seed 0 round 1 of 1 closeness 0\.\d{3} ", done.stderr)
    claim = "Claim: entropy is better than random in final closeness (alpha 0.05)"
    assert claim in al("report", "outputs/st", "--format", "md").stdout
    (al.cwd / "st.yaml").write_text(json.dumps(sweep | {"claim": CLAIM | {"metric": "AP"}}))
    assert "'AP' is no metric of a claim on task presence" in al("sweep", "st.yaml", f"task={MADE_UP}", code=2).stderr


def test_runs_of_two_tasks_are_listed_and_not_compared(al, made_up, fake):
    made_up("rounds=1", "study=s", "run_name=ours", "sampler=random")
    al(*fake, "rounds=1", "study=s", "run_name=theirs", "sampler=random", "store=false")
    listed = al("ls").stdout
    assert re.search(r"closeness 0\.\d{3} ", listed) and re.search(r"AP \d+\.\d\d ", listed) and "best AP" not in listed
    error = al("report", "outputs/s", code=2).stderr
    assert (
        "runs of two tasks cannot be compared: ours is of presence (closeness, accuracy), theirs is of detection (AP, "
        in error
    )


def test_a_metric_without_values_is_not_called_a_missing_run(al, fake):
    """Objects of one size only: APl has no value in any run, though all are complete."""
    runs = [curve(arm, seed, [None, None, None]) for arm in ("random", "b") for seed in (1, 2, 3)]
    [sentence] = answer(analyse(runs, random="random"))
    assert sentence == (
        "No two arms can be compared in AUC of AP against images: random_s1 is complete, but has no value of AP."
    )
    where = {"random": [100, 200], "b": [300, 400]}
    apart = [curve(arm, seed, [1.0, 2.0], images=images) for arm, images in where.items() for seed in (1, 2, 3)]
    assert "share no range of images" in answer(analyse(apart, random="random"))[0]
    falling = [curve(arm, 1, [10.0, 20.0], images=[200, 100]) for arm in ("random", "b")]
    assert "do not grow from round to round" in answer(analyse(falling, random="random"))[0]
    assert why_no_difference(runs, "random", "b", measure("final")) == "random_s1 is complete, but has no value of AP"

    al(*fake, "rounds=1", "study=s", "run_name=a_s0", "sampler=random", "store=false")
    for path in (al.cwd / "outputs/s/a_s0").glob("round_*/record.json"):
        record = json.loads(path.read_text())
        del record["digest"]  # as earlier versions wrote it: this one would be called changed
        path.write_text(json.dumps(record | {"metrics": record["metrics"] | {"APl": None}}))
    error = al("report", "outputs/s", "--target", "APl=30", code=2).stderr
    assert "no run has a value of APl, so none can reach 30" in error
    assert "APl" not in error.partition("take another metric: ")[2]  # it has none


# ---- nobody else knows a metric

# Prose about papers and data, which names what they report.
PROSE = {
    "datasets/digits.py": "what the test split is made for",
    "samplers/detection_errors.py": "a threshold of PASCAL VOC",
    "samplers/score_margin.py": "what the source found",
}
# "boxes" as geometry, as a unit of budgets and as what a dataset's table counts.
GEOMETRY = {
    "budget.py", "loop/plan.py", "types.py", "experiment/settings.py", "experiment/sampling.py", "records/formats.py",
    "records/rounds.py", "datasets/checks.py", "samplers/as_modal.py", "samplers/ccms.py", "samplers/guide.py",
    "tasks/base.py", "experiment/dataset_settings.py",
}  # fmt: skip
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "detection.py"]


def test_only_the_task_names_its_metrics_and_costs():
    wrong = []
    for path in FILES:
        name, text = path.relative_to(PACKAGE).as_posix(), path.read_text()
        metric = re.search(r"\bAPs?\b|\b(AP50|AP75|AP07|APm|APl|AR1|AR10|AR100|ARs|ARm|ARl)\b|\bap_", text)
        if metric is not None and name not in PROSE:
            wrong.append(f"{name} names the metric {metric[0]} of detection")
        if re.search("[\"']boxes[\"']", text) and name not in GEOMETRY:
            literals = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
            if "boxes" in literals:
                wrong.append(f"{name} names the cost boxes of detection")
    assert not wrong, "\n".join(wrong)


def said_in(text):
    """The texts in a source that are no docstrings."""
    tree = ast.parse(text)
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs)
    return [node.value for node in constants if isinstance(node.value, str)]


def test_only_classification_names_its_metrics():
    named = re.compile(rf"\b({'|'.join(tasks.named('classification').metric_names)}|top-5|top-20)\b")
    wrong = []
    for path in FILES:
        text = path.read_text()
        if path.name != "classification.py" and named.search(text):
            found = [part for part in said_in(text) if named.search(part)]
            wrong += [f"{path.relative_to(PACKAGE)} names a metric of classification: {found}"] if found else []
    assert not wrong, "\n".join(wrong)


def test_a_metric_in_code_is_found_and_one_in_a_docstring_is_not():
    assert said_in('"""accuracy"""\ndef f():\n    """F1"""\n    return "top5", f"{f} F1"') == ["top5", " F1"]


def test_the_exceptions_are_needed():
    for name in PROSE:
        assert re.search(r"\bAP", (PACKAGE / name).read_text()), f"{name} needs no exception any more"
    for name in GEOMETRY:
        assert '"boxes"' in (PACKAGE / name).read_text(), f"{name} needs no exception any more"
