"""Tables of a round that come from elsewhere: their names, and cells that no round wrote."""

from types import SimpleNamespace

import pytest

from al_cli import tasks
from al_cli.errors import RunError
from al_cli.records import round_tables
from al_cli.records.round_tables import RoundTables
from al_cli.records.rounds import derived_tables
from al_cli.tasks import Evaluation


class Unverified(RoundTables):
    def __init__(self, path):
        self.path = path

    def record(self, round):
        return SimpleNamespace(hashes={"confusion.csv": None})

    def records(self):
        return []


@pytest.fixture
def tables(tmp_path):
    (tmp_path / "round_00").mkdir()
    (tmp_path / "round_00/per_class.csv").write_text("class,images\ncat,2\ndog,1\n")

    def read(cells):
        (tmp_path / "round_00/confusion.csv").write_text(f"true,predicted,images\n{cells}\n")
        return Unverified(tmp_path).confusion(0)

    return read


@pytest.mark.parametrize("cell", ["cat,eel,1", "cat,dog,-1", "cat,dog,9999999999999999999999", "cat,dog,", "cat,dog"])
def test_a_strange_cell_of_a_confusion_matrix_is_an_error(tables, cell):
    with pytest.raises(RunError, match=r"confusion\.csv cannot be read"):
        tables(cell)


def test_a_matrix_of_too_many_classes_is_not_made(tables, monkeypatch):
    names, counts = tables("cat,cat,2\ndog,cat,1")
    assert names == ["cat", "dog"] and counts.tolist() == [[2, 0], [1, 0]]
    monkeypatch.setattr(round_tables, "MATRIX_CLASSES", 1)
    assert tables("cat,cat,2")[0] == []


def test_a_table_of_a_task_takes_no_name_of_a_rounds_own():
    with pytest.raises(ValueError, match="a table called selection"):
        derived_tables(None, Evaluation({}, tables={"selection": []}), None, None, tasks.default())
