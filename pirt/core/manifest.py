"""The manifest: one CSV row an image, shared by every program."""

import csv
import hashlib
import io
import os
import re
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pirt.core.errors import ManifestError
from pirt.core.files import stays_inside, written_whole

Split = Literal["train", "query", "gallery"]
SPLITS: tuple[Split, ...] = get_args(Split)
COLUMNS = ("key", "path", "split", "pid", "camid", "sha256")
JUNK_PID, DISTRACTOR_PID = -1, 0
"""Of images that no ranking counts, and of images that are nobody's match."""
_ROOT_LINE = "# root: "
_STAND_IN_LINE = "# stand-in"
_STAND_IN_MARK = "-standin"
_LARGEST = 2**63 - 1
_LINE_ENDS = re.compile(r"[\0\r\n]")


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image. `path` is posix and relative to the data root; pid −1 is junk, pid 0 a distractor."""

    key: str
    path: str
    split: Split
    pid: int
    camid: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The images of one benchmark, in a fixed order, and the folder that their paths start from.

    `stand_in` says that they only stand in for those of a published data set.
    """

    rows: tuple[ImageRow, ...]
    root: Path
    stand_in: bool = False

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the rows, marked if of a stand-in; where the images lie does not change it."""
        digest = hashlib.sha256(_rows_as_csv(self.rows).encode()).hexdigest()
        return digest + _STAND_IN_MARK if self.stand_in else digest

    @property
    def keys(self) -> tuple[str, ...]:
        """Every image's key, in order."""
        return tuple(row.key for row in self.rows)

    def image_path(self, row: ImageRow) -> Path:
        """Return where the image of `row` lies."""
        return self.root / row.path

    def split(self, split: Split) -> tuple[ImageRow, ...]:
        """Return the rows of one split; an empty one is an error."""
        rows = tuple(row for row in self.rows if row.split == split)
        if not rows:
            found = sorted({row.split for row in self.rows})
            raise ManifestError(f"the manifest has no {split!r} image, only {found}; import a data set with it")
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
    return Manifest(_checked(tuple(rows), name), root, stand_in)


def write_manifest(path: Path, rows: Iterable[ImageRow], root: Path, stand_in: bool = False) -> Manifest:
    """Check `rows` and write them to `path`; a relative `root` is recorded relative to the manifest's folder."""
    manifest = make_manifest(rows, root, path, stand_in)
    recorded = (root if root.is_absolute() else _relative(root, path.parent)).as_posix()
    if _LINE_ENDS.search(recorded):
        raise ManifestError(f"data root {recorded!r} has an end of line in its name; rename that folder")
    with written_whole(path) as beside:
        head = _as_csv([(f"{_ROOT_LINE}{recorded}",)]) + (f"{_STAND_IN_LINE}\n" if stand_in else "")
        beside.write_text(head + _rows_as_csv(manifest.rows), encoding="utf-8", newline="")
    return manifest


def _relative(root: Path, folder: Path) -> Path:
    """Return the way from `folder` to `root`, through the links that the user named unless ".." leads astray there."""
    way = Path(os.path.relpath(root, folder))
    if (folder / way).resolve() == root.resolve():
        return way
    return Path(os.path.relpath(root.resolve(), folder.resolve()))


def read_manifest(path: Path, root: Path | None = None) -> Manifest:
    """Read a manifest, one that a spreadsheet has saved too (byte-order mark, ; or tabs, CRLF, padded first lines).

    `root` overrides the recorded data root; without either it is the manifest's folder.
    """
    try:
        # Untranslated, so that what is quoted comes back as it was written.
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except FileNotFoundError:
        raise ManifestError(f"manifest {path} does not exist; make one with `pirt-data import`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"manifest {path} cannot be read as UTF-8 text: {error}") from error
    header = next((line for line in text.split("\n", 3) if not line.startswith(("#", '"#'))), "")
    delimiter = max(",;\t", key=header.count)
    recorded, rest = _marked(text, _ROOT_LINE, delimiter)
    stand_in, rest = _marked(rest, _STAND_IN_LINE, delimiter)
    try:
        table = list(csv.reader(io.StringIO(rest, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ManifestError(f"manifest {path} is not a CSV file: {error}") from error
    names = tuple(name.strip().lower() for name in table[0]) if table else ()
    if names != COLUMNS:
        raise ManifestError(f"manifest {path} has columns {reprlib.repr(names)}, expected {COLUMNS}")
    rows = tuple(_parsed(fields, f"{path}, row {number}") for number, fields in enumerate(table[1:], 1) if any(fields))
    folder = path.parent / (recorded or ".") if root is None else root
    return Manifest(_checked(rows, path), folder, stand_in is not None)


def _marked(text: str, mark: str, delimiter: str) -> tuple[str | None, str]:
    """Return what follows `mark` on the first line, None if it begins otherwise, and the text below that line.

    A spreadsheet fills the line with delimiters up to the table's width; a cell with a delimiter of its own is quoted.
    """
    line, _, below = text.partition("\n")
    line = line.removesuffix("\r").removesuffix(delimiter * (len(COLUMNS) - 1))
    if line.startswith('"') and line.endswith('"'):
        line = line[1:-1].replace('""', '"')
    return (line.removeprefix(mark), below) if line.startswith(mark) else (None, text)


def _rows_as_csv(rows: Iterable[ImageRow]) -> str:
    table = ((row.key, row.path, row.split, row.pid, row.camid, row.sha256) for row in rows)
    return _as_csv([COLUMNS, *table])


def _as_csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _parsed(fields: list[str], where: str) -> ImageRow:
    if len(fields) != len(COLUMNS):
        raise ManifestError(f"{where}: {len(fields)} fields, expected {len(COLUMNS)}: {', '.join(COLUMNS)}")
    key, path, split, pid, camid, sha256 = fields
    if split not in SPLITS:
        raise ManifestError(f"{where}: split {split!r}, expected one of {', '.join(SPLITS)}")
    try:
        return ImageRow(key, path, split, int(pid), int(camid), sha256)
    except ValueError:
        raise ManifestError(f"{where}: pid {pid!r} and camid {camid!r} must be whole numbers") from None


def require_inside(path: str) -> None:
    """Raise ManifestError when a row cannot have this path: it leaves the data root, or no line can hold it."""
    if _LINE_ENDS.search(path):
        raise ManifestError(f"path {path!r} has an end of line in it, which a manifest cannot hold; rename the file")
    if not stays_inside(path):
        raise ManifestError(f"path {path!r} leaves the data root; use relative posix paths")


def _checked(rows: tuple[ImageRow, ...], path: Path) -> tuple[ImageRow, ...]:
    if not rows:
        raise ManifestError(f"manifest {path} lists no image")
    seen: set[str] = set()
    for row in rows:
        try:
            require_inside(row.path)
        except ManifestError as error:
            raise ManifestError(f"manifest {path}: {error}") from None
        if not row.key or row.key in seen or _LINE_ENDS.search(row.key):
            raise ManifestError(
                f"manifest {path}: key {row.key!r} is empty, stands twice or has an end of line; keys must be unique"
            )
        seen.add(row.key)
        if not JUNK_PID <= row.pid <= _LARGEST or abs(row.camid) > _LARGEST:
            raise ManifestError(
                f"manifest {path}: {row.key!r} has pid {row.pid} and camid {row.camid}; expected 64-bit numbers and "
                "a pid of -1 (junk), 0 (distractor) or above (an identity)"
            )
    return rows
