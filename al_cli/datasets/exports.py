"""What a folder or file is that no reader takes: what labeling tools export, and what people have instead of a dataset.

`explain_path` says what was found and what to do, in one error. It reads files as data: nothing in them is run or followed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from al_cli.datasets.checks import shortened
from al_cli.datasets.coco_layouts import dataset_above
from al_cli.datasets.foreign_files import INSTEAD, kind_of_json, kind_of_xml, read_some
from al_cli.datasets.places import IMAGE_SUFFIXES, SPLIT_NAMES
from al_cli.datasets.tree import Tree, split_of
from al_cli.errors import DatasetError
from al_cli.pasted import as_text, command

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
TABLES = (".parquet", ".csv", ".tsv", ".arrow", ".feather", ".tfrecord", ".tfrecords", ".ndjson", ".jsonl", ".xlsx")
YAMLS = (".yaml", ".yml")
HELD_OUT_SHARE = "dataset.test=20%"
SHARE_MEANS = "draws a fifth of the images, which are then never trained on"
READS = (
    "al reads YOLO folders with a data.yaml, COCO files with their images, a folder a class, a csv of file and label, and the "
    "files of CIFAR, SVHN, MNIST, ImageNet-V2, DroughtWatch, DeepWeeds and Cassava"
)


def explain_path(root: Path) -> DatasetError:
    """The error for a path that is no dataset as it stands: what it is, and what to do."""
    if not root.exists():
        return DatasetError("there is no such folder", where=str(root), remedy="give the folder that holds the dataset")
    if root.is_dir():
        tree = Tree.of(root)
        what, remedy = next(found for look in LOOKS for found in look(tree))
        return DatasetError(f"this folder {what}", where=str(root), remedy=remedy)
    what, remedy = next(found for look in FILE_LOOKS for found in look(root))
    return DatasetError(f"this file {what}", where=str(root), remedy=remedy)


WhatAndRemedy = tuple[str, str]  # what it is, what to do


def _file_by_suffix(file: Path) -> Iterator[WhatAndRemedy]:
    suffix = file.suffix.lower()
    if suffix in ARCHIVES:
        yield "is an archive", _unpack(file)
    elif suffix in VIDEOS:
        yield _video(file)
    elif suffix in TABLES:
        yield _table(file)


def _unpack(file: Path) -> str:
    """What to do with an archive."""
    folder = file.with_suffix("")
    if file.suffix.lower() == ".zip":
        line = command("unzip", "-q", str(file), "-d", str(folder))
    else:
        line = f"{command('mkdir', '-p', str(folder))} && {command('tar', '-xf', str(file), '-C', str(folder))}"
    return f"unpack it and give the folder, for example: {line}; {_al_data(folder)}"


def _part_of(kind: str, folder: Path) -> WhatAndRemedy:
    """For what lies in a dataset's own folder."""
    return f"is a part of the {kind} dataset {folder}", f"give that folder: {_al_data(folder)}"


def _al_data(folder: Path) -> str:
    return command("al", "data", str(folder))


def _video(file: Path) -> WhatAndRemedy:
    frames = command("ffmpeg", "-i", str(file), str(file.with_suffix("") / "%06d.jpg"))
    return (
        f"is a video ({file.name}), and al reads images",
        f"write its frames as images ({frames}), label them, and export COCO or YOLO",
    )


def _table(file: Path) -> WhatAndRemedy:
    return f"is a table ({file.name}), which is not read", f"{READS}: export or convert to one of them"


def _file_by_content(file: Path) -> Iterator[WhatAndRemedy]:
    kind = kind_of_json(file) if file.suffix.lower() == ".json" else kind_of_xml(file)
    if kind == "coco" and (folder := dataset_above(file)) is not None:
        yield _part_of("COCO", folder)
    elif kind == "coco":
        found = _coco(Tree.of(file.parent, only=file))
        yield from ((f"is one of a dataset, whose folder {what}", remedy) for what, remedy in found)
    elif kind in INSTEAD:
        what, remedy = INSTEAD[kind]
        yield f"holds {what}", remedy


def _file_of_no_kind(file: Path) -> Iterator[WhatAndRemedy]:
    yield "is a file and no folder", f"{READS}: give the folder that holds the dataset, or its data.yaml"


def _yaml(tree: Tree) -> Iterator[WhatAndRemedy]:
    """A data.yaml here (another format was asked for) or in a folder below (an archive unpacked into one of its own)."""
    found = [path for path in tree.files if path.name == "data.yaml"]
    if found and found[0].parent == tree.root:
        yield "is a YOLO dataset (it has a data.yaml)", "set dataset=yolo"
    elif len(found) == 1:
        yield f"has its data.yaml in {tree.short(found[0].parent)}", f"give that folder: {_al_data(found[0].parent)}"
    elif found:
        folders = ", ".join(tree.short(path.parent) for path in found[:5])
        yield (
            f"holds {len(found)} datasets with a data.yaml ({folders})",
            f"give one of them, for example: {_al_data(found[0].parent)}",
        )


def _yaml_above(tree: Tree) -> Iterator[WhatAndRemedy]:
    """A data.yaml above: one of a dataset's own folders was given."""
    for folder in tree.root.absolute().parents[:2]:
        if (folder / "data.yaml").is_file():
            yield _part_of("YOLO", folder)


def _coco_above(tree: Tree) -> Iterator[WhatAndRemedy]:
    """A COCO dataset above: its folder of annotations or images was given."""
    if (folder := dataset_above(tree.root)) is not None:
        yield _part_of("COCO", folder)


def _coco(tree: Tree) -> Iterator[WhatAndRemedy]:
    """COCO files in a layout that nobody could guess: the words that name the splits."""
    files = [file for file, kind in tree.json_kinds.items() if kind == "coco"]
    if not files:
        return
    names = f"{len(files)} COCO files ({', '.join(tree.short(file) for file in files[:5])})"
    name = f"holds the COCO file {tree.short(files[0])}" if len(files) == 1 else f"holds {names}"
    sources, hints = [], []
    for file in files:
        folder, hint = _images_of(file, tree)
        if folder is None:
            yield f"{name}, but not the images that {file.name} lists", hint
            return
        sources.append((file, folder))
        hints.append(hint)
    splits = {split_of(file, tree.root): (file, folder) for file, folder in sources}
    if "train" not in splits or "" in splits or len(splits) < len(sources):
        # Names say nothing: the first ones, in order.
        order = ("train", "test") if len(sources) == 2 else SPLIT_NAMES
        splits = dict(zip(order, sources, strict=False))
    words = [word for split in SPLIT_NAMES if split in splits for word in _split_words(split, *splits[split], tree)]
    if len(splits) == 1:
        words.append(HELD_OUT_SHARE)
        hints.append(f"{HELD_OUT_SHARE} {SHARE_MEANS}")
    say = command("al", "data", str(tree.root), *words)
    known = "; ".join(dict.fromkeys(filter(None, hints)))
    yield f"{name}, and al cannot know which images are for what", f"say it: {say}" + (f" ({known})" if known else "")


def _images_of(file: Path, tree: Tree) -> tuple[Path | None, str]:
    """(the folder that a COCO file's file_name is relative to, a hint); without a folder, what to do about it."""
    table = json.loads(read_some(file))
    names = [row["file_name"] for row in table["images"][:50] if isinstance(row, dict) and row.get("file_name")]
    names = [name.replace("\\", "/") for name in names if isinstance(name, str) and "\0" not in name]
    if not names:
        return None, f"{file.name} lists no images: export it again"
    folders = [file.parent, *tree.image_folders(), tree.root, *tree.folders()]
    share = {folder: sum(_is_there(folder / name) for name in names) for folder in dict.fromkeys(folders)}
    split = split_of(file, tree.root)
    # Of folders with the same names that one which is called after the same split.
    best = max(share, key=lambda folder: (share[folder], split_of(folder / "x", tree.root) == split))
    if share[best]:
        inside = names[0].rpartition("/")[0]
        hint = f"file_name already says {inside}/, so images is the folder that holds it" if inside else ""
        return best, hint
    bare = [Path(name).name for name in names]
    share = {folder: sum(_is_there(folder / name) for name in bare) for folder in tree.image_folders()}
    best = max(share, key=share.__getitem__, default=tree.root)
    if share.get(best):
        there = tree.short(best / bare[0])
        return None, (
            f"file_name is {shortened(names[0])} and the image is {there}: write {bare[0]} as its file_name, and so for all, "
            "then: " + command("al", "data", str(tree.root), *_split_words("train", file, best, tree), HELD_OUT_SHARE)
        )
    return None, f"put them there (the first is {shortened(names[0])}), or export again with images"


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for the file system
        return False


def _split_words(split: str, file: Path, folder: Path, tree: Tree) -> list[str]:
    parts = (("images", folder), ("annotations", file))
    return [f"dataset.{split}.{key}={as_text(tree.short(path))}" for key, path in parts]


def _yolo(tree: Tree) -> Iterator[WhatAndRemedy]:
    """YOLO labels without data.yaml: the file to write."""
    labels = tree.label_files()
    if not labels:
        return
    folders = tree.topmost(tree.image_folders())
    name = f"holds YOLO label files ({tree.short(labels[0])}, ...)"
    if not folders:
        yield f"{name} without their images", "put the images there, or export again with images: `YOLO with images`"
        return
    splits: dict[str, list[str]] = {}
    for folder in folders:
        splits.setdefault(split_of(folder / "x", tree.root) or "train", []).append(tree.short(folder))
    names, source = tree.class_names(labels)
    lines = [f"{split}: {_yaml_text(splits[split])}" for split in SPLIT_NAMES if split in splits] + [
        f"names: {json.dumps(names, ensure_ascii=False)}"
    ]
    words = [] if {"val", "test"} & set(splits) else [HELD_OUT_SHARE]
    means = f" ({HELD_OUT_SHARE} {SHARE_MEANS})" if words else ""
    text = "".join(f"\n  {line}" for line in lines)
    run = command("al", "data", str(tree.root), *words)
    yield (
        f"{name} and images, but no data.yaml that names classes and splits",
        f"write {tree.root / 'data.yaml'} with these lines, the names {source}, then: {run}{means}{text}",
    )


def _yaml_text(folders: list[str]) -> str:
    return json.dumps(folders[0] if len(folders) == 1 else folders, ensure_ascii=False)


def _other_json(tree: Tree) -> Iterator[WhatAndRemedy]:
    for file, kind in tree.json_kinds.items():
        if kind in INSTEAD:
            what, remedy = INSTEAD[kind]
            yield f"holds {what} ({tree.short(file)})", remedy


def _xml(tree: Tree) -> Iterator[WhatAndRemedy]:
    for file in tree.some_of_each_folder(".xml"):
        if (kind := kind_of_xml(file)) in INSTEAD:
            what, remedy = INSTEAD[kind]
            yield f"holds {what} ({tree.short(file)})", remedy


def _archives(tree: Tree) -> Iterator[WhatAndRemedy]:
    if found := tree.with_suffix(*ARCHIVES):
        yield f"holds an archive ({tree.short(found[0])})", _unpack(found[0])


def _tables_and_videos(tree: Tree) -> Iterator[WhatAndRemedy]:
    for file in tree.with_suffix(*TABLES)[:1]:
        yield _in_folder(_table(file))
    for file in tree.with_suffix(*VIDEOS)[:1]:
        yield _in_folder(_video(file))


def _in_folder(found: WhatAndRemedy) -> WhatAndRemedy:
    return found[0].replace("is a", "holds a", 1), found[1]


def _images(tree: Tree) -> Iterator[WhatAndRemedy]:
    if tree.images:
        number = "1 image" if tree.images == 1 else f"{tree.images} images"
        first = tree.short(tree.with_suffix(*IMAGE_SUFFIXES)[0])
        yield (
            f"holds {number} ({first}) and no labels that al knows",
            "al compares strategies on images whose labels are there: label some in a labeling tool, export COCO or YOLO "
            "with images, and give that folder; or, where an image has one class, put each into a folder called as its class",
        )


def _nothing(tree: Tree) -> Iterator[WhatAndRemedy]:
    if not tree.files:
        yield "is an empty folder", "give the folder that holds the dataset"
    suffixes = ", ".join(sorted({path.suffix.lower() or path.name for path in tree.files})[:8])
    yield f"holds no images and no labels that al knows (files: {suffixes})", f"{READS}: give the folder of one"


LOOKS: tuple[Callable[[Tree], Iterator[WhatAndRemedy]], ...] = (
    _yaml,
    _yaml_above,
    _coco_above,
    _coco,
    _yolo,
    _other_json,
    _xml,
    _archives,
    _tables_and_videos,
    _images,
    _nothing,
)
FILE_LOOKS: tuple[Callable[[Path], Iterator[WhatAndRemedy]], ...] = (
    _file_by_suffix,
    _file_by_content,
    _file_of_no_kind,
)
