"""Work in vain is said, and good work is not."""

from types import SimpleNamespace

import pytest

from al_cli.records.in_vain import loss_in_vain, round_in_vain
from al_cli.tasks import default


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([1, 1, float("nan")], "no number"),
        ([1, 1, 2, 3, 4, 5], "rose from 1 to 4.5"),
        ([1, 1, 1, 1, 1, 1], "never fell"),
        ([3, 2, 1.5, 1, 0.9, 0.8], ""),
        ([1, 2], ""),
    ],
)
def test_losses(losses, said):
    assert said in " ".join(loss_in_vain(losses)) and bool(loss_in_vain(losses)) == bool(said)


def test_rounds():
    record = SimpleNamespace(round=2, picked=(3, 4), metrics={default().primary.name: 0.01})
    low, empty = round_in_vain(record, default(), [], {3: 0, 4: 0}, last=True)
    assert "near 0" in low and "all 2 selected images are empty" in empty
    assert round_in_vain(record, default(), [], {3: 0, 4: 1}, last=False) == []
    record.metrics = {default().primary.name: None}
    assert round_in_vain(record, default(), [], {3: 1, 4: 0}, last=True) == []
