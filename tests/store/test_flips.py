"""One flipped bit anywhere in a stored result: it is computed again, and what comes out is right."""

import random
import shutil
from pathlib import Path

from al_cli.store.disk import Store

ABOUT = {"images": "5f2a", "seed": 3}
CONTENT = bytes(range(64))


def ask(root: Path) -> tuple[bytes, str, bool]:
    got = Store(root).get(
        "training",
        ABOUT,
        read=lambda folder: (folder / "checkpoint.pth").read_bytes(),
        make=lambda: CONTENT,
        write=lambda result, folder: (folder / "checkpoint.pth").write_bytes(result) and {"weights": "9c1e"},
    )
    return got.result, got.entry.notes["weights"], got.hit


def test_four_hundred_flipped_bits_give_no_wrong_result(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("os.fsync", lambda handle: None)
    ask(tmp_path)
    rng = random.Random(0)
    for number in range(400):
        file = rng.choice(sorted(tmp_path.glob("training/*/*/*")))
        content = bytearray(file.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        file.write_bytes(content)
        caplog.clear()
        assert ask(tmp_path) == (CONTENT, "9c1e", False), f"flip {number} in {file.name}"
        assert "computed again" in caplog.text
        if number % 40 == 0:
            assert ask(tmp_path) == (CONTENT, "9c1e", True)


def test_a_result_of_something_else_is_not_taken(tmp_path):
    ask(tmp_path)
    store = Store(tmp_path)
    other = store._place("training", store.key({**ABOUT, "seed": 4}))
    other.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(store._place("training", store.key(ABOUT)), other)
    got = store.get("training", {**ABOUT, "seed": 4}, lambda folder: b"", lambda: b"own", lambda result, folder: {})
    assert (got.result, got.hit) == (b"own", False)
