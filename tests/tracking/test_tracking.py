"""Trackers, read back with their own readers: every round once, whatever was killed in between."""

import dataclasses
import importlib.util
import json
import os
import signal
import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from al_cli import tracking
from al_cli.errors import ConfigError
from al_cli.records import RunFolder
from al_cli.records.formats import csv_text
from al_cli.records.rounds import record_text
from al_cli.system import write_atomic
from al_cli.tasks.detection import TASK
from al_cli.types import LossPoint, RoundRecord, StageLog

ROOT = Path(__file__).parents[2]
CONFIG = {"rounds": 2, "seed": 3, "model": {"name": "fake", "overrides": {}}, "ud_split": [1.0, 0.5]}
LOSSES = [LossPoint(10, 1.5), LossPoint(20, 0.75, 0.875)]


def record(round: int, ap: float | None = None) -> RoundRecord:
    """A round of 4 images with 3 boxes each; nothing large was seen."""
    n = 4 * (round + 1)
    return RoundRecord(
        round=round,
        seed=3,
        ud=0.5 if round else None,
        labeled=tuple(range(n)),
        picked=tuple(range(n - 4, n)),
        scores=(None,) * 4,
        stages=(StageLog("random", 12 - n + 4, 4),),
        images=n,
        boxes=3 * n,
        metrics={"AP": 10.0 * (round + 1) if ap is None else ap, "APl": None},
        val_loss=0.875,
        hashes={},
    )


def write(folder: RunFolder, one: RoundRecord) -> RoundRecord:
    path = folder.round_path(one.round)
    path.mkdir(exist_ok=True)
    rows = [(point.iteration, point.train_loss, point.val_loss) for point in LOSSES]
    write_atomic(path / "losses.csv", csv_text(("iteration", "train_loss", "val_loss"), rows))
    write_atomic(path / "record.json", record_text(one))
    return one


@pytest.fixture
def folder(tmp_path):
    with RunFolder.create(tmp_path / "outputs/study/random_s3", CONFIG, {}) as made:
        yield made


EXPECTED = {  # by hand, of the first two rounds
    "by_round/AP": [(0, 10), (1, 20)],
    "by_images/AP": [(4, 10), (8, 20)],
    "by_boxes/AP": [(12, 10), (24, 20)],
    "by_round/val_loss": [(0, 0.875), (1, 0.875)],
    "by_images/val_loss": [(4, 0.875), (8, 0.875)],
    "by_boxes/val_loss": [(12, 0.875), (24, 0.875)],
    "by_round/images": [(0, 4), (1, 8)],
    "by_round/boxes": [(0, 12), (1, 24)],
    "by_round/ud": [(1, 0.5)],
    **{f"train_loss/round_0{n}": [(10, 1.5), (20, 0.75)] for n in (0, 1)},
    **{f"val_loss/round_0{n}": [(20, 0.875)] for n in (0, 1)},
}  # fmt: skip


def tensorboard_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tracking"), size_guidance={"scalars": 0}).Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def mlflow_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder.parent.parent.resolve() / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(folder.parent.name)
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == folder.name and run.data.params["model.name"] == "fake"
    tags = run.data.metrics
    return {tag: sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, tag)) for tag in tags}


def wandb_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The history of all offline files: LevelDB's log format (blocks of 32 KiB) around W&B's records."""
    from wandb.proto.wandb_internal_pb2 import Record

    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted((folder / "tracking/wandb").glob("offline-run-*/run-*.wandb")):
        data, at, whole = path.read_bytes(), 7, b""
        while at + 7 <= len(data):
            if 32768 - at % 32768 < 7:
                at += 32768 - at % 32768
                continue
            _, size, kind = struct.unpack_from("<IHB", data, at)
            whole += data[at + 7 : at + 7 + size]
            at += 7 + size
            if kind in (1, 4):  # full, last
                one, whole = Record.FromString(whole), b""
                row = {"".join(i.nested_key) or i.key: json.loads(i.value_json) for i in one.history.item}
                for tag in row.keys() - {"round", "images", "boxes", "iteration", "_step", "_runtime", "_timestamp"}:
                    axis = tag.split("/")[0].removeprefix("by_")
                    found.setdefault(tag, []).append((row[axis if axis in row else "iteration"], row[tag]))
    return {tag: sorted(points) for tag, points in found.items()}


READERS = {"tensorboard": tensorboard_scalars, "mlflow": mlflow_scalars, "wandb": wandb_scalars}


@pytest.fixture(params=READERS)
def name(request, monkeypatch):
    for module in tracking.TRACKER_PACKAGES[request.param]:
        pytest.importorskip(module)
    for variable in ("MLFLOW_TRACKING_URI", "WANDB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    return request.param


def follow(folder: RunFolder, name: str, rounds=()) -> list[RoundRecord]:
    return list(tracking.follow(rounds, name, folder, CONFIG))


def test_rounds_are_logged_as_they_come_and_never_twice(folder, name):
    assert follow(folder, name, (write(folder, record(n)) for n in (0, 1))) == [record(0), record(1)]
    assert READERS[name](folder.path) == EXPECTED
    follow(folder, name)
    follow(folder, name, [record(1)])
    assert READERS[name](folder.path) == EXPECTED


def test_what_an_earlier_process_recorded_and_did_not_log_comes_first(folder, name):
    follow(folder, name, [write(folder, record(0))])
    write(folder, record(1))
    seen = []

    def rounds():
        seen.append("by_round/ud" in READERS[name](folder.path))  # round 1 is there before round 2 is trained
        yield write(folder, record(2))

    follow(folder, name, rounds())
    assert seen == [True]
    assert READERS[name](folder.path)["by_round/AP"] == [(0, 10), (1, 20), (2, 30)]


def test_a_training_that_fails_keeps_what_was_logged(folder, name):
    def rounds():
        yield write(folder, record(0))
        yield write(folder, record(1))
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        follow(folder, name, rounds())
    assert READERS[name](folder.path) == EXPECTED


def test_a_tracker_that_fails_does_not_stop_the_run_and_gets_the_round_later(folder, monkeypatch, caplog):
    from al_cli.tracking.tensorboard import TensorBoard

    real, calls = TensorBoard.log_round, []

    def full(self, *words):
        calls.append(words)
        if len(calls) == 1:
            raise OSError("No space left on device")
        real(self, *words)

    monkeypatch.setattr(TensorBoard, "log_round", full)
    follow(folder, "tensorboard", (write(folder, record(n)) for n in (0, 1)))
    assert "round 0 could not be logged to tensorboard" in caplog.text and "No space left" in caplog.text
    assert tensorboard_scalars(folder.path) == EXPECTED


def test_a_round_that_was_computed_anew_replaces_the_old_one_in_tensorboard(folder):
    follow(folder, "tensorboard", [write(folder, record(0, ap=7.0))])
    file = folder.path / "tracking/events.out.tfevents.round_00"
    os.utime(file, ns=(1, 1))  # long ago
    follow(folder, "tensorboard", [write(folder, record(0))])
    assert tensorboard_scalars(folder.path)["by_round/AP"] == [(0, 10)]


def test_mlflow_completes_a_round_that_a_kill_cut_in_two(folder):
    for module in tracking.TRACKER_PACKAGES["mlflow"]:
        pytest.importorskip(module)
    from al_cli.tracking import mlflow

    write(folder, record(0))
    tracker = mlflow.MLflow(folder, CONFIG)
    every = tracking.points(record(0), LOSSES, TASK)
    tracker.client.log_batch(tracker.run_id, metrics=[mlflow._metric(point, 5) for point in every[:4]])
    assert not tracker.has(0)
    write(folder, record(1))
    follow(folder, "mlflow")
    assert mlflow_scalars(folder.path) == EXPECTED


def test_wandb_online_without_an_account_is_refused_before_anything_is_trained(folder, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(folder.path))  # without the key of whoever tests
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="WANDB_MODE=offline"):
        tracking.open_tracker("wandb", folder, CONFIG)


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_missing_package_is_named_before_anything_is_trained(al, fake, name, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n in tracking.TRACKER_PACKAGES[name] else real(n, *a)
    )
    said = al(*fake, f"tracking={name}", code=2).stderr
    assert f"pip install {' '.join(tracking.TRACKER_PACKAGES[name].values())}" in said
    assert not (al.cwd / "outputs").exists()


def test_the_extras_install_what_the_message_says():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "tensorboard" in project["dependencies"]
    for name in ("mlflow", "wandb"):
        packages = [word.split(">=")[0] for word in project["optional-dependencies"][name]]
        assert packages == list(tracking.TRACKER_PACKAGES[name].values())


def test_an_unknown_tracker_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"did you mean tensorboard\? valid: mlflow, tensorboard, wandb"):
        tracking.check_tracker("tensorbord")
    tracking.check_tracker(None)


def test_points_leave_out_what_was_not_measured():
    bare = dataclasses.replace(record(1), ud=None, val_loss=None, metrics={"AP": None, "APl": None})
    assert tracking.points(bare, [], TASK) == [("by_round/images", 1, 8.0), ("by_round/boxes", 1, 24.0)]


def test_a_killed_run_continues_in_the_same_folder_and_logs_each_round_once(al, fake):
    words = [*fake, "sampler=random", "rounds=2", "study=s", "run_name=one"]
    code = f"""
import os, signal
from al_cli.tracking.tensorboard import TensorBoard
real, count = TensorBoard.log_round, []
def killed(self, *words):
    count.append(1)
    if len(count) == 2:  # round 1 is on disk and not logged
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, *words)
TensorBoard.log_round = killed
from al_cli.cli.main import main
main({[*words, "tracking=tensorboard"]!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    run = al.cwd / "outputs/s/one"
    assert [step for step, _ in tensorboard_scalars(run)["by_round/AP"]] == [0]
    al(*words, "tracking=tensorboard")
    scalars = tensorboard_scalars(run)
    for row in RunFolder(run).records():
        for tag, step in (("by_round/AP", row.round), ("by_images/AP", row.images), ("by_boxes/AP", row.boxes)):
            assert [value for at, value in scalars[tag] if at == step] == pytest.approx([row.metrics["AP"]])
        curve = [(p.iteration, pytest.approx(p.train_loss)) for p in RunFolder(run).losses(row.round)]
        assert scalars[f"train_loss/round_{row.round:02d}"] == curve
    assert len(scalars["by_round/AP"]) == 3
    assert "tracking" not in RunFolder(run).config(), "it does not make a run another one"
    before = tensorboard_scalars(run)
    assert "is done already" in al(*words, "tracking=tensorboard").stderr
    assert tensorboard_scalars(run) == before
