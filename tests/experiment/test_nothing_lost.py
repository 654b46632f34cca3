"""What was good stays: a run whose plots fail. What a kill left does not stay."""

from pathlib import Path

import pytest
from shapes import tree_bytes

from al_cli.records import RunFolder
from al_cli.report.of_run import plots

RUN = Path("outputs/s/r")


@pytest.fixture
def words(fake):
    return [*fake, "rounds=3", "initial=4", "budget=4", "sampler=entropy", "study=s", "run_name=r", "store=false"]


class Killed(BaseException):
    pass


def test_a_kill_between_a_record_and_dropping_weights_leaves_none_behind(al, words, monkeypatch):
    al(*words)
    whole = tree_bytes(RUN)
    RUN.rename("whole")

    def write(folder, done, original=RunFolder.write_round):
        record = original(folder, done)
        if record.round == 2:
            raise Killed
        return record

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_round", write)
        with pytest.raises(Killed):
            al(*words)
    assert (RUN / "round_01/checkpoint.pth").exists()
    al(*words)
    assert tree_bytes(RUN) == whole


def test_a_plot_that_fails_is_a_warning(al, fake, monkeypatch):
    def fail(*_):
        raise ValueError("can't measure length of multiline text")

    monkeypatch.setattr(plots, "plot_run", fail)
    words = [word for word in fake if word != "plots=false"]
    al(*words, "rounds=1", "run_name=r", "study=s")
    assert RunFolder(RUN).state == "done"
    assert "the plots could not be drawn: ValueError" in (RUN / "run.log").read_text()
    monkeypatch.setattr(plots, "plot_run", lambda path, splits, sheets: [])
    assert "not all of it is as it was written: plots" in al(*words, "rounds=1", "run_name=r", "study=s").stderr
    assert "is done already" in al(*words, "rounds=1", "run_name=r", "study=s").stderr
