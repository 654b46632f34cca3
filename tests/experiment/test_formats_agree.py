"""The same images and labels as YOLO and as COCO: the same picks, boxes and AP, whatever the COCO file numbers them."""

import json
import shutil
from pathlib import Path

import numpy as np
from shapes import write_yolo

from al_cli.datasets import load_yolo
from al_cli.records.formats import read_csv


def write_coco_form(yolo: Path, root: Path) -> Path:
    """The images of a YOLO folder in Roboflow's COCO layout, in another order and with ids above 2^53."""
    splits, rng = load_yolo(yolo), np.random.default_rng(1)
    names = splits.train.class_names
    for split, data in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        (root / split).mkdir(parents=True)
        images, rows = [], []
        numbers = 2**54 + rng.permutation(10**6)[: len(data)]
        for n in rng.permutation(len(data)):
            image, number = data.images[n], int(numbers[n])
            shutil.copy(image.path, root / split / image.path.name)
            size = {"width": image.width, "height": image.height}
            images.append({"id": number, "file_name": image.path.name, **size})
            for (x0, y0, x1, y1), c in zip(image.boxes.tolist(), image.classes.tolist(), strict=True):
                box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
                rows.append({"id": len(rows) + 1, "image_id": number, "category_id": c + 5, **box})
        categories = [{"id": c + 5, "name": name} for c, name in enumerate(names)]
        table = {"images": images, "annotations": rows, "categories": categories}
        (root / split / "_annotations.coco.json").write_text(json.dumps(table))
    return root


def test_both_forms_give_the_same_run(al, tmp_path):
    yolo = write_yolo(tmp_path / "y", {"train": 30, "val": 5, "test": 8})
    roots = {"yolo": yolo, "coco": write_coco_form(yolo, tmp_path / "c")}
    words = ["run", "model=fake", "plots=false", "sampler=ccms", "rounds=3", "study=s"]
    for name, root in roots.items():
        al(*words, f"dataset={name}", f"dataset.root={root}", f"run_name={name}")
    one, other = (Path("outputs/s") / name for name in roots)
    for round in range(4):
        picks = [[row["image"] for row in read_csv(run / f"round_0{round}/selection.csv")] for run in (one, other)]
        assert picks[0] == picks[1]
    assert (one / "rounds.csv").read_text() == (other / "rounds.csv").read_text()
