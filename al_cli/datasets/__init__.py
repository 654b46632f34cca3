"""Datasets on disk become `Splits` in memory: read in place, checked whole, never moved, copied or written to."""

from al_cli.datasets.coco import load_coco
from al_cli.datasets.yolo import load_yolo

__all__ = ["load_coco", "load_yolo"]
