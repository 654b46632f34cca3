"""Composing costs what its words cost: a tenth of a second, however many keys they add."""

from hydra import compose as by_hydra

from al_cli.experiment import compose


def test_many_added_keys_are_composed_twice_and_not_once_for_each_order_of_them(monkeypatch):
    calls = []

    def counted(name, words):
        calls.append(words)
        return by_hydra(name, words)

    monkeypatch.setattr(compose, "compose", counted)
    keys = [f"++dataset.{split}.{key}=x" for split in ("train", "val", "test") for key in ("images", "annotations")]
    [config] = compose.compose_all([["dataset=coco", "dataset.root=.", *keys]])
    assert config.dataset.test.annotations == "x" and len(calls) == 2
