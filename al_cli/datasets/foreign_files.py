"""What kind of label file a json or xml is, told by its keys, and what to do with those that no reader takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from al_cli.system import open_regular

XML_START = 4096  # bytes in which an xml names its root
# Of each format that is not read: what it is, and which export of its tool is.
INSTEAD = {
    "labelme": (
        "labelme or X-AnyLabeling files (json with `shapes`), which are not read yet",
        "in X-AnyLabeling choose Export, YOLO or COCO; labelme's own script labelme2coco.py writes COCO",
    ),
    "label_studio": (
        "Label Studio's JSON export, which is not read yet",
        "in Label Studio export `YOLO with images` or `COCO with images` instead",
    ),
    "cvat": (
        "CVAT's XML (CVAT for images), which is not read yet",
        "in CVAT export `COCO 1.0` or `Ultralytics YOLO Detection 1.0`, with `Save images` on",
    ),
    "voc": (
        "Pascal VOC files (an xml an image), which are not read yet",
        "export COCO or YOLO from the tool that wrote them: CVAT, Label Studio and Roboflow can",
    ),
    "datumaro": ("Datumaro's own json, which is not read", "convert it to COCO with `datum convert`"),
    "createml": ("a CreateML json, which is not read", "export COCO or YOLO from the tool that wrote it"),
    "via": ("a VIA project (VGG Image Annotator), which is not read", "in VIA choose Annotation, Export as COCO"),
    "coco_results": (
        "predictions in COCO's result format (with scores), no labels",
        "give the instances file that the predictions were made for",
    ),
    "coco_other": (
        "a COCO file without boxes (captions, panoptic or image list)",
        "give the instances file: its annotations have `bbox`",
    ),
}


def read_some(file: Path, most: int = -1) -> bytes:
    """The first `most` bytes of a file, all by default; none of what is no regular file or cannot be read."""
    try:
        with open_regular(file) as opened:
            return opened.read(most)
    except (OSError, ValueError):
        return b""


def kind_of_json(file: Path) -> str:
    """coco, coco_other, coco_results, labelme, label_studio, datumaro, createml, via; empty for anything else."""
    try:
        data = json.loads(read_some(file))
    except (ValueError, RecursionError):
        return ""
    return _of_mapping(data) if isinstance(data, dict) else _of_list(data)


def _of_mapping(data: dict[str, Any]) -> str:
    keys = set(data)
    if {"images", "annotations", "categories"} <= keys and all(
        isinstance(data[key], list) for key in ("images", "annotations", "categories")
    ):
        rows = data["annotations"]
        return "coco" if not rows or any(isinstance(row, dict) and "bbox" in row for row in rows[:50]) else "coco_other"
    if "images" in keys and keys & {"annotations", "categories"}:
        return "coco_other"
    if "shapes" in keys and keys & {"imagePath", "imageData", "version"}:
        return "labelme"
    if {"items", "categories"} <= keys:
        return "datumaro"
    if keys & {"_via_img_metadata", "_via_settings"}:
        return "via"
    return "label_studio" if "data" in keys and keys & {"annotations", "completions", "predictions"} else ""


def _of_list(data: Any) -> str:
    first = data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else {}
    keys = set(first)
    if {"image_id", "category_id", "bbox", "score"} <= keys:
        return "coco_results"
    if "data" in keys and keys & {"annotations", "completions", "predictions"}:
        return "label_studio"
    if {"image", "annotations"} <= keys:
        return "createml"
    return "label_studio" if "image" in keys and keys & {"annotation_id", "annotator", "lead_time"} else ""


def kind_of_xml(file: Path) -> str:
    """cvat or voc; empty for anything else."""
    start = read_some(file, XML_START).decode(errors="replace")
    root = re.search(r"<(?![?!])\s*([\w:.-]+)", start)
    return {"annotations": "cvat", "annotation": "voc"}.get(root[1] if root else "", "")
