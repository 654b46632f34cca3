"""Published sets of images with a csv of labels: FSDL's plants (sections 2.3, 2.4, 5.3). They have no splits of their own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

from al_cli.datasets.labeled_csv import load_csv
from al_cli.datasets.notes import Notes
from al_cli.datasets.whole_images import BadRows
from al_cli.errors import DatasetError
from al_cli.types import OwnSplits


class PublishedCsv(NamedTuple):
    """Where its csv and its images lie below the folder, and what its labels are called, from 0."""

    called: str
    csv: str
    images: str
    classes: tuple[str, ...]


# Olsen et al., 2019: 17,509 images of eight weeds and of none of them; labels.csv has Filename, Label, Species.
DEEPWEEDS = PublishedCsv(
    "DeepWeeds",
    "labels/labels.csv",
    "images",
    (
        "Chinee apple",
        "Lantana",
        "Parkinsonia",
        "Parthenium",
        "Prickly acacia",
        "Rubber vine",
        "Siam weed",
        "Snake weed",
        "Negative",
    ),
)
# Mwebaze et al., 2019, as Kaggle's "Cassava Leaf Disease Classification" gives it: train.csv has image_id, label.
CASSAVA = PublishedCsv(
    "Cassava",
    "train.csv",
    "train_images",
    ("Bacterial blight", "Brown streak disease", "Green mottle", "Mosaic disease", "Healthy"),
)


def load_published_csv(
    known: PublishedCsv,
    root: str | Path,
    name: str = "",
    *,
    bad_rows: BadRows = "refuse",
    notes: Notes | None = None,
) -> OwnSplits:
    """Read one of these sets as one pool. DatasetError lists all that is broken, with file and line."""
    root = Path(root).expanduser().absolute()
    for part in (known.csv, known.images):
        if not (root / part).exists():
            remedy = f"give the folder that has {known.csv} and {known.images}/"
            raise DatasetError(f"{known.called} has no {part} here", where=str(root), remedy=remedy)
    classes = {str(label): called for label, called in enumerate(known.classes)}
    return load_csv(
        root / known.csv,
        name or root.resolve().name,
        images=str(root / known.images),
        class_names=classes,
        bad_rows=bad_rows,
        notes=notes,
    )


load_deepweeds = partial(load_published_csv, DEEPWEEDS)
load_cassava = partial(load_published_csv, CASSAVA)
