"""Small folders that lie as published sets of images do, of generated pictures: enough for two short rounds."""

import struct
from pathlib import Path

import numpy as np
from labeled_images import unlike_others
from record_files import example

from al_cli.datasets.imagenet import imagenet_classes
from al_cli.datasets.tfrecords import crc32c, masked

WNIDS = list(imagenet_classes())
FEWER = ["dataset.val=10 images", "dataset.test=10 images"]  # than the 2000 of the document


def write_published(format: str, root: Path) -> list[str]:
    """A folder of that format below `root`, of 45 images and more; the words that read it."""
    {
        "imagenet_v2": _v2,
        "imagenet_mixed": _mixed,
        "droughtwatch": _droughtwatch,
        "deepweeds": _deepweeds,
        "cassava": _cassava,
    }[format](root)
    words = {"imagenet_v2": FEWER, "imagenet_mixed": [*FEWER, "dataset.images=60"]}
    return [f"dataset={format}", f"dataset.root={root}", *words.get(format, [])]


def _v2(root: Path) -> None:
    for n in range(60):
        unlike_others(root / str(n % 12) / f"{n}.png", (16, 12))


def _mixed(root: Path) -> None:
    _v2(root / "imagenetv2-matched-frequency-format-val")
    for n in range(20):
        unlike_others(root / "imagenet-r" / WNIDS[n % 6] / f"art_{n // 6}.png", (16, 12))
        unlike_others(root / "imagenet-a" / WNIDS[n % 5] / f"0.0{n // 5}.png", (16, 12))


def _droughtwatch(root: Path) -> None:
    """The more cows, the darker."""
    rng = np.random.default_rng(0)

    def record(label: int) -> bytes:
        bands = rng.integers(0, 250 - 40 * label, (11, 65, 65), dtype=np.uint8)
        return example({f"B{n}": [band.tobytes()] for n, band in enumerate(bands, 1)} | {"label": [label]})

    for split, count in (("train", 40), ("val", 12)):
        records = [record(n % 4) for n in range(count)]
        (root / split).mkdir()
        (root / split / "part-r-00000").write_bytes(b"".join(map(framed, records)))


def framed(data: bytes) -> bytes:
    """A record of a TFRecord file, by our checksums: tensorboard's take 40 ms a record."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(crc32c(length))) + data + struct.pack("<I", masked(crc32c(data)))


def _deepweeds(root: Path) -> None:
    rows = [f"{unlike_others(root / 'images' / f'{n}.png', (16, 12)).name},{n % 9},x" for n in range(54)]
    _table(root / "labels" / "labels.csv", "Filename,Label,Species", rows)


def _cassava(root: Path) -> None:
    rows = [f"{unlike_others(root / 'train_images' / f'{n}.png', (16, 12)).name},{n % 5}" for n in range(50)]
    _table(root / "train.csv", "image_id,label", rows)


def _table(file: Path, head: str, rows: list[str]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join([head, *rows]) + "\n")
