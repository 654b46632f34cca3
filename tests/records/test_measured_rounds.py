"""Numbers of rounds that not every run has: kept where there are some, absent from tables where there are none."""

import json
import re
from dataclasses import replace

import pytest
from sample_runs import SampleRuns, scenes

from al_cli.records import RunFolder
from al_cli.records.formats import content_hash, read_csv
from al_cli.records.rounds import parse_record, record_text
from al_cli.records.settings import as_stored, what_is
from al_cli.records.verify import Check, Verified
from al_cli.system import sha256
from al_cli.types import MEASURED, Splits


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
    old = re.sub(r'\n "(epochs|train_metric|loss|class_loss|box_loss|digest)": [^\n]*', "", path.read_text())
    assert set(json.loads(path.read_text())) - set(json.loads(old)) == {*MEASURED, "digest"}
    assert parse_record(old) == folder.records()[0]
    assert "epochs" in record_text(parse_record(old)), "what is written again has the key"
    path.write_text(old)
    written = (folder.path / "rounds.csv").read_bytes()
    again = RunFolder(folder.path)
    assert again.records()[0].epochs is None
    assert content_hash(again.tables(again.records())["rounds.csv"]) == content_hash(written)
    with pytest.raises(ValueError, match="exactly the keys"):
        parse_record(re.sub(r'\n "boxes": [^\n]*', "", old))


def test_a_loss_that_the_images_do_not_give_is_found(samples):
    """Whether a loss is right only the model tells; that it is the mean of the images' losses the files do."""
    folder = samples.run("a_s1", rounds=1)
    path, record = folder.round_path(0), folder.records()[0]
    (path / "image_losses.csv").write_text("image_id,image,loss,class_loss,box_loss\n8,a,3,1.5,1\n9,b,1,0.25,\n")
    hashes = {**record.hashes, "image_losses.csv": sha256(path / "image_losses.csv")}

    def said(**measured) -> list[str]:
        (path / "record.json").write_text(record_text(replace(record, hashes=hashes, **measured)))
        found = Verified()
        again = Check(RunFolder(folder.path), found)
        again._losses(again.folder.record(0))
        return found.mismatches

    assert said(loss=2.0, class_loss=0.875) == []
    [line] = said(loss=2.0, class_loss=0.5)
    assert line.endswith("record.json: class_loss is 0.5, and the mean of image_losses.csv is 0.8750")
    assert len(said(loss=2.0, class_loss=0.875, box_loss=1.0)) == 1, "one image has no box part"
    assert len(said()) == 2
    hashes.pop("image_losses.csv")
    (path / "image_losses.csv").unlink()
    assert said() == [] and "image_losses.csv" in said(loss=2.0)[0]


def test_a_configuration_that_lacks_the_settings_says_their_defaults():
    old = {"rounds": 2, "training": {"data": "cumulative", "init": "reset"}}
    new = old | {"measure_loss": False, "training": old["training"] | {"stop_on": "loss"}}
    assert what_is(as_stored(new), as_stored(old)) == "same"
    for other in ({"measure_loss": True}, {"training": old["training"] | {"stop_on": "accuracy"}}):
        assert what_is(as_stored(old | other), as_stored(old)) == "other"
