"""YAML and JSON from strangers, read within bounds: of the file's size, of depth, and of what YAML's aliases repeat.

A file of a few hundred bytes can name ten lists of ten lists of ten …, which no memory holds once they are written out.
"""

import codecs
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import Node, ScalarNode

from pirt.core.files import (
    is_stream,
    pass_on_refusal,
    reading,
    refuse_folder,
    refuse_stream,
    refuse_unlike,
    written_whole,
)

MEBIBYTE = 1 << 20
_LARGEST_YAML = MEBIBYTE // 8
LARGEST_JSON = 32 * MEBIBYTE
"""Python's objects take up to twenty times the bytes of their JSON."""
LARGEST_LABELS = 512 * MEBIBYTE
"""Bytes of a JSON with the keypoints of a data set."""
_DEEPEST = 32
_LONGEST_WRITTEN_OUT = MEBIBYTE
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How a formula begins; spreadsheets of East Asia take the wide signs too."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
SEPARATOR_LINE = re.compile(r'"?sep=([\t!#-~])"?\1*\r?\n', re.IGNORECASE)
"""The line by which a table tells spreadsheets, above all else, what separates its columns.

A spreadsheet that saves the table again may quote the line and fill it up with empty cells.
"""


def bytes_within(path: Path, most: int) -> bytes:
    """Return the bytes of a file; more than `most`, or what is not a file and may never end, is a ValueError."""
    if is_stream(path):
        raise ValueError("it is a pipe or device, not a file")
    if (size := path.stat().st_size) > most:
        raise ValueError(f"it has {size:,} bytes, over the limit of {most:,}")
    with reading(path):
        return path.read_bytes()


def encoding_of(path: Path) -> str:
    """Return UTF-16 where a spreadsheet or editor has written its mark ("Unicode text"), else UTF-8."""
    refuse_stream(path)
    with reading(path), path.open("rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def yaml_in(path: Path) -> Any:
    """Return what a YAML 1.2 file holds, as DVC reads it; an OSError or a ValueError of one line says why not.

    Only YAML's own types are made: a tag that names a Python object is an error.
    """
    return yaml_of(bytes_within(path, _LARGEST_YAML).decode("utf-8-sig"))


def yaml_of(text: str) -> Any:
    """Return what a YAML text holds; see `yaml_in`."""
    _require_few_open(text)
    # Pure, since libyaml's parser has a composer of its own, which would pass over `_Bounded`.
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = _DEEPEST
    yaml.Composer = _Bounded
    try:
        return yaml.load(text)
    except YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    # A scalar that only looks like a date, a number or a truth value may raise anything.
    except Exception as error:
        pass_on_refusal(error)
        raise ValueError(f"{type(error).__name__}: {' '.join(str(error).split())}") from error


def json_in(path: Path, most: int = LARGEST_JSON) -> Any:
    """Return what a JSON file of at most `most` bytes holds; an OSError or a ValueError says why not."""
    return json_of(bytes_within(path, most))


def is_json_without(name: str, path: Path) -> bool:
    """Tell whether a file is JSON of another kind than ours, which has a field `name`; a damaged one may be ours."""
    try:
        content = json_in(path)
    except ValueError:
        return path.stat().st_size > LARGEST_JSON  # which none of ours is
    return not (isinstance(content, dict) and name in content)


def write_json(path: Path, content: dict[str, Any], indent: int | None = None) -> None:
    """Write a JSON file; what is there is replaced only if it has the same fields."""
    with written_json(path, content, indent):
        pass


@contextmanager
def written_json(path: Path, content: dict[str, Any], indent: int | None = None) -> Iterator[None]:
    """Do the same beside `path`, which is replaced when the block ends well."""

    def is_alike(there: Path) -> bool:
        try:
            found = json_in(there)
        except ValueError:
            return False
        return isinstance(found, dict) and found.keys() == content.keys()

    refuse_folder(path)
    refuse_unlike(path, is_alike, f"JSON with {' and '.join(content)}")
    with written_whole(path) as beside:
        beside.write_text(json.dumps(content, indent=indent) + "\n", encoding="utf-8")
        yield


def json_of(text: str | bytes) -> Any:
    """Return what a JSON text holds; anything else is a ValueError."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its lists and tables are nested too deep") from None


def _require_few_open(text: str) -> None:
    """Refuse what the scanner, which looks at all open lists again for each new one, would take hours to refuse."""
    depth = 0
    for mark in re.findall(r"[\[{}\]]", text):
        depth = depth + 1 if mark in "[{" else max(depth - 1, 0)
        if depth > 2 * _DEEPEST:  # quotes and comments may hold some more
            raise ValueError(f"its lists and mappings are nested deeper than {_DEEPEST}")


def plain_cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula; what looks like one gets an apostrophe in front."""
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


class _Bounded(Composer):
    """Refuses what is short only while its aliases are not written out, before any of it is made."""

    def get_single_node(self) -> Any:
        """Return the document's root."""
        root = super().get_single_node()
        if root is not None and _written_out(root, {}) > _LONGEST_WRITTEN_OUT:
            raise YAMLError(f"with its aliases written out it has more than {_LONGEST_WRITTEN_OUT:,} characters")
        return root


def _written_out(node: Node, known: dict[int, float]) -> float:
    """Return about how many characters a node has where its aliases are; one that holds itself has no end."""
    if isinstance(node, ScalarNode):
        return len(node.value) + 2
    if id(node) not in known:
        known[id(node)] = float("inf")
        below = [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]
        known[id(node)] = 2 + sum(_written_out(part, known) for part in below)
    return known[id(node)]
