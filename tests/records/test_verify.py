"""al verify: every changed byte, every missing file and every number that does not follow is a line; nothing else is."""

import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from shapes import write_yolo

from al_cli.cli.main import main
from al_cli.experiment.job import jobs_of
from al_cli.experiment.run import run_job
from al_cli.records import RunFolder
from al_cli.records.rounds import record_text

RUN = Path("outputs/s/r")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("verify")
    data = write_yolo(root / "data", {"train": 14, "val": 3, "test": 4})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        words = f"dataset=yolo dataset.root={data} model=fake plots=false store=false rounds=1 initial=4 budget=2"
        [job] = jobs_of([*words.split(), "sampler=entropy", "study=s", "run_name=r"])
        run_job(job)
    return root


@pytest.fixture
def run(made, tmp_path, monkeypatch):
    """A copy of a finished run, which is put back with each call."""
    monkeypatch.chdir(tmp_path)

    def put():
        shutil.rmtree("outputs", ignore_errors=True)
        shutil.copytree(made / "outputs", "outputs")

    put()
    return put


@pytest.fixture
def verify(capsys):
    def call(*words: str, code: int) -> str:
        assert main(["verify", *map(str, words)]) == code, capsys.readouterr()
        return capsys.readouterr().out

    return call


def files() -> list[Path]:
    return [path for path in sorted(RUN.rglob("*")) if path.is_file() and path.name not in ("run.log", "run.lock")]


def test_a_good_run_matches(run, verify):
    said = verify(RUN, code=0)
    assert said.startswith("all matches: 1 run, 2 rounds, ") and "of 2 rounds evaluated again" in said
    assert verify("outputs/s", code=0) == said == verify("outputs", code=0)


def test_a_changed_byte_or_a_missing_file_is_a_line_that_names_it(run, verify):
    rng = random.Random(1)
    for path in [path for path in files() if path.parent.name != "round_00"]:
        if path.name in ("environment.json", "timing.json"):
            content = b"{"  # what a machine measured has no hash: it must be readable
        else:
            flipped = bytearray(path.read_bytes())
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
            content = bytes(flipped)
        path.write_bytes(content)
        assert str(path) in verify(RUN, code=1), path
        path.unlink()
        said = verify(RUN, code=0 if path.name == "done.json" else 1)
        assert path.name == "done.json" or str(path) in said, path
        run()


def forge(round: int, **changes) -> None:
    """Write another record, with hashes and digest that fit it."""
    record = replace(RunFolder(RUN).record(round), **changes)
    (RUN / f"round_0{round}/record.json").write_text(record_text(record))


def test_numbers_that_were_invented_do_not_follow(run, verify):
    record = RunFolder(RUN).record(1)
    forge(1, metrics={**record.metrics, "AP": 99.0})
    said = verify(RUN, code=1)
    assert "AP is 99.0, and the predictions give" in said and "rounds.csv: does not follow" in said
    run()
    forge(1, labeled=record.labeled[::-1])
    assert "its labeled images do not follow from round 0" in verify(RUN, code=1)
    run()
    forge(1, boxes=record.boxes + 1)
    assert "its number of boxes" in verify(RUN, code=1)
    run()
    forge(1, picked=record.picked[::-1], labeled=(*record.labeled[:-2], *record.picked[::-1]))
    assert "selection.csv: does not follow" in verify(RUN, code=1)
    run()
    forge(0, hashes={**RunFolder(RUN).record(0).hashes, "checkpoint.pth": "0" * 64})
    assert "its weights do not follow from round 0" in verify(RUN, code=1)


def test_data_that_moved_is_given_and_data_that_changed_is_named(run, verify, made, tmp_path):
    data = tmp_path / "moved"
    shutil.copytree(made / "data", data)
    config = RUN / "config.yaml"
    config.write_text(config.read_text().replace(str(made / "data"), "/nowhere"))
    done = json.loads((RUN / "done.json").read_text())
    done.pop("config.yaml")
    (RUN / "done.json").write_text(json.dumps(done))
    assert " 1 does not match" in " " + verify(RUN, code=1).splitlines()[-1]
    said = verify(RUN, code=1)  # done.json does not seal this configuration
    assert "not checked" in said and "give dataset.root=DIR" in said and "of 0 rounds evaluated" in said
    assert "2 rounds evaluated again" in verify(RUN, f"dataset.root={data}", code=1)
    label = next((data / "labels/test").glob("*.txt"))
    label.write_text("")
    assert re.search(r"image \S+ of the test has other labels now", verify(RUN, f"dataset.root={data}", code=1))


def test_mistakes_are_sentences(run, capsys):
    for words, said in (
        (["nowhere"], "there is no run here"),
        ([str(RUN), "seed=1"], "al verify cannot use seed=1"),
        ([str(RUN), "dataset.rooot=x"], "al verify cannot use dataset.rooot=x"),
    ):
        assert main(["verify", *words]) == 2
        assert said in capsys.readouterr().err


def test_a_run_that_is_not_finished_and_what_was_kept_aside(run, verify):
    (RUN / "done.json").unlink()
    shutil.copytree(RUN / "round_01", RUN / "round_01.orphan")
    said = verify(RUN, code=0)
    assert "the run is not finished" in said and "round_01.orphan was kept aside" in said
    (RUN / "round_00/record.json").unlink()
    assert "round_00/record.json: missing" in verify(RUN, code=1)


def test_code_that_a_run_names_is_not_imported(run, verify):
    Path("evil.py").write_text("open('ran', 'w')\nTASK = None\n")
    config = RUN / "config.yaml"
    config.write_text(config.read_text() + "task: evil.TASK\n")
    (RUN / "done.json").unlink()
    assert "evil.TASK is no task of al" in verify(RUN, code=0)
    assert not Path("ran").exists()
