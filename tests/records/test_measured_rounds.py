"""Numbers of rounds that not every run has: kept where there are some, absent from tables where there are none."""

import json
import re

import pytest
from sample_runs import SampleRuns, scenes

from al_cli.records import RunFolder
from al_cli.records.formats import content_hash, read_csv
from al_cli.records.rounds import parse_record, record_text
from al_cli.types import Splits


@pytest.fixture
def samples(tmp_path) -> SampleRuns:
    splits = Splits("scenes", scenes(tmp_path / "train", 0, 8), None, scenes(tmp_path / "test", 8, 3))
    return SampleRuns(tmp_path / "outputs/study", splits)


def test_epochs_are_in_the_record_and_in_the_tables(samples):
    folder = samples.run("lund_s1", rounds=2, measured=lambda round: {"epochs": (12.0, 7.5)[round]})
    assert [record.epochs for record in folder.records()] == [12.0, 7.5]
    assert [row["epochs"] for row in read_csv(folder.path / "rounds.csv")] == ["12", "7.5"]
    header, _, first, second = (folder.path / "rounds.md").read_text().splitlines()
    assert [line.split("|")[-2].strip() for line in (header, first, second)] == ["epochs", "12", "7.5"]


def test_a_run_of_an_earlier_version_is_read_and_its_tables_stay_as_they_are(samples):
    folder = samples.run("old_s1", rounds=1)
    assert "epochs" not in (folder.path / "rounds.csv").read_text()
    path = folder.path / "round_00/record.json"
    old = re.sub(r'\n "(epochs|digest)": [^\n]*', "", path.read_text())
    assert set(json.loads(path.read_text())) - set(json.loads(old)) == {"epochs", "digest"}
    assert parse_record(old) == folder.records()[0]
    assert "epochs" in record_text(parse_record(old)), "what is written again has the key"
    path.write_text(old)
    written = (folder.path / "rounds.csv").read_bytes()
    again = RunFolder(folder.path)
    assert again.records()[0].epochs is None
    assert content_hash(again.tables(again.records())["rounds.csv"]) == content_hash(written)
    with pytest.raises(ValueError, match="exactly the keys"):
        parse_record(re.sub(r'\n "boxes": [^\n]*', "", old))
