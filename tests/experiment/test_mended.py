"""A file of a run that is missing or broken: the same command makes it again, to the byte, or says in a sentence why not."""

import io
import logging
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from disturbed import results
from rich.console import Console
from shapes import write_yolo

from al_cli import tracking
from al_cli.errors import AlError
from al_cli.experiment import run as one_run
from al_cli.experiment.job import jobs_of
from al_cli.experiment.run import run_job
from al_cli.learners.fake import FakeLearner
from al_cli.records import RunFolder, find_runs
from al_cli.records.data import DataRecord, read_data_record
from al_cli.records.reading import RUN_FORMAT
from al_cli.sweep import execute
from al_cli.tasks import default
from al_cli.tracking import Tracker
from al_cli.types import Checkpoint

RUN = Path("outputs/s/r")
ROUNDS = 3
UNSEEN = {"run.log", "run.lock", "timing.json", "environment.json"}  # may differ between equal runs


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Word for the settings -> a finished run of them, its bytes, and its job."""
    root = tmp_path_factory.mktemp("mended")
    data = write_yolo(root / "data", {"train": 14, "val": 3, "test": 4})
    words = [
        "dataset=yolo", f"dataset.root={data}", "model=fake", "plots=false", f"rounds={ROUNDS - 1}", "initial=4", "budget=2",
        "sampler=entropy", "study=s", "run_name=r",
    ]  # fmt: skip
    kinds = {"store": [], "no store": ["store=false"], "thesis": ["store=false", "training=thesis"]}
    kinds |= {"all": ["store=false", "training.keep_checkpoints=all", "training.data=reselect"]}
    found = {}
    for kind, more in kinds.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("os.fsync", lambda handle: None)
            (root / kind).mkdir()
            patch.chdir(root / kind)
            [job] = jobs_of([*words, *more])
            run_job(job)
            found[kind] = root / kind / "outputs", results(RUN), job
    return found


@pytest.fixture
def finished(made, tmp_path, monkeypatch):
    """Put a copy of a finished run into an empty folder; gives its bytes and what runs it again."""
    monkeypatch.setattr("os.fsync", lambda handle: None)
    monkeypatch.chdir(tmp_path)

    def put(kind):
        outputs, whole, job = made[kind]
        shutil.rmtree("outputs", ignore_errors=True)
        shutil.copytree(outputs, "outputs")
        return whole, lambda: run_job(job)

    return put


def files(where: str = "") -> list[Path]:
    """The files of the run that equal runs have alike, those whose path holds this pattern."""
    found = (path for path in sorted(RUN.rglob("*")) if path.is_file() and path.name not in UNSEEN)
    return [path for path in found if re.search(where, str(path))]


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("kind", "where"), [("thesis", "round_02"), pytest.param("store", "", marks=pytest.mark.slow)], ids=str
)
def test_any_file_that_is_deleted_is_there_again(finished, kind, where):
    finished(kind)
    for path in files(where):
        whole, again = finished(kind)
        path.unlink()
        again()
        assert results(RUN) == whole, path


@pytest.mark.parametrize("where", ["round_01", "outputs/s/r/[a-z.]+$", pytest.param("", marks=pytest.mark.slow)])
def test_any_flipped_bit_is_found_and_mended(finished, caplog, where):
    finished("no store")
    rng = random.Random(0)
    for path in files(where):
        whole, again = finished("no store")
        flip(path, rng)
        caplog.clear()
        again()
        assert results(RUN) == whole, path
        assert path.name == "done.json" or path.name in caplog.text or path.parent.name in caplog.text


def test_all_weights_and_chosen_training_sets_are_made_again(finished):
    whole, again = finished("all")
    for name in ("round_01/checkpoint.pth", "round_00/checkpoint.pth", "round_01/candidates.csv"):
        (RUN / name).unlink()
    again()
    assert results(RUN) == whole


def test_several_rounds_are_mended_at_once(finished):
    whole, again = finished("thesis")
    (RUN / "round_00/predictions.npz").unlink()
    (RUN / "round_01/record.json").write_text("{")
    (RUN / "round_02/checkpoint.pth").unlink()
    again()
    assert results(RUN) == whole


# ---- weights that cannot be had again as they were: a GPU's last digits


@pytest.fixture
def drifting(monkeypatch):
    """The fake learner trains otherwise from now on, as some CUDA kernels do."""

    def fit(learner, train, original=FakeLearner.fit, **rest):
        checkpoint = original(learner, train, **rest)
        learner.state["counts"][0] += 1
        return Checkpoint(dict(learner.state), checkpoint.history)

    return lambda: monkeypatch.setattr(FakeLearner, "fit", fit)


def test_lost_weights_that_come_back_otherwise_are_a_round_of_their_own(finished, drifting, caplog):
    whole, again = finished("no store")
    old = {name: content for name, content in whole.items() if name.startswith("round_02/")}
    (RUN / "round_02/checkpoint.pth").unlink()
    drifting()
    again()
    now = results(RUN)
    for name, content in old.items():
        if not name.endswith("checkpoint.pth"):
            assert now[name.replace("round_02", "round_02.orphan")] == content
    assert now["round_01/record.json"] == whole["round_01/record.json"]
    assert "has other weights now" in caplog.text and RunFolder(RUN).state == "done"
    caplog.clear()
    again()
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING] and results(RUN) == now


def test_rounds_after_another_outcome_are_kept_aside(finished, drifting):
    whole, again = finished("no store")
    (RUN / "round_01/record.json").unlink()
    drifting()
    records = again()
    assert [record.round for record in records] == [0, 1, 2] and RunFolder(RUN).state == "done"
    now = results(RUN)
    assert now["round_02.orphan/record.json"] == whole["round_02/record.json"]
    assert now["round_02.orphan/checkpoint.pth"] == whole["round_02/checkpoint.pth"]
    assert records[2].hashes["../round_01/checkpoint.pth"] == records[1].hashes["checkpoint.pth"]


# ---- what cannot be made again is said


def refused(again) -> AlError:
    with pytest.raises(AlError) as error:
        again()
    return error.value


def test_a_lost_configuration_of_an_unfinished_run_is_a_sentence(finished):
    _, again = finished("no store")
    (RUN / "done.json").unlink()
    (RUN / "config.yaml").unlink()
    before = results(RUN)
    assert "nobody can tell what its finished rounds are of" in str(refused(again))
    assert results(RUN) == before


def test_data_that_changed_with_its_record_is_a_sentence(finished, monkeypatch):
    whole, again = finished("no store")
    (RUN / "done.json").unlink()
    (RUN / "data.csv").write_text("split,image\n")
    with monkeypatch.context() as patch:
        patch.setattr(DataRecord, "text", "other data")
        assert "the data here is not what the run began with" in str(refused(again))
    again()
    assert (RUN / "data.csv").read_bytes() == whole["data.csv"]


def test_a_round_without_its_record_lets_no_other_data_in(finished, monkeypatch):
    _, again = finished("no store")
    (RUN / "round_00/record.json").unlink()
    text = (RUN / "data.csv").read_text().replace("96", "97", 1)
    other = Path("other.csv")
    other.write_text(text)
    monkeypatch.setattr(DataRecord, "of", lambda splits: read_data_record(other))
    assert "has other size now" in str(refused(again))


def test_another_task_than_the_one_that_was_lost_is_a_sentence(finished):
    _, again = finished("no store")
    path = RUN / "task.json"
    path.write_text(path.read_text().replace("AP50", "AP51"))
    again()  # the same task as at first: it is written again
    path.write_text("{}")
    config = RunFolder(RUN).config()
    with pytest.raises(AlError, match="is not what it began with"):
        RunFolder.create(RUN, config, {}, replace(default(), line=("AP",)))


def test_an_environment_that_was_lost_does_not_make_it_another_version_s_run(finished, caplog):
    whole, again = finished("no store")
    (RUN / "environment.json").unlink()
    again()
    assert "where this process runs" in caplog.text and RunFolder(RUN).format == RUN_FORMAT
    assert results(RUN) == whole


def test_a_broken_record_is_no_reason_to_stop_a_study(finished, caplog):
    whole, again = finished("no store")
    (RUN / "round_01/record.json").write_text("[]")
    assert RunFolder(RUN).state == "stopped", "a sweep runs it"
    assert "give the command of this run again" in find_runs(RUN)[0].error
    again()
    assert results(RUN) == whole


def test_a_study_passes_over_a_finished_run_only_where_nothing_of_it_is_lost(finished, made):
    job = made["no store"][2]
    finished("no store")
    assert execute._passed_over(job).state == "done"
    for name in ("round_02/checkpoint.pth", "round_00/losses.csv", "rounds.md"):
        finished("no store")
        (RUN / name).unlink()
        assert execute._passed_over(job) is None, name


def test_broken_records_are_mended_in_another_environment_with_a_tracker_and_a_terminal(finished, made, monkeypatch):
    whole, again = finished("no store")
    for round in (0, 2):
        (RUN / f"round_0{round}/record.json").write_text("{")
    path = RUN / "environment.json"
    path.write_text(path.read_text().replace('"cpus"', '"cores"').replace('"format": 3', '"format": 1'))
    seen = []

    class Seen(Tracker):
        def __init__(self):
            """Nothing is opened."""

        def has(self, round):
            return round in seen

        def log_round(self, record, losses):
            seen.append(record.round)

        def close(self):
            """Nothing was opened."""

    monkeypatch.setattr(tracking, "open_tracker", lambda *_: Seen())
    monkeypatch.setitem(made["no store"][2].experiment.config, "tracking", "tensorboard")
    monkeypatch.setattr(one_run, "console", Console(file=io.StringIO(), force_terminal=True))
    again()
    assert results(RUN) == whole and seen == [0, 1, 2]
