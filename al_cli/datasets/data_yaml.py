"""What a data.yaml says: the folder that everything is relative to, the classes, and where each split is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from al_cli.datasets.checks import quoted, require_class_names, require_pool, shortened
from al_cli.datasets.exports import YAMLS, explain_path
from al_cli.datasets.notes import Notes
from al_cli.datasets.places import SPLIT_NAMES, Places, read_text
from al_cli.errors import DatasetError, first_line

MOST_CLASSES = 100_000  # more are a mistake, and would take minutes to list
KEYS = ("path", "names", "nc", *(key for keys in SPLIT_NAMES.values() for key in keys))
NO_POOL = "give data.yaml a `train:` line with the folder of the images to pick from"
NULLS = ("", "~", "null", "Null", "NULL")


class DataYaml(NamedTuple):
    """The file, the folder that splits are relative to, the class names, and of each split its folders or lists as written."""

    file: Path
    base: Path
    names: tuple[str, ...]
    entries: dict[str, list[str]]


def read_data_yaml(root: Path, notes: Notes) -> DataYaml:
    """The data.yaml of a folder (or its only *.yaml), or this file itself. DatasetError for the first thing that is wrong."""
    file = _find_yaml(root)
    config = _read_yaml(file)
    return DataYaml(file, _base(file, config), _class_names(file, config, notes), _split_entries(file, config))


def _find_yaml(root: Path) -> Path:
    if root.is_file() and root.suffix.lower() in YAMLS:
        return root
    if not root.is_dir():
        raise explain_path(root)
    if os.path.lexists(root / "data.yaml"):  # one that cannot be read is said to be so
        return root / "data.yaml"
    found = sorted(path for path in root.iterdir() if path.suffix in YAMLS and path.is_file())
    if len(found) == 1:
        return found[0]
    if not found:
        raise explain_path(root)
    have = f"several: {', '.join(path.name for path in found)}"
    raise DatasetError(
        f"there is no data.yaml but {have}", where=str(root), remedy="give the yaml file itself as dataset.root"
    )


class _TextLoader(yaml.BaseLoader):
    """YAML in which every scalar is text (a class called `no` or `on` is not a boolean) and no key comes twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key.value, str):
                if key.value in seen:
                    what = f"the key '{shortened(key.value)}' comes twice"
                    raise yaml.constructor.ConstructorError(None, None, what, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        config = yaml.load(read_text(file), _TextLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        what = f"cannot be read as YAML: {str(error.problem or error.context).removeprefix('but ')}"
        raise DatasetError(what, where=where, remedy="correct the line") from error
    except (OSError, yaml.YAMLError, RecursionError) as error:
        said = getattr(error, "strerror", None) or first_line(error)
        raise DatasetError(f"cannot be read as YAML: {said}", where=str(file), remedy="correct the file") from error
    if not isinstance(config, dict):
        raise DatasetError("is not a mapping", where=str(file), remedy="it needs the keys train, val and names")
    for key in config:
        if key not in KEYS and str(key).lower() in KEYS and str(key).lower() not in config:
            what, remedy = f"has the key {key}, and keys are in small letters", f"write {str(key).lower()}"
            raise DatasetError(what, where=str(file), remedy=remedy)
    if "kpt_shape" in config:
        raise DatasetError(
            "is a keypoint dataset (kpt_shape), whose rows look like polygons",
            where=str(file),
            remedy="export it as detection: class cx cy w h",
        )
    return config


def _base(file: Path, config: dict[str, Any]) -> Path:
    """The root that splits are relative to: `path` where given, else the yaml's folder.

    A relative `path` is taken from the yaml's folder or, where that does not exist, from the folder above it: what
    `path: coco8` in coco8/ and `path: ../datasets/x` in data/ mean in Ultralytics, which asks the working directory.
    """
    given = config.get("path", "")
    if given in NULLS:
        return file.parent
    given = str(given)
    for text in (given, given.replace("\\", "/")):
        for folder in (file.parent / Path(text).expanduser(), file.parent.parent / text):
            if folder.is_dir():
                return folder
    raise DatasetError(
        f"path: {given} is not a folder{Places().near(given, file.parent)}",
        where=str(file),
        remedy="correct it, or remove the line if the images lie next to the file",
    )


def _class_names(file: Path, config: dict[str, Any], notes: Notes) -> tuple[str, ...]:
    names, count = config.get("names", ""), config.get("nc", "")
    if isinstance(names, dict):
        try:
            by_id = {int(key): value for key, value in names.items()}
        except ValueError:
            by_id = {}
        if sorted(by_id) != list(range(len(names))):
            raise DatasetError(
                f"names must number the classes 0..{len(names) - 1} without gaps, got {shortened(', '.join(names))}",
                where=str(file),
                remedy="number them from 0, as label files do",
            )
        names = [by_id[n] for n in range(len(by_id))]
    if names in (*NULLS, [], {}):
        if not (isinstance(count, str) and count.isascii() and count.isdigit() and 0 < int(count[:9]) < MOST_CLASSES):
            what = f"names no classes, and nc is {quoted(count)}" if count not in NULLS else "names no classes"
            raise DatasetError(
                what, where=str(file), remedy="give data.yaml a list of class names: `names: [cat, dog]`"
            )
        notes.add("data.yaml without class names: classes are called by their numbers", str(file))
        names = [str(n) for n in range(int(count))]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        what = f"names is {quoted(names)}"
        raise DatasetError(what, where=str(file), remedy="it must be a list, or {id: name}, of class names")
    require_class_names(names, str(file))
    if count not in NULLS and str(count) != str(len(names)):
        raise DatasetError(
            f"nc is {shortened(count)} but names has {len(names)}", where=str(file), remedy="correct either of them"
        )
    return tuple(names)


def _split_entries(file: Path, config: dict[str, Any]) -> dict[str, list[str]]:
    """{split: folders or list files as written}, in the order train, val, test; absent splits left out."""
    found = {}
    for split, keys in SPLIT_NAMES.items():
        given = [key for key in keys if config.get(key, "") not in (*NULLS, [])]
        if len(given) > 1:
            raise DatasetError(f"has both {' and '.join(given)}", where=str(file), remedy="keep one of them")
        if given:
            entry = config[given[0]]
            entry = [entry] if isinstance(entry, str) else entry
            if not isinstance(entry, list) or not all(isinstance(item, str) for item in entry):
                raise DatasetError(
                    f"{given[0]} is {quoted(entry)}",
                    where=str(file),
                    remedy="give a folder, a .txt file, or a list",
                )
            found[split] = entry
    require_pool(found, file, NO_POOL)
    return found
