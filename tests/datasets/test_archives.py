"""CIFAR, SVHN and MNIST: files written byte by byte as they are published, read back to the pixels that were put in."""

import gzip
import io
import pickle
import tarfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from al_cli.datasets.archives import load_archive
from al_cli.datasets.image_arrays import mnist_idx, svhn_mat
from al_cli.datasets.notes import Notes
from al_cli.errors import DatasetError
from al_cli.experiment import compose
from al_cli.experiment.dataset_settings import OF_IMAGES

NAMES = [f"class {letter}" for letter in "abcdefghij"]
RNG = np.random.default_rng(0)


def drawn(n, *shape):
    """Random images [n, *shape] and labels [n], of which every class has some."""
    return RNG.integers(0, 256, (n, *shape), dtype=np.uint8), np.arange(n) % 10


def rows(pixels):
    """[N,32,32,3] -> [N,3072], red, green and blue planes one after the other."""
    return pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)


class _Python2(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, which is what CIFAR's files hold."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        self.write(b"T" + len(value).to_bytes(4, "little") + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def python_pickle(value):
    file = io.BytesIO()
    _Python2(file, protocol=2).dump(value)
    return file.getvalue()


def cifar10(folder: Path, binary=False):
    folder.mkdir(parents=True)
    batches = {}
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        pixels, labels = batches[name] = drawn(10, 32, 32, 3)
        if binary:
            table = np.concatenate([labels[:, None].astype(np.uint8), rows(pixels)], axis=1)
            (folder / f"{name}.bin").write_bytes(table.tobytes())
        else:
            batch = {b"batch_label": b"x", b"labels": labels.tolist(), b"data": rows(pixels), b"filenames": [b"a"]}
            (folder / name).write_bytes(python_pickle(batch))
    if binary:
        (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    else:
        (folder / "batches.meta").write_bytes(python_pickle({b"label_names": [n.encode() for n in NAMES]}))
    return batches


def contents(dataset):
    """{number: (class name, pixels)} of what a reader gives."""
    return {
        int(image.path.stem): (dataset.class_names[image.classes[0]], np.asarray(Image.open(image.path)))
        for image in dataset.images
    }


def assert_same(dataset, pixels, labels, names=NAMES):
    found = contents(dataset)
    assert len(found) == len(dataset) == len(pixels)
    for n in range(len(pixels)):
        assert found[n][0] == names[labels[n]]
        assert np.array_equal(found[n][1], pixels[n])


@pytest.mark.parametrize("binary", [False, True])
def test_cifar10_as_it_was_put_in(tmp_path, binary):
    batches = cifar10(tmp_path / "data" / "cifar-10-batches-py", binary)
    splits = load_archive("cifar10", tmp_path / "data", "cifar10")  # a folder above is enough
    assert splits.train.class_names == tuple(NAMES) and splits.val is None and splits.test is not None
    train = [batches[f"data_batch_{n}"] for n in range(1, 6)]
    assert_same(splits.train, np.concatenate([p for p, _ in train]), np.concatenate([t for _, t in train]))
    assert_same(splits.test, *batches["test_batch"])
    assert splits.train.images[0].name == "class a/00000.png"


def test_the_archive_itself_gives_the_same_and_is_unpacked_once(tmp_path, monkeypatch):
    cifar10(tmp_path / "cifar-10-batches-py")
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
    folder = load_archive("cifar10", tmp_path / "cifar-10-batches-py")
    archive = load_archive("cifar10", tmp_path / "cifar-10-python.tar.gz")
    assert archive.train.fingerprint == folder.train.fingerprint
    monkeypatch.setattr("al_cli.datasets.archives._write", None)
    assert load_archive("cifar10", tmp_path / "cifar-10-python.tar.gz").train.fingerprint == folder.train.fingerprint


@pytest.mark.slow  # torchvision takes seconds to import
def test_torchvision_reads_the_same_from_the_same_folder(tmp_path):
    torchvision = pytest.importorskip("torchvision")
    cifar10(tmp_path / "cifar-10-batches-py")

    class Unchecked(torchvision.datasets.CIFAR10):  # the digests are those of the real files
        meta: ClassVar = {**torchvision.datasets.CIFAR10.meta, "md5": None}

        def _check_integrity(self):
            return True

    theirs = Unchecked(str(tmp_path))
    ours = contents(load_archive("cifar10", tmp_path).train)
    for n in range(len(theirs)):
        image, label = theirs[n]
        assert ours[n][0] == NAMES[label] and np.array_equal(ours[n][1], np.asarray(image))


@pytest.mark.parametrize("binary", [False, True])
def test_cifar100_has_its_fine_labels(tmp_path, binary):
    names = [f"fine {n:02d}" for n in range(100)]
    parts = {}
    for split in ("train", "test"):
        pixels, _ = drawn(20, 32, 32, 3)
        fine, coarse = RNG.integers(0, 100, 20), RNG.integers(0, 20, 20)
        parts[split] = pixels, fine
        if binary:
            head = np.stack([coarse, fine], axis=1).astype(np.uint8)
            (tmp_path / f"{split}.bin").write_bytes(np.concatenate([head, rows(pixels)], axis=1).tobytes())
        else:
            batch = {b"fine_labels": fine.tolist(), b"coarse_labels": coarse.tolist(), b"data": rows(pixels)}
            (tmp_path / split).write_bytes(python_pickle(batch))
    if binary:
        (tmp_path / "fine_label_names.txt").write_text("\n".join(names))
    else:
        (tmp_path / "meta").write_bytes(python_pickle({b"fine_label_names": [n.encode() for n in names]}))
    splits = load_archive("cifar100", tmp_path)
    assert splits.train.class_names == tuple(names)  # also those without an image
    for split, data in (("train", splits.train), ("test", splits.test)):
        assert_same(data, *parts[split], names)


def test_svhn_and_its_zero(tmp_path):
    parts = {}
    for split in ("train", "test"):
        pixels, labels = parts[split] = drawn(12, 32, 32, 3)
        y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        savemat(tmp_path / f"{split}_32x32.mat", {"X": pixels.transpose(1, 2, 3, 0), "y": y}, do_compression=True)
    splits = load_archive("svhn", tmp_path)
    for split, data in (("train", splits.train), ("test", splits.test)):
        assert_same(data, *parts[split], "0123456789")
    (tmp_path / "test_32x32.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(600, b"\0"))
    with pytest.raises(DatasetError, match=r"version 7\.3, which is not read .*test_32x32\.mat.*-v7"):
        load_archive("svhn", tmp_path)
    savemat(tmp_path / "test_32x32.mat", {"digitStruct": np.zeros(3)})
    with pytest.raises(DatasetError, match="none of SVHN's cropped digits"):
        load_archive("svhn", tmp_path)


def idx(values):
    """idx: two zeros, 8 for bytes, the number of axes, each length as four bytes, the values."""
    return bytes((0, 0, 8, values.ndim)) + b"".join(n.to_bytes(4, "big") for n in values.shape) + values.tobytes()


@pytest.mark.parametrize(("ending", "dot"), [("", "-"), (".gz", "-"), ("", ".")])
def test_mnist(tmp_path, ending, dot):
    parts = {}
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, called in (("train", "train"), ("test", "t10k")):
        pixels, labels = parts[split] = drawn(11, 28, 28)
        for what, values in (("images", pixels), ("labels", labels.astype(np.uint8))):
            data = idx(values)
            file = raw / f"{called}-{what}{dot}idx{values.ndim}-ubyte{ending}"
            file.write_bytes(gzip.compress(data) if ending else data)
    splits = load_archive("mnist", tmp_path)
    for split, data in (("train", splits.train), ("test", splits.test)):
        assert_same(data, *parts[split], "0123456789")
    image = next(raw.glob("train-images*"))
    image.write_bytes(image.read_bytes()[:-40])
    with pytest.raises(DatasetError, match=r"cut short.*train-images"):
        load_archive("mnist", tmp_path)
    image.unlink()
    with pytest.raises(DatasetError, match=r"train-images-idx3-ubyte of mnist is missing"):
        load_archive("mnist", tmp_path)


@pytest.mark.slow
def test_torchvision_reads_the_same_idx(tmp_path):
    mnist = pytest.importorskip("torchvision.datasets.mnist")
    pixels, labels = drawn(11, 28, 28)
    (tmp_path / "images").write_bytes(idx(pixels))
    (tmp_path / "labels").write_bytes(idx(labels.astype(np.uint8)))
    ours = mnist_idx(idx(pixels), idx(labels.astype(np.uint8)))
    assert np.array_equal(mnist.read_image_file(str(tmp_path / "images")).numpy(), ours.pixels)
    assert np.array_equal(mnist.read_label_file(str(tmp_path / "labels")).numpy(), ours.labels)


def test_a_pickle_that_would_run_something_is_not_run(tmp_path):
    cifar10(tmp_path / "set")
    ran = tmp_path / "ran"
    (tmp_path / "set" / "data_batch_3").write_bytes(b"cos\nsystem\n(S'touch " + str(ran).encode() + b"'\ntR.")
    with pytest.raises(DatasetError, match=r"names os\.system, which is no array.*data_batch_3"):
        load_archive("cifar10", tmp_path / "set")
    assert not ran.exists()


@pytest.mark.parametrize(
    ("spoiled", "data", "says"),
    [
        ("data_batch_2", b"", "it is cut short, or no file of CIFAR"),
        ("data_batch_2", python_pickle([1]), "it holds no dict"),
        ("data_batch_2", python_pickle({"data": 3, "labels": [0]}), "it lacks the bytes `data`"),
        (
            "data_batch_2",
            python_pickle({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}),
            "1 labels, and data of 2",
        ),
        (
            "test_batch",
            python_pickle({"data": np.zeros((1, 3072), np.uint8), "labels": [10]}),
            r"label 10, outside 0\.\.9",
        ),
        ("batches.meta", python_pickle({"label_names": ["../../../x", *NAMES[1:]]}), "has a class called '../../../x'"),
        ("batches.meta", python_pickle({}), "lacks the list `label_names`"),
        ("batches.meta", python_pickle({"label_names": ["cat"] * 10}), "two classes of one name"),
        ("batches.meta", python_pickle({"label_names": ["\u65e5" * 100, *NAMES[1:]]}), "has a class called"),
        (
            "data_batch_2",
            pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [10**30]}),
            "lacks .* the list `labels`",
        ),
    ],
)
def test_a_broken_file_is_named_and_nothing_is_left_in_the_cache(tmp_path, spoiled, data, says, monkeypatch):
    monkeypatch.setenv("AL_CACHE", str(tmp_path / "cache"))
    cifar10(tmp_path / "set")
    (tmp_path / "set" / spoiled).write_bytes(data)
    with pytest.raises(DatasetError, match=says) as error:
        load_archive("cifar10", tmp_path / "set")
    assert error.value.remedy and str(tmp_path / "set") in str(error.value)
    assert not [path for path in (tmp_path / "cache").glob("unpacked/*") if path.exists()]


def test_what_was_looked_for_is_said_and_a_torn_archive_is_no_traceback(tmp_path):
    with pytest.raises(DatasetError, match=r"holds no svhn files .*looked for train_32x32\.mat"):
        load_archive("svhn", tmp_path)
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("cifar-10-batches-py/readme"))
    file = tmp_path / "cifar-10-python.tar.gz"
    file.write_bytes(whole.getvalue())
    with pytest.raises(DatasetError, match=r"data_batch_1, .* is missing in it"):
        load_archive("cifar10", tmp_path)
    file.write_bytes(RNG.bytes(2000))
    with pytest.raises(DatasetError, match=r"cut short, or no archive .*cifar-10-python\.tar\.gz.*download it again"):
        load_archive("cifar10", file)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_link_in_an_archive_is_no_file_of_the_set(tmp_path, kind):
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as tar:
        for target in ("../../../etc/passwd", "data_batch_1"):  # out of the archive, and to itself
            link = tarfile.TarInfo("data_batch_1")
            link.type, link.linkname = kind, target
            tar.addfile(link)
    with pytest.raises(DatasetError, match=r"data_batch_1, .* is missing in it"):
        load_archive("cifar10", tmp_path)


def test_a_file_that_unpacks_to_more_than_any_set_has_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("al_cli.datasets.archives.MOST_BYTES", 2**20)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / f"{name}-ubyte.gz").write_bytes(gzip.compress(bytes(2**20 + 1), 1))
    with pytest.raises(DatasetError, match=r"unpacks to more than 1 MiB.*train-images-idx3-ubyte\.gz"):
        load_archive("mnist", tmp_path)
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz", compresslevel=1) as tar:
        member = tarfile.TarInfo("data_batch_1")
        member.size = 2**20 + 1
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(DatasetError, match=r"unpacks to more than 1 MiB.*data_batch_1"):
        load_archive("cifar10", tmp_path)


def test_images_without_a_pixel_are_refused():
    empty = bytes((0, 0, 8, 3)) + np.array([2, 0, 28], ">u4").tobytes()
    with pytest.raises(DatasetError, match="has images of 28 x 0 px"):
        mnist_idx(empty, idx(np.zeros(2, np.uint8)))


@pytest.mark.parametrize("labels", [[1.5, 2], [1, np.nan], [1, np.inf], [1, 1j], np.array([[1], [2, 3]], object)])
def test_labels_of_svhn_are_whole_numbers(labels):
    file = io.BytesIO()
    savemat(file, {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": labels})
    with pytest.raises(DatasetError, match=r"lacks .* y of N whole numbers"):
        svhn_mat(file.getvalue())


def test_labels_of_svhn_may_be_written_as_matlab_writes_numbers():
    file = io.BytesIO()
    savemat(file, {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [[10.0], [3.0]]})
    assert svhn_mat(file.getvalue()).labels.tolist() == [0, 3]


def test_an_image_in_both_splits_stays_as_published(tmp_path):
    pixels, labels = drawn(10, 28, 28)
    for called in ("train", "t10k"):
        (tmp_path / f"{called}-images-idx3-ubyte").write_bytes(idx(pixels))
        (tmp_path / f"{called}-labels-idx1-ubyte").write_bytes(idx(labels.astype(np.uint8)))
        pixels = np.concatenate([pixels[:1], drawn(9, 28, 28)[0]])
    notes = Notes()
    splits = load_archive("mnist", tmp_path, notes=notes)
    assert (len(splits.train), len(splits.test or ())) == (10, 10)
    assert [(kind, n) for kind, n, _ in notes] == [
        ("images of the test split that are in the train split too, as published", 1)
    ]


def test_every_format_of_images_brings_its_task():
    configs = compose.compose_all([[f"dataset={format}"] for format in OF_IMAGES])
    assert [(config["dataset"]["format"], config["task"]) for config in configs] == [
        (format, "classification") for format in OF_IMAGES
    ]
