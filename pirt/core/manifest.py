"""The manifest: one CSV row per image, shared by every program."""

import csv
import hashlib
import io
import os
import re
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

import numpy as np

from pirt.core.errors import ManifestError
from pirt.core.files import stays_inside, written_whole
from pirt.core.pids import JUNK_PID
from pirt.core.plain_rows import PlainRows, plain_rows
from pirt.core.rows import CODES, SPLITS, TOGETHER, Columns, ImageRow, Rows, Split, Texts, hashes_of
from pirt.core.texts import SEPARATOR_LINE, encoding_of

__all__ = [
    "COLUMNS",
    "SPLITS",
    "ImageRow",
    "Manifest",
    "Rows",
    "Split",
    "is_of_stand_in",
    "make_manifest",
    "read_manifest",
    "require_inside",
    "write_manifest",
]

COLUMNS = ("key", "path", "split", "pid", "camid", "sha256")
_ROOT_LINE = "# root: "
_STAND_IN_LINE = "# stand-in"
# Part of the fingerprint, since every store, run and result carries that: none of them can lose the mark.
_STAND_IN_MARK = "-standin"
_LARGEST = 2**63 - 1
_LINE_ENDS = re.compile(r"[\0\r\n]")
_OUTSIDE = ("\n/", "\n./", "\n.\n", "\n\n", "..", "\\", ":")
"""Every path that leaves the root has one of these in it once it stands between two line ends; few other paths do."""
_BLOCK = 1 << 19
"""Characters read at a time; the first ones hold the header and the lines before it, whatever else the file is."""


@dataclass(frozen=True, init=False)
class Manifest:
    """The images of one benchmark, in a fixed order, and the folder that their paths start from.

    `stand_in` says that they only stand in for those of a published data set.
    """

    rows: Rows
    root: Path
    stand_in: bool = False

    def __init__(self, rows: Iterable[ImageRow], root: Path, stand_in: bool = False) -> None:
        # Through object's, since this class is frozen.
        for name, value in (("rows", Rows.of(rows)), ("root", root), ("stand_in", stand_in)):
            object.__setattr__(self, name, value)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the rows, marked if of a stand-in; where the images lie does not change it."""
        digest = hashlib.sha256()
        for text in _rows_as_csv(self.rows):
            digest.update(text.encode())
        return digest.hexdigest() + _STAND_IN_MARK if self.stand_in else digest.hexdigest()

    @property
    def keys(self) -> Texts:
        """Every image's key, in order."""
        return self.rows.keys

    def image_path(self, row: ImageRow) -> Path:
        """Return where the image of `row` lies."""
        return self.root / row.path

    def split(self, split: Split) -> Rows:
        """Return the rows of one split; an empty one is an error."""
        rows = self.rows.take(self.rows.of_split(split))
        if not rows:
            found = sorted(SPLITS[code] for code in np.unique(self.rows.splits))
            raise ManifestError(f"the manifest has no {split!r} image, only {found}; import a data set that has some")
        return rows

    def require_files(self, rows: Sequence[ImageRow] | None = None) -> None:
        """Raise when the root or any image of `rows` (all by default) is missing, naming the first ones."""
        if not self.root.is_dir():
            raise ManifestError(f"data root {self.root} is not a folder; pass the right one with --root")
        missing = [row.path for row in (self.rows if rows is None else rows) if not (self.root / row.path).is_file()]
        if missing:
            raise ManifestError(
                f"{len(missing)} of the manifest's images are missing under {self.root}, the first is "
                f"{missing[0]!r}; restore them or pass the right folder with --root"
            )


def is_of_stand_in(fingerprint: str) -> bool:
    """Tell from a manifest's fingerprint, as every lineage holds it, whether the images were a stand-in."""
    return fingerprint.endswith(_STAND_IN_MARK)


def make_manifest(rows: Iterable[ImageRow], root: Path, name: Path, stand_in: bool = False) -> Manifest:
    """Check `rows`; messages call the manifest `name`."""
    manifest = Manifest(rows, root, stand_in)
    _require_sound(manifest.rows, name)
    return manifest


def is_manifest(path: Path) -> bool:
    """Tell a manifest by its first line, as `write_manifest` writes it."""
    with path.open(encoding=encoding_of(path), errors="replace") as file:
        head = SEPARATOR_LINE.sub("", file.read(64), count=1)
        return head.removeprefix('"').startswith(_ROOT_LINE)


def write_manifest(path: Path, rows: Iterable[ImageRow], root: Path, stand_in: bool = False) -> Manifest:
    """Check `rows` and write them to `path`; a relative `root` is recorded relative to the manifest's folder."""
    with written_manifest(path, rows, root, stand_in) as manifest:
        return manifest


@contextmanager
def written_manifest(path: Path, rows: Iterable[ImageRow], root: Path, stand_in: bool = False) -> Iterator[Manifest]:
    """Do the same beside `path`, which is replaced when the block ends well."""
    manifest = make_manifest(rows, root, path, stand_in)
    recorded = (root if root.is_absolute() else _relative(root, path.parent)).as_posix()
    if _LINE_ENDS.search(recorded):
        raise ManifestError(f"data root {recorded!r} has a line break in its name; rename that folder")
    with written_whole(path) as beside:
        head = _as_csv([(f"{_ROOT_LINE}{recorded}",)]) + (f"{_STAND_IN_LINE}\n" if stand_in else "")
        with beside.open("w", encoding="utf-8", newline="") as file:
            file.write(head)
            file.writelines(_rows_as_csv(manifest.rows))
        yield manifest


def _relative(root: Path, folder: Path) -> Path:
    """Return the way from `folder` to `root`, through the links that the user named unless ".." leads astray there."""
    way = Path(os.path.relpath(root, folder))
    if (folder / way).resolve() == root.resolve():
        return way
    return Path(os.path.relpath(root.resolve(), folder.resolve()))


def read_manifest(path: Path, root: Path | None = None) -> Manifest:
    """Read a manifest, one that a spreadsheet has saved too (UTF-16, byte-order mark, sep=, ; or tabs, CRLF, padding).

    `root` overrides the recorded data root; without either it is the manifest's folder.
    """
    try:
        with path.open(encoding=encoding_of(path), newline=_newline_of(path)) as file:
            rows, recorded, stand_in = _read(file, path)
    except FileNotFoundError:
        raise ManifestError(f"manifest {path} does not exist; make one with `pirt-data import`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"manifest {path} cannot be read as UTF-8 text: {error}") from error
    _require_sound(rows, path)
    return Manifest(rows, path.parent / (recorded or ".") if root is None else root, stand_in)


def _newline_of(path: Path) -> str | None:
    """Return how to open a manifest: untranslated, so that what is quoted comes back as it was written.

    One whose lines end as on old Macs, as Excel still saves them, is translated, also if an editor ended it otherwise.
    """
    with path.open(encoding=encoding_of(path), newline="") as file:
        head = _block(file)
    return None if head.count("\r") > head.count("\n") else ""


def _read(file: TextIO, path: Path) -> tuple[Rows, str | None, bool]:
    """Return the rows, what is recorded as root, and whether the images are a stand-in."""
    head = _block(file)
    if said := SEPARATOR_LINE.match(head):
        head = head[said.end() :]
    # At most two lines stand above the header: the root's and the stand-in's.
    header = next((line for line in head.split("\n", 3) if not line.startswith(("#", '"#'))), "")
    delimiter = said[1] if said else max(",;\t", key=header.count)
    recorded, rest = _marked(head, _ROOT_LINE, delimiter)
    stand_in, rest = _marked(rest, _STAND_IN_LINE, delimiter)
    records = _records(rest, file, delimiter)
    tables = _tables(records, file, delimiter)
    try:
        try:
            _require_header(next(records, []), path)
            return _rows_of(tables, path), recorded, stand_in is not None
        except ManifestError:
            for _ in tables:  # a file that is not CSV further below is not a manifest with one wrong row
                pass
            raise
    except csv.Error as error:
        raise ManifestError(f"manifest {path} is not a CSV file: {error}") from error


def _block(file: TextIO) -> str:
    return file.read(_BLOCK) + file.readline()


def _tables(records: Iterator[list[str]], file: TextIO, delimiter: str) -> Iterator[list[list[str]] | PlainRows]:
    """Yield the rows in tables: `records`, then those further below, cut all at once where nothing is quoted."""
    while True:
        while table := list(islice(records, TOGETHER)):
            yield table
        if not (text := _block(file)):
            return
        if plain := plain_rows(text, delimiter):
            yield plain
        else:
            records = _records(text, file, delimiter)


def _records(text: str, file: TextIO, delimiter: str) -> Iterator[list[str]]:
    """Yield the fields of every record that begins in `text`; the last one may end further below in the file."""
    lines = io.StringIO(text, newline="")
    records = csv.reader(chain(lines, file), delimiter=delimiter, strict=True)
    while lines.tell() < len(text) and (fields := next(records, None)) is not None:
        yield fields


def _require_header(fields: list[str], path: Path) -> None:
    names = tuple(name.strip().lower() for name in fields)
    if names != COLUMNS:
        fix = "keep only these, in this order" if set(COLUMNS) <= set(names) else "make one with `pirt-data import`"
        raise ManifestError(f"manifest {path} has columns {reprlib.repr(names)}, expected {COLUMNS}; {fix}")


def _rows_of(tables: Iterator[list[list[str]] | PlainRows], path: Path) -> Rows:
    columns, number = Columns(), 1
    for table in tables:
        if isinstance(table, PlainRows):
            columns.extend_cut(table.utf8, table.texts, table.splits, table.pids, table.camids)
        else:
            _extend(columns, table, number, path)
        number += len(table)
    return columns.rows()


def _marked(text: str, mark: str, delimiter: str) -> tuple[str | None, str]:
    """Return what follows `mark` on the first line, None if it begins otherwise, and the text below that line.

    A spreadsheet fills the line with empty cells up to the table's width, quoted or not.
    """
    line, _, below = text.partition("\n")
    line = line.removesuffix("\r").removesuffix(f'{delimiter}""' * (len(COLUMNS) - 1))
    line = line.removesuffix(delimiter * (len(COLUMNS) - 1))
    if line.startswith('"') and line.endswith('"'):
        line = line[1:-1].replace('""', '"')
    return (line.removeprefix(mark), below) if line.startswith(mark) else (None, text)


def _rows_as_csv(rows: Rows) -> Iterator[str]:
    yield _as_csv([COLUMNS])
    for first in range(0, len(rows), TOGETHER):
        yield _lines_of(rows[first : first + TOGETHER])


def _lines_of(rows: Rows) -> str:
    """Return rows as CSV, by its own writer only where one has something to be quoted."""
    table = list(zip(*rows.columns(), strict=True))
    lines = "".join([f"{key},{path},{split},{pid},{cam},{sha256}\n" for key, path, split, pid, cam, sha256 in table])
    marks = (len(COLUMNS) - 1) * len(table), len(table), 0, 0, 0
    # A comma or line end more than the table has, or any quote, lies in a field, which then has to be quoted.
    return lines if tuple(map(lines.count, ',\n"\r\0')) == marks else _as_csv(table)


def _as_csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    # Not the writer's own \r\n: the fingerprint is taken of these bytes, and `_lines_of` writes them without it.
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _extend(columns: Columns, table: Sequence[list[str]], first: int, path: Path) -> None:
    """Add the fields of rows `first` and following; rows without any are left out."""
    filled = [fields for fields in table if any(fields)]
    try:
        keys, paths, splits, pids, camids, sha256s = zip(*filled, strict=True) if filled else [()] * len(COLUMNS)
        columns.extend(keys, paths, [CODES[split] for split in splits], _whole(pids), _whole(camids), sha256s)
    except (ValueError, KeyError):
        # All rows at once only tell that something is wrong; one by one they tell which is.
        for number, fields in enumerate(table, first):
            if any(fields):
                _require_row(fields, f"{path}, row {number}")
        raise


def _whole(words: Sequence[str]) -> list[int]:
    if "_" in "".join(words):  # which Python takes in the middle of a number
        raise ValueError
    return list(map(int, words))


def _require_row(fields: list[str], where: str) -> None:
    if len(fields) != len(COLUMNS):
        raise ManifestError(f"{where}: {len(fields)} fields, expected {len(COLUMNS)}: {', '.join(COLUMNS)}")
    _, _, split, pid, camid, _ = fields
    if split not in SPLITS:
        raise ManifestError(f"{where}: split {split!r}, expected one of {', '.join(SPLITS)}")
    try:
        _whole((pid, camid))
    except ValueError:
        raise ManifestError(f"{where}: pid {pid!r} and camid {camid!r} must be whole numbers") from None


def require_inside(path: str) -> None:
    """Raise ManifestError when a row cannot have this path: it leaves the data root, or no line can hold it."""
    if _LINE_ENDS.search(path):
        raise ManifestError(f"path {path!r} has a line break in it, which a manifest cannot hold; rename the file")
    if not stays_inside(path):
        is_drive = path[1:2] == ":" and not path.startswith("/")
        drive = ", as one that begins with a drive's letter does on Windows" if is_drive else ""
        raise ManifestError(f"path {path!r} leaves the data root{drive}; use relative posix paths")


def _require_sound(rows: Rows, path: Path) -> None:
    """Raise ManifestError, which names the first image that a manifest cannot have."""
    if not rows:
        raise ManifestError(f"manifest {path} lists no image")
    if _numbers_are_sound(rows) and _texts_are_sound(rows):
        return
    # One by one to name the first that is wrong, or to find that two keys only share a hash.
    seen: set[str] = set()
    for row in rows:
        try:
            require_inside(row.path)
        except ManifestError as error:
            raise ManifestError(f"manifest {path}: {error}") from None
        if not row.key or row.key in seen or _LINE_ENDS.search(row.key):
            raise ManifestError(
                f"manifest {path}: key {row.key!r} is empty, appears twice or has a line break; keys must be unique"
            )
        seen.add(row.key)
        if not JUNK_PID <= row.pid <= _LARGEST or abs(row.camid) > _LARGEST:
            raise ManifestError(
                f"manifest {path}: {row.key!r} has pid {row.pid} and camid {row.camid}; expected 64-bit numbers and "
                "a pid of -1 (junk), 0 (distractor) or above (an identity)"
            )


def _numbers_are_sound(rows: Rows) -> bool:
    """Check all numbers at once, to the same answer as row by row."""
    pids, camids = rows.pids, rows.camids
    return bool(((pids >= JUNK_PID) & (pids <= _LARGEST) & (camids >= -_LARGEST) & (camids <= _LARGEST)).all())


def _texts_are_sound(rows: Rows) -> bool:
    """Tell whether paths and keys are sound; no where two keys have one hash, which nearly always are the same."""
    hashes = np.empty(len(rows), np.int64)
    for first in range(0, len(rows), TOGETHER):
        some = rows[first : first + TOGETHER]
        keys, paths = list(some.keys), list(some.paths)
        between = "\n{}\n".format("\n".join(paths))
        if "" in keys or not (_are_lines("\n".join(keys), len(keys)) and _are_lines(between[1:-1], len(paths))):
            return False
        if any(mark in between for mark in _OUTSIDE) and not all(map(stays_inside, paths)):
            return False
        # Eight bytes a key; a set of a million keys would make an object of each.
        hashes[first : first + TOGETHER] = hashes_of(keys)
    hashes.sort()
    return not (hashes[1:] == hashes[:-1]).any()


def _are_lines(lines: str, count: int) -> bool:
    """Tell whether no text of `count`, which are joined, has a line break in it."""
    return lines.count("\n") == count - 1 and "\r" not in lines and "\0" not in lines
