"""Weights may come from anybody: a file of them is read, and nothing in it runs."""

import io
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest
import torch

from al_cli.errors import ConfigError, ModelError, RunError
from al_cli.learners.detectron.model.zoo import open_config
from al_cli.learners.fake import FakeLearner
from al_cli.learners.pytorch.checkpoint import read_checkpoint
from al_cli.learners.pytorch.pickled import read_weights
from al_cli.learners.spec import ModelSpec

CPU = torch.device("cpu")


class Reduced:
    """Pickled as a call of `function`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def attacks(canary):
    """What would write the canary when it is unpickled, or calls something else."""
    import os
    import pathlib
    import shutil

    touch = pathlib.Path.touch, pathlib.Path(canary)
    yield {"model": Reduced(*touch)}
    yield Reduced(os.mknod, str(canary))
    yield OrderedDict(a=np.zeros(3), b=[Reduced(shutil.copy, "/etc/hostname", str(canary))])
    yield {"model": {"a": Reduced(eval, f"open({str(canary)!r}, 'w')")}}
    yield {"model": {"a": Reduced(getattr, "x", "upper")}}
    objects = np.empty(1, object)
    objects[0] = Reduced(*touch)
    yield {"model": {"a": objects}}


@pytest.mark.parametrize("suffix", ["pkl", "pth", "pyth", "bin"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_that_calls_anything_is_refused_and_not_run(tmp_path, suffix, protocol):
    canary = tmp_path / "canary"
    for content in attacks(canary):
        path = tmp_path / f"evil.{suffix}"
        path.write_bytes(pickle.dumps(content, protocol))
        with pytest.raises(ModelError) as said:
            read_weights(path)
        assert not canary.exists()
        assert "nothing of it was run" in str(said.value) or suffix != "pkl"
        with pytest.raises(RunError, match="the checkpoint cannot be read"):
            read_checkpoint(path)
        assert not canary.exists()


def test_a_torch_file_that_names_a_function_is_refused_in_a_sentence_that_advises_nothing(tmp_path):
    canary, path = tmp_path / "canary", tmp_path / "evil.pth"
    for content in attacks(canary):
        torch.save({"model": content, "history": [], "extras": {}}, path)
        for read in (read_weights, read_checkpoint):
            with pytest.raises((ModelError, RunError)) as said:
                read(path)
            assert "nothing of it was run" in str(said.value) and "weights_only" not in str(said.value)
    assert not canary.exists()


def test_arrays_of_every_age_are_read(tmp_path):
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.float32(2),
        "c": np.zeros((0, 4)),
        "d": np.asfortranarray(np.ones((2, 3))),
        "w_momentum": np.zeros(2),
    }
    path = tmp_path / "weights.pkl"
    for protocol in (0, 2, 3, 4, 5):
        path.write_bytes(pickle.dumps({"model": arrays, "__author__": "me", "b": b"\xff"}, protocol))
        found = read_weights(path)["model"]
        assert all(np.array_equal(found[key], value) for key, value in arrays.items()), protocol
        path.write_bytes(pickle.dumps({"blobs": OrderedDict(arrays), "cfg": "TEST: {}"}, protocol))
        found = read_weights(path)
        assert found["matching_heuristics"] and list(found["model"]) == ["a", "b", "c", "d"]


def test_a_file_of_python_2_is_read(tmp_path):
    """As R-50.pkl of ImageNetPretrained/MSRA was written: an old module of NumPy, and bytes as text."""
    raw = struct.pack("<3f", 1, -2, 3)
    old = io.BytesIO()
    old.write(
        b"\x80\x02}q\x00U\x07conv1_wq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85"
    )
    old.write(
        b"U\x01b\x87Rq\x04(K\x01K\x03\x85cnumpy\ndtype\nq\x05U\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
    )
    old.write(b"J\xff\xff\xff\xffK\x00tb\x89U" + bytes([len(raw)]) + raw + b"tbs.")
    path = tmp_path / "R-50.pkl"
    path.write_bytes(old.getvalue())
    assert read_weights(path)["model"]["conv1_w"].tolist() == [1, -2, 3]


BROKEN = [
    b"",
    b"\x80",
    b"text",
    b"\x80\x04N.",
    b"\x80\x02]q\x00.",
    b"PK\x03\x04half",
    b"(" * 5000,
    b"\x80\x04R.",
    b"{}",
    b"[]",
]


@pytest.mark.parametrize("content", BROKEN, ids=lambda content: repr(content[:12]))
def test_what_holds_no_weights_is_one_sentence(tmp_path, content):
    for name in ("broken.pkl", "broken.pth"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=r"weights cannot be read|holds no weights"):
            read_weights(tmp_path / name)
        for load in (read_checkpoint, FakeLearner(("a",)).load):
            with pytest.raises(RunError, match="the checkpoint cannot be read"):
                load(tmp_path / name)
    with pytest.raises(RunError, match="the checkpoint cannot be read: Is a directory"):
        read_checkpoint(tmp_path)


# ---- a model's configuration is data too


@pytest.mark.parametrize(
    "overrides",
    [
        {"model._target_": "planted.fine"},
        {"model": {"_target_": "planted.fine"}},
        {"model.backbone": {"_target_": "planted.fine"}},
        {"dataloader.train.mapper.augmentations": [{"_target_": "planted.fine"}]},
        {"optimizer._target_": "planted.fine"},
        {"model.head_in_features": [[{"a": {"_target_": "planted.fine"}}]]},
    ],
    ids=str,
)
def test_an_override_of_a_lazy_config_is_a_value(overrides):
    """They would be called, and a replay takes them from a run's folder."""
    spec = ModelSpec("fcos", "COCO-Detection/fcos_R_50_FPN_1x.py", family="fcos", overrides=overrides)
    with pytest.raises(ConfigError, match="would name a function, and overrides are values alone"):
        open_config(spec, 3, CPU)


def test_a_config_lies_among_detectron2s_own(tmp_path):
    canary = tmp_path / "canary"
    (tmp_path / "evil.py").write_text(f"open({str(canary)!r}, 'w').close()\n")
    up = "../" * 30
    for name in (
        f"{tmp_path}/evil.py",
        f"{up}{str(tmp_path)[1:]}/evil.py",
        f"COCO-Detection/{up}{str(tmp_path)[1:]}/evil.py",
    ):
        with pytest.raises(ConfigError, match="Detectron2 has no such config"):
            open_config(ModelSpec("evil", name, family="rcnn"), 3, CPU)
    assert not canary.exists()
