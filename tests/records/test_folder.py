"""A run on disk: what is written reads back, equal runs have equal bytes, and no kill leaves half a round."""

import copy
import csv
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from al_cli import system
from al_cli.errors import ConfigError, RunError
from al_cli.experiment.job import jobs_of
from al_cli.records import Round, RunFolder, find_runs, formats, reading
from al_cli.records import folder as folder_module
from al_cli.records.rounds import parse_record, record_text
from al_cli.records.settings import as_stored, config_text, parse_config, what_is
from al_cli.tasks import Evaluation
from al_cli.types import Choice, Dataset, Image, LossPoint, Predictions, RoundRecord, Selection, Signal, StageLog

CONFIG = {"sampler": {"name": "ccms", "stages": [{"keep": "ud"}]}, "rounds": 2, "seed": 3, "lr": 1e-5}
TRAIN = Dataset(
    ("cat", "dog"),
    [
        Image(1, Path("in/a.png"), 100, 100, [[0, 0, 10, 10], [5, 5, 30, 30]], [0, 1]),
        Image(2, Path("in/b, c.png"), 100, 100, [], []),
        Image(5, Path("in/d.png"), 100, 100, [[0, 0, 10, 10], [0, 0, 90, 90]], [1, 1], [False, True]),
        Image(9, Path("in/e.png"), 100, 100, [[0, 0, 10, 10]], [0]),
    ],
)
SCORED = Dataset(
    ("cat", "dog"),
    [Image(i, Path(f"in/{i}.png"), 100, 100, [], [], source_id=2**40 + i) for i in (3, 4)],
    category_ids=(7, 90),
)
PICKED = ((5, 2), (1,), (9,))


def round_of(number):
    """The parts of round 0, 1 or 2 of a run on TRAIN."""
    labeled = sum(PICKED[: number + 1], ())
    record = RoundRecord(
        round=number,
        seed=3,
        ud=None if number == 0 else 1 / (number + 1),
        labeled=labeled,
        picked=PICKED[number],
        scores=(None, float("nan")) if number == 0 else (0.1 + number,),
        stages=(StageLog("class_entropy", 4, 2), StageLog("ccms", 2, 1, "ud=1")),
        images=len(labeled),
        boxes=TRAIN.select(labeled).box_count,
        metrics={"AP": 100 / 3 + number, "AP50": 50.0, "AP75": 0.0, "APs": 1e-7, "APm": None, "APl": None, "AR1": 5.0},
        val_loss=None if number == 0 else 1.25,
        hashes={},
    )
    per_class = (
        {"class": "cat", "images": 1, "boxes": 2, "AP": 1 / 3},
        {"class": "dog", "images": 0, "boxes": 0, "AP": None},
    )
    probs = {Signal.PROBS: [[0.25, 0.5]]}
    candidates = np.array([1, 2, 5, 9] if number == 0 else [1, 9])
    dropped_by = {0: [1, 0, 0, 1], 1: [0, 2], 2: [1, 0]}[number]
    scores = np.array([0.5, np.nan, 2.0, 3.0])
    chosen = Selection(PICKED[number], np.full(len(PICKED[number]), np.nan))
    return record, {
        "predictions": Predictions([3, 4], [0, 1, 1], [[0, 0, 5, 5]], [0.5], [1], 2, columns=probs),
        "scored": SCORED,
        "evaluation": Evaluation(record.metrics, per_class),
        "history": (LossPoint(1, 0.75), LossPoint(2, 0.5, 1.25)),
        "picked": TRAIN.select(PICKED[number]),
        "labeled": TRAIN.select(labeled),
        "choice": Choice(chosen, record.stages, candidates, scores[: len(candidates)], np.array(dropped_by)),
        "names": {image.id: image.path.name for image in TRAIN.images},
        "timing": {"train_s": 1.5},
    }


def write(folder, *numbers):
    stored = []
    for number in numbers:
        record, parts = round_of(number)
        stored.append(folder.write_round(Round(record, **parts)))
    return stored


def make(path, *numbers):
    with RunFolder.create(path, CONFIG, {"device": "cpu"}) as folder:
        write(folder, *numbers)
    return folder


def tree(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


# ---- what is written


def test_records_read_back_exactly(tmp_path):
    with RunFolder.create(tmp_path / "run", CONFIG, {}) as folder:
        stored = write(folder, 0, 1, 2)
    read = RunFolder(tmp_path / "run").records()
    assert read == stored
    assert read[0].scores == (None, None)  # NaN has no place in JSON
    for number, record in enumerate(read):
        expected = replace(round_of(number)[0], hashes=record.hashes, scores=record.scores)
        assert record == expected


def test_the_metric_that_early_stopping_watches_is_a_column_where_one_is(tmp_path):
    record, parts = round_of(0)
    history = [LossPoint(1, 0.75), LossPoint(2, 0.5, 1.25, 30.0), LossPoint(4, 0.25, 1.5)]
    with RunFolder.create(tmp_path, CONFIG, {}) as folder:
        folder.write_round(Round(record, **parts | {"history": history}))
    text = (tmp_path / "round_00/losses.csv").read_text()
    assert text == "iteration,train_loss,val_loss,metric\n1,0.75,,\n2,0.5,1.25,30\n4,0.25,1.5,\n"
    assert folder.losses(0) == history


def test_files_of_a_round(tmp_path):
    make(tmp_path, 0, 1)
    folder = tmp_path / "round_01"
    assert (folder / "selection.csv").read_text() == "order,image_id,image,score,boxes\n1,1,a.png,1.1,2\n"
    assert (tmp_path / "round_00/selection.csv").read_text() == (
        'order,image_id,image,score,boxes\n1,5,d.png,,1\n2,2,"b, c.png",,0\n'
    )
    assert (folder / "candidates.csv").read_text() == (
        "image_id,image,score,stage,outcome\n1,a.png,0.5,,picked\n9,e.png,,2,ccms\n"
    )
    assert (folder / "class_counts.csv").read_text() == "class,picked,labeled\ncat,1,1\ndog,1,2\n"
    assert (folder / "losses.csv").read_text() == "iteration,train_loss,val_loss\n1,0.75,\n2,0.5,1.25\n"
    assert (folder / "per_class.csv").read_text() == "class,images,boxes,AP\ncat,1,2,0.333333\ndog,0,0,\n"
    assert (folder / "metrics.csv").read_text() == (
        "round,images,boxes,AP,AP50,AP75,APs,APm,APl,AR1,val_loss\n1,3,3,34.3333,50,0,1e-07,,,5,1.25\n"
    )
    assert json.loads((folder / "timing.json").read_text()) == {"train_s": 1.5}
    assert RunFolder(tmp_path).class_counts(1) == {"cat": (1, 1), "dog": (1, 2)}
    assert RunFolder(tmp_path).losses(1) == [LossPoint(1, 0.75), LossPoint(2, 0.5, 1.25)]


def test_what_a_round_that_selects_anew_trained_on(tmp_path):
    """Round 1 chose images 2 and 1 of all four; 2 was labeled in round 0, so 1 alone is picked, and 5 is not trained on."""
    with RunFolder.create(tmp_path, CONFIG, {}) as folder:
        write(folder, 0)
        record, parts = round_of(1)
        candidates, scores, dropped_by = np.array([[1, 2, 5, 9], [3, 4, 2, 1], [0, 0, 2, 1]])
        chosen = Selection([2, 1], [4.0, 3.0])
        parts["choice"] = Choice(chosen, record.stages, candidates, scores.astype(float), dropped_by)
        folder.write_round(Round(record, **parts))
    assert (tmp_path / "round_01/candidates.csv").read_text().splitlines()[1:] == [
        "1,a.png,3,,picked", '2,"b, c.png",4,,reselected', "5,d.png,2,2,ccms", "9,e.png,1,1,class_entropy"
    ]  # fmt: skip
    assert RunFolder(tmp_path).trained_on(0) == (2, 5)
    assert RunFolder(tmp_path).trained_on(1) == (1, 2)
    assert RunFolder(tmp_path).records()[1].picked == (1,)


def test_tables_of_a_run(tmp_path):
    make(tmp_path, 0, 1)
    assert (tmp_path / "rounds.csv").read_text() == (
        'round,images,boxes,AP,AP50,AP75,APs,APm,APl,AP07,AR1,AR10,AR100,ARs,ARm,ARl,"AP per 10,000 boxes",val_loss,ud\n'
        "0,2,1,33.3333,50,0,1e-07,,,,5,,,,,,333333.3333,,\n"
        "1,3,3,34.3333,50,0,1e-07,,,,5,,,,,,114444.4444,1.25,0.5\n"
    )
    lines = (tmp_path / "rounds.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert ",".join(cells[0]) == "round,images,boxes,AP,AP50,AP75,APs,APm,APl,val_loss,ud"
    assert ",".join(cells[3]) == "1,3,3,34.33,50.00,0.00,0.00,,,1.25,0.50"
    assert len({len(line) for line in lines}) == 1


def test_record_hashes_are_those_of_the_files(tmp_path):
    make(tmp_path, 0)
    hashes = dict(RunFolder(tmp_path).records()[0].hashes)
    assert set(hashes) == {
        "../task.json", "metrics.csv", "per_class.csv", "predictions.npz", "losses.csv", "selection.csv", "candidates.csv",
        "class_counts.csv",
    }  # fmt: skip
    for name, value in hashes.items():
        assert hashlib.sha256((tmp_path / "round_00" / name).read_bytes()).hexdigest() == value


def test_predictions_are_a_plain_npz_without_timestamps(tmp_path):
    make(tmp_path, 0)
    path = tmp_path / "round_00/predictions.npz"
    expected = round_of(0)[1]["predictions"]
    with np.load(path, allow_pickle=False) as data:
        assert data["scores"].tolist() == [0.5]
        assert data["column/probs"].tolist() == [[0.25, 0.5]]
        assert data["image_names"].tolist() == ["3.png", "4.png"] and data["class_names"].tolist() == ["cat", "dog"]
        assert data["source_image_ids"].tolist() == [2**40 + 3, 2**40 + 4] and data["category_ids"].tolist() == [7, 90]
    assert {entry.date_time for entry in zipfile.ZipFile(path).infolist()} == {(1980, 1, 1, 0, 0, 0)}
    read = RunFolder(tmp_path).predictions(0)
    for name in ("image_ids", "offsets", "boxes", "scores", "classes"):
        assert getattr(read, name).dtype == getattr(expected, name).dtype
        assert np.array_equal(getattr(read, name), getattr(expected, name))
    assert (read.num_classes, read.prob_kind) == (2, "softmax")
    assert read.columns[Signal.PROBS].tolist() == [[0.25, 0.5]]


def test_npz_bytes_depend_on_values_not_on_memory_layout():
    array = np.arange(12.0).reshape(3, 4)
    assert formats.npz_bytes({"a": array}) == formats.npz_bytes({"a": np.asfortranarray(array)})
    assert formats.npz_bytes({"a": array}) != formats.npz_bytes({"a": array + 1})


def test_equal_runs_have_equal_bytes(tmp_path):
    make(tmp_path / "a", 0, 1, 2).mark_done()
    make(tmp_path / "b", 0, 1, 2).mark_done()
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_markdown_escapes_what_would_break_the_table():
    table = formats.markdown_text(("name", "n"), [("a|b", 1)])
    assert table.splitlines()[2] == "| a\\|b |   1 |"


def test_write_round_refuses_the_wrong_round_or_images(tmp_path):
    with RunFolder.create(tmp_path, CONFIG, {}) as folder:
        with pytest.raises(ValueError, match="round 1 cannot be written after 0"):
            write(folder, 1)
        write(folder, 0)
        with pytest.raises(ValueError, match="round 0 cannot be written after 1"):
            write(folder, 0)
        record, parts = round_of(1)
        with pytest.raises(ValueError, match="not those that its record names"):
            Round(record, **(parts | {"picked": TRAIN.select([9])}))


# ---- kills


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code under test may catch it."""


STEPS = (
    "metrics.csv", "per_class.csv", "predictions.npz", "losses.csv", "selection.csv", "candidates.csv", "class_counts.csv",
    "timing.json", "rounds.csv", "rounds.md", "record.json",
)  # fmt: skip


@pytest.mark.parametrize("half", [False, True], ids=["before", "midway"])
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_file_leaves_no_half_round(tmp_path, monkeypatch, step, half):
    make(tmp_path / "whole", 0, 1)
    real = system.write_atomic

    def killing(path, content):
        if path.name == step and path.exists() == (path.parent.name == "run"):
            if half:
                path.with_name(f".{path.name}.tmp").write_bytes(b"half")
            raise Killed
        real(path, content)

    folder = RunFolder.create(tmp_path / "run", CONFIG, {"device": "cpu"})
    write(folder, 0)
    monkeypatch.setattr(folder_module, "write_atomic", killing)
    with pytest.raises(Killed):
        write(folder, 1)
    folder.close()
    monkeypatch.undo()

    assert [record.round for record in RunFolder(tmp_path / "run").records()] == [0]
    with RunFolder.create(tmp_path / "run", CONFIG, {"device": "cpu"}) as folder:
        folder.clean_unfinished()
        assert not (tmp_path / "run/round_01").exists()
        write(folder, 1)
    assert tree(tmp_path / "run") == tree(tmp_path / "whole")


def test_clean_unfinished_removes_what_has_no_record_and_keeps_what_follows_it(tmp_path):
    make(tmp_path, 0, 1, 2)
    (tmp_path / "round_01/record.json").unlink()
    (tmp_path / "round_notes").mkdir()
    assert [record.round for record in RunFolder(tmp_path).records()] == [0]
    RunFolder(tmp_path).clean_unfinished()
    assert sorted(path.name for path in tmp_path.glob("round_*")) == ["round_00", "round_02", "round_notes"]


# ---- who works here


HOLD = """
import sys, time
from al_cli.records import RunFolder
with RunFolder.create(sys.argv[1], {"rounds": 2}, {}):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_run_belongs_to_one_process(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        assert RunFolder(tmp_path / "run").state == "running"
        assert [run.state for run in find_runs(tmp_path)] == ["running"]
        with pytest.raises(RunError, match="another process is working"):
            RunFolder.create(tmp_path / "run", {"rounds": 2}, {})
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert RunFolder(tmp_path / "run").state == "stopped"
    with RunFolder.create(tmp_path / "run", {"rounds": 2}, {}) as folder:
        assert folder.state == "stopped"  # its own lock is not another's


def test_states(tmp_path):
    with RunFolder.create(tmp_path, CONFIG, {}) as folder:
        assert folder.state == "stopped"
        folder.mark_failed(ConfigError("budget is 0", where="budget=0", remedy="give 1"))
        assert (folder.state, folder.error) == ("failed", "budget is 0 (budget=0): give 1")
        assert "Traceback" not in (tmp_path / "error.txt").read_text()
        try:
            raise RuntimeError("loss is nan\nat iteration 3")
        except RuntimeError as error:
            folder.mark_failed(error)
        assert folder.error == "RuntimeError: loss is nan"
        assert "Traceback" in (tmp_path / "error.txt").read_text()
        folder.clear_failure()
        folder.clear_failure()
        assert (folder.state, folder.error) == ("stopped", "")
        write(folder, 0, 1, 2)
        assert folder.state == "stopped"
        folder.mark_failed(RuntimeError("late"))
        folder.mark_done()
        assert folder.state == "done"
        (tmp_path / "round_02/record.json").unlink()
        assert folder.state == "stopped"  # a round was taken away since


# ---- configuration and environment


def test_config_is_stored_and_the_same_one_is_taken_up_again(tmp_path):
    make(tmp_path, 0)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == CONFIG
    before = tree(tmp_path)
    same = json.loads(json.dumps(CONFIG))
    with RunFolder.create(tmp_path, dict(reversed(same.items())), {"device": "cpu"}) as folder:
        added = {
            "task": "detection",
            "portable": False,
            "evaluate": "test",
            "measure_loss": False,
            "measure_training": False,
            "stop": {"metric": None, "at": None},
        }
        assert folder.config() == added | CONFIG
        assert folder.total_rounds == 3
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 4}, "seed was 3 and is now 4"),
        ({"sampler": {"name": "ccms", "stages": []}}, "sampler.stages was"),
        ({"extra": None}, "extra was nothing and is now None"),
        ({"sampler": {"name": "random"}}, "sampler.stages was .* and is now nothing"),
    ],
)
def test_another_config_is_refused_with_the_keys(tmp_path, changed, said):
    make(tmp_path, 0)
    before = tree(tmp_path)
    with pytest.raises(RunError, match=said) as error:
        RunFolder.create(tmp_path, CONFIG | changed, {})
    assert "run_name=" in error.value.remedy
    assert tree(tmp_path) == before
    make(tmp_path)  # the refusal left no lock behind


def test_another_environment_is_kept_beside_the_first(tmp_path, caplog):
    make(tmp_path, 0)
    with RunFolder.create(tmp_path, CONFIG, {"device": "cuda"}):
        pass
    assert json.loads((tmp_path / "environment.json").read_text()) == {
        "format": reading.RUN_FORMAT,
        "device": "cpu",
    }
    assert json.loads((tmp_path / "environment_round_01.json").read_text()) == {
        "format": reading.RUN_FORMAT,
        "device": "cuda",
    }
    assert "device was cpu, is cuda" in caplog.text


# ---- broken files


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"round": 0}', "\x00\x01", "[" * 100_000],
    ids=["empty", "cut", "list", "bare", "keys", "binary", "deep"],
)
def test_a_broken_record_is_named(tmp_path, text):
    make(tmp_path, 0, 1)
    (tmp_path / "round_01/record.json").write_text(text)
    with pytest.raises(RunError, match=r"round_01/record\.json"):
        RunFolder(tmp_path).records()
    run = find_runs(tmp_path)[0]
    assert run.state == "failed"
    assert "round_01/record.json" in run.error


def test_a_record_in_the_wrong_folder_is_named(tmp_path):
    make(tmp_path, 0, 1)
    (tmp_path / "round_00/record.json").write_bytes((tmp_path / "round_01/record.json").read_bytes())
    with pytest.raises(RunError, match="it is the record of round 1"):
        RunFolder(tmp_path).records()


def test_predictions_that_cannot_be_had(tmp_path):
    make(tmp_path, 0)
    with pytest.raises(RunError, match=r"round 3 is not finished .*finished: 0 to 0"):
        RunFolder(tmp_path).predictions(3)
    (tmp_path / "round_00/predictions.npz").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(RunError, match=r"predictions\.npz"):
        RunFolder(tmp_path).predictions(0)


def test_no_run_at_all(tmp_path):
    with pytest.raises(RunError, match="no run here"):
        RunFolder(tmp_path).config()
    assert RunFolder(tmp_path).records() == []
    assert RunFolder(tmp_path).state == "stopped"


# ---- checkpoints and lists


def test_checkpoints(tmp_path):
    folder = RunFolder(tmp_path)
    path = folder.checkpoint_path(4)
    assert path == tmp_path / "round_04/checkpoint.pth"
    path.write_bytes(b"weights")
    folder.drop_checkpoint(4)
    folder.drop_checkpoint(4)
    assert not path.exists()


def test_find_runs(tmp_path):
    make(tmp_path / "digits/ccms_s1", 0, 1)
    make(tmp_path / "digits/ccms_s0", 0, 1, 2).mark_done()
    make(tmp_path / "own/random_s0").mark_failed(RuntimeError("no"))
    (tmp_path / "digits/report").mkdir()
    (tmp_path / "own/.hydra").mkdir()
    (tmp_path / "own/.hydra/config.yaml").write_text("a: 1")
    runs = find_runs(tmp_path)
    assert [(str(r.path.relative_to(tmp_path)), r.state, r.rounds_done, r.rounds_total) for r in runs] == [
        ("digits/ccms_s0", "done", 3, 3),
        ("digits/ccms_s1", "stopped", 2, 3),
        ("own/random_s0", "failed", 0, 3),
    ]
    assert [run.best for run in find_runs(tmp_path)] == [100 / 3 + 2, 100 / 3 + 1, None]
    assert [run.error for run in find_runs(tmp_path / "own")] == ["RuntimeError: no"]
    assert [run.path.name for run in find_runs(tmp_path / "digits/ccms_s0")] == ["ccms_s0"]
    assert find_runs(tmp_path / "nowhere") == []


def test_csv_reads_back_with_the_standard_reader(tmp_path):
    path = tmp_path / "t.csv"
    rows = [('say "x"', 1.5), ("ü", None), ("c", 12345678.25), ("d", 1e-9)]
    system.write_atomic(path, formats.csv_text(("a", "b"), rows))
    with path.open(newline="", encoding="utf-8") as file:
        read = list(csv.reader(file))
    assert read == [["a", "b"], ['say "x"', "1.5"], ["ü", ""], ["c", "12345678.25"], ["d", "1e-09"]]


def test_a_run_of_another_format_is_read_and_not_continued(tmp_path):
    make(tmp_path, 0)
    record = tmp_path / "round_00/record.json"
    record.write_text(re.sub(r'\n "digest": "\w+",', "", record.read_text()))  # as format 1 had it
    path = tmp_path / "environment.json"
    for content, said in (("{}", "format 1"), ('{"format": 99}', "format 99")):
        path.write_text(content)
        before = tree(tmp_path)
        with pytest.raises(RunError, match=said) as error:
            RunFolder.create(tmp_path, CONFIG, {})
        assert "run_name=" in error.value.remedy and tree(tmp_path) == before
        assert [run.rounds_done for run in find_runs(tmp_path)] == [1]


def test_a_run_killed_before_its_environment_was_written_continues(tmp_path):
    RunFolder.create(tmp_path, CONFIG, {"device": "cpu"}).close()
    (tmp_path / "environment.json").unlink()
    RunFolder.create(tmp_path, CONFIG, {"device": "cpu"}).close()
    assert RunFolder(tmp_path).format == reading.RUN_FORMAT


def test_only_an_oracle_s_record_has_the_key_and_old_records_are_read_with_it(tmp_path):
    folder = make(tmp_path, 0)
    path = tmp_path / "round_00/record.json"
    assert "oracle" not in path.read_text() and not folder.records()[0].oracle
    record = replace(folder.records()[0], stages=(StageLog("true_loss -> top", 4, 2, oracle=True),))
    text = record_text(record)
    assert json.loads(text)["stages"] == [
        {"name": "true_loss -> top", "candidates": 4, "kept": 2, "skipped": "", "oracle": True}
    ]
    assert parse_record(text) == record and record.oracle
    old = text.replace(', "oracle": true', "").replace('"oracle": true,', "").replace("-> top", "-> top (oracle)")
    old = re.sub(r'\n "digest": "\w+",', "", old)
    assert parse_record(old) == record


def test_a_configuration_from_before_the_options_of_today_is_the_same_run(fake):
    """Each of these keys is left out, as an earlier version wrote it: the run is the same, and not another one."""
    for words in (["sampler=half_random"], ["sampler=coreset"], ["sampler=ccms"]):
        [job] = jobs_of([*(word for word in fake[1:] if word != "model=fake"), *words])
        before = copy.deepcopy(job.experiment.recorded)
        before["model"].pop("loss_prediction", None)
        for key in ("measure_loss", "measure_training", "stop"):
            del before[key]
        for key in ("milestones", "shuffle"):
            del before["training"][key]
        for stage in before["sampler"]["stages"]:
            stage.pop("of", None)
            for option in ("feature", "clustering", "pick"):
                if stage["select"].get(option) in ("image", "swap", "draw"):
                    del stage["select"][option]
        assert before != job.experiment.recorded
        assert what_is(as_stored(job.experiment.recorded), parse_config(config_text(before))) == "same"
