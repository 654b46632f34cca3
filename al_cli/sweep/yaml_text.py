"""The YAML of a sweep file as plain values: names and paths as they are written, each key once, and nothing huge.

YAML makes a number of 2024_05_01 and 1.1 of 1.10, keeps the last of two equal keys, and lets ten short lines stand for a
billion values. All three are settled here, on the tree of its nodes, before any value is made.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from al_cli.errors import ConfigError
from al_cli.experiment.words import GROUPS, TEXT, key_of

MAX_FILE = 50_000  # bytes: YAML is read at about this many in half a second
MAX_CHARACTERS = 1_000_000  # once what anchors and aliases repeat is written out
NAMING = {"name", "source", "arm", "against", "images", "annotations", *GROUPS}  # text too, though no settings of a run


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as Hydra reads it: 1e-4 is a number, and a day is text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith("timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d[\d_]*(\.[\d_]*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(path: Path) -> Any:
    """The values in the file. ConfigError says what is wrong in it; `where` is the line where it is one."""
    try:
        if path.exists() and not path.is_file():
            raise ConfigError("the sweep is no file")
        if (size := path.stat().st_size) > MAX_FILE:
            remedy = f"a sweep has at most {MAX_FILE:,}; many seeds or arms go into several studies"
            raise ConfigError(f"the sweep has {size:,} bytes", remedy=remedy)
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"the sweep cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError("the sweep is not YAML: it is not UTF-8 text") from error
    return parse_yaml(text)


def parse_yaml(text: str) -> Any:
    """The values in this text, as `read_yaml` gives them."""
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is None:
            return None
        _settle(node, {})
        return _Loader("").construct_document(node)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number that Python cannot make
        raise ConfigError(f"the sweep is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ConfigError("the sweep is nested too deep", remedy="a sweep needs four levels") from error


def _settle(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Make text of scalars that are names or paths, and return how many characters the node stands for.

    `sizes` are those of the nodes before, so that a node that a hundred aliases name is looked at once.
    """
    if id(node) in sizes:
        if sizes[id(node)] < 0:
            raise ConfigError("an alias stands for a value that it is part of", where=_line(node))
        return sizes[id(node)]
    sizes[id(node)] = -1
    if isinstance(node, yaml.MappingNode):
        first: dict[str, str] = {}
        for at, (key, value) in enumerate(node.value):
            name = key_of(str(key.value))
            if name in first and name != "<<":
                what = f"{name} is given twice, first in {first[name]}"
                raise ConfigError(what, where=_line(key), remedy="leave one out")
            first[name] = _line(key)
            if TEXT.fullmatch(name) or name in NAMING:
                node.value[at] = (key, _as_text(value))
        size = sum(_settle(child, sizes) for pair in node.value for child in pair)
    else:
        size = (
            sum(_settle(child, sizes) for child in node.value)
            if isinstance(node, yaml.SequenceNode)
            else len(node.value)
        )
    sizes[id(node)] = size + 1
    if size > MAX_CHARACTERS:
        remedy = "write out what is meant, without anchors and aliases"
        raise ConfigError(f"this stands for more than {MAX_CHARACTERS:,} characters", where=_line(node), remedy=remedy)
    return size + 1


def _as_text(node: yaml.Node) -> yaml.Node:
    """The node, or its text as it is written where YAML would make another scalar of it; null stays null."""
    kind = node.tag.rpartition(":")[2]
    if not isinstance(node, yaml.ScalarNode) or kind not in ("int", "float", "bool") or node.style is not None:
        return node
    return yaml.ScalarNode("tag:yaml.org,2002:str", node.value, node.start_mark, node.end_mark)


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"
