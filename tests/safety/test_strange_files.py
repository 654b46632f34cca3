"""Files in a run folder that al would not write: nothing waits, walks away or is written elsewhere, and each is said."""

import io
import json
import os
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import yaml

from al_cli.cli.main import main
from al_cli.errors import RunError
from al_cli.records import RunFolder
from al_cli.records.find import find_runs
from al_cli.records.formats import load_predictions, plain_yaml
from al_cli.records.reading import content_hash
from al_cli.records.rounds import parse_record, record_text
from al_cli.records.verify import run_folders, verify
from al_cli.system import own_folder, read_regular, sha256


def no_data(_dataset):
    raise OSError("there is no data")


@pytest.fixture(scope="module")
def made(tmp_path_factory, yolo_root):
    outputs = tmp_path_factory.mktemp("made")
    words = ["dataset=yolo", f"dataset.root={yolo_root}", "model=fake", "rounds=1", "plots=false", "store=false"]
    assert main(["run", *words, "sampler=random", "study=s", "run_name=r", f"outputs={outputs}"]) == 0
    return outputs


@pytest.fixture
def run(al, made):
    shutil.copytree(made, al.cwd / "outputs")
    return al.cwd / "outputs/s/r"


def sealed(run, round, **hashes):
    """The record of a round with these hashes, with a digest that fits, as somebody would write it who knows al."""
    path = run / f"round_{round:02d}/record.json"
    record = parse_record(path.read_text())
    path.write_text(record_text(replace(record, hashes={**record.hashes, **hashes})))


FILES = ("config.yaml", "environment.json", "task.json", "data.csv", "done.json", "error.txt", "run.lock")
OF_A_ROUND = ("record.json", "timing.json", "predictions.npz", "candidates.csv", "checkpoint.pth")


def reads(run):
    folder = RunFolder(run)
    return folder.config, folder.records, lambda: folder.candidates(1), lambda: folder.predictions(1)


def test_a_pipe_or_a_device_is_no_file(al, run):
    for name in (*FILES, *(f"round_01/{name}" for name in OF_A_ROUND)):
        kept = (run / name).read_bytes() if (run / name).exists() else None
        for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
            (run / name).unlink(missing_ok=True)
            make(run / name)
            verify(run, no_data)
            al("ls")
            for read in reads(run):
                try:
                    read()
                except RunError as error:
                    assert "is not a regular file" in str(error) or "there is no run" in str(error)
        (run / name).unlink()
        if kept is not None:
            (run / name).write_bytes(kept)
    assert not verify(run, no_data).mismatches


def test_only_regular_files_are_read(tmp_path):
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "file").write_bytes(b"1")
    assert read_regular(tmp_path / "link") == b"1"
    for path in ("/dev/zero", tmp_path):
        for read in (read_regular, sha256):
            with pytest.raises(OSError):
                read(type(tmp_path)(path))


@pytest.mark.parametrize("name", ["/dev/zero", "../../../x", "../..", "..", "a/b", "../x/y", "", "round_00/x"])
def test_a_record_and_done_json_name_files_of_the_run_alone(run, name):
    sealed(run, 1, **{name: "0" * 64})
    with pytest.raises(RunError, match="no file of a run"):
        RunFolder(run).record(1)
    if "/" in name:
        (run / "done.json").write_text(json.dumps({"rounds": 2, "plots": {name: "0" * 64}}))
        assert RunFolder(run).lost_plots() == [name]


def test_links_that_lead_back_or_far_away_are_not_followed_far(run, tmp_path):
    outputs = run.parent.parent
    for number in range(3):
        (run.parent / f"back{number}").symlink_to("..")
        (outputs / f"back{number}").symlink_to(".")
    (outputs / "far").symlink_to("/")
    moved = tmp_path / "disk/study"
    shutil.copytree(run, moved / "other")
    (outputs / "linked").symlink_to(moved)  # a study on another disk
    assert [found.path for found in find_runs(outputs)] == [outputs / "linked/other", run]
    assert run_folders(outputs) == [outputs / "linked/other", run]


def test_nothing_is_written_through_a_linked_folder(al, run, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (run / "plots").symlink_to(victim)
    (run.parent / "report").symlink_to(victim)
    (run.parent.parent / "s_replay").mkdir()
    (run.parent.parent / "s_replay/copy").symlink_to(victim)
    for words in (["show", run], ["report", run.parent], ["replay", run, "run_name=copy", "plots=false"]):
        assert "a symbolic link lies where" in al(*words, code=2).stderr
    assert not list(victim.iterdir())
    with pytest.raises(OSError, match="symbolic link"):
        own_folder(run / "plots")


def test_a_configuration_is_neither_deep_nor_a_bomb(run):
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for text in (bomb, "z: " + "[" * 50_000, "z: &z [*z]", "z: &z {a: {b: *z}}", "z: " + "{a: " * 1000):
        with pytest.raises(yaml.YAMLError):
            plain_yaml(text)
        (run / "config.yaml").write_text(text)
        with pytest.raises(RunError, match="cannot be read"):
            RunFolder(run).config()
        assert find_runs(run)[0].state == "failed"
    assert plain_yaml("a: &a [1, 2]\nb: *a\nc: &c x\nd: [*c, *c]") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": "x",
        "d": ["x"] * 2,
    }


def test_predictions_that_are_none_are_refused_in_a_sentence(run):
    good = dict(np.load(io.BytesIO((run / "round_01/predictions.npz").read_bytes())))
    packed, alone, more = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez_compressed(packed, **good)
    np.save(alone, good["boxes"])
    np.savez(more, **(good | {"num_classes": np.array([1, 2])}))
    broken = io.BytesIO()
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("image_ids.npy", b"\x93NUMPY\x09\x00")
    for content in (packed, alone, more, broken, io.BytesIO(b"\x80\x04c__builtin__\nexit\n."), io.BytesIO()):
        with pytest.raises(ValueError):
            load_predictions(content.getvalue())
        (run / "round_01/predictions.npz").write_bytes(content.getvalue())
        sealed(run, 1, **{"predictions.npz": content_hash(content.getvalue())})
        with pytest.raises(RunError, match="predictions cannot be read"):
            RunFolder(run).predictions(1)


@pytest.mark.parametrize("text", ["a\n1\n", "{head}\n1\n", "{head}\nx,y,z,x,y\n", "{head}\n" + "9" * 200_000 + "\n"])
def test_a_table_that_is_none_is_refused_in_a_sentence(run, text):
    for name in ("candidates.csv", "losses.csv", "class_counts.csv"):
        path = run / "round_01" / name
        path.write_text(text.format(head=path.read_text().partition("\n")[0]))
        sealed(run, 1, **{name: content_hash(path.read_bytes())})
    folder = RunFolder(run)
    for read in (folder.candidates, folder.losses, folder.class_counts):
        with pytest.raises(RunError, match="cannot be read"):
            read(1)


def test_a_reason_that_is_no_text_hides_no_other_run(al, run):
    (run / "error.txt").write_bytes(b"\xff\xfe broken\nmore")
    assert "broken" in find_runs(run)[0].error
    (run / "error.txt").unlink()
    (run / "error.txt").mkdir()
    assert "cannot be read" in find_runs(run)[0].error
    al("ls")


def test_a_replay_of_candidates_without_names_is_one_sentence(al, run):
    path = run / "round_01/candidates.csv"
    path.write_text(path.read_text().partition("\n")[0] + "\n")
    sealed(run, 1, **{"candidates.csv": content_hash(path.read_bytes())})
    assert "does not name image" in al("replay", run, "--dry-run", code=2).stderr


KEYS = (
    "rounds",
    "seed",
    "seeds",
    "seeds.initial",
    "device",
    "dataset",
    "dataset.root",
    "dataset.name",
    "model",
    "training.data",
)


@pytest.mark.parametrize("key", KEYS)
def test_a_configuration_of_another_shape_is_one_sentence(al, run, capsys, key):
    """In every verb that reads a run: a key that is gone, or is of another kind. Nothing is a bug's traceback."""
    path = run / "config.yaml"
    whole = yaml.safe_load(path.read_text())
    (run / "done.json").unlink()
    *above, last = key.split(".")
    assert main(["verify", str(run)]) == 0
    for value in ("gone", -1.5):
        config = json.loads(json.dumps(whole))
        group = config[above[0]] if above else config
        group[last] = value
        if value == "gone":
            del group[last]
        path.write_text(yaml.safe_dump(config))
        for verb in (
            ["show", run, "-n", "1", "--out", "a.png"],
            ["replay", run, "--dry-run"],
            ["verify", run],
            ["report", run],
        ):
            assert main([str(word) for word in verb]) in (0, 1 if verb[0] == "verify" else 2, 2)
